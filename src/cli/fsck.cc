// zestfs fsck: are all blocks of all files there, and does the tree agree with itself? (docs/behaviour/cli.md)
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <mutex>
#include <set>

#include "base/log.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/slices.h"
#include "cli/terminal.h"
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

 private:
  std::mutex mutex_;
  uint64_t objects_ = 0, bytes_ = 0;
  bool more_ = false;
  std::map<uint64_t, std::string> files_;
};

// Asks for every block of every file that a walk finds.
class BlockChecker : public meta::Visitor {
 public:
  BlockChecker(meta::Meta& meta, object::Storage& store, std::string top, bool recursive, Losses& losses)
      : meta_(meta), store_(store), top_(std::move(top)), recursive_(recursive), losses_(losses) {}

  Result<bool> enter(meta::WalkDir& dir) override {
    dir.with_attr = true;
    return true;
  }

  Result<void> page(const meta::WalkDirPtr& dir, std::vector<meta::DirEntry>& entries,
                    std::vector<meta::WalkDirPtr>& descend) override {
    for (auto& entry : entries) {
      if (entry.entry.type == FileType::kDirectory && recursive_)
        descend.push_back(std::make_shared<meta::WalkDir>(dir, entry.entry.ino, entry.name));
      if (entry.entry.type != FileType::kFile || !entry.attr) continue;
      auto above = dir->path();
      ZEST_TRY(check(entry.entry.ino, entry.attr->length,
                     top_ + (top_.ends_with('/') ? "" : "/") + above + (above.empty() ? "" : "/") + entry.name));
    }
    return {};
  }

  Result<void> check(Ino ino, uint64_t length, const std::string& path) {
    auto format = meta_.format();
    std::set<std::pair<SliceId, uint32_t>> slices;
    for (ChunkIndex chunk = 0; chunk * kChunkSize < length; chunk++) {
      ZEST_ASSIGN(auto view, meta_.read_chunk(ino, chunk));
      for (auto& piece : view.pieces)
        if (raw(piece.id)) slices.emplace(piece.id, piece.size);
    }
    for (auto& [id, size] : slices)
      for (uint32_t index = 0; uint32_t bytes = block_bytes(format.block_size(), size, index); index++) {
        auto key = block_key(format, id, index, bytes);
        if (auto head = store_.head(key); !head) losses_.add(key, raw(ino), path, bytes, head.error());
      }
    return {};
  }

 private:
  meta::Meta& meta_;
  object::Storage& store_;
  const std::string top_;
  const bool recursive_;
  Losses& losses_;
};

struct FsckCommand {
  std::vector<std::string> args;
  std::string path, repair_dir_mode = "0755";
  bool repair = false, recursive = false, sync_dir_stat = false;

  int run();

 private:
  int check_path(meta::Meta& meta);
  Result<size_t> check_tree(meta::Meta& meta);  // problems that are left
  Result<void> check_path_blocks(meta::Meta& meta, const meta::EntryAttr& top);
  int check_all_blocks(meta::Meta& meta);
  Result<void> compare(meta::Meta& meta, object::Storage& store, SliceStream& slices, BlockSort& blocks);
  void lost(meta::Meta& meta, object::Storage& store, const KnownSlice& slice, uint32_t index, uint32_t bytes);
  uint16_t dir_mode = 0755;
  Losses losses;
  meta::Context context;
};

Result<size_t> FsckCommand::check_tree(meta::Meta& meta) {
  std::atomic<uint64_t> nodes{0};
  meta::CheckOptions options;
  options.repair = repair, options.recursive = recursive, options.sync_stats = sync_dir_stat;
  options.dir_mode = dir_mode;
  options.progress = &nodes;
  Progress progress("Checked nodes", &nodes, nullptr);
  ZEST_ASSIGN(auto problems, meta.check(context, path, options));
  size_t left = 0;
  for (auto& problem : problems) {
    log_warning(fmt::format("{}: {}{}", problem.path, problem.what, problem.repaired ? " (repaired)" : ""));
    left += !problem.repaired;
  }
  log_info(fmt::format("Checked {} nodes", nodes.load()));
  return left;
}

Result<void> FsckCommand::check_path_blocks(meta::Meta& meta, const meta::EntryAttr& top) {
  ZEST_ASSIGN(auto store, open_volume_storage(meta.format()));
  BlockChecker checker(meta, *store, path, recursive, losses);
  if (top.attr.is_file()) return checker.check(top.ino, top.attr.length, path);
  if (!top.attr.is_dir()) return {};
  meta::WalkOptions walking;
  walking.threads = kThreads;
  walking.cancelled = context.cancelled;
  return meta::walk(meta.engine(), walking, std::make_shared<meta::WalkDir>(nullptr, top.ino, ""), checker);
}

int FsckCommand::check_path(meta::Meta& meta) {
  if (!path.starts_with('/')) return complain("File path should be the absolute path within JuiceFS");
  auto top = meta.resolve(context, path);
  if (!top) return complain(fmt::format("check {}", path), top.error());
  size_t left = 0;
  if (top->attr.is_dir() || !top->has_attr) {
    auto checked = check_tree(meta);
    if (!checked) return complain(fmt::format("check {}", path), checked.error());
    left = *checked;
  }
  if (auto checked = check_path_blocks(meta, *top); !checked)
    return complain(fmt::format("check the blocks of {}", path), checked.error());
  if (losses.any()) return complain(losses.text());
  return left ? complain("some errors occurred, please check the log of fsck") : 0;
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
  return {};
}

int FsckCommand::check_all_blocks(meta::Meta& meta) {
  auto store = open_volume_storage(meta.format());
  if (!store) return complain("cannot open the storage", store.error());
  // The metadata is read first: a block that is listed afterwards is there for every slice that was read.
  SliceStream slices;
  if (auto read = slices.read(meta, context.cancelled); !read) return complain("cannot read the slices", read.error());
  BlockSort blocks;
  std::atomic<uint64_t> found{0}, found_bytes{0};
  {
    Progress progress("Found blocks", &found, nullptr);
    if (auto listed = read_blocks(**store, meta.format(), blocks, found, found_bytes, context.cancelled); !listed)
      return complain("cannot list the blocks", listed.error());
  }
  log_info(fmt::format("Found {} blocks ({} bytes)", found.load(), found_bytes.load()));
  if (auto compared = compare(meta, **store, slices, blocks); !compared) return complain("fsck", compared.error());
  return losses.any() ? complain(losses.text()) : 0;
}

int FsckCommand::run() {
  if (repair && path.empty()) return complain("Please provide the path to repair with `--path` option");
  char* end = nullptr;
  auto mode = strtoul(repair_dir_mode.c_str(), &end, 8);
  if (repair_dir_mode.empty() || *end || mode > 07777)
    return complain(fmt::format("invalid repair-dir-mode: {} is no octal mode", repair_dir_mode));
  dir_mode = static_cast<uint16_t>(mode);
  context.cancelled = watch_interrupts();
  auto opened = open_volume(args[0], {});
  if (!opened) return complain("", opened.error());
  return path.empty() ? check_all_blocks(**opened) : check_path(**opened);
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
  return [command] { return command->run(); };
}

}  // namespace zest::cli
