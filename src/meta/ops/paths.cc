// The paths of an inode (semantics.md 10.2): upwards by parents, each name found by listing its directory.
#include "meta/ops/entries.h"

namespace zest::meta {

namespace {

constexpr char kOutside[] = "outside of the mounted root";
constexpr int kMaxDepth = 1024;  // against cycles in a damaged volume

Result<std::vector<std::string>> names_in(State& state, Ino dir, Ino ino) {
  std::vector<std::string> names;
  std::string cursor;
  do {
    ZEST_ASSIGN(auto page, state.engine->list(dir, cursor, state.engine->info().list_batch, false));
    for (auto& entry : page) {
      const bool repeated = std::find(names.begin(), names.end(), entry.name) != names.end();
      if (entry.entry.ino == ino && !repeated) names.push_back(std::move(entry.name));
    }
  } while (!cursor.empty());
  return names;
}

// The one path of a directory; empty when a parent cannot be resolved.
Result<std::string> dir_path(State& state, Ino dir) {
  std::string path;
  for (int depth = 0; depth < kMaxDepth; depth++) {
    if (dir == state.root) return path.empty() ? "/" : path;
    if (dir == kTrashIno) return "/" + std::string(kTrashName) + path;
    if (dir == kRootIno) return kOutside;
    Ino parent{0};
    ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(auto attr, txn.attr(dir));
      if (attr) parent = attr->parent;
      return {};
    }));
    if (raw(parent) == 0) return std::string();
    ZEST_ASSIGN(auto names, names_in(state, parent, dir));
    if (names.empty()) return std::string();
    path = "/" + names.front() + path;
    dir = parent;
  }
  return std::string();
}

}  // namespace

Result<std::vector<std::string>> Meta::paths(const Context&, Ino ino_in) {
  State& state = *state_;
  const Ino ino = state.map_root(ino_in);
  if (ino == state.root) return std::vector<std::string>{"/"};
  if (ino == kTrashIno) return std::vector<std::string>{"/" + std::string(kTrashName)};
  if (ino == kRootIno) return std::vector<std::string>{kOutside};
  ZEST_ASSIGN(auto counts, parents(ino));
  std::vector<std::string> paths;
  bool outside = false;
  for (const auto& [parent, count] : counts) {
    ZEST_ASSIGN(auto dir, dir_path(state, parent));
    if (dir == kOutside) outside = true;
    if (dir.empty() || dir == kOutside) continue;
    ZEST_ASSIGN(auto names, names_in(state, parent, ino));
    for (const auto& name : names) paths.push_back((dir == "/" ? "" : dir) + "/" + name);
  }
  if (paths.empty() && outside) paths.push_back(kOutside);
  return paths;
}

}  // namespace zest::meta
