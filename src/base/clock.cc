#include "base/clock.h"

#include <chrono>
#include <ctime>
#include <thread>

namespace zest {
namespace {

class SystemClock : public Clock {
 public:
  Time now() const override {
    timespec ts{};
    clock_gettime(CLOCK_REALTIME, &ts);
    return {ts.tv_sec, static_cast<uint32_t>(ts.tv_nsec)};
  }
  int64_t monotonic_ms() const override {
    timespec ts{};
    // counts while the machine is suspended, too: a session that slept must notice
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return int64_t{ts.tv_sec} * 1000 + ts.tv_nsec / 1'000'000;
  }
  void sleep_ms(int64_t ms) const override {
    if (ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  }
};

}  // namespace

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

}  // namespace zest
