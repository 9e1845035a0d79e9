// Ends a request that is under way, from another thread. The request then fails with ECANCELED.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <utility>

namespace zest::object {

class Cancel {
 public:
  void cancel() {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    if (wake_) wake_();
  }
  bool cancelled() const { return cancelled_; }
  // By the request: how to make it look at cancelled(), until it detaches with an empty function.
  void attach(std::function<void()> wake) {
    std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
  }

 private:
  std::mutex mutex_;
  std::atomic<bool> cancelled_{false};
  std::function<void()> wake_;
};

}  // namespace zest::object
