// Shards, limits, retries and injected faults.
#include <gtest/gtest.h>

#include <thread>

#include "base/fake_clock.h"
#include "object/contract.h"
#include "object/faulty.h"
#include "object/limit.h"
#include "object/mem_store.h"
#include "object/prefix.h"
#include "object/retry.h"
#include "object/shard.h"

namespace zest::object {
namespace {

std::unique_ptr<Storage> sharded(int count, std::vector<Storage*>* bare = nullptr) {
  std::vector<std::unique_ptr<Storage>> stores;
  for (int i = 0; i < count; i++) stores.push_back(make_mem_store("s" + std::to_string(i)));
  if (bare)
    for (auto& store : stores) bare->push_back(store.get());
  return with_shards(std::move(stores));
}

TEST(Shard, HashOfTheFormat) {
  EXPECT_EQ(shard_hash("shvol/chunks/0/0/1_0_6"), 0xeb7b53e4u);
  std::vector<Storage*> bare;
  auto store = with_prefix(sharded(3, &bare), "shvol/");
  ASSERT_TRUE(store->put("chunks/0/0/1_0_6", "x"));
  EXPECT_EQ(bare[0xeb7b53e4u % 3]->get("shvol/chunks/0/0/1_0_6").value(), "x");
}

TEST(Shard, Buckets) {
  EXPECT_EQ(shard_bucket("/data/b%d/", 12).value(), "/data/b12/");
  EXPECT_EQ(code_of(shard_bucket("/data/b/", 1)), EINVAL);
  EXPECT_EQ(code_of(shard_bucket("/data/%d/%d", 1)), EINVAL);
  EXPECT_EQ(code_of(shard_bucket("/data/%s/%d", 1)), EINVAL);
}

TEST(Shard, ListingMergesManyPages) {
  auto store = sharded(7);
  std::vector<std::string> expected, found;
  for (int i = 0; i < 500; i++) {
    expected.push_back("p/" + std::to_string(1000 + i));
    ASSERT_TRUE(store->put(expected.back(), "x"));
  }
  ASSERT_TRUE(list_all(*store, "p/", [&](const ObjectInfo& object) {
    found.push_back(object.key);
    return true;
  }));
  EXPECT_EQ(found, expected);
  found.clear();
  for (std::string token;;) {
    auto page = store->list("p/", {}, token, 40);
    ASSERT_TRUE(page);
    ASSERT_LE(page->objects.size(), 40u);
    for (auto& object : page->objects) found.push_back(object.key);
    if ((token = page->next).empty()) break;
  }
  EXPECT_EQ(found, expected);
}

TEST(Limit, RateAndBurst) {
  FakeClock clock;
  TokenBucket bucket(1000, clock);
  bucket.take(100);
  EXPECT_EQ(clock.sleeps, 0) << "a tenth may go at once";
  int64_t begin = clock.ms;
  for (int i = 0; i < 85; i++) bucket.take(10);
  EXPECT_NEAR(static_cast<double>(clock.ms - begin), 1000, 20) << "850 bytes take a second";
  begin = clock.ms;
  bucket.take(8500);
  EXPECT_NEAR(static_cast<double>(clock.ms - begin), 10'000, 20) << "larger than the burst";
  clock.ms += 1'000'000;
  bucket.take(100);
  begin = clock.ms;
  bucket.take(85);
  EXPECT_NEAR(static_cast<double>(clock.ms - begin), 100, 5) << "idle time saves up no more than the burst";
  bucket.set_rate(0);
  begin = clock.ms;
  bucket.take(1 << 30);
  EXPECT_EQ(clock.ms, begin);
}

TEST(Limit, CountsBothDirections) {
  FakeClock clock;
  auto store = with_limits(make_mem_store(), std::make_shared<Bandwidth>(1000, 2000, clock));
  int64_t begin = clock.ms;
  ASSERT_TRUE(store->put("k", std::string(950, 'x')));
  EXPECT_NEAR(static_cast<double>(clock.ms - begin), 1000, 5);
  begin = clock.ms;
  EXPECT_EQ(store->get("k")->size(), 950u);
  EXPECT_NEAR(static_cast<double>(clock.ms - begin), 750 / 1.7, 5);
}

class RetryTest : public testing::Test {
 protected:
  FakeClock clock_;
  std::shared_ptr<Faults> faults_ = std::make_shared<Faults>();
  RetryPolicy policy_{3, 100, 1000, 10'000, 10'000};
  std::unique_ptr<Storage> store_ = with_retries(with_faults(make_mem_store(), faults_), policy_, clock_);
};

TEST_F(RetryTest, PassingFaultsAreHidden) {
  faults_->fail_next(Faults::kPut, 3);
  EXPECT_TRUE(store_->put("k", "body"));
  EXPECT_EQ(clock_.sleeps, 3);
  faults_->lose_replies(Faults::kRemove | Faults::kPut, 1);
  EXPECT_TRUE(store_->put("k", "body"));
  faults_->fail_next(Faults::kGet | Faults::kHead | Faults::kList, 2);
  EXPECT_EQ(store_->get("k").value_or(""), "body");
  faults_->fail_next(Faults::kRemove, 2);
  std::vector<std::string> keys = {"k", "k2"};
  EXPECT_TRUE(store_->remove_many(keys).empty());
  EXPECT_EQ(code_of(store_->get("k")), ENOENT);
}

TEST_F(RetryTest, GivesUp) {
  faults_->fail_next(Faults::kPut, Faults::kForever);
  auto done = store_->put("k", "body");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().fault, Fault::kUnavailable);
  EXPECT_NE(done.error().what.find("tried 4 times"), std::string::npos) << done.error().what;
  EXPECT_EQ(faults_->count(Faults::kPut), 4u);
  faults_->fail_next(Faults::kRemove, Faults::kForever);
  std::vector<std::string> keys = {"k", "k2"};
  EXPECT_EQ(store_->remove_many(keys).size(), 2u);
}

TEST_F(RetryTest, PlainErrorsAreNotRepeated) {
  faults_->fail_next(Faults::kPut, 1, {EACCES, Fault::kPlain, "no"});
  EXPECT_EQ(code_of(store_->put("k", "body")), EACCES);
  EXPECT_EQ(code_of(store_->get("none")), ENOENT);
  EXPECT_EQ(clock_.sleeps, 0);
}

TEST_F(RetryTest, DeadlineEndsIt) {
  policy_ = {1000, 100, 1000, 5'000, 5'000};
  auto store = with_retries(with_faults(make_mem_store(), faults_), policy_, clock_);
  faults_->fail_next(Faults::kGet, Faults::kForever);
  int64_t begin = clock_.ms;
  EXPECT_FALSE(store->get("k"));
  EXPECT_LE(clock_.ms - begin, 5'000);
  EXPECT_GT(clock_.ms - begin, 3'000);
}

TEST_F(RetryTest, LostReplyOfFinish) {
  auto upload = store_->start_multipart("mp").value();
  std::vector<Part> parts = {store_->put_part("mp", upload, 1, "one").value()};
  faults_->lose_replies(Faults::kMultipart, 1);
  EXPECT_TRUE(store_->finish_multipart("mp", upload, parts));
  EXPECT_EQ(store_->get("mp").value(), "one");
  EXPECT_EQ(code_of(store_->finish_multipart("mp", "none", parts)), ENOENT);
}

TEST(Faulty, EachFault) {
  auto faults = std::make_shared<Faults>();
  auto mem = make_mem_store();
  Storage* bare = mem.get();
  auto store = with_faults(std::move(mem), faults);
  faults->lose_replies(Faults::kPut, 1);
  auto done = store->put("a", "body");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().fault, Fault::kUnknownOutcome);
  EXPECT_EQ(bare->get("a").value(), "body") << "carried out all the same";
  faults->fail_next(Faults::kPut, 1);
  EXPECT_FALSE(store->put("b", "body"));
  EXPECT_EQ(code_of(bare->get("b")), ENOENT);
  faults->fail_keys({"b", "c/*"});
  EXPECT_FALSE(store->put("b", "1"));
  EXPECT_FALSE(store->put("c/d", "1"));
  EXPECT_TRUE(store->put("d", "1"));
  faults->shorten_bodies(1);
  EXPECT_EQ(store->get("a").value(), "bo");
  faults->corrupt_bodies(1);
  EXPECT_EQ(store->get("a").value(), "boDy");
  EXPECT_EQ(store->get("a").value(), "body");
  faults->fail_randomly(Faults::kGet, 50, 1);
  int failed = 0;
  for (int i = 0; i < 200; i++) failed += store->get("a") ? 0 : 1;
  EXPECT_GT(failed, 50);
  EXPECT_LT(failed, 150);
  faults->clear();
  EXPECT_TRUE(store->put("b", "1"));
  EXPECT_EQ(faults->count(Faults::kGet), 203u);
}

TEST(Faulty, HoldsCalls) {
  auto faults = std::make_shared<Faults>();
  auto store = with_faults(make_mem_store(), faults);
  faults->hold(Faults::kPut);
  std::thread writer([&] { EXPECT_TRUE(store->put("k", "1")); });
  EXPECT_TRUE(faults->wait_held(1));
  EXPECT_EQ(code_of(store->get("k")), ENOENT);
  faults->release();
  writer.join();
  EXPECT_EQ(store->get("k").value(), "1");
}

const StorageCase kCases[] = {
    {"shard3", [] { return std::shared_ptr<Storage>(sharded(3)); }},
    {"shard40", [] { return std::shared_ptr<Storage>(with_prefix(sharded(40), "v/")); }},
    {"faulty", [] { return std::shared_ptr<Storage>(with_faults(make_mem_store(), std::make_shared<Faults>())); }},
    {"retry", [] { return std::shared_ptr<Storage>(with_retries(make_mem_store(), {}, system_clock())); }},
    {"limit",
     [] {
       return std::shared_ptr<Storage>(
           with_limits(make_mem_store(), std::make_shared<Bandwidth>(0, 0, system_clock())));
     }},
};
INSTANTIATE_TEST_SUITE_P(Decorated, StorageContract, testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace zest::object
