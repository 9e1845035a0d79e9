// zestfs debug: gathers what a report about a mount needs, secrets removed, in a folder and a .zip
// (docs/behaviour/cli.md). The reference's Go profiles are replaced by what the kernel tells of the process.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/bytes.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/control_client.h"
#include "cli/mount_files.h"
#include "cli/mount_options.h"
#include "cli/terminal.h"
#include "cli/zip_writer.h"

namespace zest::cli {
namespace {

namespace fs = std::filesystem;

struct DebugCommand {
  std::vector<std::string> args;
  std::string out_dir = "debug";
  uint64_t limit = 5000;
  int stats_sec = 5, trace_sec = 5, profile_sec = 30;

  int run();

 private:
  Result<void> gather();
  Result<void> write(const std::string& name, const std::string& text) const;
  std::string system_info() const;
  Result<void> add_log() const;
  Result<void> add_process() const;
  Result<void> add_threads(int sample) const;
  Result<void> add_trace() const;
  std::string mount, folder;
  uint64_t pid = 0;
  std::vector<std::string> command_line;  // of the mount, secrets masked
};

std::string text_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<std::string> command_line_of(uint64_t pid) {
  std::istringstream in(text_of(fmt::format("/proc/{}/cmdline", pid)));
  std::vector<std::string> out;
  for (std::string argument; std::getline(in, argument, '\0');) out.push_back(mask_secrets(argument));
  return out;
}

// The value of "NAME: value" or NAME="value" in a text of lines.
std::string field(const std::string& text, const std::string& name, char separator) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    auto end = line.find(separator);
    if (end == std::string::npos || line.substr(0, line.find_last_not_of(" \t", end - 1) + 1) != name) continue;
    auto value = line.substr(line.find_first_not_of(" \t\"", end + 1));
    return value.substr(0, value.find('"'));
  }
  return "unknown";
}

Result<void> DebugCommand::write(const std::string& name, const std::string& text) const {
  auto path = folder + "/" + name;
  std::error_code ignored;
  fs::create_directories(fs::path(path).parent_path(), ignored);
  std::ofstream out(path, std::ios::binary);
  out << text;
  if (!out.flush()) return fail(errno ? errno : EIO, "write " + path);
  return {};
}

std::string DebugCommand::system_info() const {
  utsname host{};
  uname(&host);
  auto cpu = text_of("/proc/cpuinfo"), memory = text_of("/proc/meminfo"), release = text_of("/etc/os-release");
  return fmt::format(
      "Platform: {} {}\nKernel: {} {}\nOS: {}\nCPU: {} ({} online)\nMemory total: {}\nMemory available: {}\n\n"
      "Mount Command:\n{}\n",
      host.sysname, host.machine, host.release, host.version, field(release, "PRETTY_NAME", '='),
      field(cpu, "model name", ':'), sysconf(_SC_NPROCESSORS_ONLN), field(memory, "MemTotal", ':'),
      field(memory, "MemAvailable", ':'), fmt::join(command_line, " "));
}

// The last lines of the log of a background mount.
Result<void> DebugCommand::add_log() const {
  std::string log = default_log_file();
  bool background = false;
  for (size_t i = 0; i < command_line.size(); i++) {
    auto& argument = command_line[i];
    background |= argument == "-d" || argument == "--background";
    if (argument == "--log" && i + 1 < command_line.size()) log = command_line[i + 1];
    if (argument.starts_with("--log=")) log = argument.substr(6);
  }
  if (!background) return {};
  std::ifstream in(log);
  if (!in) return fail(errno ? errno : ENOENT, "open " + log);
  std::deque<std::string> last;
  for (std::string line; std::getline(in, line);) {
    last.push_back(mask_secrets(line));
    if (last.size() > limit) last.pop_front();
  }
  return write("juicefs.log", fmt::format("{}\n", fmt::join(last, "\n")));
}

// Its memory and limits, as the kernel has them.
Result<void> DebugCommand::add_process() const {
  auto proc = fmt::format("/proc/{}", pid);
  ZEST_TRY(write("process/status.txt", text_of(proc + "/status")));
  ZEST_TRY(write("process/memory.txt", text_of(proc + "/smaps_rollup")));
  return write("process/limits.txt", text_of(proc + "/limits"));
}

