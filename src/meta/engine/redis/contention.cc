#include "meta/engine/redis/contention.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.h"
#include "base/spent.h"

namespace zest::meta::redis {

namespace {
constexpr int64_t kContendedMs = 100;
}

void Contention::Turn::end() {
  for (Stripe* stripe : taken_) {
    std::lock_guard lock(stripe->mutex);
    stripe->taken = false;
    stripe->ended++;
    stripe->freed.notify_one();
  }
  taken_.clear();
}

bool Contention::Turn::take() {
  if (std::exchange(asked_, true)) return false;
  for (Stripe* stripe : stripes_) {
    std::unique_lock lock(stripe->mutex);
    if (stripe->taken) {
      Waiting waiting(Part::kLock);
      if (!stripe->freed.wait_for(lock, std::chrono::seconds(1), [stripe] { return !stripe->taken; })) continue;
    }
    stripe->taken = true;
    taken_.push_back(stripe);
  }
  return count_ended() != ended_;
}

uint64_t Contention::Turn::count_ended() const {
  uint64_t sum = 0;
  for (const Stripe* stripe : stripes_) sum += stripe->ended;
  return sum;
}

void Contention::Turn::conflicted() {
  int64_t until = system_clock().monotonic_ms() + kContendedMs;
  for (Stripe* stripe : stripes_) stripe->until_ms = until;
}

bool Contention::Turn::contended() const {
  int64_t now = system_clock().monotonic_ms();
  return std::any_of(stripes_.begin(), stripes_.end(), [now](Stripe* stripe) { return stripe->until_ms >= now; });
}

Contention::Turn Contention::turn(std::span<const Ino> hot) {
  Turn turn;
  for (Ino ino : hot) turn.stripes_.push_back(&stripes_[raw(ino) * 0x9E3779B97F4A7C15u >> 56]);
  std::sort(turn.stripes_.begin(), turn.stripes_.end());
  turn.stripes_.erase(std::unique(turn.stripes_.begin(), turn.stripes_.end()), turn.stripes_.end());
  turn.ended_ = turn.count_ended();
  return turn;
}

}  // namespace zest::meta::redis
