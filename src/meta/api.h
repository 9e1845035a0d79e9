// The metadata of a volume: what fs/, cli/ and data/ may call. Semantics: docs/behaviour/semantics.md (section numbers
// below).
//
// All calls are thread safe and blocking; each costs at most the round trips given in [brackets] on an engine with a
// network, with warm caches. Errors are errnos as the specification's tables give them; EIO with a text for a broken
// database, ETIMEDOUT when it cannot be reached in time. On a read-only client every change gives EROFS.
//
// Inode 1 is the root of what this client sees: the volume's root or, with Options::subdir, that directory.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "meta/txn.h"
#include "volume/acl.h"
#include "volume/attr.h"
#include "volume/format.h"
#include "volume/records.h"
#include "volume/slice.h"
#include "volume/types.h"

namespace zest::meta {

// One try of an operation by a process that may die in it, in memory that outlives the process; who is asked for the
// operation again learns from it what became of it.
struct Attempt {
  uint64_t ino;    // that the operation makes, moves, links or unlinks: noted before the commit; 0: it came not so far
  uint64_t fh;     // the handle that it opened; 0: none
  uint64_t again;  // the process that made the last try died in it
};

// Who asks.
struct Context {
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> gids;  // supplementary groups; looked at only when check_permission
  uint32_t pid = 0;
  bool check_permission = false;                 // false behind a kernel that checks (default_permissions)
  const std::atomic<bool>* cancelled = nullptr;  // long and blocking calls give EINTR once it is true
  Attempt* attempt = nullptr;                    // null: nobody will ask again
  bool keeps_inodes = false;  // what it named it may ask about by number, even removed, until Meta::forget()
  bool keeps_xattrs = false;  // and so the extended attributes of what is no regular file

  void note(Ino ino) const {
    if (attempt) std::atomic_ref(attempt->ino).store(raw(ino), std::memory_order_relaxed);
  }
  bool in_group(uint32_t group) const;
  bool is_cancelled() const { return cancelled && cancelled->load(std::memory_order_relaxed); }
};

// Bits of setattr's `set`.
constexpr uint32_t kSetMode = 1, kSetUid = 2, kSetGid = 4, kSetAtime = 0x10, kSetMtime = 0x20, kSetAtimeNow = 0x80,
                   kSetMtimeNow = 0x100, kSetTier = 0x400, kSetFlags = 0x2000;
// Flags of rename, fallocate, setxattr.
constexpr uint32_t kRenameNoReplace = 1, kRenameExchange = 2, kRenameWhiteout = 4, kRenameRestore = 32;
constexpr uint32_t kFallocKeepSize = 1, kFallocPunchHole = 2, kFallocCollapse = 8, kFallocZeroRange = 0x10,
                   kFallocInsert = 0x20;
constexpr uint32_t kXattrCreate = 1, kXattrReplace = 2;
constexpr uint8_t kMayRead = 4, kMayWrite = 2, kMayExec = 1;

enum class AtimeMode { kNoAtime, kRelatime, kStrictAtime };

struct Options {
  bool read_only = false;
  std::string subdir;  // "/a/b": becomes inode 1; made when missing
  AtimeMode atime = AtimeMode::kNoAtime;
  int64_t heartbeat_ms = 12'000;    // 0: no session refresh, no clean-up of others
  int64_t skip_dir_mtime_ms = 100;  // only where clients race for a directory: meta/access.h
  int skip_dir_nlink = 20;          // KV only
  int64_t open_cache_ms = 0;
  int64_t open_cache_limit = 10'000;
  int64_t own_view_ms =
      0;  // so long getattr() gives a directory as this client's last commit left it, a file as open() found it
  int max_deletes = 10;  // threads deleting objects; 0: never
  int io_retries = 10;
  bool no_background_jobs = false;
  bool fast_statfs = false;
  bool sort_dir = false;
  std::string mount_point;  // told in the session record
};

struct EntryAttr {
  Ino ino{0};
  Attr attr;
  bool has_attr = true;  // false: an entry whose inode is missing; only attr.type is known
};

struct StatFs {
  uint64_t total_space = 0, avail_space = 0, used_inodes = 0, avail_inodes = 0;
};

struct Summary {
  uint64_t length = 0, space = 0, files = 0, dirs = 0;
};
struct TreeSummary {
  Ino ino{0};
  std::string path;
  FileType type = FileType::kDirectory;
  uint64_t size = 0, files = 0, dirs = 0;
  std::vector<TreeSummary> children;
};

// A chunk's slices as a reader needs them.
struct ChunkView {
  std::vector<Slice> pieces;  // resolve_slices() of the records
  size_t records = 0;
};

struct Session {
  uint64_t sid = 0;
  int64_t expire = 0;
  SessionInfo info;
  std::vector<Ino> sustained;
  struct Lock {
    Ino ino{0};
    uint64_t owner = 0;
    char flock = 0;                 // 'R', 'W' or 0
    std::vector<PosixLock> ranges;  // when flock is 0
  };
  std::vector<Lock> locks;
};

// What metadata needs done with data; implemented by data/. Called without any lock held.
class DataHooks {
 public:
  virtual ~DataHooks() = default;
  // Removes the objects of a slice. Success if they are not there.
  virtual Result<void> delete_slice(SliceId id, uint32_t size) = 0;
  // Writes the plan's pieces as slice `id` (zeroes for holes), all blocks durable in the object store when it returns.
  virtual Result<void> compact(const CompactionPlan& plan, SliceId id, uint8_t tier) = 0;
};

// Told about changes that other clients made (heartbeat, invalidation by the database); for kernel caches.
struct Events {
  std::function<void(const Format&)> format_changed;
  std::function<void(const std::string& why)> must_exit;  // volume gone, another UUID, or too new
  std::function<void(Ino, bool data)> inode_changed;      // data: its content may be another, too
  std::function<void(Ino parent, const std::string& name)> entry_changed;
};

// A listing in progress. One thread at a time. Does not give "." and "..".
class DirStream {
 public:
  virtual ~DirStream() = default;
  // The next entries, at most about `limit`; empty at the end. [1 per list_batch]
  virtual Result<std::vector<DirEntry>> next(size_t limit) = 0;
};

// What fsck found.
struct Problem {
  std::string path, what;
  bool repaired = false;
};

struct CheckOptions {
  bool repair = false, recursive = false;
  bool sync_stats = false;                    // compare statistics with a count, too
  uint16_t dir_mode = 0755;                   // of directories made anew
  std::atomic<uint64_t>* progress = nullptr;  // counts directories
  // For a check that goes on where another one stopped; called by several threads. skip: this directory and all below
  // it were checked. done: now they are, and everything found there was told.
  std::function<bool(Ino)> skip;
  std::function<void(Ino)> done;
  std::function<void(const Problem&)> found;
};

struct State;         // meta/state.h
struct CleanUpStats;  // meta/jobs.h

class Meta {
 public:
  Meta(std::unique_ptr<Engine> engine, const Clock& clock, Options options);
  ~Meta();
  Meta(const Meta&) = delete;

