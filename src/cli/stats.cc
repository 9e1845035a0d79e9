// zestfs stats: a live table of what a mount does, from its .stats (docs/behaviour/control.md section 7).
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <ctime>
#include <thread>

#include "base/log.h"
#include "cli/command.h"
#include "cli/control_client.h"
#include "cli/mount_files.h"
#include "cli/terminal.h"

namespace zest::cli {
namespace {

enum class Kind { kTime, kCpu, kBytes, kCount, kLatency };

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
    default: return {nullptr, {}};
  }
}

std::string centred(const std::string& text, size_t width, char fill) {
  if (text.size() >= width) return text;
  size_t left = (width - text.size()) / 2;
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

  int run();
  std::string cell(const Column& column, const MountStats& now, const MountStats& before, double seconds) const;
  std::string row(const MountStats& now, const MountStats& before, double seconds) const;
  void header() const;
  std::vector<Section> sections;
};

std::string StatsCommand::cell(const Column& column, const MountStats& now, const MountStats& before,
                               double seconds) const {
  auto delta = [&](const std::string& name) { return now[name] - before[name]; };
  switch (column.kind) {
    case Kind::kTime: {
      time_t t = time(nullptr);
      std::tm tm{};
      localtime_r(&t, &tm);
      return fmt::format("{:02}-{:02} {:02}:{:02}:{:02}", tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    }
    case Kind::kCpu: return format_cpu(delta(column.metric) / seconds * 100);
    case Kind::kLatency: {
      double operations = delta(column.metric + "_total");
      return format_latency(operations > 0 ? delta(column.metric + "_sum") / operations * 1000 : 0);
    }
    case Kind::kBytes:
    case Kind::kCount:
      return format_amount(column.gauge ? now[column.metric] : delta(column.metric) / seconds,
                           column.kind == Kind::kBytes);
  }
  return {};
}

std::string StatsCommand::row(const MountStats& now, const MountStats& before, double seconds) const {
  std::vector<std::string> parts;
  for (auto& section : sections) {
    std::vector<std::string> cells;
    for (auto& column : section.columns) cells.push_back(cell(column, now, before, seconds));
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
  auto before = MountStats::read(mount);
  if (!before) return complain("", before.error());
  MountStats last = *before;
  bool live = colour_on(STDOUT_FILENO);
  double seconds = interval;  // of the first row, whose differences are nothing
  for (int line = 0; !*cancelled && (count == 0 || line < count); line++) {
    if (line % 30 == 0) header();
    auto now = MountStats::read(mount);
    if (!now) return complain("", now.error());
    fmt::print("{}{}\n", live ? "\r\x1b[K" : "", row(*now, last, seconds));
    fflush(stdout);
    if (line + 1 == count) break;
    last = *now;
    auto started = std::chrono::steady_clock::now();
    for (int second = 1; second <= interval && !*cancelled; second++) {
      std::this_thread::sleep_until(started + std::chrono::seconds(second));
      if (!live || second == interval) continue;
      if (auto between = MountStats::read(mount)) {
        fmt::print("\r\x1b[2m{}\x1b[0m", row(*between, last, second));
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
  app.add_option("--schema", command->schema,
                 "sections: t time, u usage, f fuse, m meta, c blockcache, o object, g go");
  app.add_option("--interval", command->interval, "seconds between lines");
  app.add_option("--verbosity,-l", command->verbosity, "1 shows more columns");
  app.add_option("--count,-c", command->count, "lines to print; 0: until interrupted");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
