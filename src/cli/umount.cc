// zestfs umount (docs/behaviour/cli.md).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/log.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/mount_files.h"
#include "cli/mount_point.h"
#include "cli/terminal.h"

namespace zest::cli {
namespace {

struct UmountCommand {
  std::vector<std::string> args;
  bool force = false, flush = false;

  int run();
  Result<void> wait_for_staged(const std::string& point);
};

struct Staged {
  uint64_t blocks = 0, bytes = 0;
};

Staged count_staged(const std::vector<std::string>& dirs) {
  Staged staged;
  for (auto& dir : dirs) {
    std::error_code error;
    for (std::filesystem::recursive_directory_iterator it(dir + "/rawstaging", error), end; !error && it != end;
         it.increment(error)) {
      std::error_code gone;
      if (!it->is_regular_file(gone) || it->path().extension() == ".tmp") continue;
      staged.blocks++;
      staged.bytes += it->file_size(gone);
    }
  }
  return staged;
}

// Blocks staged by --writeback are uploaded while the mount still works.
Result<void> UmountCommand::wait_for_staged(const std::string& point) {
  auto config = read_mount_config(point);
  if (!config.contains("Chunk")) return fail(EINVAL, fmt::format("{} is not a JuiceFS mount point", point));
  auto& chunk = config["Chunk"];
  if (!chunk.value("Writeback", false)) return {};
  std::vector<std::string> dirs;
  std::stringstream list(chunk.value("CacheDir", ""));
  for (std::string dir; std::getline(list, dir, ':');) dirs.push_back(dir);
  auto* interrupted = watch_interrupts();
  auto started = std::chrono::steady_clock::now();
  while (true) {
    auto staged = count_staged(dirs);
    if (staged.blocks == 0) break;
    if (*interrupted) return fail(EINTR, fmt::format("{} staging chunks are not flushed", staged.blocks));
    auto seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - started).count();
    fmt::print("{} staging chunks are being flushed ({}), {} s\r", staged.blocks, format_size(staged.bytes), seconds);
    std::fflush(stdout);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  fmt::print("All staging chunks are flushed\n");
  return {};
}

int UmountCommand::run() {
  std::error_code ignored;
  auto point = std::filesystem::absolute(args[0], ignored).lexically_normal().string();
  while (point.size() > 1 && point.ends_with('/')) point.pop_back();
  if (flush)
    if (auto done = wait_for_staged(point); !done) return complain("", done.error());
  if (auto done = unmount(point, force); !done) return complain("", done.error());
  return 0;
}

}  // namespace

Runner setup_umount(CLI::App& app) {
  auto command = std::make_shared<UmountCommand>();
  positionals(app, command->args, 1, 1);
  app.add_flag("--force,-f", command->force, "unmount even while it is in use");
  app.add_flag("--flush", command->flush, "wait until everything staged is uploaded");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
