// Compaction of chunks (semantics.md 13.3, encodings.md 5.4).
#include "meta/compactor.h"

#include <fmt/format.h>

#include <map>

#include "base/log.h"
#include "meta/state.h"
#include "volume/compaction.h"

namespace zest::meta {

namespace {

constexpr size_t kThreads = 2, kMostRunning = 10;

// What the plan made of the records of a chunk, as it is to be committed.
struct Replacement {
  Ino ino;
  ChunkIndex chunk;
  std::string seen;        // the first records, as they were read
  std::string skipped;     // those of them that stay
  std::vector<Slice> old;  // those that go
  Slice fresh;
};

// In the transaction: the records that were read must still lead the list. EINVAL when they do not.
Result<void> replace(State& state, Txn& txn, const Replacement& r, int64_t now) {
  ZEST_TRY(txn.want({{Key::chunk(r.ino, r.chunk)}}));
  ZEST_ASSIGN(auto records, txn.chunk(r.ino, r.chunk));
  if (!records.starts_with(r.seen)) return fail(EINVAL);
  std::string list = r.skipped;
  encode_slice(list, r.fresh);
  list += std::string_view(records).substr(r.seen.size());
  txn.put(Key::chunk(r.ino, r.chunk), std::move(list));
  txn.new_slice(r.fresh.id, r.fresh.size);
  state.change_log.add(
      txn, state.clock.now(), "COMPACTCHUNK",
      {r.ino, r.chunk, r.skipped.size() / kSliceRecord, r.old.size(), r.fresh.pos, r.fresh.id, r.fresh.size});
  std::vector<SliceRefKey> keys;
  std::map<SliceRefKey, int64_t> counts;
  for (auto& slice : r.old) {
    if (raw(slice.id) == 0) continue;
    keys.push_back({slice.id, slice.size});
    counts[keys.back()]++;
  }
  if (state.trash_days > 0) {
    // Kept as long as the trash keeps files, so that what was overwritten can still be had.
    if (!keys.empty()) txn.put(Key::del_slices(r.fresh.id, now), encode_slice_keys(keys));
  } else {
    for (auto& [key, count] : counts) txn.add(Key::slice_ref(key.id, key.size), -count);
  }
  return {};
}

// The new slice is of no use: gone at once, or recorded as without references for the job.
void discard(State& state, const Slice& fresh) {
  auto gone = [&]() -> Result<void> {
    ZEST_TRY(state.run({}, [&](Txn& txn) -> Result<void> {
      txn.put(Key::slice_ref(fresh.id, fresh.size), int64_t{0});
      return {};
    }));
    return state.deleter.delete_slice(state, fresh.id, fresh.size);
  };
  if (auto done = gone(); !done) log_warning(fmt::format("delete slice {}: {}", raw(fresh.id), done.error().message()));
}

Result<bool> commit(State& state, const Replacement& r) {
  bool doubtful = false;
  TxnOptions options;
  options.hot = {r.ino};
  options.settled = [&](Txn& txn) -> Result<bool> {
    doubtful = true;
    ZEST_ASSIGN(auto records, txn.chunk(r.ino, r.chunk));
    std::string wanted;
    encode_slice(wanted, r.fresh);
    return records.find(wanted) != std::string::npos;
  };
  int64_t now = state.clock.now().sec;
  auto done = run(*state.engine, state.clock, options, [&](Txn& txn) { return replace(state, txn, r, now); });
  if (done) {
    state.open_files.forget_chunk(r.ino, r.chunk);
    state.deleter.slices(state, *done);
    return true;
  }
  // Perhaps committed, and changed again by somebody since: then the slice may be in use. gc tells.
  if (done.error().fault == Fault::kUnknownOutcome || doubtful) return fail(std::move(done.error()));
  discard(state, r.fresh);
  if (done.error().code == EINVAL) return false;  // lost against a change of the list
  return fail(std::move(done.error()));
}

}  // namespace

Compactor::Compactor() = default;
Compactor::~Compactor() { stop(); }

Result<bool> Compactor::run(State& state, Ino ino, ChunkIndex chunk, size_t at_least, bool thrifty) {
  std::string records;
  std::optional<Attr> attr;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::chunk(ino, chunk)}, {Key::inode(ino)}}));
    ZEST_ASSIGN(records, txn.chunk(ino, chunk));
    ZEST_ASSIGN(attr, txn.attr(ino));
    return {};
  }));
  // Without an inode the file is being deleted.
  if (!attr || records.size() / kSliceRecord < at_least || !state.data) return false;
  ZEST_ASSIGN(auto slices, decode_slices(records));
  auto plan = thrifty ? plan_thrifty_compaction(slices) : plan_compaction(slices);
  if (plan.size == 0) return false;
  ZEST_ASSIGN(uint64_t id, state.slices.next());
  Replacement r{
      ino, chunk, records.substr(0, plan.records * kSliceRecord), records.substr(0, plan.skipped * kSliceRecord),
      {},  {}};
  r.old.assign(slices.begin() + static_cast<ptrdiff_t>(plan.skipped),
               slices.begin() + static_cast<ptrdiff_t>(plan.records));
  r.fresh = Slice{plan.pos, SliceId{id}, plan.size, 0, plan.size};
  if (auto written = state.data->compact(plan, r.fresh.id, attr->tier); !written) {
    discard(state, r.fresh);
    // Objects that are gone: the chunk was changed meanwhile, or data is lost, which fsck reports.
    if (written.error().code == ENOENT) return false;
    return fail(std::move(written.error()));
  }
  return commit(state, r);
}

