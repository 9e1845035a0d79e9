// Recursive removal: entries by the operations that users have, directories when they are empty.
#include "meta/bulk/remove.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/log.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

constexpr int kPasses = 100;    // over a directory that others keep filling
constexpr size_t kBatch = 100;  // files in one transaction

class RemoveVisitor : public Visitor {
 public:
  RemoveVisitor(Meta& meta, const Context& context, const RemoveOptions& options)
      : meta_(meta), context_(context), options_(options) {}

  Result<bool> enter(WalkDir& dir) override {
    if (!context_.check_permission) return true;
    auto allowed = meta_.access(context_, dir.ino, kMayWrite | kMayExec);
    if (allowed || allowed.error().code == ENOENT) return true;
    return fail(std::move(allowed.error()));
  }

  Result<void> page(const WalkDirPtr& dir, std::vector<DirEntry>& entries, std::vector<WalkDirPtr>& descend) override {
    std::vector<std::string> files;
    for (auto& entry : entries) {
      if (entry.entry.type == FileType::kDirectory)
        descend.push_back(std::make_shared<WalkDir>(dir, entry.entry.ino, std::move(entry.name)));
      else
        files.push_back(std::move(entry.name));
    }
    for (size_t at = 0; at < files.size(); at += kBatch) {
      if (context_.is_cancelled()) return fail(EINTR);
      ZEST_TRY(remove_files(dir, std::span(files).subspan(at, std::min(kBatch, files.size() - at))));
    }
    return {};
  }

  Result<bool> leave(const WalkDirPtr& dir) override {
    // Hour directories of the trash go when they expire, not by hand.
    if (!dir->parent || dir->parent->ino == kTrashIno) return false;
    count(1);
    auto removed = meta_.rmdir(context_, dir->parent->ino, dir->name, options_.skip_trash);
    if (removed || removed.error().code == ENOENT) return false;
    if (removed.error().code == ENOTEMPTY && !options_.lenient) {
      if (!dir->data) dir->data = std::make_shared<int>(0);
      if (++*static_cast<int*>(dir->data.get()) < kPasses) return true;
    }
    ZEST_TRY(failed(dir->parent, dir->name, removed.error()));
    return false;
  }

 private:
  Result<void> remove_files(const WalkDirPtr& dir, std::span<const std::string> names) {
    count(names.size());
    auto removed = meta_.unlink_files(context_, dir->ino, names, options_.skip_trash);
    if (!removed) return removed.error().code == ENOENT ? Result<void>() : failed(dir, names[0], removed.error());
    for (size_t i = 0; i < names.size(); i++)
      if (auto& one = (*removed)[i]; !one && one.error().code != ENOENT) ZEST_TRY(failed(dir, names[i], one.error()));
    return {};
  }
  void count(size_t entries) {
    if (options_.removed) *options_.removed += entries;
  }
  Result<void> failed(const WalkDirPtr& dir, const std::string& name, const Error& error) {
    if (!options_.lenient) return fail(error);
    log_warning(fmt::format("{} in directory {} cannot be removed: {}", name, raw(dir->ino), error.message()));
    return {};
  }

  Meta& meta_;
  const Context& context_;
  const RemoveOptions& options_;
};

}  // namespace

Result<bool> below_trash(State& state, Ino dir) {
  for (int depth = 0; depth < (1 << 16); depth++) {
    if (is_trash(dir)) return true;
    if (dir == kRootIno || raw(dir) == 0) return false;
    auto parent = state.ledger.parent_of(state, dir);
    if (!parent && parent.error().code == ENOENT) return false;
    ZEST_TRY(parent);
    dir = *parent;
  }
  return fail(ELOOP);
}

Result<void> empty_directory(Meta& meta, const Context& context, Ino dir, const RemoveOptions& options) {
  RemoveVisitor visitor(meta, context, options);
  WalkOptions walking;
  walking.threads = options.threads;
  walking.writes = true;
  walking.cancelled = context.cancelled;
  walking.limits = options.limits;
  return walk(meta.engine(), walking, std::make_shared<WalkDir>(nullptr, dir, ""), visitor);
}

Result<void> Meta::remove_tree(const Context& context, Ino parent, std::string_view name, bool skip_trash, int threads,
                               std::atomic<uint64_t>* removed) {
  State& state = *state_;
  ZEST_TRY(state.writable());
  ZEST_TRY(access(context, parent, kMayWrite | kMayExec));
  ZEST_ASSIGN(const EntryAttr entry, lookup(context, parent, name));
  auto count = [&] {
    if (removed) ++*removed;
  };
  if (entry.attr.type != FileType::kDirectory) {
    count();
    return unlink(context, parent, name, skip_trash);
  }
  // What lies in the trash is not moved there again.
  const Ino real_parent = state.map_root(parent);
  RemoveOptions options;
  ZEST_ASSIGN(const bool trashed, below_trash(state, real_parent));
  options.skip_trash = skip_trash || trashed || is_trash(entry.ino);
  options.threads = threads;
  options.removed = removed;
  const bool stays = is_trash(entry.ino);
  if (stays && context.uid != 0) return fail(EPERM);
  for (int pass = 0; pass < kPasses; pass++) {
    ZEST_TRY(empty_directory(*this, context, entry.ino, options));
    if (stays) return {};
    count();
    auto done = rmdir(context, parent, name, options.skip_trash);
    if (done || done.error().code != ENOTEMPTY) {
      if (!done && done.error().code == ENOENT) return {};
      return done;
    }
  }
  return fail(ENOTEMPTY);
}

}  // namespace zest::meta
