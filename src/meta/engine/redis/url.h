// What a metadata URL of Redis says (docs/format/redis.md section 1).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace zest::meta::redis {

struct Address {
  std::string host;  // a path when `is_path`
  int port = 0;
  bool is_path = false;
  std::string text() const;
  friend bool operator==(const Address&, const Address&) = default;
};

enum class Mode : uint8_t { kSingle, kSentinel, kCluster };

struct Settings {
  Mode mode = Mode::kSingle;
  // The server; or the sentinels; or members of the cluster, or servers of which one is the master.
  std::vector<Address> addresses;
  std::string master;  // its name among the sentinels
  std::string user, password, sentinel_password, client_name;
  int db = 0;
  bool tls = false, skip_verify = false;
  std::string tls_cert, tls_key, tls_ca, tls_server_name;
  int64_t dial_timeout_ms = 5000, read_timeout_ms = 30'000, write_timeout_ms = 5000;
  int64_t min_backoff_ms = 20, max_backoff_ms = 10'000;
  int pool_size = 4;
  // Of a read-only client: which of the servers that have the data it reads from.
  enum class Route : uint8_t { kMaster, kReplica, kRandom, kLatency } route_read = Route::kMaster;
  bool client_cache = false;
  int64_t client_cache_size = 12'800, client_cache_expire_ms = 60'000, client_cache_preload = 0;
};

// EINVAL, with a text that shows no secret. Passwords that the URL lacks come from the environment.
Result<Settings> parse_url(const std::string& url);

}  // namespace zest::meta::redis
