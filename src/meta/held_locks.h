// Locks that this client holds, and those it lost: other clients may have cleaned up after it while it slept. A file
// whose lock was lost takes no changes until its holder lets go of it, since the holder believes to be alone.
#pragma once

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "meta/txn.h"

namespace zest::meta {

// Thread safe. A lock is named by the record it stands in (kFlocks or kPlocks of its inode) and its owner.
class HeldLocks {
 public:
  using Lock = std::pair<Key, uint64_t>;

  // The owner holds something there now, or nothing more; either ends a loss.
  void set(const Key& key, uint64_t owner, bool holds) {
    std::lock_guard lock(mutex_);
    if (holds)
      held_.emplace(key, owner);
    else
      held_.erase({key, owner});
    lost_.erase({key, owner});
    lost_count_ = lost_.size();
  }
  void lose(const Lock& one) {
    std::lock_guard lock(mutex_);
    if (held_.erase(one) == 0) return;
    lost_.insert(one);
    lost_count_ = lost_.size();
  }
  bool lost_one(Ino ino) const {
    if (lost_count_ == 0) return false;
    std::lock_guard lock(mutex_);
    return std::any_of(lost_.begin(), lost_.end(), [ino](const Lock& one) { return one.first.a == raw(ino); });
  }
  std::vector<Lock> held() const {
    std::lock_guard lock(mutex_);
    return {held_.begin(), held_.end()};
  }

 private:
  mutable std::mutex mutex_;
  std::set<Lock> held_, lost_;
  std::atomic<size_t> lost_count_{0};
};

}  // namespace zest::meta
