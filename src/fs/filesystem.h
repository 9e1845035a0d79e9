// The POSIX view of a volume: what a protocol front end (FUSE, later S3, WebDAV, SDK) calls. Joins metadata with data,
// owns open handles and the virtual files of a mount. Knows nothing of any protocol.
//
// Behaviour: docs/behaviour/semantics.md (VFS rows), client.md (d), control.md.
// All calls are thread safe and blocking. Each is counted, timed and told to open access logs.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/threads.h"
#include "data/data.h"
#include "meta/api.h"

namespace zest::fs {

using meta::Context;
using meta::EntryAttr;

struct Options {
  bool prefix_internal = false;  // virtual names become .jfs<name>
  bool hide_internal = false;    // not listed
  bool enable_cap = false, enable_selinux = false;
  bool enable_whiteout = false;  // RENAME_WHITEOUT, else ENOTSUP
  bool read_write_only = false;  // reads through write-only handles (the kernel's write-back cache needs them)
  uid_t owner_uid = 0;           // of the virtual files
  gid_t owner_gid = 0;
  // Only for .config and the access log; nothing here decides by them.
  int64_t attr_timeout_ms = 1000, entry_timeout_ms = 1000, dir_entry_timeout_ms = 1000, negative_timeout_ms = 0;
  bool readdir_cache = false;
  int64_t backup_meta_ms = 0;
  int64_t slow_op_ms = 10'000;  // operations that take longer go to the log; 0: none
  bool backup_skip_trash = false;
  std::string root_squash, all_squash;  // "uid:gid"
  uint16_t umask = 0xFFFF;              // not set
  bool non_default_permission = false;
  std::vector<std::string> fuse_options;
  std::string fs_name;
  uint32_t max_write = 128 << 10;
  bool enable_xattr = false, enable_ioctl = false, writeback_cache = false, allow_other = false;
  bool cap_acl = false, dont_mask = false;
  std::string metrics_address, consul_address;
  data::DataOptions data;
};

// What the front end's client caches, and how to make it forget. Calls may come from any thread, must not wait for a
// request that is being served, and may be dropped when nothing listens.
class ClientCache {
 public:
  virtual ~ClientCache() = default;
  // Attributes, and pages from offset on (size 0: to the end) unless offset is negative.
  virtual void forget_inode(Ino ino, int64_t offset, int64_t size) = 0;
  virtual void forget_entry(Ino parent, const std::string& name) = 0;
};

constexpr uint32_t kSetSize = 8;  // with meta's kSet bits: the bits of a FUSE SETATTR
constexpr uint32_t kSetCtime = 0x400;

// What to do about a lock that another holds. kFirst: give EAGAIN, and the caller comes back with kYes (from a thread
// that may wait); the two count as one operation.
enum class LockWait : uint8_t { kNo, kYes, kFirst };

struct Change {
  uint32_t set = 0;
  Attr values;
  uint64_t size = 0;
};

struct DirItem {
  std::string_view name;
  Ino ino{0};
  FileType type = FileType::kFile;
  const Attr* attr = nullptr;  // null: not known, or not to be trusted any more
  uint64_t next = 0;           // the offset to go on from
};

class HandleTable;
class StateTable;
struct Handle;
struct OpenInode;
class AccessLog;
class OpStats;
class Troubles;
class VolumeStats;
class Changes;
class Links;
class Metrics;
struct Metric;
class Op;
class VirtualFiles;

class FileSystem {
 public:
  // Meta and data must be loaded; both outlive this. Without a table nobody can go on where this stops.
  FileSystem(meta::Meta& meta, data::Data& data, const Clock& clock, Options options,
             std::shared_ptr<StateTable> table = nullptr);
  ~FileSystem();
  FileSystem(const FileSystem&) = delete;

