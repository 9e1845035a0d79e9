#include "meta/engine/redis/url.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"

namespace zest::meta::redis {

namespace {

constexpr int kPort = 6379, kSentinelPort = 26379;
constexpr int64_t kMaxCacheSize = 25'000;  // the kernel is told to forget at most 65,536 things at once

std::string percent_decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '%' && i + 2 < text.size())
      if (auto byte = from_hex(text.substr(i + 1, 2)); byte && byte->size() == 1) {
        out += *byte;
        i += 2;
        continue;
      }
    out += text[i];
  }
  return out;
}

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string password_from_environment() {
  for (const char* name : {"REDIS_PASSWORD", "META_PASSWORD"})
    if (auto value = from_environment(name); !value.empty()) return value;
  auto file = from_environment("META_PASSWORD_FILE");
  if (file.empty()) return {};
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  size_t from = text.find_first_not_of(" \t\r\n"), to = text.find_last_not_of(" \t\r\n");
  return from == text.npos ? "" : text.substr(from, to - from + 1);
}

Result<Address> parse_address(std::string_view text, int default_port) {
  Address out;
  out.port = default_port;
  size_t bracket = text.rfind(']');
  size_t colon = text.rfind(':');
  if (colon != text.npos && (bracket == text.npos || colon > bracket)) {
    auto port = parse_int(text.substr(colon + 1));
    if (!port || *port < 1 || *port > 65535) return fail(EINVAL, "bad port in the Redis URL");
    out.port = static_cast<int>(*port);
    text = text.substr(0, colon);
  }
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  out.host = text.empty() ? "localhost" : std::string(text);
  return out;
}

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> out;
  for (;;) {
    size_t end = text.find(by);
    out.push_back(text.substr(0, end));
    if (end == text.npos) return out;
    text.remove_prefix(end + 1);
  }
}

Result<void> set_timeout(std::string_view name, std::string_view value, int64_t& out) {
  bool bare = !value.empty() && value.find_first_not_of("0123456789.") == value.npos;
  auto parsed = parse_duration_ms(value);
  if (!parsed || bare || *parsed <= 0)
    log_warning("Redis URL: " + std::string(name) + " needs a number and a unit, such as 30s; ignored");
  else
    out = *parsed;
  return {};
}

Result<void> set_route(Settings& s, std::string_view value) {
  using Route = Settings::Route;
  static constexpr std::pair<std::string_view, Route> kRoutes[] = {
      {"", Route::kMaster}, {"replica", Route::kReplica}, {"random", Route::kRandom}, {"latency", Route::kLatency}};
  for (const auto& [name, route] : kRoutes)
    if (name == value) return s.route_read = route, Result<void>{};
  return fail(EINVAL, "Redis URL: route-read is replica, random or latency");
}

Result<void> set_option(Settings& s, std::string name, const std::string& value) {
  std::replace(name.begin(), name.end(), '_', '-');
  // what other clients' connection pools have and ours does not need
  static constexpr std::string_view kIgnored[] = {
      "pool-fifo",    "pool-timeout",      "min-idle-conns", "max-idle-conns", "max-active-conns", "conn-max-idle-time",
      "idle-timeout", "conn-max-lifetime", "max-conn-age",   "protocol",       "max-retries"};
  if (std::find(std::begin(kIgnored), std::end(kIgnored), name) != std::end(kIgnored)) return {};
  if (name == "min-retry-backoff") return set_timeout(name, value, s.min_backoff_ms);
  if (name == "max-retry-backoff") return set_timeout(name, value, s.max_backoff_ms);
  if (name == "read-timeout") return set_timeout(name, value, s.read_timeout_ms);
  if (name == "write-timeout") return set_timeout(name, value, s.write_timeout_ms);
  if (name == "dial-timeout") return set_timeout(name, value, s.dial_timeout_ms);
  if (name == "insecure-skip-verify") return s.skip_verify = !value.empty(), Result<void>{};
  if (name == "tls-cert-file") return s.tls_cert = value, Result<void>{};
  if (name == "tls-key-file") return s.tls_key = value, Result<void>{};
  if (name == "tls-ca-cert-file") return s.tls_ca = value, Result<void>{};
  if (name == "tls-server-name") return s.tls_server_name = value, Result<void>{};
  if (name == "client-name") return s.client_name = value, Result<void>{};
  if (name == "route-read") return set_route(s, value);
  if (name == "client-cache") return s.client_cache = !value.empty() && value != "false", Result<void>{};
  if (name == "client-cache-expire") return set_timeout(name, value, s.client_cache_expire_ms);
  if (name == "client-cache-size" || name == "client-cache-preload") {
    auto number = parse_int(value);
    if (!number || *number < 0) return fail(EINVAL, "Redis URL: bad value of " + name);
    if (name == "client-cache-preload") s.client_cache_preload = *number;
    if (name == "client-cache-size" && *number > 0) s.client_cache_size = std::min(*number, kMaxCacheSize);
    return {};
  }
  if (name == "pool-size" || name == "db") {
    auto number = parse_int(value);
    if (!number || *number < 0 || *number > 1'000'000) return fail(EINVAL, "Redis URL: bad value of " + name);
    if (name == "db") s.db = static_cast<int>(*number);
    if (name == "pool-size" && *number > 0) s.pool_size = static_cast<int>(std::min<int64_t>(*number, 16));
    return {};
  }
  return fail(EINVAL, "Redis URL: unknown option " + name);
}

