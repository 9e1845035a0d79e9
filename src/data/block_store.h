// Blocks in the object store, with the cache in front: one block up, one block or a part of one down. Knows nothing of
// files, slices in order, or windows.
//
// Thread safe; all calls may block for as long as the store's deadlines let them. Nothing here retries an upload: the
// callers know how long it is worth it.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "base/threads.h"
#include "data/cache/block_cache.h"
#include "data/data.h"
#include "data/fetch.h"
#include "data/stopper.h"
#include "object/compress.h"
#include "object/storage.h"
#include "volume/format.h"

namespace zest::data {

// Bytes asked of each block lately by ranged reads, to know when the whole block is the better buy.
class Density {
 public:
  explicit Density(size_t limit) : limit_(limit) {}
  // True once the ranged reads of a block sum up to an eighth of it; then counting starts again.
  bool note(const BlockId& id, uint32_t bytes);

 private:
  const size_t limit_;
  std::mutex mutex_;
  std::unordered_map<BlockId, uint64_t, BlockIdHash> seen_;
  std::deque<BlockId> order_;
};

class BlockStore {
 public:
  // `cache` may be null. All outlive this.
  BlockStore(object::Storage& storage, const Format& format, const DataOptions& options, BufferPool& pool,
             BlockCache* cache, DataStats& stats);
  ~BlockStore();

  std::string key(const BlockId& id) const;
  uint32_t block_size() const { return block_size_; }
  bool ranged() const { return ranged_; }  // can parts of a block be fetched alone?
  // A block takes so long that many of them ought to be under way at once.
  bool far() const { return us_per_mib_ * (block_size_ >> 10) > kFarUs << 10; }

  // One attempt to put the block into the object store, compressed; takes an upload slot.
  Result<void> put_object(const BlockId& id, std::string_view data, const object::Placement& placement = {});
  // The same, and the cache gets it if the rules say so.
  Result<void> upload(const BlockId& id, const BufferPtr& data, const object::Placement& placement = {});

  // Bytes [offset, offset + into.size()) of the block: from a fetch in progress, the cache, or the object store. whole:
  // the rest of the block will be wanted too. `keep`, if given, gets the whole block when it was fetched. `lent`: as
  // for Data::read().
  Result<void> read(const BlockId& id, uint32_t offset, std::span<char> into, bool whole,
                    const std::atomic<bool>* cancelled, FetchPtr* keep = nullptr, Lent* lent = nullptr);
  // Only what can be had without waiting; false otherwise.
  bool read_near(const BlockId& id, uint32_t offset, std::span<char> into, Lent* lent = nullptr);
  // Begins to fetch the block in the background. Null when it is in the cache, or memory is short (at least `reserve`
  // bytes of the budget stay free).
  FetchPtr read_ahead(const BlockId& id, int64_t reserve);
  bool near(const BlockId& id) { return cache_ && cache_->contains(id); }
  // Whole block into the cache, now; success when it is there already.
  Result<void> warm(const BlockId& id);
  // From the object store only; the first error, if some could not be removed.
  Result<void> remove_objects(std::span<const BlockId> ids);

  BlockCache* cache() { return cache_; }
  BufferPool& pool() { return pool_; }
  ThreadPool& downloads() { return downloads_; }
  // Called when memory is short: somebody may let go of read-ahead.
  void set_relief(std::function<void()> relief) { relief_ = std::move(relief); }
  void stop();

 private:
  static constexpr int64_t kFarUs = 30'000;
  BufferPtr take_memory(size_t bytes, int64_t timeout_ms);
  Result<void> get_range(const BlockId& id, uint32_t offset, std::span<char> into, object::SegmentSums* sums = nullptr);
  // For a reader that wants no more than this of the block.
  Result<void> get_only(const BlockId& id, uint32_t offset, std::span<char> into);
  // The whole block, in parts at once when one GET of it takes long.
  Result<void> get_parts(const BlockId& id, std::span<char> into, object::SegmentSums* sums);
  size_t parts_for(size_t bytes) const;
  Result<BufferPtr> get_block(const BlockId& id, BufferPtr into, bool awaited);
  // For the claimer: does the GET, keeps it in the cache, tells everybody.
  // awaited: a reader waits for it now.
  Result<BufferPtr> run(const FetchPtr& fetch, BufferPtr into, bool force_cache, bool awaited);
  void promote(const BlockId& id);
  void keep(const BlockId& id, const BufferPtr& data, bool force, bool wait);

  object::Storage& storage_;
  const Format format_;
  const DataOptions options_;
  const uint32_t block_size_;
  object::Compression compression_ = object::Compression::kNone;
  bool ranged_ = true;
  BufferPool& pool_;
  BlockCache* cache_;
  DataStats& stats_;
  FetchTable fetches_;
  Density density_{4096};
  Slots upload_slots_;
  std::function<void()> relief_;
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> us_per_mib_{0};  // of one large GET, smoothed
  ThreadPool downloads_, prefetches_, ranges_;
};

}  // namespace zest::data
