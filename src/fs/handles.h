// Open files and directories of a mount. Private to fs/.
#pragma once

#include <array>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "data/data.h"
#include "fs/state_table.h"
#include "meta/api.h"

namespace zest::fs {

using meta::Context;

// Reading and writing share it, what changes the file as a whole (truncate, fallocate, copy into it) has it alone.
// Waiting exclusive callers keep new shared ones out, so they are not starved. EINTR when the caller is cancelled.
class InodeLock {
 public:
  Result<void> lock_shared(const Context&);
  void unlock_shared();
  Result<void> lock(const Context&);
  void unlock();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int shared_ = 0, waiting_ = 0;
  bool exclusive_ = false;
};

// Held while in scope.
class SharedHold {
 public:
  explicit SharedHold(InodeLock& lock) : lock_(lock) {}
  Result<void> take(const Context& context) {
    auto result = lock_.lock_shared(context);
    held_ = result.has_value();
    return result;
  }
  ~SharedHold() {
    if (held_) lock_.unlock_shared();
  }

 private:
  InodeLock& lock_;
  bool held_ = false;
};
class ExclusiveHold {
 public:
  explicit ExclusiveHold(InodeLock& lock) : lock_(lock) {}
  Result<void> take(const Context& context) {
    auto result = lock_.lock(context);
    held_ = result.has_value();
    return result;
  }
  ~ExclusiveHold() {
    if (held_) lock_.unlock();
  }

 private:
  InodeLock& lock_;
  bool held_ = false;
};

// What all handles of one inode share.
struct OpenInode {
  OpenInode(Ino number, Record* of) : ino(number), record(of) {}
  const Ino ino;
  Record* const record;  // counts its writes, and those that are safe
  InodeLock lock;
  std::mutex append;  // held from choosing the end of the file until the data is buffered there
  std::atomic<uint64_t> length{0};
  std::atomic<uint64_t> changes{0};  // grows before and after each local change of content or length
  std::atomic<int> writers{0};       // writable handles
  std::atomic<bool> dirty{false};    // written to since the last flush
  std::atomic<bool> named{false};    // had a name outside the trash when it was opened

  uint64_t written() const { return std::atomic_ref(record->inode.written).load(std::memory_order_acquire); }
  // What was written when written() gave `count` is in the volume.
  void flushed(uint64_t count);
  void set_named();

  std::mutex mutex;  // guards what follows, and `length` together with `changes`
  Time mtime;        // as last seen
  uint64_t mtime_at_change = 0;
  std::set<uint64_t> lock_owners;  // POSIX locks of this client
  int closing = 0;                 // handles whose locks are being released
  std::condition_variable closed;

  int refs = 0;  // guarded by the table
};

struct DirWindow {
  std::unique_ptr<meta::DirStream> stream;
  bool with_attr = false, ended = false;
  uint64_t base = 0;                  // offset of the first of `entries`
  std::unordered_set<uint64_t> skip;  // hashes of names that were given before the process died that gave them
  uint64_t read_at = 0;               // Changes::now() before the oldest of `entries` was read
  uint64_t position = 0;              // first of `entries` not given yet
  std::vector<meta::DirEntry> entries;
};

// State of an open virtual file; see virtual_files.h.
class VirtualHandle {
 public:
  virtual ~VirtualHandle() = default;
  virtual Result<size_t> read(const Context&, uint64_t offset, std::span<char> into) = 0;
  virtual Result<size_t> write(const Context&, uint64_t offset, std::span<const char> bytes);  // EACCES
  virtual void flush() {}
};

struct Handle {
  uint64_t id = 0;
  Ino ino{0};
  uint32_t flags = 0;
  Record* record = nullptr;
  std::shared_ptr<OpenInode> inode;  // of a regular file
  std::unique_ptr<VirtualHandle> special;
  bool is_dir = false;
  std::once_flag reader_once;
  std::unique_ptr<data::ReadHandle> reader;

  std::mutex mutex;  // guards what follows
  DirWindow dir;
  std::set<uint64_t> lock_owners;  // POSIX locks taken through this handle
  std::set<uint64_t> flock_owners;
  std::vector<Record*> locks;  // the same, for whoever comes after this process

  bool writable() const;
  bool readable() const;
  // A crash has lost what was written through it: the next write is refused, and the next fsync or close tells of it
  // even so, since the kernel hides the first from a caller whose large write was answered in part.
  bool refuses_write() const;
  bool take_lost() { return std::atomic_ref(record->handle.lost).exchange(0) != 0; }
};

class HandleTable {
 public:
  explicit HandleTable(StateTable& table) : table_(table) {}
  // A handle with a number: even when writable, odd otherwise (control.md of the reference's tools tells them apart).
  std::shared_ptr<Handle> add(Ino ino, uint32_t flags, bool is_dir);
  // That of another process, with its number.
  std::shared_ptr<Handle> adopt(Record* record);
  // Opens an inode's shared state, or takes another reference.
  std::shared_ptr<OpenInode> open_inode(Ino ino, bool writable);
  // Null when there is none. `ino` must match.
  std::shared_ptr<Handle> find(uint64_t id, Ino ino) const;
  std::shared_ptr<OpenInode> inode(Ino ino) const;
  std::shared_ptr<Handle> remove(uint64_t id);
  // True when it was the last reference.
  bool close_inode(OpenInode& open, bool writable);
  // Notes an owner of locks that are released with the handle. handle.mutex must be held.
  void note_lock(Handle& handle, Record::Kind kind, uint64_t owner);
  void adopt_lock(Handle& handle, Record* record);
  // Gives back the records of a handle that was removed.
  void forget(Handle& handle);
  std::vector<std::shared_ptr<OpenInode>> dirty_inodes() const;
  size_t inodes() const;
  size_t size() const;

 private:
  static constexpr size_t kShards = 16;
  struct Shard {
    mutable std::shared_mutex mutex;
    std::unordered_map<uint64_t, std::shared_ptr<Handle>> handles;
  };
  struct InodeShard {
    mutable std::shared_mutex mutex;
    std::unordered_map<Ino, std::shared_ptr<OpenInode>> inodes;
  };
  InodeShard& shard_of(Ino ino) { return inode_shards_[raw(ino) % kShards]; }
  const InodeShard& shard_of(Ino ino) const { return inode_shards_[raw(ino) % kShards]; }

  std::shared_ptr<Handle> insert(std::shared_ptr<Handle> handle);
  StateTable& table_;
  std::array<Shard, kShards> shards_;
  std::array<InodeShard, kShards> inode_shards_;
};

}  // namespace zest::fs
