// Deletes the data of files and slices whose references are used up (semantics.md 12.3, 13.2): objects first, then the
// record. What fails stays recorded for the hourly job.
#pragma once

#include <memory>
#include <mutex>
#include <set>

#include "base/threads.h"
#include "meta/api.h"

namespace zest::meta {

struct State;

// Before start(), and after stop(), what is asked for is left to the job, but for delete_file_data() and
// delete_slice(), which work on the calling thread.
class Deleter {
 public:
  Deleter();
  ~Deleter();
  void start(State&, int threads);  // 0 threads: slices are never deleted
  // Queues objects of a slice that a commit left without references; dropped when the queue is full (the job finds it).
  void slice(State&, SliceId id, uint32_t size);
  void slices(State&, const CommitResult& result);  // every reference that became <= 0
  // Queues the data of a file that was unlinked (its kDelFile record exists). wait: for a free slot instead of leaving
  // it to the job.
  void file(State&, Ino ino, uint64_t length, bool wait);
  // Now, on this thread: all chunks, also those past `length`, then the kDelFile record.
  Result<void> delete_file_data(State&, Ino ino, uint64_t length);
  Result<void> delete_slice(State&, SliceId id, uint32_t size);
  void drain();
  void stop();

 private:
  Result<void> delete_chunk(State&, Ino ino, ChunkIndex chunk);
  void delete_slice_or_log(State&, SliceId id, uint32_t size);
  void delete_file_or_log(State&, Ino ino, uint64_t length);

  std::mutex mutex_;  // guards the pointers and busy_
  std::shared_ptr<ThreadPool> slices_, files_;
  std::set<Ino> busy_;  // files being deleted
  bool stopped_ = false;
};

}  // namespace zest::meta
