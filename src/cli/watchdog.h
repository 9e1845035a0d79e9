// Tells when the process that serves a mount has hung: a request waits in the kernel, and for long it has taken none,
// though it is not busy with all it can serve. Requests that it has taken and does not answer are no sign: the database
// or the storage may be away.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "fs/state_table.h"

namespace zest::cli {

class Watchdog {
 public:
  // patience_ms 0: never. most_served: with so many requests being served it takes no more.
  Watchdog(int64_t patience_ms, size_t most_served) : patience_ms_(patience_ms), most_served_(most_served) {}

  // How often to ask; 0: there is no need to.
  int64_t interval_ms() const { return patience_ms_ / 4; }
  // Is it known by now that `worker` has hung? Looks at the kernel's side of the mount (`device`, /dev/fuse) and at
  // what the worker notes in the table; asks neither. The counting begins anew with another worker.
  bool hung(pid_t worker, int device, fs::StateTable& table, int64_t now_ms);

 private:
  const int64_t patience_ms_;
  const size_t most_served_;
  pid_t worker_ = 0;
  uint64_t taken_ = 0;
  int64_t since_ms_ = 0;  // nothing was taken since
};

}  // namespace zest::cli
