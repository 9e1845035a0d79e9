// zestfs fsck: are all blocks of all files there, and does the tree agree with itself? (docs/behaviour/cli.md)
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <unordered_set>

#include "base/log.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/slices.h"
#include "cli/terminal.h"

namespace zest::cli {
namespace {

struct FsckCommand {
  std::vector<std::string> args;
  std::string path, repair_dir_mode = "0755";
  bool repair = false, recursive = false, sync_dir_stat = false;

  int run();
  int check_tree(meta::Meta& meta);
  int check_blocks(meta::Meta& meta);
};

// What a block is found by in the listing: slice id and index.
struct BlockId {
  uint64_t slice;
  uint32_t index;
  friend auto operator<=>(const BlockId&, const BlockId&) = default;
};

int FsckCommand::check_tree(meta::Meta& meta) {
  if (!path.starts_with('/')) return complain("File path should be the absolute path within JuiceFS");
  std::atomic<uint64_t> nodes{0};
  meta::Context context;
  context.cancelled = watch_interrupts();
  auto problems = [&] {
    Progress progress("Checked nodes", &nodes, nullptr);
    return meta.check(context, path, repair, recursive, sync_dir_stat, &nodes);
  }();
  if (!problems) return complain(fmt::format("check {}", path), problems.error());
  size_t left = 0;
  for (auto& problem : *problems) {
    log_warning(fmt::format("{}: {}{}", problem.path, problem.what, problem.repaired ? " (repaired)" : ""));
    left += !problem.repaired;
  }
  if (path == "/" && recursive) {
    auto counted = meta.recount(repair, &nodes);
    if (!counted) return complain("count the volume", counted.error());
    bool wrong = counted->used_space != counted->stored_space || counted->total_inodes != counted->stored_inodes;
    if (wrong) {
      log_warning(fmt::format("the volume's counters say {} bytes and {} inodes, there are {} and {}{}",
                              counted->stored_space, counted->stored_inodes, counted->used_space, counted->total_inodes,
                              repair ? " (repaired)" : ""));
      left += !repair;
    }
  }
  log_info(fmt::format("Checked {} nodes", nodes.load()));
  return left ? complain("some errors occurred, please check the log of fsck") : 0;
}

int FsckCommand::check_blocks(meta::Meta& meta) {
  auto store = open_volume_storage(meta.format());
  if (!store) return complain("cannot open the storage", store.error());
  auto format = meta.format();
  const auto* cancelled = watch_interrupts();
  // The metadata is read first: a block that is listed afterwards is there for every slice that was read.
  auto slices = SliceTable::read(meta);
  if (!slices) return complain("cannot read the slices", slices.error());
  std::vector<BlockId> blocks;
  std::atomic<uint64_t> found{0};
  uint64_t found_bytes = 0;
  {
    Progress progress("Found blocks", &found, nullptr);
    auto listed = object::list_all(**store, "chunks/", [&](const object::ObjectInfo& object) {
      SliceId id;
      uint32_t index, bytes;
      if (!object.is_dir && parse_block_key(object.key, id, index, bytes)) {
        blocks.push_back({raw(id), index});
        found++, found_bytes += bytes;
      }
      return !*cancelled;
    });
    if (!listed) return complain("cannot list the blocks", listed.error());
    if (*cancelled) return complain("interrupted");
  }
  log_info(fmt::format("Found {} blocks ({} bytes)", found.load(), found_bytes));
  std::sort(blocks.begin(), blocks.end());
  uint64_t used = 0, used_bytes = 0, lost = 0, lost_bytes = 0;
  std::map<uint64_t, std::string> broken;
  for (auto& slice : slices->all()) {
    if (slice.state != SliceState::kUsed) continue;
    used++, used_bytes += slice.size;
    for (uint32_t index = 0; uint32_t bytes = block_bytes(format.block_size(), slice.size, index); index++) {
      if (*cancelled) return complain("interrupted");
      if (std::binary_search(blocks.begin(), blocks.end(), BlockId{slice.id, index})) continue;
      auto key = block_key(format, SliceId{slice.id}, index, bytes);
      auto head = (*store)->head(key);
      if (head) continue;
      // the slice may have been compacted away while we listed
      auto& name = broken[slice.owner];
      if (name.empty()) {
        auto paths = meta.paths({}, Ino{slice.owner});
        name = paths && !paths->empty() ? paths->front() : "(unlinked)";
      }
      log_error(fmt::format("can't find block {} for file {}: {}", key, name, head.error().message()));
      lost++, lost_bytes += bytes;
    }
  }
  log_info(fmt::format("Used by {} slices ({} bytes)", used, used_bytes));
  if (!lost) return 0;
  std::string text = fmt::format("{} objects are lost ({} bytes), {} broken files:\n        INODE: PATH\n", lost,
                                 lost_bytes, broken.size());
  for (auto& [ino, name] : broken) text += fmt::format("{:>13}: {}\n", ino, name);
  return complain(text);
}

int FsckCommand::run() {
  if (repair && path.empty()) return complain("Please provide the path to repair with `--path` option");
  auto opened = open_volume(args[0], {});
  if (!opened) return complain("", opened.error());
  return path.empty() ? check_blocks(**opened) : check_tree(**opened);
}

}  // namespace

Runner setup_fsck(CLI::App& app) {
  auto command = std::make_shared<FsckCommand>();
  positionals(app, command->args, 1, 1);
  app.add_option("--path", command->path, "check this directory instead of all blocks");
  app.add_flag("--repair", command->repair, "repair what is wrong with it");
  app.add_flag("--recursive,-r", command->recursive, "and all directories below it");
  app.add_option("--repair-dir-mode", command->repair_dir_mode,
                 "mode of directories whose attributes were lost, octal");
  app.add_flag("--sync-dir-stat", command->sync_dir_stat, "compare the statistics of directories with a count, too");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
