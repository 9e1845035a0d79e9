// A file system served to the kernel through /dev/fuse. Thin: requests become calls on fs::FileSystem.
//
// The node id of an inode is its number, its generation 1; nothing is remembered about what the kernel knows, so FORGET
// is ignored.
//
// The kernel's side of a mount may outlive a session: the next process adopts it. Requests that were read and not
// answered come again, marked; the kernel's INIT request, which comes once, is kept in the state table.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/messages.h"
#include "base/result.h"
#include "front/fuse/listeners.h"
#include "fs/filesystem.h"
#include "fs/state_table.h"

struct fuse_session;
struct fuse_buf;

namespace zest::fuse {

struct Identity {
  uint32_t uid = 0, gid = 0;
};

struct Options {
  std::string mount_point, fs_name, subtype = "zestfs";
  std::vector<std::string> mount_options;  // for the kernel and libfuse, as in -o
  bool default_permissions = true, allow_other = false;
  bool writeback_cache = false, async_dio = false, enable_xattr = false, enable_ioctl = false, readdir_cache = false;
  bool posix_acl = false;
  uint32_t max_io = 1 << 20;
  int64_t attr_timeout_ms = 1000, entry_timeout_ms = 1000, dir_entry_timeout_ms = 1000, negative_timeout_ms = 0;
  std::optional<Identity> root_squash, all_squash;
  uint16_t umask = 0xFFFF;  // replaces the caller's unless 0xFFFF
  size_t max_threads = 256, idle_threads = 4;
  bool serves_xattrs() const { return enable_xattr || posix_acl; }
};

class Notifier;
class Interrupts;
class Request;

// The attributes that the kernel was told last, as a hash for each inode: opening a file only has to make the kernel
// ask again when they have changed.
class Told {
 public:
  void remember(Ino ino, const Attr& attr) {
    if (attr.is_file()) slots_[zest::raw(ino) % kSlots].store(hash(ino, attr), std::memory_order_relaxed);
  }
  bool is(Ino ino, const Attr& attr) const {
    return slots_[zest::raw(ino) % kSlots].load(std::memory_order_relaxed) == hash(ino, attr);
  }

 private:
  static uint64_t hash(Ino ino, const Attr& attr);
  static constexpr size_t kSlots = 4096;
  std::array<std::atomic<uint64_t>, kSlots> slots_{};
};

class Session {
 public:
  // Mounts. The file system must outlive the session. Errors name the mount point.
  static Result<std::unique_ptr<Session>> mount(fs::FileSystem& fs, const Options& options);
  // Goes on with a mount whose process died or handed it over: `device` is its /dev/fuse. `refuse_resent`: what that
  // process was doing is answered with EIO (it may be why it died).
  static Result<std::unique_ptr<Session>> adopt(fs::FileSystem& fs, const Options& options, Fd device,
                                                bool refuse_resent);
  ~Session();
  Session(const Session&) = delete;

  // Serves requests until the file system is unmounted.
  void run();
  // Takes the mount out of the tree (lazily, so that run() ends when the last file is closed). From any thread.
  Result<void> unmount();
  // From now on permissions are looked at here, too: ACLs came into use that the kernel was not told of.
  void check_acls() { checks_acls_ = true; }
  bool checks_acls() const { return checks_acls_.load(std::memory_order_relaxed); }
  // Stops taking requests and finishes those that were taken, but for waiting locks, which are left to the next
  // process. Then run() returns after hand_over(), or goes on after resume(). False: not within the time, or unmounted
  // meanwhile; it goes on.
  bool drain(int64_t timeout_ms);
  void hand_over();
  void resume();
  int device() const;  // owned by this
  bool finished() const { return finished_.load(std::memory_order_acquire); }

  fs::FileSystem& fs() { return fs_; }
  const Options& options() const { return options_; }
  Interrupts& interrupts() { return *interrupts_; }
  Notifier& notifier() { return *notifier_; }
  fuse_session* raw() { return session_; }
  Told& told() { return told_; }

  // Runs a request that may wait for long on a thread of its own; it is cancelled when the mount ends. False: too many
  // wait already.
  bool run_apart(std::shared_ptr<Request> request, std::function<void()> task);

 private:
  Session(fs::FileSystem& fs, Options options);
  static Result<std::unique_ptr<Session>> create(fs::FileSystem& fs, const Options& options);
  void start();
  Result<void> replay_init();
  void collect_attempts();
  void work();
  void serve(fuse_buf& buf, fs::Record& slot);
  void begin(uint64_t unique, fs::Record& slot);
  fs::FileSystem& fs_;
  const Options options_;
  fs::StateTable& table_;
  fuse_session* session_ = nullptr;
  bool adopted_ = false, refuse_resent_ = false, can_resend_ = false;
  Told told_;
  std::unique_ptr<Notifier> notifier_;
  std::unique_ptr<Interrupts> interrupts_;
  Listeners listeners_;
  std::mutex mutex_;  // of what follows
  std::condition_variable ended_;
  std::set<std::shared_ptr<Request>> apart_;
  std::unordered_map<uint64_t, meta::Attempt> attempts_;  // of the process before, by request
  bool handed_over_ = false, locks_left_ = false;
  std::atomic<bool> draining_{false}, checks_acls_{false};
  std::atomic<bool> finished_{false};
};

}  // namespace zest::fuse
