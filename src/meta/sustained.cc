// Inodes that were unlinked while open (semantics.md 12.2), and whether this client may still commit.
#include <fmt/format.h>

#include "base/log.h"
#include "meta/ops/entries.h"

namespace zest::meta {

// A client that slept (a suspended machine, a stopped process, a partition) may find its session reaped: its locks are
// gone and its open unlinked files deleted. It renews the session first, and when it cannot, must not change anything.
Result<void> State::may_commit() {
  ZEST_TRY(writable());
  if (sid == 0 || !jobs || jobs->session_alive()) return {};
  auto renewed = jobs->refresh();
  if (renewed && jobs->session_alive()) return {};
  std::string why = renewed ? "it ran out" : renewed.error().message();
  log_error(fmt::format("session {} cannot be renewed: {}; nothing is written until it can", sid.load(), why));
  return fail(EIO, "session not renewed in time");
}

Result<void> State::may_change(Ino file) {
  ZEST_TRY(may_commit());
  return still_mine(file);
}

Result<void> State::still_mine(Ino file) const {
  if (sid != 0 && jobs && !jobs->session_alive())
    return fail(EIO, Fault::kUnavailable, "the session ran out while the change was under way");
  if (held_locks.lost_one(file)) return fail(EIO, "a lock on the file was lost while this client slept");
  return {};
}

Result<void> State::look_after_locks() {
  for (const auto& lock : held_locks.held()) {
    const auto& [key, owner] = lock;
    const LockOwner me{sid, owner};
    bool there = false;
    ZEST_TRY(read([&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(const Value* value, txn.get(key));
      if (auto* flocks = std::get_if<FlockMap>(value)) there = flocks->contains(me);
      if (auto* plocks = std::get_if<PlockMap>(value)) there = plocks->contains(me);
      return {};
    }));
    if (there) continue;
    held_locks.lose(lock);
    log_error(fmt::format(
        "inode {}: its lock was lost while this client slept; it takes no changes until the holder closes it", key.a));
  }
  return {};
}

Result<void> release_sustained(State& state, uint64_t sid, Ino ino, std::optional<int64_t> stale_at) {
  bool destroyed = false;
  Attr attr;
  int64_t now = state.clock.now().sec;
  auto body = [&](Txn& txn) -> Result<void> {
    destroyed = false;
    ZEST_ASSIGN(const bool back, came_back(txn, sid, stale_at));
    if (back) return {};
    ZEST_TRY(txn.want({{Key::inode(ino)}}));
    ZEST_ASSIGN(auto found, txn.attr(ino));
    txn.erase(Key::sustained(sid, ino));
    // A name given to it again (linkat of an open file) keeps it.
    if (!found || found->nlink > 0) return {};
    attr = *found;
    destroyed = true;
    if (attr.is_file()) txn.put(Key::del_file(ino, attr.length), now);
    txn.erase(Key::inode(ino));
    txn.erase(Key::xattrs(ino));
    Ledger::add_inline(state, txn, -attr.space(), -1);
    state.change_log.add(txn, state.clock.now(), "DELSUSTAINED", {sid, ino});
    return {};
  };
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(const Value* record, txn.get(Key::sustained(sid, ino)));
    if (!std::holds_alternative<std::monostate>(*record)) return false;
    ZEST_ASSIGN(auto found, txn.attr(ino));
    return !destroyed || !found;
  };
  ZEST_TRY(run_entries(state, {ino}, body, settled));
  if (!destroyed) return {};
  state.ledger.volume(state, -attr.space(), -1);
  state.ledger.owner(state, attr.uid, attr.gid, -attr.space(), -1);
  if (attr.is_file()) state.deleter.file(state, ino, attr.length, false);
  return {};
}

Result<bool> came_back(Txn& txn, uint64_t sid, std::optional<int64_t> stale_at) {
  if (!stale_at) return false;
  ZEST_ASSIGN(const Value* value, txn.get(Key::session(sid)));
  const auto* record = std::get_if<SessionRecord>(value);
  return record && record->expire >= *stale_at;
}

}  // namespace zest::meta
