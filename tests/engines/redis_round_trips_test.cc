// What each operation costs on a database behind a network, counted by the client of Redis. Warm: the connection is
// there, ids are in hand.
#include "redis_clients.h"

namespace zest::meta {
namespace {

class RedisRoundTrips : public RedisClients {
 protected:
  void SetUp() override {
    RedisClients::SetUp();
    auto dir = meta_->mkdir(root_, kRootIno, "dir", 0755, 0);
    ASSERT_TRUE(dir);
    dir_ = dir->ino;
    ASSERT_TRUE(meta_->new_slice_id());
    auto stream = meta_->opendir(root_, dir_, true);
    ASSERT_TRUE(stream);
    ASSERT_TRUE((*stream)->next(10));
  }
  Ino create(const std::string& name) { return RedisClients::create(*meta_, dir_, name); }
  void write(Ino ino, uint32_t pos) { RedisClients::write(*meta_, ino, pos); }
  void close(Ino ino) { EXPECT_TRUE(meta_->close(ino)); }

  Ino dir_{0};
};

// Nothing of what is touched is known from before but the directory.
TEST_F(RedisRoundTrips, StayInBudget) {
  close(create("warm"));
  Ino file{0};
  EXPECT_LE(trips([&] { close(create("a")); }), 2u) << "create, close";
  EXPECT_LE(trips([&] {
              file = create("b");
              write(file, 0);
              close(file);
            }),
            3u)
      << "create, write 4 KiB, close";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->getattr(root_, file)); }), 1u) << "stat";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->lookup(root_, dir_, "b")); }), 1u) << "lookup";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->open(root_, file, O_RDWR)); }), 1u) << "open";
  EXPECT_LE(trips([&] { write(file, 4096); }), 1u) << "append, fsync";
  EXPECT_LE(trips([&] { close(file); }), 0u) << "close";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->read_chunk(file, 0)); }), 1u) << "read";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->mkdir(root_, dir_, "d", 0755, 0)); }), 2u) << "mkdir";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->rename(root_, dir_, "a", dir_, "c", 0)); }), 2u) << "rename";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->rename(root_, dir_, "c", dir_, "warm", 0)); }), 2u) << "rename over a file";
  meta_->drain_deletes();
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->rmdir(root_, dir_, "d")); }), 2u) << "rmdir";
  Attr values;
  values.mode = 0600;
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->setattr(root_, file, kSetMode, values)); }), 1u) << "chmod";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->truncate(root_, file, 100, true)); }), 2u) << "truncate";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->setxattr(root_, file, "user.a", "b", 0)); }), 2u) << "setxattr";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->getxattr(root_, file, "user.a")); }), 1u) << "getxattr";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->link(root_, file, dir_, "hard")); }), 2u) << "link";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->unlink(root_, dir_, "hard")); }), 2u) << "unlink";
}

// The kernel looks a name up before most calls: then the change itself is a single commit.
TEST_F(RedisRoundTrips, AfterALookupTheChangeIsOneCommit) {
  auto looked_up = [&](const char* name) { (void)meta_->lookup(root_, dir_, name); };
  looked_up("a");
  EXPECT_LE(trips([&] { close(create("a")); }), 1u) << "create";
  looked_up("d");
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->mkdir(root_, dir_, "d", 0755, 0)); }), 1u) << "mkdir";
  auto other = join();
  ASSERT_TRUE(other->mknod(root_, dir_, "theirs", FileType::kFile, 0644, 0, 0));
  ASSERT_TRUE(meta_->getattr(root_, dir_));
  looked_up("theirs");
  looked_up("b");
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->rename(root_, dir_, "theirs", dir_, "b", 0)); }), 1u) << "rename";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->unlink(root_, dir_, "b")); }), 1u) << "unlink";
  meta_->drain_deletes();
  EXPECT_TRUE(other->close_session());
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
