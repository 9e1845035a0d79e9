// The periodic work of a mounted client (semantics.md section 12.3): heartbeat, flushes, hourly clean-ups by election.
#pragma once

#include <memory>
#include <vector>

#include "base/threads.h"
#include "meta/api.h"

namespace zest::meta {

struct State;

class Jobs {
 public:
  explicit Jobs(State&);
  ~Jobs();
  void start();
  void stop();
  // One heartbeat, as the job does it: renews the session, reads settings, counters and quotas, cleans stale sessions.
  Result<void> refresh();
  // True when this client may still write: it has renewed its session before others may clean up after it.
  bool session_alive() const;

 private:
  State& state_;
  std::atomic<int64_t> renewed_ms_{0};
  std::vector<std::unique_ptr<Periodic>> jobs_;
};

// True if this client sets `counter` to now because its value is at most now - diff_sec: it may run the job.
Result<bool> elect(State&, std::string_view counter, int64_t diff_sec);

// Releases an unlinked inode that session `sid` had open.
Result<void> release_sustained(State&, uint64_t sid, Ino ino);

}  // namespace zest::meta
