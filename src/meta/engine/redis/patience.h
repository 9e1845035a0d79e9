// Repeats what failed because the server was away, with growing pauses, for a bounded time.
#pragma once

#include <algorithm>

#include "base/clock.h"
#include "meta/engine/redis/url.h"

namespace zest::meta::redis {

constexpr int64_t kPatienceMs = 60'000;

// `attempt` must be safe to repeat.
template <class F>
auto patiently(const Settings& settings, F&& attempt) -> decltype(attempt()) {
  const Clock& clock = system_clock();
  int64_t end_ms = clock.monotonic_ms() + kPatienceMs, pause_ms = std::max<int64_t>(1, settings.min_backoff_ms);
  for (;;) {
    auto result = attempt();
    if (result || result.error().fault != Fault::kUnavailable || clock.monotonic_ms() + pause_ms >= end_ms)
      return result;
    clock.sleep_ms(pause_ms);
    pause_ms = std::min(pause_ms * 2, std::max<int64_t>(1, std::min<int64_t>(settings.max_backoff_ms, 1000)));
  }
}

}  // namespace zest::meta::redis
