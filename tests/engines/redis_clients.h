// Clients of one volume on a Redis server of the test's own.
#pragma once

#include "clients.h"
#include "meta/engine/redis/redis_engine.h"
#include "meta/engine/redis/test_server.h"

namespace zest::meta {

class RedisClients : public testing::Test, public Clients {
 protected:
  void SetUp() override { meta_ = join(true); }
  void TearDown() override {
    if (meta_) {
      EXPECT_TRUE(meta_->close_session());
    }
  }
  // One more client. first: formats the volume.
  std::unique_ptr<Meta> join(bool first = false, const std::string& url_options = "") {
    return Clients::join(server_.url(0) + url_options, first);
  }
  template <class F>
  uint64_t trips(F&& call) {
    uint64_t before = redis::round_trips(meta_->engine());
    call();
    return redis::round_trips(meta_->engine()) - before;
  }
  redis::TestServer server_;
  std::unique_ptr<Meta> meta_;
  const Context root_;
};

}  // namespace zest::meta
