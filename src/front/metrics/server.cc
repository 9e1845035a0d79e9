#include "front/metrics/server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"
#include "front/metrics/tcp.h"

namespace zest::metrics {
namespace {

constexpr size_t kThreads = 2, kQueued = 8, kMaxRequest = 16 << 10;
constexpr int64_t kPatienceMs = 15'000;

struct Bound {
  int fd = -1;
  int error = EADDRNOTAVAIL;
};

Bound bind_one(const addrinfo& info, bool any_port) {
  Bound out;
  int fd = socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return {-1, errno};
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_storage address{};
  std::memcpy(&address, info.ai_addr, info.ai_addrlen);
  if (any_port) {
    if (info.ai_family == AF_INET6)
      reinterpret_cast<sockaddr_in6*>(&address)->sin6_port = 0;
    else
      reinterpret_cast<sockaddr_in*>(&address)->sin_port = 0;
  }
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), info.ai_addrlen) == 0 && ::listen(fd, 16) == 0) return {fd, 0};
  out.error = errno;
  close(fd);
  return out;
}

std::string bound_address(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  char host[INET6_ADDRSTRLEN] = "";
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  if (address.ss_family == AF_INET6) {
    auto* in = reinterpret_cast<sockaddr_in6*>(&address);
    inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
    return fmt::format("[{}]:{}", host, ntohs(in->sin6_port));
  }
  auto* in = reinterpret_cast<sockaddr_in*>(&address);
  inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
  return fmt::format("{}:{}", host, ntohs(in->sin_port));
}

// Whether a request asks for OpenMetrics: by an Accept header that names it.
bool wants_open_metrics(const std::string& request) {
  for (size_t at = request.find("\r\n"); at != request.npos && at + 2 < request.size();) {
    auto end = request.find("\r\n", at + 2);
    auto line = request.substr(at + 2, end == request.npos ? request.npos : end - at - 2);
    if (strncasecmp(line.c_str(), "accept:", 7) == 0 && line.find("application/openmetrics-text") != line.npos)
      return true;
    at = end;
  }
  return false;
}

std::string response(std::string_view status, std::string_view type, const std::string& body, bool head) {
  auto out = fmt::format("HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", status,
                         type, body.size());
  return head ? out : out + body;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(const std::string& text, bool any_port) {
  ZEST_ASSIGN(auto at, split_address(text));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (int code = getaddrinfo(at.host.empty() ? nullptr : at.host.c_str(), at.port.c_str(), &hints, &found); code != 0)
    return fail(EINVAL, fmt::format("\"{}\": {}", text, gai_strerror(code)));
  Bound bound;
  for (auto* one = found; one && bound.fd < 0; one = one->ai_next) bound = bind_one(*one, false);
  if (bound.fd < 0 && bound.error == EADDRINUSE && any_port) bound = bind_one(*found, true);
  freeaddrinfo(found);
  if (bound.fd < 0) return fail(bound.error, "cannot listen at " + text);
  int stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (stop < 0) {
    int code = errno;
    close(bound.fd);
    return fail(code, "eventfd");
  }
  return std::unique_ptr<Server>(new Server(bound.fd, stop, bound_address(bound.fd)));
}

Server::Server(int listener, int stop, std::string address)
    : listener_(listener), stop_fd_(stop), address_(std::move(address)) {}

Server::~Server() {
  uint64_t one = 1;
  if (write(stop_fd_, &one, sizeof(one)) < 0) log_warning("metrics: the server may end late");
  if (acceptor_.joinable()) acceptor_.join();
  pool_.reset();
  close(listener_);
  close(stop_fd_);
}

void Server::start(Text text) {
  text_ = std::move(text);
  pool_ = std::make_unique<ThreadPool>("metrics", kThreads, kQueued);
  acceptor_ = std::thread([this] { accept_all(); });
}

void Server::accept_all() {
  name_this_thread("metrics-accept");
  pollfd fds[] = {{listener_, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
  while (true) {
    int ready = poll(fds, 2, -1);
    if (ready < 0 && errno != EINTR) return;
    if (ready <= 0) continue;
    if (fds[1].revents) return;
    int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (connection < 0) {
      // Out of descriptors, say: the connection stays in the backlog, so do not spin.
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) poll(&fds[1], 1, 100);
      continue;
    }
    if (!pool_->try_submit([this, connection] { serve(connection); })) close(connection);
  }
}

bool Server::wait(int connection, short events, int64_t deadline_ms) const {
  while (true) {
    auto left = deadline_ms - system_clock().monotonic_ms();
    if (left <= 0) return false;
    pollfd fds[] = {{connection, events, 0}, {stop_fd_, POLLIN, 0}};
    int ready = poll(fds, 2, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    return ready > 0 && !fds[1].revents;
  }
}

bool Server::read_request(int connection, int64_t deadline_ms, std::string& request) const {
  char buffer[2048];
  while (request.find("\r\n\r\n") == request.npos) {
    if (request.size() > kMaxRequest || !wait(connection, POLLIN, deadline_ms)) return false;
    auto n = recv(connection, buffer, sizeof(buffer), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return false;
    request.append(buffer, static_cast<size_t>(n));
  }
  return true;
}

void Server::reply(int connection, int64_t deadline_ms, const std::string& bytes) const {
  for (size_t sent = 0; sent < bytes.size();) {
    auto n = send(connection, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n >= 0) {
      sent += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      if (!wait(connection, POLLOUT, deadline_ms)) return;
    } else if (errno != EINTR) {
      return;
    }
  }
}

void Server::serve(int connection) {
  auto deadline = system_clock().monotonic_ms() + kPatienceMs;
  std::string request;
  if (read_request(connection, deadline, request)) {
    auto line = request.substr(0, request.find("\r\n"));
    auto space = line.find(' ');
    auto method = line.substr(0, space);
    auto target = space == line.npos ? "" : line.substr(space + 1, line.find(' ', space + 1) - space - 1);
    target = target.substr(0, target.find('?'));
    bool head = method == "HEAD";
    std::string answer;
    if (method != "GET" && !head) {
      answer = response("405 Method Not Allowed", "text/plain; charset=utf-8", "GET only\n", head);
    } else if (target != "/metrics") {
      answer = response("404 Not Found", "text/plain; charset=utf-8", "404 page not found\n", head);
    } else {
      bool open = wants_open_metrics(request);
      answer = response("200 OK",
                        open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                             : "text/plain; version=0.0.4; charset=utf-8",
                        text_(open), head);
    }
    reply(connection, deadline, answer);
  }
  // What was not read of the request would make close() reset the connection under the answer.
  shutdown(connection, SHUT_WR);
  char rest[512];
  while (recv(connection, rest, sizeof(rest), 0) > 0) continue;
  close(connection);
}

}  // namespace zest::metrics
