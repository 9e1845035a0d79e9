#include "meta/engine/redis/stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/clock.h"

namespace zest::meta::redis {

namespace {

std::unexpected<Error> unavailable(const std::string& what, int code = EIO) {
  return fail(code, Fault::kUnavailable, "Redis: " + what);
}

// True when the events came within the time.
bool wait_for(int fd, short events, int64_t deadline_ms) {
  for (;;) {
    int64_t left = deadline_ms - system_clock().monotonic_ms();
    if (left < 0) return false;
    pollfd p{fd, events, 0};
    int n = ::poll(&p, 1, static_cast<int>(std::min<int64_t>(left, 60'000)));
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return false;
  }
}

int connect_to(const sockaddr* address, socklen_t size, int family, int64_t deadline_ms) {
  int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (::connect(fd, address, size) == 0) return fd;
  int error = errno;
  if (error == EINPROGRESS) {
    socklen_t length = sizeof(error);
    if (!wait_for(fd, POLLOUT, deadline_ms))
      error = ETIMEDOUT;
    else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0)
      return fd;
  }
  ::close(fd);
  errno = error;
  return -1;
}

Result<int> connect_path(const Address& address, int64_t deadline_ms) {
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  if (address.host.size() >= sizeof(un.sun_path)) return fail(ENAMETOOLONG, "Redis: the socket's path is too long");
  std::memcpy(un.sun_path, address.host.data(), address.host.size());
  int fd = connect_to(reinterpret_cast<sockaddr*>(&un), sizeof(un), AF_UNIX, deadline_ms);
  if (fd < 0) return unavailable(address.text() + ": " + strerror(errno));
  return fd;
}

Result<int> connect_host(const Address& address, int64_t deadline_ms) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  int code = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (code != 0) return unavailable(address.text() + ": " + gai_strerror(code));
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  int error = EIO;
  for (auto* a = found; a; a = a->ai_next) {
    int fd = connect_to(a->ai_addr, a->ai_addrlen, a->ai_family, deadline_ms);
    if (fd < 0) {
      error = errno;
      continue;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    return fd;
  }
  return unavailable(address.text() + ": " + strerror(error));
}

std::string tls_error() {
  char text[256] = "TLS failed";
  if (unsigned long code = ERR_get_error()) ERR_error_string_n(code, text, sizeof(text));
  ERR_clear_error();
  return text;
}

}  // namespace

Result<std::unique_ptr<Stream>> Stream::open(const Address& address, const Settings& settings) {
  int64_t deadline_ms = system_clock().monotonic_ms() + settings.dial_timeout_ms;
  ZEST_ASSIGN(int fd, address.is_path ? connect_path(address, deadline_ms) : connect_host(address, deadline_ms));
  std::unique_ptr<Stream> stream(new Stream(fd));
  if (settings.tls) ZEST_TRY(stream->start_tls(address, settings));
  return stream;
}

Stream::~Stream() {
  if (ssl_) SSL_free(ssl_);
  if (context_) SSL_CTX_free(context_);
  ::close(fd_);
}

Result<void> Stream::start_tls(const Address& address, const Settings& settings) {
  context_ = SSL_CTX_new(TLS_client_method());
  if (!context_ || SSL_CTX_set_min_proto_version(context_, TLS1_2_VERSION) != 1) return unavailable(tls_error());
  if (settings.skip_verify) {
    SSL_CTX_set_verify(context_, SSL_VERIFY_NONE, nullptr);
  } else {
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    bool loaded = settings.tls_ca.empty()
                      ? SSL_CTX_set_default_verify_paths(context_) == 1
                      : SSL_CTX_load_verify_locations(context_, settings.tls_ca.c_str(), nullptr) == 1;
    if (!loaded) return fail(EINVAL, "Redis: cannot load the CA certificates: " + tls_error());
  }
  if (!settings.tls_cert.empty() &&
      (SSL_CTX_use_certificate_chain_file(context_, settings.tls_cert.c_str()) != 1 ||
       SSL_CTX_use_PrivateKey_file(context_, settings.tls_key.c_str(), SSL_FILETYPE_PEM) != 1))
    return fail(EINVAL, "Redis: cannot load the client's certificate or key: " + tls_error());
  ssl_ = SSL_new(context_);
  const std::string& name = settings.tls_server_name.empty() ? address.host : settings.tls_server_name;
  if (!ssl_ || SSL_set_fd(ssl_, fd_) != 1) return unavailable(tls_error());
  in6_addr ignored;
  bool is_ip = inet_pton(AF_INET, name.c_str(), &ignored) == 1 || inet_pton(AF_INET6, name.c_str(), &ignored) == 1;
  if (!is_ip) SSL_set_tlsext_host_name(ssl_, name.c_str());
  if (!settings.skip_verify) {
    auto* param = SSL_get0_param(ssl_);
    if ((is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, name.c_str()) : SSL_set1_host(ssl_, name.c_str())) != 1)
      return unavailable(tls_error());
  }
  SSL_set_mode(ssl_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  int64_t deadline_ms = system_clock().monotonic_ms() + settings.dial_timeout_ms;
  for (;;) {
    ERR_clear_error();
    int n = SSL_connect(ssl_);
    if (n == 1) return {};
    int why = SSL_get_error(ssl_, n);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
      return unavailable("TLS with " + address.text() + ": " + tls_error());
    if (!wait_for(fd_, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline_ms))
      return unavailable("TLS with " + address.text() + ": timeout", ETIMEDOUT);
  }
}

ssize_t Stream::try_write(std::string_view bytes, short& events) {
  events = POLLOUT;
  if (!ssl_) {
    ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return n > 0 ? n : errno == EAGAIN || errno == EINTR ? 0 : -1;
  }
  std::lock_guard lock(tls_mutex_);
  ERR_clear_error();
  int n = SSL_write(ssl_, bytes.data(), static_cast<int>(std::min<size_t>(bytes.size(), 1 << 30)));
  if (n > 0) return n;
  int why = SSL_get_error(ssl_, n);
  if (why == SSL_ERROR_WANT_READ) events = POLLIN;
  return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

ssize_t Stream::try_read(char* buffer, size_t size, short& events) {
  events = POLLIN;
  if (!ssl_) {
    ssize_t n = ::recv(fd_, buffer, size, 0);
    return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
  }
  std::lock_guard lock(tls_mutex_);
  ERR_clear_error();
  int n = SSL_read(ssl_, buffer, static_cast<int>(size));
  if (n > 0) return n;
  int why = SSL_get_error(ssl_, n);
  if (why == SSL_ERROR_WANT_WRITE) events = POLLOUT;
  return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

Result<void> Stream::write_all(std::string_view bytes, int64_t timeout_ms) {
  int64_t deadline_ms = system_clock().monotonic_ms() + timeout_ms;
  while (!bytes.empty()) {
    short events;
    ssize_t n = try_write(bytes, events);
    if (n < 0) return unavailable("the connection broke while sending");
    if (n == 0 && !wait_for(fd_, events, deadline_ms)) return unavailable("timeout while sending", ETIMEDOUT);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<void> Stream::read_some(std::string& out, int64_t timeout_ms) {
  int64_t deadline_ms = system_clock().monotonic_ms() + timeout_ms;
  char buffer[64 << 10];
  for (;;) {
    short events;
    ssize_t n = try_read(buffer, sizeof(buffer), events);
    if (n < 0) return unavailable("the connection was closed");
    if (n > 0) {
      out.append(buffer, static_cast<size_t>(n));
      return {};
    }
    if (!wait_for(fd_, events, deadline_ms)) return unavailable("no answer in time", ETIMEDOUT);
  }
}

bool Stream::stale() {
  pollfd p{fd_, POLLIN, 0};
  if (::poll(&p, 1, 0) <= 0) return false;
  if (!ssl_) return true;
  // what came may be TLS's own: session tickets follow the handshake
  std::lock_guard lock(tls_mutex_);
  ERR_clear_error();
  char byte;
  int n = SSL_peek(ssl_, &byte, 1);
  return n > 0 || SSL_get_error(ssl_, n) != SSL_ERROR_WANT_READ;
}

void Stream::shut_down() { ::shutdown(fd_, SHUT_RDWR); }

}  // namespace zest::meta::redis
