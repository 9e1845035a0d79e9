// unlink and rmdir (semantics.md 6.2, 6.3): take a name away; the last one of an inode sends it to the trash or deletes
// it.
#include <span>
#include <string>
#include <vector>

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

// Takes the name off its inode. The attributes of the directory, whose permissions were checked, are the caller's.
Result<Removal> take_name(State& state, Txn& txn, const Context& ctx, Ino parent, const Attr& dir,
                          std::string_view name, bool directory_wanted, Ino trash, Time now) {
  ZEST_ASSIGN(auto entry, txn.entry(parent, name));
  if (!entry) return fail(ENOENT);
  ZEST_ASSIGN(auto attr, txn.attr(entry->ino));
  if (attr) {
    ZEST_TRY(check_sticky(ctx, dir, *attr));
    if (attr->flags & (kFlagAppend | kFlagImmutable)) return fail(EPERM);
  }
  ZEST_TRY(check_kind(txn, *entry, directory_wanted));
  ctx.note(entry->ino);
  txn.erase(Key::entry(parent, name));
  return remove_inode(state, txn, ctx, parent, name, *entry, attr, trash, now);
}

Result<Attr> changeable_directory(State& state, Txn& txn, const Context& ctx, Ino parent) {
  ZEST_ASSIGN(Attr dir, directory(txn, parent));
  ZEST_TRY(check_access(state, txn, ctx, dir, kMayWrite | kMayExec));
  if (dir.flags & (kFlagAppend | kFlagImmutable)) return fail(EPERM);
  return dir;
}

Result<bool> is_gone(Txn& txn, Ino parent, std::string_view name, Ino ino) {
  ZEST_ASSIGN(auto entry, txn.entry(parent, name));
  return !entry || entry->ino != ino;
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
    ZEST_ASSIGN(Attr dir, changeable_directory(state, txn, ctx, parent));
    const Time now = state.clock.now();
    ZEST_ASSIGN(removal, take_name(state, txn, ctx, parent, dir, name, directory_wanted, trash, now));
    if (directory_wanted && dir.nlink > 2) dir.nlink--;
    const bool touched = touch_parent(state, txn, parent, dir, now, directory_wanted);
    if (touched) txn.put_attr(parent, dir);
    if (directory_wanted)
      state.change_log.add(txn, now, "RMDIR", {parent, name, removal.trash}, removal.ino);
    else
      state.change_log.add(txn, now, "UNLINK", {parent, name, removal.trash, removal.fate == Fate::kSustained, touched},
                           removal.ino);
    return {};
  };
  ZEST_TRY(run_entries(state, {parent}, body, [&](Txn& txn) { return is_gone(txn, parent, name, removal.ino); }));

  after_removal(state, ctx, removal);
  return {};
}

// Those that went where the others did not have a line of their own.
void log_unlinks(State& state, Txn& txn, Ino parent, std::span<const std::string> names,
                 const std::vector<Result<void>>& results, const std::vector<Removal>& removals, Ino trash,
                 bool touched, Time now) {
  if (!state.change_log.on()) return;
  std::vector<ChangeLog::Arg> args{parent}, inodes;
  for (size_t i = 0, at = 0; i < names.size(); i++) {
    if (!results[i]) continue;
    const Removal& removal = removals[at++];
    const bool sustained = removal.fate == Fate::kSustained;
    if (removal.trash != trash || sustained) {
      state.change_log.add(txn, now, "UNLINK", {parent, names[i], removal.trash, sustained, touched}, removal.ino);
      continue;
    }
    args.emplace_back(names[i]);
    inodes.emplace_back(removal.ino);
  }
  if (inodes.empty()) return;
  args.emplace_back(trash);
  args.emplace_back(touched);
  state.change_log.write(txn, state.sid, now, "UNLINKBATCH", args, inodes);
}

}  // namespace

Result<void> Meta::unlink(const Context& ctx, Ino parent, std::string_view name, bool skip_trash) {
  Calling calling(engine().stats, Call::kUnlink);
  return remove_name(*state_, ctx, state_->map_root(parent), name, skip_trash, false);
}

Result<std::vector<Result<void>>> Meta::unlink_files(const Context& ctx, Ino parent_in,
                                                     std::span<const std::string> names, bool skip_trash) {
  Calling calling(engine().stats, Call::kUnlink);
  State& state = *state_;
  const Ino parent = state.map_root(parent_in);
  if (is_trash(parent) && ctx.uid != 0) return fail(EPERM);
  ZEST_TRY(state.writable());
  ZEST_ASSIGN(const Ino trash, state.trash.hour_dir(state, parent, skip_trash));

  std::vector<Want> wants{{Key::inode(parent)}};
  for (const auto& name : names) wants.push_back({Key::entry(parent, name), true});
  std::vector<Result<void>> results;
  std::vector<Removal> removals;
  size_t first = 0;  // of names: one that was removed
  auto body = [&](Txn& txn) -> Result<void> {
    results.assign(names.size(), {});
    removals.clear();
    ZEST_TRY(txn.want(wants));
    ZEST_ASSIGN(Attr dir, changeable_directory(state, txn, ctx, parent));
    const Time now = state.clock.now();
    for (size_t i = 0; i < names.size(); i++) {
      auto removal = take_name(state, txn, ctx, parent, dir, names[i], false, trash, now);
      if (removal) {
        if (removals.empty()) first = i;
        removals.push_back(std::move(*removal));
      } else if (removal.error().fault == Fault::kPlain) {
        results[i] = fail(std::move(removal.error()));
      } else {
        return fail(std::move(removal.error()));
      }
    }
    if (removals.empty()) return {};
    const bool touched = touch_parent(state, txn, parent, dir, now, false);
    if (touched) txn.put_attr(parent, dir);
    log_unlinks(state, txn, parent, names, results, removals, trash, touched, now);
    return {};
  };
  auto settled = [&](Txn& txn) { return is_gone(txn, parent, names[first], removals.front().ino); };
  ZEST_TRY(run_entries(state, {parent}, body, settled));

  for (const auto& removal : removals) after_removal(state, ctx, removal);
  return results;
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
