// Sums over trees (semantics.md 10.3), and the statistics of one directory.
#include <algorithm>
#include <mutex>

#include "meta/bulk/walk.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

constexpr int kThreads = 16;
constexpr int kMaxDepth = 10, kMaxTop = 100;

struct Sums {
  std::atomic<uint64_t> length{0}, space{0}, files{0}, dirs{0};
};

// Adds up what a directory holds, from its statistics where they do, else from its listing.
class Adder {
 public:
  Adder(State& state, bool strict) : state_(state), strict_(strict || !state.dir_stats) {}

  // True: the listing is needed.
  Result<bool> enter(WalkDir& dir, Sums& sums) {
    // Directories of the trash keep nlink 2 whatever they hold, and other clients may not count into their statistics.
    dir.with_attr = strict_ || is_trash(dir.ino);
    if (dir.with_attr) return true;
    std::optional<Attr> attr;
    std::optional<DirStat> stat;
    ZEST_TRY(state_.read([&](Txn& txn) -> Result<void> {
      ZEST_TRY(txn.want({{Key::inode(dir.ino)}, {Key::dir_stat(dir.ino)}}));
      ZEST_ASSIGN(attr, txn.attr(dir.ino));
      ZEST_ASSIGN(stat, txn.dir_stat(dir.ino));
      return {};
    }));
    if (!attr) return false;
    if (!stat || stat->length < 0 || stat->space < 0 || stat->inodes < 0) {
      ZEST_ASSIGN(stat, state_.ledger.recount_dir(state_, dir.ino, true));
    }
    sums.length += static_cast<uint64_t>(stat->length);
    sums.space += static_cast<uint64_t>(stat->space);
    if (attr->nlink > 2) return true;
    sums.files += static_cast<uint64_t>(stat->inodes);
    return false;
  }

  static void entry(const DirEntry& entry, bool with_attr, Sums& sums) {
    const bool is_dir = entry.entry.type == FileType::kDirectory;
    (is_dir ? sums.dirs : sums.files)++;
    if (!with_attr) return;
    sums.space += entry.attr ? static_cast<uint64_t>(entry.attr->space()) : 4096;
    if (entry.attr) sums.length += entry.attr->data_length();
  }

 private:
  State& state_;
  const bool strict_;
};

void count(std::atomic<uint64_t>* progress, size_t n) {
  if (progress) *progress += n;
}

class SummaryVisitor : public Visitor {
 public:
  SummaryVisitor(State& state, bool recursive, bool strict, std::atomic<uint64_t>* progress)
      : adder_(state, strict), recursive_(recursive), progress_(progress) {}

  Result<bool> enter(WalkDir& dir) override { return adder_.enter(dir, sums); }
  Result<void> page(const WalkDirPtr& dir, std::vector<DirEntry>& entries, std::vector<WalkDirPtr>& descend) override {
    count(progress_, entries.size());
    for (auto& entry : entries) {
      Adder::entry(entry, dir->with_attr, sums);
      if (recursive_ && entry.entry.type == FileType::kDirectory)
        descend.push_back(std::make_shared<WalkDir>(dir, entry.entry.ino, std::move(entry.name)));
    }
    return {};
  }

  Sums sums;

 private:
  Adder adder_;
  const bool recursive_;
  std::atomic<uint64_t>* progress_;
};

// A directory whose children are ranked. It keeps the `top` largest; the others are one sum.
struct Ranked {
  std::mutex mutex;
  TreeSummary self;
  Sums own;  // what lies directly in it, or anywhere below at the last level
  TreeSummary rest;
  bool any_rest = false;

  void add(TreeSummary child, size_t top) {
    std::lock_guard lock(mutex);
    auto larger = [](const TreeSummary& a, const TreeSummary& b) {
      return a.size != b.size ? a.size > b.size : a.path < b.path;
    };
    self.children.push_back(std::move(child));
    std::push_heap(self.children.begin(), self.children.end(), larger);
    if (self.children.size() <= top) return;
    std::pop_heap(self.children.begin(), self.children.end(), larger);
    rest.size += self.children.back().size;
    rest.files += self.children.back().files;
    rest.dirs += self.children.back().dirs;
    any_rest = true;
    self.children.pop_back();
  }

  TreeSummary finished() {
    auto larger = [](const TreeSummary& a, const TreeSummary& b) {
      return a.size != b.size ? a.size > b.size : a.path < b.path;
    };
    std::sort(self.children.begin(), self.children.end(), larger);
    if (any_rest) {
      rest.type = FileType::kFile;
      rest.path = self.path == "/" ? "..." : self.path + "/...";
      self.children.push_back(std::move(rest));
    }
    return std::move(self);
  }
};

class TreeVisitor : public Visitor {
 public:
  TreeVisitor(State& state, int depth, size_t top, bool strict, std::atomic<uint64_t>* progress)
      : adder_(state, strict), depth_(depth), top_(top), progress_(progress) {}

  Result<bool> enter(WalkDir& dir) override {
    auto& ranked = of(dir);
    // At the ranked levels every child's size is needed, so the listing is.
    if (dir.depth < depth_) {
      dir.with_attr = true;
      return true;
    }
    return adder_.enter(dir, ranked.own);
  }

