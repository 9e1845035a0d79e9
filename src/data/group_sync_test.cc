#include "data/group_sync.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace zest::data {
namespace {

TEST(GroupSync, EveryCallerSeesAFlushThatBeganAfterItAsked) {
  std::atomic<int> written{0}, durable{0}, flushes{0};
  GroupSync group([&]() -> Result<void> {
    int seen = written;
    std::this_thread::yield();
    durable = seen;
    flushes++;
    return {};
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; t++)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; i++) {
        int mine = ++written;
        EXPECT_TRUE(group.sync());
        EXPECT_GE(durable, mine);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_LE(flushes, 1600);
}

TEST(GroupSync, FailuresAreReportedAndTriedAgain) {
  int calls = 0;
  GroupSync group([&]() -> Result<void> {
    if (++calls == 1) return fail(EIO);
    return {};
  });
  EXPECT_EQ(code_of(group.sync()), EIO);
  EXPECT_TRUE(group.sync());
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace zest::data
