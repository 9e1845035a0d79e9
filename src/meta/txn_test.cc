// The retry loop, on an engine that fails as told.
#include "meta/txn.h"

#include <gtest/gtest.h>

#include <deque>

#include "base/fake_clock.h"
#include "meta/testing.h"

namespace zest::meta {
namespace {

// Commits fail with the errors of the queue, in order; then they succeed.
class FailingEngine : public testing::BareEngine {
 public:
  std::deque<Error> failures;
  int begun = 0, commits = 0;

  Result<std::unique_ptr<EngineTxn>> begin(bool, std::span<const Ino>) override {
    begun++;
    return std::make_unique<FailingTxn>(*this);
  }

 private:
  class FailingTxn : public EngineTxn {
   public:
    explicit FailingTxn(FailingEngine& engine) : engine_(engine) {}
    Result<std::vector<Value>> fetch(std::span<const Want> wants, std::vector<std::pair<Key, Value>>&) override {
      return std::vector<Value>(wants.size());
    }
    Result<CommitResult> commit(std::span<const Change>) override {
      engine_.commits++;
      if (engine_.failures.empty()) return CommitResult{};
      Error error = engine_.failures.front();
      engine_.failures.pop_front();
      return fail(std::move(error));
    }

   private:
    FailingEngine& engine_;
  };
};

Result<void> write_something(Txn& txn) {
  txn.put_attr(Ino{2}, Attr{});
  return {};
}

TEST(Run, ConflictsAreTriedAgainWithTheNumberOfTheAttempt) {
  FailingEngine engine;
  FakeClock clock;
  for (int i = 0; i < 5; i++) engine.failures.push_back({EAGAIN, Fault::kConflict, ""});
  std::vector<int> attempts;
  auto result = run(engine, clock, {}, [&](Txn& txn) {
    attempts.push_back(txn.attempt());
    return write_something(txn);
  });
  EXPECT_TRUE(result);
  EXPECT_EQ(attempts, (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

TEST(Run, FiftyConflictsAreEnough) {
  FailingEngine engine;
  FakeClock clock;
  for (int i = 0; i < 100; i++) engine.failures.push_back({EAGAIN, Fault::kConflict, ""});
  auto result = run(engine, clock, {}, write_something);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, Fault::kConflict);
  EXPECT_EQ(engine.commits, 50);
}

TEST(Run, AnAnswerIsNotTriedAgain) {
  FailingEngine engine;
  FakeClock clock;
  auto result = run(engine, clock, {}, [](Txn&) -> Result<void> { return fail(ENOENT); });
  EXPECT_EQ(code_of(result), ENOENT);
  EXPECT_EQ(engine.begun, 1);
  EXPECT_EQ(engine.commits, 0);
}

TEST(Run, AnAbsentDatabaseIsWaitedForUntilTheDeadline) {
  FailingEngine engine;
  FakeClock clock;
  for (int i = 0; i < 3; i++) engine.failures.push_back({EIO, Fault::kUnavailable, "gone"});
  EXPECT_TRUE(run(engine, clock, {}, write_something));
  for (int i = 0; i < 100000; i++) engine.failures.push_back({EIO, Fault::kUnavailable, "gone"});
  int64_t start = clock.ms;
  TxnOptions options;
  options.deadline_ms = 30'000;
  auto result = run(engine, clock, options, write_something);
  EXPECT_EQ(code_of(result), ETIMEDOUT);
  EXPECT_GE(clock.ms - start, 30'000);
  EXPECT_LE(clock.ms - start, 32'000);
  EXPECT_LT(engine.commits, 1000);
}

TEST(Run, ACommitOfUnknownOutcomeIsNotRepeatedBlindly) {
  FailingEngine engine;
  FakeClock clock;
  engine.failures.push_back({EIO, Fault::kUnknownOutcome, "lost"});
  auto result = run(engine, clock, {}, write_something);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, Fault::kUnknownOutcome);
  EXPECT_EQ(engine.commits, 1);
}

TEST(Run, SettledDecidesWhetherToRepeat) {
  for (bool took_effect : {false, true}) {
    FailingEngine engine;
    FakeClock clock;
    engine.failures.push_back({EIO, Fault::kUnknownOutcome, "lost"});
    int asked = 0;
    TxnOptions options;
    options.settled = [&](Txn& txn) -> Result<bool> {
      EXPECT_FALSE(txn.dirty());
      asked++;
      return took_effect;
    };
    EXPECT_TRUE(run(engine, clock, options, write_something));
    EXPECT_EQ(asked, 1);
    EXPECT_EQ(engine.commits, took_effect ? 1 : 2);
  }
}

TEST(Run, NothingWrittenNothingCommitted) {
  FailingEngine engine;
  FakeClock clock;
  EXPECT_TRUE(run(engine, clock, {}, [](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto attr, txn.attr(Ino{2}));
    EXPECT_FALSE(attr);
    return {};
  }));
  EXPECT_EQ(engine.commits, 0);
}

TEST(Run, AReaderMayNotWrite) {
  FailingEngine engine;
  FakeClock clock;
  EXPECT_FALSE(read(engine, clock, write_something));
  EXPECT_EQ(engine.commits, 0);
}

}  // namespace
}  // namespace zest::meta
