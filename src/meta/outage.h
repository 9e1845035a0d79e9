// Says in the log that the database is away, and that it is back. Thread safe; noted() is all that it costs while all
// is well.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/result.h"

namespace zest::meta {

class Outage {
 public:
  // An operation found the database away and will try again. Told after a second, then once a minute.
  void away(const Error& error, int64_t now_ms);
  bool noted() const { return since_ms_.load(std::memory_order_relaxed) != 0; }
  // An operation got an answer.
  void over(int64_t now_ms);
  bool told() const { return told_.load(std::memory_order_relaxed); }

 private:
  std::mutex mutex_;
  std::atomic<int64_t> since_ms_{0};  // 0: it answers
  std::atomic<bool> told_{false};
  int64_t next_ms_ = 0;
};

}  // namespace zest::meta
