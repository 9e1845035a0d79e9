#include "object/hedge.h"

#include <algorithm>
#include <cstring>

namespace zest::object {
namespace {

constexpr auto kLeastLate = std::chrono::milliseconds(5);
constexpr size_t kSmall = 64 << 10, kMiddle = 1 << 20;

}  // namespace

// Late is what takes longer than 95 of 100, and more than twice what is usual: where all take about the same, the
// slowest of them are no tail.
void RecentReads::add(Duration took) {
  kept_[count_++ % kKept] = took;
  if (count_ < kEnough || count_ % kEvery != 0) return;
  size_t known = std::min(count_, kKept);
  std::vector<Duration> sorted(kept_.begin(), kept_.begin() + static_cast<ptrdiff_t>(known));
  std::sort(sorted.begin(), sorted.end());
  late_ = std::max({sorted[known * 95 / 100], 2 * sorted[known / 2], Duration(kLeastLate)});
}

Hedge::~Hedge() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (watcher_.joinable()) watcher_.join();
  seconds_.drain();
}

RecentReads& Hedge::like(size_t size) { return recent_[size <= kSmall ? 0 : size <= kMiddle ? 1 : 2]; }

void Hedge::note(size_t size, Clock::duration took) {
  std::lock_guard lock(mutex_);
  like(size).add(std::chrono::duration_cast<RecentReads::Duration>(took));
  saved_ = std::min(saved_ + kShare, kMostSaved);
}

void Hedge::enlist(const RacePtr& race) {
  std::lock_guard lock(mutex_);
  auto late = like(race->size).late_after();
  if (!late) return;
  race->place = waiting_.emplace(Clock::now() + *late, race);
  if (!watcher_.joinable()) watcher_ = std::thread([this] { watch(); });
  if (*race->place == waiting_.begin()) wake_.notify_one();
}

void Hedge::leave(const RacePtr& race) {
  std::lock_guard lock(mutex_);
  if (race->place) waiting_.erase(*race->place);
  race->place.reset();
}

Result<size_t> Hedge::run(std::span<char> into, Read read) {
  auto race = std::make_shared<Race>();
  race->read = std::move(read);
  race->size = into.size();
  auto begin = Clock::now();
  enlist(race);
  auto got = race->read(into, race->first);
  leave(race);
  {
    std::lock_guard lock(race->mutex);
    race->over = true;
    if (!got && race->got) {
      std::memcpy(into.data(), race->copy.get(), *race->got);
      got = *race->got;
    }
  }
  race->second.cancel();
  if (got) note(race->size, Clock::now() - begin);
  return got;
}

void Hedge::watch() {
  name_this_thread("hedge");
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (waiting_.empty()) {
      wake_.wait(lock);
    } else if (auto due = waiting_.begin()->first; Clock::now() < due) {
      wake_.wait_until(lock, due);
    } else {
      auto race = waiting_.begin()->second;
      waiting_.erase(waiting_.begin());
      race->place.reset();
      if (!race->spared && 2 * race->first.received() >= race->size) {
        race->spared = true;
        race->place = waiting_.emplace(Clock::now() + like(race->size).late_after().value_or(kLeastLate), race);
        continue;
      }
      if (saved_ < 1 || running_ >= kAtOnce) continue;
      saved_ -= 1;
      running_++;
      sent_++;
      seconds_.submit([this, race] { run_second(race); });
    }
  }
}

void Hedge::run_second(const RacePtr& race) {
  auto copy = std::make_unique_for_overwrite<char[]>(race->size);
  auto got = race->read({copy.get(), race->size}, race->second);
  {
    std::lock_guard lock(race->mutex);
    if (got && !race->over) {
      race->copy = std::move(copy);
      race->got = *got;
      won_++;
    }
  }
  if (got) race->first.cancel();
  std::lock_guard lock(mutex_);
  running_--;
}

}  // namespace zest::object
