#include "data/cache/memory_cache.h"

#include <cstring>
#include <mutex>
#include <unordered_map>

namespace zest::data {
namespace {

// Blocks are copied out of the mount's budget: --buffer-size and --cache-size are limits of their own.
class MemoryCache : public BlockCache {
 public:
  MemoryCache(uint64_t size_bytes, const CacheOptions& options, const Clock& clock, DataStats& stats)
      : limit_(size_bytes), options_(options), clock_(clock), stats_(stats) {}

  bool read(const BlockId& id, uint32_t offset, std::span<char> into) override {
    std::shared_ptr<char[]> data;
    {
      std::lock_guard lock(mutex_);
      auto it = blocks_.find(id);
      if (it == blocks_.end()) return false;
      it->second.used_ms = clock_.monotonic_ms();
      data = it->second.data;
    }
    if (uint64_t{offset} + into.size() > id.bytes) return false;
    std::memcpy(into.data(), data.get() + offset, into.size());
    return true;
  }

  void put(const BlockId& id, BufferPtr data, bool) override {
    if (data->size() != id.bytes || id.bytes > limit_) return;
    std::lock_guard lock(mutex_);
    if (blocks_.contains(id)) return;
    if (used_ + id.bytes > limit_) {
      if (options_.eviction == "none") {
        stats_.cache_drops++;
        return;
      }
      evict(limit_ / 100 * 95 - std::min<uint64_t>(limit_ / 100 * 95, id.bytes));
    }
    std::shared_ptr<char[]> copy(new char[id.bytes]);
    std::memcpy(copy.get(), data->data(), id.bytes);
    blocks_[id] = {std::move(copy), clock_.monotonic_ms()};
    used_ += id.bytes;
    stats_.cache_writes++;
    stats_.cache_write_bytes += id.bytes;
  }

  bool contains(const BlockId& id) override {
    std::lock_guard lock(mutex_);
    return blocks_.contains(id);
  }
  std::string location(const BlockId& id) override { return contains(id) ? "memory" : ""; }
  void remove(const BlockId& id) override {
    std::lock_guard lock(mutex_);
    if (blocks_.erase(id) > 0) used_ -= id.bytes;
  }
  std::pair<uint64_t, uint64_t> usage() const override {
    std::lock_guard lock(mutex_);
    return {blocks_.size(), used_};
  }
  void unstage(const BlockId& id, bool drop) override {
    if (drop) remove(id);
  }

 private:
  struct Item {
    std::shared_ptr<char[]> data;
    int64_t used_ms = 0;
  };
  // Of each two blocks met, the one that was used less recently goes; expired ones at once.
  void evict(uint64_t goal) {
    auto now = clock_.monotonic_ms();
    while (used_ > goal && !blocks_.empty()) {
      auto kept = blocks_.end();
      for (auto it = blocks_.begin(); it != blocks_.end() && used_ > goal;) {
        auto here = it++;
        if (options_.expire_ms > 0 && now - here->second.used_ms > options_.expire_ms) {
          drop(here);
        } else if (kept == blocks_.end()) {
          kept = here;
        } else {
          drop(here->second.used_ms < kept->second.used_ms ? here : kept);
          kept = blocks_.end();
        }
      }
      if (blocks_.size() == 1 && used_ > goal) drop(blocks_.begin());
    }
  }
  void drop(std::unordered_map<BlockId, Item, BlockIdHash>::iterator it) {
    used_ -= it->first.bytes;
    stats_.cache_evictions++;
    blocks_.erase(it);
  }

  const uint64_t limit_;
  const CacheOptions options_;
  const Clock& clock_;
  DataStats& stats_;
  mutable std::mutex mutex_;
  std::unordered_map<BlockId, Item, BlockIdHash> blocks_;
  uint64_t used_ = 0;
};

}  // namespace

std::unique_ptr<BlockCache> make_memory_cache(uint64_t size_bytes, const CacheOptions& options, const Clock& clock,
                                              DataStats& stats) {
  return std::make_unique<MemoryCache>(size_bytes, options, clock, stats);
}

}  // namespace zest::data