Result<void> set_hosts(Settings& s, std::string_view hosts) {
  size_t comma = hosts.find(','), colon = hosts.find(':');
  auto parts = split(hosts, ',');
  if (comma == hosts.npos) {
    ZEST_ASSIGN(auto address, parse_address(hosts, kPort));
    s.addresses.push_back(std::move(address));
    return {};
  }
  int port = kPort;
  if (colon != hosts.npos && comma < colon) {
    s.mode = Mode::kSentinel;
    s.master = parts.front();
    parts.erase(parts.begin());
    ZEST_ASSIGN(auto last, parse_address(parts.back(), kSentinelPort));
    port = last.port;
    s.sentinel_password = from_environment("SENTINEL_PASSWORD");
  } else {
    s.mode = Mode::kCluster;
  }
  for (auto part : parts) {
    ZEST_ASSIGN(auto address, parse_address(part, port));
    s.addresses.push_back(std::move(address));
  }
  return {};
}

}  // namespace

std::string Address::text() const {
  if (is_path) return host;
  return (host.find(':') == host.npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}

Result<Settings> parse_url(const std::string& url) {
  Settings s;
  size_t scheme_end = url.find("://");
  std::string scheme = scheme_end == url.npos ? "redis" : url.substr(0, scheme_end);
  std::string_view rest = std::string_view(url).substr(scheme_end == url.npos ? 0 : scheme_end + 3);
  if (scheme != "redis" && scheme != "rediss" && scheme != "unix") return fail(EINVAL, "not a Redis URL");
  s.tls = scheme == "rediss";
  bool path = scheme == "unix";
  size_t at = path && rest.starts_with('/') ? rest.npos : rest.rfind('@');
  size_t query = rest.find('?', at == rest.npos ? 0 : at);
  std::string_view options = query == rest.npos ? std::string_view() : rest.substr(query + 1);
  if (at != rest.npos) {
    std::string_view user = rest.substr(0, at);
    size_t colon = user.find(':');
    s.user = percent_decode(user.substr(0, colon));
    if (colon != user.npos) s.password = percent_decode(user.substr(colon + 1));
  }
  std::string_view where = rest.substr(at == rest.npos ? 0 : at + 1);
  where = where.substr(0, where.find('?'));
  if (path) {
    if (where.empty()) return fail(EINVAL, "Redis URL: no path of a socket");
    s.addresses.push_back({percent_decode(where), 0, true});
  } else {
    size_t slash = where.find('/');
    std::string_view db = slash == where.npos ? std::string_view() : where.substr(slash + 1);
    if (!db.empty()) ZEST_TRY(set_option(s, "db", std::string(db)));
    ZEST_TRY(set_hosts(s, where.substr(0, slash)));
  }
  for (auto option : split(options, '&')) {
    if (option.empty()) continue;
    size_t equals = option.find('=');
    std::string value = equals == option.npos ? "" : percent_decode(option.substr(equals + 1));
    ZEST_TRY(set_option(s, percent_decode(option.substr(0, equals)), value));
  }
  if (s.password.empty()) s.password = password_from_environment();
  return s;
}

}  // namespace zest::meta::redis
