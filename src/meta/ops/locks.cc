// BSD and POSIX locks (semantics.md section 9). They live in the database, so they hold between clients.
#include <algorithm>

#include "meta/ops/entries.h"

namespace zest::meta {

namespace {

bool known_type(LockType type) {
  return type == LockType::kRead || type == LockType::kWrite || type == LockType::kUnlock;
}

std::string_view letter(LockType type) { return type == LockType::kWrite ? "W" : type == LockType::kRead ? "R" : "U"; }

bool overlaps(const PosixLock& held, const PosixLock& wanted) {
  return held.start <= wanted.end && wanted.start <= held.end;
}

bool conflicts(const PosixLock& held, const PosixLock& wanted) {
  return overlaps(held, wanted) && (held.type == LockType::kWrite || wanted.type == LockType::kWrite);
}

// SQL volumes refuse locks of an inode that is not there, the others do not look (to read it would make every lock
// collide with every write to the file).
bool looks_at_inode(const State& state) { return state.engine->absent_ref() == 0; }

Result<void> check_inode(const State& state, Txn& txn, Ino ino, Key locks) {
  if (!looks_at_inode(state)) return txn.want({{std::move(locks)}});
  ZEST_TRY(txn.want({{Key::inode(ino)}, {std::move(locks)}}));
  ZEST_ASSIGN(auto attr, txn.attr(ino));
  if (!attr) return fail(ENOENT);
  return {};
}

// The locks that remain of an inode; no record when there are none.
template <class Map>
void store(Txn& txn, const Key& key, Map locks) {
  if (locks.empty())
    txn.erase(key);
  else
    txn.put(key, std::move(locks));
}

// Refused, a conversion loses what it had (flock(2)): two readers that both wait to become the writer do not block each
// other for ever.
Result<void> flock_once(State& state, Ino ino, LockOwner me, LockType type) {
  bool refused = false, lost = false;
  auto body = [&](Txn& txn) -> Result<void> {
    ZEST_TRY(type == LockType::kUnlock ? txn.want({{Key::flocks(ino)}})
                                       : check_inode(state, txn, ino, Key::flocks(ino)));
    ZEST_ASSIGN(auto held, txn.flocks(ino));
    auto before = held;
    refused = type != LockType::kUnlock && std::ranges::any_of(held, [&](auto& lock) {
                return lock.first != me && (type == LockType::kWrite || lock.second == 'W');
              });
    if (type == LockType::kUnlock || refused)
      lost = held.erase(me) != 0;
    else
      held[me] = type == LockType::kWrite ? 'W' : 'R';
    if (held == before) return {};
    store(txn, Key::flocks(ino), std::move(held));
    state.change_log.add(txn, state.clock.now(), "FLOCK", {ino, me.owner, letter(refused ? LockType::kUnlock : type)});
    return {};
  };
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto held, txn.flocks(ino));
    auto mine = held.find(me);
    if (type == LockType::kUnlock || refused) return mine == held.end();
    return mine != held.end() && mine->second == (type == LockType::kWrite ? 'W' : 'R');
  };
  ZEST_TRY(run_entries(state, {ino}, body, settled));
  state.held_locks.set(Key::flocks(ino), me.owner, type != LockType::kUnlock && !refused);
  if (refused && lost) state.lock_bell.ring();
  if (refused) return fail(EAGAIN);
  return {};
}

// `holders`: who of this client was in the way.
Result<void> setlk_once(State& state, Ino ino, LockOwner me, const PosixLock& lock, LockWaits::Owners& holders) {
  std::vector<PosixLock> mine;  // what this owner is to hold
  auto body = [&](Txn& txn) -> Result<void> {
    ZEST_TRY(lock.type == LockType::kUnlock ? txn.want({{Key::plocks(ino)}})
                                            : check_inode(state, txn, ino, Key::plocks(ino)));
    ZEST_ASSIGN(auto held, txn.plocks(ino));
    auto before = held;
    if (lock.type != LockType::kUnlock) {
      bool busy = false;
      holders.clear();
      for (auto& [owner, ranges] : held) {
        if (owner == me || std::ranges::none_of(ranges, [&](auto& range) { return conflicts(range, lock); })) continue;
        busy = true;
        if (owner.sid == me.sid) holders.insert(owner.owner);
      }
      if (busy) return fail(EAGAIN);
    }
    mine = apply_posix_lock(held[me], lock);
    if (mine.empty())
      held.erase(me);
    else
      held[me] = mine;
    if (held == before) return {};
    store(txn, Key::plocks(ino), std::move(held));
    state.change_log.add(txn, state.clock.now(), "SETLK",
                         {ino, me.owner, letter(lock.type), lock.start, lock.end, lock.pid});
    return {};
  };
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto held, txn.plocks(ino));
    return held[me] == mine;
  };
  ZEST_TRY(run_entries(state, {ino}, body, settled));
  state.held_locks.set(Key::plocks(ino), me.owner, !mine.empty());
  return {};
}

