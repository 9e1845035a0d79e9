#include "fs/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace zest::fs {
namespace {

constexpr std::string_view kPrefix = "juicefs_";

// The shortest decimal that is this number, never with an exponent.
std::string plain(double value) {
  if (!std::isfinite(value)) return "0";
  if (value == std::floor(value) && std::abs(value) < 1e15) return fmt::format("{:.0f}", value + 0.0);
  auto text = fmt::format("{:.9f}", value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

// The shortest text that gives the double back.
std::string exact(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return fmt::format("{:.0f}", value + 0.0);
  return fmt::format("{}", value);
}

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

std::string label_text(const Labels& common, const Labels& own, std::string_view le = {}) {
  std::string out;
  auto add = [&](std::string_view name, std::string_view value) {
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "{" : ",", name, escaped(value));
  };
  for (auto& [name, value] : common) add(name, value);
  for (auto& [name, value] : own) add(name, value);
  if (!le.empty()) add("le", le);
  return out.empty() ? out : out + "}";
}

void add_sample(std::string& out, const Metric& metric, const Sample& sample, const Labels& common, bool open_metrics) {
  auto name = fmt::format("{}{}", kPrefix, metric.name);
  auto labels = label_text(common, sample.labels);
  if (metric.type != MetricType::kHistogram) {
    out += fmt::format("{}{} {}\n", name, labels, exact(sample.value));
    return;
  }
  for (auto& bucket : sample.buckets) {
    auto upper = exact(bucket.upper);
    if (open_metrics && upper.find_first_of(".e") == upper.npos) upper += ".0";
    out += fmt::format("{}_bucket{} {}\n", name, label_text(common, sample.labels, upper), bucket.count);
  }
  out += fmt::format("{}_bucket{} {}\n", name, label_text(common, sample.labels, "+Inf"), sample.count);
  out += fmt::format("{}_sum{} {}\n{}_count{} {}\n", name, labels, exact(sample.sum), name, labels, sample.count);
}

// What a tag of Graphite may hold: no ';', no blanks, no '~' in front.
std::string tag_value(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c == ';' || static_cast<unsigned char>(c) <= ' ' || c == 0x7F) c = '_';
  if (out.starts_with('~')) out[0] = '_';
  return out;
}

std::string tags_text(const Labels& common, const Labels& own) {
  std::string out;
  for (auto* labels : {&common, &own})
    for (auto& [name, value] : *labels)
      if (!value.empty()) out += fmt::format(";{}={}", name, tag_value(value));
  return out;
}

}  // namespace

Metric& Metrics::metric(std::string_view name, MetricType type, std::string_view help) {
  for (auto& one : all_)
    if (one.name == name) return one;
  return all_.emplace_back(Metric{std::string(name), type, std::string(help), {}});
}

void Metrics::gauge(std::string_view name, std::string_view help, double value, Labels labels) {
  metric(name, MetricType::kGauge, help).samples.push_back({std::move(labels), value, 0, 0, {}});
}

void Metrics::counter(std::string_view name, std::string_view help, double value, Labels labels) {
  metric(name, MetricType::kCounter, help).samples.push_back({std::move(labels), value, 0, 0, {}});
}

void Metrics::histogram(std::string_view name, std::string_view help, const Histogram& values, Labels labels) {
  Sample sample{std::move(labels), 0, 0, values.sum(), values.buckets()};
  // The total is read last, and values are put into buckets before they are counted: the total of a reply that sees
  // them in between must still not be below its buckets.
  sample.count = std::max(values.count(), sample.buckets.empty() ? 0 : sample.buckets.back().count);
  metric(name, MetricType::kHistogram, help).samples.push_back(std::move(sample));
}

std::vector<Metric> Metrics::sorted() && {
  std::sort(all_.begin(), all_.end(), [](const Metric& a, const Metric& b) { return a.name < b.name; });
  return std::move(all_);
}

std::string stats_lines(const std::vector<Metric>& metrics) {
  std::string out;
  for (auto& metric : metrics)
    for (auto& sample : metric.samples) {
      auto name = fmt::format("{}{}", kPrefix, metric.name);
      for (auto& [label, value] : sample.labels)
        if (label == "method" || label == "errno" || label == "part") name += "_" + value;
      if (metric.type == MetricType::kHistogram)
        out += fmt::format("{}_total {}\n{}_sum {}\n", name, sample.count, name, plain(sample.sum));
      else
        out += fmt::format("{} {}\n", name, plain(sample.value));
    }
  return out;
}

std::string prometheus_text(const std::vector<Metric>& metrics, const Labels& common, bool open_metrics) {
  std::string out;
  for (auto& metric : metrics) {
    std::string family = fmt::format("{}{}", kPrefix, metric.name);
    std::string_view type = "gauge";
    if (metric.type == MetricType::kHistogram) type = "histogram";
    if (metric.type == MetricType::kCounter) {
      type = "counter";
      // OpenMetrics knows counters by their ending, which is no part of the family's name.
      if (open_metrics && family.ends_with("_total"))
        family.resize(family.size() - 6);
      else if (open_metrics)
        type = "unknown";
    }
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", family, escaped(metric.help), family, type);
    for (auto& sample : metric.samples) add_sample(out, metric, sample, common, open_metrics);
  }
  if (open_metrics) out += "# EOF\n";
  return out;
}

std::string graphite_text(const std::vector<Metric>& metrics, const Labels& common, int64_t unix_s) {
  std::string out;
  for (auto& metric : metrics)
    for (auto& sample : metric.samples) {
      auto tags = tags_text(common, sample.labels);
      auto line = [&](std::string_view ending, std::string_view le, double value) {
        out += fmt::format("{}{}{}{}{}{} {} {}\n", kPrefix, metric.name, ending, tags, le.empty() ? "" : ";le=", le,
                           exact(value), unix_s);
      };
      if (metric.type != MetricType::kHistogram) {
        line("", "", sample.value);
        continue;
      }
      for (auto& bucket : sample.buckets) line("_bucket", exact(bucket.upper), number(bucket.count));
      line("_bucket", "+Inf", number(sample.count));
      line("_sum", "", sample.sum);
      line("_count", "", number(sample.count));
    }
  return out;
}

}  // namespace zest::fs