  // Opens again what another process had open, as the table tells; the session must be that process's. To be called
  // before anything else. A file that had unflushed writes lost them: each of its writable handles says so, by EIO
  // from the next write and from the next fsync or close. Gives the inodes that lost data.
  Result<std::vector<Ino>> restore();
  StateTable& table() { return *table_; }

  void set_client_cache(ClientCache* cache) { cache_ = cache; }
  ClientCache* client_cache() const { return cache_.load(); }

  // --- names ---
  Result<EntryAttr> lookup(const Context&, Ino parent, std::string_view name);
  Result<Attr> getattr(const Context&, Ino ino);
  Result<Attr> setattr(const Context&, Ino ino, std::optional<uint64_t> fh, const Change& change);
  Result<EntryAttr> mknod(const Context&, Ino parent, std::string_view name, FileType type, uint16_t mode,
                          uint16_t umask, uint32_t rdev);
  Result<EntryAttr> mkdir(const Context&, Ino parent, std::string_view name, uint16_t mode, uint16_t umask);
  Result<EntryAttr> symlink(const Context&, Ino parent, std::string_view name, std::string_view target);
  Result<std::string> readlink(const Context&, Ino ino);
  Result<void> unlink(const Context&, Ino parent, std::string_view name);
  Result<void> rmdir(const Context&, Ino parent, std::string_view name);
  Result<void> rename(const Context&, Ino parent, std::string_view name, Ino new_parent, std::string_view new_name,
                      uint32_t flags);
  Result<EntryAttr> link(const Context&, Ino ino, Ino new_parent, std::string_view new_name);
  Result<void> access(const Context&, Ino ino, uint8_t mask);
  // The client's cache let go of the inode; neither counted nor logged.
  void forget(Ino ino);
  Result<meta::StatFs> statfs(const Context&, Ino ino);

  // --- files ---
  struct Opened {
    uint64_t fh = 0;
    Attr attr;
    bool keep_cache = false;  // what the client cached of the content is still true
    bool direct_io = false;   // a virtual file
  };
  Result<Opened> open(const Context&, Ino ino, uint32_t flags);
  struct Created {
    EntryAttr entry;
    uint64_t fh = 0;
  };
  Result<Created> create(const Context&, Ino parent, std::string_view name, uint16_t mode, uint16_t umask,
                         uint32_t flags);
  Result<Created> tmpfile(const Context&, Ino parent, uint16_t mode, uint16_t umask, uint32_t flags);
  // lent: as for Data::read().
  Result<size_t> read(const Context&, Ino ino, uint64_t fh, uint64_t offset, std::span<char> into,
                      data::Lent* lent = nullptr);
  // from_cache: pages that a client's cache writes back; their offset holds even for O_APPEND handles, which otherwise
  // write at the end of the file as it is now.
  Result<size_t> write(const Context&, Ino ino, uint64_t fh, uint64_t offset, std::span<const char> bytes,
                       bool from_cache);
  Result<void> flush(const Context&, Ino ino, uint64_t fh, uint64_t lock_owner);
  Result<void> fsync(const Context&, Ino ino, uint64_t fh, bool data_only);
  void release(const Context&, Ino ino, uint64_t fh);
  Result<void> fallocate(const Context&, Ino ino, uint64_t fh, uint32_t mode, int64_t offset, int64_t size);
  Result<uint64_t> copy_file_range(const Context&, Ino in, uint64_t fh_in, uint64_t off_in, Ino out, uint64_t fh_out,
                                   uint64_t off_out, uint64_t size, uint32_t flags);

  // SEEK_DATA and SEEK_HOLE; ENXIO at the end of the file and behind it, or when no data follows.
  Result<uint64_t> lseek(const Context&, Ino ino, uint64_t fh, uint64_t offset, int whence);
  // Somebody may be writing to the file: a client's cache may hold pages that were not written yet.
  bool has_writers(Ino ino) const;

