// Changes that start from what this client knew, while another client has changed it: the answer is always that of the
// database.
#include "redis_clients.h"

namespace zest::meta {
namespace {

class RedisAssumptions : public RedisClients {
 protected:
  void SetUp() override {
    RedisClients::SetUp();
    other_ = join();
    auto dir = meta_->mkdir(root_, kRootIno, "dir", 0755, 0);
    ASSERT_TRUE(dir);
    dir_ = dir->ino;
  }
  void TearDown() override {
    EXPECT_TRUE(other_->close_session());
    RedisClients::TearDown();
  }
  // Nothing in the directory changes behind this client's back: it knows the name, and what it said to be.
  void know(const std::string& name) {
    EXPECT_TRUE(meta_->getattr(root_, dir_));
    (void)meta_->lookup(root_, dir_, name);
  }
  bool exists(const std::string& name) { return other_->lookup(root_, dir_, name).has_value(); }

  std::unique_ptr<Meta> other_;
  Ino dir_{0};
};

TEST_F(RedisAssumptions, NameThatAppearedIsNotOverwritten) {
  know("a");
  Ino theirs = create(*other_, dir_, "a");
  auto made = meta_->create(root_, dir_, "a", 0644, 0, true, O_RDWR);
  EXPECT_EQ(code_of(made), EEXIST);
  auto opened = meta_->create(root_, dir_, "a", 0644, 0, false, O_RDWR);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->entry.ino, theirs);
}

TEST_F(RedisAssumptions, NameThatIsGoneIsNotFound) {
  create(*other_, dir_, "a");
  know("a");
  ASSERT_TRUE(other_->unlink(root_, dir_, "a"));
  EXPECT_EQ(code_of(meta_->unlink(root_, dir_, "a")), ENOENT);
  EXPECT_EQ(code_of(meta_->rename(root_, dir_, "a", dir_, "b", 0)), ENOENT);
}

// What was known says EEXIST, ENOENT, EPERM, EACCES: it is asked again before anybody is told.
TEST_F(RedisAssumptions, RefusalsAreNotAssumed) {
  create(*other_, dir_, "a");
  know("a");
  ASSERT_TRUE(other_->unlink(root_, dir_, "a"));
  EXPECT_TRUE(meta_->create(root_, dir_, "a", 0644, 0, true, O_RDWR));

  know("b");
  create(*other_, dir_, "b");
  EXPECT_TRUE(meta_->unlink(root_, dir_, "b"));

  Attr values;
  values.flags = kFlagImmutable;
  ASSERT_TRUE(other_->setattr(root_, dir_, kSetFlags, values));
  know("c");
  values.flags = 0;
  ASSERT_TRUE(other_->setattr(root_, dir_, kSetFlags, values));
  EXPECT_TRUE(meta_->create(root_, dir_, "c", 0644, 0, true, O_RDWR));

  Context user;
  user.uid = user.gid = 1000;
  user.check_permission = true;
  know("d");
  values.mode = 0777;
  ASSERT_TRUE(other_->setattr(root_, dir_, kSetMode, values));
  EXPECT_TRUE(meta_->create(user, dir_, "d", 0644, 0, true, O_RDWR));
}

TEST_F(RedisAssumptions, PermissionsThatAreGoneAreRefused) {
  Attr values;
  values.mode = 0777;
  ASSERT_TRUE(other_->setattr(root_, dir_, kSetMode, values));
  know("a");
  values.mode = 0755;
  ASSERT_TRUE(other_->setattr(root_, dir_, kSetMode, values));
  Context user;
  user.uid = user.gid = 1000;
  user.check_permission = true;
  EXPECT_EQ(code_of(meta_->create(user, dir_, "a", 0644, 0, true, O_RDWR)), EACCES);
}

TEST_F(RedisAssumptions, BothClientsWritesAreThere) {
  Ino file = create(*meta_, dir_, "a");
  ASSERT_TRUE(other_->open(root_, file, O_RDWR));
  for (uint32_t i = 0; i < 10; i++) write(i % 3 == 0 ? *other_ : *meta_, file, i * 4096);
  Attr values;
  values.mode = 0600;
  ASSERT_TRUE(other_->setattr(root_, file, kSetMode, values));
  write(*meta_, file, 40960);
  auto attr = other_->getattr(root_, file);
  ASSERT_TRUE(attr);
  EXPECT_EQ(attr->length, 11u * 4096);
  EXPECT_EQ(attr->mode, 0600);
  auto view = other_->read_chunk(file, 0);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->records, 11u);
}

TEST_F(RedisAssumptions, FileThatIsGoneTakesNoWrites) {
  Ino file = create(*meta_, dir_, "a");
  ASSERT_TRUE(other_->unlink(root_, dir_, "a"));
  auto id = meta_->new_slice_id();
  ASSERT_TRUE(id);
  Meta::ChunkWrite record{0, Slice{0, *id, 4096, 0, 4096}, system_clock().now()};
  EXPECT_EQ(code_of(meta_->write(file, std::span(&record, 1))), ENOENT);
}

TEST_F(RedisAssumptions, WrongOnesCostOneRoundTrip) {
  know("a");
  Attr values;
  values.mode = 0700;
  ASSERT_TRUE(other_->setattr(root_, dir_, kSetMode, values));
  EXPECT_EQ(trips([&] { create(*meta_, dir_, "a"); }), 3u);
  EXPECT_TRUE(exists("a"));
  // and for a while the directory is not trusted
  know("b");
  EXPECT_EQ(trips([&] { create(*meta_, dir_, "b"); }), 2u);
}

}  // namespace
}  // namespace zest::meta
