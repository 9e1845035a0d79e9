// zestfs fsck: are all blocks of all files there, and does the tree agree with itself? (docs/behaviour/cli.md)
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <bitset>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "base/log.h"
#include "cli/checkpoint.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/slices.h"
#include "cli/terminal.h"
#include "dump/escape.h"
#include "meta/bulk/walk.h"

namespace zest::cli {
namespace {

constexpr size_t kTold = 10'000;  // broken files in the list at the end; all are in the log
constexpr int kThreads = 10;

// Blocks that are not there, by the files that need them.
class Losses {
 public:
  void add(const std::string& key, uint64_t ino, const std::string& path, uint32_t bytes, const Error& error) {
    log_error(fmt::format("can't find block {} for file {}: {}", key, path, error.message()));
    count(ino, path, bytes);
  }
  // One that was told before.
  void count(uint64_t ino, const std::string& path, uint32_t bytes) {
    std::lock_guard lock(mutex_);
    objects_++, bytes_ += bytes;
    if (files_.size() < kTold || files_.contains(ino))
      files_[ino] = path;
    else
      more_ = true;
  }
  bool any() const { return objects_ > 0; }
  std::string text() const {
    auto out = fmt::format("{} objects are lost ({} bytes), {}{} broken files:\n        INODE: PATH\n", objects_,
                           bytes_, more_ ? "more than " : "", files_.size());
    for (auto& [ino, path] : files_) out += fmt::format("{:>13}: {}\n", ino, path);
    return out;
  }
  void put(nlohmann::ordered_json& out) const {
    out["lostBlocks"] = objects_, out["lostBytes"] = bytes_;
    out["brokenFiles"] = nlohmann::ordered_json::array();
    for (auto& [ino, path] : files_) out["brokenFiles"].push_back({{"inode", ino}, {"path", path}});
    if (more_) out["moreBrokenFiles"] = true;
  }

 private:
  std::mutex mutex_;
  uint64_t objects_ = 0, bytes_ = 0;
  bool more_ = false;
  std::map<uint64_t, std::string> files_;
};

// What a check of a path has done: directories checked, with all below them; files and directories whose blocks were
// asked for; what was found. Each finding is written before the inode that it belongs to.
class PathProgress {
 public:
  explicit PathProgress(Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  bool take(std::string_view line, Losses& losses) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object()) return false;
    if (json.contains("tree")) return tree_.add(json.value("tree", uint64_t{0}));
    if (json.contains("blocks")) return blocks_.add(json.value("blocks", uint64_t{0}));
    if (json.contains("checked")) return checked_ = true;
    if (json.contains("lost"))
      return losses.count(json.value("lost", uint64_t{0}), from_text(json), json.value("bytes", 0u)), true;
    if (!json.contains("problem")) return false;
    keep({from_text(json), json.value("problem", ""), json.value("repaired", false)});
    return true;
  }

  bool tree_done(Ino ino) { return tree_.has(raw(ino)); }
  bool blocks_done(Ino ino) { return blocks_.has(raw(ino)); }
  uint64_t inodes() { return tree_.count() + blocks_.count(); }
  bool checked() const { return checked_; }  // the whole tree
  const std::vector<meta::Problem>& problems() const { return problems_; }

  void finish_tree(Ino ino) { note({{"tree", raw(ino)}}); }
  void finish_blocks(Ino ino) { note({{"blocks", raw(ino)}}); }
  void finish_check() { note({{"checked", true}}); }
  void lost(Ino ino, const std::string& path, uint32_t bytes) {
    note({{"lost", raw(ino)}, {"path", text(path)}, {"bytes", bytes}});
  }
  void found(const meta::Problem& problem) {
    std::lock_guard lock(mutex_);
    if (!keep(problem)) return;  // of a directory that an interrupted run did not come to the end of
    note({{"problem", problem.what}, {"path", text(problem.path)}, {"repaired", problem.repaired}});
  }

 private:
  // A bit for each inode, in pages made when touched.
  class Set {
   public:
    bool add(uint64_t ino) {
      std::lock_guard lock(mutex_);
      auto& page = pages_[ino / kPage];
      if (!page) page = std::make_unique<std::bitset<kPage>>();
      count_ += !(*page)[ino % kPage];
      return (*page)[ino % kPage] = true;
    }
    bool has(uint64_t ino) {
      std::lock_guard lock(mutex_);
      auto found = pages_.find(ino / kPage);
      return found != pages_.end() && (*found->second)[ino % kPage];
    }
    uint64_t count() { return count_; }

