// lookup, resolve (semantics.md 5.1, 5.2).
#include "meta/ops/entries.h"

namespace zest::meta {

namespace {

// What this client learns from fresh attributes. The root of the client is always told as inode 1.
EntryAttr seen(State& state, Ino ino, Attr attr) {
  if (attr.is_dir()) {
    state.ledger.remember_parent(ino, attr.parent);
  } else if (attr.is_file()) {
    state.open_files.update(ino, attr, state.clock.monotonic_ms());
  }
  return {ino == state.root ? kRootIno : ino, attr, true};
}

// "." and "..".
Result<EntryAttr> lookup_dots(State& state, const Context& ctx, Ino dir_ino, bool up, bool check) {
  EntryAttr found;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(Attr attr, directory(txn, dir_ino));
    if (check) ZEST_TRY(check_access(state, txn, ctx, attr, kMayExec));
    Ino ino = dir_ino;
    if (up && dir_ino != state.root) {
      ino = attr.parent;
      ZEST_ASSIGN(attr, directory(txn, ino));
    }
    found = {ino, attr, true};
    return {};
  }));
  return seen(state, found.ino, found.attr);
}

}  // namespace

Result<EntryAttr> Meta::lookup(const Context& ctx, Ino parent_in, std::string_view name, bool check) {
  Calling calling(engine().stats, Call::kLookup);
  State& state = *state_;
  const Ino parent = state.map_root(parent_in);
  if (name.size() > kMaxName) return fail(ENAMETOOLONG);
  check = check && ctx.check_permission && ctx.uid != 0;
  if (name == "." || name == "..") return lookup_dots(state, ctx, parent, name == "..", check);
  if (parent == kRootIno && name == kTrashName) {
    ZEST_ASSIGN(auto attr, getattr(ctx, kTrashIno));
    return EntryAttr{kTrashIno, attr, true};
  }

  Entry entry;
  std::optional<Attr> attr;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    const Want wants[] = {{Key::entry(parent, name), true}, {Key::inode(parent)}};
    ZEST_TRY(txn.want(std::span(wants, check ? 2 : 1)));
    if (check) {
      ZEST_ASSIGN(auto dir, txn.attr(parent));
      if (!dir) return fail(ENOENT);
      ZEST_TRY(check_access(state, txn, ctx, *dir, kMayExec));
    }
    ZEST_ASSIGN(auto found, txn.entry(parent, name));
    if (!found) return fail(ENOENT);
    entry = *found;
    ZEST_ASSIGN(attr, txn.attr(entry.ino));
    return {};
  }));
  if (attr) return seen(state, entry.ino, *attr);
  EntryAttr found{entry.ino, {}, false};
  found.attr.type = entry.type;
  return found;
}

Result<EntryAttr> Meta::resolve(const Context& ctx, std::string_view path) {
  Calling calling(engine().stats, Call::kResolve);
  ZEST_ASSIGN(auto attr, getattr(ctx, kRootIno));
  EntryAttr at{kRootIno, attr, true};
  while (!path.empty()) {
    const size_t cut = path.find('/');
    const std::string_view name = path.substr(0, cut);
    path = cut == std::string_view::npos ? std::string_view() : path.substr(cut + 1);
    if (name.empty() || name == ".") continue;
    if (!at.attr.is_dir()) return fail(ENOTDIR);
    ZEST_ASSIGN(at, lookup(ctx, at.ino, name));
  }
  return at;
}

}  // namespace zest::meta
