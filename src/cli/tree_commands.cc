// zestfs rmr, clone, compact: work on whole trees, done by the mount.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "base/bytes.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/control_client.h"
#include "cli/terminal.h"

namespace zest::cli {
namespace {

std::string parent_of(const std::string& path) { return std::filesystem::path(path).parent_path().string(); }
std::string name_of(const std::string& path) { return std::filesystem::path(path).filename().string(); }

struct RmrCommand {
  std::vector<std::string> args;
  bool skip_trash = false;
  unsigned threads = 50;
  int run();
};

int RmrCommand::run() {
  if (skip_trash && geteuid() != 0) return complain("Only root can remove files directly");
  for (auto& arg : args) {
    auto path = absolute_path(arg);
    auto parent = inode_of(parent_of(path));
    if (!parent) return complain("RMR " + arg, parent.error());
    auto control = ControlClient::open(parent_of(path));
    if (!control) {
      complain("Open control file for " + parent_of(path), control.error());
      continue;
    }
    auto name = name_of(path);
    if (name.size() > 255) return complain("RMR " + arg, Error{ENAMETOOLONG, Fault::kPlain, {}});
    std::string body;
    put_be64(body, *parent);
    put_u8(body, static_cast<uint8_t>(name.size()));
    body += name;
    put_u8(body, skip_trash);
    put_u8(body, static_cast<uint8_t>(std::clamp(threads, 1u, 255u)));
    ControlClient::Progress counts;
    Progress progress("Removed entries", &counts.a, nullptr);
    auto done = control->request(op::kRmr, body, &counts, watch_interrupts());
    if (!done) return complain("RMR " + arg, done.error());
  }
  return 0;
}

struct CloneCommand {
  std::vector<std::string> args;
  bool preserve = false;
  unsigned threads = 4;
  int run();
};

int CloneCommand::run() {
  auto src = absolute_path(args[0]), dst = absolute_path(args[1]);
  if (args[1].ends_with('/')) dst += "/" + name_of(src);
  auto src_ino = inode_of(src);
  if (!src_ino) return complain("lookup inode for " + src, src_ino.error());
  auto src_parent = inode_of(parent_of(src)), dst_parent = inode_of(parent_of(dst));
  if (!src_parent) return complain("lookup inode for " + parent_of(src), src_parent.error());
  if (!dst_parent) return complain("lookup inode for " + parent_of(dst), dst_parent.error());
  if (inode_of(dst)) return complain(dst + " already exists");
  auto src_mount = mount_root_of(src), dst_mount = mount_root_of(parent_of(dst));
  if (!src_mount) return complain(src + " is not inside JuiceFS");
  if (!dst_mount) return complain(dst + " is not inside JuiceFS");
  if (*src_mount != *dst_mount) return complain("the clone DST path should be at the same mount point as the SRC path");
  if (dst.starts_with(src + "/")) return complain("the clone DST path should not be under the SRC path");
  auto control = ControlClient::open(parent_of(dst));
  if (!control) return complain("", control.error());
  auto name = name_of(dst);
  if (name.size() > 255) return complain("clone failed", Error{ENAMETOOLONG, Fault::kPlain, {}});
  mode_t mask = umask(0);
  umask(mask);
  std::string body;
  put_be64(body, *src_ino);
  put_be64(body, *src_parent);
  put_be64(body, *dst_parent);
  put_u8(body, static_cast<uint8_t>(name.size()));
  body += name;
  put_be16(body, static_cast<uint16_t>(mask));
  put_u8(body, preserve ? 0x02 : 0);
  put_u8(body, static_cast<uint8_t>(std::clamp(threads, 1u, 255u)));
  ControlClient::Progress counts;
  Progress progress("Cloning entries", &counts.a, &counts.b);
  auto done = control->request(op::kClone, body, &counts, watch_interrupts());
  return done ? 0 : complain("clone failed", done.error());
}

struct CompactCommand {
  std::vector<std::string> args;
  unsigned threads = 10;
  int run();
};

int CompactCommand::run() {
  for (auto& path : args) {
    auto ino = inode_of(absolute_path(path));
    if (!ino) {
      complain("lookup inode for " + path, ino.error());
      continue;
    }
    auto control = ControlClient::open(path);
    if (!control) {
      complain("", control.error());
      continue;
    }
    std::string body;
    put_be64(body, *ino);
    put_be16(body, static_cast<uint16_t>(std::clamp(threads, 1u, 65535u)));
    ControlClient::Progress counts;
    Progress progress("Compacted chunks", &counts.b, &counts.a);
    auto done = control->request(op::kCompact, body, &counts, watch_interrupts());
    if (!done) return complain(fmt::format("compact [{}:{}]", *ino, path), done.error());
    log_info(fmt::format("compact [{}:{}] success.", *ino, path));
  }
  return 0;
}

}  // namespace

Runner setup_rmr(CLI::App& app) {
  auto command = std::make_shared<RmrCommand>();
  positionals(app, command->args, 1, 100'000);
  app.add_flag("--skip-trash", command->skip_trash, "remove at once instead of moving to the trash (root only)");
  app.add_option("--threads,-p", command->threads, "directories removed at once, 255 at most");
  return [command] { return command->run(); };
}

Runner setup_clone(CLI::App& app) {
  auto command = std::make_shared<CloneCommand>();
  positionals(app, command->args, 2, 2);
  app.add_flag("--preserve,-p", command->preserve, "keep owner, mode and times");
  app.add_option("--threads", command->threads, "directories cloned at once, 255 at most");
  return [command] { return command->run(); };
}

Runner setup_compact(CLI::App& app) {
  auto command = std::make_shared<CompactCommand>();
  positionals(app, command->args, 1, 100'000);
  app.add_option("--threads,-p", command->threads, "chunks compacted at once");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
