#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/result.h"
#include "base/spent.h"

namespace zest::data {

// Counts tasks that run elsewhere but write into the caller's buffer.
class Group {
 public:
  void add() {
    std::lock_guard lock(mutex_);
    running_++;
  }
  void done(Result<void> result) {
    std::lock_guard lock(mutex_);
    if (!result && outcome_) outcome_ = std::move(result);
    if (--running_ == 0) ended_.notify_all();
  }
  Result<void> wait() {
    Waiting waiting(Part::kObject);
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return running_ == 0; });
    return outcome_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  int running_ = 0;
  Result<void> outcome_;
};

}  // namespace zest::data
