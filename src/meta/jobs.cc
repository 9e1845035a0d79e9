// What a mounted client does by itself. Which work there is, and how often; the work is done elsewhere.
#include "meta/jobs.h"

#include <fmt/format.h>

#include "base/log.h"
#include "meta/bulk/clean.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

constexpr int64_t kDefaultHeartbeatMs = 12'000;
constexpr int64_t kFlushMs = 1000;
constexpr int kFlushesPerQuotaFlush = 3;
constexpr int64_t kHourMs = 3600'000;
constexpr int64_t kTrimLogMs = 300'000, kTrimLogDiffSec = 270;
constexpr int64_t kElectionDiffSec = 3240;       // of the hourly jobs
constexpr int64_t kJobLimitMs = 50 * 60 * 1000;  // so that a job ends before the next election
constexpr int64_t kDaySec = 86400;
constexpr uint64_t kMaxDeletedFiles = 600'000;
constexpr int kSupportedMetaVersion = 1;

// The settings as one text, secrets included, to see whether anything changed.
std::string text_of(Format format) {
  format.key_encrypted = false;
  return dump_format(format).value_or("");
}

void warn(const char* what, const Error& error) { log_warning(fmt::format("{}: {}", what, error.message())); }

}  // namespace

int64_t session_expiry(const Options& options, int64_t now_sec) {
  if (options.heartbeat_ms <= 0) return now_sec + 365 * kDaySec;
  return now_sec + options.heartbeat_ms * 5 / 1000;
}

Result<bool> elect(State& state, std::string_view counter, int64_t diff_sec) {
  bool elected = false;
  ZEST_TRY(state.run({}, [&](Txn& txn) -> Result<void> {
    const int64_t now = state.clock.now().sec;
    ZEST_ASSIGN(const int64_t last, txn.counter(counter));
    elected = last <= now - diff_sec || last > now + kDaySec;
    if (!elected) return {};
    txn.put(Key::counter(counter), now);
    state.change_log.add(txn, state.clock.now(), "SET", {counter, now});
    return {};
  }));
  return elected;
}

Jobs::Jobs(State& state) : state_(state) {}

Jobs::~Jobs() { stop(); }

void Jobs::start(Meta& meta, std::string info) {
  meta_ = &meta;
  info_ = std::move(info);
  stopping_ = false;
  auto every = [&](const char* name, int64_t period_ms, std::function<void()> job) {
    jobs_.push_back(std::make_unique<Periodic>(name, period_ms, std::move(job)));
  };
  const Options& options = state_.options;
  every("heartbeat", options.heartbeat_ms > 0 ? options.heartbeat_ms : kDefaultHeartbeatMs, [this] {
    if (auto done = refresh(); !done) warn("heartbeat", done.error());
  });
  every("ledger", kFlushMs, [this] { flush(); });
  if (options.read_only || options.no_background_jobs) return;
  every("clean-files", kHourMs, [this] { remove_old_files(); });
  every("clean-slices", kHourMs, [this] { remove_old_slices(); });
  every("clean-trash", kHourMs, [this] { remove_old_trash(); });
  every("trim-log", kTrimLogMs, [this] { trim_log(); });
}

void Jobs::stop() {
  stopping_ = true;
  for (auto& job : jobs_) job->stop();
  jobs_.clear();
}

// --- heartbeat ---

void Jobs::session_renewed(int64_t monotonic_ms, int64_t wall_sec) {
  renewed_ms_ = monotonic_ms;
  renewed_sec_ = wall_sec;
}

bool Jobs::session_alive() const {
  const int64_t life_ms = state_.options.heartbeat_ms * 5;
  if (state_.sid == 0 || life_ms <= 0) return true;
  return state_.clock.monotonic_ms() - renewed_ms_ < life_ms && state_.clock.now().sec - renewed_sec_ < life_ms / 1000;
}

Result<void> Jobs::refresh() {
  const uint64_t begun = beats_;
  std::lock_guard lock(refreshing_);
  if (beats_ != begun) return last_beat_;
  beats_++;
  last_beat_ = beat();
  return last_beat_;
}

Result<void> Jobs::beat() {
  ZEST_TRY(renew_session());
  ZEST_TRY(reload_format());
  if (left_) return {};
  ZEST_TRY(state_.ledger.refresh(state_));
  const Options& options = state_.options;
  if (!meta_ || options.read_only || options.no_background_jobs || options.heartbeat_ms <= 0) return {};
  if (suspects_.empty()) {
    ZEST_ASSIGN(const bool elected, elect(state_, counter::kLastCleanupSessions, options.heartbeat_ms * 9 / 10 / 1000));
    if (!elected) return {};
  }
  return clean_dead_sessions();
}

// A session that expired by this machine's clock may be alive and the clock wrong. So it must also have stood still for
// two and a half heartbeats, which a living client does not let pass without renewing it.
Result<void> Jobs::clean_dead_sessions() {
  const int64_t now_ms = state_.clock.monotonic_ms();
  ZEST_ASSIGN(auto stale, stale_sessions(state_));
  std::map<uint64_t, Suspect> suspects;
  std::set<uint64_t> dead;
  for (const auto& [sid, expire] : stale) {
    auto seen = suspects_.find(sid);
    const bool same = seen != suspects_.end() && seen->second.expire == expire;
    const Suspect suspect{expire, same ? seen->second.since_ms : now_ms};
    if (now_ms - suspect.since_ms >= state_.options.heartbeat_ms * 5 / 2)
      dead.insert(sid);
    else
      suspects.emplace(sid, suspect);
  }
  suspects_ = std::move(suspects);
  return reap_stale(state_, dead);
}

