// The content of files: what fs/ and the tools may call. Joins metadata (slices) with blocks (objects, caches).
// Behaviour: docs/behaviour/client.md (a) to (c); guarantees: DESIGN.md, "prefix consistency".
//
// Thread safe. Reads run on the calling thread when everything is at hand. Offsets and lengths are bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/budget.h"
#include "base/clock.h"
#include "base/histogram.h"
#include "base/result.h"
#include "meta/api.h"
#include "object/storage.h"

namespace zest::data {

struct CacheOptions {
  std::vector<std::string> dirs;       // empty or {"memory"}: in memory
  uint64_t size_bytes = 100ULL << 30;  // of all directories together; 0: no cache
  uint64_t items = 0;                  // 0: by the disk's inodes
  double free_space_ratio = 0.1;
  std::string eviction = "2-random";  // none, 2-random, lru
  bool partial_only = false, large_write = false;
  std::string verify_checksum = "extend";  // none, full, shrink, extend
  int64_t expire_ms = 0, scan_interval_ms = 3'600'000;
  uint32_t mode = 0600;
  int64_t disk_timeout_ms = 10'000;  // a read of the disk that takes longer counts as failed
};

struct DataOptions {
  uint64_t buffer_size = 300ULL << 20;
  uint64_t max_readahead = 0;  // 0: 8 blocks
  bool readahead_off = false;
  int prefetch = 1;
  int max_uploads = 20, max_downloads = 200, io_retries = 10;
  int put_timeout_ms = 60'000, get_timeout_ms = 60'000;
  bool read_only = false;
  bool writeback = false;
  int64_t upload_delay_ms = 0;
  int upload_from_hour = 0, upload_to_hour = 0;  // equal: always
  int max_stage_write = 1000;
  uint64_t writeback_threshold = 0;
  CacheOptions cache;
};

// Counters for .stats and metrics; each only grows unless it is a gauge.
struct DataStats {
  std::atomic<uint64_t> cache_hits{0}, cache_hit_bytes{0}, cache_misses{0}, cache_miss_bytes{0}, cache_drops{0},
      cache_evictions{0}, cache_writes{0}, cache_write_bytes{0}, object_gets{0}, object_get_bytes{0}, object_puts{0},
      object_put_bytes{0}, object_deletes{0}, object_errors{0}, staged_blocks{0}, staged_bytes{0},
      staged_total_bytes{0}, stage_errors{0}, staged_delay_s{0};
  // Bytes of blocks fetched from the object storage: asked for by a read or a compaction, ahead of reads, to warm up.
  std::atomic<uint64_t> fetched_demand{0}, fetched_ahead{0}, fetched_warm{0};
  std::atomic<int> uploading{0}, stage_writing{0};  // gauges: PUTs, and writes of staged blocks, under way
  // Seconds of each try, failed ones too.
  Histogram get_seconds{0.01, 1.5, 25}, put_seconds{0.01, 1.5, 25}, delete_seconds{0.01, 1.5, 25};
  Histogram cache_read_seconds{0.00001, 2, 20}, cache_write_seconds{0.00001, 2, 20};
  Histogram compact_sizes{1024, 2, 16};  // bytes of each compaction
};

// The reading state of one open handle (its streams). One handle may be read by several threads at once. It must be
// gone before the Data it came from.
class ReadHandle {
 public:
  virtual ~ReadHandle() = default;
};

// Bytes that lie in memory anyway, for who needs no copy of them. They stay as they are for as long as `owner` is held.
struct Lent {
  std::shared_ptr<const void> owner;  // null: nothing was lent
  std::span<const char> bytes;
};

class Data : public meta::DataHooks {
 public:
  // Takes the store as open_volume_store() built it. The meta must be loaded; it outlives this.
  static Result<std::unique_ptr<Data>> open(meta::Meta&, std::unique_ptr<object::Storage>, const Clock&,
                                            const DataOptions&);
  ~Data() override = default;  // flushes nothing: call close() first
  // Writes everything that is buffered, waits for uploads (staged ones stay staged), stops the threads.
  virtual Result<void> close() = 0;

  virtual std::unique_ptr<ReadHandle> open_reader(Ino ino) = 0;
  // Up to into.size() bytes at `offset` of a file of `length` bytes (as meta and writer know it); holes are zeroes;
  // fewer only at the end of the file. Buffered writes are seen. EIO names the key in the log; never zeroes for lost
  // data. `cancelled` may be null. `lent`, if given, may get the bytes instead of `into`: all of them, if it has any.
  virtual Result<size_t> read(ReadHandle&, uint64_t length, uint64_t offset, std::span<char> into,
                              const std::atomic<bool>* cancelled, Lent* lent = nullptr) = 0;

  // Buffers data; visible at once to reads of this mount. Waits for memory. Reports, once, an earlier failure of the
  // file's background work, which the next flush() reports even so.
  virtual Result<void> write(Ino ino, uint64_t offset, std::span<const char> data,
                             const std::atomic<bool>* cancelled) = 0;
  // All data written before it is in the store (or staged, with write-back) and committed when it returns.
  virtual Result<void> flush(Ino ino, const std::atomic<bool>* cancelled) = 0;
  virtual Result<void> flush_all() = 0;
  // Makes what flush() acknowledged durable against power loss, where that costs extra (local files, SQLite).
  virtual Result<void> sync(Ino ino) = 0;
  // Length that buffered writes give the file: max(meta length, end of what is buffered). length(ino, 0) looks at the
  // buffers only; who asks it before reading the attributes as well misses no commit that comes in between.
  virtual uint64_t length(Ino ino, uint64_t meta_length) const = 0;
  // Nothing of the file is buffered, and no failure of its background work is still to be reported.
  virtual bool clean(Ino ino) const { return length(ino, 0) == 0; }
  // The mtime that stat shows: that of the last write still buffered (what its commit will carry), else meta_mtime.
  // An implementation that gives meta_mtime only makes stat lag behind until the commit.
  virtual Time mtime(Ino ino, Time meta_mtime) const {
    (void)ino;
    return meta_mtime;
  }
  // A utimes() while data is buffered: later commits carry this mtime unless written to again.
  virtual void set_mtime(Ino ino, Time mtime) = 0;
  // The file was truncated, punched, copied over, or changed elsewhere: what is cached of [offset, offset + size) is
  // void.
  virtual void invalidate(Ino ino, uint64_t offset, uint64_t size) = 0;
  // Nobody has the file open: forget read-ahead and errors.
  virtual void release(Ino ino) = 0;

  // Warm-up family on one file's slices: fetch into the cache, evict, or look.
  struct CacheState {
    uint64_t bytes = 0, cached_bytes = 0, blocks = 0, cached_blocks = 0;
    std::vector<std::pair<std::string, uint64_t>> locations;
  };
  enum class CacheAction { kWarmup, kEvict, kCheck };
  virtual Result<CacheState> cache_file(Ino ino, uint64_t length, CacheAction action) = 0;

  // DataHooks
  Result<void> delete_slice(SliceId id, uint32_t size) override = 0;
  Result<void> compact(const CompactionPlan& plan, SliceId id, uint8_t tier) override = 0;

  virtual object::Storage& storage() = 0;
  virtual Budget& budget() = 0;
  virtual const DataStats& stats() const = 0;
  virtual std::string cache_dir() const = 0;                 // as .config shows it
  virtual std::pair<uint64_t, uint64_t> cached() const = 0;  // blocks, bytes in the cache
};

}  // namespace zest::data
