// The address where Prometheus fetches metrics: an HTTP server for GET and HEAD of /metrics and nothing else. Knows
// nothing of what the metrics are.
//
// Bounded: few connections at once (more are closed), one request each, small headers, a deadline for all of it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/result.h"
#include "base/threads.h"

namespace zest::metrics {

class Server {
 public:
  // Gives the body, in OpenMetrics' format or Prometheus' own. Called by several threads at once.
  using Text = std::function<std::string(bool open_metrics)>;

  // Binds "HOST:PORT" ("[::1]:9567", ":9567": all addresses). EADDRINUSE when it is taken; with `any_port` another port
  // of the same host is taken then. EINVAL for what is no address.
  static Result<std::unique_ptr<Server>> listen(const std::string& address, bool any_port);
  ~Server();  // ends open connections; waits for a body that is being made
  Server(const Server&) = delete;

  const std::string& address() const { return address_; }  // as bound
  void start(Text text);                                   // once

 private:
  Server(int listener, int stop, std::string address);
  void accept_all();
  void serve(int connection);
  // Until `deadline_ms`; false when it has passed or the server ends.
  bool wait(int connection, short events, int64_t deadline_ms) const;
  bool read_request(int connection, int64_t deadline_ms, std::string& request) const;
  void reply(int connection, int64_t deadline_ms, const std::string& bytes) const;

  const int listener_, stop_fd_;
  const std::string address_;
  Text text_;
  std::unique_ptr<ThreadPool> pool_;
  std::thread acceptor_;
};

}  // namespace zest::metrics
