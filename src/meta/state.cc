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
      inodes(*engine, counter::kNextInode, kInodeBatch),
      slices(*engine, counter::kNextChunk, kSliceBatch),
      own_dirs(options.own_dirs_ms) {
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
  capacity = format.capacity;
  inode_limit = format.inodes;
  format_ = std::move(format);
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
