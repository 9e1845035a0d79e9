// Time, passed in so that tests own it.
#pragma once

#include <cstdint>

namespace zest {

// A point of wall-clock time as files have it. nsec is 0..999,999,999; times before 1970 have a negative sec.
struct Time {
  int64_t sec = 0;
  uint32_t nsec = 0;
  friend auto operator<=>(const Time&, const Time&) = default;
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;              // wall clock
  virtual int64_t monotonic_ms() const = 0;  // never steps back
  virtual void sleep_ms(int64_t ms) const = 0;
};

// The machine's clock. Thread safe, lives for ever.
const Clock& system_clock();

// a - b, in milliseconds
inline int64_t diff_ms(Time a, Time b) {
  return (a.sec - b.sec) * 1000 + (static_cast<int64_t>(a.nsec) - static_cast<int64_t>(b.nsec)) / 1'000'000;
}

}  // namespace zest
