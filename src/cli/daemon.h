// Leaving the terminal: the caller waits until the service works, or has the error it ended with.
#pragma once

#include <functional>
#include <string>

namespace zest::cli {

// The service's side: what it tells the process that waits for it. In the foreground nobody waits.
class Starter {
 public:
  explicit Starter(int fd = -1) : fd_(fd) {}
  void ready();
  void failed(const std::string& error);

 private:
  int fd_;
};

// Runs `service` in a process of its own, in a new session, with its output going to `log_file`; gives the exit code
// of the waiting process: 0 once the service said it is ready; 1 with its error, or after `timeout_ms` with
// `on_timeout` logged and the service ended.
int run_in_background(const std::string& log_file, int64_t timeout_ms, const std::string& on_timeout,
                      const std::function<int(Starter&)>& service);

}  // namespace zest::cli
