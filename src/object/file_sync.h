// Makes files durable that were written without: remembers them, and syncs them when somebody wants to be sure.
//
// Syncing each object as it is written would cost a closing of every small file two flushes of the disk; an fsync() of
// a user pays for all objects up to then, and concurrent ones share the flush.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/threads.h"

namespace zest::object {

class FileSync {
 public:
  // root: any path on the file system.
  explicit FileSync(std::string root) : root_(std::move(root)) {}

  void add_file(std::string path);
  void add_folder(std::string path);  // an entry of it was made or replaced

  // Everything that was added before the call is durable when it returns. An error goes to every caller whose additions
  // it concerns.
  Result<void> sync();

 private:
  static constexpr size_t kMaxPending = 1000;  // beyond it the whole file system is synced

  struct Batch {
    std::vector<std::string> files;
    std::set<std::string> folders;
    bool everything = false;
  };
  int flush(const Batch& batch);  // an errno
  void bound();                   // with mutex_ held

  const std::string root_;
  ThreadPool beside_{"sync", 1, 1};
  std::mutex mutex_;
  std::condition_variable done_;
  Batch batch_;                          // what was added and not yet taken by a flush
  uint64_t batch_id_ = 1, done_id_ = 0;  // of batch_; of the last one flushed
  bool running_ = false;                 // the batch batch_id_ - 1 is being flushed
  std::map<uint64_t, int> failed_;       // the last few
};

}  // namespace zest::object
