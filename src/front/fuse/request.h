// One request while it is served: who asks, whether he gave up, and the reply. Private to front/fuse.
#pragma once

#include <fuse3/fuse_lowlevel.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <variant>

#include "front/fuse/session.h"

namespace zest::fuse {

class Request;

// A signal only ends a request that has run for a second (reading and writing files is not expected to give EINTR for
// every timer and child signal of a runtime), except where waiting is what was asked for.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  void later(Request& request);
  void forget(Request& request);

 private:
  void run();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Request*> waiting_;
  bool stop_ = false;
  std::thread thread_;
};

class Request {
 public:
  enum class Cancel { kNever, kLate, kAtOnce };
  Request(fuse_req_t req, Cancel cancel);
  ~Request();
  Request(const Request&) = delete;

  Session& session() { return session_; }
  fs::FileSystem& fs() { return session_.fs(); }
  const meta::Context& context() const { return context_; }
  uint16_t umask() const { return umask_; }

  // Exactly one reply. error(0) is success without data.
  void error(int code);
  void none();
  void entry(const meta::EntryAttr& entry);
  void no_entry();  // remembered by the kernel for the negative timeout
  void attr(Ino ino, const Attr& attr);
  void created(const meta::EntryAttr& entry, fuse_file_info* fi);
  void opened(fuse_file_info* fi);
  void bytes(const char* data, size_t size);
  void written(size_t size);
  void position(uint64_t offset);  // of lseek
  void link_target(const std::string& target);
  void xattr_size(size_t size);
  void statfs(const struct statvfs& st);
  void lock(const struct flock& lock);
  void ioctl(const void* data, size_t size);

  template <class T>
  bool failed(const Result<T>& result) {
    if (result) return false;
    error(result.error().code);
    return true;
  }

  // The record of the request that this thread serves from now on.
  static void set_slot(fs::Record* slot);
  fs::Record* slot() const { return slot_; }
  // Gives up without a reply, or with EINTR: whoever adopts the mount serves it.
  void abandon(bool silently) {
    abandoned_ = silently;
    cancel();
  }

  std::chrono::steady_clock::time_point begin() const { return begin_; }
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  friend class Interrupts;
  static void on_interrupt(fuse_req_t req, void* self);
  fuse_req_t finish();
  fuse_req_t req_;
  Session& session_;
  const Cancel cancel_;
  meta::Context context_;
  uint16_t umask_ = 0;
  std::atomic<bool> cancelled_{false}, abandoned_{false};
  fs::Record* const slot_;
  std::chrono::steady_clock::time_point begin_;
  bool queued_ = false;  // with Interrupts; guarded by its mutex
};

// Tells the kernel what to forget, from a thread of its own: a notification must not wait for the request that caused
// it.
class Notifier : public fs::ClientCache {
 public:
  explicit Notifier(Session& session) : session_(session) {}
  ~Notifier() override;
  void start();
  void stop();
  void forget_inode(Ino ino, int64_t offset, int64_t size) override;
  void forget_entry(Ino parent, const std::string& name) override;

 private:
  struct Inode {
    Ino ino;
    int64_t offset, size;
  };
  struct Name {
    Ino parent;
    std::string name;
  };
  void push(std::variant<Inode, Name> what);
  void run();
  static constexpr size_t kLimit = 65'536;
  Session& session_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::variant<Inode, Name>> queue_;
  bool stop_ = false;
  std::thread thread_;
};

// Supplementary groups of a process, remembered for five minutes.
std::vector<uint32_t> groups_of(uint32_t pid, uint32_t gid);

struct stat to_stat(Ino ino, const Attr& attr);
// Fills `out` from an entry; timeouts by its type.
void to_entry_param(const Options& options, const meta::EntryAttr& entry, fuse_entry_param& out);
double seconds(int64_t ms);

// The table of operations; those that the options turn off are left out, so that the kernel stops asking.
fuse_lowlevel_ops operations(const Options& options);

}  // namespace zest::fuse
