#include "cli/mount_metrics.h"

#include <fmt/format.h>
#include <unistd.h>

#include <map>

#include "base/log.h"
#include "cli/command.h"
#include "front/metrics/consul.h"
#include "front/metrics/tcp.h"

namespace zest::cli {
namespace {

std::string host_name() {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  return host;
}

// A push gateway puts its own `job` over that of background jobs, which would then be one and the same: it gets the
// name that Prometheus gives such labels.
std::vector<fs::Metric> metrics_to_push(const fs::FileSystem& fs) {
  auto metrics = fs.metrics();
  for (auto& metric : metrics)
    for (auto& sample : metric.samples)
      for (auto& label : sample.labels)
        if (label.first == "job") label.first = "exported_job";
  return metrics;
}

}  // namespace

// With Consul, others want to reach the metrics: not the loop-back address then.
std::string MountMetrics::address_to_bind() const {
  if (settings_.consul.empty() || settings_.metrics_given) return settings_.metrics;
  auto ip = metrics::local_address_towards(settings_.consul);
  if (!ip) {
    log_error("consul: " + ip.error().message());
    return settings_.metrics;
  }
  auto port = settings_.metrics.substr(settings_.metrics.rfind(':'));
  return (ip->find(':') == std::string::npos ? *ip : "[" + *ip + "]") + port;
}

void MountMetrics::listen(fs::Options& fs) {
  if (settings_.metrics.empty()) return;
  auto server = metrics::Server::listen(address_to_bind(), !settings_.metrics_given);
  if (!server) return log_error("no metrics: " + server.error().message());
  server_ = std::move(*server);
  fs.metrics_address = server_->address();
  fs.consul_address = settings_.consul;
  log_info("Prometheus metrics listening on " + server_->address());
}

void MountMetrics::start(const fs::FileSystem& fs, const std::string& volume) {
  auto host = host_name();
  std::map<std::string, std::string> named = {{"vol_name", volume},
                                              {"mp", settings_.mount_point},
                                              {"instance", host},
                                              {"juicefs_version", std::string(kCompatVersion) + "+zestfs"}};
  for (auto& [name, value] : settings_.labels) named[name] = value;
  fs::Labels labels(named.begin(), named.end());
  if (server_)
    server_->start([&fs, labels](bool open_metrics) { return prometheus_text(fs.metrics(), labels, open_metrics); });
  if (server_ && !settings_.consul.empty()) register_service(host);
  if (settings_.push.wanted()) start_pushing(fs, labels);
}

void MountMetrics::register_service(const std::string& host) const {
  metrics::ConsulService service{settings_.consul, server_->address(), settings_.mount_point, host};
  if (auto done = metrics::register_at_consul(service); !done)
    log_error("consul: " + done.error().message());
  else
    log_info("registered at consul " + settings_.consul);
}

void MountMetrics::start_pushing(const fs::FileSystem& fs, fs::Labels labels) {
  fs::Labels group;
  for (auto& label : labels)
    if (label.first != "juicefs_version") group.push_back(label);
  for (auto& label : settings_.push_labels) {
    group.push_back(label);
    labels.push_back(label);
  }
  metrics::Push::Texts texts{
      [&fs, labels] { return prometheus_text(metrics_to_push(fs), labels, false); },
      [&fs, labels] { return graphite_text(fs.metrics(), labels, system_clock().now().sec); },
  };
  push_ = std::make_unique<metrics::Push>(settings_.push, group, std::move(texts));
}

}  // namespace zest::cli