  // --- volume ---
  // Creates or updates (section 18). `force` lets immutable members change. EEXIST when a volume of other members is
  // there.
  Result<void> format(const Format& format, bool force);
  // Reads the settings and checks the version gates; must come first. ENOENT: no volume there.
  Result<Format> load();
  Format format() const;                             // as last read
  Result<void> change_format(const Format& format);  // online change; unknown members of the stored one are kept
  Result<void> reset();                              // destroy: removes everything
  const Options& options() const;
  Engine& engine();

  // --- sessions and background work (section 12) ---
  // Registers a session (not on read-only clients) and starts the jobs. `inherit_sid`: take over that session.
  Result<void> start_session(const SessionInfo& info, uint64_t inherit_sid = 0);
  // Flushes ledgers, releases locks and open unlinked files, removes the record, stops the jobs. keep_record: an
  // upgrade in place goes on with the session.
  Result<void> close_session(bool keep_record = false);
  uint64_t session_id() const;  // 0: none
  Result<std::vector<Session>> sessions(bool with_locks);
  Result<void> clean_stale_sessions();
  Result<void> flush_ledgers();  // volume counters, directory statistics, quotas: written now
  void set_data_hooks(DataHooks* hooks);
  void set_events(Events events);
  // Jobs, also for gc: run now, whoever is elected. Numbers of things removed.
  Result<uint64_t> clean_deleted_files(int64_t older_than_sec);
  Result<uint64_t> clean_slices();  // references used up
  Result<uint64_t> clean_delayed_slices(int64_t edge_sec);
  Result<uint64_t> clean_trash(int64_t edge_sec);
  Result<uint64_t> clean_detached(int64_t older_than_sec);
  const CleanUpStats& clean_up_stats() const;
  void drain_deletes();  // waits for the queue of slice deletions

