// zestfs profile: adds up the access log by operation, live or from a file (docs/behaviour/control.md section 8).
#include <fcntl.h>
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
#include <set>
#include <sstream>
#include <thread>

#include "base/bytes.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/control_client.h"
#include "cli/terminal.h"

namespace zest::cli {
namespace {

struct Line {
  double time = 0;  // seconds since the epoch
  std::string ids[3], operation;
  double seconds = 0;
};

// "2026.11.22 15:07:47.298893 [uid:0,gid:0,pid:26013] create (...) - OK <0.001893>"
std::optional<Line> parse_line(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> fields;
  for (std::string field; in >> field;) fields.push_back(field);
  if (fields.size() < 5) return std::nullopt;
  Line line;
  std::tm tm{};
  int micros = 0;
  if (sscanf(fields[0].c_str(), "%d.%d.%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday) != 3) return std::nullopt;
  if (sscanf(fields[1].c_str(), "%d:%d:%d.%d", &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &micros) < 3) return std::nullopt;
  tm.tm_year -= 1900, tm.tm_mon -= 1, tm.tm_isdst = -1;
  line.time = static_cast<double>(mktime(&tm)) + micros / 1e6;
  size_t id = 0;
  for (size_t i = 0; i < fields[2].size() && id < 3;) {
    if (!isdigit(static_cast<unsigned char>(fields[2][i]))) {
      i++;
      continue;
    }
    size_t end = i;
    while (end < fields[2].size() && isdigit(static_cast<unsigned char>(fields[2][end]))) end++;
    line.ids[id++] = fields[2].substr(i, end - i);
    i = end;
  }
  line.operation = fields[3];
  auto& last = fields.back();
  if (last.size() < 3 || last[0] != '<') return std::nullopt;
  line.seconds = atof(last.c_str() + 1);
  return line;
}

struct ProfileCommand {
  std::vector<std::string> args;
  std::vector<std::string> uids, gids, pids;
  double interval = 2;

  int run();
  int live(const std::string& log);
  int replay(const std::string& file);
  void take(const std::string& text);
  void print(double seconds, const std::string& state, double at);
  bool wanted(const Line& line) const;

  struct Sum {
    uint64_t count = 0;
    double micros = 0;
  };
  std::map<std::string, Sum> sums;
  double first = 0, last = 0;
};

bool ProfileCommand::wanted(const Line& line) const {
  auto matches = [](const std::vector<std::string>& list, const std::string& id) {
    return list.empty() || std::find(list.begin(), list.end(), id) != list.end();
  };
  return matches(uids, line.ids[0]) && matches(gids, line.ids[1]) && matches(pids, line.ids[2]);
}

void ProfileCommand::take(const std::string& text) {
  if (text.size() < 3 || text[0] == '#') return;
  auto line = parse_line(text);
  if (!line) return log_warning("not a line of an access log: " + text.substr(0, 100));
  if (first == 0) first = line->time;
  last = line->time;
  if (!wanted(*line)) return;
  auto& sum = sums[line->operation];
  sum.count++;
  sum.micros += line->seconds * 1e6;
}

void ProfileCommand::print(double seconds, const std::string& state, double at) {
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

int ProfileCommand::live(const std::string& log) {
  int fd = open(log.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return complain("open " + log, Error{errno, Fault::kPlain, {}});
  const auto* cancelled = watch_interrupts();
  std::string pending;
  char buffer[64 * 1024];
  auto started = std::chrono::steady_clock::now();
  while (!*cancelled) {
    auto n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno != EINTR && errno != EAGAIN) {
      close(fd);
      return complain("read " + log, Error{errno, Fault::kPlain, {}});
    }
    if (n > 0) pending.append(buffer, static_cast<size_t>(n));
    for (size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1))
      take(pending.substr(0, end));
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    if (seconds < interval) continue;
    print(seconds, "", static_cast<double>(time(nullptr)));
    started = std::chrono::steady_clock::now();
  }
  close(fd);
  return 0;
}

int ProfileCommand::replay(const std::string& file) {
  std::ifstream in(file);
  if (!in) return complain("open " + file, Error{errno ? errno : ENOENT, Fault::kPlain, {}});
  const auto* cancelled = watch_interrupts();
  bool terminal = isatty(STDIN_FILENO) && colour_on(STDOUT_FILENO);
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
  print(interval > 0 ? interval : last - first, "(replay done)", last);
  return 0;
}

int ProfileCommand::run() {
  struct stat st {};
  if (stat(args[0].c_str(), &st) != 0) return complain("open " + args[0], Error{errno, Fault::kPlain, {}});
  if (!S_ISDIR(st.st_mode)) return replay(args[0]);
  if (st.st_ino != 1) return complain(fmt::format("path {} is not a mount point", args[0]));
  if (interval <= 0) return complain("interval must be > 0 for a mount point");
  for (const char* name : {"/.jfs.accesslog", "/.accesslog"})
    if (access((args[0] + name).c_str(), F_OK) == 0) return live(args[0] + name);
  return complain(fmt::format("path {} is not a mount point", args[0]));
}

}  // namespace

Runner setup_profile(CLI::App& app) {
  auto command = std::make_shared<ProfileCommand>();
  positionals(app, command->args, 1, 1);
  app.add_option("--uid,-u", command->uids, "only these users")->delimiter(',');
  app.add_option("--gid,-g", command->gids, "only these groups")->delimiter(',');
  app.add_option("--pid,-p", command->pids, "only these processes")->delimiter(',');
  app.add_option("--interval", command->interval, "seconds between tables; 0: one table of a whole log (default: 2)");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
