#include "cli/fstab.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "cli/mount_options.h"

namespace zest::cli {
namespace {

const std::set<std::string> kIgnored = {"_netdev", "rw",     "defaults", "background", "nofail",
                                        "auto",    "noauto", "user",     "users",      "nouser",
                                        "owner",   "group",  "d",        "silent",     "loud"};

struct Known {
  std::set<std::string> flags, values;
};

// Long names of the options of mount: without and with a value.
const Known& known() {
  static const Known all = [] {
    Known out;
    MountOptions options;
    CLI::App app;
    add_mount_options(app, options);
    for (auto* option : app.get_options())
      for (auto& name : option->get_lnames())
        (option->get_items_expected_max() == 0 ? out.flags : out.values).insert(name);
    return out;
  }();
  return all;
}

// Of udisks, systemd and mount(8) itself.
bool is_for_others(const std::string& item) {
  for (const char* begin : {"x-", "X-", "comment=", "user=", "helper=", "uhelper="})
    if (item.starts_with(begin)) return true;
  return false;
}

std::string real_name(std::string name) {
  if (name == "attrcacheto") return "attr-cache";
  if (name == "entrycacheto") return "entry-cache";
  if (name == "direntrycacheto") return "dir-entry-cache";
  return name;
}

}  // namespace

std::vector<std::string> flags_of_fstab(const std::string& list) {
  std::vector<std::string> out;
  std::string rest;
  std::stringstream items(list);
  for (std::string item; std::getline(items, item, ',');) {
    if (item.empty() || kIgnored.contains(item) || is_for_others(item)) continue;
    auto equals = item.find('=');
    auto name = real_name(item.substr(0, equals));
    if (known().flags.contains(name) || known().values.contains(name))
      out.push_back("--" + name + (equals == std::string::npos ? "" : item.substr(equals)));
    else
      rest += (rest.empty() ? "" : ",") + item;
  }
  if (!rest.empty()) {
    out.push_back("-o");
    out.push_back(rest);
  }
  return out;
}

std::string fstab_options(const std::vector<std::string>& argv) {
  std::set<std::string> options;
  for (size_t i = 1; i < argv.size(); i++) {
    if (argv[i].size() < 2 || argv[i][0] != '-') continue;
    auto name = argv[i].substr(argv[i][1] == '-' ? 2 : 1);
    auto equals = name.find('=');
    auto value = equals == std::string::npos ? std::string() : name.substr(equals + 1);
    name = name.substr(0, equals);
    if (name == "update-fstab" || name == "background" || name == "d" || name == "foreground" || name == "f") continue;
    bool list = name == "o";
    if (list || known().values.contains(name)) {
      if (equals == std::string::npos && i + 1 < argv.size()) value = argv[++i];
      if (name == "cache-dir" && value != "memory")
        value = std::filesystem::absolute(value).lexically_normal().string();
      options.insert(list ? value : name + "=" + value);
    } else if (known().flags.contains(name) && value != "false") {
      options.insert(name);
    }
  }
  std::string out = "_netdev,nofail";
  for (auto& option : options) out += "," + option;
  return out;
}

Result<void> update_fstab(const std::string& url, const std::string& mount_point,
                          const std::vector<std::string>& argv) {
  if (getuid() != 0) return fail(EPERM, "only root may change it");
  std::error_code error;
  // mount(8) looks for the first by the line, and for the second by what /proc/mounts says of a mount (remount).
  for (const char* helper : {"/sbin/mount.zestfs", "/sbin/mount.fuse.zestfs"}) {
    if (std::filesystem::exists(helper)) continue;
    std::filesystem::create_symlink(std::filesystem::read_symlink("/proc/self/exe"), helper, error);
    if (error) return fail(error.value(), helper);
  }
  std::string text;
  std::ifstream old("/etc/fstab");
  for (std::string line; std::getline(old, line);) {
    std::istringstream fields(line);
    std::string source, target;
    fields >> source >> target;
    if (source == url && target == mount_point) continue;
    text += line + "\n";
  }
  text += fmt::format("{}  {}  zestfs  {}  0 0\n", url, mount_point, fstab_options(argv));
  std::ofstream file("/etc/fstab.tmp", std::ios::trunc);
  file << text;
  file.close();
  if (!file) return fail(EIO, "/etc/fstab.tmp");
  chmod("/etc/fstab.tmp", 0644);
  std::filesystem::rename("/etc/fstab.tmp", "/etc/fstab", error);
  if (error) return fail(error.value(), "/etc/fstab");
  return {};
}

}  // namespace zest::cli
