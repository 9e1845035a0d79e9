// Which of a session's threads listen to the kernel.
//
// The kernel wakes the thread that has slept longest, so with several of them listening each request costs the waking
// of another thread: three times what a small cached read costs otherwise. So while quick requests come (Session
// decides which), a single thread listens and serves them itself; the others stand by. A request that is not quick, or
// is about to wait after all (base/wait_notice.h), makes another one listen first. When nothing moved for a standby's
// period it listens, too: should a wait go unnoticed, the mount stands still for that long and not for ever.
//
// Going to sleep and being woken costs both sides more than serving a small cached read does, so the one that listens
// alone watches for the next request for a moment first, as long as requests come within such moments (soon()).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>

#include "base/wait_notice.h"

namespace zest::fuse {

class Listeners {
 public:
  // spawn: starts a thread that makes a Worker and listens; called with the lock held.
  Listeners(size_t max_threads, size_t idle_threads, std::function<void()> spawn)
      : max_(max_threads), idle_(idle_threads), spawn_(std::move(spawn)) {}

  void start();                                   // the first thread; also after stop()
  void stop();                                    // standbys end their wait
  void join();                                    // until all threads have left
  bool join_for(std::chrono::milliseconds time);  // have they?
  size_t listening();
  static constexpr auto kSoon = std::chrono::microseconds(50);

  // One thread's part. Calls in turn: received(), served(), received(), ...
  class Worker : public WaitNotice {
   public:
    explicit Worker(Listeners& all) : all_(all) {}
    // A request is here, after that long.
    void received(bool quick, std::chrono::nanoseconds waited);
    // It was answered. True: listen again; false: the thread is not needed any more, and counts as gone.
    bool served();
    // After served(): the next request probably comes within kSoon, and to nobody else.
    bool soon() const { return soon_; }
    void left();  // instead of received(): there are no more requests
    void about_to_wait() override;

   private:
    Listeners& all_;
    bool quick_ = false, waited_ = false, promptly_ = false, soon_ = false;
  };

 private:
  static constexpr auto kAtOnce = std::chrono::microseconds(3);  // no other thread was awaited
  static constexpr auto kStandby = std::chrono::milliseconds(50);
  static constexpr int kQuickRow = 8, kBusyRow = 256;
  using Moment = std::chrono::steady_clock::time_point;

  void listen_elsewhere();  // with mutex_ held, as what follows
  void stand_by(std::unique_lock<std::mutex>& lock);

  const size_t max_, idle_;
  const std::function<void()> spawn_;
  std::mutex mutex_;
  std::condition_variable wake_, gone_;
  size_t threads_ = 0, listening_ = 0, standing_by_ = 0, called_ = 0;
  uint64_t requests_ = 0;
  Moment deaf_since_;                 // the last request was read then, and nobody else listened; zero: somebody did
  int quick_row_ = 0, busy_row_ = 0;  // quick requests in a row; of those, ones that were there already
  bool stopped_ = false;
};

}  // namespace zest::fuse
