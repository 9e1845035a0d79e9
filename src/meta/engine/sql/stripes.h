// Queues for transactions of this process that touch the same inodes, so that they wait instead of failing at each
// other. Only a help: a queue that does not move is passed by.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "volume/types.h"

namespace zest::meta::sql {

class Stripes {
 public:
  class Hold {
   public:
    Hold() = default;
    Hold(Hold&& other) noexcept
        : stripes_(std::exchange(other.stripes_, nullptr)),
          held_(std::move(other.held_)),
          all_(std::move(other.all_)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold();

   private:
    friend class Stripes;
    Stripes* stripes_ = nullptr;
    std::vector<uint16_t> held_, all_;
  };

  // always: queue up in any case; else only where transactions met lately.
  Hold enter(std::span<const Ino> hot, bool always);
  // A transaction with this hold lost a race.
  void lost(const Hold& hold);

 private:
  static constexpr size_t kCount = 1024;
  void leave(std::span<const uint16_t> held);
  std::mutex mutex_;
  std::condition_variable left_;
  std::array<bool, kCount> busy_{};
  std::array<int64_t, kCount> contended_until_ms_{};
};

}  // namespace zest::meta::sql
