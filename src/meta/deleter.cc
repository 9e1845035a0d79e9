// Deletion of data without references. Records are removed in the order that leaves nothing unaccounted for after a
// crash: references with the chunk that held them, objects, then the reference's record, the file's record last.
#include "meta/deleter.h"

#include <fmt/format.h>

#include <map>

#include "base/log.h"
#include "meta/ops/entries.h"

namespace zest::meta {

namespace {
constexpr size_t kFileThreads = 8, kFileQueue = 100, kSliceQueuePerThread = 10240;

Result<void> erase(State& state, const Key& key) {
  auto body = [&](Txn& txn) -> Result<void> {
    txn.erase(key);
    return {};
  };
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(const Value* value, txn.get(key));
    return std::holds_alternative<std::monostate>(*value);
  };
  ZEST_TRY(run_entries(state, {}, body, settled));
  return {};
}
}  // namespace

Deleter::Deleter() = default;
Deleter::~Deleter() { stop(); }

void Deleter::start(State&, int threads) {
  std::lock_guard lock(mutex_);
  stopped_ = false;
  if (!files_) files_ = std::make_shared<ThreadPool>("del-files", kFileThreads, kFileQueue);
  if (threads > 0 && !slices_)
    slices_ = std::make_shared<ThreadPool>("del-slices", static_cast<size_t>(threads),
                                           static_cast<size_t>(threads) * kSliceQueuePerThread);
}

void Deleter::delete_slice_or_log(State& state, SliceId id, uint32_t size) {
  auto done = delete_slice(state, id, size);
  if (!done) log_warning(fmt::format("delete slice {} of {} bytes: {}", raw(id), size, done.error().message()));
}

void Deleter::delete_file_or_log(State& state, Ino ino, uint64_t length) {
  auto done = delete_file_data(state, ino, length);
  if (!done) log_warning(fmt::format("delete data of inode {}: {}", raw(ino), done.error().message()));
}

void Deleter::slice(State& state, SliceId id, uint32_t size) {
  std::shared_ptr<ThreadPool> pool;
  bool stopped;
  {
    std::lock_guard lock(mutex_);
    pool = slices_;
    stopped = stopped_;
  }
  if (stopped || !state.data || raw(id) == 0) return;
  if (pool)
    pool->try_submit([this, &state, id, size] { delete_slice_or_log(state, id, size); });
  else
    delete_slice_or_log(state, id, size);
}

void Deleter::slices(State& state, const CommitResult& result) {
  for (auto& [key, refs] : result.refs)
    if (refs <= 0) slice(state, SliceId{key.a}, static_cast<uint32_t>(key.b));
}

void Deleter::file(State& state, Ino ino, uint64_t length, bool wait) {
  std::shared_ptr<ThreadPool> pool;
  bool stopped;
  {
    std::lock_guard lock(mutex_);
    pool = files_;
    stopped = stopped_;
  }
  if (stopped) return;
  if (!pool) {
    if (wait && state.data) delete_file_or_log(state, ino, length);
    return;
  }
  auto task = [this, &state, ino, length] { delete_file_or_log(state, ino, length); };
  if (wait)
    pool->submit(task);
  else
    pool->try_submit(task);
}

Result<void> Deleter::delete_slice(State& state, SliceId id, uint32_t size) {
  if (!state.data || state.options.max_deletes <= 0) return {};
  Key key = Key::slice_ref(id, size);
  bool exhausted = false;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(const Value* value, txn.get(key));
    auto* refs = std::get_if<int64_t>(value);
    exhausted = refs && *refs <= 0;
    return {};
  }));
  // Without a record it was deleted already, or has its one reference.
  if (!exhausted) return {};
  ZEST_TRY(state.data->delete_slice(id, size));
  return erase(state, key);
}

Result<void> Deleter::delete_chunk(State& state, Ino ino, ChunkIndex chunk) {
  auto body = [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::chunk(ino, chunk)}}));
    ZEST_ASSIGN(auto records, txn.chunk(ino, chunk));
    if (records.empty()) return {};
    std::map<SliceRefKey, int64_t> held;
    records.resize(records.size() / kSliceRecord * kSliceRecord);
    auto slices = decode_slices(records);
    if (slices) {
      for (auto& slice : *slices)
        if (raw(slice.id) > 0) held[{slice.id, slice.size}]++;
    } else {
      log_error(fmt::format("inode {}: chunk {} holds no valid slices; gc finds their objects", raw(ino), chunk));
    }
    for (auto& [slice, count] : held) txn.add(Key::slice_ref(slice.id, slice.size), -count);
    txn.erase(Key::chunk(ino, chunk));
    return {};
  };
  // Its slices are then left to the job.
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto records, txn.chunk(ino, chunk));
    return records.empty();
  };
  ZEST_ASSIGN(auto committed, run_entries(state, {ino}, body, settled));
  slices(state, committed);
  return {};
}

Result<void> Deleter::delete_file_data(State& state, Ino ino, uint64_t length) {
  {
    std::lock_guard lock(mutex_);
    if (!busy_.insert(ino).second) return {};
  }
  auto all = [&]() -> Result<void> {
    ZEST_ASSIGN(auto chunks, state.engine->chunks_of(ino, length));
    for (ChunkIndex chunk : chunks) ZEST_TRY(delete_chunk(state, ino, chunk));
    return erase(state, Key::del_file(ino, length));
  };
  auto done = all();
  std::lock_guard lock(mutex_);
  busy_.erase(ino);
  return done;
}

void Deleter::drain() {
  std::shared_ptr<ThreadPool> files, slices;
  {
    std::lock_guard lock(mutex_);
    files = files_, slices = slices_;
  }
  if (files) files->drain();
  if (slices) slices->drain();
}

void Deleter::stop() {
  std::shared_ptr<ThreadPool> files, slices;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    files.swap(files_);
    slices.swap(slices_);
  }
  // Their destructors run what is queued: files first, as they queue slices.
  files.reset();
  slices.reset();
}

}  // namespace zest::meta