   private:
    static constexpr size_t kPage = 32768;
    std::mutex mutex_;
    std::unordered_map<uint64_t, std::unique_ptr<std::bitset<kPage>>> pages_;
    uint64_t count_ = 0;
  };

  bool keep(const meta::Problem& problem) {
    if (!told_.emplace(problem.path, problem.what).second) return false;
    problems_.push_back(problem);
    return true;
  }
  // Names are bytes, JSON is not.
  static std::string text(const std::string& path) { return dump::escape(path); }
  static std::string from_text(const nlohmann::json& json) { return dump::unescape(json.value("path", "")); }
  void note(const nlohmann::json& line) { checkpoint_.add(line.dump()); }

  Checkpoint& checkpoint_;
  std::mutex mutex_;
  Set tree_, blocks_;
  bool checked_ = false;
  std::vector<meta::Problem> problems_;
  std::set<std::pair<std::string, std::string>> told_;
};

// Asks for every block of every file that a walk finds.
class BlockChecker : public meta::Visitor {
 public:
  BlockChecker(meta::Meta& meta, object::Storage& store, std::string top, bool recursive, Losses& losses,
               PathProgress& progress, const std::atomic<bool>* cancelled)
      : meta_(meta),
        store_(store),
        top_(std::move(top)),
        recursive_(recursive),
        losses_(losses),
        progress_(progress),
        cancelled_(cancelled) {}

  Result<bool> enter(meta::WalkDir& dir) override {
    dir.with_attr = true;
    return true;
  }

  Result<void> page(const meta::WalkDirPtr& dir, std::vector<meta::DirEntry>& entries,
                    std::vector<meta::WalkDirPtr>& descend) override {
    for (auto& entry : entries) {
      const Ino ino = entry.entry.ino;
      if (*cancelled_) return fail(EINTR);
      if (progress_.blocks_done(ino)) continue;
      if (entry.entry.type == FileType::kDirectory && recursive_)
        descend.push_back(std::make_shared<meta::WalkDir>(dir, ino, entry.name));
      if (entry.entry.type != FileType::kFile || !entry.attr) continue;
      auto above = dir->path();
      ZEST_TRY(check(ino, entry.attr->length,
                     top_ + (top_.ends_with('/') ? "" : "/") + above + (above.empty() ? "" : "/") + entry.name));
    }
    return {};
  }

  Result<bool> leave(const meta::WalkDirPtr& dir) override {
    progress_.finish_blocks(dir->ino);
    return false;
  }

  Result<void> check(Ino ino, uint64_t length, const std::string& path) {
    ZEST_TRY(each_block(meta_, ino, length, [&](const std::string& key, uint32_t bytes) -> Result<void> {
      auto head = store_.head(key);
      checked++;
      if (head) return {};
      losses_.add(key, raw(ino), path, bytes, head.error());
      progress_.lost(ino, path, bytes);
      return {};
    }));
    progress_.finish_blocks(ino);
    return {};
  }

  std::atomic<uint64_t> checked{0};  // blocks

 private:
  meta::Meta& meta_;
  object::Storage& store_;
  const std::string top_;
  const bool recursive_;
  Losses& losses_;
  PathProgress& progress_;
  const std::atomic<bool>* cancelled_;
};

struct FsckCommand {
  std::vector<std::string> args;
  std::string path, repair_dir_mode = "0755";
  bool repair = false, recursive = false, sync_dir_stat = false, json = false;
  Checkpoint::Options checkpointing;

  int run();

