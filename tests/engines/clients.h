// Clients of one volume, whatever the database.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "meta/api.h"

namespace zest::meta {

class Clients {
 public:
  // One more client, without work of its own in the background. first: formats the volume.
  static std::unique_ptr<Meta> join(const std::string& url, bool first = false, Options options = {}) {
    auto engine = open_engine(url, {});
    EXPECT_TRUE(engine) << engine.error().message();
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
  static Ino create(Meta& by, Ino dir, const std::string& name) {
    auto made = by.create({}, dir, name, 0644, 0, true, O_RDWR);
    EXPECT_TRUE(made) << made.error().message();
    return made ? made->entry.ino : Ino{0};
  }
  static void write(Meta& by, Ino ino, uint32_t pos) {
    auto id = by.new_slice_id();
    ASSERT_TRUE(id);
    Meta::ChunkWrite record{0, Slice{pos, *id, 4096, 0, 4096}, system_clock().now()};
    auto done = by.write(ino, std::span(&record, 1));
    ASSERT_TRUE(done) << done.error().message();
  }
};

}  // namespace zest::meta
