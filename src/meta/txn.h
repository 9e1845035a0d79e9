// The seam between the operations and the database engines.
//
// An operation is written once, in meta/ops, over typed records. An engine only translates: records to rows, keys or
// hashes, and back. Engine authors implement EngineTxn and Engine; operations use Txn, which adds the overlay (what
// this transaction read and wrote) and typed access.
//
// Round trips: fetch() is one, commit() is one (none when nothing is written). So an operation names everything it will
// need in one want() first; reads of what was wanted are free. A follow key ("entry, and the attributes behind it")
// is one round trip too.
//
// Isolation: commit succeeds only if everything the transaction read is still what it was (conflict otherwise: Fault
// kConflict, run() tries again). A read-only transaction sees each fetch() at one moment.
//
// Assumptions: on an engine with a Recent, a writing transaction starts from what this client saw or wrote last where
// that spares it a fetch. The commit compares assumed records like fetched ones. What they say is never an answer: when
// the body fails, writes nothing, or loses the comparison, it is run again on fetched records. Where a fetch brings
// what is older than what this client is about to write, the latter is assumed instead.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "meta/calls.h"
#include "meta/outage.h"
#include "meta/recent.h"
#include "meta/record.h"

namespace zest::meta {

struct Want {
  Key key;
  // For kEntry: also read the inode behind the entry (kInode of the target), and, with `follow_empty`, its
  // kHasEntries if it is a directory. All in the same round trip.
  bool follow = false, follow_empty = false;
  // Where nothing is known of it, it may be assumed to be absent.
  bool expect_absent = false;
};

// A change, applied at commit in the order given.
struct Change {
  enum class Op : uint8_t {
    kPut,     // insert or replace `key` with `value`
    kDelete,  // remove `key`, if it is there
    kAdd,     // add without reading, commutative. kCounter: `delta`. kSliceRef: `delta`. kParents: `delta` names in the
              // directory `ino` (SQL: nothing to do).
              // kDirStat, kDirQuota, kUserQuota, kGroupQuota: `stat` (length, space, inodes); skipped when the record
              // does not exist (CommitResult::missing then names it)
    kAppend,  // kChunk: append `value` (string of records). Creates the list
    kAppendIfPresent,  // kChunk: append only if the chunk has a list
    kNewSlice,         // kSliceRef: a first reference (SQL: row with refs 1; KV and Redis: nothing)
    kLog,              // adds the line `value` to the change log; the key says nothing
  };
  Op op;
  Key key;
  Value value;
  int64_t delta = 0;
  Ino ino{0};
  DirStat stat;
};

struct CommitResult {
  std::vector<std::pair<Key, int64_t>> refs;          // kSliceRef after each kAdd with a negative delta
  std::vector<std::pair<Key, size_t>> chunk_records;  // number of records of a chunk after kAppend (0: not known)
  std::vector<Key> missing;                           // records that a kAdd found absent
};

// One transaction of one engine. Not thread safe; used by one thread.
class EngineTxn {
 public:
  virtual ~EngineTxn() = default;
  // Reads the records; results in the order of the wants, followed ones returned in `followed` as (key, value) pairs.
  virtual Result<std::vector<Value>> fetch(std::span<const Want> wants,
                                           std::vector<std::pair<Key, Value>>& followed) = 0;
  // What follows is read from the database, not from what the engine remembers.
  virtual void read_afresh() {}
  // Called before records are assumed. Waits until no other transaction of this process that touches the same inodes is
  // between its assumptions and its commit; true: there was one since begin(), which may have changed what is assumed.
  virtual bool await_turn() { return false; }
  // Takes the records as if they had been fetched with these values, also those that were: commit compares them. False:
  // this engine does not.
  virtual bool assume([[maybe_unused]] std::span<const std::pair<Key, Value>> records) { return false; }
  // Applies all changes or none. Conflict: Fault::kConflict. Connection lost after sending: Fault::kUnknownOutcome.
  virtual Result<CommitResult> commit(std::span<const Change> changes) = 0;
};

// One entry of a directory listing.
struct DirEntry {
  std::string name;
  Entry entry;
  std::optional<Attr> attr;  // only when asked for and there
};

enum class Table : uint8_t {
  kInodes,
  kEntries,
  kChunks,
  kSymlinks,
  kXattrTable,
  kDirStats,
  kDirQuotas,
  kUserQuotas,
  kGroupQuotas,
  kSliceRefs,
  kDelFiles,
  kDelSlicesTable,
  kSustainedTable,
  kSessions,
  kFlockTable,
  kPlockTable,
  kDetachedNodes,
  kAcls,
  kCounters,
  kParentsTable,
};

struct EngineInfo {
  std::string name;              // "sqlite3", "postgres", "mysql", "redis", "memkv", ...
  bool inline_counters = false;  // usedSpace and totalInodes change in each transaction (Redis); else every second
  size_t list_batch = 4096;
  bool dense_log = false;      // no version of the change log is missing, but of commits under way or given up
  bool single_writer = false;  // SQLite: write transactions of this process queue up
};

// Told of what other clients changed (Engine::watch), and of what the engine does not follow any longer.
struct Watcher {
  std::function<void(Ino, bool data)> inode;  // data: its content may be another, too
  std::function<void(Ino parent, const std::string& name)> entry;
};

// A line of the change log. Later commits have higher versions; some may be missing, or be seen a moment later than
// higher ones.
struct LogLine {
  int64_t version = 0;
  std::string text;
};
struct LogRange {
  int64_t first = 1, last = 0;  // versions of the oldest and the newest line; first == last + 1: there is none
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual const EngineInfo& info() const = 0;