 private:
  Result<void> check_path(meta::Meta& meta, const meta::EntryAttr& top, Checkpoint& checkpoint);
  Result<void> check_tree(meta::Meta& meta, PathProgress& progress);
  Result<void> check_path_blocks(meta::Meta& meta, const meta::EntryAttr& top, PathProgress& progress);
  Result<void> check_all_blocks(meta::Meta& meta, Checkpoint& checkpoint);
  Result<void> compare(meta::Meta& meta, object::Storage& store, SliceStream& slices, BlockSort& blocks);
  void lost(meta::Meta& meta, object::Storage& store, const KnownSlice& slice, uint32_t index, uint32_t bytes);
  int report();
  uint16_t dir_mode = 0755;
  Losses losses;
  size_t left = 0;  // problems that were not repaired
  nlohmann::ordered_json out;
  meta::Context context;
};

Result<void> FsckCommand::check_tree(meta::Meta& meta, PathProgress& progress) {
  std::atomic<uint64_t> nodes{0};
  if (!progress.checked()) {
    meta::CheckOptions options;
    options.repair = repair, options.recursive = recursive, options.sync_stats = sync_dir_stat;
    options.dir_mode = dir_mode;
    options.progress = &nodes;
    options.skip = [&](Ino dir) { return progress.tree_done(dir); };
    options.done = [&](Ino dir) { progress.finish_tree(dir); };
    options.found = [&](const meta::Problem& problem) { progress.found(problem); };
    Progress bar("Checked nodes", &nodes, nullptr);
    ZEST_TRY(meta.check(context, path, options));
    progress.finish_check();
  }
  out["checkedDirs"] = nodes.load();
  out["problems"] = nlohmann::ordered_json::array();
  for (auto& problem : progress.problems()) {
    log_warning(fmt::format("{}: {}{}", problem.path, problem.what, problem.repaired ? " (repaired)" : ""));
    out["problems"].push_back({{"path", problem.path}, {"what", problem.what}, {"repaired", problem.repaired}});
    left += !problem.repaired;
  }
  log_info(fmt::format("Checked {} nodes", nodes.load()));
  return {};
}

Result<void> FsckCommand::check_path_blocks(meta::Meta& meta, const meta::EntryAttr& top, PathProgress& progress) {
  ZEST_ASSIGN(auto store, open_volume_storage(meta.format()));
  BlockChecker checker(meta, *store, path, recursive, losses, progress, context.cancelled);
  if (top.attr.is_file()) {
    ZEST_TRY(checker.check(top.ino, top.attr.length, path));
  } else if (top.attr.is_dir()) {
    meta::WalkOptions walking;
    walking.threads = kThreads;
    walking.cancelled = context.cancelled;
    ZEST_TRY(meta::walk(meta.engine(), walking, std::make_shared<meta::WalkDir>(nullptr, top.ino, ""), checker));
  }
  log_info(fmt::format("Checked {} blocks", checker.checked.load()));
  out["checkedBlocks"] = checker.checked.load();
  return {};
}

Result<void> FsckCommand::check_path(meta::Meta& meta, const meta::EntryAttr& top, Checkpoint& checkpoint) {
  PathProgress progress(checkpoint);
  checkpoint.begin([&](std::string_view line) { return progress.take(line, losses); });
  if (progress.inodes() > 0)
    log_info(fmt::format("going on behind {} inodes that were checked before", progress.inodes()));
  if (top.attr.is_dir() || !top.has_attr) ZEST_TRY(check_tree(meta, progress));
  return check_path_blocks(meta, top, progress);
}

// A block that was not listed: it may have come meanwhile, or its slice may be gone with its file.
void FsckCommand::lost(meta::Meta& meta, object::Storage& store, const KnownSlice& slice, uint32_t index,
                       uint32_t bytes) {
  auto key = block_key(meta.format(), SliceId{slice.id}, index, bytes);
  auto head = store.head(key);
  if (head) return;
  bool in_use = false;
  auto looked =
      meta.engine().scan(meta::Table::kChunks, slice.owner, [&](const meta::Key& at, const meta::Value& value) {
        if (auto* records = std::get_if<std::string>(&value); records && at.a == slice.owner)
          if (auto decoded = decode_slices(*records))
            for (auto& record : *decoded) in_use |= raw(record.id) == slice.id;
        return !in_use;
      });
  if (looked && !in_use) return;
  auto paths = meta.paths({}, Ino{slice.owner});
  losses.add(key, slice.owner, paths && !paths->empty() ? paths->front() : "(unlinked)", bytes, head.error());
}

// Both in the order of slice and index: one pass over each.
Result<void> FsckCommand::compare(meta::Meta& meta, object::Storage& store, SliceStream& slices, BlockSort& blocks) {
  const uint32_t block_size = meta.format().block_size();
  uint64_t used = 0, used_bytes = 0;
  ZEST_ASSIGN(auto block, blocks.next());
  while (true) {
    ZEST_ASSIGN(auto slice, slices.next());
    if (!slice) break;
    if (slice->state != SliceState::kUsed) continue;
    used++, used_bytes += slice->size;
    for (uint32_t index = 0; uint32_t bytes = block_bytes(block_size, slice->size, index); index++) {
      if (*context.cancelled) return fail(EINTR);
      bool found = false;
      while (block && (block->slice < slice->id || (block->slice == slice->id && block->index <= index))) {
        found |= block->slice == slice->id && block->index == index && block->bytes == bytes;
        ZEST_ASSIGN(block, blocks.next());
      }
      if (!found) lost(meta, store, *slice, index, bytes);
    }
  }
  log_info(fmt::format("Used by {} slices ({} bytes)", used, used_bytes));
  out["usedSlices"] = used, out["usedBytes"] = used_bytes;
  return {};
}

Result<void> FsckCommand::check_all_blocks(meta::Meta& meta, Checkpoint& checkpoint) {
  ZEST_ASSIGN(auto store, open_volume_storage(meta.format()));
  // The metadata is read first, also when a listing goes on: a block that is listed afterwards is there for every slice
  // that was read, and one that came after its part of the listing is asked for by name.
  SliceStream slices;
  ZEST_TRY(slices.read(meta, context.cancelled));
  BlockSort blocks;
  std::atomic<uint64_t> found{0}, found_bytes{0};
  {
    Progress progress("Found blocks", &found, nullptr);
    ZEST_TRY(read_blocks(*store, meta.format(), blocks, found, found_bytes, checkpoint, context.cancelled));
  }
  log_info(fmt::format("Found {} blocks ({} bytes)", found.load(), found_bytes.load()));
  out["foundBlocks"] = found.load(), out["foundBytes"] = found_bytes.load();
  return compare(meta, *store, slices, blocks);
}

int FsckCommand::report() {
  if (json) {
    losses.put(out);
    fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  if (losses.any()) return complain(losses.text());
  return left ? complain("some errors occurred, please check the log of fsck") : 0;
}

int FsckCommand::run() {
  if (repair && path.empty()) return complain("Please provide the path to repair with `--path` option");
  char* end = nullptr;
  auto mode = strtoul(repair_dir_mode.c_str(), &end, 8);
  if (repair_dir_mode.empty() || *end || mode > 07777)
    return complain(fmt::format("invalid repair-dir-mode: {} is no octal mode", repair_dir_mode));
  dir_mode = static_cast<uint16_t>(mode);
  if (!path.empty() && !path.starts_with('/')) return complain("File path should be the absolute path within JuiceFS");
  context.cancelled = watch_interrupts();
  auto opened = open_volume(args[0], {});
  if (!opened) return complain("", opened.error());
  auto& meta = **opened;
  const auto top = path.empty() ? Result<meta::EntryAttr>{} : meta.resolve(context, path);
  if (!top) return complain("check " + path, top.error());
  std::string scan = path.empty() ? meta.format().bucket : path;
  for (auto& [option, on] : {std::pair{"repair", repair}, {"recursive", recursive}, {"stat", sync_dir_stat}})
    if (on) scan += fmt::format(" {}", option);
  Checkpoint checkpoint(checkpointing, meta.format().uuid, "fsck", dump::escape(scan));
  auto done = path.empty() ? check_all_blocks(meta, checkpoint) : check_path(meta, *top, checkpoint);
  if (!done) {
    checkpoint.keep();
    return complain(path.empty() ? "fsck" : "check " + path, done.error());
  }
  checkpoint.finish();
  return report();
}

}  // namespace

Runner setup_fsck(CLI::App& app) {
  auto command = std::make_shared<FsckCommand>();
  positionals(app, command->args, 1, 1);
  app.add_option("--path", command->path, "check this directory and its files instead of all blocks");
  app.add_flag("--repair", command->repair, "repair what is wrong with it");
  app.add_flag("--recursive,-r", command->recursive, "and all directories below it");
  app.add_option("--repair-dir-mode", command->repair_dir_mode,
                 "mode of directories whose attributes were lost, octal");
  app.add_flag("--sync-dir-stat", command->sync_dir_stat, "compare the statistics of directories with a count, too");
  app.add_flag("--json", command->json, "print what was found as JSON");
  Checkpoint::add_options(app, command->checkpointing);
  return [command] { return command->run(); };
}

}  // namespace zest::cli
