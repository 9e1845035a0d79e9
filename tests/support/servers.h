// Database servers that a test starts for itself: a folder of their own below the temporary one, a unix socket there
// and no port. They end with the process. One of a kind serves all tests of a process; each test takes URLs of its own.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

namespace zest::testing_servers {

// A process that dies with this one.
class Child {
 public:
  Child() = default;
  Child(const Child&) = delete;
  ~Child() { stop(); }
  // Runs argv, output to `log`; as `user` when this process is root and the user exists. False: cannot be started.
  bool start(const std::vector<std::string>& argv, const std::string& log, const std::string& user = {});
  // Waits for it to end by itself; its exit code, -1 for a signal.
  int wait();
  void stop(int signal = 15);
  void signal(int number) const;
  bool running();
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

class PostgresServer {
 public:
  // Started when first asked for. Throws std::runtime_error with the server's log when it does not come up: a machine
  // without the server fails the tests.
  static PostgresServer& shared();
  PostgresServer();
  ~PostgresServer();
  // Of tables that no other URL names.
  std::string fresh_url();
  std::string url(const std::string& parameters) const;  // "table_prefix=x&..."
  void start();
  void kill();   // as a crash
  void pause();  // SIGSTOP to all its processes
  void resume();
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
  Child server_;
  int tables_ = 0;
};

class MariadbServer {
 public:
  static MariadbServer& shared();
  MariadbServer();
  ~MariadbServer();
  std::string fresh_url();
  std::string url(const std::string& parameters) const;
  void start();
  void kill();
  void pause() { server_.signal(19); }
  void resume() { server_.signal(18); }
  std::string socket() const { return folder_ + "/s"; }

 private:
  std::string folder_;
  Child server_;
  int tables_ = 0;
};

}  // namespace zest::testing_servers
