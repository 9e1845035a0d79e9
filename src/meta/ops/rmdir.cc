// rmdir (semantics.md 6.3).
#include "meta/ops/entries.h"

namespace zest::meta {

Result<void> Meta::rmdir(const Context& ctx, Ino parent_in, std::string_view name, bool skip_trash) {
  Calling calling(engine().stats, Call::kRmdir);
  State& state = *state_;
  const Ino parent = state.map_root(parent_in);
  if (name == ".") return fail(EINVAL);
  if (name == "..") return fail(ENOTEMPTY);
  if (parent == kRootIno && name == kTrashName) return fail(EPERM);
  if (parent == kTrashIno || (is_trash(parent) && ctx.uid != 0)) return fail(EPERM);
  if (name.size() > kMaxName) return fail(ENAMETOOLONG);
  ZEST_TRY(state.writable());
  ZEST_ASSIGN(const Ino trash, state.trash.hour_dir(state, parent, skip_trash));

  Removal removal;
  auto body = [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(parent)}, {Key::entry(parent, name), true, true}}));
    ZEST_ASSIGN(Attr dir, directory(txn, parent));
    ZEST_TRY(check_access(state, txn, ctx, dir, kMayWrite | kMayExec));
    if (dir.flags & (kFlagAppend | kFlagImmutable)) return fail(EPERM);
    ZEST_ASSIGN(auto entry, txn.entry(parent, name));
    if (!entry) return fail(ENOENT);
    if (entry->type != FileType::kDirectory) return fail(ENOTDIR);
    ZEST_ASSIGN(const bool occupied, txn.has_entries(entry->ino));
    if (occupied) return fail(ENOTEMPTY);
    ZEST_ASSIGN(auto attr, txn.attr(entry->ino));
    if (attr) {
      ZEST_TRY(check_sticky(ctx, dir, *attr));
      if (attr->flags & (kFlagAppend | kFlagImmutable)) return fail(EPERM);
    }

    const Time now = state.clock.now();
    txn.erase(Key::entry(parent, name));
    ZEST_ASSIGN(removal, remove_inode(state, txn, parent, name, *entry, attr, trash, now));
    if (!is_trash(parent)) {
      if (dir.nlink > 2) dir.nlink--;
      touch_parent(state, txn, parent, dir, now, true);
      txn.put_attr(parent, dir);
    }
    return {};
  };
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto entry, txn.entry(parent, name));
    return !entry || entry->ino != removal.ino;
  };
  ZEST_TRY(run_entries(state, {parent}, body, settled));

  after_removal(state, removal);
  return {};
}

}  // namespace zest::meta
