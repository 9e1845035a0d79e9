// zestfs top: the slowest operations and files of a mount now, from its access log and .stats.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/control_client.h"
#include "cli/mount_files.h"
#include "cli/terminal.h"
#include "volume/types.h"

namespace zest::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Cost {
  uint64_t count = 0, read = 0, written = 0;  // requests, bytes
  double seconds = 0, slowest = 0;
  void add(const AccessRecord& record) {
    count++;
    seconds += record.seconds;
    slowest = std::max(slowest, record.seconds);
  }
};

// The `number`-th of "(4,4096,0,8)"; 0 when there is none.
uint64_t argument(const std::string& arguments, size_t number) {
  size_t at = 1;
  for (; number > 0 && at != 0; number--) at = arguments.find(',', at) + 1;
  if (at == 0 || at >= arguments.size()) return 0;
  auto end = arguments.find_first_not_of("0123456789", at);
  return parse_uint(arguments.substr(at, end - at)).value_or(0);
}

struct TopCommand {
  std::vector<std::string> args;
  double interval = 2;
  int count = 0;
  size_t rows = 10;
  bool json = false;

  int run();
  void take(const std::string& line);
  Json collect(double seconds, const MountStats& before, const MountStats& now);
  void print(const Json& shown) const;
  std::string path_of(uint64_t ino);

  std::string mount;
  std::map<std::string, Cost> operations;
  std::map<uint64_t, Cost> files;     // by the inode that a request names first: of names, the directory
  std::vector<AccessRecord> slowest;  // a heap, the fastest on top
  std::map<uint64_t, std::string> paths;
};

void TopCommand::take(const std::string& line) {
  auto record = parse_access_line(line);
  if (!record || record->pid == std::to_string(getpid())) return;
  auto ino = argument(record->arguments, 0);
  if (ino >= raw(kFirstSpecialIno)) return;
  operations[record->operation].add(*record);
  auto& file = files[ino];
  file.add(*record);
  if (record->operation == "read" && record->result.starts_with(": ("))
    file.read += argument(record->result.substr(2), 0);
  if (record->operation == "write") file.written += argument(record->arguments, 1);
  auto slower = [](const AccessRecord& a, const AccessRecord& b) { return a.seconds > b.seconds; };
  slowest.push_back(std::move(*record));
  std::push_heap(slowest.begin(), slowest.end(), slower);
  if (slowest.size() <= rows) return;
  std::pop_heap(slowest.begin(), slowest.end(), slower);
  slowest.pop_back();
}

// Asked of the mount once for each inode; empty: it has none any more.
std::string TopCommand::path_of(uint64_t ino) {
  if (ino == 1) return "/";
  if (auto known = paths.find(ino); known != paths.end()) return known->second;
  auto& path = paths[ino];
  auto control = ControlClient::open(mount);
  if (!control) return path;
  std::string body;
  put_be64(body, ino);
  put_u8(body, 0);
  auto text = control->request(op::kInfoLegacy, body, nullptr, watch_interrupts());
  if (!text) return path;
  for (std::string mark : {"   path: ", "  paths:\n\t"}) {
    auto at = text->find(mark);
    if (at == std::string::npos) continue;
    at += mark.size();
    path = text->substr(at, text->find('\n', at) - at);
  }
  return path;
}

template <class Key>
std::vector<std::pair<Key, Cost>> most_expensive(const std::map<Key, Cost>& costs, size_t rows) {
  std::vector<std::pair<Key, Cost>> out(costs.begin(), costs.end());
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.second.seconds > b.second.seconds; });
  if (out.size() > rows) out.resize(rows);
  return out;
}

Json TopCommand::collect(double seconds, const MountStats& before, const MountStats& now) {
  auto rate = [&](const char* name) { return (now[name] - before[name]) / seconds; };
  auto latency = [&](const std::string& name) {
    double number = now[name + "_total"] - before[name + "_total"];
    return number > 0 ? (now[name + "_sum"] - before[name + "_sum"]) / number * 1000 : 0;
  };
  const std::string object = "object_request_durations_histogram_seconds_";
  Json out{{"time", time(nullptr)}, {"seconds", seconds}};
  out["rates"] = {{"ops", rate("fuse_ops_durations_histogram_seconds_total")},
                  {"readBytes", rate("fuse_read_size_bytes_sum")},
                  {"writtenBytes", rate("fuse_written_size_bytes_sum")},
                  {"meta", rate("meta_ops_durations_histogram_seconds_total")},
                  {"metaMs", latency("meta_ops_durations_histogram_seconds")},
                  {"get", rate((object + "GET_total").c_str())},
                  {"getMs", latency(object + "GET")},
                  {"put", rate((object + "PUT_total").c_str())},
                  {"putMs", latency(object + "PUT")}};
  auto cost = [](Json row, const Cost& c) {
    row["count"] = c.count;
    row["totalMs"] = c.seconds * 1000;
    row["averageMs"] = c.seconds * 1000 / static_cast<double>(c.count);
    row["slowestMs"] = c.slowest * 1000;
    return row;
  };
  out["operations"] = Json::array(), out["files"] = Json::array(), out["slowest"] = Json::array();
  for (auto& [name, c] : most_expensive(operations, rows)) out["operations"].push_back(cost({{"operation", name}}, c));
  for (auto& [ino, c] : most_expensive(files, rows)) {
    auto row = cost({{"inode", ino}, {"path", path_of(ino)}}, c);
    row["readBytes"] = c.read, row["writtenBytes"] = c.written;
    out["files"].push_back(std::move(row));
  }
  std::sort(slowest.begin(), slowest.end(), [](auto& a, auto& b) { return a.seconds > b.seconds; });
  for (auto& record : slowest)
    out["slowest"].push_back({{"operation", record.operation},
                              {"ms", record.seconds * 1000},
                              {"pid", record.pid},
                              {"arguments", record.arguments},
                              {"path", path_of(argument(record.arguments, 0))}});
  operations.clear(), files.clear(), slowest.clear();
  return out;
}