Result<void> Jobs::renew_session() {
  const uint64_t sid = state_.sid;
  if (sid == 0 || state_.options.heartbeat_ms <= 0) return {};
  const bool was_alive = session_alive();
  int64_t sent_ms = 0, sent_sec = 0;
  bool missing = false;
  ZEST_TRY(state_.run({}, [&](Txn& txn) -> Result<void> {
    // As of the last attempt's start: what others see may be newer, never older.
    sent_ms = state_.clock.monotonic_ms();
    sent_sec = state_.clock.now().sec;
    ZEST_ASSIGN(const Value* value, txn.get(Key::session(sid)));
    const auto* stored = std::get_if<SessionRecord>(value);
    missing = stored == nullptr;
    SessionRecord record = stored ? *stored : SessionRecord{0, info_};
    record.expire = session_expiry(state_.options, sent_sec);
    txn.put(Key::session(sid), record);
    if (missing) log_new_session(state_, txn, sid, record);
    return {};
  }));
  // Nothing is committed before it is known which locks are left.
  if (missing || !was_alive) ZEST_TRY(state_.look_after_locks());
  session_renewed(sent_ms, sent_sec);
  if (missing)
    log_warning(
        fmt::format("session {} had been removed by another client: its locks and open deleted files are gone", sid));
  else if (!was_alive)
    log_warning(fmt::format("session {} had expired; it goes on, as no other client has removed it", sid));
  return {};
}

Result<void> Jobs::reload_format() {
  std::optional<std::string> json;
  ZEST_TRY(state_.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(const Value* value, txn.get(Key::setting()));
    if (const auto* text = std::get_if<std::string>(value)) json = *text;
    return {};
  }));
  if (!json) {
    leave_volume("the volume is gone from the database");
    return {};
  }
  ZEST_ASSIGN(auto format, parse_format(*json));
  const Format current = state_.format();
  if (format.meta_version > kSupportedMetaVersion) {
    leave_volume(fmt::format("the volume was upgraded to metadata version {}", format.meta_version));
  } else if (!current.uuid.empty() && format.uuid != current.uuid) {
    leave_volume(fmt::format("another volume ({}) took the place of {}", format.uuid, current.uuid));
  } else if (text_of(format) != text_of(current)) {
    state_.set_format(format);
    if (state_.events.format_changed) state_.events.format_changed(format);
  }
  return {};
}

void Jobs::leave_volume(const std::string& why) {
  if (left_) return;
  left_ = true;
  log_error(why);
  if (state_.events.must_exit) state_.events.must_exit(why);
}

// --- flushes and hourly work ---

void Jobs::flush() {
  state_.open_files.trim(state_.clock.monotonic_ms(), state_.options.open_cache_limit);
  if (state_.options.read_only) return;
  if (auto done = state_.ledger.flush_volume(state_); !done) warn("volume counters", done.error());
  if (auto done = state_.ledger.flush_dirs(state_); !done) warn("directory statistics", done.error());
  if (++flushes_ % kFlushesPerQuotaFlush != 0) return;
  if (auto done = state_.ledger.flush_quotas(state_); !done) warn("quotas", done.error());
}

void Jobs::clean_up(CleanUpStats::PerJob& stats, const char* what, const std::function<Result<uint64_t>()>& job) {
  const int64_t begin_ms = state_.clock.monotonic_ms();
  auto done = job();
  auto seconds = static_cast<double>(state_.clock.monotonic_ms() - begin_ms) / 1e3;
  (done ? stats.done_seconds : stats.failed_seconds).add(seconds);
  if (done)
    stats.removed += *done;
  else
    warn(what, done.error());
}

void Jobs::remove_old_files() {
  auto elected = elect(state_, counter::kLastCleanupFiles, kElectionDiffSec);
  if (!elected) return warn("election for deleted files", elected.error());
  if (!*elected) return;
  const Limits limits(state_.clock, kJobLimitMs, &stopping_, kMaxDeletedFiles);
  clean_up(clean_ups_.files, "deleted files", [&] { return clean_deleted_files(*meta_, 3600, limits); });
}

void Jobs::remove_old_slices() {
  auto elected = elect(state_, counter::kNextCleanupSlices, kElectionDiffSec);
  if (!elected) return warn("election for slices", elected.error());
  if (!*elected) return;
  const Limits limits(state_.clock, kJobLimitMs, &stopping_);
  clean_up(clean_ups_.slices, "slices", [&] { return clean_slices(*meta_, limits); });
}

void Jobs::trim_log() {
  if (!state_.change_log.on()) return;
  auto elected = elect(state_, counter::kLastCleanupChangelog, kTrimLogDiffSec);
  if (!elected) return warn("election for the change log", elected.error());
  if (!*elected) return;
  if (auto done = trim_change_log(state_, stopping_); !done) warn("change log", done.error());
}

void Jobs::remove_old_trash() {
  bool any = false;
  auto looked = state_.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto attr, txn.attr(kTrashIno));
    any = attr.has_value();
    return {};
  });
  if (!looked) return warn("trash", looked.error());
  if (!any) return;
  auto elected = elect(state_, counter::kLastCleanupTrash, kElectionDiffSec);
  if (!elected) return warn("election for the trash", elected.error());
  if (!*elected) return;
  const int64_t now = state_.clock.now().sec, days = state_.trash_days;
  auto limits = [&] { return Limits(state_.clock, kJobLimitMs, &stopping_); };
  clean_up(clean_ups_.trash, "trash", [&] { return clean_trash(*meta_, now - (24 * days + 2) * 3600, limits()); });
  if (auto done = clean_delayed_slices(*meta_, now - days * kDaySec, limits(), "CLEANUP_DELAYED_SLICES"); !done)
    warn("delayed slices", done.error());
  if (auto done = clean_detached(*meta_, kDaySec, limits()); !done) warn("detached trees", done.error());
}

}  // namespace zest::meta
