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

Result<void> release_sustained(State& state, uint64_t sid, Ino ino) {
  bool destroyed = false;
  Attr attr;
  int64_t now = state.clock.now().sec;
  auto body = [&](Txn& txn) -> Result<void> {
    destroyed = false;
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

}  // namespace zest::meta
