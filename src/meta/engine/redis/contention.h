// Lets transactions of this process that lately conflicted over an inode go one after another, instead of failing again
// and again. Costs nothing while there are no conflicts.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "volume/types.h"

namespace zest::meta::redis {

class Contention {
  struct Stripe {
    std::mutex mutex;
    std::condition_variable freed;
    bool taken = false;
    std::atomic<int64_t> until_ms{0};
  };

 public:
  // Held by a transaction from begin to end.
  class Turn {
   public:
    Turn() = default;
    Turn(Turn&& other) noexcept = default;
    Turn& operator=(Turn&&) = delete;
    ~Turn();
    void conflicted();  // marks what the transaction touches as contended for a while

   private:
    friend class Contention;
    std::vector<Stripe*> stripes_;
    std::vector<Stripe*> taken_;
  };
  // Waits at most a second for others; then goes ahead, for the commit is checked anyway.
  Turn enter(std::span<const Ino> hot);

 private:
  std::array<Stripe, 256> stripes_;
};

}  // namespace zest::meta::redis
