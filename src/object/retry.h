// Repeats requests that failed for reasons that pass: busy or unreachable servers, broken connections, bad bodies.
#pragma once

#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "object/storage.h"

namespace zest::object {

struct RetryPolicy {
  int retries = 10;                     // after the first try
  int64_t base_ms = 50, cap_ms = 5000;  // pause k: a random part of min(base x 2^k, cap), at least a quarter of it
  // No new try starts after this time, counted from the first one.
  int64_t get_deadline_ms = 120'000, put_deadline_ms = 120'000;
};

// Only errors with Fault kUnavailable and kUnknownOutcome are tried again: every request of a Storage may be repeated,
// as objects are replaced as a whole. The error that remains tells how often it was tried.
std::unique_ptr<Storage> with_retries(std::unique_ptr<Storage> inner, const RetryPolicy& policy, const Clock& clock);

}  // namespace zest::object
