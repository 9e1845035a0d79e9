#include "front/metrics/consul.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "front/metrics/tcp.h"
#include "object/http.h"

namespace zest::metrics {
namespace {

constexpr int kTimeoutMs = 5'000;

}  // namespace

std::string consul_registration(const ConsulService& service, const std::string& ip) {
  auto at = split_address(service.address).value_or(HostPort{});
  bool everywhere = at.host == "0.0.0.0" || at.host == "::";
  const std::string host = everywhere ? ip : at.host;
  bool v6 = host.find(':') != host.npos;
  nlohmann::ordered_json json;
  json["ID"] = fmt::format("{}:{}", host, service.mount_point);
  json["Name"] = "juicefs";
  json["Address"] = host;
  json["Port"] = std::atoi(at.port.c_str());
  json["Meta"] = {{"mountPoint", service.mount_point}, {"hostName", service.host}};
  json["Check"] = {{"HTTP", fmt::format("http://{}{}{}:{}/metrics", v6 ? "[" : "", host, v6 ? "]" : "", at.port)},
                   {"Interval", "5s"},
                   {"Timeout", "5s"},
                   {"DeregisterCriticalServiceAfter", "30s"}};
  // names come from users: what is no UTF-8 must not end the client
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<void> register_at_consul(const ConsulService& service) {
  ZEST_ASSIGN(auto ip, local_address_towards(service.agent));
  auto body = consul_registration(service, ip);
  object::HttpClient client(1, {});
  object::HttpRequest request;
  request.method = "PUT";
  request.url = fmt::format("http://{}/v1/agent/service/register", service.agent);
  request.headers = {"Content-Type: application/json"};
  request.body = body;
  request.timeout_ms = kTimeoutMs;
  ZEST_ASSIGN(auto answer, client.send(request));
  if (answer.status == 200) return {};
  return fail(EIO, fmt::format("{} answers {}: {}", service.agent, answer.status, answer.body.substr(0, 200)));
}

}  // namespace zest::metrics
