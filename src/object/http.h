// HTTP requests over a bounded pool of kept-alive connections (libcurl). Knows nothing of any object store.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "object/cancel.h"

namespace zest::object {

struct TlsOptions {
  bool insecure = false;           // do not verify the server
  std::string ca, cert, cert_key;  // files; empty: the system's, none
};

struct HttpRequest {
  std::string method = "GET", url;
  std::vector<std::string> headers;  // "Name: value"
  std::string_view body;             // must stay until send() returns
  int timeout_ms = 60'000;
  // Where the body of a 2xx answer goes; without it, into HttpResponse::body. What does not fit is dropped, and
  // counted.
  std::optional<std::span<char>> into;
  // When the server answers 200 to a ranged request: that much is left out in front, and no more than `keep` is taken.
  uint64_t skip_if_whole = 0, keep = UINT64_MAX;
  Cancel* cancel = nullptr;  // may end it early: ECANCELED
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // of answers other than 2xx: the first 64 KiB
  size_t into_size = 0;                        // bytes in `into`
  uint64_t received = 0;                       // bytes of the whole body
  std::string header(const std::string& name) const {
    auto it = headers.find(name);
    return it == headers.end() ? std::string() : it->second;
  }
};

class HttpClient {
 public:
  HttpClient(int max_connections, TlsOptions tls);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;

  // Any answer of a server is a success here. Thread safe; waits for a free connection, which counts into the timeout.
  // Errors (EIO): kUnavailable when nothing was sent or the request was a GET or HEAD, kUnknownOutcome when the
  // connection broke, the answer was cut short, or the time ran out after that; kPlain for bad URLs and certificates.
  Result<HttpResponse> send(const HttpRequest& request);

 private:
  struct Connection;
  std::unique_ptr<Connection> take(int timeout_ms);  // null on timeout
  void give(std::unique_ptr<Connection> connection);

  const size_t limit_;
  const TlsOptions tls_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<std::unique_ptr<Connection>> idle_;  // most recently used last
  size_t out_ = 0;
};

// Percent-encoding as request signing wants it: all but A-Z a-z 0-9 - . _ ~, and '/' when kept.
std::string url_encode(std::string_view text, bool keep_slash = false);
// Back again, '+' being a blank. Nothing on a broken escape.
std::optional<std::string> url_decode(std::string_view text);

}  // namespace zest::object
