// zestfs bench: how fast is a directory? Big and small files, on a mount or any other file system
// (docs/behaviour/cli.md).
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <thread>

#include "base/log.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/control_client.h"
#include "cli/mount_files.h"
#include "cli/terminal.h"
#include "cli/volume_options.h"

namespace zest::cli {
namespace {

namespace fs = std::filesystem;
using Seconds = std::chrono::duration<double>;
double now() { return Seconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct BenchCommand {
  std::vector<std::string> args;
  std::string block_size = "1M", big_file_size = "1G", small_file_size = "128K";
  int small_file_count = 100, threads = 1;
  bool json = false;

  int run();
  Result<void> measure();
  // Calls work(thread, number) `count` times on each thread; gives the seconds. The first errno ends it.
  Result<double> on_threads(const char* name, int count, const std::function<int(int, int)>& work);
  int write_file(const std::string& path, uint64_t size);
  int read_file(const std::string& path);
  void add(const char* item, double rate, const char* unit, double cost, const char* cost_unit);
  void add_mount_rows(const MountStats& after);

  uint64_t block = 0, big = 0, small = 0;
  std::string folder, mount;
  std::vector<char> data;
  std::optional<MountStats> before;  // none: the folder is in no mount of ours
  std::vector<std::vector<std::string>> rows{{"ITEM", "VALUE", "COST"}};
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  const std::atomic<bool>* cancelled = nullptr;
};

void drop_kernel_caches() {
  const char* skip = getenv("SKIP_DROP_CACHES");
  if ((skip && std::string_view(skip) == "true") || geteuid() != 0) return;
  sync();
  std::ofstream("/proc/sys/vm/drop_caches") << "3";
}

Result<double> BenchCommand::on_threads(const char* name, int count, const std::function<int(int, int)>& work) {
  std::atomic<uint64_t> done{0}, total{static_cast<uint64_t>(count) * static_cast<uint64_t>(threads)};
  std::atomic<int> error{0};
  Progress progress(name, &done, &total);
  double start = now();
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; t++)
    workers.emplace_back([&, t] {
      for (int i = 0; i < count && !error && !*cancelled; i++, done++)
        if (int code = work(t, i)) error = code;
    });
  for (auto& worker : workers) worker.join();
  if (error) return fail(error, name);
  if (*cancelled) return fail(EINTR, name);
  return std::max(now() - start, 1e-9);
}

int BenchCommand::write_file(const std::string& path, uint64_t size) {
  int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return errno;
  int error = 0;
  for (uint64_t at = 0; at < size && !error;) {
    auto n = ::write(fd, data.data(), std::min<uint64_t>(block, size - at));
    if (n < 0)
      error = errno;
    else
      at += static_cast<uint64_t>(n);
  }
  if (close(fd) != 0 && !error) error = errno;
  return error;
}

int BenchCommand::read_file(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  std::vector<char> buffer(block);
  ssize_t n;
  while ((n = ::read(fd, buffer.data(), buffer.size())) > 0) {
  }
  int error = n < 0 ? errno : 0;
  close(fd);
  return error;
}

void BenchCommand::add(const char* item, double rate, const char* unit, double cost, const char* cost_unit) {
  rows.push_back(
      {item, fmt::format("{:.{}f} {}", rate, rate < 100 ? 2 : 1, unit), fmt::format("{:.2f} {}", cost, cost_unit)});
  out.push_back({{"item", item}, {"value", rate}, {"unit", unit}, {"cost", cost}, {"costUnit", cost_unit}});
}

// What the mount itself did meanwhile.
void BenchCommand::add_mount_rows(const MountStats& after) {
  auto row = [&](const char* item, const std::string& metric) {
    auto delta = [&](const std::string& name) { return after[name] - (*before)[name]; };
    double count = delta(metric + "_total"), seconds = delta(metric + "_sum");
    rows.push_back({item, fmt::format("{:.0f} operations", count),
                    fmt::format("{:.2f} ms/op", count > 0 ? seconds / count * 1000 : 0)});
    out.push_back({{"item", item},
                   {"value", count},
                   {"unit", "operations"},
                   {"cost", count > 0 ? seconds / count * 1000 : 0},
                   {"costUnit", "ms/op"}});
  };
  row("FUSE operation", "fuse_ops_durations_histogram_seconds");
  row("Update meta", "transaction_durations_histogram_seconds");
  row("Put object", "object_request_durations_histogram_seconds_PUT");
  row("Get object", "object_request_durations_histogram_seconds_GET");
  row("Delete object", "object_request_durations_histogram_seconds_DELETE");
  row("Write into cache", "blockcache_write_hist_seconds");
  row("Read from cache", "blockcache_read_hist_seconds");
}

Result<void> BenchCommand::measure() {
  if (big > 0) {
    auto path = [&](int t, int i) { return fmt::format("{}/bigfile.{}.{}", folder, t, i); };
    double mib = static_cast<double>(big) * threads / (1 << 20);
    ZEST_ASSIGN(double wrote,
                on_threads("Write big files", 1, [&](int t, int i) { return write_file(path(t, i), big); }));
    add("Write big file", mib / wrote, "MiB/s", wrote, "s/file");
    drop_kernel_caches();
    ZEST_ASSIGN(double read, on_threads("Read big files", 1, [&](int t, int i) { return read_file(path(t, i)); }));
    add("Read big file", mib / read, "MiB/s", read, "s/file");
  }
  if (small > 0 && small_file_count > 0) {
    auto path = [&](int t, int i) { return fmt::format("{}/smallfile.{}.{}", folder, t, i); };
    double files = static_cast<double>(small_file_count) * threads, each = 1000.0 / small_file_count;
    ZEST_ASSIGN(double wrote, on_threads("Write small files", small_file_count,
                                         [&](int t, int i) { return write_file(path(t, i), small); }));
    add("Write small file", files / wrote, "files/s", wrote * each, "ms/file");
    drop_kernel_caches();
    ZEST_ASSIGN(double read,
                on_threads("Read small files", small_file_count, [&](int t, int i) { return read_file(path(t, i)); }));
    add("Read small file", files / read, "files/s", read * each, "ms/file");
    drop_kernel_caches();
    ZEST_ASSIGN(double stated, on_threads("Stat files", small_file_count, [&](int t, int i) {
                  struct stat st {};
                  return stat(path(t, i).c_str(), &st) ? errno : 0;
                }));
    add("Stat file", files / stated, "files/s", stated * each, "ms/file");
  }
  return {};
}

int BenchCommand::run() {
  for (auto [text, unit, into, flag] : {std::tuple{&block_size, uint64_t{1} << 20, &block, "block-size"},
                                        {&big_file_size, uint64_t{1} << 20, &big, "big-file-size"},
                                        {&small_file_size, uint64_t{1} << 10, &small, "small-file-size"}}) {
    auto bytes = parse_bytes(*text, unit, flag);
    if (!bytes) return complain("", bytes.error());
    *into = *bytes;
  }
  if (block == 0 || threads <= 0 || small_file_count < 0 || (big == 0 && (small == 0 || small_file_count == 0)))
    return complain("invalid argument");
  cancelled = watch_interrupts();
  auto base = absolute_path(args[0]);
  folder =
      fmt::format("{}/__juicefs_benchmark_{}__", base, std::chrono::system_clock::now().time_since_epoch().count());
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return complain("cannot create " + folder, Error{error.value(), Fault::kPlain, {}});
  if (auto root = mount_root_of(base))
    if (auto stats = MountStats::read(*root)) mount = *root, before = std::move(*stats);
  data.resize(block);
  std::mt19937_64 random(std::random_device{}());
  for (auto& c : data) c = static_cast<char>(random());
  double start = now();
  auto measured = measure();
  double seconds = now() - start;
  std::string extra;
  if (measured && before) {
    auto after = MountStats::read(mount);
    if (!after) return complain("", after.error());
    add_mount_rows(*after);
    extra = fmt::format(", CPU: {:.1f}%, Memory: {}", ((*after)["cpu_usage"] - (*before)["cpu_usage"]) / seconds * 100,
                        format_size(static_cast<uint64_t>((*after)["memory"])));
  }
  fs::remove_all(folder, error);
  if (!measured) return complain("benchmark", measured.error());
  if (json) {
    fmt::print("{}\n", out.dump(2));
    return 0;
  }
  fmt::print(
      "Benchmark finished!\nBlockSize: {}, BigFileSize: {}, SmallFileSize: {}, SmallFileCount: {}, NumThreads: "
      "{}\nTime used: {:.1f} s{}\n{}",
      format_size(block), format_size(big), format_size(small), small_file_count, threads, seconds, extra, table(rows));
  return 0;
}

}  // namespace

Runner setup_bench(CLI::App& app) {
  auto command = std::make_shared<BenchCommand>();
  positionals(app, command->args, 1, 1);
  app.add_option("--block-size", command->block_size, "bytes of one read or write, in MiB");
  app.add_option("--big-file-size", command->big_file_size, "size of a big file, in MiB; 0: none");
  app.add_option("--small-file-size", command->small_file_size, "size of a small file, in KiB; 0: none");
  app.add_option("--small-file-count", command->small_file_count, "small files of each thread");
  app.add_option("--threads,-p", command->threads, "threads");
  app.add_flag("--json", command->json, "print JSON");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
