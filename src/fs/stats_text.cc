// .stats: the metrics of docs/behaviour/metrics.md, flattened.
#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>

#include "fs/filesystem.h"
#include "fs/handles.h"
#include "fs/op.h"

namespace zest::fs {
namespace {

std::string plain(double value) {
  auto text = fmt::format("{:.9f}", value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

class Lines {
 public:
  void add(std::string_view name, double value) { lines_.emplace(fmt::format("juicefs_{}", name), plain(value)); }
  void add(std::string_view name, uint64_t value) {
    lines_.emplace(fmt::format("juicefs_{}", name), std::to_string(value));
  }
  void histogram(std::string_view name, uint64_t count, double sum) {
    add(fmt::format("{}_total", name), count);
    add(fmt::format("{}_sum", name), sum);
  }
  void histogram(std::string_view name, const Histogram& h) { histogram(name, h.count(), h.sum()); }
  std::string text() const {
    std::string out;
    for (auto& [name, value] : lines_) out += name + " " + value + "\n";
    return out;
  }

 private:
  std::multimap<std::string, std::string> lines_;
};

struct ProcessUse {
  double cpu_s = 0;
  uint64_t resident = 0, virt = 0, threads = 0, fds = 0, max_fds = 0;
};

ProcessUse process_use() {
  ProcessUse use;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  use.cpu_s = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
              static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0, resident = 0;
  if (statm >> pages >> resident) use.virt = pages * 4096, use.resident = resident * 4096;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "Threads:") status >> use.threads;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) use.max_fds = files.rlim_cur;
  return use;
}

void add_data(Lines& out, data::Data& data) {
  auto& s = data.stats();
  auto [blocks, bytes] = data.cached();
  out.add("blockcache_blocks", blocks);
  out.add("blockcache_bytes", bytes);
  out.add("blockcache_hits", s.cache_hits.load());
  out.add("blockcache_miss", s.cache_misses.load());
  out.add("blockcache_hit_bytes", s.cache_hit_bytes.load());
  out.add("blockcache_miss_bytes", s.cache_miss_bytes.load());
  out.add("blockcache_writes", s.cache_writes.load());
  out.add("blockcache_write_bytes", s.cache_write_bytes.load());
  out.add("blockcache_drops", s.cache_drops.load());
  out.add("blockcache_evicts", s.cache_evictions.load());
  out.histogram("blockcache_read_hist_seconds", s.cache_hits.load(), static_cast<double>(s.cache_read_us.load()) / 1e6);
  out.add("staging_blocks", s.staged_blocks.load());
  out.add("staging_block_bytes", s.staged_bytes.load());
  out.add("used_buffer_size_bytes", static_cast<uint64_t>(std::max<int64_t>(0, data.budget().used())));
  out.add("used_read_buffer_size_bytes", uint64_t{0});
  out.add("store_cache_size_bytes", uint64_t{0});
  auto request = [&](const char* method, uint64_t count, uint64_t us) {
    out.histogram(fmt::format("object_request_durations_histogram_seconds_{}", method), count,
                  static_cast<double>(us) / 1e6);
  };
  if (s.object_gets > 0) {
    request("GET", s.object_gets.load(), s.object_get_us.load());
    out.add("object_request_data_bytes_GET", s.object_get_bytes.load());
  }
  if (s.object_puts > 0) {
    request("PUT", s.object_puts.load(), s.object_put_us.load());
    out.add("object_request_data_bytes_PUT", s.object_put_bytes.load());
  }
  if (s.object_deletes > 0) request("DELETE", s.object_deletes.load(), 0);
  out.add("object_request_errors", s.object_errors.load());
  out.histogram("compact_size_histogram_bytes", s.compactions.load(), static_cast<double>(s.compact_bytes.load()));
}

}  // namespace

std::string FileSystem::stats_text() const {
  Lines out;
  auto use = process_use();
  using Seconds = std::chrono::duration<double>;
  out.add("uptime", Seconds(std::chrono::steady_clock::now() - stats_->started).count());
  out.add("cpu_usage", use.cpu_s);
  out.add("memory", use.resident);
  out.add("process_cpu_seconds_total", use.cpu_s);
  out.add("process_resident_memory_bytes", use.resident);
  out.add("process_virtual_memory_bytes", use.virt);
  out.add("process_max_fds", use.max_fds);
  // The reference's tools show these of its runtime; ours are the nearest things.
  out.add("go_goroutines", use.threads);
  out.add("go_threads", use.threads);
  auto heap = mallinfo2();
  out.add("go_memstats_alloc_bytes", static_cast<uint64_t>(heap.uordblks + heap.hblkhd));
  out.add("go_memstats_sys_bytes", static_cast<uint64_t>(heap.arena + heap.hblkhd));

  if (auto fs = meta_.statfs({}, kRootIno)) {
    out.add("used_space", fs->total_space - fs->avail_space);
    out.add("used_inodes", fs->used_inodes);
    out.add("total_space", fs->total_space);
    out.add("total_inodes", fs->used_inodes + fs->avail_inodes);
  }
  out.histogram("fuse_ops_durations_histogram_seconds", stats_->durations);
  out.histogram("fuse_read_size_bytes", stats_->read_sizes);
  out.histogram("fuse_written_size_bytes", stats_->written_sizes);
  out.add("fuse_open_handlers", static_cast<uint64_t>(handles_->inodes()));
  for (size_t i = 0; i < kMethods; i++) {
    uint64_t count = stats_->methods[i].count;
    if (count == 0) continue;
    auto* name = name_of(static_cast<Method>(i));
    out.add(fmt::format("fuse_ops_total_{}", name), count);
    out.add(fmt::format("fuse_ops_durations_seconds_{}", name), static_cast<double>(stats_->methods[i].ns) / 1e9);
  }
  for (size_t i = 1; i < OpStats::kErrnos; i++) {
    if (stats_->errors[i] == 0) continue;
    auto* name = strerrorname_np(static_cast<int>(i));
    out.add(fmt::format("fuse_ops_io_errors_{}", name ? name : std::to_string(i)), stats_->errors[i].load());
  }
  add_data(out, data_);
  return out.text();
}

}  // namespace zest::fs
