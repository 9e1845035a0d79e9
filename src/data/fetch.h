// Whole blocks on their way from the object store: one GET for everybody who wants the same block at the same time.
// Also what read-ahead holds: a block stays in memory as long as somebody keeps its Fetch.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>

#include "base/result.h"
#include "data/block.h"
#include "data/buffer.h"

namespace zest::data {

struct FetchIndex;

class Fetch {
 public:
  Fetch(std::shared_ptr<FetchIndex> index, const BlockId& id) : index_(std::move(index)), id_(id) {}
  ~Fetch();
  const BlockId& id() const { return id_; }

  // Who gets true must call finish(): exactly one caller.
  bool claim() { return !claimed_.exchange(true); }
  void finish(Result<BufferPtr> outcome);
  bool done() const;
  // Waits for the end: EINTR when cancelled. Nothing else ends the wait, because the claimer's GET has a deadline.
  Result<BufferPtr> wait(const std::atomic<bool>* cancelled);

 private:
  const std::shared_ptr<FetchIndex> index_;
  const BlockId id_;
  std::atomic<bool> claimed_{false};
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  bool done_ = false;
  Result<BufferPtr> outcome_;
};
using FetchPtr = std::shared_ptr<Fetch>;

struct FetchIndex {
  std::mutex mutex;
  std::unordered_map<BlockId, std::weak_ptr<Fetch>, BlockIdHash> fetches;
  std::atomic<size_t> count{0};
};

class FetchTable {
 public:
  FetchTable() : index_(std::make_shared<FetchIndex>()) {}
  // The fetch of a block, begun by somebody or new.
  FetchPtr join(const BlockId& id);
  FetchPtr find(const BlockId& id);  // may be null
  void forget(const Fetch& fetch);   // it failed: the next one begins anew

 private:
  std::shared_ptr<FetchIndex> index_;
};

}  // namespace zest::data