  Result<void> page(const WalkDirPtr& dir, std::vector<DirEntry>& entries, std::vector<WalkDirPtr>& descend) override {
    count(progress_, entries.size());
    Ranked& ranked = of(*dir);
    for (auto& entry : entries) {
      const bool is_dir = entry.entry.type == FileType::kDirectory;
      if (dir->depth >= depth_) {
        Adder::entry(entry, dir->with_attr, ranked.own);
      } else if (!is_dir) {
        TreeSummary file;
        file.ino = entry.entry.ino;
        file.path = path_in(ranked, entry.name);
        file.type = entry.entry.type;
        file.size = entry.attr ? static_cast<uint64_t>(entry.attr->space()) : 4096;
        file.files = 1;
        ranked.own.space += file.size;
        ranked.own.files++;
        ranked.add(std::move(file), top_);
      }
      if (is_dir) descend.push_back(child(dir, std::move(entry)));
    }
    return {};
  }

  Result<bool> leave(const WalkDirPtr& dir) override {
    if (dir->depth > depth_) return false;
    Ranked& ranked = of(*dir);
    ranked.self.size += ranked.own.space;
    ranked.self.files += ranked.own.files;
    ranked.self.dirs += ranked.own.dirs;
    if (!dir->parent) return false;
    TreeSummary summary = ranked.finished();
    Ranked& above = of(*dir->parent);
    above.own.space += summary.size;
    above.own.files += summary.files;
    above.own.dirs += summary.dirs;
    above.add(std::move(summary), top_);
    return false;
  }

  static std::shared_ptr<Ranked> make(Ino ino, std::string path) {
    auto ranked = std::make_shared<Ranked>();
    ranked->self.ino = ino;
    ranked->self.path = std::move(path);
    ranked->self.size = 4096;
    ranked->self.dirs = 1;
    return ranked;
  }

 private:
  static Ranked& of(const WalkDir& dir) { return *static_cast<Ranked*>(dir.data.get()); }
  static std::string path_in(const Ranked& dir, const std::string& name) {
    return dir.self.path == "/" ? name : dir.self.path + "/" + name;
  }
  // Below the last level everything is added to the directory there.
  WalkDirPtr child(const WalkDirPtr& dir, DirEntry entry) const {
    auto walked = std::make_shared<WalkDir>(dir, entry.entry.ino, std::move(entry.name));
    if (walked->depth > depth_)
      walked->data = dir->data;
    else
      walked->data = make(walked->ino, path_in(of(*dir), walked->name));
    return walked;
  }

  Adder adder_;
  const int depth_;
  const size_t top_;
  std::atomic<uint64_t>* progress_;
};

Result<Attr> attr_of(State& state, Ino ino) {
  std::optional<Attr> found;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(found, txn.attr(ino));
    return {};
  }));
  if (!found) return fail(ENOENT);
  return *found;
}

// What waits in this client belongs to the sums.
Result<void> flush_before(State& state, bool strict) {
  if (strict || !state.dir_stats || state.options.read_only) return {};
  return state.ledger.flush_dirs(state);
}

WalkOptions options_for(const Context& context) {
  WalkOptions options;
  options.threads = kThreads;
  options.cancelled = context.cancelled;
  return options;
}

}  // namespace

Result<Summary> Meta::summary(const Context& context, Ino ino, bool recursive, bool strict,
                              std::atomic<uint64_t>* progress) {
  State& state = *state_;
  ino = state.map_root(ino);
  ZEST_ASSIGN(const Attr attr, attr_of(state, ino));
  if (!attr.is_dir()) return Summary{attr.data_length(), static_cast<uint64_t>(attr.space()), 1, 0};
  ZEST_TRY(flush_before(state, strict));
  SummaryVisitor visitor(state, recursive, strict, progress);
  ZEST_TRY(walk(*state.engine, options_for(context), std::make_shared<WalkDir>(nullptr, ino, ""), visitor));
  return Summary{visitor.sums.length, visitor.sums.space + 4096, visitor.sums.files, visitor.sums.dirs + 1};
}

Result<TreeSummary> Meta::tree_summary(const Context& context, Ino ino, int depth, int top, bool strict,
                                       std::atomic<uint64_t>* progress) {
  State& state = *state_;
  ino = state.map_root(ino);
  ZEST_ASSIGN(const Attr attr, attr_of(state, ino));
  if (!attr.is_dir()) return TreeSummary{ino, "/", attr.type, static_cast<uint64_t>(attr.space()), 1, 0, {}};
  ZEST_TRY(flush_before(state, strict));
  TreeVisitor visitor(state, std::clamp(depth, 0, kMaxDepth), static_cast<size_t>(std::clamp(top, 0, kMaxTop)), strict,
                      progress);
  auto ranked = TreeVisitor::make(ino, "/");
  auto root = std::make_shared<WalkDir>(nullptr, ino, "");
  root->data = ranked;
  ZEST_TRY(walk(*state.engine, options_for(context), root, visitor));
  return ranked->finished();
}

Result<DirStat> Meta::dir_stat(Ino ino) {
  State& state = *state_;
  ino = state.map_root(ino);
  std::optional<DirStat> stat;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(ino)}, {Key::dir_stat(ino)}}));
    ZEST_ASSIGN(auto attr, txn.attr(ino));
    if (!attr) return fail(ENOENT);
    if (!attr->is_dir()) return fail(ENOTDIR);
    ZEST_ASSIGN(stat, txn.dir_stat(ino));
    return {};
  }));
  if (stat && stat->length >= 0 && stat->space >= 0 && stat->inodes >= 0) return *stat;
  return state.ledger.recount_dir(state, ino, true);
}

}  // namespace zest::meta
