// One cache directory: <dir>/<volume UUID>/{.lock,raw,rawstaging} (docs/format/cache.md). Index and limits in memory,
// one thread that writes what is queued. Which of several directories a block belongs to is not its business.
//
// Thread safe. No lock is held over I/O. A call that hangs takes the directory out of use; what it was to do is left
// behind on its thread. While it is out nothing new comes here, and only staged blocks are asked for.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/wait_notice.h"
#include "data/cache/apart.h"
#include "data/cache/block_cache.h"
#include "data/cache/cache_file.h"
#include "data/data.h"
#include "volume/format.h"

namespace zest::data {

struct StoreLimits {
  uint64_t bytes = 0;        // of this directory
  uint64_t items = 0;        // 0: by the file system
  size_t queued_blocks = 4;  // waiting to be written
};

class DiskStore {
 public:
  // Makes the folders and the .lock file.
  static Result<std::unique_ptr<DiskStore>> open(const std::string& dir, const StoreLimits& limits,
                                                 const DataOptions& options, const Format& format, const Clock& clock,
                                                 DataStats& stats);
  ~DiskStore();

  const std::string& id() const { return id_; }  // text of .lock
  const std::string& root() const { return root_; }
  bool usable() const { return !out_.load(std::memory_order_relaxed); }

  bool read(const BlockId& id, uint32_t offset, std::span<char> into);
  void put(const BlockId& id, BufferPtr data, bool wait);
  bool contains(const BlockId& id);
  void expect(const BlockId& id);  // begins to read it into the page cache
  void remove(const BlockId& id);
  std::pair<uint64_t, uint64_t> usage() const;

  Result<void> stage(const BlockId& id, const BufferPtr& data);
  Result<void> read_staged(const BlockId& id, const BufferPtr& into);
  void unstage(const BlockId& id, bool drop);
  // What an earlier client left in rawstaging: each block once, so nothing after the first call that did not hang.
  std::vector<StagedBlock> find_staged(const std::atomic<bool>& stop);
  bool crowded() const { return raw_full_; }
  Result<void> sync();

  void tick();                               // every second: free space, eviction, health
  bool scan(const std::atomic<bool>& stop);  // rebuilds the index from the disk; false: it hangs or fails
  void stop();

 private:
  struct Item {
    uint32_t used_s = 0;  // last use, unix seconds
    uint64_t added = 0;   // number of the scan during which it came
    bool staged = false;
    std::shared_ptr<CacheFile> file;     // kept open
    std::list<BlockId>::iterator place;  // in open_, when file is set
  };
  using Index = std::unordered_map<BlockId, Item, BlockIdHash>;

  DiskStore(std::string root, const StoreLimits& limits, const DataOptions& options, const Format& format,
            const Clock& clock, DataStats& stats);
  Result<void> prepare();  // makes the folders and the .lock file
  std::string path(const BlockId& id, bool staging) const;
  uint32_t now_s() const { return static_cast<uint32_t>(clock_.now().sec); }
  bool is_staged(const BlockId& id) const;
  // The task's value, or nothing when it hangs: then the directory is out of use. A task owns all that it touches.
  template <class T>
  std::optional<T> in_time(std::function<T()> task, int patience = 1, std::function<void()> undo = {}) {
    before_wait();
    auto limit = timeout(patience);
    auto value = apart_.run<T>(limit, std::move(task), std::move(undo));
    if (!value) hung(limit);
    return value;
  }
  std::chrono::milliseconds timeout(int patience) const;
  void hung(std::chrono::milliseconds timeout);
  void delete_file(std::string path);  // now, or when the disk works again
  // Null: not here, or the disk has to be asked (ask).
  std::shared_ptr<CacheFile> known_file(const BlockId& id, bool& ask);
  // Opens the block's file and reads some of it, if any is wanted.
  bool read_from_disk(const BlockId& id, std::shared_ptr<CacheFile> file, uint32_t offset, std::span<char> into);
  // The file that was opened when the block was expected.
  std::shared_ptr<CacheFile> opened_file(const BlockId& id);
  void keep_open(const BlockId& id, const std::shared_ptr<CacheFile>& file);
  void failed(const BlockId& id, const Error& error);
  void forget(const BlockId& id);  // from the index only
  void add(const BlockId& id, uint32_t used_s, bool staged);
  void erase(Index::iterator it);
  void write_queued();
  void write_block(const BlockId& id, const BufferPtr& data, bool soon);
  bool full() const;  // with mutex_ held
  void evict(uint64_t bytes_goal, uint64_t items_goal);
  std::vector<BlockId> choose_victims(uint64_t bytes_goal, uint64_t items_goal);
  void expire();
  void measure();
  void check_lock();
  void io_error(int code);
  void go_out(const char* why);  // with mutex_ held
  void probe();
  using FoundBlock = std::function<void(const BlockId&, int64_t atime, int64_t mtime, bool linked_twice)>;
  bool walk(const std::string& kind, const std::atomic<bool>& stop, const FoundBlock& each);

  const std::string root_;
  std::string id_;
  const StoreLimits limits_;
  const DataOptions& options_;
  const Format& format_;
  const Clock& clock_;
  DataStats& stats_;
  const Verify verify_;
  static constexpr size_t kDiskThreads = 32;
  // Shared with the tasks that read blocks into the page cache.
  struct Expected {
    std::mutex mutex;
    size_t running = 0;
    std::unordered_map<BlockId, std::shared_ptr<CacheFile>, BlockIdHash> opened;  // until they are read
  };
  const std::shared_ptr<Expected> expected_ = std::make_shared<Expected>();
  Apart apart_{kDiskThreads};

  mutable std::mutex mutex_;
  Index items_;
  std::list<BlockId> open_;          // most recently used first
  uint64_t used_ = 0, counted_ = 0;  // bytes and number of blocks that are not staged
  uint64_t round_ = 1;
  bool scanned_ = false;
  std::atomic<bool> staged_found_{false};
  uint64_t max_bytes_, max_items_;
  double free_ratio_;
  std::atomic<bool> raw_full_{false}, stage_full_{false}, out_{false};
  uint64_t missing_bytes_ = 0;  // to reach the free ratio, as last measured
  std::deque<int64_t> errors_ms_;
  std::vector<std::string> to_delete_;  // when it is back in use
  std::atomic<int> good_probes_{0};
  // Blocks staged so far, and how many of them were when the last sync() began that succeeded.
  std::atomic<uint64_t> staged_count_{0}, synced_count_{0};
  int64_t lock_checked_ms_ = 0, expired_ms_ = 0;
  bool lock_lost_ = false;

  struct Queued {
    BlockId id;
    BufferPtr data;
    bool soon;  // it will be read soon
  };
  std::deque<Queued> queue_;
  std::unordered_map<BlockId, BufferPtr, BlockIdHash> queued_;
  std::condition_variable wake_, room_;
  bool stop_ = false;
  std::thread writer_;
};

}  // namespace zest::data
