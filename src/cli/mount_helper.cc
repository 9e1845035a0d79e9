// What mount(8) calls for volumes in fstab and on its command line: "mount.zestfs SOURCE DIR [-sfnvrw] [-o OPTIONS]".
// Options of ours become flags of `mount`, the rest stays in its -o (docs/behaviour/cli.md).
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/log.h"
#include "cli/command.h"
#include "cli/fstab.h"
#include "cli/mount_files.h"
#include "cli/mount_options.h"
#include "cli/mount_point.h"
#include "cli/open.h"

namespace zest::cli {

Runner setup_mount(CLI::App& app);  // mount.cc

namespace {

constexpr int kFailed = 32;  // mount(8): "mount failure"

// Options that the kernel can change under a mount.
struct KernelOption {
  const char *on, *off;       // null: there is none
  unsigned long mount, stat;  // MS_ and ST_ bits; 0: statvfs(3) does not tell
};
constexpr KernelOption kKernelOptions[] = {
    {"ro", "rw", MS_RDONLY, ST_RDONLY},
    {"nosuid", "suid", MS_NOSUID, ST_NOSUID},
    {"nodev", "dev", MS_NODEV, ST_NODEV},
    {"noexec", "exec", MS_NOEXEC, ST_NOEXEC},
    {"sync", "async", MS_SYNCHRONOUS, ST_SYNCHRONOUS},
    {"noatime", "atime", MS_NOATIME, ST_NOATIME},
    {"nodiratime", "diratime", MS_NODIRATIME, ST_NODIRATIME},
    {"relatime", "norelatime", MS_RELATIME, ST_RELATIME},
    {"strictatime", "nostrictatime", MS_STRICTATIME, 0},
    {"dirsync", nullptr, MS_DIRSYNC, 0},
};

bool is_ours(const std::string& option) {
  auto flags = flags_of_fstab(option);
  return !flags.empty() && flags[0].starts_with("--");
}

// The kernel's part of a mount: the process that serves it has nothing to do with it, unless it can change nothing.
Result<void> remount(const std::string& point, const std::string& list) {
  struct statvfs now {};
  if (!is_mount_point(point)) return fail(EINVAL, point + " is not mounted");
  if (statvfs(point.c_str(), &now) != 0) return fail(errno, point);
  unsigned long flags = 0;
  for (auto& option : kKernelOptions)
    if (now.f_flag & option.stat) flags |= option.mount;
  bool others = false;
  std::stringstream items(list);
  for (std::string item; std::getline(items, item, ',');) {
    auto is_named = [&](const KernelOption& option) { return item == option.on || (option.off && item == option.off); };
    auto option = std::ranges::find_if(kKernelOptions, is_named);
    if (option == std::end(kKernelOptions))
      others = others || is_ours(item);
    else
      flags = item == option->on ? flags | option->mount : flags & ~option->mount;
  }
  auto config = read_mount_config(point);
  if (!(flags & MS_RDONLY) && config.contains("Meta") && config["Meta"].value("ReadOnly", false))
    return fail(EROFS, fmt::format("{} was mounted read-only: unmount it and mount it again to write to it", point));
  if (mount("none", point.c_str(), nullptr, MS_REMOUNT | flags, nullptr) != 0)
    return fail(errno, errno == EBUSY ? point + ": files are open for writing" : "cannot remount " + point);
  if (others) log_info("other options than the kernel's stay what they were when the volume was mounted");
  return {};
}

// Is this volume mounted there already? "mount -a" asks for it each time.
bool is_served(const std::string& url, const std::string& point) {
  auto served = prepare_mount_point(point, false);
  if (!served || !*served) return false;
  auto config = read_mount_config(point);
  if (!config.contains("Format")) return false;
  meta::Options options;
  options.read_only = true;
  auto volume = open_volume(absolute_url(url), options);
  return volume && (*volume)->format().uuid == config["Format"].value("UUID", "");
}

int run_mount(const std::vector<std::string>& args, const std::string& list) {
  auto argv = flags_of_fstab(list);
  argv.insert(argv.begin(), {"-d"});
  argv.insert(argv.end(), args.begin(), args.end());
  CLI::App app;
  auto run = setup_mount(app);
  try {
    app.parse(std::vector<std::string>(argv.rbegin(), argv.rend()));
  } catch (const CLI::ParseError& error) {
    return complain(error.what());
  }
  return run();
}

}  // namespace

Runner setup_mount_helper(CLI::App& app) {
  struct Given {
    std::vector<std::string> args, lists;
    std::string type;
    bool fake = false, read_only = false, ignored = false;
  };
  auto given = std::make_shared<Given>();
  positionals(app, given->args, 2, 2);
  app.add_option("-o", given->lists)->allow_extra_args(false);
  app.add_option("-t", given->type);
  app.add_flag("-f", given->fake);
  app.add_flag("-r", given->read_only);
  for (const char* flag : {"-s", "-n", "-w"}) app.add_flag(flag, given->ignored);
  return [given] {
    std::string list = given->read_only ? "ro" : "";
    for (auto& part : given->lists) list += (list.empty() ? "" : ",") + part;
    const auto& point = given->args[1];
    if (given->fake) return 0;
    if (("," + list + ",").find(",remount,") != std::string::npos) {
      auto done = remount(point, list);
      return done ? 0 : (complain("", done.error()), kFailed);
    }
    if (is_served(given->args[0], point)) {
      log_info(fmt::format("the volume is already mounted on {}", point));
      return 0;
    }
    return run_mount(given->args, list) == 0 ? 0 : kFailed;
  };
}

}  // namespace zest::cli
