// What the operations of one client share: settings, engine, caches, jobs.
#include "meta/state.h"

namespace zest::meta {

namespace {
constexpr uint64_t kInodeBatch = 1024, kSliceBatch = 4096;
}

State::State(std::unique_ptr<Engine> engine_in, const Clock& clock_in, Options options_in)
    : engine(std::move(engine_in)),
      clock(clock_in),
      options(std::move(options_in)),
      inodes(*this, counter::kNextInode, kInodeBatch),
      slices(*this, counter::kNextChunk, kSliceBatch),
      own_dirs(options.own_view_ms) {
  jobs = std::make_unique<Jobs>(*this);
}

State::~State() {
  // They have threads that look at the other members.
  jobs.reset();
  compactor.stop();
  deleter.stop();
}

Format State::format() const {
  std::shared_lock lock(format_mutex_);
  return format_;
}

void State::set_format(Format format) {
  std::unique_lock lock(format_mutex_);
  trash_days = format.trash_days;
  dir_stats = format.dir_stats;
  enable_acl = format.enable_acl;
  user_group_quota = format.user_group_quota;
  change_log.switch_on(format.change_log);
  capacity = format.capacity;
  inode_limit = format.inodes;
  format_ = std::move(format);
}

Result<int64_t> State::add_counter(std::string_view name, int64_t delta) {
  if (!change_log.on()) return engine->add_counter(name, delta);
  int64_t value = 0;
  TxnOptions txn_options;
  txn_options.settled = [](Txn&) -> Result<bool> { return false; };  // numbers may be lost
  ZEST_TRY(meta::run(*engine, clock, txn_options, [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(value, txn.counter(name));
    value += delta;
    txn.add(Key::counter(name), delta);
    change_log.add(txn, clock.now(), "INCR_COUNTER", {name, delta});
    return {};
  }));
  return value;
}

Result<CommitResult> State::run(std::initializer_list<Ino> hot, const std::function<Result<void>(Txn&)>& body) {
  TxnOptions txn_options;
  txn_options.hot = hot;
  return meta::run(*engine, clock, txn_options, body);
}

Result<void> State::read(const std::function<Result<void>(Txn&)>& body) { return meta::read(*engine, clock, body); }

Result<void> State::writable() const {
  if (options.read_only) return fail(EROFS);
  return {};
}

}  // namespace zest::meta
