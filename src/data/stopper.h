// A sleep that ends when everything is to stop.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace zest::data {

class Stopper {
 public:
  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    wake_.notify_all();
  }
  bool stopped() const {
    std::lock_guard lock(mutex_);
    return stopped_;
  }
  // false: stopped before the time was up.
  bool sleep(int64_t ms) {
    std::unique_lock lock(mutex_);
    return !wake_.wait_for(lock, std::chrono::milliseconds(ms), [&] { return stopped_; });
  }
  // The same, but nudge() ends it early: what was waited for may work again.
  bool doze(int64_t ms) {
    std::unique_lock lock(mutex_);
    dozing_++;
    auto nudges = nudges_;
    wake_.wait_for(lock, std::chrono::milliseconds(ms), [&] { return stopped_ || nudges_ != nudges; });
    dozing_--;
    return !stopped_;
  }
  void nudge() {
    if (dozing_.load(std::memory_order_relaxed) == 0) return;
    {
      std::lock_guard lock(mutex_);
      nudges_++;
    }
    wake_.notify_all();
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopped_ = false;
  uint64_t nudges_ = 0;
  std::atomic<int> dozing_{0};
};

// Counts itself while in scope.
class Counted {
 public:
  explicit Counted(std::atomic<int>& count) : count_(count) { count_.fetch_add(1); }
  ~Counted() { count_.fetch_sub(1); }
  Counted(const Counted&) = delete;

 private:
  std::atomic<int>& count_;
};

// A number of places; acquire() waits for one.
class Slots {
 public:
  explicit Slots(int places) : free_(places < 1 ? 1 : places) {}
  void acquire() {
    std::unique_lock lock(mutex_);
    freed_.wait(lock, [&] { return free_ > 0; });
    free_--;
  }
  bool try_acquire() {
    std::lock_guard lock(mutex_);
    if (free_ == 0) return false;
    free_--;
    return true;
  }
  void release() {
    {
      std::lock_guard lock(mutex_);
      free_++;
    }
    freed_.notify_one();
  }
  class Guard {
   public:
    explicit Guard(Slots& slots) : slots_(slots) { slots_.acquire(); }
    ~Guard() { slots_.release(); }
    Guard(const Guard&) = delete;

   private:
    Slots& slots_;
  };

 private:
  std::mutex mutex_;
  std::condition_variable freed_;
  int free_;
};

}  // namespace zest::data
