#include "meta/engine/redis/url.h"

#include <gtest/gtest.h>
#include <stdlib.h>

namespace zest::meta::redis {
namespace {

class Url : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"REDIS_PASSWORD", "META_PASSWORD", "META_PASSWORD_FILE", "SENTINEL_PASSWORD"})
      unsetenv(name);
  }
  void TearDown() override { SetUp(); }
  Settings parse(const std::string& url) {
    auto settings = parse_url(url);
    EXPECT_TRUE(settings) << settings.error().message();
    return settings.value_or(Settings{});
  }
};

TEST_F(Url, SingleServer) {
  auto s = parse("redis://localhost");
  EXPECT_EQ(s.addresses[0].text(), "localhost:6379");
  EXPECT_EQ(s.mode, Mode::kSingle);
  EXPECT_EQ(s.db, 0);
  s = parse("rediss://me:pa%40ss@db.example:7000/3?read-timeout=2s&insecure-skip-verify=1");
  EXPECT_TRUE(s.tls);
  EXPECT_TRUE(s.skip_verify);
  EXPECT_EQ(s.user, "me");
  EXPECT_EQ(s.password, "pa@ss");
  EXPECT_EQ(s.addresses[0].text(), "db.example:7000");
  EXPECT_EQ(s.db, 3);
  EXPECT_EQ(s.read_timeout_ms, 2000);
  EXPECT_EQ(parse("redis://:p@ss:w/ord?x@h:1/2").password, "p@ss:w/ord?x");
  EXPECT_EQ(parse("redis://[::1]:6380/1").addresses[0].host, "::1");
  EXPECT_EQ(parse("redis://h/1?db=5").db, 5);
  EXPECT_EQ(parse("redis://h?read_timeout=junk").read_timeout_ms, 30000);
}

TEST_F(Url, Socket) {
  auto s = parse("unix:///run/re@dis.sock?db=2");
  EXPECT_EQ(s.addresses[0].text(), "/run/re@dis.sock");
  EXPECT_EQ(s.db, 2);
  s = parse("unix://me:secret@/run/s");
  EXPECT_EQ(s.addresses[0].host, "/run/s");
  EXPECT_EQ(s.password, "secret");
}

TEST_F(Url, Sentinels) {
  setenv("SENTINEL_PASSWORD", "watch", 1);
  auto s = parse("redis://:pw@mymaster,s1,s2:26380,s3:5000/4");
  EXPECT_EQ(s.mode, Mode::kSentinel);
  EXPECT_EQ(s.master, "mymaster");
  ASSERT_EQ(s.addresses.size(), 3u);
  EXPECT_EQ(s.addresses[0].text(), "s1:5000");
  EXPECT_EQ(s.addresses[1].text(), "s2:26380");
  EXPECT_EQ(s.db, 4);
  EXPECT_EQ(s.sentinel_password, "watch");
  EXPECT_EQ(parse("redis://m,s1:7,s2").addresses[1].port, 26379);
}

TEST_F(Url, Cluster) {
  auto s = parse("redis://h1:7000,h2:7001/2");
  EXPECT_EQ(s.mode, Mode::kCluster);
  EXPECT_EQ(s.addresses.size(), 2u);
  EXPECT_EQ(s.db, 2);
  EXPECT_EQ(parse("redis://h1,h2").mode, Mode::kCluster);
}

TEST_F(Url, PasswordsFromTheEnvironment) {
  setenv("META_PASSWORD", "meta", 1);
  EXPECT_EQ(parse("redis://h").password, "meta");
  setenv("REDIS_PASSWORD", "redis", 1);
  EXPECT_EQ(parse("redis://me@h").password, "redis");
  EXPECT_EQ(parse("redis://me@h").user, "me");
  EXPECT_EQ(parse("redis://:url@h").password, "url");
}

TEST_F(Url, Refused) {
  for (const char* bad : {"mysql://h", "redis://h:0", "redis://h:99999", "redis://h/x", "redis://h?unheard-of=1",
                          "unix://", "redis://:secret@h:x"}) {
    auto s = parse_url(bad);
    ASSERT_FALSE(s) << bad;
    EXPECT_EQ(s.error().code, EINVAL);
    EXPECT_EQ(s.error().what.find("secret"), std::string::npos);
  }
}

}  // namespace
}  // namespace zest::meta::redis
