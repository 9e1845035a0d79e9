// Slices whose commit was sent without an answer: written or not, nobody knows until the chunk is read again.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "volume/types.h"

namespace zest::meta {

class Doubtful {
 public:
  // What the commit made of the file's length; of a commit of several slices, one carries it.
  struct Growth {
    uint64_t old_length = 0, new_length = 0;
    std::map<Ino, int64_t> parents;  // where the file had its names
  };

  bool contains(SliceId id) const { return find(id).has_value(); }
  std::optional<Growth> find(SliceId id) const {
    if (count_ == 0) return {};
    std::lock_guard lock(mutex_);
    auto it = growth_.find(id);
    return it == growth_.end() ? std::nullopt : std::optional(it->second);
  }
  void add(SliceId id, Growth growth) {
    std::lock_guard lock(mutex_);
    growth_[id] = std::move(growth);
    count_ = growth_.size();
  }
  void remove(SliceId id) {
    if (count_ == 0) return;
    std::lock_guard lock(mutex_);
    growth_.erase(id);
    count_ = growth_.size();
  }

 private:
  std::atomic<size_t> count_{0};
  mutable std::mutex mutex_;
  std::map<SliceId, Growth> growth_;
};

}  // namespace zest::meta
