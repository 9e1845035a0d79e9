// Wakes those of this client who wait for a lock when one is released here; releases by other clients are found by
// polling.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace zest::meta {

class LockBell {
 public:
  uint64_t rung() const {
    std::lock_guard lock(mutex_);
    return count_;
  }
  void ring() {
    std::lock_guard lock(mutex_);
    count_++;
    rang_.notify_all();
  }
  // Waits at most `ms` for a ring after `seen` was read; true if there was one.
  bool wait(uint64_t seen, int64_t ms) {
    std::unique_lock lock(mutex_);
    return rang_.wait_for(lock, std::chrono::milliseconds(ms), [&] { return count_ != seen; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable rang_;
  uint64_t count_ = 0;
};

}  // namespace zest::meta
