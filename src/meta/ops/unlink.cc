// unlink and rmdir (semantics.md 6.2, 6.3): take a name away; the last one of an inode sends it to the trash or deletes
// it.
#include "meta/ops/entries.h"

namespace zest::meta {

namespace {

Result<void> check_kind(Txn& txn, const Entry& entry, bool want_directory) {
  const bool is_directory = entry.type == FileType::kDirectory;
  if (is_directory && !want_directory) return fail(EPERM);
  if (!want_directory) return {};
  if (!is_directory) return fail(ENOTDIR);
  ZEST_ASSIGN(const bool occupied, txn.has_entries(entry.ino));
  if (occupied) return fail(ENOTEMPTY);
  return {};
}

Result<void> remove_name(State& state, const Context& ctx, Ino parent, std::string_view name, bool skip_trash,
                         bool directory_wanted) {
  if (parent == kRootIno && name == kTrashName) return fail(EPERM);
  if (is_trash(parent) && ctx.uid != 0) return fail(EPERM);
  if (name.size() > kMaxName) return fail(ENAMETOOLONG);
  ZEST_TRY(state.writable());
  ZEST_ASSIGN(const Ino trash, state.trash.hour_dir(state, parent, skip_trash));

  Removal removal;
  auto body = [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(parent)}, {Key::entry(parent, name), true, directory_wanted}}));
    ZEST_ASSIGN(Attr dir, directory(txn, parent));
    ZEST_TRY(check_access(state, txn, ctx, dir, kMayWrite | kMayExec));
    if (dir.flags & (kFlagAppend | kFlagImmutable)) return fail(EPERM);
    ZEST_ASSIGN(auto entry, txn.entry(parent, name));
    if (!entry) return fail(ENOENT);
    ZEST_TRY(check_kind(txn, *entry, directory_wanted));
    ZEST_ASSIGN(auto attr, txn.attr(entry->ino));
    if (attr) {
      ZEST_TRY(check_sticky(ctx, dir, *attr));
      if (attr->flags & (kFlagAppend | kFlagImmutable)) return fail(EPERM);
    }

    const Time now = state.clock.now();
    ctx.note(entry->ino);
    txn.erase(Key::entry(parent, name));
    ZEST_ASSIGN(removal, remove_inode(state, txn, parent, name, *entry, attr, trash, now));
    if (directory_wanted && dir.nlink > 2) dir.nlink--;
    if (touch_parent(state, txn, parent, dir, now, directory_wanted)) txn.put_attr(parent, dir);
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

}  // namespace

Result<void> Meta::unlink(const Context& ctx, Ino parent, std::string_view name, bool skip_trash) {
  Calling calling(engine().stats, Call::kUnlink);
  return remove_name(*state_, ctx, state_->map_root(parent), name, skip_trash, false);
}

Result<void> Meta::rmdir(const Context& ctx, Ino parent_in, std::string_view name, bool skip_trash) {
  Calling calling(engine().stats, Call::kRmdir);
  const Ino parent = state_->map_root(parent_in);
  if (name == ".") return fail(EINVAL);
  if (name == "..") return fail(ENOTEMPTY);
  if (parent == kTrashIno) return fail(EPERM);
  return remove_name(*state_, ctx, parent, name, skip_trash, true);
}

}  // namespace zest::meta