  // --- names and attributes (sections 5, 6) ---
  Result<EntryAttr> lookup(const Context&, Ino parent, std::string_view name, bool check = true);  // [1]
  Result<Attr> getattr(const Context&, Ino ino);                                                   // [1]
  Result<void> access(const Context&, Ino ino, uint8_t mask, const Attr* attr = nullptr);          // [0-1]
  // `set`: kSet bits; `values` gives the new ones. Gives the attributes after it. Never the size: truncate().
  Result<Attr> setattr(const Context&, Ino ino, uint32_t set, const Attr& values);  // [2]
  // A caller that keeps inodes let go of this one. [0]
  void forget(Ino ino);
  // Lost its last name, or went to the trash, by a caller that keeps inodes and has not forgotten it. [0]
  bool is_removed(Ino ino) const;
  Result<EntryAttr> mknod(const Context&, Ino parent, std::string_view name, FileType type, uint16_t mode,
                          uint16_t umask, uint32_t rdev, std::string_view symlink_target = {});               // [2]
  Result<EntryAttr> mkdir(const Context&, Ino parent, std::string_view name, uint16_t mode, uint16_t umask);  // [2]
  // open(O_CREAT): an existing regular file is given as it is unless `exclusive`; the file counts as open afterwards.
  struct Created {
    EntryAttr entry;
    bool existed = false;
  };
  Result<Created> create(const Context&, Ino parent, std::string_view name, uint16_t mode, uint16_t umask,
                         bool exclusive,
                         uint32_t open_flags);  // [2]
  // O_TMPFILE: a file without a name, open; link() may give it one.
  Result<EntryAttr> tmpfile(const Context&, Ino parent, uint16_t mode, uint16_t umask);                   // [2]
  Result<EntryAttr> symlink(const Context&, Ino parent, std::string_view name, std::string_view target);  // [2]
  Result<std::string> readlink(const Context&, Ino ino);                                                  // [0-1]
  Result<void> unlink(const Context&, Ino parent, std::string_view name, bool skip_trash = false);        // [2]
  // Several files of one directory in one transaction; what became of each. The error itself: nothing was removed.
  Result<std::vector<Result<void>>> unlink_files(const Context&, Ino parent, std::span<const std::string> names,
                                                 bool skip_trash);
  Result<void> rmdir(const Context&, Ino parent, std::string_view name, bool skip_trash = false);  // [2]
  Result<EntryAttr> rename(const Context&, Ino src_parent, std::string_view src_name, Ino dst_parent,
                           std::string_view dst_name, uint32_t flags);            // [2]
  Result<Attr> link(const Context&, Ino ino, Ino parent, std::string_view name);  // [2]
  Result<std::unique_ptr<DirStream>> opendir(const Context&, Ino ino, bool with_attr);
  // Everything at once; for tools and small directories.
  Result<std::vector<DirEntry>> readdir(const Context&, Ino ino, bool with_attr);

  // --- files (section 7) ---
  // flags as open(2). keep_cache: the file's mtime is what it was when this client last opened it.
  struct Opened {
    Attr attr;
    bool keep_cache = false;
  };
  Result<Opened> open(const Context&, Ino ino, uint32_t flags);  // [1]
  Result<void> close(Ino ino);                                   // [0]
  // Files that a client had open whose session this one inherited: they are open here from now on, as after open(), but
  // nobody is asked for permission. Attributes in the order of `inodes`; nothing for those that are gone. [1]
  Result<std::vector<std::optional<Attr>>> reopen(const std::vector<Ino>& inodes);
  bool is_open(Ino ino) const;
  Result<Attr> truncate(const Context&, Ino ino, uint64_t length, bool by_handle);                 // [2]
  Result<Attr> fallocate(const Context&, Ino ino, uint32_t mode, uint64_t offset, uint64_t size);  // [2]
  // SEEK_DATA, or SEEK_HOLE, from `offset` in a file of `length` bytes; data is counted in pages. ENXIO: no data
  // follows.
  Result<uint64_t> seek(Ino ino, uint64_t offset, uint64_t length, bool hole);  // [1 per chunk looked at]
  Result<SliceId> new_slice_id();                                               // [0]
  Result<ChunkView> read_chunk(Ino ino, ChunkIndex chunk);                      // [1]
  void forget_chunks(Ino ino, ChunkIndex first, ChunkIndex last);               // of both and all between
  void forget_chunk(Ino ino, ChunkIndex chunk);  // drop what is cached of it (section 7.6)
  // Appends slice records of one file in order, in one transaction: chunk, record, time of the data. Gives the
  // attributes. The slices are new; records of one call may share a slice, each then holds a reference to it.
  struct ChunkWrite {
    ChunkIndex chunk = 0;
    Slice slice;
    Time mtime;
  };
  Result<Attr> write(Ino ino, std::span<const ChunkWrite> writes);  // [2]
  struct Copied {
    uint64_t bytes = 0;
    Attr attr;  // of the destination
  };
  Result<Copied> copy_file_range(const Context&, Ino in, uint64_t off_in, Ino out, uint64_t off_out, uint64_t size);
  // Compacts a chunk if there is anything to gain; true if it did.
  Result<bool> compact_chunk(Ino ino, ChunkIndex chunk);

