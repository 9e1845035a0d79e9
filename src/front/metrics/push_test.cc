#include "front/metrics/push.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "front/metrics/consul.h"
#include "front/metrics/tcp.h"

namespace zest::metrics {
namespace {

TEST(Push, GroupsOfTheGatewayHoldAnyValue) {
  EXPECT_EQ(gateway_path({{"vol_name", "a b"}, {"mp", "/mnt/jfs?"}, {"instance", ""}}),
            "/metrics/job/juicefs/vol_name/a%20b/mp@base64/L21udC9qZnM_/instance@base64/=");
}

TEST(Consul, TheServiceIsAsSpecified) {
  auto json =
      nlohmann::json::parse(consul_registration({"agent:8500", "0.0.0.0:9567", "/mnt/\"jfs\"", "host"}, "10.1.2.3"));
  auto wanted = nlohmann::json::parse(R"({
    "ID": "10.1.2.3:/mnt/\"jfs\"", "Name": "juicefs", "Address": "10.1.2.3", "Port": 9567,
    "Meta": {"mountPoint": "/mnt/\"jfs\"", "hostName": "host"},
    "Check": {"HTTP": "http://10.1.2.3:9567/metrics", "Interval": "5s", "Timeout": "5s",
              "DeregisterCriticalServiceAfter": "30s"}})");
  EXPECT_EQ(json, wanted);
  auto own = nlohmann::json::parse(consul_registration({"agent:8500", "[::1]:9567", "/m", "host"}, "10.1.2.3"));
  EXPECT_EQ(own["Address"], "::1");
  EXPECT_EQ(own["Check"]["HTTP"], "http://[::1]:9567/metrics");
}

TEST(Tcp, AddressesAreSplit) {
  EXPECT_EQ(split_address("host:1")->host, "host");
  EXPECT_EQ(split_address("[::1]:80")->host, "::1");
  EXPECT_EQ(split_address(":80")->host, "");
  EXPECT_EQ(split_address("[::1]:80")->port, "80");
  for (auto* bad : {"", "host", "host:"}) EXPECT_FALSE(split_address(bad)) << bad;
}

TEST(Tcp, TheWayToTheLoopBackIsTheLoopBack) {
  EXPECT_EQ(local_address_towards("127.0.0.1:8500").value_or(""), "127.0.0.1");
}

TEST(Tcp, NobodyThereIsAnError) { EXPECT_FALSE(send_to({"127.0.0.1", "1"}, "x", 1000)); }

}  // namespace
}  // namespace zest::metrics
