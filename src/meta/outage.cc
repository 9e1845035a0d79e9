#include "meta/outage.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace zest::meta {
namespace {
constexpr int64_t kBlipMs = 1'000, kReminderMs = 60'000;
}

void Outage::away(const Error& error, int64_t now_ms) {
  std::lock_guard lock(mutex_);
  if (since_ms_ == 0) {
    since_ms_ = std::max<int64_t>(now_ms, 1);
    next_ms_ = now_ms + kBlipMs;
  }
  if (now_ms < next_ms_) return;
  log_warning(fmt::format("the database has been away for {} s, operations wait for it: {}",
                          (now_ms - since_ms_) / 1000, error.message()));
  told_ = true;
  next_ms_ = now_ms + kReminderMs;
}

void Outage::over(int64_t now_ms) {
  std::lock_guard lock(mutex_);
  if (since_ms_ == 0) return;
  if (told_) log_warning(fmt::format("the database is back after {} s", (now_ms - since_ms_) / 1000));
  since_ms_ = 0;
  told_ = false;
}

}  // namespace zest::meta
