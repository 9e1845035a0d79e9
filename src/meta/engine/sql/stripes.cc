#include "meta/engine/sql/stripes.h"

#include <algorithm>
#include <chrono>

#include "base/clock.h"
#include "base/spent.h"

namespace zest::meta::sql {
namespace {

constexpr int64_t kContendedMs = 1000;
// A holder that waits for this very thread (a transaction within a transaction) must not hold it up for long.
constexpr auto kPatience = std::chrono::milliseconds(200);

}  // namespace

Stripes::Hold Stripes::enter(std::span<const Ino> hot, bool always) {
  Hold hold;
  hold.stripes_ = this;
  for (Ino ino : hot) hold.all_.push_back(static_cast<uint16_t>(raw(ino) % kCount));
  std::sort(hold.all_.begin(), hold.all_.end());
  hold.all_.erase(std::unique(hold.all_.begin(), hold.all_.end()), hold.all_.end());
  if (hold.all_.empty()) return hold;
  const int64_t now = always ? 0 : system_clock().monotonic_ms();
  std::unique_lock lock(mutex_);
  for (uint16_t stripe : hold.all_) {
    if (!always && contended_until_ms_[stripe] <= now) continue;
    if (busy_[stripe]) {
      Waiting waiting(Part::kLock);
      if (!left_.wait_for(lock, kPatience, [&] { return !busy_[stripe]; })) continue;
    }
    busy_[stripe] = true;
    hold.held_.push_back(stripe);
  }
  return hold;
}

void Stripes::lost(const Hold& hold) {
  const int64_t until = system_clock().monotonic_ms() + kContendedMs;
  std::lock_guard lock(mutex_);
  for (uint16_t stripe : hold.all_) contended_until_ms_[stripe] = until;
}

void Stripes::leave(std::span<const uint16_t> held) {
  {
    std::lock_guard lock(mutex_);
    for (uint16_t stripe : held) busy_[stripe] = false;
  }
  left_.notify_all();
}

Stripes::Hold::~Hold() {
  if (stripes_ && !held_.empty()) stripes_->leave(held_);
}

}  // namespace zest::meta::sql
