// Sessions: registration of a client, what it holds, and cleaning up after those that died (semantics.md 12.1, 12.2).
#include <fmt/format.h>

#include <set>

#include "base/log.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

constexpr size_t kMaxStaleSessions = 1000;  // in one run
constexpr int kSidAttempts = 100;

// A new session id whose record is not there yet, with its record written.
Result<uint64_t> register_session(State& state, const std::string& info) {
  for (int attempt = 0; attempt < kSidAttempts; attempt++) {
    ZEST_ASSIGN(const int64_t sid, state.add_counter(counter::kNextSession, 1));
    if (sid <= 0) continue;
    const Key key = Key::session(static_cast<uint64_t>(sid));
    bool taken = false;
    ZEST_TRY(state.run({}, [&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(const Value* value, txn.get(key));
      taken = std::holds_alternative<SessionRecord>(*value);
      const SessionRecord record{session_expiry(state.options, state.clock.now().sec), info};
      if (taken) return {};
      txn.put(key, record);
      log_new_session(state, txn, key.a, record);
      return {};
    }));
    if (!taken) return static_cast<uint64_t>(sid);
  }
  return fail(EIO, "no free session id");
}

Result<void> inherit_session(State& state, uint64_t sid, const std::string& info) {
  ZEST_TRY(state.run({}, [&](Txn& txn) -> Result<void> {
    const SessionRecord record{session_expiry(state.options, state.clock.now().sec), info};
    txn.put(Key::session(sid), record);
    log_new_session(state, txn, sid, record);
    return {};
  }));
  return {};
}

// The root's statistics are made at the first mount: were they only made at the first flush, changes of other clients
// that are on their way would be counted twice.
Result<void> ensure_root_stat(State& state) {
  if (!state.dir_stats) return {};
  bool missing = false;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto stat, txn.dir_stat(kRootIno));
    missing = !stat;
    return {};
  }));
  if (missing) ZEST_TRY(state.ledger.recount_dir(state, kRootIno, true));
  return {};
}

// Inodes with a lock of one of the sessions.
template <class Map>
Result<std::set<Ino>> locked_inodes(State& state, Table table, const std::set<uint64_t>& sids) {
  std::set<Ino> found;
  // With an index of locks by session the engine need not give those of others.
  const uint64_t within = sids.size() == 1 ? *sids.begin() : 0;
  ZEST_TRY(state.engine->scan(table, within, [&](const Key& key, const Value& value) {
    if (const auto* locks = std::get_if<Map>(&value))
      for (const auto& lock : *locks)
        if (sids.contains(lock.first.sid)) found.insert(Ino{key.a});
    return true;
  }));
  return found;
}

template <class Map>
Result<void> release_locks(State& state, Table table, Kind kind, const std::set<uint64_t>& sids,
                           std::optional<int64_t> stale_at) {
  ZEST_ASSIGN(const auto inodes, locked_inodes<Map>(state, table, sids));
  for (Ino ino : inodes) {
    const Key key{kind, raw(ino), 0, {}};
    ZEST_TRY(state.run({ino}, [&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(const Value* value, txn.get(key));
      const auto* held = std::get_if<Map>(value);
      if (!held) return {};
      std::set<uint64_t> dead;
      for (const auto& lock : *held) {
        if (!sids.contains(lock.first.sid)) continue;
        ZEST_ASSIGN(const bool back, came_back(txn, lock.first.sid, stale_at));
        if (!back) dead.insert(lock.first.sid);
      }
      Map left = *held;
      std::erase_if(left, [&](const auto& lock) { return dead.contains(lock.first.sid); });
      if (left.size() == held->size()) return {};
      if (left.empty())
        txn.erase(key);
      else
        txn.put(key, std::move(left));
      return {};
    }));
  }
  return {};
}

Result<void> release_all_sustained(State& state, uint64_t sid, std::optional<int64_t> stale_at) {
  std::vector<Ino> inodes;
  ZEST_TRY(state.engine->scan(Table::kSustainedTable, sid, [&](const Key& key, const Value&) {
    if (key.a == sid) inodes.push_back(Ino{key.b});
    return true;
  }));
  for (Ino ino : inodes) ZEST_TRY(release_sustained(state, sid, ino, stale_at));
  return {};
}

// Removes what the sessions hold, then their records. stale_at: only records that expired before it, so that a client
// that has come back meanwhile keeps its session. The first error is given; the session concerned stays for next time.
Result<void> reap(State& state, const std::set<uint64_t>& sids, std::optional<int64_t> stale_at) {
  if (sids.empty()) return {};
  ZEST_TRY((release_locks<FlockMap>(state, Table::kFlockTable, Kind::kFlocks, sids, stale_at)));
  ZEST_TRY((release_locks<PlockMap>(state, Table::kPlockTable, Kind::kPlocks, sids, stale_at)));
  Result<void> result;
  for (uint64_t sid : sids) {
    auto released = release_all_sustained(state, sid, stale_at);
    if (released) {
      auto removed = state.run({}, [&](Txn& txn) -> Result<void> {
        ZEST_ASSIGN(const Value* value, txn.get(Key::session(sid)));
        const auto* record = std::get_if<SessionRecord>(value);
        if (stale_at && record && record->expire >= *stale_at) return {};
        txn.erase(Key::session(sid));
        state.change_log.add(txn, state.clock.now(), "CLEANSESSION", {sid});
        return {};
      });
      if (removed) continue;
      released = fail(std::move(removed.error()));
    }
    log_warning(fmt::format("session {} could not be cleaned up: {}", sid, released.error().message()));
    if (result) result = std::move(released);
  }
  return result;
}

}  // namespace