  // --- directories ---
  Result<uint64_t> opendir(const Context&, Ino ino);
  // Calls `add` for the entries from `offset` on, until it gives false (that one was not taken) or the end.
  // with_attr falls back to plain entries where the caller may not search the directory.
  Result<void> readdir(const Context&, Ino ino, uint64_t fh, uint64_t offset, size_t size, bool with_attr,
                       const std::function<bool(const DirItem&)>& add);
  void releasedir(const Context&, Ino ino, uint64_t fh);
  // Changes of names acknowledged before are durable against power loss.
  Result<void> fsyncdir(const Context&, Ino ino);

  // --- extended attributes; POSIX ACLs under their xattr names ---
  Result<void> setxattr(const Context&, Ino ino, std::string_view name, std::string_view value, uint32_t flags);
  Result<std::string> getxattr(const Context&, Ino ino, std::string_view name, size_t buffer);
  // Names, each ended by NUL.
  Result<std::string> listxattr(const Context&, Ino ino, size_t buffer);
  Result<void> removexattr(const Context&, Ino ino, std::string_view name);

  // --- flags as chattr knows them (FS_IMMUTABLE_FL ...) ---
  Result<uint32_t> get_flags(const Context&, Ino ino, uint32_t cmd);
  Result<void> set_flags(const Context&, Ino ino, uint32_t cmd, uint32_t flags);

  // --- locks ---
  Result<PosixLock> getlk(const Context&, Ino ino, uint64_t fh, uint64_t owner, const PosixLock& lock);
  Result<void> setlk(const Context&, Ino ino, uint64_t fh, uint64_t owner, const PosixLock& lock, LockWait wait);
  Result<void> flock(const Context&, Ino ino, uint64_t fh, uint64_t owner, LockType type, LockWait wait);

  // Writes everything that is buffered.
  Result<void> flush_all();
  // Runs a long job on a thread of its own; it must end soon once `stop` is true. Waited for on destruction.
  // EAGAIN when too many run: anybody may ask for them through .control.
  Result<void> run_in_background(std::function<void(const std::atomic<bool>& stop)> job);

  meta::Meta& meta() { return meta_; }
  data::Data& data() { return data_; }
  const Clock& clock() const { return clock_; }
  const Options& options() const { return options_; }
  bool acl_enabled() const { return acl_; }
  size_t open_inodes() const;
  // Everything counted here and below, sorted by name; fs/metrics.h makes texts of it.
  std::vector<Metric> metrics() const;
  // Also ask `source`, which must stay usable as long as this.
  void add_metrics(std::function<void(Metrics&)> source);
  std::string stats_text() const;   // .stats
  std::string config_text() const;  // .config

