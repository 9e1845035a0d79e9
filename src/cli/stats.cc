// zestfs stats: a live table of what a mount does, from its .stats (docs/behaviour/control.md section 7).
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/log.h"
#include "cli/command.h"
#include "cli/control_client.h"
#include "cli/mount_files.h"
#include "cli/terminal.h"

namespace zest::cli {
namespace {

// kPart: milliseconds of an operation that went to it; kTrips: round trips of an operation.
enum class Kind { kTime, kCpu, kBytes, kCount, kLatency, kPart, kTrips };

struct Column {
  const char* name;
  std::string metric;  // without the prefix "juicefs_"
  Kind kind;
  bool gauge = false;
};
struct Section {
  const char* name;
  std::vector<Column> columns;
};

Section section_of(char key, int verbosity) {
  bool more = verbosity >= 1;
  auto with = [&](Section base, std::vector<std::pair<size_t, Column>> extra) {
    if (more)
      for (auto& [at, column] : extra)
        base.columns.insert(base.columns.begin() + static_cast<std::ptrdiff_t>(at), column);
    return base;
  };
  const std::string fuse = "fuse_ops_durations_histogram_seconds", meta = "meta_ops_durations_histogram_seconds",
                    txn = "transaction_durations_histogram_seconds",
                    object = "object_request_durations_histogram_seconds_";
  switch (key) {
    case 't': return {"system", {{"time", "", Kind::kTime}}};
    case 'u':
      return with({"usage",
                   {{"cpu", "cpu_usage", Kind::kCpu},
                    {"mem", "memory", Kind::kBytes, true},
                    {"buf", "used_buffer_size_bytes", Kind::kBytes, true}}},
                  {{3, {"cache", "store_cache_size_bytes", Kind::kBytes, true}}});
    case 'f':
      return {"fuse",
              {{"ops", fuse + "_total", Kind::kCount},
               {"lat", fuse, Kind::kLatency},
               {"read", "fuse_read_size_bytes_sum", Kind::kBytes},
               {"write", "fuse_written_size_bytes_sum", Kind::kBytes}}};
    case 'm':
      return with({"meta", {{"ops", meta + "_total", Kind::kCount}, {"lat", meta, Kind::kLatency}}},
                  {{2, {"txn", txn + "_total", Kind::kCount}},
                   {3, {"lat", txn, Kind::kLatency}},
                   {4, {"retry", "transaction_restart", Kind::kCount}}});
    case 'c':
      return {"blockcache",
              {{"read", "blockcache_hit_bytes", Kind::kBytes}, {"write", "blockcache_write_bytes", Kind::kBytes}}};
    case 'o':
      return with({"object",
                   {{"get", "object_request_data_bytes_GET", Kind::kBytes},
                    {"put", "object_request_data_bytes_PUT", Kind::kBytes}}},
                  {{1, {"get_c", object + "GET_total", Kind::kCount}},
                   {2, {"lat", object + "GET", Kind::kLatency}},
                   {4, {"put_c", object + "PUT_total", Kind::kCount}},
                   {5, {"lat", object + "PUT", Kind::kLatency}},
                   {6, {"del_c", object + "DELETE_total", Kind::kCount}},
                   {7, {"lat", object + "DELETE", Kind::kLatency}}});
    case 'g':
      return {"go",
              {{"alloc", "go_memstats_alloc_bytes", Kind::kBytes, true},
               {"sys", "go_memstats_sys_bytes", Kind::kBytes, true}}};
    case 'w':
      return {"ms of an operation",
              {{"queue", "_queue", Kind::kPart},
               {"cpu", "_cpu", Kind::kPart},
               {"lock", "_lock", Kind::kPart},
               {"mem", "_memory", Kind::kPart},
               {"meta", "_meta", Kind::kPart},
               {"obj", "_object", Kind::kPart},
               {"cache", "_cache", Kind::kPart},
               {"other", "_other", Kind::kPart},
               {"trips", "", Kind::kTrips}}};
    default: return {nullptr, {}};
  }
}

std::string centred(const std::string& text, size_t width, char fill) {
  if (text.size() >= width) return text;
  size_t left = (width - text.size() + 1) / 2;
  return std::string(left, fill) + text + std::string(width - text.size() - left, fill);
}

std::string format_amount(double value, bool bytes) {
  if (value <= 0) return "   0 ";
  static constexpr const char kUnits[] = " KMGTP";
  size_t unit = 0;
  while (value >= 10'000 && unit < 5) value /= 1024, unit++;
  char letter = unit == 0 ? (bytes ? 'B' : ' ') : kUnits[unit];
  return fmt::format("{:4}{}", static_cast<int64_t>(value), letter);
}

std::string format_latency(double ms) {
  if (ms <= 0) return "   0 ";
  if (ms < 10) return fmt::format("{:4.2f} ", ms);
  if (ms < 100) return fmt::format("{:4.1f} ", ms);
  return ms < 10'000 ? fmt::format("{:4.0f} ", ms) : fmt::format("{:.0e}", ms);
}

std::string format_cpu(double percent) {
  if (percent <= 0) return " 0.0%";
  return percent < 100 ? fmt::format("{:4.1f}%", percent) : fmt::format("{:4.0f}%", percent);
}

struct StatsCommand {
  std::vector<std::string> args;
  std::string schema = "ufmco";
  int interval = 1, verbosity = 0, count = 0;
  bool json = false;

  int run();
  std::string cell(const Column& column, const MountStats& now, const MountStats& before, double seconds) const;
  std::string json_line(const MountStats& now, const MountStats& before, double seconds) const;
  std::string row(const MountStats& now, const MountStats& before, double seconds, bool colours) const;
  void header() const;
  std::vector<Section> sections;
};

// In percent of a CPU, milliseconds of an operation, or bytes and things, a second where they are no gauge.
double value_of(const Column& column, const MountStats& now, const MountStats& before, double seconds) {
  auto delta = [&](const std::string& name) { return now[name] - before[name]; };
  switch (column.kind) {
    case Kind::kTime: return 0;
    case Kind::kCpu: return delta(column.metric) / seconds * 100;
    case Kind::kLatency: {
      double operations = delta(column.metric + "_total");
      return operations > 0 ? delta(column.metric + "_sum") / operations * 1000 : 0;
    }
    case Kind::kPart:
    case Kind::kTrips: {
      bool part = column.kind == Kind::kPart;
      auto sum = [&](const MountStats& stats) {
        return part ? stats.sum("fuse_ops_part_seconds_", column.metric) * 1000
                    : stats.sum("fuse_ops_round_trips_", "");
      };
      double operations = delta("fuse_ops_durations_histogram_seconds_total");
      return operations > 0 ? (sum(now) - sum(before)) / operations : 0;
    }
    case Kind::kBytes:
    case Kind::kCount: return column.gauge ? now[column.metric] : delta(column.metric) / seconds;
  }
  return 0;
}

std::string StatsCommand::cell(const Column& column, const MountStats& now, const MountStats& before,
                               double seconds) const {
  const double value = value_of(column, now, before, seconds);
  switch (column.kind) {
    case Kind::kTime: {
      time_t t = time(nullptr);
      std::tm tm{};
      localtime_r(&t, &tm);
      return fmt::format("{:02}-{:02} {:02}:{:02}:{:02}", tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    }
    case Kind::kCpu: return format_cpu(value);
    case Kind::kLatency:
    case Kind::kPart:
    case Kind::kTrips: return format_latency(value);
    case Kind::kBytes:
    case Kind::kCount: return format_amount(value, column.kind == Kind::kBytes);
  }
  return {};
}

// Sections by their names; a second column of one name is called after the one before it, too: "txn_lat".
std::string StatsCommand::json_line(const MountStats& now, const MountStats& before, double seconds) const {
  nlohmann::ordered_json out{{"time", time(nullptr)}, {"seconds", seconds}};
  for (auto& section : sections) {
    std::string last;
    for (auto& column : section.columns) {
      if (column.kind == Kind::kTime) continue;
      auto& values = out[section.name];
      const std::string name = values.contains(column.name) ? last + "_" + column.name : column.name;
      values[name] = value_of(column, now, before, seconds);
      last = column.name;
    }
  }
  return out.dump();
}

// By magnitude: of amounts the unit, of times how long they are.
std::string coloured(const std::string& text, Kind kind) {
  static constexpr const char kUnits[] = "BKMGTP";
  static constexpr int kOfUnits[] = {31, 33, 32, 34, 35, 36}, kOfTimes[] = {32, 33, 31, 35};
  int colour = 0;
  if (kind == Kind::kLatency || kind == Kind::kPart) {
    double ms = atof(text.c_str());
    if (ms > 0) colour = kOfTimes[ms < 1 ? 0 : ms < 10 ? 1 : ms < 100 ? 2 : 3];
  } else if (kind == Kind::kBytes || kind == Kind::kCount) {
    if (const char* unit = strchr(kUnits, text.back()); unit && text.back()) colour = kOfUnits[unit - kUnits];
  }
  return colour ? fmt::format("\x1b[{}m{}\x1b[0m", colour, text) : text;
}

std::string StatsCommand::row(const MountStats& now, const MountStats& before, double seconds, bool colours) const {
  std::vector<std::string> parts;
  for (auto& section : sections) {
    std::vector<std::string> cells;
    for (auto& column : section.columns) {
      auto text = cell(column, now, before, seconds);
      cells.push_back(colours ? coloured(text, column.kind) : text);
    }
    parts.push_back(fmt::format("{}", fmt::join(cells, " ")));
  }
  return fmt::format("{}", fmt::join(parts, "|"));
}

void StatsCommand::header() const {
  std::vector<std::string> titles, names;
  for (auto& section : sections) {
    bool time = section.columns[0].kind == Kind::kTime;
    size_t width = time ? 14 : 6 * section.columns.size() - 1;
    titles.push_back(centred(section.name, width, '-'));
    std::vector<std::string> cells;
    for (auto& column : section.columns) cells.push_back(centred(column.name, time ? 14 : 5, ' '));
    names.push_back(fmt::format("{}", fmt::join(cells, " ")));
  }
  bool colour = colour_on(STDOUT_FILENO);
  fmt::print("{}{}{}\n{}\n", colour ? "\x1b[34m" : "", fmt::join(titles, " "), colour ? "\x1b[0m" : "",
             fmt::join(names, "|"));
}

int StatsCommand::run() {
  auto mount = absolute_path(args[0]);
  if (auto point = check_mount_point(mount); !point) return complain(point.error().what);
  for (char key : schema) {
    auto section = section_of(key, verbosity);
    if (section.name)
      sections.push_back(section);
    else
      fmt::print("Warning: no item defined for {}\n", key);
  }
  if (sections.empty()) return complain("no item to show");
  interval = std::max(interval, 1);
  const auto* cancelled = watch_interrupts();
  std::optional<MountStats> last;
  bool live = !json && colour_on(STDOUT_FILENO);
  double seconds = interval;  // of the first row, whose differences are nothing
  for (int line = 0; !*cancelled && (count == 0 || line < count); line++) {
    if (line % 30 == 0 && !json) header();
    auto now = MountStats::read(mount);
    if (!now) return complain("", now.error());
    if (json)
      fmt::print("{}\n", json_line(*now, last.value_or(*now), seconds));
    else
      fmt::print("{}{}\n", live ? "\r\x1b[K" : "", row(*now, last.value_or(*now), seconds, live));
    fflush(stdout);
    if (line + 1 == count) break;
    last = std::move(*now);
    auto started = std::chrono::steady_clock::now();
    for (int second = 1; second <= interval && !*cancelled; second++) {
      std::this_thread::sleep_until(started + std::chrono::seconds(second));
      if (!live || second == interval) continue;
      if (auto between = MountStats::read(mount)) {
        fmt::print("\r\x1b[2m{}\x1b[0m", row(*between, *last, second, false));
        fflush(stdout);
      }
    }
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  }
  return 0;
}

}  // namespace

Runner setup_stats(CLI::App& app) {
  auto command = std::make_shared<StatsCommand>();
  positionals(app, command->args, 1, 1);
  app.add_option(
      "--schema", command->schema,
      "sections: t time, u usage, f fuse, m meta, c blockcache, o object, g go, w where the time of operations "
      "goes");
  app.add_option("--interval", command->interval, "seconds between lines");
  app.add_option("--verbosity,-l", command->verbosity, "1 shows more columns");
  app.add_option("--count,-c", command->count, "lines to print; 0: until interrupted");
  app.add_flag("--json", command->json, "print a JSON object for each interval, one a line");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
