#include "base/spent.h"

#include <time.h>

#include <algorithm>
#include <chrono>

#include "base/shards.h"

namespace zest {
namespace {

constexpr int64_t kLongNs = 200'000;

int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

// Asking costs most of a microsecond.
int64_t thread_cpu_ns() {
  timespec used{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return int64_t{used.tv_sec} * 1'000'000'000 + used.tv_nsec;
}

// The operation of this thread, and what it is waiting for since when. kCpu: for nothing.
struct Here {
  Spent* spent = nullptr;
  Part part = Part::kCpu;
  int64_t since_ns = 0;
  int64_t queued_ns = 0;  // of the next one
  int64_t cpu_ns = 0;     // that the thread has used, about; 0: not known
};
thread_local Here here;

struct Trips {
  std::atomic<uint64_t> count{0};
};
Sharded<Trips>& trips() {
  static Sharded<Trips> all;
  return all;
}

// Ends the stretch of time that counted as here.part.
void turn_to(Part part) {
  auto now = now_ns();
  if (here.part != Part::kCpu) here.spent->of(here.part) += now - here.since_ns;
  here.part = part;
  here.since_ns = now;
}

}  // namespace

const char* name_of(Part part) {
  constexpr const char* kNames[kParts] = {"queue", "cpu", "lock", "memory", "meta", "object", "cache", "other"};
  return kNames[static_cast<size_t>(part)];
}

Spending::Spending() : nested_(here.spent != nullptr), begin_ns_(now_ns()) {
  if (nested_) return;
  spent_.of(Part::kQueue) = here.queued_ns;
  here.queued_ns = 0;
  here.spent = &spent_;
  here.part = Part::kCpu;
  cpu_ns_ = here.cpu_ns == 0 ? thread_cpu_ns() : here.cpu_ns;
}

Spending::~Spending() {
  if (!ended_) end();
}

int64_t Spending::end() {
  ended_ = true;
  auto took = now_ns() - begin_ns_;
  if (nested_) return took;
  turn_to(Part::kCpu);
  here.spent = nullptr;
  int64_t waited = 0;
  for (auto part : {Part::kLock, Part::kMemory, Part::kMeta, Part::kObject}) waited += spent_.of(part);
  auto left = std::max<int64_t>(took - waited - spent_.of(Part::kCache), 0);
  // A short time it ran: only of a long one that is worth asking.
  here.cpu_ns = left < kLongNs ? cpu_ns_ + left : thread_cpu_ns();
  spent_.of(Part::kCpu) = std::clamp<int64_t>(here.cpu_ns - cpu_ns_, 0, left);
  spent_.of(Part::kOther) = left - spent_.of(Part::kCpu);
  if (waited > 0) here.cpu_ns = 0;  // the thread may have run meanwhile
  return took;
}

Waiting::Waiting(Part part) : counts_(here.spent != nullptr), before_(here.part) {
  if (counts_) turn_to(part);
}

Waiting::~Waiting() {
  if (counts_ && here.spent) turn_to(before_);
}

void note_queued(int64_t ns) { here.queued_ns = ns; }

void note_round_trip() {
  trips().mine().count.fetch_add(1, std::memory_order_relaxed);
  if (here.spent) here.spent->round_trips++;
}

uint64_t round_trips() {
  uint64_t sum = 0;
  trips().each([&](const Trips& shard) { sum += shard.count.load(std::memory_order_relaxed); });
  return sum;
}

}  // namespace zest
