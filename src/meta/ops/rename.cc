// rename (semantics.md 6.4): moves a name, replacing what has the new one and, if asked, leaving a whiteout, or
// exchanges two names.
#include "meta/ops/make_node.h"
#include "volume/records.h"

namespace zest::meta {

namespace {

constexpr int kMaxDepth = 4096;  // of directories; more is a damaged volume
constexpr uint8_t kProtected = kFlagAppend | kFlagImmutable;

// What is moved between directories of different quotas.
struct Usage {
  Ino ino{0};
  int64_t space = 0, inodes = 0;
};

struct Side {
  Ino parent{0};
  std::string_view name;
  Attr dir;
  std::optional<Entry> entry;
  std::optional<Attr> attr;  // of the inode behind the entry
};

struct Rename {
  Side src, dst;
  uint32_t flags = 0;
  Ino trash{0};
  Time now;
  // what was done
  bool done = false;
  std::optional<Removal> replaced;
  // a whiteout (character device 0:0, as overlay file systems have it) that takes the old name; no inode: none
  Ino whiteout{0};
  Attr whiteout_attr;
  Result<void> room;  // for it: ENOSPC, EDQUOT

  bool exchange() const { return flags & kRenameExchange; }
  bool same_dir() const { return src.parent == dst.parent; }
};

Result<void> check_flags(uint32_t flags) {
  switch (flags) {
    case 0:
    case kRenameNoReplace:
    case kRenameExchange:
    case kRenameWhiteout:
    case kRenameWhiteout | kRenameNoReplace:
    case kRenameNoReplace | kRenameRestore: return {};
    default: return fail(EINVAL);
  }
}

// EINVAL if `dir`, or a directory above it, is `moved`: it would be cut off from the root. The chain as this client
// remembers it is fetched at once, then followed by what the transaction read.
Result<void> check_loop(State& state, Txn& txn, Ino moved, Ino dir) {
  std::vector<Want> chain;
  for (Ino at = dir; raw(at) > 1 && !is_trash(at) && chain.size() < kMaxDepth;) {
    if (at == moved) break;
    chain.push_back({Key::inode(at)});
    auto above = state.ledger.parent_of(state, at);
    if (!above) break;
    at = *above;
  }
  if (!chain.empty()) ZEST_TRY(txn.want(chain));
  for (int depth = 0; raw(dir) > 1 && !is_trash(dir); depth++) {
    if (dir == moved) return fail(EINVAL);
    if (depth == kMaxDepth) return fail(EIO, "directories above inode " + std::to_string(raw(dir)) + " form a cycle");
    ZEST_ASSIGN(auto attr, txn.attr(dir));
    if (!attr) return {};
    dir = attr->parent;
  }
  return {};
}

Result<void> read_sides(Txn& txn, Rename& op) {
  Side &src = op.src, &dst = op.dst;
  ZEST_TRY(txn.want({{Key::inode(src.parent)},
                     {Key::inode(dst.parent)},
                     {Key::entry(src.parent, src.name), true},
                     {Key::entry(dst.parent, dst.name), true, true}}));
  ZEST_ASSIGN(src.dir, directory(txn, src.parent));
  ZEST_ASSIGN(dst.dir, directory(txn, dst.parent));
  for (Side* side : {&src, &dst}) {
    side->attr.reset();
    ZEST_ASSIGN(side->entry, txn.entry(side->parent, side->name));
    if (side->entry) {
      ZEST_ASSIGN(side->attr, txn.attr(side->entry->ino));
    }
  }
  return {};
}

// Steps 8 to 16: the directories, and what is moved. True: there is nothing to do.
Result<bool> check_source(State& state, Txn& txn, const Context& ctx, const Rename& op) {
  const Side &src = op.src, &dst = op.dst;
  if ((src.dir.flags & kProtected) || (dst.dir.flags & kFlagImmutable)) return fail(EPERM);
  if (!(op.flags & kRenameRestore) && dst.dir.in_trash()) return fail(ENOENT);
  ZEST_TRY(check_access(state, txn, ctx, src.dir, kMayWrite | kMayExec));
  if (src.attr) ZEST_TRY(check_sticky(ctx, src.dir, *src.attr));
  ZEST_TRY(check_access(state, txn, ctx, dst.dir, kMayWrite | kMayExec));
  if (!src.entry) return fail(ENOENT);
  if (op.same_dir() && src.name == dst.name) return true;
  if (!op.same_dir() && src.entry->type == FileType::kDirectory)
    ZEST_TRY(check_loop(state, txn, src.entry->ino, dst.parent));
  if (!src.attr) return fail(ENOENT);
  if (src.attr->flags & kProtected) return fail(EPERM);
  return false;
}

// Steps 17 to 24: what stands at the new name.
Result<bool> check_target(State& state, Txn& txn, const Context& ctx, const Rename& op) {
  const Side &src = op.src, &dst = op.dst;
  if (dst.entry) {
    if (op.flags & kRenameNoReplace) return fail(EEXIST);
    if (dst.attr && (dst.attr->flags & kProtected)) return fail(EPERM);
    if (dst.dir.flags & kFlagAppend) return fail(EPERM);
    if (dst.attr) ZEST_TRY(check_sticky(ctx, dst.dir, *dst.attr));
    if (!op.exchange()) {
      if (dst.entry->ino == src.entry->ino) return true;
      const bool src_dir = src.attr->is_dir(), dst_dir = dst.entry->type == FileType::kDirectory;
      if (src_dir && !dst_dir) return fail(ENOTDIR);
      if (!src_dir && dst_dir) return fail(EISDIR);
    }
  }
  if (op.exchange()) {
    if (!dst.entry || !dst.attr) return fail(ENOENT);
    if (!op.same_dir() && dst.attr->is_dir()) ZEST_TRY(check_loop(state, txn, dst.entry->ino, src.parent));
  }
  // A directory that gets another parent is written to: its "..".
  if (!op.same_dir() && src.attr->is_dir()) ZEST_TRY(check_access(state, txn, ctx, *src.attr, kMayWrite));
  if (op.exchange()) {
    if (!op.same_dir() && dst.attr->is_dir()) ZEST_TRY(check_access(state, txn, ctx, *dst.attr, kMayWrite));
  } else if (dst.entry && dst.entry->type == FileType::kDirectory) {
    ZEST_ASSIGN(const bool occupied, txn.has_entries(dst.entry->ino));
    if (occupied) return fail(ENOTEMPTY);
  }
  return false;
}

// The inode behind a name that moved.
void moved_inode(Txn& txn, const Rename& op, Ino ino, Attr& attr, Ino from, Ino to) {
  attr.ctime = op.now;
  if (from != to) {
    if (attr.is_dir() || raw(attr.parent) != 0) {
      attr.parent = to;
    } else {
      txn.add_links(ino, to, 1);
      txn.add_links(ino, from, -1);
    }
  }
  txn.put_attr(ino, attr);
}

// Times and link counts of both directories.
void write_parents(State& state, Txn& txn, Rename& op, int src_subdirs, int dst_subdirs) {
  Side &src = op.src, &dst = op.dst;
  auto change = [&](Side& side, int subdirs, bool always) {
    if (is_trash(side.parent)) return;
    side.dir.nlink = static_cast<uint32_t>(std::max<int64_t>(2, int64_t{side.dir.nlink} + subdirs));
    if (touch_parent(state, txn, side.parent, side.dir, op.now, subdirs != 0 || always))
      txn.put_attr(side.parent, side.dir);
  };
  const bool replaced_dir = op.replaced && op.replaced->attr.is_dir();
  if (op.same_dir()) {
    change(dst, src_subdirs + dst_subdirs, replaced_dir);
    return;
  }
  change(src, src_subdirs, false);
  change(dst, dst_subdirs, replaced_dir);
}

void write_exchange(State& state, Txn& txn, Rename& op) {
  Side &src = op.src, &dst = op.dst;
  txn.put(Key::entry(src.parent, src.name), *dst.entry);
  txn.put(Key::entry(dst.parent, dst.name), *src.entry);
  moved_inode(txn, op, src.entry->ino, *src.attr, src.parent, dst.parent);
  moved_inode(txn, op, dst.entry->ino, *dst.attr, dst.parent, src.parent);
  const int subdirs = op.same_dir() ? 0 : int{src.attr->is_dir()} - int{dst.attr->is_dir()};
  write_parents(state, txn, op, -subdirs, subdirs);
}

NewNode whiteout_of(const Rename& op) {
  NewNode node;
  node.parent = op.src.parent, node.name = op.src.name, node.type = FileType::kChar;
  return node;
}

Result<void> write_whiteout(State& state, Txn& txn, const Context& ctx, Rename& op, std::optional<AclRule>& to_intern) {
  if (op.src.dir.in_trash()) return fail(ENOENT);
  if (!op.room) return fail(op.room.error());
  const NewNode node = whiteout_of(op);
  ZEST_ASSIGN(op.whiteout_attr, new_attr(state, txn, ctx, op.src.dir, node, op.now, to_intern));
  ZEST_TRY(state.ledger.check_owner(state, op.whiteout_attr.uid, op.whiteout_attr.gid, 4096, 1));
  txn.put(Key::entry(node.parent, node.name), Entry{node.type, op.whiteout});
  txn.put_attr(op.whiteout, op.whiteout_attr);
  account_inode_inline(state, txn, op.whiteout_attr, 1);
  return {};
}

Result<void> write_move(State& state, Txn& txn, const Context& ctx, Rename& op, std::optional<AclRule>& to_intern) {
  Side &src = op.src, &dst = op.dst;
  int dst_subdirs = 0;
  if (dst.entry) {
    txn.erase(Key::entry(dst.parent, dst.name));
    ZEST_ASSIGN(op.replaced,
                remove_inode(state, txn, ctx, dst.parent, dst.name, *dst.entry, dst.attr, op.trash, op.now));
    if (dst.entry->type == FileType::kDirectory) dst_subdirs--;
  }
  txn.erase(Key::entry(src.parent, src.name));
  if (raw(op.whiteout) != 0) ZEST_TRY(write_whiteout(state, txn, ctx, op, to_intern));
  txn.put(Key::entry(dst.parent, dst.name), *src.entry);
  moved_inode(txn, op, src.entry->ino, *src.attr, src.parent, dst.parent);
  const int moved_dir = src.attr->is_dir() && !op.same_dir() ? 1 : 0;
  write_parents(state, txn, op, -moved_dir, dst_subdirs + moved_dir);
  return {};
}

void account_stat(State& state, Ino dir, const Attr& attr, int sign) {
  state.ledger.dir(state, dir, DirStat{sign * static_cast<int64_t>(attr.data_length()), sign * attr.space(), sign});
}

void after_rename(State& state, const Context& ctx, const Rename& op, const Usage& src_usage, const Usage& dst_usage) {
  const Side &src = op.src, &dst = op.dst;
  if (op.replaced) after_removal(state, ctx, *op.replaced);
  if (raw(op.whiteout) != 0) {
    account_inode(state, op.whiteout_attr, 1);
    account_entry(state, src.parent, op.whiteout_attr, 1);
  }
  for (const Side* side : {&src, &dst}) {
    if (side->entry) state.open_files.forget_attr(side->entry->ino);
    if (!op.exchange()) break;
  }
  if (op.same_dir()) return;
  auto account_move = [&](const Side& from, const Side& to, const Usage& usage) {
    account_stat(state, from.parent, *from.attr, -1);
    account_stat(state, to.parent, *from.attr, 1);
    if (from.attr->is_dir()) state.ledger.remember_parent(from.entry->ino, to.parent);
    if (usage.inodes == 0) return;
    if (!is_trash(from.parent)) state.ledger.quota(state, from.parent, -usage.space, -usage.inodes);
    if (!is_trash(to.parent)) state.ledger.quota(state, to.parent, usage.space, usage.inodes);
  };
  account_move(src, dst, src_usage);
  if (op.exchange()) account_move(dst, src, dst_usage);
}

// What a name stands for, as quotas count it.
Result<Usage> usage_of(Meta& meta, const Context& ctx, Ino parent, std::string_view name) {
  State& state = meta.state();
  ZEST_ASSIGN(const EntryAttr entry, meta.lookup(ctx, parent, name, false));
  if (!entry.attr.is_dir()) return Usage{entry.ino, entry.attr.space(), 1};
  ZEST_ASSIGN(const Ino quota_dir, state.ledger.nearest_quota(state, entry.ino));
  if (quota_dir == entry.ino) {
    ZEST_TRY(state.ledger.flush_quotas(state));
    if (auto quota = meta.get_quota(Meta::QuotaKind::kDirectory, raw(entry.ino)))
      return Usage{entry.ino, quota->used_space + 4096, quota->used_inodes + 1};
  }
  ZEST_ASSIGN(const Summary sum, meta.summary(ctx, entry.ino, true, false));
  return Usage{entry.ino, static_cast<int64_t>(sum.space), static_cast<int64_t>(sum.files + sum.dirs)};
}

// Steps 1 to 5, which need nothing from the database.
Result<void> check_request(const State& state, const Context& ctx, const Rename& op) {
  for (const Side* side : {&op.src, &op.dst})
    if (side->parent == kRootIno && side->name == kTrashName) return fail(EPERM);
  if (is_trash(op.dst.parent) && !(op.flags & kRenameRestore)) return fail(EPERM);
  if (is_trash(op.src.parent) && ctx.uid != 0) return fail(EPERM);
  ZEST_TRY(state.writable());
  if (op.src.name.size() > kMaxName) return fail(ENAMETOOLONG);
  if (const int bad = check_name(op.dst.name)) return fail(bad);
  return check_flags(op.flags);
}

// Does the move lead from one quota into another? Within one, nothing changes for it.
Result<bool> crosses_quota(State& state, Ino from, Ino to) {
  if (from == to || !state.ledger.any_dir_quota()) return false;
  Ino left{0}, entered{0};
  if (!is_trash(from)) {
    ZEST_ASSIGN(left, state.ledger.nearest_quota(state, from));
  }
  if (!is_trash(to)) {
    ZEST_ASSIGN(entered, state.ledger.nearest_quota(state, to));
  }
  return left != entered;
}

// Step 6: counts what moves, and whether the quotas it enters have room.
Result<void> check_quotas(Meta& meta, const Context& ctx, const Rename& op, Usage& src, Usage& dst) {
  State& state = meta.state();
  const Ino src_dir = op.src.parent, dst_dir = op.dst.parent;
  ZEST_ASSIGN(src, usage_of(meta, ctx, src_dir, op.src.name));
  if (op.exchange()) {
    ZEST_ASSIGN(dst, usage_of(meta, ctx, dst_dir, op.dst.name));
    ZEST_TRY(state.ledger.check_quota(state, ctx, src_dir, dst.space - src.space, dst.inodes - src.inodes, dst_dir));
  }
  return state.ledger.check_quota(state, ctx, dst_dir, src.space - dst.space, src.inodes - dst.inodes, src_dir);
}

// Others know no whiteouts: to them one was made when the name had moved.
void log_move(State& state, Txn& txn, const Context& ctx, const Rename& op) {
  state.change_log.add(txn, op.now, "MOVE",
                       {op.src.parent, op.src.name, op.dst.parent, op.dst.name, op.flags & ~kRenameWhiteout,
                        op.dst.entry ? op.dst.entry->ino : Ino{0}, op.replaced ? op.replaced->trash : op.trash},
                       op.src.entry->ino);
  if (raw(op.whiteout) != 0) log_create(state, txn, ctx, whiteout_of(op), op.whiteout, op.now, false);
}

// One transaction. False: not the inodes whose usage was counted; count again.
Result<bool> try_rename(State& state, const Context& ctx, Rename& op, const Usage* src_usage, const Usage* dst_usage) {
  const Ino dst_dir = op.dst.parent;
  bool counted = true;
  std::optional<AclRule> to_intern;
  auto body = [&](Txn& txn) -> Result<void> {
    op.done = false;
    op.replaced.reset();
    ZEST_TRY(read_sides(txn, op));
    ZEST_ASSIGN(const bool same_name, check_source(state, txn, ctx, op));
    if (same_name) return {};
    ZEST_ASSIGN(const bool same_inode, check_target(state, txn, ctx, op));
    if (same_inode) return {};
    counted =
        !src_usage || (op.src.entry->ino == src_usage->ino && (!op.exchange() || op.dst.entry->ino == dst_usage->ino));
    if (!counted) return {};
    op.done = true;
    op.now = state.clock.now();
    ctx.note(op.src.entry->ino);
    if (op.exchange())
      write_exchange(state, txn, op);
    else
      ZEST_TRY(write_move(state, txn, ctx, op, to_intern));
    log_move(state, txn, ctx, op);
    return {};
  };
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto entry, txn.entry(dst_dir, op.dst.name));
    return op.src.entry && entry && entry->ino == op.src.entry->ino;
  };
  ZEST_TRY(intern_and_run(state, to_intern, [&] {
    return run_entries(state, {op.src.parent, dst_dir}, body, settled);
  }));
  return counted;
}

}  // namespace

