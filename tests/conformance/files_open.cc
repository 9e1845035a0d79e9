// open, close, and inodes that lose their last name while open (semantics.md 7.1, 12.2).
#include "files_fixture.h"

namespace zest::meta {
namespace {

class OpenFile : public FilesTest {};
FILES_ON_EVERY_ENGINE(OpenFile);

uint32_t sys_open(int flags) { return static_cast<uint32_t>(flags); }

TEST_P(OpenFile, errors_in_order) {
  auto& c = client();
  Ino f = c.file("f", kRootIno, 0640);
  EXPECT_ERR(c->open(root_, Ino{999}, sys_open(O_RDONLY)), ENOENT);
  EXPECT_OK(c->open(root_, f, sys_open(O_RDWR)));
  EXPECT_ERR(c->open(user(500), f, sys_open(O_RDONLY)), EACCES);
  EXPECT_ERR(c->open(user(500), f, sys_open(O_WRONLY)), EACCES);
  Context no_check = user(500);
  no_check.check_permission = false;
  EXPECT_OK(c->open(no_check, f, sys_open(O_RDWR)));
  EXPECT_ERR(c->open(user(500), f, 0x20), EACCES);
  Ino readable = c.file("readable", kRootIno, 0644);
  EXPECT_ERR(c->open(user(500), readable, sys_open(O_RDONLY | O_NOATIME)), EPERM);
  EXPECT_OK(c->open(user(0), readable, sys_open(O_RDONLY | O_NOATIME)));
}

TEST_P(OpenFile, immutable_and_append_only_files) {
  auto& c = client();
  Ino f = c.file("f");
  Attr flags;
  flags.flags = kFlagImmutable;
  ASSERT_OK(c->setattr(root_, f, kSetFlags, flags));
  EXPECT_OK(c->open(root_, f, sys_open(O_RDONLY)));
  EXPECT_ERR(c->open(root_, f, sys_open(O_WRONLY)), EPERM);
  EXPECT_ERR(c->open(root_, f, sys_open(O_RDWR)), EPERM);
  flags.flags = kFlagAppend;
  ASSERT_OK(c->setattr(root_, f, kSetFlags, flags));
  EXPECT_OK(c->open(root_, f, sys_open(O_RDONLY)));
  EXPECT_ERR(c->open(root_, f, sys_open(O_WRONLY)), EPERM);
  EXPECT_OK(c->open(root_, f, sys_open(O_WRONLY | O_APPEND)));
  EXPECT_ERR(c->open(root_, f, sys_open(O_WRONLY | O_APPEND | O_TRUNC)), EPERM);
  EXPECT_ERR(c->open(root_, f, sys_open(O_RDONLY | O_TRUNC)), EPERM);
}

TEST_P(OpenFile, read_only_client) {
  Ino f = client().file("f");
  Options options;
  options.read_only = true;
  auto ro = connect(options);
  EXPECT_OK((*ro)->open(root_, f, sys_open(O_RDONLY)));
  EXPECT_ERR((*ro)->open(root_, f, sys_open(O_WRONLY)), EROFS);
  EXPECT_ERR((*ro)->open(root_, f, sys_open(O_RDWR)), EROFS);
  EXPECT_ERR((*ro)->open(root_, f, sys_open(O_RDONLY | O_APPEND)), EROFS);
  EXPECT_ERR((*ro)->open(root_, f, sys_open(O_RDONLY | O_TRUNC)), EROFS);
  EXPECT_ERR((*ro)->truncate(root_, f, 5, true), EROFS);
  EXPECT_ERR((*ro)->fallocate(root_, f, 0, 0, 5), EROFS);
  EXPECT_ERR((*ro)->write(f, {}), EROFS);
  EXPECT_ERR((*ro)->copy_file_range(root_, f, 0, f, 10, 5), EROFS);
  EXPECT_ERR((*ro)->setxattr(root_, f, "user.a", "1", 0), EROFS);
  EXPECT_ERR((*ro)->removexattr(root_, f, "user.a"), EROFS);
  EXPECT_ERR((*ro)->flock(root_, f, 1, LockType::kRead, false), EROFS);
  EXPECT_ERR((*ro)->setlk(root_, f, 1, PosixLock{LockType::kRead, 1, 0, 9}, false), EROFS);
  EXPECT_ERR((*ro)->new_slice_id(), EROFS);
}

TEST_P(OpenFile, pages_are_kept_unless_another_client_changed_the_file) {
  auto& c = client();
  auto other = connect();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, 0, "abc"));
  auto first = c->open(root_, f, sys_open(O_RDONLY));
  ASSERT_OK(first);
  EXPECT_FALSE(first->keep_cache);
  ASSERT_OK(c->close(f));
  auto again = c->open(root_, f, sys_open(O_RDONLY));
  ASSERT_OK(again);
  EXPECT_TRUE(again->keep_cache);
  ASSERT_OK(other->put(f, 0, "xyz"));
  auto changed = c->open(root_, f, sys_open(O_RDONLY));
  ASSERT_OK(changed);
  EXPECT_FALSE(changed->keep_cache);
  EXPECT_EQ(c.get(f), "xyz");
}

