// Directories that several clients change at the same time: those in which this client has lately lost a race.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "volume/types.h"

namespace zest::meta {

// Thread safe and small: what is forgotten only costs another lost race.
class BusyDirs {
 public:
  void lost_race(Ino dir, int64_t now_ms) {
    std::lock_guard lock(mutex_);
    if (lost_at_ms_.size() >= kMaxDirs) lost_at_ms_.clear();
    lost_at_ms_[dir] = now_ms;
  }
  bool busy(Ino dir, int64_t now_ms) const {
    std::lock_guard lock(mutex_);
    auto found = lost_at_ms_.find(dir);
    return found != lost_at_ms_.end() && now_ms - found->second < kLatelyMs;
  }

 private:
  static constexpr size_t kMaxDirs = 1024;
  static constexpr int64_t kLatelyMs = 1000;
  mutable std::mutex mutex_;
  std::unordered_map<Ino, int64_t> lost_at_ms_;
};

}  // namespace zest::meta