  // --- extended attributes, ACLs (section 8) ---
  Result<void> setxattr(const Context&, Ino ino, std::string_view name, std::string_view value, uint32_t flags);
  Result<std::string> getxattr(const Context&, Ino ino, std::string_view name);
  Result<std::vector<std::string>> listxattr(const Context&, Ino ino);
  Result<void> removexattr(const Context&, Ino ino, std::string_view name);
  Result<void> set_acl(const Context&, Ino ino, bool default_acl, const AclRule& rule);
  Result<AclRule> get_acl(const Context&, Ino ino, bool default_acl);  // ENODATA: none

  // --- locks (section 9) ---
  // EAGAIN: held by another; with `wait` blocks until granted, EINTR when the context is cancelled.
  Result<void> flock(const Context&, Ino ino, uint64_t owner, LockType type, bool wait);
  Result<void> setlk(const Context&, Ino ino, uint64_t owner, const PosixLock& lock, bool wait);
  Result<PosixLock> getlk(const Context&, Ino ino, uint64_t owner, const PosixLock& lock);  // type kUnlock: free

  // --- queries and trees (section 10) ---
  Result<StatFs> statfs(const Context&, Ino ino);  // [1]
  Result<LinkCounts> parents(Ino ino);
  Result<std::vector<std::string>> paths(const Context&, Ino ino);
  Result<EntryAttr> resolve(const Context&, std::string_view path);  // from inode 1; symlinks are not followed
  // progress, if given, counts what was seen. Recursive unless told otherwise; strict: lists everything.
  Result<Summary> summary(const Context&, Ino ino, bool recursive, bool strict,
                          std::atomic<uint64_t>* progress = nullptr);
  Result<TreeSummary> tree_summary(const Context&, Ino ino, int depth, int top, bool strict,
                                   std::atomic<uint64_t>* progress = nullptr);
  // Recursive removal of parent/name; counts into `removed`.
  Result<void> remove_tree(const Context&, Ino parent, std::string_view name, bool skip_trash, int threads,
                           std::atomic<uint64_t>* removed);
  Result<void> clone(const Context&, Ino src, Ino dst_parent, std::string_view name, bool preserve, uint16_t umask,
                     int threads, std::atomic<uint64_t>* done, std::atomic<uint64_t>* total);
  // fsck of directories below `path` (section 10.6); of "/" recursively also what no directory holds: inodes without a
  // name, and the volume's counters.
  Result<std::vector<Problem>> check(const Context&, const std::string& path, const CheckOptions& options);
  // Counts every counter anew by walking the volume: used space, inodes; repair writes them.
  struct Counted {
    int64_t used_space = 0, total_inodes = 0;     // counted
    int64_t stored_space = 0, stored_inodes = 0;  // in the database
  };
  Result<Counted> recount(bool repair, std::atomic<uint64_t>* progress);
  Result<DirStat> dir_stat(Ino ino);
  // Files, with their records: for gc, fsck, compact. Also those in the trash and unlinked but open.
  Result<void> scan_chunks(const std::function<bool(Ino, ChunkIndex, const std::vector<Slice>&)>& each);
  // Every slice that the metadata names, as often as it does: by chunks (also of the trash and of open unlinked files),
  // by files and references that wait to be deleted, and as delayed after a compaction.
  enum class SliceState : uint8_t { kUsed, kPending, kDelayed };
  struct SliceUse {
    SliceId id{0};
    uint32_t size = 0;
    SliceState state = SliceState::kUsed;
    Ino owner{0};  // the file of a chunk; else 0
  };
  Result<void> scan_slices(const std::function<bool(const SliceUse&)>& each);

  // --- quotas (section 16) ---
  enum class QuotaKind { kDirectory, kUser, kGroup };
  struct QuotaOf {
    QuotaKind kind;
    uint64_t id;  // inode, uid or gid
    Quota quota;
  };
  // max_*: nothing leaves the limit as it is. The first quota of a directory counts its usage.
  Result<Quota> set_quota(QuotaKind kind, uint64_t id, std::optional<int64_t> max_space,
                          std::optional<int64_t> max_inodes, bool strict);
  Result<Quota> get_quota(QuotaKind kind, uint64_t id);  // ENOENT
  Result<void> delete_quota(QuotaKind kind, uint64_t id);
  Result<std::vector<QuotaOf>> list_quotas();
  // Compares with a count; repair writes it. `counted` may be null.
  Result<bool> check_quota(QuotaKind kind, uint64_t id, bool strict, bool repair, Quota* counted);

  State& state() { return *state_; }  // for meta/ only

 private:
  std::unique_ptr<State> state_;
};

}  // namespace zest::meta
