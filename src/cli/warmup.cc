// zestfs warmup: brings files into the cache of a mount, takes them out, or looks what is there.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/control_client.h"
#include "cli/terminal.h"

namespace zest::cli {
namespace {

struct WarmupCommand {
  std::vector<std::string> args;
  std::string list;
  int threads = 50;
  bool background = false, evict = false, check = false, json = false;

  int run();
  void report_check() const;
  void print_json() const;
  Result<void> send(ControlClient& control, const std::vector<std::string>& batch);
  uint64_t files = 0, slices = 0, bytes = 0, missing = 0;
  std::map<std::string, uint64_t> locations;
};

constexpr size_t kBatch = 10'240;

Result<void> WarmupCommand::send(ControlClient& control, const std::vector<std::string>& batch) {
  std::string body, paths = fmt::format("{}", fmt::join(batch, "\n"));
  put_be32(body, static_cast<uint32_t>(paths.size()));
  body += paths;
  put_be16(body, static_cast<uint16_t>(threads));
  put_u8(body, background);
  put_u8(body, check ? 2 : evict ? 1 : 0);
  ControlClient::Progress counts;
  std::string reply;
  {
    Progress progress("Warmed up bytes", &counts.b, nullptr, true);
    ZEST_ASSIGN(reply, control.request(op::kCache, body, &counts, watch_interrupts()));
  }
  auto parsed = nlohmann::json::parse(reply, nullptr, false);
  if (parsed.is_discarded() || !parsed.is_object()) return {};
  files += parsed.value("FileCount", uint64_t{0});
  slices += parsed.value("SliceCount", uint64_t{0});
  bytes += parsed.value("TotalBytes", uint64_t{0});
  missing += parsed.value("MissBytes", uint64_t{0});
  if (parsed.contains("Locations") && parsed["Locations"].is_object())
    for (auto& [where, size] : parsed["Locations"].items()) locations[where] += size.get<uint64_t>();
  return {};
}

void WarmupCommand::report_check() const {
  std::vector<std::vector<std::string>> rows{{"Location", "Size", "Percentage"}};
  auto percent = [&](uint64_t part) {
    return fmt::format("{:.1f}%", bytes ? 100.0 * static_cast<double>(part) / static_cast<double>(bytes) : 0);
  };
  for (auto& [where, size] : locations) rows.push_back({where, format_size(size), percent(size)});
  if (rows.size() > 1 && !json) fmt::print("{}", table(rows));
  auto cached = bytes > missing ? bytes - missing : 0;
  log_info(fmt::format("check cache: {} files checked, {} of {} ({}) cached", files, format_size(cached),
                       format_size(bytes), percent(cached)));
}

void WarmupCommand::print_json() const {
  nlohmann::ordered_json out{{"files", files}, {"slices", slices}, {"bytes", bytes}};
  if (check) {
    out["missingBytes"] = missing;
    out["locations"] = nlohmann::ordered_json::object();
    for (auto& [where, size] : locations) out["locations"][where] = size;
  }
  fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

int WarmupCommand::run() {
  if (evict && check) return complain("--check and --evict can't be used together");
  if (threads <= 0) log_warning("threads should be larger than 0, reset it to 1"), threads = 1;
  threads = std::min(threads, 65535);
  std::vector<std::string> paths = args;
  if (!list.empty()) {
    std::ifstream file(list);
    if (!file) return complain("cannot read the list " + list, Error{errno ? errno : ENOENT, Fault::kPlain, {}});
    for (std::string line; std::getline(file, line);) {
      auto begin = line.find_first_not_of(" \t\r"), end = line.find_last_not_of(" \t\r");
      if (begin != std::string::npos) paths.push_back(line.substr(begin, end - begin + 1));
    }
  }
  if (paths.empty()) {
    log_info("no path");
    return 0;
  }
  auto root = mount_root_of(paths[0]);
  if (!root) return complain("open control file for " + paths[0], root.error());
  auto control = ControlClient::open(*root);
  if (!control) return complain("", control.error());
  std::vector<std::string> batch;
  size_t sent = 0;
  for (size_t i = 0; i < paths.size(); i++) {
    auto path = absolute_path(paths[i]);
    auto prefix = *root == "/" ? *root : *root + "/";
    if (path != *root && !path.starts_with(prefix)) {
      complain(fmt::format("{} is not inside {}", path, *root));
    } else if (*root == "/" || path.find('\n') != std::string::npos) {
      auto ino = inode_of(path);
      if (ino)
        batch.push_back(fmt::format("inode:{}", *ino));
      else
        complain("lookup inode for " + path, ino.error());
    } else {
      batch.push_back(path == *root ? "/" : path.substr(root->size()));
    }
    if (batch.empty() || (batch.size() < kBatch && i + 1 < paths.size())) continue;
    if (auto done = send(*control, batch); !done) return complain("warmup", done.error());
    sent += batch.size();
    batch.clear();
  }
  const char* action = check ? "check" : evict ? "evict" : "warmup";
  if (background) {
    log_info(fmt::format("{} cache for {} paths in background", action, sent));
  } else if (check) {
    report_check();
  } else {
    log_info(fmt::format("{} cache: {} files ({} bytes)", action, files, format_size(bytes)));
  }
  if (json && !background) print_json();
  return 0;
}

}  // namespace

Runner setup_warmup(CLI::App& app) {
  auto command = std::make_shared<WarmupCommand>();
  positionals(app, command->args, 0, 100'000);
  app.add_option("--file,-f", command->list, "file with one path a line");
  app.add_option("--threads,-p", command->threads, "files fetched at once");
  app.add_flag("--background,-b", command->background, "do not wait");
  app.add_flag("--evict", command->evict, "take the files out of the cache");
  app.add_flag("--check", command->check, "tell how much of the files is cached");
  app.add_flag("--json", command->json, "print the counts as JSON");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
