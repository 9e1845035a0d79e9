#include "fs/metrics.h"

#include <gtest/gtest.h>

namespace zest::fs {
namespace {

std::vector<Metric> example() {
  static Histogram sizes(4096, 0, 2), seconds(0.00001, 1.8, 5);
  if (sizes.count() == 0) {
    for (double size : {0.0, 4096.0, 4097.0, 8192.0, 1e9}) sizes.add(size);
    seconds.add(0.00002);
  }
  Metrics out;
  out.gauge("uptime", "Up.", 1.5);
  out.counter("fuse_ops_total", "Ops.", 3, {{"method", "read"}});
  out.counter("object_request_errors", "Errors.", 0);
  out.counter("fuse_ops_total", "Ops.", 4, {{"method", "write"}});
  out.counter("object_request_data_bytes", "Bytes.", 3e12, {{"method", "GET"}, {"storage_class", "STANDARD"}});
  out.histogram("fuse_read_size_bytes", "Sizes.", sizes);
  out.histogram("fuse_ops_durations_histogram_seconds", "Latency.", seconds);
  return std::move(out).sorted();
}

TEST(Metrics, StatsLinesAreFlatAndSorted) {
  EXPECT_EQ(stats_lines(example()),
            "juicefs_fuse_ops_durations_histogram_seconds_total 1\n"
            "juicefs_fuse_ops_durations_histogram_seconds_sum 0.00002\n"
            "juicefs_fuse_ops_total_read 3\n"
            "juicefs_fuse_ops_total_write 4\n"
            "juicefs_fuse_read_size_bytes_total 5\n"
            "juicefs_fuse_read_size_bytes_sum 1000016385\n"
            "juicefs_object_request_data_bytes_GET 3000000000000\n"
            "juicefs_object_request_errors 0\n"
            "juicefs_uptime 1.5\n");
}

TEST(Metrics, PrometheusTextHasTypesLabelsAndBuckets) {
  auto text = prometheus_text(example(), {{"mp", "/a \"b\"\\"}}, false);
  auto has = [&](const std::string& line) { EXPECT_NE(text.find(line + "\n"), text.npos) << line << "\n" << text; };
  has("# TYPE juicefs_fuse_ops_total counter");
  has("juicefs_fuse_ops_total{mp=\"/a \\\"b\\\"\\\\\",method=\"read\"} 3");
  has("# TYPE juicefs_fuse_read_size_bytes histogram");
  has("juicefs_fuse_read_size_bytes_bucket{mp=\"/a \\\"b\\\"\\\\\",le=\"4096\"} 2");
  has("juicefs_fuse_read_size_bytes_bucket{mp=\"/a \\\"b\\\"\\\\\",le=\"8192\"} 4");
  has("juicefs_fuse_read_size_bytes_bucket{mp=\"/a \\\"b\\\"\\\\\",le=\"+Inf\"} 5");
  has("juicefs_fuse_read_size_bytes_count{mp=\"/a \\\"b\\\"\\\\\"} 5");
  has("juicefs_fuse_ops_durations_histogram_seconds_bucket{mp=\"/a \\\"b\\\"\\\\\",le=\"5.8320000000000004e-05\"} 1");
  EXPECT_EQ(text.find("# EOF"), text.npos);
}

TEST(Metrics, OpenMetricsKnowsCountersByTheirEnding) {
  auto text = prometheus_text(example(), {}, true);
  for (auto* line : {"# TYPE juicefs_fuse_ops counter\n", "juicefs_fuse_ops_total{method=\"read\"} 3\n",
                     "# TYPE juicefs_object_request_errors unknown\n", "juicefs_object_request_errors 0\n",
                     "juicefs_fuse_read_size_bytes_bucket{le=\"4096.0\"} 2\n"})
    EXPECT_NE(text.find(line), text.npos) << line;
  EXPECT_TRUE(text.ends_with("# EOF\n"));
}

TEST(Metrics, GraphiteTextHasTags) {
  auto text = graphite_text(example(), {{"mp", "/a b;c"}, {"empty", ""}}, 1700000000);
  for (auto* line :
       {"juicefs_uptime;mp=/a_b_c 1.5 1700000000\n", "juicefs_fuse_ops_total;mp=/a_b_c;method=read 3 1700000000\n",
        "juicefs_fuse_read_size_bytes_bucket;mp=/a_b_c;le=4096 2 1700000000\n",
        "juicefs_fuse_read_size_bytes_bucket;mp=/a_b_c;le=+Inf 5 1700000000\n",
        "juicefs_fuse_read_size_bytes_sum;mp=/a_b_c 1000016385 1700000000\n",
        "juicefs_fuse_read_size_bytes_count;mp=/a_b_c 5 1700000000\n"})
    EXPECT_NE(text.find(line), text.npos) << line << text;
}

}  // namespace
}  // namespace zest::fs
