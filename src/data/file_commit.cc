// Uploading the blocks of a file's slices, and committing the slices in order.
#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/spent.h"
#include "data/file_writer.h"
#include "data/staging.h"

namespace zest::data {
namespace {

constexpr size_t kMaxBatch = 256;              // records in one transaction, unless a group has more
constexpr int64_t kFlushInterruptMs = 10'000;  // signals are common; a flush is given up only when it hangs

// Before try `attempt`: quick at first, then as patient as the reference (385 s in all by default).
int64_t backoff_ms(int attempt) { return attempt == 1 ? 100 : attempt == 2 ? 1000 : int64_t{attempt} * attempt * 1000; }

int upload_errno(int code) { return code == ENOSPC || code == EDQUOT || code == EROFS ? code : EIO; }

}  // namespace

void FileWriter::submit(std::vector<Task> tasks) {
  for (auto& task : tasks) {
    if (task.slice)
      env_.uploads.submit([self = shared_from_this(), task = std::move(task)] { self->run_upload(task, 0); });
    else
      submit_commit();
  }
}

void FileWriter::submit_commit() {
  env_.commits.submit([self = shared_from_this()] {
    Lock lock(self->mutex_);
    self->commit_ready(lock);
  });
}

Result<void> FileWriter::upload_once(const Task& task) {
  BufferPtr buffer;
  BlockId id;
  {
    Lock lock(mutex_);
    if (task.slice->id == SliceId{0}) {
      lock.unlock();
      ZEST_ASSIGN(SliceId fresh, env_.meta.new_slice_id());
      lock.lock();
      if (task.slice->id == SliceId{0}) task.slice->id = fresh;
    }
    buffer = task.slice->blocks[task.block].buffer;
    id = task.slice->block_id(task.block);
    // An open slice has only complete blocks to upload.
    if (!task.slice->frozen) id.bytes = task.slice->block_size;
  }
  if (!buffer) return {};  // dropped meanwhile
  // A staged block would have to remember it.
  const object::Placement placement = env_.placement(ino_);
  if (placement.is_default() && env_.staging && env_.staging->stage(id, buffer)) return {};
  return env_.blocks.upload(id, buffer, placement);
}

void FileWriter::run_upload(const Task& task, int attempt) {
  while (true) {
    {
      Lock lock(mutex_);
      if (task.slice->dropped) {
        env_.leaving -= task.bytes;
        return dropped_block_done(lock, task.slice);
      }
    }
    if (attempt > 0 && !env_.stopper.doze(backoff_ms(attempt)))
      return upload_failed(task, {EIO, Fault::kPlain, "the client is stopping"});
    auto result = upload_once(task);
    if (result) {
      env_.stopper.nudge();  // uploads that failed before need not wait any longer
      return uploaded(task);
    }
    log_warning(fmt::format("inode {}: upload failed (attempt {} of {}): {}", raw(ino_), attempt + 1,
                            env_.options.io_retries + 1, result.error().message()));
    if (attempt >= env_.options.io_retries) return upload_failed(task, std::move(result.error()));
    attempt++;
  }
}

void FileWriter::uploaded(const Task& task) {
  env_.leaving -= task.bytes;
  Lock lock(mutex_);
  auto& block = task.slice->blocks[task.block];
  block.state = WriteSlice::BlockState::kDone;
  if (task.slice->dropped) return dropped_block_done(lock, task.slice);
  block.buffer.reset();
  task.slice->in_flight--;
  if (!task.slice->uploaded()) return;
  // Who waits in flush() commits; else one of the commit threads does.
  bool somebody_waits = !waiters_.empty();
  lock.unlock();
  changed_.notify_all();
  if (!somebody_waits) submit_commit();
}

// The last upload of a dropped slice ended: its objects can go.
void FileWriter::dropped_block_done(Lock& lock, const WriteSlicePtr& slice) {
  if (--slice->in_flight > 0 || slice->id == SliceId{0}) return;
  auto id = slice->id;
  auto size = slice->size;
  lock.unlock();
  env_.commits.submit([self = shared_from_this(), id, size] { self->env_.remove_slice(id, size); });
}

void FileWriter::upload_failed(const Task& task, Error error) {
  env_.leaving -= task.bytes;
  error.code = upload_errno(error.code);
  error.fault = Fault::kPlain;
  Lock lock(mutex_);
  if (task.slice->dropped) return dropped_block_done(lock, task.slice);
  // The group of the failed slice: from the first slice whose writes interleave with it.
  size_t start = 0;
  uint64_t reach = 0;
  for (size_t i = 0; i < slices_.size(); i++) {
    if (slices_[i]->first > reach) start = i;
    reach = std::max(reach, slices_[i]->last);
    if (slices_[i] == task.slice) break;
  }
  log_error(
      fmt::format("inode {}: data was not written, slice {}: {}", raw(ino_), raw(task.slice->id), error.message()));
  drop_from(lock, start, error, true);
  if (!lock.owns_lock()) lock.lock();
  dropped_block_done(lock, task.slice);
}

void FileWriter::drop_from(Lock& lock, size_t from, const Error& error, bool remove_objects) {
  std::vector<WriteSlicePtr> gone(slices_.begin() + static_cast<ptrdiff_t>(from), slices_.end());
  slices_.resize(from);
  bool told = false;
  for (Waiter* waiter : waiters_) {
    if (gone.empty() || waiter->target < gone.front()->first) continue;
    waiter->error = error;
    told = true;
  }
  if (!told) error_ = error, error_refused_ = false;
  std::vector<std::pair<SliceId, uint32_t>> remove;
  for (auto& slice : gone) {
    slice->dropped = slice->frozen = true;
    if (remove_objects && slice->in_flight == 0 && slice->id != SliceId{0}) remove.emplace_back(slice->id, slice->size);
  }
  small_bytes_ = 0;
  lock.unlock();
  changed_.notify_all();
  if (!remove.empty())
    env_.commits.submit([self = shared_from_this(), remove = std::move(remove)] {
      for (auto& [id, size] : remove) self->env_.remove_slice(id, size);
    });
  gone.clear();  // memory goes outside the lock
  lock.lock();
}

// Number of leading slices that can commit now: whole groups, all uploaded.
size_t FileWriter::ready_prefix() const {
  size_t ready = 0, records = 0;
  while (ready < slices_.size()) {
    size_t end = ready;
    uint64_t reach = slices_[ready]->last;
    while (end < slices_.size() && slices_[end]->first <= reach) {
      if (!slices_[end]->uploaded()) return ready;
      reach = std::max(reach, slices_[end]->last);
      records += slices_[end]->extents.size();
      end++;
    }
    if (ready > 0 && (records > kMaxBatch || one_by_one_)) return ready;
    ready = end;
  }
  return ready;
}

void FileWriter::commit_ready(Lock& lock) {
  if (committing_) return;
  committing_ = true;
  while (size_t count = ready_prefix()) {
    std::vector<WriteSlicePtr> batch(slices_.begin(), slices_.begin() + static_cast<ptrdiff_t>(count));
    std::vector<meta::Meta::ChunkWrite> records;
    for (const auto& slice : batch)
      for (const auto& extent : slice->extents)
        records.push_back(
            {extent.chunk, Slice{extent.pos, slice->id, slice->size, extent.off, extent.len}, slice->mtime});
    lock.unlock();
    auto result = commit(records);
    lock.lock();
    if (result) {
      slices_.erase(slices_.begin(), slices_.begin() + static_cast<ptrdiff_t>(count));
      if (env_.clock.monotonic_ms() - committed_at_ms_ > 1000) committed_end_ = 0;
      for (const auto& record : records)
        committed_end_ =
            std::max(committed_end_, uint64_t{record.chunk} * kChunkSize + record.slice.pos + record.slice.len);
      committed_at_ms_ = env_.clock.monotonic_ms();
      changed_.notify_all();
      continue;
    }
    auto error = std::move(result.error());
    bool answer =
        error.fault == Fault::kPlain && (error.code == ENOSPC || error.code == EDQUOT || error.code == ENOENT ||
                                         error.code == EROFS || error.code == EFBIG || error.code == EPERM);
    if (answer && error.code != ENOENT && !one_by_one_ && batch.size() > 1) {
      one_by_one_ = true;  // some of it may fit
      continue;
    }
    log_error(fmt::format("inode {}: commit of {} slices failed: {}", raw(ino_), batch.size(), error.message()));
    if (!answer) error.code = EIO;
    error.fault = Fault::kPlain;
    drop_from(lock, 0, error, answer);
  }
  one_by_one_ = false;
  committing_ = false;
  changed_.notify_all();
}

// A database that is away for a while is waited for.
Result<void> FileWriter::commit(const std::vector<meta::Meta::ChunkWrite>& records) {
  auto started = env_.clock.monotonic_ms();
  for (int attempt = 1;; attempt++) {
    auto result = env_.meta.write(ino_, records);
    if (result) return {};
    // With an unknown outcome the same slices may be written again: those that are there are left alone.
    if (result.error().fault == Fault::kPlain) return fail(std::move(result.error()));
    if (attempt > env_.options.io_retries || env_.clock.monotonic_ms() - started > deadline_ms() ||
        !env_.stopper.sleep(std::min<int64_t>(backoff_ms(attempt), 10'000)))
      return fail(std::move(result.error()));
  }
}

Result<void> FileWriter::flush(const std::atomic<bool>* cancelled) {
  std::vector<Task> tasks;
  Lock lock(mutex_);
  if (auto error = take_error()) return fail(std::move(*error));
  if (slices_.empty()) return {};
  freeze_all(tasks);
  Waiter waiter{next_write_ - 1, {}};
  waiters_.push_back(&waiter);
  auto place = std::prev(waiters_.end());
  uint64_t target = next_number_ - 1;
  lock.unlock();

  // The last block is uploaded by this thread: a small file needs no other.
  if (!tasks.empty() && !tasks.back().slice) tasks.pop_back();
  if (!tasks.empty()) {
    Task mine = std::move(tasks.back());
    tasks.pop_back();
    submit(std::move(tasks));
    if (auto result = upload_once(mine)) {
      env_.stopper.nudge();
      uploaded(mine);
    } else if (env_.options.io_retries > 0) {
      env_.uploads.submit([self = shared_from_this(), mine] { self->run_upload(mine, 1); });
    } else {
      upload_failed(mine, std::move(result.error()));
    }
  }

  lock.lock();
  auto started = env_.clock.monotonic_ms();
  Result<void> outcome;
  while (true) {
    commit_ready(lock);
    if (waiter.error) {
      outcome = fail(std::move(*waiter.error));
      break;
    }
    if (slices_.empty() || slices_.front()->number > target) break;
    {
      Waiting waiting(committing_ ? Part::kMeta : Part::kObject);
      changed_.wait_for(lock, std::chrono::milliseconds(100));
    }
    auto waited = env_.clock.monotonic_ms() - started;
    if (cancelled && cancelled->load(std::memory_order_relaxed) && waited > kFlushInterruptMs) {
      outcome = fail(EINTR);
      break;
    }
    if (waited > deadline_ms()) {
      outcome = fail(EIO, fmt::format("flush of inode {} took too long", raw(ino_)));
      break;
    }
  }
  waiters_.erase(place);
  bool more = !committing_ && !slices_.empty();
  if (more) commit_ready(lock);
  return outcome;
}

}  // namespace zest::data
