// For unit tests: time that passes when the test says so, or somebody sleeps.
#pragma once

#include "base/clock.h"

namespace zest {

// Not thread safe.
class FakeClock : public Clock {
 public:
  Time now() const override { return {1'700'000'000 + ms / 1000, static_cast<uint32_t>(ms % 1000) * 1'000'000}; }
  int64_t monotonic_ms() const override { return ms; }
  void sleep_ms(int64_t for_ms) const override {
    ms += for_ms;
    sleeps++;
  }
  mutable int64_t ms = 1000, sleeps = 0;
};

}  // namespace zest
