// A volume on one of the engines, clients on it, and a recount of everything at the end of each test.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engines.h"
#include "meta/api.h"

namespace zest::conformance {

using meta::Context;
using meta::EntryAttr;
using meta::Meta;

// Time that passes only when a test says so; sleeping lets it pass.
class TestClock : public Clock {
 public:
  Time now() const override;
  int64_t monotonic_ms() const override { return ms_; }
  void sleep_ms(int64_t ms) const override;
  void advance(int64_t ms) { ms_ += ms; }

 private:
  mutable std::atomic<int64_t> ms_{1'790'000'000'123};  // in 2026
};

// Objects of slices, as far as the tests look at them: which were deleted.
class TestData : public meta::DataHooks {
 public:
  Result<void> delete_slice(SliceId id, uint32_t) override;
  Result<void> compact(const CompactionPlan& plan, SliceId id, uint8_t tier) override;
  bool was_deleted(SliceId id) const;

 private:
  mutable std::mutex mutex_;
  std::vector<SliceId> deleted_;
};

Context user(uint32_t uid, uint32_t gid = 0, std::vector<uint32_t> gids = {});  // one whose permissions are checked

class Conformance : public testing::TestWithParam<EngineCase> {
 protected:
  void SetUp() override;
  void TearDown() override;

  // What a test's suite may choose before the volume is made.
  virtual void choose(Format&) {}
  // Another client of the same volume, with a session.
  std::unique_ptr<Meta> client(meta::Options options = {}, bool background_jobs = false);
  // Writes the settings anew; every client reads them at once.
  void change_format(const std::function<void(Format&)>& change);

  // Short forms; they fail the test when the call fails.
  Ino mkdir(Ino parent, const std::string& name, uint16_t mode = 0755, const Context& ctx = {});
  Ino mkfile(Ino parent, const std::string& name, uint16_t mode = 0644, const Context& ctx = {});
  Ino mksymlink(Ino parent, const std::string& name, const std::string& target);
  void grow(Ino ino, uint64_t length);  // by truncate
  Attr attr(Ino ino);
  Ino find(Ino parent, const std::string& name);  // 0: ENOENT
  std::vector<std::string> names(Ino dir);        // sorted
  // The trash's entry for something removed from `parent`; 0: none.
  Ino hour_dir();
  Ino find_trashed(Ino parent, Ino ino, const std::string& name);

  // Compares every counter, statistic, quota, link count and parent with a count of all entries.
  void verify();
  bool verify_at_end_ = true;

  TestClock clock_;
  TestData data_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Meta> meta_;
  const Context root_;

 private:
  std::vector<Meta*> clients_;
};

#define EXPECT_ERRNO(code, expr) EXPECT_EQ(code, ::zest::code_of(expr)) << #expr
#define ASSERT_OK(expr) ASSERT_EQ(0, ::zest::code_of(expr)) << #expr
#define EXPECT_OK(expr) EXPECT_EQ(0, ::zest::code_of(expr)) << #expr
// One test suite on all engines.
#define ON_EVERY_ENGINE(suite)                                                              \
  INSTANTIATE_TEST_SUITE_P(, suite, testing::ValuesIn(::zest::conformance::engine_cases()), \
                           [](const auto& info) { return info.param.name; })

}  // namespace zest::conformance
