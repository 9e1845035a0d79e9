// Tells a Consul agent where the metrics of this client are (docs/behaviour/metrics.md section 4).
#pragma once

#include <string>

#include "base/result.h"

namespace zest::metrics {

struct ConsulService {
  std::string agent;    // "HOST:PORT"
  std::string address;  // "HOST:PORT" of the metrics, as bound
  std::string mount_point, host;
};

// The service as the agent's API takes it. `ip`: where this machine is to be reached when the metrics listen at all
// addresses.
std::string consul_registration(const ConsulService& service, const std::string& ip);
// Registers it, once.
Result<void> register_at_consul(const ConsulService& service);

}  // namespace zest::metrics