void log_new_session(State& state, Txn& txn, uint64_t sid, const SessionRecord& record) {
  if (!state.change_log.on()) return;
  const ChangeLog::Arg args[] = {sid, record.expire, record.info};
  state.change_log.write(txn, sid, state.clock.now(), "NEWSESSION", args, {});
}

Result<void> Meta::start_session(const SessionInfo& info, uint64_t inherit_sid) {
  State& state = *state_;
  ZEST_TRY(state.acls.load(state));
  std::string json;
  if (!state.options.read_only) {
    json = encode_session_info(info);
    const int64_t sent_ms = state.clock.monotonic_ms(), sent_sec = state.clock.now().sec;
    uint64_t sid = inherit_sid;
    if (sid != 0) {
      ZEST_TRY(inherit_session(state, sid, json));
    } else {
      ZEST_ASSIGN(sid, register_session(state, json));
    }
    state.jobs->session_renewed(sent_ms, sent_sec);
    state.sid = sid;
    ZEST_TRY(ensure_root_stat(state));
    state.deleter.start(state, state.options.max_deletes);
  }
  ZEST_TRY(state.ledger.refresh(state));
  state.jobs->start(*this, std::move(json));
  return {};
}

Result<void> Meta::close_session(bool keep_record) {
  State& state = *state_;
  state.engine->watch({});
  // The jobs first: none of them may write the record again.
  state.jobs->stop();
  state.compactor.stop();
  const uint64_t sid = state.sid;
  if (sid == 0 || state.options.read_only) return {};
  Result<void> result = flush_ledgers();
  if (!keep_record) {
    auto reaped = reap(state, {sid}, std::nullopt);
    if (result) result = std::move(reaped);
  }
  state.deleter.drain();
  state.deleter.stop();
  // Files released above changed the counters again.
  auto flushed = flush_ledgers();
  if (result) result = std::move(flushed);
  state.sid = 0;
  return result;
}

uint64_t Meta::session_id() const { return state_->sid; }

Result<void> Meta::flush_ledgers() {
  State& state = *state_;
  if (state.options.read_only) return {};
  ZEST_TRY(state.ledger.flush_volume(state));
  ZEST_TRY(state.ledger.flush_dirs(state));
  return state.ledger.flush_quotas(state);
}

Result<std::vector<Session>> Meta::sessions(bool with_locks) {
  Engine& engine = *state_->engine;
  std::map<uint64_t, Session> found;
  ZEST_TRY(engine.scan(Table::kSessions, 0, [&](const Key& key, const Value& value) {
    const auto* record = std::get_if<SessionRecord>(&value);
    if (!record) return true;
    Session& session = found[key.a];
    session.sid = key.a;
    session.expire = record->expire;
    if (auto info = decode_session_info(record->info))
      session.info = std::move(*info);
    else
      log_warning(fmt::format("session {} has an unreadable description", key.a));
    return true;
  }));
  ZEST_TRY(engine.scan(Table::kSustainedTable, 0, [&](const Key& key, const Value&) {
    if (auto it = found.find(key.a); it != found.end()) it->second.sustained.push_back(Ino{key.b});
    return true;
  }));
  auto add_lock = [&](uint64_t sid, Session::Lock lock) {
    if (auto it = found.find(sid); it != found.end()) it->second.locks.push_back(std::move(lock));
  };
  if (with_locks) {
    ZEST_TRY(engine.scan(Table::kFlockTable, 0, [&](const Key& key, const Value& value) {
      if (const auto* locks = std::get_if<FlockMap>(&value))
        for (const auto& [owner, type] : *locks) add_lock(owner.sid, {Ino{key.a}, owner.owner, type, {}});
      return true;
    }));
    ZEST_TRY(engine.scan(Table::kPlockTable, 0, [&](const Key& key, const Value& value) {
      if (const auto* locks = std::get_if<PlockMap>(&value))
        for (const auto& [owner, ranges] : *locks) add_lock(owner.sid, {Ino{key.a}, owner.owner, 0, ranges});
      return true;
    }));
  }
  std::vector<Session> sessions;
  for (auto& [sid, session] : found) sessions.push_back(std::move(session));
  return sessions;
}

Result<std::map<uint64_t, int64_t>> stale_sessions(State& state) {
  const int64_t now = state.clock.now().sec;
  const uint64_t own = state.sid;
  std::map<uint64_t, int64_t> stale;
  ZEST_TRY(state.engine->scan(Table::kSessions, 0, [&](const Key& key, const Value& value) {
    const auto* record = std::get_if<SessionRecord>(&value);
    if (record && record->expire < now && key.a != own) stale.emplace(key.a, record->expire);
    return stale.size() < kMaxStaleSessions;
  }));
  return stale;
}

Result<void> reap_stale(State& state, const std::set<uint64_t>& sids) {
  for (uint64_t sid : sids) log_info(fmt::format("session {} is stale: cleaning up after it", sid));
  return reap(state, sids, state.clock.now().sec);
}

Result<void> Meta::clean_stale_sessions() {
  State& state = *state_;
  ZEST_TRY(state.writable());
  ZEST_ASSIGN(auto stale, stale_sessions(state));
  std::set<uint64_t> sids;
  for (const auto& [sid, expire] : stale) sids.insert(sid);
  return reap_stale(state, sids);
}

}  // namespace zest::meta
