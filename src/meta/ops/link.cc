// link (semantics.md 6.5): one more name of a file. A file that ever had two counts its names by parent.
#include "meta/ops/entries.h"
#include "volume/records.h"

namespace zest::meta {

namespace {

// The inode with one name more. From the second name on the parents are counted; a file without a name (O_TMPFILE) gets
// its first.
void add_name(State& state, Txn& txn, Ino ino, Ino parent, Attr& attr) {
  if (attr.nlink == 0) {
    attr.parent = parent;
    if (const uint64_t sid = state.sid; sid != 0) txn.erase(Key::sustained(sid, ino));
  } else {
    if (raw(attr.parent) != 0) txn.add_links(ino, attr.parent, 1);
    txn.add_links(ino, parent, 1);
    attr.parent = Ino{0};
  }
  attr.nlink++;
}

}  // namespace

Result<Attr> Meta::link(const Context& ctx, Ino ino_in, Ino parent_in, std::string_view name) {
  Calling calling(engine().stats, Call::kLink);
  State& state = *state_;
  const Ino ino = state.map_root(ino_in), parent = state.map_root(parent_in);
  if (is_trash(parent)) return fail(EPERM);
  if (parent == kRootIno && name == kTrashName) return fail(EPERM);
  ZEST_TRY(state.writable());
  if (const int bad = check_name(name)) return fail(bad);
  if (name == "." || name == "..") return fail(EEXIST);
  if (state.ledger.any_dir_quota()) {
    ZEST_ASSIGN(const Attr attr, getattr(ctx, ino));
    if (attr.is_dir()) return fail(EPERM);
    ZEST_TRY(state.ledger.check_quota(state, ctx, parent, attr.space(), 1));
  }

  Attr attr;
  bool revived = false;
  auto body = [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(ino)}, {Key::inode(parent)}, {Key::entry(parent, name)}}));
    ZEST_ASSIGN(auto stored, txn.attr(ino));
    if (!stored) return fail(ENOENT);
    attr = *stored;
    if (attr.is_dir()) return fail(EPERM);
    ZEST_ASSIGN(Attr dir, directory(txn, parent));
    if (dir.in_trash()) return fail(ENOENT);
    ZEST_TRY(check_access(state, txn, ctx, dir, kMayWrite | kMayExec));
    if (dir.flags & kFlagImmutable) return fail(EPERM);
    ZEST_ASSIGN(auto existing, txn.entry(parent, name));
    if (existing) return fail(EEXIST);
    if (attr.flags & (kFlagAppend | kFlagImmutable)) return fail(EPERM);
    revived = attr.nlink == 0;
    if (revived && !state.open_files.is_open(ino)) return fail(ENOENT);

    const Time now = state.clock.now();
    ctx.note(ino);
    txn.put(Key::entry(parent, name), Entry{attr.type, ino});
    add_name(state, txn, ino, parent, attr);
    attr.ctime = now;
    txn.put_attr(ino, attr);
    const bool touched = touch_parent(state, txn, parent, dir, now, false);
    if (touched) txn.put_attr(parent, dir);
    state.change_log.add(txn, now, "LINK", {ino, parent, name, touched}, attr.nlink);
    return {};
  };
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto entry, txn.entry(parent, name));
    return entry && entry->ino == ino;
  };
  ZEST_TRY(run_entries(state, {parent, ino}, body, settled));

  if (revived) state.open_files.take_sustained(ino);
  state.open_files.forget_attr(ino);
  account_entry(state, parent, attr, 1);
  return attr;
}

}  // namespace zest::meta
