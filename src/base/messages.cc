#include "base/messages.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace zest {
namespace {

Result<std::pair<sockaddr_un, socklen_t>> abstract_address(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() + 1 > sizeof(address.sun_path)) return fail(ENAMETOOLONG, name);
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  return std::pair{address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())};
}

}  // namespace

void Fd::reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

Result<std::pair<Fd, Fd>> message_pair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail(errno, "socketpair");
  return std::pair{Fd(ends[0]), Fd(ends[1])};
}

Result<void> send_message(int socket, std::string_view text, const std::vector<int>& files) {
  iovec part{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxMessageFiles * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (files.size() > kMaxMessageFiles || text.empty() || text.size() > kMaxMessage) return fail(EINVAL, "message");
  if (!files.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(files.size() * sizeof(int));
    auto* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(files.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), files.data(), files.size() * sizeof(int));
  }
  while (sendmsg(socket, &message, MSG_NOSIGNAL) < 0)
    if (errno != EINTR) return fail(errno, "sendmsg");
  return {};
}

Result<Message> receive_message(int socket) {
  Message out;
  out.text.resize(kMaxMessage);
  iovec part{out.text.data(), out.text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxMessageFiles * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t got;
  while ((got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0)
    if (errno != EINTR) return fail(errno, "recvmsg");
  for (auto* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
      out.files.emplace_back(fd);
    }
  }
  if (got == 0) return fail(EPIPE, "the other process has gone");
  if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) return fail(EINVAL, "message too long");
  out.text.resize(static_cast<size_t>(got));
  return out;
}

Result<Message> receive_message(int socket, int64_t timeout_ms) {
  pollfd ready{socket, POLLIN, 0};
  int got;
  while ((got = poll(&ready, 1, static_cast<int>(timeout_ms))) < 0)
    if (errno != EINTR) return fail(errno, "poll");
  if (got == 0) return fail(ETIMEDOUT, "no answer");
  return receive_message(socket);
}

Result<Fd> listen_abstract(const std::string& name) {
  ZEST_ASSIGN(auto address, abstract_address(name));
  Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return fail(errno, "socket");
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address.first), address.second) != 0) return fail(errno, name);
  if (listen(fd.get(), 4) != 0) return fail(errno, name);
  return fd;
}

Result<Fd> connect_abstract(const std::string& name) {
  ZEST_ASSIGN(auto address, abstract_address(name));
  Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return fail(errno, "socket");
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address.first), address.second) != 0) return fail(errno, name);
  return fd;
}

Result<Peer> peer_of(int socket) {
  ucred who{};
  socklen_t size = sizeof(who);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return fail(errno, "peer");
  return Peer{who.uid, who.pid};
}

}  // namespace zest
