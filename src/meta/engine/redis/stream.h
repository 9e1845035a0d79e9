// A connected byte stream: TCP, a Unix socket, or TLS over TCP. One thread may read while another writes.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "meta/engine/redis/url.h"

struct ssl_ctx_st;
struct ssl_st;

namespace zest::meta::redis {

class Stream {
 public:
  // Connects within settings.dial_timeout_ms, name look-up excepted. Fails with kUnavailable.
  static Result<std::unique_ptr<Stream>> open(const Address& address, const Settings& settings);
  ~Stream();
  Stream(const Stream&) = delete;

  Result<void> write_all(std::string_view bytes, int64_t timeout_ms);
  // At least one byte appended to `out`; an error at the end of the stream or when none came in time.
  Result<void> read_some(std::string& out, int64_t timeout_ms);
  // Has the other side hung up (or sent something that nobody waits for)? Does not wait.
  bool stale();
  // Ends pending reads and writes of other threads.
  void shut_down();

 private:
  explicit Stream(int fd) : fd_(fd) {}
  Result<void> start_tls(const Address& address, const Settings& settings);
  // Bytes moved; 0: wait for `events` first; -1: broken.
  ssize_t try_write(std::string_view bytes, short& events);
  ssize_t try_read(char* buffer, size_t size, short& events);

  const int fd_;
  std::mutex tls_mutex_;  // OpenSSL's objects are for one thread at a time
  ssl_ctx_st* context_ = nullptr;
  ssl_st* ssl_ = nullptr;
};

}  // namespace zest::meta::redis
