// The slow tail of a store's answers is mostly one slow server or connection: a read that takes much longer than recent
// ones of its size is asked for once more, the first answer is taken, and the other request is ended. One of which half
// is there has as much time again: a second one would hardly be quicker.
//
// At most one read in twenty is asked for twice, and few at once: a store that is slow as a whole is not made slower.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "object/cancel.h"

namespace zest::object {

// Durations of the last reads of similar size. Not thread safe.
class RecentReads {
 public:
  using Duration = std::chrono::microseconds;
  void add(Duration took);
  // A read that takes longer is late; nothing while too few are known.
  std::optional<Duration> late_after() const { return late_; }

 private:
  static constexpr size_t kKept = 128, kEnough = 32, kEvery = 8;
  std::array<Duration, kKept> kept_{};
  size_t count_ = 0;
  std::optional<Duration> late_;
};

// Thread safe; reads run on the caller's thread, second ones on threads of its own, which the destructor waits for.
class Hedge {
 public:
  // Reads into the buffer, and ends early with ECANCELED. Must stay callable for as long as the Hedge lives.
  using Read = std::function<Result<size_t>(std::span<char> into, Cancel&)>;

  ~Hedge();
  Result<size_t> run(std::span<char> into, Read read);
  uint64_t sent() const { return sent_; }  // second requests
  uint64_t won() const { return won_; }    // those that were quicker

 private:
  using Clock = std::chrono::steady_clock;
  struct Race;
  using RacePtr = std::shared_ptr<Race>;
  using Waiting = std::multimap<Clock::time_point, RacePtr>;
  struct Race {
    Read read;
    size_t size = 0;
    Cancel first, second;
    std::optional<Waiting::iterator> place;  // guarded by the Hedge's mutex_
    bool spared = false;                     // it was late, and nearly done; guarded likewise
    std::mutex mutex;                        // of what follows
    bool over = false;                       // the first has ended
    std::unique_ptr<char[]> copy;            // what the second gave
    std::optional<size_t> got;
  };

  static constexpr size_t kAtOnce = 4;
  static constexpr double kShare = 0.05, kMostSaved = 4;
  RecentReads& like(size_t size);
  void note(size_t size, Clock::duration took);
  void enlist(const RacePtr& race);
  void leave(const RacePtr& race);
  void watch();
  void run_second(const RacePtr& race);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::array<RecentReads, 3> recent_;
  Waiting waiting_;            // reads under way, by when they are late
  double saved_ = kMostSaved;  // second requests that may be sent now
  size_t running_ = 0;
  bool stop_ = false;
  std::thread watcher_;
  ThreadPool seconds_{"hedge", kAtOnce, 1 << 10};
  std::atomic<uint64_t> sent_{0}, won_{0};
};

}  // namespace zest::object
