// What each operation costs on a database behind a network, counted by the client of Redis. Warm: the connection is
// there, ids are in hand.
#include <fcntl.h>
#include <gtest/gtest.h>

#include "meta/api.h"
#include "meta/engine/redis/redis_engine.h"
#include "meta/engine/redis/test_server.h"

namespace zest::meta {
namespace {

class RedisRoundTrips : public testing::Test {
 protected:
  void SetUp() override {
    auto engine = open_engine(server_.url(0), {});
    ASSERT_TRUE(engine) << engine.error().message();
    Options options;
    options.no_background_jobs = true;
    options.heartbeat_ms = 0;
    meta_ = std::make_unique<Meta>(std::move(*engine), system_clock(), options);
    Format format;
    format.name = "round-trips";
    format.uuid = "ab6ad14a-aa63-4580-95ac-d1237fa3fa4d";
    format.trash_days = 0;
    ASSERT_TRUE(meta_->format(format, false));
    ASSERT_TRUE(meta_->load());
    ASSERT_TRUE(meta_->start_session({}));
    auto dir = meta_->mkdir(root_, kRootIno, "dir", 0755, 0);
    ASSERT_TRUE(dir);
    dir_ = dir->ino;
    ASSERT_TRUE(meta_->new_slice_id());
    auto stream = meta_->opendir(root_, dir_, true);
    ASSERT_TRUE(stream);
    ASSERT_TRUE((*stream)->next(10));
  }
  void TearDown() override {
    if (meta_) {
      EXPECT_TRUE(meta_->close_session());
    }
  }
  template <class F>
  uint64_t trips(F&& call) {
    uint64_t before = redis::round_trips(meta_->engine());
    call();
    return redis::round_trips(meta_->engine()) - before;
  }
  Ino create(const std::string& name) {
    auto made = meta_->create(root_, dir_, name, 0644, 0, false, O_RDWR);
    EXPECT_TRUE(made) << made.error().message();
    return made ? made->entry.ino : Ino{0};
  }
  void write(Ino ino, uint32_t pos) {
    auto id = meta_->new_slice_id();
    ASSERT_TRUE(id);
    Meta::ChunkWrite record{0, Slice{pos, *id, 4096, 0, 4096}, system_clock().now()};
    auto done = meta_->write(ino, std::span(&record, 1));
    ASSERT_TRUE(done) << done.error().message();
  }
  void close(Ino ino) { EXPECT_TRUE(meta_->close(ino)); }

  redis::TestServer server_;
  std::unique_ptr<Meta> meta_;
  const Context root_;
  Ino dir_{0};
};

TEST_F(RedisRoundTrips, StayInBudget) {
  close(create("warm"));
  Ino file{0};
  EXPECT_LE(trips([&] { close(create("a")); }), 2u) << "create, close";
  EXPECT_LE(trips([&] {
              file = create("b");
              write(file, 0);
              close(file);
            }),
            4u)
      << "create, write 4 KiB, close";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->getattr(root_, file)); }), 1u) << "stat";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->lookup(root_, dir_, "b")); }), 1u) << "lookup";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->open(root_, file, O_RDWR)); }), 1u) << "open";
  EXPECT_LE(trips([&] { write(file, 4096); }), 2u) << "append, fsync";
  EXPECT_LE(trips([&] { close(file); }), 0u) << "close";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->read_chunk(file, 0)); }), 1u) << "read";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->mkdir(root_, dir_, "d", 0755, 0)); }), 2u) << "mkdir";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->rename(root_, dir_, "a", dir_, "c", 0)); }), 2u) << "rename";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->rename(root_, dir_, "c", dir_, "warm", 0)); }), 2u) << "rename over a file";
  meta_->drain_deletes();
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->rmdir(root_, dir_, "d")); }), 2u) << "rmdir";
  Attr values;
  values.mode = 0600;
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->setattr(root_, file, kSetMode, values)); }), 2u) << "chmod";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->truncate(root_, file, 100, true)); }), 2u) << "truncate";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->setxattr(root_, file, "user.a", "b", 0)); }), 2u) << "setxattr";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->getxattr(root_, file, "user.a")); }), 1u) << "getxattr";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->link(root_, file, dir_, "hard")); }), 2u) << "link";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->unlink(root_, dir_, "hard")); }), 2u) << "unlink";
}

TEST_F(RedisRoundTrips, ListingsComeInPages) {
  constexpr size_t kFiles = 3000;
  for (size_t i = 0; i < kFiles; i++)
    ASSERT_TRUE(meta_->mknod(root_, dir_, "f" + std::to_string(i), FileType::kFile, 0644, 0, 0));
  size_t found = 0;
  uint64_t used = trips([&] {
    auto stream = meta_->opendir(root_, dir_, true);
    ASSERT_TRUE(stream);
    for (;;) {
      auto page = (*stream)->next(4096);
      ASSERT_TRUE(page);
      if (page->empty()) break;
      found += page->size();
    }
  });
  EXPECT_EQ(found, kFiles);
  EXPECT_LE(used, 1 + kFiles / 1000);
}

}  // namespace
}  // namespace zest::meta
