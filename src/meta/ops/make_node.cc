#include "meta/ops/make_node.h"

#include "volume/records.h"

namespace zest::meta {

namespace {

// Mode and access rule of a child of a directory with a default ACL.
Result<void> inherit_acl(State& state, Txn& txn, const Attr& dir, const NewNode& node, Attr& attr,
                         std::optional<AclRule>& to_intern) {
  ZEST_ASSIGN(const AclRule rule, state.acls.rule(txn, dir.default_acl));
  if (attr.is_dir()) attr.default_acl = dir.default_acl;
  if (rule.minimal()) {
    attr.mode = node.mode & 07777 & (07000 | acl_mode(rule));
    return {};
  }
  const AclRule child = acl_child(rule, node.mode);
  attr.mode = static_cast<uint16_t>((node.mode & 07000) | acl_mode(child));
  const auto id = state.acls.known(child);
  if (!id) {
    to_intern = child;
    return fail(EAGAIN);
  }
  attr.access_acl = *id;
  return {};
}

// What only root may make; 0:0 is a whiteout, for everybody.
bool is_device(const NewNode& node) {
  return node.type == FileType::kBlock || (node.type == FileType::kChar && node.rdev != 0);
}

}  // namespace

Result<Attr> new_attr(State& state, Txn& txn, const Context& ctx, const Attr& dir, const NewNode& node, Time now,
                      std::optional<AclRule>& to_intern) {
  Attr attr;
  attr.type = node.type;
  attr.uid = ctx.uid;
  attr.gid = ctx.gid;
  attr.atime = attr.mtime = attr.ctime = now;
  attr.nlink = attr.is_dir() ? 2 : 1;
  attr.parent = node.parent;
  attr.rdev = node.type == FileType::kBlock || node.type == FileType::kChar ? node.rdev : 0;
  attr.flags = dir.flags & kFlagSkipTrash;
  attr.tier = dir.tier;
  if (attr.is_dir()) {
    attr.length = 4096;
  } else if (node.type == FileType::kSymlink) {
    attr.length = node.target.size();
  }
  if (dir.default_acl != 0 && node.type != FileType::kSymlink) {
    ZEST_TRY(inherit_acl(state, txn, dir, node, attr, to_intern));
  } else {
    attr.mode = node.mode & 07777 & ~node.umask;
  }
  if (dir.mode & 02000) {
    attr.gid = dir.gid;
    if (attr.is_dir()) {
      attr.mode |= 02000;
    } else if ((attr.mode & 02010) == 02010 && ctx.check_permission && ctx.uid != 0 && !ctx.in_group(dir.gid)) {
      attr.mode &= ~02000;
    }
  }
  return attr;
}

void log_create(State& state, Txn& txn, const Context& ctx, const NewNode& node, Ino ino, Time now,
                bool parent_touched) {
  state.change_log.add(txn, now, "CREATE",
                       {node.parent, node.name, ctx.uid, ctx.gid, static_cast<int>(node.type), node.mode, node.umask,
                        node.target, "linux", parent_touched},
                       ino);
}

Result<MadeNode> make_node(State& state, const Context& ctx, const NewNode& node) {
  const Ino parent = node.parent;
  const std::string_view name = node.name;
  if (is_trash(parent)) return fail(EPERM);
  if (parent == kRootIno && name == kTrashName) return fail(EPERM);
  ZEST_TRY(state.writable());
  if (name == "." || name == "..") return fail(EEXIST);
  if (const int bad = check_name(name)) return fail(bad);
  // Asked for before the transaction, because they may have to read; answered after the test for existence.
  auto limit = state.ledger.check_volume(state, 4096, 1);
  if (limit) limit = state.ledger.check_quota(state, ctx, parent, 4096, 1);
  ZEST_ASSIGN(const uint64_t number, state.inodes.next());
  const Ino ino{number};

  MadeNode made;
  std::optional<AclRule> to_intern;
  auto body = [&](Txn& txn) -> Result<void> {
    made = {};
    ZEST_TRY(txn.want(
        {{Key::inode(parent)}, {Key::entry(parent, name), node.accept_existing, false, !node.accept_existing}}));
    ZEST_ASSIGN(Attr dir, directory(txn, parent));
    if (dir.in_trash()) return fail(ENOENT);
    ZEST_ASSIGN(auto existing, txn.entry(parent, name));
    if (existing && node.accept_existing && existing->type == FileType::kFile) {
      ZEST_ASSIGN(auto attr, txn.attr(existing->ino));
      if (!attr) return fail(ENOENT);
      made = {{existing->ino, *attr, true}, true};
      return {};
    }
    ZEST_TRY(check_access(state, txn, ctx, dir, kMayWrite | kMayExec));
    if (dir.flags & kFlagImmutable) return fail(EPERM);
    if (existing) return fail(EEXIST);
    if (ctx.check_permission && ctx.uid != 0 && is_device(node)) return fail(EPERM);
    if (!limit) return fail(limit.error());

    const Time now = state.clock.now();
    ZEST_ASSIGN(const Attr attr, new_attr(state, txn, ctx, dir, node, now, to_intern));
    ZEST_TRY(state.ledger.check_owner(state, attr.uid, attr.gid, 4096, 1));
    ctx.note(ino);
    txn.put(Key::entry(parent, name), Entry{node.type, ino});
    txn.put_attr(ino, attr);
    if (node.type == FileType::kSymlink) txn.put(Key::symlink(ino), std::string(node.target));
    if (attr.is_dir()) {
      dir.nlink++;
      if (state.dir_stats) txn.put(Key::dir_stat(ino), DirStat{});
    }
    const bool touched = touch_parent(state, txn, parent, dir, now, attr.is_dir());
    if (touched) txn.put_attr(parent, dir);
    account_inode_inline(state, txn, attr, 1);
    log_create(state, txn, ctx, node, ino, now, touched);
    made.entry = {ino, attr, true};
    return {};
  };
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto entry, txn.entry(parent, name));
    return entry && entry->ino == ino;
  };
  ZEST_TRY(intern_and_run(state, to_intern, [&] { return run_entries(state, {parent}, body, settled); }));
  if (made.existed) return made;

  account_inode(state, made.entry.attr, 1);
  account_entry(state, parent, made.entry.attr, 1);
  if (made.entry.attr.is_dir()) state.ledger.remember_parent(ino, parent);
  return made;
}

}  // namespace zest::meta
