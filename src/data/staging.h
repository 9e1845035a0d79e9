// Write-back: blocks that count as written once they lie on a local disk, and their upload later.
// docs/format/cache.md sections 8, 9. Also uploads what an earlier client left behind, in every mode.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/threads.h"
#include "data/block_store.h"

namespace zest::data {

// Is hour `hour` (0..23) within [from, to), past midnight too? Equal: always.
bool in_upload_hours(int from, int to, int hour);

class Staging {
 public:
  Staging(BlockStore& blocks, BlockCache& cache, const DataOptions& options, const Clock& clock, DataStats& stats);
  ~Staging();

  void scan();  // queues the blocks that are due, and what an earlier client left
  // On disk when it succeeds. Otherwise the caller uploads the block itself.
  Result<void> stage(const BlockId& id, const BufferPtr& data);
  // The slice was deleted: the staged block goes, and its object, should it be on its way.
  void drop(const BlockId& id);
  size_t waiting() const;
  void stop();  // blocks that wait stay staged

 private:
  enum class State : uint8_t { kWaiting, kUploading, kDropped };
  struct Item {
    int64_t staged_at = 0;  // unix seconds
    State state = State::kWaiting;
  };
  bool due(const Item& item, bool hurry) const;
  bool in_hours() const;
  void submit(const BlockId& id);
  void upload(const BlockId& id);
  Result<void> upload_staged(const BlockId& id);

  BlockStore& blocks_;
  BlockCache& cache_;
  const DataOptions& options_;
  const Clock& clock_;
  DataStats& stats_;
  Stopper stopper_;
  mutable std::mutex mutex_;
  std::unordered_map<BlockId, Item, BlockIdHash> items_;
  ThreadPool uploads_;
  std::thread scanner_;
};

}  // namespace zest::data
