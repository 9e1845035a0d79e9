#include "meta/ops/entries.h"

#include "base/log.h"
#include "volume/records.h"

namespace zest::meta {

Result<Attr> directory(Txn& txn, Ino ino) {
  ZEST_ASSIGN(auto attr, txn.attr(ino));
  if (!attr) return fail(ENOENT);
  if (!attr->is_dir()) return fail(ENOTDIR);
  return *attr;
}

namespace {

// Inodes that are directories, or gone, as the transaction leaves them.
using Inodes = std::vector<std::pair<Ino, std::optional<Attr>>>;

Inodes directories(const Txn& txn) {
  Inodes out;
  for (const auto& [key, value] : txn.known()) {
    if (key.kind != Kind::kInode) continue;
    auto* attr = std::get_if<Attr>(&value);
    if (!attr)
      out.emplace_back(Ino{key.a}, std::nullopt);
    else if (attr->is_dir())
      out.emplace_back(Ino{key.a}, *attr);
  }
  return out;
}

void note_directories(State& state, const Inodes& inodes) {
  const int64_t now_ms = state.clock.monotonic_ms();
  for (const auto& [ino, attr] : inodes) {
    if (attr)
      state.own_dirs.keep(ino, *attr, now_ms);
    else
      state.own_dirs.forget(ino);
  }
}

}  // namespace

Result<CommitResult> run_entries(State& state, std::initializer_list<Ino> hot,
                                 const std::function<Result<void>(Txn&)>& body,
                                 std::function<Result<bool>(Txn&)> settled) {
  TxnOptions options;
  options.hot = hot;
  options.settled = std::move(settled);
  Inodes inodes;
  auto done = meta::run(*state.engine, state.clock, options, [&](Txn& txn) -> Result<void> {
    if (txn.attempt() > 0)
      for (Ino ino : options.hot) state.busy_dirs.lost_race(ino, state.clock.monotonic_ms());
    ZEST_TRY(body(txn));
    if (state.own_dirs.enabled()) inodes = directories(txn);
    return {};
  });
  if (done) note_directories(state, inodes);
  return done;
}

void account_entry(State& state, Ino dir, const Attr& attr, int sign) {
  if (raw(dir) == 0) return;
  const int64_t space = sign * attr.space();
  state.ledger.dir(state, dir, DirStat{sign * static_cast<int64_t>(attr.data_length()), space, sign});
  if (!is_trash(dir)) state.ledger.quota(state, dir, space, sign);
}

void account_inode_inline(State& state, Txn& txn, const Attr& attr, int sign) {
  Ledger::add_inline(state, txn, sign * attr.space(), sign);
}

void account_inode(State& state, const Attr& attr, int sign) {
  state.ledger.volume(state, sign * attr.space(), sign);
  state.ledger.owner(state, attr.uid, attr.gid, sign * attr.space(), sign);
}

namespace {

// The extended attributes go with the record, unless somebody may still ask about them.
Result<void> remove_xattrs(Txn& txn, const Context& ctx, Removal& removal) {
  if (ctx.keeps_xattrs && !removal.attr.is_file() && removal.attr.type != FileType::kSymlink) {
    Want want{Key::xattrs(removal.ino)};
    want.expect_absent = true;  // few have any
    ZEST_TRY(txn.want({want}));
    ZEST_ASSIGN(removal.xattrs, txn.xattrs(removal.ino));
  }
  txn.erase(Key::xattrs(removal.ino));
  return {};
}

Result<void> remove_directory_inode(State& state, Txn& txn, const Context& ctx, Removal& removal,
                                    const std::string& trash_name, Time now) {
  txn.erase(Key::dir_stat(removal.ino));
  txn.erase(Key::dir_quota(removal.ino));
  if (raw(removal.trash) != 0) {
    Attr attr = removal.attr;
    attr.parent = removal.trash;
    attr.ctime = now;
    txn.put_attr(removal.ino, attr);
    txn.put(Key::entry(removal.trash, trash_name), Entry{attr.type, removal.ino});
    removal.fate = Fate::kTrashed;
    return {};
  }
  ZEST_TRY(remove_xattrs(txn, ctx, removal));
  txn.erase(Key::inode(removal.ino));
  account_inode_inline(state, txn, removal.attr, -1);
  removal.fate = Fate::kDestroyed;
  return {};
}

void move_file_to_trash(Txn& txn, Removal& removal, const std::string& trash_name, Time now) {
  Attr attr = removal.attr;
  attr.ctime = now;
  if (raw(attr.parent) != 0) {
    attr.parent = removal.trash;
  } else {
    txn.add_links(removal.ino, removal.trash, 1);
    txn.add_links(removal.ino, removal.parent, -1);
  }
  txn.put(Key::entry(removal.trash, trash_name), Entry{attr.type, removal.ino});
  txn.put_attr(removal.ino, attr);
  removal.fate = Fate::kTrashed;
}

// The last name goes, and not into the trash.
Result<void> remove_last_name(State& state, Txn& txn, const Context& ctx, Removal& removal, Time now) {
  Attr attr = removal.attr;
  const bool had_links = raw(attr.parent) == 0;
  if (had_links) txn.erase(Key::parents(removal.ino));
  if (attr.is_file() && state.open_files.is_open(removal.ino)) {
    // Nothing counts it any more but the volume; its extended attributes stay until the last close.
    attr.nlink = 0;
    attr.ctime = now;
    attr.parent = Ino{0};
    txn.put_attr(removal.ino, attr);
    if (const uint64_t sid = state.sid; sid != 0) txn.put(Key::sustained(sid, removal.ino), true);
    removal.fate = Fate::kSustained;
    return {};
  }
  ZEST_TRY(remove_xattrs(txn, ctx, removal));
  txn.erase(Key::inode(removal.ino));
  if (attr.is_file()) {
    txn.put(Key::del_file(removal.ino, attr.length), now.sec);
  } else if (attr.type == FileType::kSymlink) {
    txn.erase(Key::symlink(removal.ino));
  }
  account_inode_inline(state, txn, attr, -1);
  removal.fate = Fate::kDestroyed;
  return {};
}

}  // namespace

Result<Removal> remove_inode(State& state, Txn& txn, const Context& ctx, Ino parent, std::string_view name,
                             const Entry& entry, const std::optional<Attr>& attr, Ino trash, Time now) {
  Removal removal{Fate::kMissing, parent, entry.ino, trash, {}, {}};
  if (!attr) {
    removal.attr.type = entry.type;
    return removal;
  }
  removal.attr = *attr;
  if (attr->flags & kFlagSkipTrash) removal.trash = Ino{0};
  const std::string trash_name = raw(removal.trash) != 0 ? trash_entry_name(parent, entry.ino, name) : std::string();

  if (attr->is_dir()) {
    ZEST_TRY(remove_directory_inode(state, txn, ctx, removal, trash_name, now));
    return removal;
  }
  if (raw(removal.trash) != 0 && attr->nlink > 1) {
    // Another link of that name went to the trash within the hour: this one is destroyed.
    ZEST_ASSIGN(auto taken, txn.entry(removal.trash, trash_name));
    if (taken) removal.trash = Ino{0};
  }
  if (raw(removal.trash) != 0) {
    move_file_to_trash(txn, removal, trash_name, now);
  } else if (attr->nlink > 1) {
    Attr left = *attr;
    left.nlink--;
    left.ctime = now;
    txn.put_attr(entry.ino, left);
    if (raw(left.parent) == 0) txn.add_links(entry.ino, parent, -1);
    removal.fate = Fate::kLinked;
  } else {
    ZEST_TRY(remove_last_name(state, txn, ctx, removal, now));
  }
  return removal;
}

namespace {

// The inode lives on for whoever has it open.
void keep_for_kernel(State& state, const Removal& removal) {
  if (removal.fate == Fate::kTrashed) return state.removed.keep_trashed(removal.ino);
  Attr attr = removal.attr;
  attr.ctime = state.clock.now();
  state.removed.keep(removal.ino, attr, removal.xattrs);
}

}  // namespace

void after_removal(State& state, const Context& ctx, const Removal& removal) {
  account_entry(state, removal.parent, removal.attr, -1);
  state.open_files.forget_attr(removal.ino);
  if (removal.attr.is_dir()) {
    state.ledger.forget_dir(removal.ino);
    if (state.ledger.any_dir_quota()) state.ledger.learn_quota(Key::dir_quota(removal.ino), std::nullopt);
  }
  if (ctx.keeps_inodes && (removal.fate == Fate::kTrashed || removal.fate == Fate::kDestroyed))
    keep_for_kernel(state, removal);
  switch (removal.fate) {
    case Fate::kMissing: return;
    case Fate::kTrashed: account_entry(state, removal.trash, removal.attr, 1); break;
    case Fate::kLinked: break;
    case Fate::kSustained:
      // The last close may have come between the look at the open files and the mark.
      if (!state.open_files.mark_sustained(removal.ino)) {
        if (auto done = release_sustained(state, state.sid, removal.ino); !done)
          log_warning("release of inode " + std::to_string(raw(removal.ino)) + ": " + done.error().message());
      }
      return;
    case Fate::kDestroyed:
      account_inode(state, removal.attr, -1);
      if (removal.attr.is_file()) state.deleter.file(state, removal.ino, removal.attr.length, is_trash(removal.parent));
      break;
  }
}

}  // namespace zest::meta
