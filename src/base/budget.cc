#include "base/budget.h"

#include <chrono>

#include "base/spent.h"

namespace zest {

Budget::Hold Budget::take(int64_t bytes, int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  auto fits = [&] { return used_ + bytes <= limit_ || used_ == 0; };
  if (!fits()) {
    Waiting waiting(Part::kMemory);
    auto begin = std::chrono::steady_clock::now();
    bool freed = freed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), fits);
    waits_.count++;
    waits_.ns += (std::chrono::steady_clock::now() - begin).count();
    if (!freed) return {};
  }
  used_ += bytes;
  return Hold(this, bytes);
}

Budget::Hold Budget::try_take(int64_t bytes, int64_t reserve) {
  std::lock_guard lock(mutex_);
  if (used_ + bytes + reserve > limit_) return {};
  used_ += bytes;
  return Hold(this, bytes);
}

int64_t Budget::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

Budget::Waits Budget::waits() const {
  std::lock_guard lock(mutex_);
  return waits_;
}

void Budget::give_back(int64_t bytes) {
  {
    std::lock_guard lock(mutex_);
    used_ -= bytes;
  }
  freed_.notify_all();
}

}  // namespace zest
