// Ends a request that is under way, from another thread, and tells how far it is. The request then fails with
// ECANCELED.
#pragma once

#include <atomic>
#include <cstdint>
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
  // Bytes of the answer so far.
  uint64_t received() const { return received_.load(std::memory_order_relaxed); }
  void note_received(uint64_t bytes) { received_.store(bytes, std::memory_order_relaxed); }
  // By the request: how to make it look at cancelled(), until it detaches with an empty function.
  void attach(std::function<void()> wake) {
    std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
  }

 private:
  std::mutex mutex_;
  std::atomic<bool> cancelled_{false};
  std::atomic<uint64_t> received_{0};
  std::function<void()> wake_;
};

}  // namespace zest::object
