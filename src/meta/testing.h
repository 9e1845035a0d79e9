// For the tests of meta/: an engine that does nothing, of which each overrides what it needs.
#pragma once

#include "meta/txn.h"

namespace zest::meta::testing {

class BareEngine : public Engine {
 public:
  const EngineInfo& info() const override { return info_; }
  Result<std::unique_ptr<EngineTxn>> begin(bool, std::span<const Ino>) override { return fail(ENOSYS); }
  Result<std::vector<DirEntry>> list(Ino, std::string&, size_t, bool) override { return fail(ENOSYS); }
  Result<void> scan(Table, uint64_t, const std::function<bool(const Key&, const Value&)>&) override {
    return fail(ENOSYS);
  }
  Result<int64_t> add_counter(std::string_view, int64_t) override { return fail(ENOSYS); }
  Result<void> prepare() override { return {}; }
  Result<void> reset() override { return {}; }
  int64_t absent_ref() const override { return 1; }
  Result<void> ping() override { return {}; }

 protected:
  EngineInfo info_;
};

}  // namespace zest::meta::testing
