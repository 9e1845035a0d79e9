#include "base/spent.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>

#include "base/budget.h"
#include "base/histogram.h"
#include "base/shards.h"

namespace zest {
namespace {

void sleep_ms(int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

TEST(Spent, EveryPartCountsAloneAndTheyAddUp) {
  note_queued(7);
  Spending operation;
  {
    Waiting meta(Part::kMeta);
    sleep_ms(20);
    {
      Waiting lock(Part::kLock);
      sleep_ms(30);
    }
    note_round_trip();
  }
  {
    Waiting object(Part::kObject);
    sleep_ms(10);
  }
  sleep_ms(5);
  auto took = operation.end();
  auto& spent = operation.spent();
  EXPECT_EQ(spent.of(Part::kQueue), 7);
  EXPECT_GE(spent.of(Part::kMeta), 20'000'000);
  EXPECT_GE(spent.of(Part::kLock), 30'000'000);
  EXPECT_GE(spent.of(Part::kObject), 10'000'000);
  EXPECT_GE(spent.of(Part::kOther), 4'000'000);
  EXPECT_EQ(spent.of(Part::kCache), 0);
  EXPECT_EQ(std::accumulate(spent.ns.begin(), spent.ns.end(), int64_t{0}), took + 7);
  EXPECT_EQ(spent.round_trips, 1u);
}

TEST(Spent, AnOperationWithinAnotherBelongsToIt) {
  Spending outer;
  {
    Spending inner;
    EXPECT_TRUE(inner.nested());
    note_round_trip();
    EXPECT_GE(inner.end(), 0);
  }
  note_round_trip();
  outer.end();
  EXPECT_EQ(outer.spent().round_trips, 2u);
  Spending next;
  EXPECT_FALSE(next.nested());
  EXPECT_EQ(next.spent().of(Part::kQueue), 0) << "the queue of the operation before";
}

TEST(Spent, RoundTripsOfAllThreadsAreCounted) {
  auto before = round_trips();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++)
    threads.emplace_back([] {
      for (int n = 0; n < 1000; n++) note_round_trip();
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(round_trips() - before, 8000u);
}

TEST(Spent, WaitingForMemoryIsToldByTheBudget) {
  Budget budget(100);
  auto hold = budget.take(100, 0);
  Spending operation;
  EXPECT_FALSE(budget.take(1, 20));
  operation.end();
  EXPECT_GE(operation.spent().of(Part::kMemory), 19'000'000);
  EXPECT_EQ(budget.waits().count, 1u);
  EXPECT_GE(budget.waits().ns, 19'000'000);
}

TEST(Shards, HistogramsAddUp) {
  struct Sizes {
    Histogram sizes{10, 0, 3};
  };
  Sharded<Sizes> all;
  std::vector<std::thread> threads;
  for (int i = 0; i < 40; i++)
    threads.emplace_back([&, i] {
      for (int n = 0; n < 100; n++) all.mine().sizes.add(i);
    });
  for (auto& thread : threads) thread.join();
  Histogram sum(10, 0, 3);
  all.each([&](const Sizes& shard) { sum.add_all(shard.sizes); });
  EXPECT_EQ(sum.count(), 4000u);
  EXPECT_EQ(sum.sum(), 100.0 * 780);
  auto buckets = sum.buckets();
  EXPECT_EQ(buckets[0].count, 1100u);
  EXPECT_EQ(buckets[2].count, 3100u);
}

}  // namespace
}  // namespace zest
