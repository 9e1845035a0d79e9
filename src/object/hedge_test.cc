#include "object/hedge.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstring>
#include <string>

namespace zest::object {
namespace {

using std::chrono::milliseconds;

TEST(RecentReads, LateIsAboveMostAndTwiceTheUsual) {
  RecentReads reads;
  for (int i = 0; i < 31; i++) reads.add(milliseconds(100));
  EXPECT_FALSE(reads.late_after()) << "too few";
  reads.add(milliseconds(100));
  EXPECT_EQ(reads.late_after(), milliseconds(200));
  for (int i = 0; i < 128; i++) reads.add(milliseconds(i % 10 == 0 ? 1000 : 100));
  EXPECT_EQ(reads.late_after(), milliseconds(1000)) << "one in ten is that slow";
  for (int i = 0; i < 128; i++) reads.add(milliseconds(300));
  EXPECT_EQ(reads.late_after(), milliseconds(600)) << "the store has become slower";
}

// Answers with text; a read that is held comes back only when it is cancelled.
class Source {
 public:
  Result<size_t> read(std::span<char> into, Cancel& cancel, bool held) {
    reads++;
    if (held) {
      std::mutex mutex;
      std::condition_variable wake;
      cancel.attach([&] { wake.notify_all(); });
      std::unique_lock lock(mutex);
      while (!cancel.cancelled()) wake.wait_for(lock, milliseconds(10));
      lock.unlock();
      cancel.attach({});
      return fail(ECANCELED);
    }
    std::memset(into.data(), 'x', into.size());
    return into.size();
  }
  std::atomic<int> reads{0};
};

// Just as many reads as must be known before any is late: what they take does not matter.
constexpr int kWarm = 32;
void warm_up(Hedge& hedge, Source& source) {
  std::string into(100, '-');
  for (int i = 0; i < kWarm; i++)
    ASSERT_TRUE(hedge.run(into, [&](auto room, Cancel& cancel) { return source.read(room, cancel, false); }));
  ASSERT_EQ(hedge.sent(), 0u);
}

TEST(Hedge, TheSecondRequestSavesOneThatHangs) {
  Source source;
  Hedge hedge;
  warm_up(hedge, source);
  std::string into(100, '-');
  auto got = hedge.run(into, [&, first = std::this_thread::get_id()](auto room, Cancel& cancel) {
    return source.read(room, cancel, std::this_thread::get_id() == first);
  });
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(into.substr(0, *got), std::string(100, 'x'));
  EXPECT_EQ(source.reads, kWarm + 2);
  EXPECT_EQ(hedge.sent(), 1u);
  EXPECT_EQ(hedge.won(), 1u);
}

TEST(Hedge, OneThatIsHalfThereHasAsMuchTimeAgain) {
  Source source;
  Hedge hedge;
  warm_up(hedge, source);
  std::string into(100, '-');
  for (uint64_t received : {49, 50}) {
    auto begin = std::chrono::steady_clock::now();
    auto got = hedge.run(into, [&, first = std::this_thread::get_id()](auto room, Cancel& cancel) {
      cancel.note_received(received);
      return source.read(room, cancel, std::this_thread::get_id() == first);
    });
    ASSERT_TRUE(got) << got.error().message();
    auto late = milliseconds(received < 50 ? 5 : 10);
    EXPECT_GE(std::chrono::steady_clock::now() - begin, late);
  }
  EXPECT_EQ(hedge.won(), 2u);
}

TEST(Hedge, WhenTheFirstAnswersTheSecondIsEnded) {
  Source source;
  std::string into(100, '-');
  {
    Hedge hedge;
    warm_up(hedge, source);
    std::atomic<int> call{0};
    auto got = hedge.run(into, [&, first = std::this_thread::get_id()](auto room, Cancel& cancel) {
      call++;
      bool second = std::this_thread::get_id() != first;
      while (!second && call < 2) std::this_thread::yield();
      return source.read(room, cancel, second);
    });
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_EQ(hedge.sent(), 1u);
    EXPECT_EQ(hedge.won(), 0u);
  }  // ends although the second request would never come back by itself
  EXPECT_EQ(source.reads, kWarm + 2);
}

TEST(Hedge, AStoreThatIsSlowAsAWholeGetsFewMore) {
  Source source;
  Hedge hedge;
  warm_up(hedge, source);
  std::string into(100, '-');
  for (int i = 0; i < 40; i++)
    ASSERT_TRUE(hedge.run(into, [&](auto room, Cancel& cancel) {
      std::this_thread::sleep_for(milliseconds(12));
      return source.read(room, cancel, false);
    }));
  EXPECT_LE(hedge.sent(), 6u);
  EXPECT_LE(source.reads, kWarm + 46);
}

TEST(Hedge, ErrorsAreThoseOfTheFirst) {
  Hedge hedge;
  std::string into(10, '-');
  auto got = hedge.run(into, [&](auto, Cancel&) -> Result<size_t> { return fail(ENOENT); });
  EXPECT_EQ(code_of(got), ENOENT);
}

}  // namespace
}  // namespace zest::object
