// fsck of directories (semantics.md 10.6): attributes, link counts, statistics against what a listing shows.
#include <fmt/format.h>

#include <mutex>

#include "meta/bulk/orphans.h"
#include "meta/bulk/walk.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

constexpr int kThreads = 20;
constexpr int kAttempts = 10;

struct Tally {
  std::mutex mutex;
  uint32_t subdirs = 0;
  DirStat stat;
};

bool negative(const DirStat& stat) { return stat.length < 0 || stat.space < 0 || stat.inodes < 0; }

Result<uint32_t> count_subdirs(Engine& engine, Ino dir) {
  uint32_t subdirs = 0;
  std::string cursor;
  Distinct distinct(engine);
  do {
    ZEST_ASSIGN(auto page, engine.list(dir, cursor, 1000, false));
    for (const auto& entry : page)
      if (entry.entry.type == FileType::kDirectory && distinct.first(entry.name)) subdirs++;
  } while (!cursor.empty());
  return subdirs;
}

class Checker : public Visitor {
 public:
  struct Options : CheckOptions {
    std::string top_path;  // "/" or "/a/b"
    Ino top_parent{0};
  };
  Checker(State& state, const Context& context, Options options)
      : state_(state), context_(context), options_(std::move(options)) {}

  Result<bool> enter(WalkDir& dir) override {
    dir.with_attr = true;
    dir.data = std::make_shared<Tally>();
    if (options_.progress) ++*options_.progress;
    return true;
  }

  Result<void> page(const WalkDirPtr& dir, std::vector<DirEntry>& entries, std::vector<WalkDirPtr>& descend) override {
    Tally sum;
    for (auto& entry : entries) {
      const bool is_dir = entry.entry.type == FileType::kDirectory;
      if (is_dir) sum.subdirs++;
      sum.stat += entry.attr ? DirStat{static_cast<int64_t>(entry.attr->data_length()), entry.attr->space(), 1}
                             : DirStat{0, 4096, 1};
      if (!is_dir && !entry.attr) ZEST_TRY(missing_inode(*dir, entry));
      if (is_dir && options_.recursive && !(options_.skip && options_.skip(entry.entry.ino)))
        descend.push_back(std::make_shared<WalkDir>(dir, entry.entry.ino, std::move(entry.name)));
    }
    Tally& tally = *static_cast<Tally*>(dir->data.get());
    std::lock_guard lock(tally.mutex);
    tally.subdirs += sum.subdirs;
    tally.stat += sum.stat;
    return {};
  }

  Result<bool> leave(const WalkDirPtr& dir) override {
    if (!is_trash(dir->ino)) ZEST_TRY(check_dir(dir));  // the trash's are kept loosely, by design
    if (options_.done) options_.done(dir->ino);
    return false;
  }

  // Told, and kept for the end.
  void report(Problem problem) {
    if (options_.found) options_.found(problem);
    std::lock_guard lock(mutex_);
    problems.push_back(std::move(problem));
  }

  std::vector<Problem> problems;

 private:
  Result<void> check_dir(const WalkDirPtr& dir) {
    const Tally& tally = *static_cast<Tally*>(dir->data.get());
    std::optional<Attr> attr;
    std::optional<DirStat> stat;
    ZEST_TRY(state_.read([&](Txn& txn) -> Result<void> {
      ZEST_TRY(txn.want({{Key::inode(dir->ino)}, {Key::dir_stat(dir->ino)}}));
      ZEST_ASSIGN(attr, txn.attr(dir->ino));
      ZEST_ASSIGN(stat, txn.dir_stat(dir->ino));
      return {};
    }));
    if (!attr)
      ZEST_TRY(missing_attr(*dir, tally.subdirs));
    else if (attr->nlink != tally.subdirs + 2)
      ZEST_TRY(wrong_nlink(*dir));
    if (state_.dir_stats) ZEST_TRY(check_stat(*dir, stat, tally));
    return {};
  }

  std::string path_of(const WalkDir& dir, const std::string* name = nullptr) const {
    std::string path = options_.top_path;
    auto append = [&](const std::string& part) {
      if (part.empty()) return;
      if (path.back() != '/') path += '/';
      path += part;
    };
    append(dir.path());
    if (name) append(*name);
    return path;
  }

