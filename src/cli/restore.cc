// zestfs restore: moves what was removed in some hour back out of the trash (semantics.md section 11).
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <mutex>
#include <random>

#include "base/log.h"
#include "base/threads.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/terminal.h"

namespace zest::cli {
namespace {

struct RestoreCommand {
  std::vector<std::string> args;
  bool put_back = false;
  int threads = 10;

  int run();
  const std::atomic<bool>* cancelled = nullptr;
  void restore_hour(meta::Meta& meta, const std::string& hour);
};

void RestoreCommand::restore_hour(meta::Meta& meta, const std::string& hour) {
  log_info(fmt::format("restore files in {} ...", hour));
  meta::Context root;
  auto found = meta.lookup(root, kTrashIno, hour);
  if (!found) return void(complain(fmt::format("lookup {}", hour), found.error()));
  auto entries = meta.readdir(root, found->ino, false);
  if (!entries) return void(complain(fmt::format("list {}", hour), entries.error()));
  // directories that are themselves in this hour: without --put-back only their content is moved back below them
  std::vector<Ino> dirs;
  for (auto& entry : *entries)
    if (entry.entry.type == FileType::kDirectory) dirs.push_back(entry.entry.ino);
  std::sort(dirs.begin(), dirs.end());
  std::shuffle(entries->begin(), entries->end(), std::mt19937_64(std::random_device{}()));
  std::mutex mutex;
  std::vector<Ino> restored_dirs;
  std::atomic<uint64_t> restored{0}, skipped{0}, failed{0}, done{0}, total{entries->size()};
  Progress progress("restore", &done, &total);
  ThreadPool pool("restore", static_cast<size_t>(std::max(threads, 1)), 10'000);
  for (auto& entry : *entries) {
    if (*cancelled) break;
    pool.submit([&] {
      Ino parent, ino;
      std::string name;
      done++;
      if (!parse_trash_entry(entry.name, parent, ino, name)) return void(skipped++);
      if (!put_back && !std::binary_search(dirs.begin(), dirs.end(), parent)) return void(skipped++);
      auto moved =
          meta.rename(root, found->ino, entry.name, parent, name, meta::kRenameNoReplace | meta::kRenameRestore);
      if (moved) {
        restored++;
        std::lock_guard lock(mutex);
        if (moved->attr.is_dir()) restored_dirs.push_back(moved->ino);
        return;
      }
      failed++;
      log_warning(fmt::format("cannot restore {}: {}", entry.name, moved.error().message()));
    });
  }
  pool.drain();
  // a removed directory has lost its statistics: they are counted anew once its content is back
  if (auto flushed = meta.flush_ledgers(); !flushed)
    log_warning("cannot write the statistics: " + flushed.error().message());
  for (auto dir : restored_dirs)
    if (auto counted = meta.dir_stat(dir); !counted)
      log_warning("cannot count a directory: " + counted.error().message());
  log_info(fmt::format("restored {} files in {}", restored.load(), hour));
  if (skipped)
    log_info(fmt::format("left {} files in the trash{}", skipped.load(),
                         put_back ? "" : ": add --put-back to move them to where they were"));
  if (failed) log_warning(fmt::format("{} files could not be restored", failed.load()));
}

int RestoreCommand::run() {
  if (geteuid() != 0) return complain("only root can restore files from trash");
  auto opened = open_volume(args[0], {});
  if (!opened) return complain("", opened.error());
  cancelled = watch_interrupts();
  for (size_t i = 1; i < args.size() && !*cancelled; i++) restore_hour(**opened, args[i]);
  if (auto flushed = (*opened)->flush_ledgers(); !flushed)
    return complain("cannot write the statistics", flushed.error());
  return *cancelled ? complain("interrupted; what was restored stays, run it again to go on") : 0;
}

}  // namespace

Runner setup_restore(CLI::App& app) {
  auto command = std::make_shared<RestoreCommand>();
  positionals(app, command->args, 2, 1000);
  app.add_flag("--put-back", command->put_back, "move files to the directories they were removed from");
  app.add_option("--threads", command->threads, "files moved at once");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
