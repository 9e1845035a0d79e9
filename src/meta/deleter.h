// Deletes the data of files and slices whose references are used up (semantics.md 12.3, 13.2): objects first, then the
// record. Many go together, in a moment. What fails stays recorded for the hourly job.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/threads.h"
#include "meta/api.h"
#include "volume/records.h"

namespace zest::meta {

struct State;

// Before start(), and after stop(), what is asked for is left to the job, but for delete_file_data() and
// delete_slice(), which work on the calling thread.
class Deleter {
 public:
  using Files = std::vector<std::pair<Ino, uint64_t>>;  // with their lengths

  Deleter();
  ~Deleter();
  void start(State&, int threads);  // 0 threads: slices are never deleted
  // Queues the objects of every slice whose references became <= 0; dropped when the queue is full (the job finds it).
  void slices(State&, const CommitResult& result);
  // Queues the data of a file that was unlinked (its kDelFile record exists). wait: for a free slot instead of leaving
  // it to the job.
  void file(State&, Ino ino, uint64_t length, bool wait);
  // Now, on this thread: all chunks, also those past the lengths, and the kDelFile records.
  Result<void> delete_file_data(State&, const Files& files);
  Result<void> delete_slice(State&, SliceId id, uint32_t size);
  void drain();
  void stop();

 private:
  using Slices = std::vector<Key>;  // kSliceRef

  void gather(State&);
  Result<void> delete_chunks(State&, std::span<const Key> chunks, const Files& with_record);
  void delete_slices(State&, const Slices& slices);
  void delete_files_or_log(State&, const Files& files);

  std::mutex mutex_;  // guards all of these
  std::condition_variable wake_, room_;
  std::shared_ptr<ThreadPool> slices_, files_;
  std::deque<std::pair<Ino, uint64_t>> waiting_;
  std::set<Ino> busy_;      // files being deleted
  bool gathering_ = false;  // a thread of files_ has them, or will
  int draining_ = 0;
  bool stopped_ = false;
};

}  // namespace zest::meta