 private:
  friend class Op;
  friend class VirtualFiles;
  Result<EntryAttr> do_lookup(const Context&, Ino parent, std::string_view name);
  Result<Attr> do_setattr(const Context&, Ino ino, std::optional<uint64_t> fh, const Change& change);
  Result<Attr> do_truncate(const Context&, Ino ino, std::optional<uint64_t> fh, uint64_t length);
  Result<Opened> do_open(const Context&, Ino ino, uint32_t flags);
  Result<size_t> do_read(const Context&, Ino ino, uint64_t fh, uint64_t offset, std::span<char> into, data::Lent* lent);
  Result<size_t> do_write(const Context&, Ino ino, uint64_t fh, uint64_t offset, std::span<const char> bytes,
                          bool from_cache);
  Result<void> flush_open(const Context&, OpenInode& open);
  Result<void> do_flush(const Context&, Ino ino, uint64_t fh, uint64_t lock_owner);
  Result<Attr> do_fallocate(const Context&, Ino ino, uint64_t fh, uint32_t mode, int64_t offset, int64_t size);
  Result<uint64_t> do_copy(const Context&, Ino in, uint64_t fh_in, uint64_t off_in, Ino out, uint64_t fh_out,
                           uint64_t off_out, uint64_t size, uint32_t flags);
  Result<void> do_setxattr(const Context&, Ino ino, std::string_view name, std::string_view value, uint32_t flags);
  Result<std::string> do_getxattr(const Context&, Ino ino, std::string_view name, size_t buffer);
  Result<std::string> do_listxattr(const Context&, Ino ino, size_t buffer);
  Result<void> do_removexattr(const Context&, Ino ino, std::string_view name);
  Result<size_t> fill_dir(const Context&, Handle& dir, uint64_t offset, size_t size, bool with_attr,
                          const std::function<bool(const DirItem&)>& add);
  void rewind(Handle& dir, uint64_t wanted);
  void note_names(Handle& dir, size_t from);
  Result<bool> seek_back(const Context&, Handle& dir, uint64_t wanted);
  void release_locks(Handle& handle);
  // 0, or what a new (EEXIST) or changed (EPERM) name of this kind gives when it is reserved or too long.
  // fs/restore.cc: what is asked again after the process serving it died.
  std::optional<EntryAttr> made_before(const Context&, Ino parent, std::string_view name);
  bool removed_before(const Context&, Ino parent, std::string_view name);
  bool renamed_before(const Context&, Ino parent, std::string_view name, Ino new_parent, std::string_view new_name);
  bool appended_before(const Context&, Handle& handle, uint64_t offset, std::span<const char> bytes);
  Result<Created> reopen_created(const Context&, const EntryAttr& entry, uint32_t flags);
  // A new handle, noted for the request; of a regular file its inode is open, too.
  std::shared_ptr<Handle> add_handle(const Context&, Ino ino, uint32_t flags, bool is_dir);
  std::shared_ptr<Handle> add_file(const Context&, Ino ino, uint32_t flags);
  void close_orphan(uint64_t fh, Ino ino);
  Result<void> restore_files(const std::vector<std::shared_ptr<Handle>>& files);
  void restore_special(Handle& handle);
  int check_reserved(Ino parent, std::string_view name, int code) const;
  int check_xattr(std::string_view name) const;
  Result<void> may_xattr(const Context&, Ino, std::string_view name, bool write);
  Result<void> may_link(const Context&, Ino);
  Result<uint64_t> do_lseek(const Context&, Ino ino, uint64_t fh, uint64_t offset, int whence);

  // Attributes from the database, corrected by what is buffered here, and with the link count outside the trash.
  Result<Attr> read_attr(const Context&, Ino ino);
  // The same correction for attributes that an operation gave, for a file that may be open here.
  void correct(Ino ino, Attr& attr);
  void correct_links(Ino ino, Attr& attr, const OpenInode* open);
  Result<Attr> read_raw_attr(const Context&, Ino ino, OpenInode& open);
  void note_flushed();
  void wrote(OpenInode& open, uint64_t end);
  // An open file's length was set by an operation here.
  void set_length(OpenInode& open, uint64_t length, const Attr& attr);

  meta::Meta& meta_;
  data::Data& data_;
  const Clock& clock_;
  const Options options_;
  const std::shared_ptr<StateTable> table_;
  const bool acl_;  // as of the mount: the kernel learns it only then
  std::atomic<ClientCache*> cache_{nullptr};
  std::unique_ptr<HandleTable> handles_;
  std::unique_ptr<AccessLog> log_;
  std::unique_ptr<Troubles> troubles_;
  std::unique_ptr<OpStats> stats_;
  std::unique_ptr<VolumeStats> volume_stats_;
  std::unique_ptr<Changes> changes_;
  std::unique_ptr<Links> links_;
  std::unique_ptr<VirtualFiles> virtual_;
  std::unique_ptr<Periodic> note_flushed_;
  std::atomic<bool> stop_{false};
  mutable std::mutex background_mutex_;  // of the next two
  std::vector<std::function<void(Metrics&)>> metric_sources_;
  struct Job {
    std::thread thread;
    std::shared_ptr<std::atomic<bool>> ended;
  };
  std::vector<Job> background_;
};

}  // namespace zest::fs
