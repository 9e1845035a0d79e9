// Deletion of data without references. Records are removed in the order that leaves nothing unaccounted for after a
// crash: references with the chunk that held them, a file's record with its last chunks, objects, then the reference's
// record.
#include "meta/deleter.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "base/log.h"
#include "meta/ops/entries.h"

namespace zest::meta {

namespace {

constexpr size_t kFileThreads = 8, kMostWaiting = 10'000, kSliceQueuePerThread = 10240;
constexpr size_t kFilesAtOnce = 32, kChunksAtOnce = 100, kSlicesAtOnce = 16;
constexpr auto kGather = std::chrono::milliseconds(20);

bool gone(const Value& value) { return std::holds_alternative<std::monostate>(value); }

Result<void> erase(State& state, std::span<const Key> keys) {
  auto body = [&](Txn& txn) -> Result<void> {
    for (const Key& key : keys) {
      txn.erase(key);
      state.change_log.add(txn, state.clock.now(), "DELETESLICE", {key.a, key.b});
    }
    return {};
  };
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(const Value* value, txn.get(keys.front()));
    return gone(*value);
  };
  ZEST_TRY(run_entries(state, {}, body, settled));
  return {};
}

void warn(const Key& slice, const Error& error) {
  log_warning(fmt::format("delete slice {} of {} bytes: {}", slice.a, slice.b, error.message()));
}

}  // namespace

Deleter::Deleter() = default;
Deleter::~Deleter() { stop(); }

void Deleter::start(State&, int threads) {
  std::lock_guard lock(mutex_);
  stopped_ = false;
  if (!files_) files_ = std::make_shared<ThreadPool>("del-files", kFileThreads, kFileThreads);
  if (threads > 0 && !slices_)
    slices_ = std::make_shared<ThreadPool>("del-slices", static_cast<size_t>(threads),
                                           static_cast<size_t>(threads) * kSliceQueuePerThread);
}

// --- slices ---

void Deleter::slices(State& state, const CommitResult& result) {
  std::shared_ptr<ThreadPool> pool;
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    pool = slices_;
  }
  Slices some;
  auto hand_on = [&] {
    if (some.empty()) return;
    if (pool)
      pool->try_submit([this, &state, slices = std::move(some)] { delete_slices(state, slices); });
    else
      delete_slices(state, some);
    some = {};
  };
  for (const auto& [key, refs] : result.refs) {
    // Less than none: something is wrong with the count. The job looks again before it deletes.
    if (refs != 0 || key.a == 0) continue;
    some.push_back(key);
    if (some.size() == kSlicesAtOnce) hand_on();
  }
  hand_on();
}

// Slices of which a commit has just taken the last reference: nobody can come by another.
void Deleter::delete_slices(State& state, const Slices& slices) {
  if (!state.data || state.options.max_deletes <= 0) return;
  Slices deleted;
  for (const Key& slice : slices) {
    auto done = state.data->delete_slice(SliceId{slice.a}, static_cast<uint32_t>(slice.b));
    if (done)
      deleted.push_back(slice);
    else
      warn(slice, done.error());
  }
  if (deleted.empty()) return;
  if (auto done = erase(state, deleted); !done) warn(deleted.front(), done.error());
}

Result<void> Deleter::delete_slice(State& state, SliceId id, uint32_t size) {
  if (!state.data || state.options.max_deletes <= 0) return {};
  const Key key = Key::slice_ref(id, size);
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
  return erase(state, std::span(&key, 1));
}

// --- files ---

void Deleter::file(State& state, Ino ino, uint64_t length, bool wait) {
  std::unique_lock lock(mutex_);
  if (stopped_) return;
  if (!files_) {
    lock.unlock();
    if (wait && state.data) delete_files_or_log(state, {{ino, length}});
    return;
  }
  if (wait) room_.wait(lock, [&] { return waiting_.size() < kMostWaiting || stopped_; });
  if (stopped_ || waiting_.size() >= kMostWaiting) return;
  waiting_.emplace_back(ino, length);
  if (!gathering_) {
    gathering_ = true;
    files_->submit([this, &state] { gather(state); });
  } else if (waiting_.size() >= kFilesAtOnce) {
    wake_.notify_one();
  }
}

