// The metrics of a mount (docs/behaviour/metrics.md), for .stats and the exporter.
#include <dirent.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "fs/filesystem.h"
#include "fs/handles.h"
#include "fs/metrics.h"
#include "fs/op.h"

namespace zest::fs {
namespace {

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
  if (auto* dir = opendir("/proc/self/fd")) {
    while (readdir(dir)) use.fds++;
    closedir(dir);
    use.fds -= std::min<uint64_t>(use.fds, 3);  // ".", ".." and this one
  }
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) use.max_fds = files.rlim_cur;
  return use;
}

double number(uint64_t value) { return static_cast<double>(value); }

void add_process(Metrics& out, double uptime) {
  auto use = process_use();
  out.gauge("uptime", "Seconds since the start of the client.", uptime);
  out.gauge("cpu_usage", "Seconds of CPU used.", use.cpu_s);
  out.gauge("memory", "Resident memory in bytes.", number(use.resident));
  out.counter("process_cpu_seconds_total", "Seconds of CPU used.", use.cpu_s);
  out.gauge("process_resident_memory_bytes", "Resident memory.", number(use.resident));
  out.gauge("process_virtual_memory_bytes", "Virtual memory.", number(use.virt));
  out.gauge("process_open_fds", "Open file descriptors.", number(use.fds));
  out.gauge("process_max_fds", "Limit of open file descriptors.", number(use.max_fds));
  out.gauge("process_start_time_seconds", "Start of the process, in Unix time.",
            static_cast<double>(system_clock().now().sec) - std::floor(uptime));
  // Tools of the reference show these of its runtime; ours are the nearest things.
  out.gauge("go_goroutines", "Threads.", number(use.threads));
  out.gauge("go_threads", "Threads.", number(use.threads));
  auto heap = mallinfo2();
  out.gauge("go_memstats_alloc_bytes", "Heap in use.", number(heap.uordblks + heap.hblkhd));
  out.gauge("go_memstats_sys_bytes", "Heap reserved.", number(heap.arena + heap.hblkhd));
}

void add_cache(Metrics& out, data::Data& data) {
  auto& s = data.stats();
  auto [blocks, bytes] = data.cached();
  out.gauge("blockcache_blocks", "Blocks in the cache.", number(blocks));
  out.gauge("blockcache_bytes", "Bytes in the cache.", number(bytes));
  out.counter("blockcache_hits", "Reads that the cache answered.", number(s.cache_hits));
  out.counter("blockcache_miss", "Reads that it did not.", number(s.cache_misses));
  out.counter("blockcache_hit_bytes", "Bytes read from the cache.", number(s.cache_hit_bytes));
  out.counter("blockcache_miss_bytes", "Bytes that were not in the cache.", number(s.cache_miss_bytes));
  out.counter("blockcache_writes", "Blocks written to the cache.", number(s.cache_writes));
  out.counter("blockcache_write_bytes", "Bytes written to the cache.", number(s.cache_write_bytes));
  out.counter("blockcache_drops", "Blocks that were not cached.", number(s.cache_drops));
  out.counter("blockcache_evicts", "Blocks evicted.", number(s.cache_evictions));
  out.histogram("blockcache_read_hist_seconds", "Latency of hits.", s.cache_read_seconds);
  out.histogram("blockcache_write_hist_seconds", "Latency of writes to the cache.", s.cache_write_seconds);
  out.gauge("staging_blocks", "Blocks that wait for their upload.", number(s.staged_blocks));
  out.gauge("staging_block_bytes", "Bytes that wait for their upload.", number(s.staged_bytes));
  out.counter("staging_write_bytes", "Bytes staged.", number(s.staged_total_bytes));
  out.counter("staging_block_delay_seconds", "Seconds that staged blocks waited, summed up.", number(s.staged_delay_s));
  out.counter("staging_block_errors", "Blocks that could not be staged.", number(s.stage_errors));
  out.gauge("used_buffer_size_bytes", "Memory of the buffers.",
            static_cast<double>(std::max<int64_t>(0, data.budget().used())));
  // Readers and cached blocks share the one budget above.
  out.gauge("used_read_buffer_size_bytes", "Memory of readers alone.", 0);
  out.gauge("store_cache_size_bytes", "Memory of the cache alone.", 0);
}

