// Sends the metrics, every so often, to a Prometheus Pushgateway and to Graphite, for clients that nobody can scrape
// (docs/behaviour/metrics.md section 4, "SDK push").
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/threads.h"
#include "object/http.h"

namespace zest::metrics {

struct PushOptions {
  std::string gateway;   // "http://HOST:PORT" or "HOST:PORT"; empty: none
  std::string auth;      // "USER:PASSWORD" of the gateway; never shown
  std::string graphite;  // "HOST:PORT"; empty: none
  int64_t interval_ms = 10'000;
  bool wanted() const { return !gateway.empty() || !graphite.empty(); }
};

// The path of a gateway's group: "/metrics/job/juicefs/NAME/VALUE..." in the order given; values that a path cannot
// hold go as base64 (github.com/prometheus/pushgateway, "URL").
std::string gateway_path(const std::vector<std::pair<std::string, std::string>>& group);

class Push {
 public:
  struct Texts {
    std::function<std::string()> prometheus;  // text format 0.0.4
    std::function<std::string()> graphite;    // lines of the plaintext protocol
  };
  // The texts are asked for by a thread of its own until destruction.
  Push(PushOptions options, const std::vector<std::pair<std::string, std::string>>& group, Texts texts);

 private:
  void push();
  Result<void> push_to_gateway();
  void tell(const char* where, bool& failing, const Result<void>& done);

  const PushOptions options_;
  const std::string url_;
  const Texts texts_;
  object::HttpClient client_;
  bool gateway_fails_ = false, graphite_fails_ = false;
  Periodic job_;  // last: its thread uses the others
};

}  // namespace zest::metrics