// Takes what comes within a moment, and passes the gathering on before it goes to work.
void Deleter::gather(State& state) {
  std::unique_lock lock(mutex_);
  do {
    wake_.wait_for(lock, kGather, [&] { return waiting_.size() >= kFilesAtOnce || draining_ > 0 || stopped_; });
    const auto end = waiting_.begin() + static_cast<ptrdiff_t>(std::min(waiting_.size(), kFilesAtOnce));
    const Files files(waiting_.begin(), end);
    waiting_.erase(waiting_.begin(), end);
    room_.notify_all();
    gathering_ = !waiting_.empty();
    if (gathering_ && !stopped_) files_->submit([this, &state] { gather(state); });
    lock.unlock();
    delete_files_or_log(state, files);
    lock.lock();
  } while (stopped_ && !waiting_.empty());
}

void Deleter::delete_files_or_log(State& state, const Files& files) {
  auto done = delete_file_data(state, files);
  if (!done && !files.empty())
    log_warning(fmt::format("delete data of {} files, inode {} the first: {}", files.size(), raw(files.front().first),
                            done.error().message()));
}

Result<void> Deleter::delete_file_data(State& state, const Files& all) {
  Files files;
  {
    std::lock_guard lock(mutex_);
    for (const auto& file : all)
      if (busy_.insert(file.first).second) files.push_back(file);
  }
  if (files.empty()) return {};
  auto delete_all = [&]() -> Result<void> {
    ZEST_ASSIGN(const auto chunks, state.engine->chunks_of(files));
    std::span<const Key> left(chunks);
    for (; left.size() > kChunksAtOnce; left = left.subspan(kChunksAtOnce))
      ZEST_TRY(delete_chunks(state, left.first(kChunksAtOnce), {}));
    return delete_chunks(state, left, files);
  };
  auto done = delete_all();
  std::lock_guard lock(mutex_);
  for (const auto& file : files) busy_.erase(file.first);
  return done;
}

// The chunks with their references; with the last ones of the files, their records.
Result<void> Deleter::delete_chunks(State& state, std::span<const Key> chunks, const Files& with_record) {
  auto body = [&](Txn& txn) -> Result<void> {
    std::vector<Want> wants;
    for (const Key& key : chunks) wants.push_back({key});
    ZEST_TRY(txn.want(wants));
    std::map<SliceRefKey, int64_t> held;
    for (const Key& key : chunks) {
      ZEST_ASSIGN(auto records, txn.chunk(Ino{key.a}, static_cast<ChunkIndex>(key.b)));
      if (records.empty()) continue;
      records.resize(records.size() / kSliceRecord * kSliceRecord);
      if (auto slices = decode_slices(records)) {
        for (auto& slice : *slices)
          if (raw(slice.id) > 0) held[{slice.id, slice.size}]++;
      } else {
        log_error(fmt::format("inode {}: chunk {} holds no valid slices; gc finds their objects", key.a, key.b));
      }
      txn.erase(key);
      state.change_log.add(txn, state.clock.now(), "DELCHUNK", {key.a, key.b});
    }
    for (auto& [slice, count] : held) txn.add(Key::slice_ref(slice.id, slice.size), -count);
    for (const auto& [ino, length] : with_record) txn.erase(Key::del_file(ino, length));
    return {};
  };
  // Their slices are then left to the job.
  auto settled = [&](Txn& txn) -> Result<bool> {
    const Key key = with_record.empty() ? chunks.front() : Key::del_file(with_record[0].first, with_record[0].second);
    ZEST_ASSIGN(const Value* value, txn.get(key));
    auto* records = std::get_if<std::string>(value);
    return gone(*value) || (records && records->empty());
  };
  ZEST_ASSIGN(const auto committed, run_entries(state, {}, body, settled));
  slices(state, committed);
  return {};
}

void Deleter::drain() {
  std::shared_ptr<ThreadPool> files, slices;
  {
    std::lock_guard lock(mutex_);
    files = files_, slices = slices_;
    draining_++;
  }
  wake_.notify_all();
  if (files) files->drain();
  if (slices) slices->drain();
  std::lock_guard lock(mutex_);
  draining_--;
}

void Deleter::stop() {
  std::shared_ptr<ThreadPool> files, slices;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    files.swap(files_);
    slices.swap(slices_);
  }
  wake_.notify_all();
  room_.notify_all();
  // Their destructors run what is queued: files first, as they queue slices.
  files.reset();
  slices.reset();
}

}  // namespace zest::meta