  // write: the transaction may commit changes. `hot` names what it will touch, so that transactions of this process
  // that would meet can queue up instead of failing; an engine may ignore it.
  virtual Result<std::unique_ptr<EngineTxn>> begin(bool write, std::span<const Ino> hot) = 0;

  // Lists a directory, names in byte order where the engine can (kv, sql), after the name `after` (empty: from the
  // start) where it can, else by the opaque `cursor` that it fills (empty at first; empty again: the end was reached).
  // At most about `limit` entries. Names may come twice on Redis (rehash): callers drop repetitions.
  virtual Result<std::vector<DirEntry>> list(Ino dir, std::string& cursor, size_t limit, bool with_attr) = 0;

  // Every record of a table, in pages, each called with (key, value); stops early when `each` gives false. Not a
  // snapshot. within: for kXattrTable, kChunks, kSustainedTable: only this inode or session; 0: all. For kFlockTable,
  // kPlockTable a session: an engine that has an index gives only inodes where it holds a lock, others may give all.
  virtual Result<void> scan(Table table, uint64_t within,
                            const std::function<bool(const Key&, const Value&)>& each) = 0;

  // The chunks of files, given with their lengths, that have a list (Key::chunk), those past the length too as far as
  // the engine can find them. For engines to which the length is a help; others look through their table.
  virtual Result<std::vector<Key>> chunks_of(std::span<const std::pair<Ino, uint64_t>> files) {
    std::vector<Key> out;
    for (const auto& [ino, length] : files)
      ZEST_TRY(scan(Table::kChunks, raw(ino), [&out](const Key& key, const Value&) {
        out.push_back(key);
        return true;
      }));
    return out;
  }

  // counter += delta in a transaction of its own; gives the new value.
  virtual Result<int64_t> add_counter(std::string_view name, int64_t delta) = 0;

  // The change log (meta/changelog.h). log_lines: those from version `from` on, oldest first, at most `limit`. trim_log
  // removes those before version `first`.
  virtual Result<LogRange> log_range() { return LogRange{}; }
  virtual Result<std::vector<LogLine>> log_lines([[maybe_unused]] int64_t from, [[maybe_unused]] size_t limit) {
    return std::vector<LogLine>();
  }
  virtual Result<void> trim_log([[maybe_unused]] int64_t first) { return {}; }

  // Creates tables if need be (format). exists(): is there a volume?
  virtual Result<void> prepare() = 0;
  // Removes everything of the volume.
  virtual Result<void> reset() = 0;
  // Number of references an absent kSliceRef stands for: 1 on KV and Redis, 0 on SQL.
  virtual int64_t absent_ref() const = 0;
  // Cheap liveness: one round trip.
  virtual Result<void> ping() = 0;

  // Calls `watcher` on a thread of the engine for what it gave out and that has changed since. An engine that cannot
  // know ignores it. Replacing it (by an empty one) waits for calls under way.
  virtual void watch([[maybe_unused]] Watcher watcher) {}
  // Where run() keeps records to assume later. Null: every transaction fetches what it reads.
  virtual Recent* recent() { return nullptr; }

