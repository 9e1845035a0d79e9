// What gc and the hourly jobs remove (semantics.md 12.3). Each call gives the number of things removed, also when it
// ended early by its limits; what fails is logged and left for the next time.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "meta/api.h"

namespace zest::meta {

// When a clean-up must end.
class Limits {
 public:
  Limits() = default;
  Limits(const Clock& clock, int64_t limit_ms, const std::atomic<bool>* stop,
         uint64_t max = std::numeric_limits<uint64_t>::max())
      : max(max), clock_(&clock), deadline_ms_(clock.monotonic_ms() + limit_ms), stop_(stop) {}
  bool over() const { return (stop_ && *stop_) || (clock_ && clock_->monotonic_ms() >= deadline_ms_); }
  const uint64_t max = std::numeric_limits<uint64_t>::max();

 private:
  const Clock* clock_ = nullptr;
  int64_t deadline_ms_ = 0;
  const std::atomic<bool>* stop_ = nullptr;
};

Result<uint64_t> clean_deleted_files(Meta&, int64_t older_than_sec, const Limits&);
Result<uint64_t> clean_slices(Meta&, const Limits&);
// logged_as: what the change log calls it, by who asked for it.
Result<uint64_t> clean_delayed_slices(Meta&, int64_t edge_sec, const Limits&,
                                      const char* logged_as = "CLEANUP_TRASH_SLICES");
Result<uint64_t> clean_trash(Meta&, int64_t edge_sec, const Limits&);
Result<uint64_t> clean_detached(Meta&, int64_t older_than_sec, const Limits&);

// Empties a detached directory (a clone that was never attached) and removes it.
Result<void> remove_detached(Meta&, Ino top);

}  // namespace zest::meta
