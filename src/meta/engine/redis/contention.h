// Lets transactions of this process that touch one inode go one after another: each decides on what the one before it
// is going to write, instead of losing a race against it. Commits are on their way together: a turn ends when the place
// of the commit among the others is certain. Where there was a conflict lately, it lasts to the end of the transaction.
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
    std::atomic<uint64_t> ended{0};  // turns
    std::atomic<int64_t> until_ms{0};
  };

 public:
  class Turn {
   public:
    Turn() = default;
    Turn(Turn&& other) noexcept = default;
    Turn& operator=(Turn&&) = delete;
    ~Turn() { end(); }
    void end();
    // Waits at most a second for others; then goes ahead, for the commit is checked anyway. True: another one's
    // has ended since this one was made. Does nothing the second time.
    bool take();
    bool contended() const;  // was there a conflict lately?
    void conflicted();       // marks what the transaction touches as contended for a while

   private:
    friend class Contention;
    uint64_t count_ended() const;
    std::vector<Stripe*> stripes_;
    std::vector<Stripe*> taken_;
    uint64_t ended_ = 0;  // turns at its stripes, when it was made
    bool asked_ = false;
  };
  Turn turn(std::span<const Ino> hot);

 private:
  std::array<Stripe, 256> stripes_;
};

}  // namespace zest::meta::redis
