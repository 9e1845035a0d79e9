// A unix socket that passes everything on to another, counts round trips, and loses connections when told to.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace zest::testing_servers {

class Proxy {
 public:
  // Listens at `path` (its folder must exist), connects to `target`.
  Proxy(std::string path, std::string target);
  ~Proxy();

  // The next answer of the server is dropped, and its connection with it: what was asked for has been done.
  void lose_next_answer() { lose_ = true; }
  bool lost_one() const { return !lose_; }
  // Each answer waits so long.
  void delay_ms(int ms) { delay_ms_ = ms; }
  // Answers that began after a request, on all connections together.
  uint64_t trips() const { return trips_; }

 private:
  void accept_all();
  void pass(int client);
  const std::string path_, target_;
  int listener_ = -1;
  std::atomic<bool> lose_ = false, stop_ = false;
  std::atomic<int> delay_ms_ = 0;
  std::atomic<uint64_t> trips_ = 0;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace zest::testing_servers
