// Messages with open files between processes of one machine (unix(7), SOCK_SEQPACKET and SCM_RIGHTS).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace zest {

// Owns a file descriptor; -1: none.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

struct Message {
  std::string text;
  std::vector<Fd> files;
};

constexpr size_t kMaxMessage = 16 << 10;  // bytes of text
constexpr size_t kMaxMessageFiles = 4;

// Both ends of a connection; closed on exec.
Result<std::pair<Fd, Fd>> message_pair();
// The files stay the caller's. Does not block for long: messages are few and small. EPIPE: nobody is there any more.
Result<void> send_message(int socket, std::string_view text, const std::vector<int>& files = {});
// Waits for a message. EPIPE: the other end is closed. EINVAL: it was too long.
Result<Message> receive_message(int socket);
// Waits at most timeout_ms: ETIMEDOUT.
Result<Message> receive_message(int socket, int64_t timeout_ms);

// Servers in the abstract namespace: no file stays behind; who connects is told by peer_of().
Result<Fd> listen_abstract(const std::string& name);
Result<Fd> connect_abstract(const std::string& name);
struct Peer {
  unsigned uid = 0;
  int pid = 0;
};
Result<Peer> peer_of(int socket);

}  // namespace zest
