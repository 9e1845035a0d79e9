// Writing into slices, and what is known of them while they wait. Uploading and committing: file_commit.cc.
#include "data/file_writer.h"

#include <algorithm>

#include "base/spent.h"
#include "base/wait_notice.h"

namespace zest::data {
namespace {

constexpr size_t kManySlices = 512;  // freeze what is open
constexpr size_t kSmallBlocks = 4;   // worth of data in short slices: freeze them
constexpr size_t kMaxSlices = 1000;  // wait
constexpr int64_t kIdleMs = 1000, kAgeMs = 5000, kGraceMs = 1000;
constexpr int64_t kInterruptMs = 1000;  // an interrupt counts once a call has waited this long

bool is_cancelled(const std::atomic<bool>* cancelled) {
  return cancelled && cancelled->load(std::memory_order_relaxed);
}

}  // namespace

int64_t FileWriter::deadline_ms() const {
  int64_t retries = env_.options.io_retries + 2;
  return std::max<int64_t>(300'000, retries * retries / 2 * 1000);
}

std::optional<Error> FileWriter::take_error() {
  std::optional<Error> error;
  error.swap(error_);
  return error;
}

// A flush has to tell of it even so: the kernel hides the error of a request in the middle of a large write.
Result<void> FileWriter::refuse_once() {
  if (!error_ || std::exchange(error_refused_, true)) return {};
  return fail(*error_);
}

Result<void> FileWriter::write(uint64_t offset, std::span<const char> data, const std::atomic<bool>* cancelled) {
  if (offset + data.size() >= kMaxFileSize || offset + data.size() < offset) return fail(EFBIG);
  {
    Lock lock(mutex_);
    ZEST_TRY(refuse_once());
  }
  while (!data.empty()) {
    auto chunk = static_cast<ChunkIndex>(offset / kChunkSize);
    auto pos = static_cast<uint32_t>(offset % kChunkSize);
    size_t n = std::min<size_t>(data.size(), kChunkSize - pos);
    ZEST_TRY(write_piece(chunk, pos, data.first(n), cancelled));
    data = data.subspan(n);
    offset += n;
  }
  return {};
}

Result<void> FileWriter::write_piece(ChunkIndex chunk, uint32_t pos, std::span<const char> data,
                                     const std::atomic<bool>* cancelled) {
  int64_t started = env_.clock.monotonic_ms();
  while (!data.empty()) {
    std::vector<Task> tasks;
    Lock lock(mutex_);
    if (slices_.size() >= kManySlices || small_bytes_ >= kSmallBlocks * env_.blocks.block_size()) freeze_all(tasks);
    if (slices_.size() >= kMaxSlices) {
      lock.unlock();
      submit(std::move(tasks));
      lock.lock();
      ZEST_TRY(wait_for_room(lock, started, cancelled));
      continue;
    }
    auto put = put_some(lock, chunk, pos, data, tasks);
    lock.unlock();
    submit(std::move(tasks));
    if (!put) return fail(std::move(put.error()));
    if (*put == 0) {
      ZEST_TRY(wait_for_memory(started, std::min<size_t>(env_.blocks.block_size(), data.size() * 4), cancelled));
      continue;
    }
    pos += static_cast<uint32_t>(*put);
    data = data.subspan(*put);
  }
  return {};
}

// As much as the block at hand takes; 0: no memory for it now.
Result<size_t> FileWriter::put_some(Lock&, ChunkIndex chunk, uint32_t pos, std::span<const char> data,
                                    std::vector<Task>& tasks) {
  auto len = static_cast<uint32_t>(data.size());
  auto now = env_.clock.monotonic_ms();
  last_write_ms_ = now;  // also of one that has to wait for memory
  int chosen = choose_slice(slices_, chunk, pos, len);
  WriteSlicePtr slice = chosen >= 0 ? slices_[static_cast<size_t>(chosen)] : nullptr;
  if (!slice) {
    slice = std::make_shared<WriteSlice>(env_.blocks.block_size(), 0);
    slice->extents.push_back({chunk, pos, 0, 0});
  }
  auto room = slice->room(pos, len);
  if (room.capacity > 0) {
    auto& pool = env_.blocks.pool();
    // a fifth stays free, so that reads, compression and merges go on while writers wait
    auto memory = pool.try_get(room.capacity, pool.budget().limit() / 5);
    if (!memory) return size_t{0};
    slice->grow(std::move(memory));
  }
  uint64_t number = next_write_++;
  if (chosen < 0) {
    slice->number = next_number_++;
    slice->first = number;
    slice->created_ms = now;
    slices_.push_back(slice);
  }
  bool was_small = slice->size < slice->block_size;
  uint32_t before = slice->size;
  slice->put(pos, data.first(room.bytes));
  slice->last = number;
  slice->mtime = env_.clock.now();
  if (was_small) {
    small_bytes_ += slice->size - before;
    if (slice->size >= slice->block_size) small_bytes_ -= std::min<size_t>(small_bytes_, slice->block_size);
  }
  uint32_t complete = slice->size / slice->block_size;
  if (complete > 0) queue_block(slice, complete - 1, tasks);
  if (uint64_t{slice->extents[0].pos} + slice->size == kChunkSize) {
    slice->frozen = true;
    if (slice->size % slice->block_size != 0) queue_block(slice, complete, tasks);
  }
  return size_t{room.bytes};
}

Result<void> FileWriter::wait_for_memory(int64_t started_ms, size_t bytes, const std::atomic<bool>* cancelled) {
  before_wait();
  env_.relieve();
  auto& budget = env_.blocks.pool().budget();
  // Waits until that much would be free beside what writers leave to others; the next attempt takes it.
  (void)budget.take(static_cast<int64_t>(bytes) + budget.limit() / 5, 100);
  auto waited = env_.clock.monotonic_ms() - started_ms;
  if (is_cancelled(cancelled) && waited > kInterruptMs) return fail(EINTR);
  if (waited > deadline_ms() || env_.stopper.stopped()) return fail(EIO, "no memory to buffer a write");
  return {};
}

Result<void> FileWriter::wait_for_room(Lock& lock, int64_t started_ms, const std::atomic<bool>* cancelled) {
  before_wait();
  commit_ready(lock);
  if (slices_.size() < kMaxSlices) return {};
  {
    Waiting waiting(Part::kObject);
    changed_.wait_for(lock, std::chrono::milliseconds(100));
  }
  ZEST_TRY(refuse_once());
  auto waited = env_.clock.monotonic_ms() - started_ms;
  if (is_cancelled(cancelled) && waited > kInterruptMs) return fail(EINTR);
  if (waited > deadline_ms() || env_.stopper.stopped()) return fail(EIO, "too much waits to be uploaded");
  return {};
}

void FileWriter::queue_block(const WriteSlicePtr& slice, uint32_t block, std::vector<Task>& tasks) {
  auto& state = slice->blocks[block].state;
  if (state != WriteSlice::BlockState::kBuffered) return;
  state = WriteSlice::BlockState::kQueued;
  slice->in_flight++;
  auto bytes = static_cast<int64_t>(slice->blocks[block].buffer->capacity());
  env_.leaving += bytes;
  tasks.push_back({slice, block, bytes});
}

void FileWriter::freeze_all(std::vector<Task>& tasks) {
  bool any = false;
  for (auto& slice : slices_)
    if (!slice->frozen) slice->frozen = any = true;
  small_bytes_ = 0;
  if (!any) return;
  pack_small();
  for (auto& slice : slices_)
    for (uint32_t i = 0; i < slice->blocks.size(); i++) queue_block(slice, i, tasks);
  if (ready_prefix() > 0) tasks.push_back({nullptr, 0});
}

// Joins runs of small slices that nothing was uploaded of, each run into one object of a block at most.
void FileWriter::pack_small() {
  const uint32_t limit = env_.blocks.block_size();
  std::vector<WriteSlicePtr> out;
  out.reserve(slices_.size());
  size_t i = 0;
  while (i < slices_.size()) {
    size_t end = i;
    uint64_t bytes = 0;
    while (end < slices_.size() && slices_[end]->frozen && slices_[end]->untouched() &&
           bytes + slices_[end]->size <= limit)
      bytes += slices_[end++]->size;
    if (end - i < 2) {
      out.push_back(slices_[i++]);
      continue;
    }
    std::span members(slices_.data() + i, end - i);
    auto plan = plan_pack(members);
    auto memory = env_.blocks.pool().try_get(plan.size, 0);
    if (memory)
      out.push_back(pack_slices(members, plan, std::move(memory)));
    else
      out.insert(out.end(), members.begin(), members.end());
    i = end;
  }
  slices_.swap(out);
}

void FileWriter::freeze() {
  std::vector<Task> tasks;
  {
    Lock lock(mutex_);
    freeze_all(tasks);
  }
  submit(std::move(tasks));
}

void FileWriter::tick(int64_t now_ms) {
  std::vector<Task> tasks;
  {
    Lock lock(mutex_);
    bool due = std::any_of(slices_.begin(), slices_.end(), [&](const WriteSlicePtr& s) {
      return !s->frozen && (now_ms - s->created_ms > kAgeMs ||
                            (now_ms - s->created_ms > kIdleMs && now_ms - last_write_ms_ > kIdleMs));
    });
    if (due) freeze_all(tasks);
  }
  submit(std::move(tasks));
}

bool FileWriter::clean() const {
  Lock lock(mutex_);
  return slices_.empty();
}

int64_t FileWriter::open_bytes() const {
  Lock lock(mutex_);
  size_t bytes = 0;
  for (const auto& slice : slices_)
    for (const auto& block : slice->blocks)
      if (block.state == WriteSlice::BlockState::kBuffered) bytes += block.buffer->capacity();
  return static_cast<int64_t>(bytes);
}

bool FileWriter::has_error() const {
  Lock lock(mutex_);
  return error_.has_value();
}

void FileWriter::forget_error() {
  Lock lock(mutex_);
  error_.reset();
}

void FileWriter::forget_length() {
  Lock lock(mutex_);
  committed_end_ = 0;
}

uint64_t FileWriter::end() const {
  Lock lock(mutex_);
  uint64_t end = 0;
  for (const auto& slice : slices_)
    for (const auto& extent : slice->extents)
      end = std::max(end, uint64_t{extent.chunk} * kChunkSize + extent.pos + extent.len);
  return end;
}

uint64_t FileWriter::committed_end(int64_t now_ms) const {
  Lock lock(mutex_);
  return now_ms - committed_at_ms_ <= kGraceMs ? committed_end_ : 0;
}

std::optional<Time> FileWriter::mtime() const {
  Lock lock(mutex_);
  std::optional<Time> latest;
  uint64_t last = 0;
  for (const auto& slice : slices_) {
    if (slice->last < last) continue;
    last = slice->last;
    latest = slice->mtime;
  }
  return latest;
}

void FileWriter::set_mtime(Time mtime) {
  Lock lock(mutex_);
  for (auto& slice : slices_) slice->mtime = mtime;
  // A commit on its way carries the old time: let it land before the caller stores the new one.
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  Waiting waiting(Part::kMeta);
  changed_.wait_until(lock, deadline, [&] { return !committing_; });
}

std::vector<PendingSlice> FileWriter::pending(ChunkIndex chunk) const {
  Lock lock(mutex_);
  std::vector<PendingSlice> out;
  for (const auto& slice : slices_)
    for (const auto& extent : slice->extents)
      if (extent.chunk == chunk && extent.len > 0) out.push_back({slice, slice->id, slice->size, extent});
  return out;
}

bool FileWriter::copy(const WriteSlice& slice, uint32_t off, std::span<char> into, BlockId& uploaded) const {
  Lock lock(mutex_);
  if (slice.copy(off, into)) return true;
  uploaded = slice.block_id(off / slice.block_size);
  return false;
}

}  // namespace zest::data
