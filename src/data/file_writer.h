// Writes to one file on their way into the volume: slices in memory, uploads, and commits in the order of the writes.
// Shared by all handles of the file. docs/behaviour/client.md (a); DESIGN.md, "prefix consistency".
//
// Order: slices stand in one list, by creation. Slices whose writes interleave form a group (two streams, say); a group
// commits in one transaction, and groups commit in order, so that a crash leaves what a prefix of the writes made.
// When a slice fails for good, it and everything written after it and not yet committed is dropped: one write is
// refused, if one comes first, and the next flush tells of the error; the file reads as before those writes, and later
// writes start afresh.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/threads.h"
#include "data/block_store.h"
#include "data/stopper.h"
#include "data/write_slice.h"
#include "meta/api.h"

namespace zest::data {

class Staging;

// What the file writers of a mount share; owned by Writer.
struct WriterEnv {
  meta::Meta& meta;
  BlockStore& blocks;
  Staging* staging;  // null: no write-back
  const Clock& clock;
  const DataOptions& options;
  Stopper& stopper;
  ThreadPool& uploads;
  ThreadPool& commits;
  std::function<void()> relieve;  // memory is short: somebody may let go of some
  std::function<void(SliceId, uint32_t size)> remove_slice;
  std::function<object::Placement(Ino)> placement;  // of the file's tier
  std::atomic<int64_t> leaving{0};                  // bytes of memory that uploads, waiting or under way, will free
};

// A slice that is not committed, as a reader needs it.
struct PendingSlice {
  WriteSlicePtr slice;
  SliceId id{0};
  uint32_t size = 0;
  Extent extent;
};

class FileWriter : public std::enable_shared_from_this<FileWriter> {
 public:
  FileWriter(Ino ino, WriterEnv& env) : ino_(ino), env_(env) {}

  Result<void> write(uint64_t offset, std::span<const char> data, const std::atomic<bool>* cancelled);
  Result<void> flush(const std::atomic<bool>* cancelled);
  void freeze();               // starts the upload of everything
  void tick(int64_t now_ms);   // freezes what is old or idle
  bool clean() const;          // nothing buffered
  int64_t open_bytes() const;  // memory of what no upload waits for
  bool has_error() const;
  void forget_error();
  void forget_length();  // the file was truncated or changed elsewhere
  // End of what is buffered; 0: nothing.
  uint64_t end() const;
  // End of what was committed within the last second; 0: nothing.
  uint64_t committed_end(int64_t now_ms) const;
  std::optional<Time> mtime() const;  // of what is buffered
  void set_mtime(Time mtime);

  // What is buffered of a chunk, in order.
  std::vector<PendingSlice> pending(ChunkIndex chunk) const;
  // Bytes within one block of the slice. False: it was uploaded; `uploaded` is then the block to read.
  bool copy(const WriteSlice& slice, uint32_t off, std::span<char> into, BlockId& uploaded) const;

 private:
  struct Task {
    WriteSlicePtr slice;  // null: nothing to upload, but something to commit
    uint32_t block;
    int64_t bytes = 0;  // of memory
  };
  struct Waiter {
    uint64_t target;
    std::optional<Error> error;
  };
  using Lock = std::unique_lock<std::mutex>;

  Result<void> write_piece(ChunkIndex chunk, uint32_t pos, std::span<const char> data,
                           const std::atomic<bool>* cancelled);
  Result<size_t> put_some(Lock& lock, ChunkIndex chunk, uint32_t pos, std::span<const char> data,
                          std::vector<Task>& tasks);
  Result<void> wait_for_memory(int64_t started_ms, size_t bytes, const std::atomic<bool>* cancelled);
  Result<void> wait_for_room(Lock& lock, int64_t started_ms, const std::atomic<bool>* cancelled);
  WriteSlicePtr add_slice(ChunkIndex chunk, uint32_t pos);
  std::optional<Error> take_error();
  Result<void> refuse_once();

  void queue_block(const WriteSlicePtr& slice, uint32_t block, std::vector<Task>& tasks);
  void freeze_all(std::vector<Task>& tasks);
  void pack_small();
  void submit(std::vector<Task> tasks);
  void submit_commit();
  Result<void> upload_once(const Task& task);
  void run_upload(const Task& task, int attempt);
  void uploaded(const Task& task);
  void upload_failed(const Task& task, Error error);
  void dropped_block_done(Lock& lock, const WriteSlicePtr& slice);

  size_t ready_prefix() const;
  void commit_ready(Lock& lock);
  Result<void> commit(const std::vector<meta::Meta::ChunkWrite>& records);
  // Drops slices_[from..] and tells of the error.
  void drop_from(Lock& lock, size_t from, const Error& error, bool remove_objects);
  int64_t deadline_ms() const;

  const Ino ino_;
  WriterEnv& env_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<WriteSlicePtr> slices_;
  uint64_t next_number_ = 1, next_write_ = 1;
  int64_t last_write_ms_ = 0;
  size_t small_bytes_ = 0;  // in open slices shorter than a block, roughly
  std::list<Waiter*> waiters_;
  std::optional<Error> error_;  // what happened in the background, until a flush tells of it
  bool error_refused_ = false;  // a write was refused for it
  bool committing_ = false, one_by_one_ = false;
  uint64_t committed_end_ = 0;
  int64_t committed_at_ms_ = 0;
};

}  // namespace zest::data
