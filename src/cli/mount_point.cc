#include "cli/mount_point.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "base/log.h"

namespace zest::cli {
namespace {

constexpr int64_t kStatTimeoutMs = 3000;

struct Looked {
  int code = ETIMEDOUT;
  uint64_t ino = 0, size = 0;
  uint32_t mode = 0;
};

// stat() of a mount whose daemon hangs waits for ever: a child asks, and is left behind if need be.
Looked look_at(const std::string& path, int64_t timeout_ms) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {errno};
  pid_t pid = fork();
  if (pid == 0) {
    struct stat st {};
    Looked looked;
    looked.code = stat(path.c_str(), &st) == 0 ? 0 : errno;
    looked.ino = st.st_ino, looked.size = static_cast<uint64_t>(st.st_size), looked.mode = st.st_mode;
    (void)!write(ends[1], &looked, sizeof(looked));
    _exit(0);
  }
  close(ends[1]);
  Looked looked;
  pollfd ready{ends[0], POLLIN, 0};
  if (pid > 0 && poll(&ready, 1, static_cast<int>(timeout_ms)) == 1)
    if (read(ends[0], &looked, sizeof(looked)) != sizeof(looked)) looked.code = EIO;
  close(ends[0]);
  if (pid > 0) {
    if (looked.code == ETIMEDOUT) kill(pid, SIGKILL);
    waitpid(pid, nullptr, looked.code == ETIMEDOUT ? WNOHANG : 0);
  }
  return looked;
}

// The program's exit code, and what it said on stderr.
int run_program(const std::vector<std::string>& argv, std::string& said) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  std::vector<char*> pointers;
  for (auto& arg : argv) pointers.push_back(const_cast<char*>(arg.c_str()));
  pointers.push_back(nullptr);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], STDERR_FILENO);
    execvp(pointers[0], pointers.data());
    _exit(127);
  }
  close(ends[1]);
  char buffer[512];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) said.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) < 0) return -1;
  while (!said.empty() && (said.back() == '\n' || said.back() == ' ')) said.pop_back();
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The paths in mountinfo have blanks and backslashes in octal.
std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>(std::strtol(text.substr(i + 1, 3).c_str(), nullptr, 8));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

bool is_mount_point(const std::string& path) {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    size_t at = 0;
    for (int field = 0; field < 4 && at != std::string::npos; field++) at = line.find(' ', at) + 1;
    if (at != std::string::npos && unescape(line.substr(at, line.find(' ', at) - at)) == path) return true;
  }
  return false;
}

Result<bool> prepare_mount_point(const std::string& path, bool force) {
  if (path.starts_with("/dev/fd/")) return false;  // opened by whoever starts us
  if (path == "/") return fail(EINVAL, "should not mount on the root directory");
  auto looked = look_at(path, kStatTimeoutMs);
  bool broken = looked.code == ENOTCONN || looked.code == ETIMEDOUT || looked.code == EIO || looked.code == ESTALE ||
                (looked.code == 0 && looked.ino <= 1 && looked.size == 0);
  if (broken && is_mount_point(path)) {
    log_warning(fmt::format("the mount on {} is broken: it is taken away first", path));
    ZEST_TRY(unmount(path, true));
    looked = look_at(path, kStatTimeoutMs);
  }
  if (looked.code == ENOENT) {
    std::error_code error;
    auto old = umask(0);
    std::filesystem::create_directories(path, error);
    umask(old);
    if (error) return fail(error.value(), fmt::format("cannot make the mount point {}", path));
    looked = look_at(path, kStatTimeoutMs);
  }
  if (looked.code != 0) return fail(looked.code, fmt::format("mount point {}", path));
  if (!S_ISDIR(looked.mode)) return fail(ENOTDIR, fmt::format("mount point {}", path));
  if (looked.ino == 1 && is_mount_point(path) && !force) return true;
  if (getuid() != 0 && access(path.c_str(), W_OK) != 0)
    return fail(EACCES, fmt::format("Do not have write permission on {}", path));
  return false;
}

Result<void> unmount(const std::string& path, bool lazy) {
  if (getuid() == 0) {
    if (umount2(path.c_str(), lazy ? MNT_DETACH : 0) == 0) return {};
    return fail(errno, fmt::format("cannot unmount {}", path));
  }
  std::string said;
  for (auto* program : {"fusermount3", "fusermount"}) {
    std::vector<std::string> argv{program, "-u"};
    if (lazy) argv.push_back("-z");
    argv.push_back("--");
    argv.push_back(path);
    int code = run_program(argv, said);
    if (code == 0) return {};
    if (code != 127) break;
  }
  return fail(EINVAL, said.empty() ? fmt::format("cannot unmount {}", path) : said);
}

}  // namespace zest::cli
