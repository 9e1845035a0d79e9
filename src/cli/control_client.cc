#include "cli/control_client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>

#include "base/bytes.h"
#include "volume/types.h"

namespace zest::cli {

std::string absolute_path(const std::string& path) {
  std::error_code ignored;
  auto text = std::filesystem::absolute(path, ignored).lexically_normal().string();
  while (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

Result<uint64_t> inode_of(const std::string& path) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) return fail(errno, path);
  return st.st_ino;
}

Result<std::string> mount_root_of(const std::string& path) {
  for (auto at = std::filesystem::path(absolute_path(path));; at = at.parent_path()) {
    struct stat st {};
    if (lstat(at.c_str(), &st) == 0 && S_ISDIR(st.st_mode) && st.st_ino == 1) return at.string();
    if (at == at.parent_path()) return fail(ENOENT, fmt::format("{} is not inside a mount", path));
  }
}

Result<ControlClient> ControlClient::open(const std::string& path) {
  struct stat st {};
  auto dir = absolute_path(path);
  if (stat(dir.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) dir = std::filesystem::path(dir).parent_path().string();
  for (const char* name : {".jfs.control", ".control"}) {
    int fd = ::open((dir + "/" + name).c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) continue;
    if (fstat(fd, &st) == 0 && st.st_ino >= raw(kFirstSpecialIno)) return ControlClient(fd);
    ::close(fd);
  }
  return fail(ENOENT, fmt::format("open control file for {}: it is not below a mount of zestfs", path));
}

ControlClient::ControlClient(ControlClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

ControlClient::~ControlClient() {
  if (fd_ >= 0) ::close(fd_);
}

namespace {

// What the bytes received so far give: nothing yet, or the end of the reply. Takes off the progress records.
std::optional<Result<std::string>> take_reply(uint32_t op, std::string& pending, ControlClient::Progress* progress) {
  while (!pending.empty()) {
    auto kind = static_cast<uint8_t>(pending[0]);
    ByteReader in(std::string_view(pending).substr(1));
    if (kind == 0xFE) {
      if (pending.size() < 17) return std::nullopt;
      uint64_t a = in.be64(), b = in.be64();
      if (progress) progress->a = a, progress->b = b;
      pending.erase(0, 17);
    } else if (kind == 0xFF || op == op::kInfoLegacy) {  // the legacy reply has no mark before its length
      size_t head = kind == 0xFF ? 5 : 4;
      if (pending.size() < head) return std::nullopt;
      size_t length = ByteReader(std::string_view(pending).substr(head - 4)).be32();
      if (pending.size() < head + length) return std::nullopt;
      return pending.substr(head, length);
    } else {
      return kind == 0 ? Result<std::string>(std::string()) : fail(kind);
    }
  }
  return std::nullopt;
}

}  // namespace

Result<std::string> ControlClient::request(uint32_t op, const std::string& body, Progress* progress,
                                           const std::atomic<bool>* cancelled) {
  std::string message;
  put_be32(message, op);
  put_be32(message, static_cast<uint32_t>(body.size()));
  message += body;
  for (size_t at = 0; at < message.size();) {
    auto n = ::write(fd_, message.data() + at, message.size() - at);
    if (n <= 0) return fail(n < 0 ? errno : EIO, "write to the control file");
    at += static_cast<size_t>(n);
  }
  std::string pending;
  char buffer[64 * 1024];
  int pause_ms = 1;
  while (true) {
    auto n = ::read(fd_, buffer, sizeof buffer);
    if (n < 0 && errno != EINTR) return fail(errno == EBADF ? EIO : errno, "read from the control file");
    if (cancelled && *cancelled) return fail(EINTR);
    if (n <= 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
      pause_ms = std::min(pause_ms * 2, 100);
      continue;
    }
    pause_ms = 1;
    pending.append(buffer, static_cast<size_t>(n));
    if (auto reply = take_reply(op, pending, progress)) return std::move(*reply);
  }
}

}  // namespace zest::cli