Result<EntryAttr> Meta::rename(const Context& ctx, Ino src_parent, std::string_view src_name, Ino dst_parent,
                               std::string_view dst_name, uint32_t flags) {
  Calling calling(engine().stats, Call::kRename);
  State& state = *state_;
  Rename op;
  op.src.parent = state.map_root(src_parent), op.src.name = src_name;
  op.dst.parent = state.map_root(dst_parent), op.dst.name = dst_name;
  op.flags = flags;
  ZEST_TRY(check_request(state, ctx, op));
  if (!(flags & (kRenameNoReplace | kRenameExchange))) {
    ZEST_ASSIGN(op.trash, state.trash.hour_dir(state, op.dst.parent, false));
  }
  if (flags & kRenameWhiteout) {
    if (is_trash(op.src.parent)) return fail(EPERM);
    op.room = state.ledger.check_volume(state, 4096, 1);
    if (op.room) op.room = state.ledger.check_quota(state, ctx, op.src.parent, 4096, 1);
    ZEST_ASSIGN(const uint64_t number, state.inodes.next());
    op.whiteout = Ino{number};
  }
  ZEST_ASSIGN(const bool crosses, crosses_quota(state, op.src.parent, op.dst.parent));
  Usage src_usage, dst_usage;
  for (bool settled = false; !settled;) {
    if (crosses) ZEST_TRY(check_quotas(*this, ctx, op, src_usage, dst_usage));
    ZEST_ASSIGN(settled, try_rename(state, ctx, op, crosses ? &src_usage : nullptr, &dst_usage));
  }
  if (op.done) after_rename(state, ctx, op, src_usage, dst_usage);
  return EntryAttr{op.src.entry->ino, op.src.attr ? *op.src.attr : Attr{}, op.src.attr.has_value()};
}

}  // namespace zest::meta
