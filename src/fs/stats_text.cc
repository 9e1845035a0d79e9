// The metrics of a mount (docs/behaviour/metrics.md), for .stats and the exporter.
#include <cstring>

#include "fs/filesystem.h"
#include "fs/handles.h"
#include "fs/metrics.h"
#include "fs/op.h"
#include "fs/volume_stats.h"
#include "meta/jobs.h"

namespace zest::fs {
namespace {

double seconds(uint64_t ns) { return static_cast<double>(ns) / 1e9; }

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
  out.gauge("staging_writing_blocks", "Blocks that are being staged.", s.stage_writing);
  out.counter("staging_write_bytes", "Bytes staged.", number(s.staged_total_bytes));
  out.counter("staging_block_delay_seconds", "Seconds that staged blocks waited, summed up.", number(s.staged_delay_s));
  out.counter("staging_block_errors", "Blocks that could not be staged.", number(s.stage_errors));
}

void add_budget(Metrics& out, const Budget& budget) {
  out.gauge("used_buffer_size_bytes", "Memory of the buffers.",
            static_cast<double>(std::max<int64_t>(0, budget.used())));
  // Readers and cached blocks share the one budget above.
  out.gauge("used_read_buffer_size_bytes", "Memory of readers alone.", 0);
  out.gauge("store_cache_size_bytes", "Memory of the cache alone.", 0);
  out.gauge("buffer_limit_bytes", "Memory that buffers may use.", static_cast<double>(budget.limit()));
  auto waits = budget.waits();
  out.counter("buffer_waits", "Times that somebody waited for memory.", number(waits.count));
  out.counter("buffer_wait_seconds", "Seconds waited for memory, summed up.", static_cast<double>(waits.ns) / 1e9);
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
  out.gauge("object_request_uploading", "Uploads under way.", s.uploading);
  out.counter("object_request_errors", "Requests that failed.", number(s.object_errors));
  auto counts = data.storage().counts();
  out.counter("object_request_hedges", "Slow reads that were asked for a second time.", number(counts.hedges));
  out.counter("object_request_hedges_won", "Of those, ones whose second answer came first.", number(counts.hedges_won));
  out.histogram("compact_size_histogram_bytes", "Bytes of compactions.", s.compact_sizes);
}

void add_methods(Metrics& out, const OpStats::Counts& counts) {
  for (size_t i = 0; i < kMethods; i++) {
    auto& of = counts.methods[i];
    if (of.count == 0) continue;
    std::string method = name_of(static_cast<Method>(i));
    Labels labels{{"method", method}};
    out.counter("fuse_ops_total", "Operations.", number(of.count), labels);
    out.counter("fuse_ops_durations_seconds", "Seconds in operations.", seconds(of.ns), labels);
    out.counter("fuse_ops_round_trips", "Round trips to the database that operations waited for.",
                number(of.round_trips), labels);
    for (size_t part = 0; part < kParts; part++)
      out.counter("fuse_ops_part_seconds", "Seconds in operations, by what they were spent on.",
                  static_cast<double>(of.part_ns[part]) / 1e9,
                  {{"method", method}, {"part", zest::name_of(static_cast<Part>(part))}});
  }
}

void add_operations(Metrics& out, const OpStats::Counts& counts) {
  out.histogram("fuse_ops_durations_histogram_seconds", "Latency of operations.", counts.durations);
  out.histogram("fuse_read_size_bytes", "Sizes of reads.", counts.read_sizes);
  out.histogram("fuse_written_size_bytes", "Sizes of writes.", counts.written_sizes);
  out.counter("fuse_ops_slow", "Operations over the limit of --slow-op.", number(counts.slow));
  add_methods(out, counts);
  for (size_t i = 1; i < OpStats::kErrnos; i++) {
    if (counts.errors[i] == 0) continue;
    auto* name = strerrorname_np(static_cast<int>(i));
    out.counter("fuse_ops_io_errors", "Operations that failed.", number(counts.errors[i]),
                {{"errno", name ? name : std::to_string(i)}});
  }
}

// What reads cost: bytes fetched for them against bytes that they gave.
void add_amplification(Metrics& out, const data::DataStats& s, double read_bytes) {
  auto fetched = [&](const char* reason, uint64_t bytes) {
    out.counter("fetched_bytes", "Bytes of blocks fetched from the object storage, by reason.", number(bytes),
                {{"reason", reason}});
  };
  fetched("demand", s.fetched_demand);
  fetched("ahead", s.fetched_ahead);
  fetched("warmup", s.fetched_warm);
  double all = number(s.fetched_demand) + number(s.fetched_ahead);
  out.gauge("read_amplification", "Bytes fetched for reads for each byte read, since the start.",
            read_bytes > 0 ? all / read_bytes : 0);
}

void add_meta(Metrics& out, const meta::CallStats& stats) {
  meta::CallStats::Counts counts;
  stats.sum(counts);
  out.histogram("meta_ops_durations_histogram_seconds", "Latency of calls of the metadata engine.",
                counts.call_seconds);
  out.histogram("transaction_durations_histogram_seconds", "Latency of transactions.", counts.txn_seconds);
  out.counter("meta_round_trips", "Round trips to the database, background work included.", number(round_trips()));
  for (size_t i = 0; i < meta::kCalls; i++) {
    auto& of = counts.calls[i];
    Labels labels{{"method", meta::name_of(static_cast<meta::Call>(i))}};
    if (of.restarts > 0) out.counter("transaction_restart", "Transactions tried again.", number(of.restarts), labels);
    if (of.count == 0) continue;
    out.counter("meta_ops_total", "Calls of the metadata engine.", number(of.count), labels);
    out.counter("meta_ops_duration_seconds", "Seconds in calls of the metadata engine.", seconds(of.ns), labels);
  }
}

// The reference's own prefix is doubled in these names.
void add_clean_ups(Metrics& out, const meta::CleanUpStats& stats) {
  auto add = [&](const char* job, const meta::CleanUpStats::PerJob& of) {
    for (bool done : {true, false})
      out.histogram("juicefs_bgjob_duration_seconds", "Duration of background jobs.",
                    done ? of.done_seconds : of.failed_seconds, {{"job", job}, {"status", done ? "succ" : "fail"}});
    out.counter("juicefs_bgjob_deletions_total", "What background jobs removed.", number(of.removed), {{"job", job}});
  };
  add("cleanupDeletedFiles", stats.files);
  add("cleanupSlices", stats.slices);
  add("cleanupTrash", stats.trash);
}

}  // namespace

std::vector<Metric> FileSystem::metrics() const {
  Metrics out;
  using Seconds = std::chrono::duration<double>;
  add_process_metrics(out, Seconds(std::chrono::steady_clock::now() - stats_->started).count());
  volume_stats_->add_to(out);
  add_meta(out, meta_.engine().stats);
  OpStats::Counts counts;
  stats_->sum(counts);
  add_operations(out, counts);
  out.gauge("fuse_open_handlers", "Inodes that are open.", number(handles_->inodes()));
  add_cache(out, data_);
  add_budget(out, data_.budget());
  add_objects(out, data_, meta_.format().storage_class);
  add_amplification(out, data_.stats(), counts.read_sizes.sum());
  if (!meta_.options().no_background_jobs) add_clean_ups(out, meta_.clean_up_stats());
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