// Its threads, and what each waits for.
Result<void> DebugCommand::add_threads(int sample) const {
  auto proc = fmt::format("/proc/{}", pid);
  std::string threads;
  std::error_code error;
  for (auto& thread : fs::directory_iterator(proc + "/task", error)) {
    auto dir = thread.path().string(), name = text_of(dir + "/comm");
    threads += fmt::format("{} {}  waits in: {}\n  stat: {}", thread.path().filename().string(),
                           name.substr(0, name.find('\n')), text_of(dir + "/wchan"), text_of(dir + "/stat"));
    threads += text_of(dir + "/stack");
  }
  return write(fmt::format("process/threads.{}.txt", sample), threads);
}

// What the mount was asked for, for some seconds.
Result<void> DebugCommand::add_trace() const {
  ZEST_ASSIGN(auto log, AccessLog::open(mount));
  std::string text;
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(trace_sec);
  while (std::chrono::steady_clock::now() < end && !*watch_interrupts())
    ZEST_TRY(log.read([&](const std::string& line) { text += line + "\n"; }));
  return write(fmt::format("process/accesslog.{}s.txt", trace_sec), text);
}

Result<void> DebugCommand::gather() {
  ZEST_ASSIGN(auto config, read_virtual_file(mount, ".config"));
  auto parsed = nlohmann::json::parse(config, nullptr, false);
  if (!parsed.is_object()) return fail(EPROTO, "the mount's .config is no JSON object");
  pid = parsed.value("Pid", uint64_t{0});
  command_line = command_line_of(pid);
  auto info = system_info();
  fmt::print("{}", info);
  ZEST_TRY(write("system-info.log", info));
  ZEST_TRY(write("config.txt", mask_secrets(config)));
  ZEST_ASSIGN(auto stats, read_virtual_file(mount, ".stats"));
  ZEST_TRY(write("stats.txt", stats));
  if (auto log = add_log(); !log) log_warning("no log: " + log.error().message());
  bool alive = !command_line.empty();
  if (!alive) log_warning(fmt::format("process {} of the mount is not to be seen from here", pid));
  if (alive) ZEST_TRY(add_process());
  if (trace_sec > 0) ZEST_TRY(add_trace());
  if (stats_sec > trace_sec && !*watch_interrupts())
    std::this_thread::sleep_for(std::chrono::seconds(stats_sec - std::max(0, trace_sec)));
  ZEST_ASSIGN(stats, read_virtual_file(mount, ".stats"));
  ZEST_TRY(write(fmt::format("stats.{}s.txt", stats_sec), stats));
  if (!alive || profile_sec <= 0 || *watch_interrupts()) return {};
  // where the threads are found at ten moments of the time asked for
  for (int sample = 0; sample < 10 && !*watch_interrupts(); sample++) {
    ZEST_TRY(add_threads(sample));
    std::this_thread::sleep_for(std::chrono::milliseconds(profile_sec * 100));
  }
  return {};
}

int DebugCommand::run() {
  mount = absolute_path(args[0]);
  if (auto point = check_mount_point(mount); !point) return complain(point.error().what);
  watch_interrupts();
  auto name = mount.substr(1);
  std::replace(name.begin(), name.end(), '/', '-');
  time_t now = time(nullptr);
  std::tm tm{};
  localtime_r(&now, &tm);
  char stamp[32];
  strftime(stamp, sizeof stamp, "%Y%m%d%H%M%S", &tm);
  folder = fmt::format("{}/{}-{}", absolute_path(out_dir), name, stamp);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return complain("create " + folder, Error{error.value(), Fault::kPlain, {}});
  if (auto done = gather(); !done) return complain("debug", done.error());
  if (auto packed = zip_folder(folder, folder + ".zip"); !packed) return complain("debug", packed.error());
  log_info(fmt::format("the report is in {} and {}.zip", folder, folder));
  return 0;
}

}  // namespace

Runner setup_debug(CLI::App& app) {
  auto command = std::make_shared<DebugCommand>();
  positionals(app, command->args, 1, 1);
  app.add_option("--out-dir", command->out_dir, "folder for the report");
  app.add_option("--limit", command->limit, "last lines of the log that are kept");
  app.add_option("--stats-sec", command->stats_sec, "seconds between the two copies of .stats");
  app.add_option("--trace-sec", command->trace_sec, "seconds of the access log");
  app.add_option("--profile-sec", command->profile_sec, "seconds over which threads are looked at");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
