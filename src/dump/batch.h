// What loaders share: changes committed in batches, and sets of ids.
#pragma once

#include <array>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/threads.h"
#include "meta/api.h"

namespace zest::dump {

// Writes without reading; committed every few thousand changes, by up to `threads` threads while the caller goes on.
// Relative changes (add_ref, add_links) wait for all that came before. finish() commits the rest and waits; an error of
// a commit is given by a later call.
class Batch {
 public:
  Batch(meta::Engine& engine, int threads);
  Result<void> put(const meta::Key& key, meta::Value value);
  Result<void> append(Ino ino, ChunkIndex index, std::string records);
  Result<void> new_slice(SliceId id, uint32_t size);
  Result<void> add_ref(SliceId id, uint32_t size, int64_t delta);
  Result<void> add_links(Ino ino, Ino parent, int64_t delta);
  Result<void> finish();

 private:
  Result<void> add(meta::Change change);
  Result<void> hand_over();
  void commit(const std::vector<meta::Change>& changes);
  Result<void> outcome();
  meta::Engine& engine_;
  std::vector<meta::Change> changes_;
  size_t bytes_ = 0;
  bool relative_ = false;  // changes_ holds one that needs an order
  std::mutex mutex_;       // of error_
  std::optional<Error> error_;
  ThreadPool pool_;
};

// A set of numbers that are mostly dense: one bit each, in blocks of 4096.
class IdSet {
 public:
  // True if it was not there yet.
  bool insert(uint64_t id) {
    auto& word = blocks_[id >> 12][id >> 6 & 63];
    uint64_t bit = uint64_t{1} << (id & 63);
    bool fresh = !(word & bit);
    word |= bit;
    return fresh;
  }

 private:
  std::unordered_map<uint64_t, std::array<uint64_t, 64>> blocks_;
};

// The target of a load must hold no volume: EEXIST. Creates the engine's tables.
Result<void> prepare_target(meta::Meta& meta);

}  // namespace zest::dump