void add_objects(Metrics& out, data::Data& data, const std::string& configured_class) {
  auto& s = data.stats();
  const std::string standard = configured_class.empty() ? "STANDARD" : configured_class;
  auto labels = [&](const char* method, const std::string& storage_class) {
    return Labels{{"method", method}, {"storage_class", storage_class}};
  };
  auto requests = [&](const char* method, const std::string& storage_class, const Histogram& seconds) {
    if (seconds.count() > 0)
      out.histogram("object_request_durations_histogram_seconds", "Latency of requests to the object storage.", seconds,
                    labels(method, storage_class));
  };
  requests("GET", standard, s.get_seconds);
  requests("PUT", standard, s.put_seconds);
  requests("DELETE", "", s.delete_seconds);
  auto bytes = [&](const char* method, uint64_t count) {
    out.counter("object_request_data_bytes", "Bytes from and to the object storage.", number(count),
                labels(method, standard));
  };
  if (s.get_seconds.count() > 0) bytes("GET", s.object_get_bytes);
  if (s.put_seconds.count() > 0) bytes("PUT", s.object_put_bytes);
  out.counter("object_request_errors", "Requests that failed.", number(s.object_errors));
  out.histogram("compact_size_histogram_bytes", "Bytes of compactions.", s.compact_sizes);
}

void add_operations(Metrics& out, const OpStats& stats, uint64_t open_inodes) {
  out.histogram("fuse_ops_durations_histogram_seconds", "Latency of operations.", stats.durations);
  out.histogram("fuse_read_size_bytes", "Sizes of reads.", stats.read_sizes);
  out.histogram("fuse_written_size_bytes", "Sizes of writes.", stats.written_sizes);
  out.gauge("fuse_open_handlers", "Inodes that are open.", number(open_inodes));
  for (size_t i = 0; i < kMethods; i++) {
    uint64_t count = stats.methods[i].count;
    if (count == 0) continue;
    Labels labels{{"method", name_of(static_cast<Method>(i))}};
    out.counter("fuse_ops_total", "Operations.", number(count), labels);
    out.counter("fuse_ops_durations_seconds", "Seconds in operations.", number(stats.methods[i].ns) / 1e9, labels);
  }
  for (size_t i = 1; i < OpStats::kErrnos; i++) {
    if (stats.errors[i] == 0) continue;
    auto* name = strerrorname_np(static_cast<int>(i));
    out.counter("fuse_ops_io_errors", "Operations that failed.", number(stats.errors[i]),
                {{"errno", name ? name : std::to_string(i)}});
  }
}

}  // namespace

std::vector<Metric> FileSystem::metrics() const {
  Metrics out;
  using Seconds = std::chrono::duration<double>;
  add_process(out, Seconds(std::chrono::steady_clock::now() - stats_->started).count());
  if (auto fs = meta_.statfs({}, kRootIno)) {
    out.gauge("used_space", "Bytes used.", number(fs->total_space - fs->avail_space));
    out.gauge("used_inodes", "Inodes used.", number(fs->used_inodes));
    out.gauge("total_space", "Capacity in bytes.", number(fs->total_space));
    out.gauge("total_inodes", "Inodes used and available.", number(fs->used_inodes + fs->avail_inodes));
  }
  auto& txns = meta_.engine().stats;
  out.histogram("meta_ops_durations_histogram_seconds", "Latency of calls of the metadata engine.", txns.seconds);
  out.histogram("transaction_durations_histogram_seconds", "Latency of transactions.", txns.write_seconds);
  if (txns.restarts > 0) out.counter("transaction_restart", "Transactions tried again.", number(txns.restarts));
  add_operations(out, *stats_, handles_->inodes());
  add_cache(out, data_);
  add_objects(out, data_, meta_.format().storage_class);
  std::lock_guard lock(background_mutex_);
  for (auto& source : metric_sources_) source(out);
  return std::move(out).sorted();
}

void FileSystem::add_metrics(std::function<void(Metrics&)> source) {
  std::lock_guard lock(background_mutex_);
  metric_sources_.push_back(std::move(source));
}

std::string FileSystem::stats_text() const { return stats_lines(metrics()); }

}  // namespace zest::fs