void Compactor::release(Ino ino, ChunkIndex chunk) {
  std::lock_guard lock(mutex_);
  busy_.erase({ino, chunk});
  released_.notify_all();
}

void Compactor::background(State& state, Ino ino, ChunkIndex chunk) {
  {
    std::lock_guard lock(mutex_);
    if (stopped_ || state.options.read_only || !state.data) return;
    if (busy_.size() >= kMostRunning || !busy_.insert({ino, chunk}).second) return;
    if (!pool_) pool_ = std::make_unique<ThreadPool>("compact", kThreads, kMostRunning * 2);
  }
  bool queued = pool_->try_submit([this, &state, ino, chunk] {
    bool go;
    {
      std::lock_guard lock(mutex_);
      go = !stopped_;
    }
    if (go) {
      auto done = run(state, ino, chunk, 2, true);
      if (!done) log_warning(fmt::format("compact chunk {} of inode {}: {}", chunk, raw(ino), done.error().message()));
    }
    release(ino, chunk);
  });
  if (!queued) release(ino, chunk);
}

Result<bool> Compactor::compact(State& state, Ino ino, ChunkIndex chunk, size_t at_least) {
  ZEST_TRY(state.writable());
  {
    std::unique_lock lock(mutex_);
    released_.wait(lock, [&] { return stopped_ || !busy_.contains({ino, chunk}); });
    if (stopped_) return false;
    busy_.insert({ino, chunk});
  }
  auto done = run(state, ino, chunk, at_least, false);
  release(ino, chunk);
  return done;
}

void Compactor::drain() {
  std::unique_lock lock(mutex_);
  released_.wait(lock, [&] { return busy_.empty(); });
}

void Compactor::stop() {
  std::unique_lock lock(mutex_);
  stopped_ = true;
  released_.notify_all();
  released_.wait(lock, [&] { return busy_.empty(); });
  auto pool = std::move(pool_);
  lock.unlock();
  pool.reset();
}

Result<bool> Meta::compact_chunk(Ino ino, ChunkIndex chunk) {
  ZEST_TRY(state_->may_commit());
  return state_->compactor.compact(*state_, ino, chunk);
}

}  // namespace zest::meta
