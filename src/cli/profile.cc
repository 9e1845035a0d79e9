// zestfs profile: adds up the access log by operation, live or from a file (docs/behaviour/control.md section 8).
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <ctime>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/log.h"
#include "cli/command.h"
#include "cli/mount_files.h"
#include "cli/terminal.h"

namespace zest::cli {
namespace {

struct ProfileCommand {
  std::vector<std::string> args;
  std::vector<std::string> uids, gids, pids;
  double interval = 2;
  bool json = false;

  int run();
  int live(const std::string& mount);
  int replay(const std::string& file);
  void take(const std::string& text);
  void print(double seconds, const std::string& state, double at);
  void print_json(double seconds, double at) const;
  bool wanted(const AccessRecord& record) const;

  struct Sum {
    uint64_t count = 0;
    double micros = 0;
  };
  std::map<std::string, Sum> sums;
  double first = 0, last = 0;
};

bool ProfileCommand::wanted(const AccessRecord& record) const {
  auto matches = [](const std::vector<std::string>& list, const std::string& id) {
    return list.empty() || std::find(list.begin(), list.end(), id) != list.end();
  };
  return matches(uids, record.uid) && matches(gids, record.gid) && matches(pids, record.pid);
}

void ProfileCommand::take(const std::string& text) {
  if (text.size() < 3 || text[0] == '#') return;
  auto record = parse_access_line(text);
  if (!record) return log_warning("not a line of an access log: " + text.substr(0, 100));
  if (first == 0) first = record->time;
  last = record->time;
  if (!wanted(*record)) return;
  auto& sum = sums[record->operation];
  sum.count++;
  sum.micros += record->seconds * 1e6;
}

void ProfileCommand::print_json(double seconds, double at) const {
  nlohmann::ordered_json out{{"time", at}, {"seconds", seconds}, {"operations", nlohmann::ordered_json::object()}};
  for (auto& [operation, sum] : sums) out["operations"][operation] = {{"count", sum.count}, {"totalUs", sum.micros}};
  fmt::print("{}\n", out.dump());
}

void ProfileCommand::print(double seconds, const std::string& state, double at) {
  if (json) {
    print_json(seconds, at);
    fflush(stdout);
    return sums.clear();
  }
  bool colour = colour_on(STDOUT_FILENO);
  std::vector<std::pair<std::string, Sum>> rows(sums.begin(), sums.end());
  std::sort(rows.begin(), rows.end(), [](auto& a, auto& b) { return a.second.micros > b.second.micros; });
  time_t t = static_cast<time_t>(at);
  std::tm tm{};
  localtime_r(&t, &tm);
  char when[32];
  strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
  if (colour) fmt::print("\x1b[2J\x1b[1;1H\x1b[92m");
  fmt::print("> JuiceFS Profiling {:>13}  Refresh: {:.0f} seconds {:>20}{}\n", state, seconds, when,
             colour ? "\x1b[0m" : "");
  if (colour) fmt::print("\x1b[33m{}\x1b[0m\n", state == "(replaying)" ? "Enter pauses and goes on" : "");
  fmt::print("{}{:<14} {:>10} {:>15} {:>18} {:>14}{}\n", colour ? "\x1b[34m" : "", "Operation", "Count", "Average(us)",
             "Total(us)", "Percent(%)", colour ? "\x1b[0m" : "");
  for (auto& [operation, sum] : rows) {
    double percent = seconds > 0 ? sum.micros / (seconds * 1e6) * 100 : 0;
    fmt::print("{:<14} {:>10} {:>15.0f} {:>18.0f} {:>14.1f}\n", operation, sum.count,
               sum.micros / static_cast<double>(sum.count), sum.micros, percent);
  }
  if (!colour) fmt::print("\n");
  fflush(stdout);
  sums.clear();
}

int ProfileCommand::live(const std::string& mount) {
  auto log = AccessLog::open(mount);
  if (!log) return complain("", log.error());
  const auto* cancelled = watch_interrupts();
  auto started = std::chrono::steady_clock::now();
  while (!*cancelled) {
    if (auto read = log->read([this](const std::string& line) { take(line); }); !read)
      return complain("", read.error());
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    if (seconds < interval) continue;
    print(seconds, "", static_cast<double>(time(nullptr)));
    started = std::chrono::steady_clock::now();
  }
  return 0;
}

int ProfileCommand::replay(const std::string& file) {
  std::ifstream in(file);
  if (!in) return complain("open " + file, Error{errno ? errno : ENOENT, Fault::kPlain, {}});
  const auto* cancelled = watch_interrupts();
  bool terminal = !json && isatty(STDIN_FILENO) && colour_on(STDOUT_FILENO);
  double window = 0;
  for (std::string text; std::getline(in, text) && !*cancelled;) {
    take(text);
    if (interval <= 0 || last == 0) continue;
    if (window == 0) window = first;
    while (last - window >= interval && !*cancelled) {
      window += interval;
      print(interval, "(replaying)", window);
      // at the pace of the records; Enter pauses and goes on
      pollfd keys{STDIN_FILENO, POLLIN, 0};
      if (terminal && poll(&keys, 1, static_cast<int>(interval * 1000)) > 0) {
        std::string ignored;
        std::getline(std::cin, ignored);
        fmt::print("paused; Enter goes on\n");
        std::getline(std::cin, ignored);
      } else if (!terminal) {
        std::this_thread::sleep_for(std::chrono::duration<double>(interval));
      }
    }
  }
  print(interval > 0 ? interval : last - first, interval > 0 ? "(replay done)" : "", last);
  return 0;
}

int ProfileCommand::run() {
  struct stat st {};
  if (stat(args[0].c_str(), &st) != 0) return complain("open " + args[0], Error{errno, Fault::kPlain, {}});
  if (!S_ISDIR(st.st_mode)) return replay(args[0]);
  if (auto mount = check_mount_point(args[0]); !mount) return complain(mount.error().what);
  if (interval <= 0) return complain("interval must be > 0 for a mount point");
  return live(args[0]);
}

}  // namespace

Runner setup_profile(CLI::App& app) {
  auto command = std::make_shared<ProfileCommand>();
  positionals(app, command->args, 1, 1);
  app.add_option("--uid,-u", command->uids, "only these users")->delimiter(',')->allow_extra_args(false);
  app.add_option("--gid,-g", command->gids, "only these groups")->delimiter(',')->allow_extra_args(false);
  app.add_option("--pid,-p", command->pids, "only these processes")->delimiter(',')->allow_extra_args(false);
  app.add_option("--interval", command->interval, "seconds between tables; 0: one table of a whole log");
  app.add_flag("--json", command->json, "print a JSON object for each interval, one a line");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
