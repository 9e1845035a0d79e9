// An engine whose connection breaks around commits: before they were carried out, or before the answer came back.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "meta/txn.h"

namespace zest::conformance {

using meta::Change;
using meta::CommitResult;
using meta::DirEntry;
using meta::Engine;
using meta::EngineInfo;
using meta::EngineTxn;
using meta::Key;
using meta::Table;
using meta::Value;
using meta::Want;

struct Breaks {
  int after = 0, before = 0;        // how many of the next commits
  int conflicts = 0;                // are refused, as if another client had been faster
  std::function<void()> then = {};  // run after the next commit, before its answer is told
};

class BreakingTxn : public EngineTxn {
 public:
  BreakingTxn(std::unique_ptr<EngineTxn> txn, Breaks& breaks) : txn_(std::move(txn)), breaks_(breaks) {}
  Result<std::vector<Value>> fetch(std::span<const Want> wants, std::vector<std::pair<Key, Value>>& followed) override {
    return txn_->fetch(wants, followed);
  }
  bool await_turn() override { return txn_->await_turn(); }
  bool assume(std::span<const std::pair<Key, Value>> records) override { return txn_->assume(records); }
  Result<CommitResult> commit(std::span<const Change> changes) override {
    if (breaks_.conflicts > 0) {
      breaks_.conflicts--;
      return fail(EAGAIN, Fault::kConflict, {});
    }
    const bool before = breaks_.before > 0, after = breaks_.after > 0;
    if (before) {
      breaks_.before--;
      return fail(EIO, Fault::kUnknownOutcome, "cut before");
    }
    auto done = txn_->commit(changes);
    if (auto hook = std::exchange(breaks_.then, nullptr)) hook();
    if (!after || !done) return done;
    breaks_.after--;
    return fail(EIO, Fault::kUnknownOutcome, "cut after");
  }

 private:
  std::unique_ptr<EngineTxn> txn_;
  Breaks& breaks_;
};

class BreakingEngine : public Engine {
 public:
  BreakingEngine(std::unique_ptr<Engine> engine, Breaks& breaks) : engine_(std::move(engine)), breaks_(breaks) {}
  const EngineInfo& info() const override { return engine_->info(); }
  Result<std::unique_ptr<EngineTxn>> begin(bool write, std::span<const Ino> hot) override {
    auto txn = engine_->begin(write, hot);
    if (!txn) return fail(std::move(txn.error()));
    return std::make_unique<BreakingTxn>(std::move(*txn), breaks_);
  }
  Result<std::vector<DirEntry>> list(Ino dir, std::string& cursor, size_t limit, bool with_attr) override {
    return engine_->list(dir, cursor, limit, with_attr);
  }
  Result<void> scan(Table table, uint64_t within, const std::function<bool(const Key&, const Value&)>& each) override {
    return engine_->scan(table, within, each);
  }
  Result<int64_t> add_counter(std::string_view name, int64_t delta) override {
    return engine_->add_counter(name, delta);
  }
  Result<void> prepare() override { return engine_->prepare(); }
  Result<void> reset() override { return engine_->reset(); }
  int64_t absent_ref() const override { return engine_->absent_ref(); }
  meta::Recent* recent() override { return engine_->recent(); }
  Result<void> ping() override { return engine_->ping(); }
  Result<meta::LogRange> log_range() override { return engine_->log_range(); }
  Result<std::vector<meta::LogLine>> log_lines(int64_t from, size_t limit) override {
    return engine_->log_lines(from, limit);
  }
  Result<void> trim_log(int64_t first) override { return engine_->trim_log(first); }

 private:
  std::unique_ptr<Engine> engine_;
  Breaks& breaks_;
};

}  // namespace zest::conformance
