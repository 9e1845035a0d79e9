// The protocol of .control (docs/behaviour/control.md section 5): requests and replies share one byte log per handle.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "fs/filesystem.h"
#include "fs/handles.h"

namespace zest::fs {

// What a running request tells of itself.
struct JobProgress {
  std::atomic<uint64_t> a{0}, b{0};
};

// Runs one request. The reply without progress records: one byte errno, or 0xFF, length, JSON.
std::string run_control(FileSystem& fs, const Context& context, uint32_t op, std::string_view body,
                        JobProgress& progress);
// JSON replies (control_info.cc).
std::string info_json(FileSystem& fs, const Context& context, Ino ino, bool recursive, bool raw_chunks, bool strict,
                      JobProgress& progress);
std::string info_text(FileSystem& fs, const Context& context, Ino ino, bool recursive, JobProgress& progress);
std::string summary_json(FileSystem& fs, const Context& context, Ino ino, int depth, int top, bool strict,
                         JobProgress& progress);
// Warm-up, eviction or a look at the cache (control_cache.cc); `paths` joined by newlines.
std::string cache_json(FileSystem& fs, const Context& context, std::string_view paths, int threads,
                       data::Data::CacheAction action, JobProgress& progress);
std::string empty_cache_json();
Result<void> compact_tree(FileSystem& fs, const Context& context, Ino ino, int threads, JobProgress& progress);
// Every regular file at or below `ino`; stops when `each` gives an error.
Result<void> walk_files(FileSystem& fs, const Context& context, Ino ino,
                        const std::function<Result<void>(Ino, const Attr&)>& each);

// Groups of a process besides its first, from /proc; empty when it is gone.
std::vector<uint32_t> groups_of_process(uint32_t pid);
// Whether set-group-id stays depends on all groups of the caller, and a kernel that checks permissions itself names
// one.
Context with_groups(const Context& context);

class ControlHandle : public VirtualHandle {
 public:
  explicit ControlHandle(FileSystem& fs) : fs_(fs) {}
  ~ControlHandle() override;
  Result<size_t> read(const Context&, uint64_t offset, std::span<char> into) override;
  Result<size_t> write(const Context&, uint64_t offset, std::span<const char> bytes) override;
  void flush() override;

 private:
  void start(const Context& context);   // with mutex_ held
  void append(std::string_view bytes);  // with mutex_ held
  void append_progress();

  FileSystem& fs_;
  std::mutex mutex_;
  std::string log_;  // bytes from base_ on
  uint64_t base_ = 0;
  std::string request_;
  bool running_ = false;
  std::atomic<bool> cancelled_{false};
  std::shared_ptr<JobProgress> progress_;
  std::chrono::steady_clock::time_point told_;
  std::thread job_;
};

}  // namespace zest::fs