std::string ms(const Json& value) { return fmt::format("{:.2f}", value.get<double>()); }
std::string bytes(const Json& value) { return format_size(static_cast<uint64_t>(value.get<double>())); }
std::string path_text(const Json& row) {
  auto path = row["path"].get<std::string>();
  return path.empty() ? "(gone)" : path;
}

void TopCommand::print(const Json& shown) const {
  bool screen = colour_on(STDOUT_FILENO);
  if (screen) fmt::print("\x1b[2J\x1b[1;1H");
  auto& r = shown["rates"];
  fmt::print(
      "{}{}  ops {:.0f}/s  read {}/s  write {}/s  meta {:.0f}/s {} ms  get {:.1f}/s {} ms  put {:.1f}/s {} ms{}\n",
      screen ? "\x1b[1m" : "", mount, r["ops"].get<double>(), bytes(r["readBytes"]), bytes(r["writtenBytes"]),
      r["meta"].get<double>(), ms(r["metaMs"]), r["get"].get<double>(), ms(r["getMs"]), r["put"].get<double>(),
      ms(r["putMs"]), screen ? "\x1b[0m" : "");
  std::vector<std::vector<std::string>> ops{{"OPERATION", "COUNT", "TOTAL ms", "AVERAGE ms", "SLOWEST ms"}};
  for (auto& row : shown["operations"])
    ops.push_back(
        {row["operation"], row["count"].dump(), ms(row["totalMs"]), ms(row["averageMs"]), ms(row["slowestMs"])});
  std::vector<std::vector<std::string>> most{{"FILE", "INODE", "COUNT", "TOTAL ms", "SLOWEST ms", "READ", "WRITTEN"}};
  for (auto& row : shown["files"])
    most.push_back({path_text(row), row["inode"].dump(), row["count"].dump(), ms(row["totalMs"]), ms(row["slowestMs"]),
                    bytes(row["readBytes"]), bytes(row["writtenBytes"])});
  std::vector<std::vector<std::string>> single{{"REQUEST", "ms", "PID", "FILE"}};
  for (auto& row : shown["slowest"])
    single.push_back({row["operation"].get<std::string>() + " " + row["arguments"].get<std::string>(), ms(row["ms"]),
                      row["pid"], path_text(row)});
  fmt::print("{}{}{}", table(ops), table(most), table(single));
  if (!screen) fmt::print("\n");
}

int TopCommand::run() {
  mount = absolute_path(args[0]);
  if (auto point = check_mount_point(mount); !point) return complain(point.error().what);
  if (interval <= 0 || count < 0 || rows == 0) return complain("interval and rows must be > 0, count >= 0");
  const auto* cancelled = watch_interrupts();
  auto log = AccessLog::open(mount);
  if (!log) return complain("", log.error());
  for (int shown = 0; !*cancelled && (count == 0 || shown < count); shown++) {
    auto before = MountStats::read(mount);
    auto started = std::chrono::steady_clock::now();
    double seconds = 0;
    while (!*cancelled && seconds < interval) {
      auto read = log->read([this](const std::string& line) { take(line); });
      if (!read) return complain("", read.error());
      seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    }
    if (*cancelled) break;
    auto now = MountStats::read(mount);
    if (!before || !now) return complain("", before ? now.error() : before.error());
    auto all = collect(seconds, *before, *now);
    if (json)
      fmt::print("{}\n", all.dump(-1, ' ', false, Json::error_handler_t::replace));
    else
      print(all);
    fflush(stdout);
  }
  return 0;
}

}  // namespace

Runner setup_top(CLI::App& app) {
  auto command = std::make_shared<TopCommand>();
  positionals(app, command->args, 1, 1);
  app.add_option("--interval", command->interval, "seconds between tables");
  app.add_option("--count,-c", command->count, "tables to print; 0: until interrupted");
  app.add_option("--rows,-n", command->rows, "rows of each table");
  app.add_flag("--json", command->json, "print a JSON object for each interval, one a line");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