  Result<void> missing_attr(const WalkDir& dir, uint32_t subdirs) {
    const std::string what = fmt::format("the attributes of directory {} are missing", raw(dir.ino));
    if (options_.repair) {
      ZEST_TRY(state_.run({dir.ino}, [&](Txn& txn) -> Result<void> {
        ZEST_ASSIGN(auto present, txn.attr(dir.ino));
        if (present) return {};
        Attr attr;
        attr.type = FileType::kDirectory;
        attr.mode = options_.dir_mode;
        attr.uid = context_.uid;
        attr.gid = context_.gid;
        attr.atime = attr.mtime = attr.ctime = state_.clock.now();
        attr.nlink = subdirs + 2;
        attr.length = 4096;
        attr.parent = dir.parent ? dir.parent->ino : options_.top_parent;
        txn.put_attr(dir.ino, attr);
        log_repair(txn, dir.ino);
        return {};
      }));
    }
    report({path_of(dir), what, options_.repair});
    return {};
  }

  // An entry of a file whose attributes are lost: they are made anew from its data or target, which are still there;
  // where nothing is left, the entry goes.
  Result<void> missing_inode(const WalkDir& dir, const DirEntry& entry) {
    const Ino ino = entry.entry.ino;
    ZEST_ASSIGN(const uint64_t length, length_of_chunks(ino));
    bool still = false, made = false;
    ZEST_TRY(state_.run({dir.ino, ino}, [&](Txn& txn) -> Result<void> {
      still = made = false;
      ZEST_ASSIGN(auto present, txn.attr(ino));
      ZEST_ASSIGN(auto named, txn.entry(dir.ino, entry.name));
      still = !present && named && named->ino == ino;
      if (!still || !options_.repair) return {};
      Attr attr;
      attr.type = entry.entry.type;
      attr.uid = context_.uid, attr.gid = context_.gid;
      attr.atime = attr.mtime = attr.ctime = state_.clock.now();
      attr.parent = dir.ino;
      attr.length = length;
      attr.mode = 0600;
      if (attr.type == FileType::kSymlink) {
        ZEST_ASSIGN(auto target, txn.symlink(ino));
        if (target) attr.length = target->size(), attr.mode = 0777;
      }
      made = attr.length > 0;
      if (made) {
        txn.put_attr(ino, attr);
        log_repair(txn, ino);
        return {};
      }
      txn.erase(Key::entry(dir.ino, entry.name));
      state_.change_log.add(txn, state_.clock.now(), "UNLINK", {dir.ino, entry.name, 0, false, false}, ino);
      return {};
    }));
    if (!still) return {};  // removed meanwhile
    const char* done = !options_.repair ? "" : made ? ": made anew from its content" : ": the entry is removed";
    report(
        {path_of(dir, &entry.name), fmt::format("the entry's inode {} is missing{}", raw(ino), done), options_.repair});
    return {};
  }

  void log_repair(Txn& txn, Ino ino) { state_.change_log.add(txn, state_.clock.now(), "REPAIRDIR", {ino}); }

  // How far a file's slices reach.
  Result<uint64_t> length_of_chunks(Ino ino) {
    uint64_t length = 0;
    ZEST_TRY(state_.engine->scan(Table::kChunks, raw(ino), [&](const Key& key, const Value& value) {
      const auto* records = std::get_if<std::string>(&value);
      if (auto slices = records && key.a == raw(ino) ? decode_slices(*records) : fail(ENOENT))
        for (const auto& slice : *slices) length = std::max(length, key.b * kChunkSize + slice.pos + slice.len);
      return true;
    }));
    return length;
  }

  // Counted once more, and again while the directory changes: the volume may be in use.
  Result<void> wrong_nlink(const WalkDir& dir) {
    for (int attempt = 0; attempt < kAttempts; attempt++) {
      ZEST_ASSIGN(const auto before, read_attr(dir.ino));
      ZEST_ASSIGN(const uint32_t subdirs, count_subdirs(*state_.engine, dir.ino));
      if (!before || before->nlink == subdirs + 2) return {};
      bool same = false;
      ZEST_TRY(state_.run({dir.ino}, [&](Txn& txn) -> Result<void> {
        ZEST_ASSIGN(auto attr, txn.attr(dir.ino));
        same = attr && attr->nlink == before->nlink && attr->ctime == before->ctime;
        if (!same || !options_.repair) return {};
        attr->nlink = subdirs + 2;
        txn.put_attr(dir.ino, *attr);
        log_repair(txn, dir.ino);
        return {};
      }));
      if (!same) continue;
      report({path_of(dir),
              fmt::format("nlink of directory {} should be {}, but is {}", raw(dir.ino), subdirs + 2, before->nlink),
              options_.repair});
      return {};
    }
    return {};  // too busy to tell
  }

