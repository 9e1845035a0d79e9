// Callers that want the same expensive flush share it: each returns after a flush that began after it asked.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>

#include "base/result.h"

namespace zest::data {

class GroupSync {
 public:
  explicit GroupSync(std::function<Result<void>()> flush) : flush_(std::move(flush)) {}

  Result<void> sync() {
    std::unique_lock lock(mutex_);
    const uint64_t wanted = started_ + 1;
    while (finished_ < wanted) {
      if (running_) {
        done_.wait(lock);
        continue;
      }
      running_ = true;
      const uint64_t id = ++started_;
      lock.unlock();
      auto result = flush_();
      lock.lock();
      running_ = false;
      done_.notify_all();
      if (!result) return result;  // the others try for themselves
      finished_ = id;
    }
    return {};
  }

 private:
  const std::function<Result<void>()> flush_;
  std::mutex mutex_;
  std::condition_variable done_;
  uint64_t started_ = 0, finished_ = 0;
  bool running_ = false;
};

}  // namespace zest::data