TEST_P(OpenFile, unlinked_while_open_lives_until_the_last_close) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, 0, std::string(5000, 'x')));
  int64_t with_file = c.used_space();
  auto slices = data_.ids();
  ASSERT_EQ(slices.size(), 1u);
  ASSERT_OK(c->open(root_, f, sys_open(O_RDWR)));
  ASSERT_OK(c->open(root_, f, sys_open(O_RDWR)));
  ASSERT_OK(c->unlink(root_, kRootIno, "f"));
  EXPECT_TRUE(c.exists(Key::sustained(c->session_id(), f)));
  EXPECT_EQ(c.attr(f).nlink, 0u);
  EXPECT_EQ(c.used_space(), with_file);
  EXPECT_EQ(c.get(f), std::string(5000, 'x'));
  // Written to all the same, and counted until it is gone.
  ASSERT_OK(c.put(f, 5000, std::string(5000, 'y')));
  EXPECT_EQ(c.used_space(), with_file + 4096);
  ASSERT_OK(c->close(f));
  EXPECT_TRUE(c.exists(Key::inode(f)));
  ASSERT_OK(c->close(f));
  EXPECT_FALSE(c.exists(Key::inode(f)));
  EXPECT_FALSE(c.exists(Key::sustained(c->session_id(), f)));
  c.settle();
  EXPECT_EQ(c.records(f, 0), "");
  EXPECT_FALSE(c.exists(Key::del_file(f, 10000)));
  EXPECT_TRUE(data_.ids().empty());
  EXPECT_EQ(c.used_space(), with_file - 8192);
}

TEST_P(OpenFile, unlinked_by_another_client_is_gone_at_once) {
  auto& c = client();
  auto other = connect();
  Ino f = c.file("f");
  ASSERT_OK(c->open(root_, f, sys_open(O_RDWR)));
  ASSERT_OK((*other)->unlink(root_, kRootIno, "f"));
  EXPECT_ERR(c.put(f, 0, "x"), ENOENT);
  EXPECT_ERR(c->read_chunk(f, 0), ENOENT);
  ASSERT_OK(c->close(f));
}

TEST_P(OpenFile, release_of_a_missing_inode_drops_the_record) {
  auto& c = client();
  ASSERT_OK(c.state().run({}, [&](Txn& txn) -> Result<void> {
    txn.put(Key::sustained(77, Ino{4711}), true);
    return {};
  }));
  ASSERT_OK(release_sustained(c.state(), 77, Ino{4711}));
  EXPECT_FALSE(c.exists(Key::sustained(77, Ino{4711})));
}

}  // namespace
}  // namespace zest::meta