// Repeats `attempt` while it gives EAGAIN: at once when a lock is released here, else with growing pauses, as locks of
// other clients can only be polled.
template <class Attempt>
Result<void> wait_for(State& state, const Context& ctx, bool wait, Attempt attempt) {
  constexpr int64_t kFirstPauseMs = 1, kLongestPauseMs = 25, kLookMs = 10;
  for (int64_t pause_ms = kFirstPauseMs;; pause_ms = std::min(pause_ms * 2, kLongestPauseMs)) {
    if (wait && ctx.is_cancelled()) return fail(EINTR);
    uint64_t seen = state.lock_bell.rung();
    Result<void> done = attempt();
    if (done || done.error().code != EAGAIN || !wait) return done;
    Waiting waiting(Part::kLock);
    for (int64_t left = pause_ms; left > 0; left -= kLookMs) {
      if (ctx.is_cancelled()) return fail(EINTR);
      if (state.lock_bell.wait(seen, std::min(left, kLookMs))) break;
    }
  }
}

}  // namespace

Result<void> Meta::flock(const Context& ctx, Ino ino, uint64_t owner, LockType type, bool wait) {
  State& s = *state_;
  ino = s.map_root(ino);
  ZEST_TRY(s.writable());
  if (!known_type(type)) return fail(EINVAL);
  if (type != LockType::kUnlock) ZEST_TRY(s.may_commit());
  LockOwner me{s.sid, owner};
  ZEST_TRY(wait_for(s, ctx, wait, [&] { return flock_once(s, ino, me, type); }));
  if (type != LockType::kWrite) s.lock_bell.ring();
  return {};
}

Result<void> Meta::setlk(const Context& ctx, Ino ino, uint64_t owner, const PosixLock& lock, bool wait) {
  State& s = *state_;
  ino = s.map_root(ino);
  ZEST_TRY(s.writable());
  if (!known_type(lock.type) || lock.end < lock.start) return fail(EINVAL);
  if (lock.type != LockType::kUnlock) ZEST_TRY(s.may_commit());
  LockOwner me{s.sid, owner};
  const uint64_t begun = s.lock_waits.now();
  auto set = wait_for(s, ctx, wait, [&]() -> Result<void> {
    const uint64_t asked = s.lock_waits.now();
    LockWaits::Owners holders;
    auto done = setlk_once(s, ino, me, lock, holders);
    const bool refused = !done && done.error().code == EAGAIN;
    if (refused && wait && s.lock_waits.closes_circle(owner, begun, asked, std::move(holders))) return fail(EDEADLK);
    return done;
  });
  if (wait) s.lock_waits.end(begun);
  ZEST_TRY(std::move(set));
  if (lock.type != LockType::kWrite) s.lock_bell.ring();
  return {};
}

Result<PosixLock> Meta::getlk(const Context&, Ino ino, uint64_t owner, const PosixLock& lock) {
  State& s = *state_;
  ino = s.map_root(ino);
  if (!known_type(lock.type) || lock.end < lock.start) return fail(EINVAL);
  // F_UNLCK asks for the owner's own locks (F_OFD_GETLK, fcntl(2)).
  const bool own = lock.type == LockType::kUnlock;
  PosixLock found{LockType::kUnlock, 0, 0, 0};
  LockOwner me{s.sid, owner};
  ZEST_TRY(s.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto held, txn.plocks(ino));
    for (auto& [other, ranges] : held) {
      if ((other == me) != own) continue;
      auto it = std::ranges::find_if(ranges,
                                     [&](auto& range) { return own ? overlaps(range, lock) : conflicts(range, lock); });
      if (it == ranges.end()) continue;
      found = *it;
      if (other.sid != me.sid) found.pid = 0;  // a process of another machine
      return {};
    }
    return {};
  }));
  return found;
}

}  // namespace zest::meta
