// getattr, access, parents (semantics.md 5.3, 5.5, 10.2).
#include "meta/ops/entries.h"

namespace zest::meta {

namespace {

// A mount point must stay reachable, to be unmounted for one, when the database is not.
constexpr int64_t kRootDeadlineMs = 300;

Attr stand_in(Ino ino) {
  Attr attr;
  attr.type = FileType::kDirectory;
  attr.mode = ino == kTrashIno ? 0555 : 0777;
  attr.nlink = 2;
  attr.length = 4096;
  attr.parent = kRootIno;
  return attr;
}

Result<Attr> read_attr(State& state, Ino ino, int64_t deadline_ms) {
  Attr attr;
  TxnOptions options;
  options.write = false;
  options.deadline_ms = deadline_ms;
  ZEST_TRY(run(*state.engine, state.clock, options, [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto found, txn.attr(ino));
    if (!found) return fail(ENOENT);
    attr = *found;
    return {};
  }));
  return attr;
}

}  // namespace

Result<Attr> Meta::getattr(const Context&, Ino ino_in) {
  Calling calling(engine().stats, Call::kGetAttr);
  State& state = *state_;
  const Ino ino = state.map_root(ino_in);
  const int64_t now_ms = state.clock.monotonic_ms();
  if (state.options.open_cache_ms > 0) {
    if (auto cached = state.open_files.attr(ino, now_ms, state.options.open_cache_ms)) return *cached;
  }
  // A read right after open() makes the kernel ask for what open() has just seen.
  if (auto opened = state.open_files.attr_at_open(ino, now_ms, state.options.own_view_ms)) return *opened;
  if (auto own = state.own_dirs.find(ino, now_ms)) {
    state.ledger.remember_parent(ino, own->parent);
    return *own;
  }
  if (auto node = state.removed.find(ino)) {
    std::lock_guard lock(node->mutex);
    return node->attr;
  }
  if (ino == kRootIno || ino == kTrashIno) {
    auto attr = read_attr(state, ino, kRootDeadlineMs);
    return attr ? *attr : stand_in(ino);
  }
  Attr attr;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto found, txn.attr(ino));
    if (!found) return fail(ENOENT);
    attr = *found;
    return {};
  }));
  if (attr.is_dir()) {
    state.ledger.remember_parent(ino, attr.parent);
  } else if (attr.is_file()) {
    state.open_files.update(ino, attr, now_ms);
  }
  return attr;
}

void Meta::forget(Ino ino) { state_->removed.forget(ino); }

bool Meta::is_removed(Ino ino) const { return state_->removed.holds(ino); }

Result<void> Meta::access(const Context& ctx, Ino ino_in, uint8_t mask, const Attr* known) {
  State& state = *state_;
  if (!ctx.check_permission || (ctx.uid == 0 && !(mask & kMayExec))) return {};
  const Ino ino = state.map_root(ino_in);
  return state.read([&](Txn& txn) -> Result<void> {
    if (known) return check_access(state, txn, ctx, *known, mask);
    if (auto node = state.removed.find(ino)) {
      std::lock_guard lock(node->mutex);
      return check_access(state, txn, ctx, node->attr, mask);
    }
    ZEST_ASSIGN(auto attr, txn.attr(ino));
    if (!attr) return fail(ENOENT);
    return check_access(state, txn, ctx, *attr, mask);
  });
}

Result<LinkCounts> Meta::parents(Ino ino_in) {
  State& state = *state_;
  const Ino ino = state.map_root(ino_in);
  if (ino == kRootIno || ino == kTrashIno) return LinkCounts{{kRootIno, 1}};
  LinkCounts counts;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(ino)}, {Key::parents(ino)}}));
    ZEST_ASSIGN(auto attr, txn.attr(ino));
    if (!attr) return fail(ENOENT);
    if (raw(attr->parent) != 0) {
      counts = {{attr->parent, 1}};
      return {};
    }
    ZEST_ASSIGN(counts, txn.parents(ino));
    return {};
  }));
  return counts;
}

}  // namespace zest::meta
