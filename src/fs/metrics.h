// What a client counts, as named metrics (docs/behaviour/metrics.md), and the texts that show them: the lines of
// .stats, the format of Prometheus, and that of Graphite.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/histogram.h"

namespace zest::fs {

using Labels = std::vector<std::pair<std::string, std::string>>;

enum class MetricType : uint8_t { kGauge, kCounter, kHistogram };

struct Sample {
  Labels labels;
  double value = 0;
  // of a histogram, instead of the value
  uint64_t count = 0;
  double sum = 0;
  std::vector<Histogram::Bucket> buckets;
};

struct Metric {
  std::string name;  // without the prefix "juicefs_"
  MetricType type = MetricType::kGauge;
  std::string help;
  std::vector<Sample> samples;
};

// A snapshot that is being taken.
class Metrics {
 public:
  void gauge(std::string_view name, std::string_view help, double value, Labels labels = {});
  void counter(std::string_view name, std::string_view help, double value, Labels labels = {});
  void histogram(std::string_view name, std::string_view help, const Histogram& values, Labels labels = {});
  // By name, as both texts want them.
  std::vector<Metric> sorted() &&;

 private:
  Metric& metric(std::string_view name, MetricType type, std::string_view help);
  std::vector<Metric> all_;
};

inline double number(uint64_t value) { return static_cast<double>(value); }

// uptime, memory, process_*, go_*.
void add_process_metrics(Metrics& out, double uptime);

// "name value" lines: of histograms the count and the sum; of the labels only the values of method, errno and part, as
// part of the name.
std::string stats_lines(const std::vector<Metric>& metrics);
// Prometheus' text format, or OpenMetrics 1.0. `common` labels every sample.
std::string prometheus_text(const std::vector<Metric>& metrics, const Labels& common, bool open_metrics);
// Graphite's plaintext protocol with tags: lines "name;label=value VALUE UNIX-SECONDS". Histograms have the series that
// they have in Prometheus.
std::string graphite_text(const std::vector<Metric>& metrics, const Labels& common, int64_t unix_s);

}  // namespace zest::fs