  CallStats stats;  // counted by run() and by the operations
  Outage outage;    // noted by run()
  // Makes what was committed durable against power loss, where the engine puts that off (SQLite syncs its log here).
  virtual Result<void> sync() { return {}; }
};

// The URL's scheme decides: sqlite3 redis rediss unix mysql postgres memkv. Passwords come from the URL or the
// environment (META_PASSWORD, REDIS_PASSWORD). EINVAL for a URL that is none, with a text that shows no secret.
struct EngineOptions {
  bool read_only = false;
  int io_retries = 10;
  bool sort_dir = false;
};
Result<std::unique_ptr<Engine>> open_engine(const std::string& url, const EngineOptions& options);

// What an operation sees: typed records with read-your-writes.
class Txn {
 public:
  // recent: where to look for records to assume, by the time now_ms; null: assumes nothing.
  Txn(EngineTxn& engine, int attempt, const Recent* recent = nullptr, int64_t now_ms = 0)
      : engine_(engine), attempt_(attempt), recent_(recent), now_ms_(now_ms) {}

  // Fetches everything not known yet in one round trip.
  Result<void> want(std::initializer_list<Want> wants) { return want(std::span(wants.begin(), wants.size())); }
  Result<void> want(std::span<const Want> wants);

  // Reads; fetched on their own (one round trip) when not wanted before. Nothing: no such record.
  Result<std::optional<Attr>> attr(Ino ino);
  Result<std::optional<Entry>> entry(Ino parent, std::string_view name);
  Result<bool> has_entries(Ino dir);
  Result<std::string> chunk(Ino ino, ChunkIndex index);  // empty: no list
  Result<std::optional<std::string>> symlink(Ino ino);
  Result<std::optional<std::string>> xattr(Ino ino, std::string_view name);
  Result<XattrMap> xattrs(Ino ino);
  Result<LinkCounts> parents(Ino ino);
  Result<std::optional<DirStat>> dir_stat(Ino ino);
  Result<std::optional<Quota>> quota(const Key& key);
  Result<int64_t> counter(std::string_view name);
  Result<FlockMap> flocks(Ino ino);
  Result<PlockMap> plocks(Ino ino);
  Result<std::optional<AclRule>> acl(uint32_t id);
  Result<const Value*> get(const Key& key);  // any kind; the pointer lives until the next write of the key

  // Writes; visible to later reads of this transaction, applied at commit in this order.
  void put(const Key& key, Value value);
  void erase(const Key& key);
  void add(const Key& key, int64_t delta);              // kCounter, kSliceRef
  void add_links(Ino ino, Ino parent, int64_t delta);   // kParents
  void add_stat(const Key& key, const DirStat& delta);  // kDirStat and the quotas
  void append(Ino ino, ChunkIndex index, std::string records, bool only_if_present = false);
  void new_slice(SliceId id, uint32_t size);
  void put_attr(Ino ino, const Attr& attr) { put(Key::inode(ino), attr); }
  void log(std::string line);  // to the change log; ChangeLog makes the lines

  int attempt() const { return attempt_; }  // 0 at first
  bool dirty() const { return !changes_.empty(); }
  const std::vector<Key>& assumed() const { return assumed_; }
  // Everything read or written, as this transaction leaves it.
  const std::map<Key, Value>& known() const { return known_; }
  Result<CommitResult> commit() { return engine_.commit(changes_); }

 private:
  void record(Change change);
  void learn(const Key& key, Value value);  // as the engine has it; what this transaction wrote goes on top
  bool knows(const Key& key) const;
  bool assume(std::span<const Want> wants);
  using Records = std::vector<std::pair<Key, Value>>;
  bool recall(std::span<const Want> wants, Records& found) const;
  bool assume(Records found);
  void assume_newer(const Records& fetched);
  template <class T>
  Result<std::optional<T>> read_optional(const Key& key);
  template <class T>
  Result<T> read_or_empty(const Key& key);

  EngineTxn& engine_;
  const int attempt_;
  const Recent* const recent_;
  const int64_t now_ms_;
  std::map<Key, Value> known_;  // read or written
  std::vector<Key> assumed_;
  std::vector<Change> changes_;
};

// Runs `body` in a transaction and commits it, again on conflict: up to 50 times, with growing random pauses, then the
// last error. An error of `body` rolls back. kUnavailable is retried until deadline_ms has passed. A commit of unknown
// outcome is not repeated; `settled`, if given, is asked whether it took effect, in the transaction
// that would replace it, so that not both can.
struct TxnOptions {
  bool write = true;
  bool afresh = false;  // read from the database, whatever an engine may remember
  std::vector<Ino> hot;
  int64_t deadline_ms = 60'000;
  std::function<Result<bool>(Txn&)> settled;
};
Result<CommitResult> run(Engine& engine, const Clock& clock, const TxnOptions& options,
                         const std::function<Result<void>(Txn&)>& body);
// One read-only fetch, no transaction kept open.
Result<void> read(Engine& engine, const Clock& clock, const std::function<Result<void>(Txn&)>& body);

}  // namespace zest::meta
