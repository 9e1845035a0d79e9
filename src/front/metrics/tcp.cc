#include "front/metrics/tcp.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <memory>

#include "base/clock.h"

namespace zest::metrics {
namespace {

// A socket that closes itself.
struct Socket {
  explicit Socket(int number) : fd(number) {}
  ~Socket() {
    if (fd >= 0) close(fd);
  }
  Socket(const Socket&) = delete;
  int fd;
};

std::string text_of(const HostPort& at) { return fmt::format("{}:{}", at.host, at.port); }

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Result<Addresses> look_up(const HostPort& at, int type) {
  addrinfo hints{};
  hints.ai_socktype = type;
  addrinfo* found = nullptr;
  if (int code = getaddrinfo(at.host.empty() ? nullptr : at.host.c_str(), at.port.c_str(), &hints, &found); code != 0)
    return fail(EINVAL, fmt::format("\"{}\": {}", text_of(at), gai_strerror(code)));
  return Addresses(found, &freeaddrinfo);
}

bool wait(int fd, short events, int64_t deadline_ms) {
  while (true) {
    auto left = deadline_ms - system_clock().monotonic_ms();
    if (left <= 0) return false;
    pollfd one{fd, events, 0};
    int ready = poll(&one, 1, static_cast<int>(left));
    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
}

Result<void> connect_until(int fd, const addrinfo& to, int64_t deadline_ms) {
  if (connect(fd, to.ai_addr, to.ai_addrlen) == 0) return {};
  if (errno != EINPROGRESS) return fail(errno);
  if (!wait(fd, POLLOUT, deadline_ms)) return fail(ETIMEDOUT);
  int code = 0;
  socklen_t size = sizeof(code);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size);
  if (code != 0) return fail(code);
  return {};
}

}  // namespace

Result<HostPort> split_address(const std::string& text) {
  auto colon = text.rfind(':');
  if (colon == text.npos || colon + 1 == text.size())
    return fail(EINVAL, fmt::format("\"{}\" is no address: HOST:PORT", text));
  HostPort out{text.substr(0, colon), text.substr(colon + 1)};
  auto& host = out.host;
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return out;
}

Result<std::string> local_address_towards(const std::string& other) {
  ZEST_ASSIGN(auto at, split_address(other));
  ZEST_ASSIGN(auto found, look_up(at, SOCK_DGRAM));
  // Connecting a datagram socket only looks up the route.
  Socket socket(::socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage own{};
  socklen_t size = sizeof(own);
  char host[NI_MAXHOST];
  if (socket.fd < 0 || connect(socket.fd, found->ai_addr, found->ai_addrlen) != 0 ||
      getsockname(socket.fd, reinterpret_cast<sockaddr*>(&own), &size) != 0)
    return fail(errno, "no way to " + other);
  if (getnameinfo(reinterpret_cast<sockaddr*>(&own), size, host, sizeof(host), nullptr, 0, NI_NUMERICHOST) != 0)
    return fail(EINVAL, "no way to " + other);
  return std::string(host);
}

Result<void> send_to(const HostPort& other, std::string_view bytes, int timeout_ms) {
  auto deadline_ms = system_clock().monotonic_ms() + timeout_ms;
  ZEST_ASSIGN(auto found, look_up(other, SOCK_STREAM));
  auto told = [&](int code) { return fail(code, text_of(other)); };
  Socket socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.fd < 0) return told(errno);
  if (auto done = connect_until(socket.fd, *found, deadline_ms); !done) return told(done.error().code);
  while (!bytes.empty()) {
    auto n = send(socket.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0)
      bytes.remove_prefix(static_cast<size_t>(n));
    else if (errno == EAGAIN && !wait(socket.fd, POLLOUT, deadline_ms))
      return told(ETIMEDOUT);
    else if (errno != EAGAIN && errno != EINTR)
      return told(errno);
  }
  return {};
}

}  // namespace zest::metrics
