// The file writers of a mount: finds or makes the one of an inode, freezes slices by age, spreads the pressure when
// memory is short.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "data/file_writer.h"

namespace zest::data {

class Writer {
 public:
  Writer(meta::Meta& meta, BlockStore& blocks, Staging* staging, const Clock& clock, const DataOptions& options,
         std::function<void()> drop_read_ahead, std::function<void(SliceId, uint32_t)> remove_slice,
         std::function<object::Placement(Ino)> placement);
  ~Writer();

  Result<void> write(Ino ino, uint64_t offset, std::span<const char> data, const std::atomic<bool>* cancelled);
  Result<void> flush(Ino ino, const std::atomic<bool>* cancelled);
  Result<void> flush_all();
  void release(Ino ino);
  // Null: nothing is known of the inode. Costs next to nothing while nothing is written anywhere.
  std::shared_ptr<FileWriter> find(Ino ino) const;
  void stop();

 private:
  std::shared_ptr<FileWriter> find_or_make(Ino ino);
  std::vector<std::shared_ptr<FileWriter>> all() const;
  void relieve();
  void run();

  Stopper stopper_;
  ThreadPool uploads_, commits_;
  WriterEnv env_;
  std::function<void()> drop_read_ahead_;
  mutable std::mutex mutex_;
  std::unordered_map<Ino, std::shared_ptr<FileWriter>> files_;
  std::atomic<size_t> count_{0};
  std::atomic<int64_t> relieved_ms_{0};
  std::condition_variable wake_;
  bool stop_ = false, idle_ = false;  // idle: the ticker waits for a file, not for time to pass
  std::thread ticker_;
};

}  // namespace zest::data
