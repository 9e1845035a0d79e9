#include "cli/daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>

#include "cli/command.h"

namespace zest::cli {
namespace {

// Waits for "+" (ready) or "-" and the error; the pipe closes when the service ends.
int wait_for_service(int fd, pid_t pid, int64_t timeout_ms, const std::string& on_timeout) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  std::string told;
  while (true) {
    auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) {
      kill(pid, SIGTERM);
      return complain(on_timeout);
    }
    pollfd ready{fd, POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(left)) <= 0) continue;
    char buffer[1024];
    ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n > 0) told.append(buffer, static_cast<size_t>(n));
    if (!told.empty() && told[0] == '+') return 0;
    if (n <= 0) break;
  }
  waitpid(pid, nullptr, 0);
  return complain(told.size() > 1 ? told.substr(1) : "the service ended before it was ready: see its log");
}

void leave_terminal(int log_fd) {
  setsid();
  (void)!chdir("/");
  umask(0);
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(null, STDIN_FILENO);
  dup2(log_fd, STDOUT_FILENO);
  dup2(log_fd, STDERR_FILENO);
  close(null);
  close(log_fd);
}

}  // namespace

void Starter::ready() {
  if (fd_ < 0) return;
  (void)!write(fd_, "+", 1);
  close(std::exchange(fd_, -1));
}

void Starter::failed(const std::string& error) {
  if (fd_ < 0) return;
  auto text = "-" + error;
  (void)!write(fd_, text.data(), text.size());
  close(std::exchange(fd_, -1));
}

int run_in_background(const std::string& log_file, int64_t timeout_ms, const std::string& on_timeout,
                      const std::function<int(Starter&)>& service) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(log_file).parent_path(), ignored);
  int log_fd = open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log_fd < 0) return complain(fmt::format("cannot write the log file {}: {}", log_file, std::strerror(errno)));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return complain(fmt::format("pipe: {}", std::strerror(errno)));
  pid_t pid = fork();
  if (pid < 0) return complain(fmt::format("fork: {}", std::strerror(errno)));
  if (pid == 0) {
    close(ends[0]);
    leave_terminal(log_fd);
    Starter starter(ends[1]);
    int code = service(starter);
    _exit(code);
  }
  close(ends[1]);
  close(log_fd);
  int code = wait_for_service(ends[0], pid, timeout_ms, on_timeout);
  close(ends[0]);
  return code;
}

}  // namespace zest::cli
