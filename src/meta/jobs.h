// The periodic work of a mounted client (semantics.md section 12.3): heartbeat, flushes, hourly clean-ups by election.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "base/threads.h"
#include "meta/api.h"

namespace zest::meta {

struct State;

// The clean-ups of a client, for its metrics.
struct CleanUpStats {
  struct PerJob {
    Histogram done_seconds{1, 2, 13}, failed_seconds{1, 2, 13};
    std::atomic<uint64_t> removed{0};
  };
  PerJob files, slices, trash;
};

class Jobs {
 public:
  explicit Jobs(State&);
  ~Jobs();
  // info: the session record's JSON, for when another client removed the record (empty: this client has no session).
  void start(Meta& meta, std::string info);
  // Waits for what runs; long work sees stopping() and ends soon.
  void stop();
  // One heartbeat, as the job does it: renews the session, reads settings, counters and quotas, cleans stale sessions.
  // Callers that come while one is under way share the next one, so that a database that does not answer holds each of
  // them up for two heartbeats at most.
  Result<void> refresh();
  // True when this client may still write: it has renewed its session before others may clean up after it. Both the
  // monotonic and the wall clock must say so: a machine that slept, or whose clock was put forward, asks the database
  // first (refresh()). Always true without a session, or without a heartbeat.
  bool session_alive() const;
  // The session was written just now, by a request sent at `monotonic_ms`.
  void session_renewed(int64_t monotonic_ms, int64_t wall_sec);
  const std::atomic<bool>& stopping() const { return stopping_; }
  const CleanUpStats& clean_ups() const { return clean_ups_; }

 private:
  Result<void> beat();
  Result<void> renew_session();
  Result<void> clean_dead_sessions();
  Result<void> reload_format();
  void leave_volume(const std::string& why);
  void flush();
  // Runs a clean-up, which gives the number of what it removed, and counts it.
  void clean_up(CleanUpStats::PerJob& stats, const char* what, const std::function<Result<uint64_t>()>& job);
  void remove_old_files();
  void remove_old_slices();
  void remove_old_trash();
  void trim_log();

  State& state_;
  Meta* meta_ = nullptr;
  std::string info_;
  std::mutex refreshing_;
  std::atomic<uint64_t> beats_{0};  // begun
  Result<void> last_beat_;          // how it ended; under refreshing_
  struct Suspect {
    int64_t expire = 0, since_ms = 0;  // unix s; monotonic
  };
  std::map<uint64_t, Suspect> suspects_;  // sessions that look dead by this machine's clock; under refreshing_
  std::atomic<int64_t> renewed_ms_{0}, renewed_sec_{0};
  std::atomic<bool> stopping_{false};
  bool left_ = false;  // must_exit was told
  int flushes_ = 0;
  CleanUpStats clean_ups_;
  std::vector<std::unique_ptr<Periodic>> jobs_;
};

// Unix seconds at which a session renewed at `now_sec` expires.
int64_t session_expiry(const Options& options, int64_t now_sec);

// True if this client sets `counter` to now because its value is at most now - diff_sec: it may run the job. A value
// more than a day ahead of this clock is taken for damage, as it would stop the job for ever.
Result<bool> elect(State&, std::string_view counter, int64_t diff_sec);

// Sessions of other clients that expired by this machine's clock, and when (unix seconds): 1,000 of them at most.
Result<std::map<uint64_t, int64_t>> stale_sessions(State&);
// Removes what these hold, then their records; one that has come back meanwhile is left alone.
Result<void> reap_stale(State&, const std::set<uint64_t>& sids);

// To the change log.
void log_new_session(State&, Txn&, uint64_t sid, const SessionRecord&);

// Releases an unlinked inode that session `sid` had open; stale_at: only while the session is stale, as of then.
Result<void> release_sustained(State&, uint64_t sid, Ino ino, std::optional<int64_t> stale_at = {});
// Inside a transaction that releases what a stale session holds: has it been renewed meanwhile?
Result<bool> came_back(Txn&, uint64_t sid, std::optional<int64_t> stale_at);

}  // namespace zest::meta