  Result<std::optional<Attr>> read_attr(Ino ino) {
    std::optional<Attr> attr;
    ZEST_TRY(state_.read([&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(attr, txn.attr(ino));
      return {};
    }));
    return attr;
  }

  Result<void> check_stat(const WalkDir& dir, std::optional<DirStat> stat, const Tally& tally) {
    std::string what;
    if (!stat || negative(*stat)) {
      what = fmt::format("the usage statistics of directory {} are {}", raw(dir.ino), stat ? "negative" : "missing");
    } else if (options_.sync_stats && !(*stat == tally.stat)) {
      // Changes may have been on their way when it was read.
      if (!state_.options.read_only) ZEST_TRY(state_.ledger.flush_dirs(state_));
      ZEST_TRY(state_.read([&](Txn& txn) -> Result<void> {
        ZEST_ASSIGN(stat, txn.dir_stat(dir.ino));
        return {};
      }));
      ZEST_ASSIGN(const DirStat counted, state_.ledger.recount_dir(state_, dir.ino, false));
      if (stat && *stat == counted) return {};
      what = fmt::format("the usage statistics of directory {} do not match its entries", raw(dir.ino));
    } else {
      return {};
    }
    if (options_.repair) ZEST_TRY(state_.ledger.recount_dir(state_, dir.ino, true));
    report({path_of(dir), std::move(what), options_.repair});
    return {};
  }

  State& state_;
  const Context& context_;
  const Options options_;
  std::mutex mutex_;
};

// "/", or "/a/b" without a trailing slash.
std::string tidy(const std::string& path) {
  std::string out;
  for (size_t i = 0; i < path.size();) {
    const size_t from = path.find_first_not_of('/', i);
    if (from == std::string::npos) break;
    const size_t to = std::min(path.find('/', from), path.size());
    out += '/' + path.substr(from, to - from);
    i = to;
  }
  return out.empty() ? "/" : out;
}

}  // namespace

Result<std::vector<Problem>> Meta::check(const Context& context, const std::string& path, const CheckOptions& wanted) {
  State& state = *state_;
  if (wanted.repair) ZEST_TRY(state.writable());
  Checker::Options options{wanted, tidy(path), kRootIno};
  ZEST_ASSIGN(const EntryAttr top, resolve(context, options.top_path));
  if (top.attr.type != FileType::kDirectory) return fail(ENOTDIR);
  const Ino ino = state.map_root(top.ino);
  if (options.top_path != "/") {
    const std::string above = options.top_path.substr(0, options.top_path.rfind('/'));
    ZEST_ASSIGN(const EntryAttr parent, resolve(context, above.empty() ? "/" : above));
    options.top_parent = state.map_root(parent.ino);
  }
  if (!state.options.read_only) ZEST_TRY(state.ledger.flush_dirs(state));
  const bool whole = ino == kRootIno && wanted.recursive;
  Checker checker(state, context, std::move(options));
  WalkOptions walking;
  walking.threads = kThreads;
  walking.cancelled = context.cancelled;
  ZEST_TRY(walk(*state.engine, walking, std::make_shared<WalkDir>(nullptr, ino, ""), checker));
  if (!whole) return std::move(checker.problems);
  std::vector<Problem> orphans;
  ZEST_TRY(check_orphans(*this, context, wanted.repair, orphans));
  for (auto& orphan : orphans) checker.report(std::move(orphan));
  ZEST_ASSIGN(const Counted counted, recount(wanted.repair, nullptr));
  if (counted.used_space != counted.stored_space || counted.total_inodes != counted.stored_inodes)
    checker.report({"/",
                    fmt::format("the volume's counters say {} bytes and {} inodes, there are {} and {}",
                                counted.stored_space, counted.stored_inodes, counted.used_space, counted.total_inodes),
                    wanted.repair});
  return std::move(checker.problems);
}

}  // namespace zest::meta
