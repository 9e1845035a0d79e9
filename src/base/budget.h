// One limit on the memory of a mount (--buffer-size): read windows, write buffers, listings and caches of metadata all
// draw from it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

namespace zest {

class Budget {
 public:
  explicit Budget(int64_t limit_bytes) : limit_(limit_bytes) {}

  // Memory held from the budget; gives it back when destroyed. Movable.
  class Hold {
   public:
    Hold() = default;
    Hold(Hold&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Hold& operator=(Hold&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Hold() {
      if (budget_) budget_->give_back(bytes_);
    }
    int64_t bytes() const { return bytes_; }
    explicit operator bool() const { return budget_ != nullptr; }

   private:
    friend class Budget;
    Hold(Budget* budget, int64_t bytes) : budget_(budget), bytes_(bytes) {}
    Budget* budget_ = nullptr;
    int64_t bytes_ = 0;
  };

  // Waits until the bytes are free, at most timeout_ms; an empty Hold on timeout. A request over the whole limit is
  // granted when nothing else is held, so that it cannot wait for ever.
  Hold take(int64_t bytes, int64_t timeout_ms);
  // At once or not at all; leaves at least `reserve` bytes free for others.
  Hold try_take(int64_t bytes, int64_t reserve = 0);

  int64_t used() const;
  int64_t limit() const { return limit_; }
  struct Waits {
    uint64_t count = 0;  // calls that had to wait
    int64_t ns = 0;
  };
  Waits waits() const;

 private:
  void give_back(int64_t bytes);
  const int64_t limit_;
  mutable std::mutex mutex_;
  std::condition_variable freed_;
  int64_t used_ = 0;
  Waits waits_;
};

}  // namespace zest
