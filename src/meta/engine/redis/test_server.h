// For tests: a redis-server of our own on a Unix socket in a folder of its own, ended with the object. Tests fail, not
// skip, when there is no such program.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace zest::meta::redis {

class TestServer {
 public:
  explicit TestServer(std::vector<std::string> more = {}) : more_(std::move(more)) {
    std::string folder = (std::filesystem::temp_directory_path() / "zest-redis-XXXXXX").string();
    if (!mkdtemp(folder.data())) throw std::runtime_error("no temporary folder");
    folder_ = folder;
    start();
  }
  ~TestServer() {
    stop();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  TestServer(const TestServer&) = delete;

  std::string socket_path() const { return folder_ + "/s"; }
  std::string folder() const { return folder_; }
  // A database of the server that no other call gave out.
  std::string fresh_url() { return url(next_db_++); }
  std::string url(int db) const { return "unix://" + socket_path() + "?db=" + std::to_string(db); }

  void start() {
    pid_ = fork();
    if (pid_ == 0) run();
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(90);
    while (!answers()) {
      int status;
      if (waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = -1;
        throw std::runtime_error("redis-server did not start (is it installed?)");
      }
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("redis-server does not answer");
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  // At once, as a crash would.
  void stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
    unlink(socket_path().c_str());
  }

 private:
  [[noreturn]] void run() {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    std::vector<std::string> args{"redis-server", "--port", "0",     "--unixsocket", socket_path(), "--save", "",
                                  "--databases",  "1000",   "--dir", folder_};
    args.insert(args.end(), more_.begin(), more_.end());
    std::vector<char*> raw;
    for (auto& arg : args) raw.push_back(arg.data());
    raw.push_back(nullptr);
    execvp(raw[0], raw.data());
    _exit(127);
  }
  bool answers() const {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket_path().c_str(), sizeof(address.sun_path) - 1);
    bool ok = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    return ok;
  }

  std::vector<std::string> more_;
  std::string folder_;
  pid_t pid_ = -1;
  int next_db_ = 1;
};

}  // namespace zest::meta::redis
