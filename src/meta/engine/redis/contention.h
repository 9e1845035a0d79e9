// Lets transactions of this process that lately conflicted over an inode go one after another, instead of failing again
// and again. Costs nothing while there are no conflicts.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "volume/types.h"

namespace zest::meta::redis {

class Contention {
  struct Stripe {
    std::timed_mutex mutex;
    std::atomic<int64_t> until_ms{0};
  };

 public:
  // Held by a transaction from begin to end.
  class Turn {
   public:
    void conflicted();  // marks what the transaction touches as contended for a while

   private:
    friend class Contention;
    std::vector<Stripe*> stripes_;
    std::vector<std::unique_lock<std::timed_mutex>> locks_;
  };
  // Waits at most a second for others; then goes ahead, for the commit is checked anyway.
  Turn enter(std::span<const Ino> hot);

 private:
  std::array<Stripe, 256> stripes_;
};

}  // namespace zest::meta::redis
