#include "front/metrics/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace zest::metrics {
namespace {

int connect_to(const std::string& address) {
  auto port = std::stoi(address.substr(address.rfind(':') + 1));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  return fd;
}

std::string ask(const std::string& address, const std::string& request) {
  int fd = connect_to(address);
  (void)!send(fd, request.data(), request.size(), MSG_NOSIGNAL);  // the server may have hung up already
  std::string out;
  char buffer[4096];
  for (ssize_t n; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) out.append(buffer, static_cast<size_t>(n));
  close(fd);
  return out;
}

std::unique_ptr<Server> serve(size_t size = 3) {
  auto server = Server::listen("127.0.0.1:0", false);
  EXPECT_TRUE(server.has_value());
  (*server)->start([size](bool open) { return std::string(size, open ? 'o' : 'p'); });
  return std::move(*server);
}

TEST(MetricsServer, ServesItsPathOnly) {
  auto server = serve();
  auto got = ask(server->address(), "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(got.starts_with("HTTP/1.1 200 OK\r\n")) << got;
  EXPECT_NE(got.find("Content-Length: 3\r\n"), got.npos);
  EXPECT_TRUE(got.ends_with("\r\n\r\nppp")) << got;
  got =
      ask(server->address(), "GET /metrics?x=1 HTTP/1.1\r\naccept: application/openmetrics-text;version=1.0.0\r\n\r\n");
  EXPECT_TRUE(got.ends_with("\r\n\r\nooo")) << got;
  EXPECT_TRUE(ask(server->address(), "HEAD /metrics HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
  EXPECT_TRUE(ask(server->address(), "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
  EXPECT_TRUE(ask(server->address(), "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
  EXPECT_TRUE(ask(server->address(), "\r\n\r\n").starts_with("HTTP/1.1 405 "));
}

TEST(MetricsServer, LongRepliesArriveWhole) {
  auto server = serve(5'000'000);
  EXPECT_GT(ask(server->address(), "GET /metrics HTTP/1.1\r\n\r\n").size(), 5'000'000u);
}

TEST(MetricsServer, EndlessHeadersAreCutOff) {
  auto server = serve();
  EXPECT_EQ(ask(server->address(), "GET /metrics HTTP/1.1\r\nX: " + std::string(30'000, 'x')).find("200 OK"),
            std::string::npos);
}

TEST(MetricsServer, EndsWhileClientsAreSilent) {
  auto server = serve();
  int fd = connect_to(server->address());
  server.reset();
  char byte;
  EXPECT_LE(recv(fd, &byte, 1, 0), 0);
  close(fd);
}

TEST(MetricsServer, TakesAnotherPortOnlyWhenItMay) {
  auto first = serve();
  auto refused = Server::listen(first->address(), false);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, EADDRINUSE);
  auto other = Server::listen(first->address(), true);
  ASSERT_TRUE(other.has_value());
  EXPECT_NE((*other)->address(), first->address());
  for (auto* bad : {"", "localhost", "127.0.0.1:", "127.0.0.1:port"}) EXPECT_FALSE(Server::listen(bad, true)) << bad;
}

}  // namespace
}  // namespace zest::metrics
