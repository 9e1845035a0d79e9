// Clients of one volume on a Redis server of the test's own.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "meta/api.h"
#include "meta/engine/redis/redis_engine.h"
#include "meta/engine/redis/test_server.h"

namespace zest::meta {

class RedisClients : public testing::Test {
 protected:
  void SetUp() override { meta_ = join(true); }
  void TearDown() override {
    if (meta_) {
      EXPECT_TRUE(meta_->close_session());
    }
  }
  // One more client. first: formats the volume.
  std::unique_ptr<Meta> join(bool first = false, const std::string& url_options = "") {
    auto engine = open_engine(server_.url(0) + url_options, {});
    EXPECT_TRUE(engine) << engine.error().message();
    Options options;
    options.no_background_jobs = true;
    options.heartbeat_ms = 0;
    auto meta = std::make_unique<Meta>(std::move(*engine), system_clock(), options);
    Format format;
    format.name = "clients";
    format.uuid = "ab6ad14a-aa63-4580-95ac-d1237fa3fa4d";
    format.trash_days = 0;
    if (first) {
      EXPECT_TRUE(meta->format(format, false));
    }
    EXPECT_TRUE(meta->load());
    EXPECT_TRUE(meta->start_session({}));
    return meta;
  }
  template <class F>
  uint64_t trips(F&& call) {
    uint64_t before = redis::round_trips(meta_->engine());
    call();
    return redis::round_trips(meta_->engine()) - before;
  }
  Ino create(Meta& by, Ino dir, const std::string& name) {
    auto made = by.create(root_, dir, name, 0644, 0, true, O_RDWR);
    EXPECT_TRUE(made) << made.error().message();
    return made ? made->entry.ino : Ino{0};
  }
  void write(Meta& by, Ino ino, uint32_t pos) {
    auto id = by.new_slice_id();
    ASSERT_TRUE(id);
    Meta::ChunkWrite record{0, Slice{pos, *id, 4096, 0, 4096}, system_clock().now()};
    auto done = by.write(ino, std::span(&record, 1));
    ASSERT_TRUE(done) << done.error().message();
  }

  redis::TestServer server_;
  std::unique_ptr<Meta> meta_;
  const Context root_;
};

}  // namespace zest::meta
