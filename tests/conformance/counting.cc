#include "counting.h"

namespace zest::conformance {

namespace {

using namespace meta;

class CountingTxn : public EngineTxn {
 public:
  CountingTxn(std::unique_ptr<EngineTxn> txn, RoundTrips& count) : txn_(std::move(txn)), count_(count) {}
  Result<std::vector<Value>> fetch(std::span<const Want> wants, std::vector<std::pair<Key, Value>>& followed) override {
    count_.fetches++;
    return txn_->fetch(wants, followed);
  }
  bool await_turn() override { return txn_->await_turn(); }
  bool assume(std::span<const std::pair<Key, Value>> records) override { return txn_->assume(records); }
  Result<CommitResult> commit(std::span<const Change> changes) override {
    if (!changes.empty()) count_.commits++;
    return txn_->commit(changes);
  }

 private:
  std::unique_ptr<EngineTxn> txn_;
  RoundTrips& count_;
};

class CountingEngine : public Engine {
 public:
  CountingEngine(std::unique_ptr<Engine> engine, RoundTrips& count) : engine_(std::move(engine)), count_(count) {}
  const EngineInfo& info() const override { return engine_->info(); }
  Result<std::unique_ptr<EngineTxn>> begin(bool write, std::span<const Ino> hot) override {
    auto txn = engine_->begin(write, hot);
    if (!txn) return fail(std::move(txn.error()));
    return std::make_unique<CountingTxn>(std::move(*txn), count_);
  }
  Result<std::vector<DirEntry>> list(Ino dir, std::string& cursor, size_t limit, bool with_attr) override {
    count_.others++;
    return engine_->list(dir, cursor, limit, with_attr);
  }
  Result<void> scan(Table table, uint64_t within, const std::function<bool(const Key&, const Value&)>& each) override {
    count_.others++;
    return engine_->scan(table, within, each);
  }
  Result<int64_t> add_counter(std::string_view name, int64_t delta) override {
    count_.others++;
    return engine_->add_counter(name, delta);
  }
  Result<void> prepare() override { return engine_->prepare(); }
  Result<void> reset() override { return engine_->reset(); }
  int64_t absent_ref() const override { return engine_->absent_ref(); }
  Recent* recent() override { return engine_->recent(); }
  Result<void> ping() override { return engine_->ping(); }
  Result<void> sync() override { return engine_->sync(); }

 private:
  std::unique_ptr<Engine> engine_;
  RoundTrips& count_;
};

}  // namespace

std::unique_ptr<Engine> counted(std::unique_ptr<Engine> engine, RoundTrips& count) {
  return std::make_unique<CountingEngine>(std::move(engine), count);
}

}  // namespace zest::conformance
