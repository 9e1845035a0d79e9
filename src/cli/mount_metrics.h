// How the metrics of a mount get out: an HTTP endpoint, a registration at Consul, pushes.
#pragma once

#include <memory>
#include <string>

#include "cli/mount_options.h"
#include "front/metrics/push.h"
#include "front/metrics/server.h"
#include "fs/metrics.h"

namespace zest::cli {

class MountMetrics {
 public:
  explicit MountMetrics(const MountSettings& settings) : settings_(settings) {}

  // Binds the endpoint and writes its address, and Consul's, into `fs`, for .config. Metrics are no reason not to
  // mount: what fails is logged.
  void listen(fs::Options& fs);
  // From now on answers, registers and pushes. The file system must outlive this.
  void start(const fs::FileSystem& fs, const std::string& volume);

 private:
  std::string address_to_bind() const;
  void register_service(const std::string& host) const;
  void start_pushing(const fs::FileSystem& fs, fs::Labels labels);

  const MountSettings& settings_;
  std::unique_ptr<metrics::Server> server_;
  std::unique_ptr<metrics::Push> push_;
};

}  // namespace zest::cli
