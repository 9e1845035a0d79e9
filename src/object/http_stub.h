// For tests: an HTTP server on loopback that answers as told, also wrongly.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace zest::object {

class HttpStub {
 public:
  struct Request {
    std::string method, target, body;
    std::map<std::string, std::string> headers;  // lower-case names
  };
  struct Reply {
    int status = 200;
    std::vector<std::string> headers;  // "Name: value"
    std::string body;
    size_t cut = 0;       // so many bytes of the body are announced, but not sent; then the connection closes
    bool close = false;   // the connection is closed after the answer, without saying so in it
    bool reset = false;   // nothing is sent, the connection is reset
    bool silent = false;  // nothing is sent; the connection stays open until the client closes it
  };
  using Handler = std::function<Reply(const Request&)>;

  explicit HttpStub(Handler handler) : handler_(std::move(handler)) {
    ::setenv("no_proxy", "127.0.0.1", 1);
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, generic, size) < 0 || ::listen(listener_, 64) < 0 ||
        ::getsockname(listener_, generic, &size) < 0)
      std::abort();
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~HttpStub() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    {
      std::lock_guard lock(mutex_);
      for (int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (auto& thread : threads_) thread.join();
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<Request> requests() const {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  int connections() const { return connections_; }
  int most_at_once() const { return most_at_once_; }

 private:
  void accept_all() {
    for (;;) {
      int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      connections_++;
      std::lock_guard lock(mutex_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd] { serve(fd); });
    }
  }

  // False at the end of the connection.
  static bool read_more(int fd, std::string& buffer) {
    char part[65536];
    ssize_t got = ::recv(fd, part, sizeof(part), 0);
    if (got <= 0) return false;
    buffer.append(part, static_cast<size_t>(got));
    return true;
  }

  static bool read_request(int fd, std::string& buffer, Request& request) {
    size_t end;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos)
      if (!read_more(fd, buffer)) return false;
    std::string head = buffer.substr(0, end + 2);
    buffer.erase(0, end + 4);
    size_t line_end = head.find("\r\n");
    std::string first = head.substr(0, line_end);
    request.method = first.substr(0, first.find(' '));
    request.target = first.substr(request.method.size() + 1, first.rfind(' ') - request.method.size() - 1);
    for (size_t at = line_end + 2; at < head.size();) {
      size_t next = head.find("\r\n", at), colon = head.find(':', at);
      std::string name = head.substr(at, colon - at);
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
      size_t value = head.find_first_not_of(' ', colon + 1);
      request.headers[name] = head.substr(value, next - value);
      at = next + 2;
    }
    size_t length = request.headers.contains("content-length") ? std::stoul(request.headers["content-length"]) : 0;
    while (buffer.size() < length)
      if (!read_more(fd, buffer)) return false;
    request.body = buffer.substr(0, length);
    buffer.erase(0, length);
    return true;
  }

  void serve(int fd) {
    std::string buffer;
    for (;;) {
      Request request;
      if (!read_request(fd, buffer, request)) break;
      {
        std::lock_guard lock(mutex_);
        requests_.push_back(request);
        most_at_once_ = std::max(most_at_once_.load(), ++active_);
      }
      Reply reply = handler_(request);
      {
        std::lock_guard lock(mutex_);
        active_--;
      }
      if (reply.silent) {
        while (read_more(fd, buffer)) {
        }
        break;
      }
      if (reply.reset) {
        linger hard = {1, 0};
        ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        break;
      }
      std::string out = "HTTP/1.1 " + std::to_string(reply.status) + " Told\r\n";
      for (auto& header : reply.headers) out += header + "\r\n";
      if (reply.status != 204) out += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
      out += "\r\n";
      if (request.method != "HEAD")
        out += reply.body.substr(0, reply.body.size() - std::min(reply.cut, reply.body.size()));
      if (::send(fd, out.data(), out.size(), MSG_NOSIGNAL) < 0 || reply.cut || reply.close) break;
    }
    std::lock_guard lock(mutex_);
    std::erase(open_, fd);
    ::close(fd);
  }

  const Handler handler_;
  int listener_ = -1;
  uint16_t port_ = 0;
  mutable std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::vector<Request> requests_;
  std::atomic<int> connections_{0}, most_at_once_{0};
  int active_ = 0;
  std::thread acceptor_;
};

}  // namespace zest::object
