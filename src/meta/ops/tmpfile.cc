// O_TMPFILE: a file without a name. Its inode has no links and a record that this session has it open, so that the last
// close, or a clean-up after a crash, deletes it; link() may give it a name before.
#include "meta/ops/make_node.h"

namespace zest::meta {

namespace {

// The change log knows a file without a name as one that was made and removed while it was open.
void log_tmpfile(State& state, Txn& txn, const Context& ctx, NewNode node, Ino ino, Time now) {
  if (!state.change_log.on()) return;
  const std::string name = "tmpfile_" + std::to_string(raw(ino));
  node.name = name;
  log_create(state, txn, ctx, node, ino, now, false);
  state.change_log.add(txn, now, "UNLINK", {node.parent, name, 0, true, false}, ino);
}

}  // namespace

Result<EntryAttr> Meta::tmpfile(const Context& ctx, Ino parent_in, uint16_t mode, uint16_t umask) {
  Calling calling(engine().stats, Call::kMknod);
  State& state = *state_;
  const Ino parent = state.map_root(parent_in);
  if (is_trash(parent)) return fail(EPERM);
  ZEST_TRY(state.writable());
  ZEST_TRY(state.ledger.check_volume(state, 4096, 1));
  ZEST_ASSIGN(const uint64_t number, state.inodes.next());
  const Ino ino{number};
  const NewNode node{parent, {}, FileType::kFile, mode, umask, 0, {}, false};

  Attr attr;
  std::optional<AclRule> to_intern;
  auto body = [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(parent)}}));
    ZEST_ASSIGN(const Attr dir, directory(txn, parent));
    if (dir.in_trash()) return fail(ENOENT);
    ZEST_TRY(check_access(state, txn, ctx, dir, kMayWrite | kMayExec));
    if (dir.flags & kFlagImmutable) return fail(EPERM);

    const Time now = state.clock.now();
    ZEST_ASSIGN(attr, new_attr(state, txn, ctx, dir, node, now, to_intern));
    ZEST_TRY(state.ledger.check_owner(state, attr.uid, attr.gid, 4096, 1));
    attr.nlink = 0;
    attr.parent = Ino{0};
    txn.put_attr(ino, attr);
    if (const uint64_t sid = state.sid; sid != 0) txn.put(Key::sustained(sid, ino), true);
    account_inode_inline(state, txn, attr, 1);
    log_tmpfile(state, txn, ctx, node, ino, now);
    return {};
  };
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto stored, txn.attr(ino));
    return stored.has_value();
  };
  ZEST_TRY(intern_and_run(state, to_intern, [&] { return run_entries(state, {}, body, settled); }));

  account_inode(state, attr, 1);
  state.open_files.open(ino, attr, state.clock.monotonic_ms());
  state.open_files.mark_sustained(ino);
  return EntryAttr{ino, attr, true};
}

}  // namespace zest::meta
