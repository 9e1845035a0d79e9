#include "proxy.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <utility>

namespace zest::testing_servers {
namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  return address;
}

bool send_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    ssize_t n = ::send(fd, data, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

Proxy::Proxy(std::string path, std::string target) : path_(std::move(path)), target_(std::move(target)) {
  ::unlink(path_.c_str());
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = address_of(path_);
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 || ::listen(listener_, 64) != 0)
    throw std::runtime_error("the proxy cannot listen at " + path_);
  acceptor_ = std::thread([this] { accept_all(); });
}

Proxy::~Proxy() {
  stop_ = true;
  acceptor_.join();
  for (auto& thread : threads_) thread.join();
  ::close(listener_);
  ::unlink(path_.c_str());
}

void Proxy::accept_all() {
  while (!stop_) {
    struct pollfd fd {
      listener_, POLLIN, 0
    };
    if (::poll(&fd, 1, 50) <= 0) continue;
    int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client >= 0) threads_.emplace_back([this, client] { pass(client); });
  }
}

void Proxy::pass(int client) {
  int server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = address_of(target_);
  bool open = ::connect(server, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  char buffer[65536];
  bool asked = false;
  while (open && !stop_) {
    struct pollfd fds[2]{{client, POLLIN, 0}, {server, POLLIN, 0}};
    if (::poll(fds, 2, 50) <= 0) continue;
    for (int i = 0; i < 2 && open; i++) {
      if (!fds[i].revents) continue;
      ssize_t n = ::recv(fds[i].fd, buffer, sizeof(buffer), 0);
      if (n <= 0) {
        open = false;
        break;
      }
      if (i == 0) {
        asked = true;
      } else {
        if (std::exchange(asked, false)) trips_++;
        if (lose_.exchange(false)) open = false;
        if (delay_ms_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms_));
      }
      if (open) open = send_all(fds[1 - i].fd, buffer, static_cast<size_t>(n));
    }
  }
  ::close(client);
  ::close(server);
}

}  // namespace zest::testing_servers
