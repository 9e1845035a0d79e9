// The automatic backup of the metadata: a JSON dump in the volume's own storage, from time to time, by one of the
// clients that mount it (docs/behaviour/semantics.md 12.3).
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/threads.h"
#include "fs/metrics.h"
#include "meta/api.h"
#include "object/storage.h"

namespace zest::cli {

struct BackupOptions {
  std::string url;  // of the metadata
  int64_t interval_ms = 3'600'000;
  bool skip_trash = false;
};

// Looks every tenth of the interval whether the last backup of any client is older than it. The time of the last one is
// the root's xattr lastBackup, written before a dump starts, so that others do not start one too. The dump goes through
// a temporary file, and through another one when the storage encrypts: memory does not grow with the volume.
class Backup {
 public:
  // All must outlive this.
  Backup(meta::Meta& meta, object::Storage& storage, const Clock& clock, BackupOptions options);
  ~Backup();    // stops, too
  void stop();  // ends a running dump; no other follows
  Backup(const Backup&) = delete;

  void add_metrics(fs::Metrics& out) const;

 private:
  void poll();
  Result<void> poll_once();
  // False: it is not time yet, or another client was first.
  Result<bool> claim(meta::Meta& meta);
  Result<void> dump(meta::Meta& meta);
  Result<void> store(const std::string& file, const std::string& key);
  Result<void> prune();

  meta::Meta& meta_;
  object::Storage& storage_;
  const Clock& clock_;
  const BackupOptions options_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> last_success_{0};  // unix seconds
  std::atomic<int64_t> last_ms_{0};       // how long it took
  bool warned_ = false;
  std::unique_ptr<Periodic> job_;
};

// "meta/dump-2026-11-30-101500.json.gz", in UTC.
std::string backup_key(int64_t unix_s);
std::optional<int64_t> time_of_backup(std::string_view key);
// Those that need not be kept: all of two days stay, one a day up to 14 days, one a week up to 60 days, then one in 30
// days. Of several the oldest stays, so that what is kept of days serves the weeks later. Other keys are left out.
std::vector<std::string> outdated_backups(std::span<const std::string> keys, int64_t now_s);

std::string rfc3339(Time time);                                 // in UTC, with nanoseconds
std::optional<int64_t> parse_rfc3339(const std::string& text);  // unix seconds

}  // namespace zest::cli
