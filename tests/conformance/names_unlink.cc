// unlink and rmdir: tables 6.2 and 6.3 of semantics.md, without the trash.
#include "fixture.h"

namespace zest::conformance {
namespace {

class Unlink : public Conformance {};
ON_EVERY_ENGINE(Unlink);

TEST_P(Unlink, refusals) {
  const Ino dir = mkdir(kRootIno, "d", 0777);
  const Ino file = mkfile(dir, "f");
  mkdir(dir, "sub");
  const Context bob = user(1001);
  EXPECT_ERRNO(EPERM, meta_->unlink(root_, kRootIno, ".trash"));
  EXPECT_ERRNO(EPERM, meta_->unlink(bob, kTrashIno, "x"));
  EXPECT_ERRNO(ENOENT, meta_->unlink(root_, Ino{99999}, "f"));
  EXPECT_ERRNO(ENOTDIR, meta_->unlink(root_, file, "f"));
  EXPECT_ERRNO(ENOENT, meta_->unlink(root_, dir, "missing"));
  EXPECT_ERRNO(ENAMETOOLONG, meta_->unlink(root_, dir, std::string(256, 'x')));
  EXPECT_ERRNO(EPERM, meta_->unlink(root_, dir, "sub"));
  const Ino closed = mkdir(kRootIno, "closed", 0755);
  mkfile(closed, "f");
  EXPECT_ERRNO(EACCES, meta_->unlink(bob, closed, "f"));
  EXPECT_ERRNO(EACCES, meta_->unlink(bob, closed, "missing"));
  const Ino sticky = mkdir(kRootIno, "sticky", 01777);
  mkfile(sticky, "of root");
  mkfile(sticky, "of bob", 0600, bob);
  EXPECT_ERRNO(EPERM, meta_->unlink(bob, sticky, "of root"));
  EXPECT_OK(meta_->unlink(bob, sticky, "of bob"));
}

TEST_P(Unlink, several_at_once_fail_and_succeed_each_on_its_own) {
  const Context bob = user(1001);
  const Ino dir = mkdir(kRootIno, "sticky", 01777);
  const Ino linked = mkfile(dir, "a", 0600, bob);
  ASSERT_OK(meta_->link(root_, linked, dir, "b"));
  ASSERT_OK(meta_->link(root_, linked, dir, "c"));
  mkfile(dir, "of root");
  mkdir(dir, "sub", 0755, bob);
  const std::vector<std::string> names{"a", "missing", "of root", "sub", "b"};
  auto removed = meta_->unlink_files(bob, dir, names, false);
  ASSERT_OK(removed);
  EXPECT_OK((*removed)[0]);
  EXPECT_ERRNO(ENOENT, (*removed)[1]);
  EXPECT_ERRNO(EPERM, (*removed)[2]);
  EXPECT_ERRNO(EPERM, (*removed)[3]);
  EXPECT_OK((*removed)[4]);
  auto attr = meta_->getattr(root_, linked);
  ASSERT_OK(attr);
  EXPECT_EQ(1u, attr->nlink) << "both names were taken off it";
  ASSERT_OK(meta_->unlink_files(root_, dir, std::vector<std::string>{"c"}, false));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, linked));
  EXPECT_ERRNO(EACCES, meta_->unlink_files(bob, mkdir(dir, "closed", 0755), names, false));
  EXPECT_ERRNO(ENOENT, meta_->unlink_files(root_, Ino{99999}, names, false));
}

TEST_P(Unlink, what_the_caller_keeps_lives_on_in_memory) {
  Context kernel;
  kernel.keeps_inodes = kernel.keeps_xattrs = true;
  const Ino dir = mkdir(kRootIno, "d"), sub = mkdir(dir, "sub");
  mkdir(dir, "unkept");
  auto fifo = meta_->mknod(root_, dir, "fifo", FileType::kFifo, 0644, 0, 0);
  ASSERT_OK(fifo);
  for (const Ino ino : {sub, fifo->ino}) ASSERT_OK(meta_->setxattr(root_, ino, "user.before", "2", 0));
  ASSERT_OK(meta_->rmdir(kernel, dir, "sub"));
  ASSERT_OK(meta_->unlink(kernel, dir, "fifo"));
  for (const Ino gone : {sub, fifo->ino}) {
    EXPECT_TRUE(meta_->is_removed(gone));
    EXPECT_EQ(0u, attr(gone).nlink);
    Attr values;
    values.mode = 0700;
    values.uid = 5;
    auto changed = meta_->setattr(root_, gone, meta::kSetMode | meta::kSetUid, values);
    ASSERT_OK(changed);
    EXPECT_EQ(0700, attr(gone).mode);
    EXPECT_EQ(5u, attr(gone).uid);
    EXPECT_ERRNO(EPERM, meta_->setattr(user(7), gone, meta::kSetMode, Attr{}));
    EXPECT_EQ("2", meta_->getxattr(root_, gone, "user.before").value_or(""));
    ASSERT_OK(meta_->removexattr(root_, gone, "user.before"));
    EXPECT_ERRNO(ENODATA, meta_->getxattr(root_, gone, "user.before"));
    ASSERT_OK(meta_->setxattr(root_, gone, "user.x", "1", meta::kXattrCreate));
    EXPECT_ERRNO(EEXIST, meta_->setxattr(root_, gone, "user.x", "1", meta::kXattrCreate));
    EXPECT_EQ("1", meta_->getxattr(root_, gone, "user.x").value_or(""));
    EXPECT_EQ(std::vector<std::string>{"user.x"}, meta_->listxattr(root_, gone).value_or(std::vector<std::string>()));
    ASSERT_OK(meta_->removexattr(root_, gone, "user.x"));
    EXPECT_ERRNO(ENODATA, meta_->removexattr(root_, gone, "user.x"));
    auto other = client();
    EXPECT_ERRNO(ENOENT, other->getattr(root_, gone)) << "the volume has no record of it";
    meta_->forget(gone);
    EXPECT_FALSE(meta_->is_removed(gone));
    EXPECT_ERRNO(ENOENT, meta_->getattr(root_, gone));
  }
  const Ino unkept = find(dir, "unkept");
  ASSERT_OK(meta_->rmdir(root_, dir, "unkept"));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, unkept));
  // replaced by a rename
  const Ino from = mkdir(dir, "from"), to = mkdir(dir, "to");
  ASSERT_OK(meta_->setxattr(root_, to, "user.before", "2", 0));
  ASSERT_OK(meta_->rename(kernel, dir, "from", dir, "to", 0));
  EXPECT_EQ(0u, attr(to).nlink);
  EXPECT_EQ("2", meta_->getxattr(root_, to, "user.before").value_or(""));
  EXPECT_EQ(2u, attr(from).nlink);
}

TEST_P(Unlink, protected_by_flags) {
  const Ino dir = mkdir(kRootIno, "d");
  const Ino file = mkfile(dir, "f");
  for (uint8_t flag : {kFlagImmutable, kFlagAppend}) {
    Attr flags;
    flags.flags = flag;
    ASSERT_OK(meta_->setattr(root_, file, meta::kSetFlags, flags));
    EXPECT_ERRNO(EPERM, meta_->unlink(root_, dir, "f"));
    flags.flags = 0;
    ASSERT_OK(meta_->setattr(root_, file, meta::kSetFlags, flags));
    flags.flags = flag;
    ASSERT_OK(meta_->setattr(root_, dir, meta::kSetFlags, flags));
    EXPECT_ERRNO(EPERM, meta_->unlink(root_, dir, "f"));
    EXPECT_ERRNO(EPERM, meta_->unlink(root_, dir, "missing"));
    flags.flags = 0;
    ASSERT_OK(meta_->setattr(root_, dir, meta::kSetFlags, flags));
  }
}

TEST_P(Unlink, every_type_goes_for_good) {
  const Ino dir = mkdir(kRootIno, "d");
  const Ino file = mkfile(dir, "f");
  grow(file, 100'000);
  ASSERT_OK(meta_->setxattr(root_, file, "user.a", "b", 0));
  const Ino link = mksymlink(dir, "l", "target");
  auto fifo = meta_->mknod(root_, dir, "p", FileType::kFifo, 0600, 0, 0);
  ASSERT_OK(fifo);
  verify();
  for (const char* name : {"f", "l", "p"}) EXPECT_OK(meta_->unlink(root_, dir, name));
  EXPECT_TRUE(names(dir).empty());
  for (Ino ino : {file, link, fifo->ino}) EXPECT_ERRNO(ENOENT, meta_->getattr(root_, ino));
}

TEST_P(Unlink, one_of_several_names) {
  const Ino dir = mkdir(kRootIno, "d"), other = mkdir(kRootIno, "other");
  const Ino file = mkfile(dir, "a");
  grow(file, 5000);
  ASSERT_OK(meta_->link(root_, file, dir, "b"));
  ASSERT_OK(meta_->link(root_, file, other, "c"));
  verify();
  clock_.advance(2000);
  ASSERT_OK(meta_->unlink(root_, dir, "a"));
  EXPECT_EQ(attr(file).nlink, 2u);
  EXPECT_EQ(attr(file).ctime, clock_.now());
  EXPECT_EQ(raw(attr(file).parent), 0u);
  EXPECT_EQ(*meta_->parents(file), (meta::LinkCounts{{dir, 1}, {other, 1}}));
  verify();
  ASSERT_OK(meta_->unlink(root_, other, "c"));
  EXPECT_EQ(*meta_->parents(file), (meta::LinkCounts{{dir, 1}}));
  verify();
  ASSERT_OK(meta_->unlink(root_, dir, "b"));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, file));
}

TEST_P(Unlink, open_file_stays_until_the_last_close) {
  auto made = meta_->create(root_, kRootIno, "f", 0644, 0, true, 2);
  ASSERT_OK(made);
  const Ino file = made->entry.ino;
  grow(file, 9000);
  ASSERT_OK(meta_->setxattr(root_, file, "user.a", "b", 0));
  ASSERT_OK(meta_->open(root_, file, 2));
  ASSERT_OK(meta_->unlink(root_, kRootIno, "f"));
  EXPECT_EQ(attr(file).nlink, 0u);
  EXPECT_EQ(*meta_->getxattr(root_, file, "user.a"), "b");
  verify();
  grow(file, 20'000);
  verify();
  EXPECT_OK(meta_->close(file));
  EXPECT_EQ(attr(file).length, 20'000u);
  EXPECT_OK(meta_->close(file));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, file));
}

TEST_P(Unlink, open_file_with_several_names_stays_until_the_last_close) {
  auto made = meta_->create(root_, kRootIno, "f", 0644, 0, true, 2);
  ASSERT_OK(made);
  ASSERT_OK(meta_->link(root_, made->entry.ino, kRootIno, "g"));
  ASSERT_OK(meta_->unlink(root_, kRootIno, "f"));
  ASSERT_OK(meta_->unlink(root_, kRootIno, "g"));
  EXPECT_EQ(attr(made->entry.ino).nlink, 0u);
  verify();
  EXPECT_OK(meta_->close(made->entry.ino));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, made->entry.ino));
}

TEST_P(Unlink, another_client_removes_what_this_one_has_open) {
  auto made = meta_->create(root_, kRootIno, "f", 0644, 0, true, 2);
  ASSERT_OK(made);
  auto other = client();
  ASSERT_TRUE(other);
  ASSERT_OK(other->unlink(root_, kRootIno, "f"));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, made->entry.ino));
  EXPECT_OK(meta_->close(made->entry.ino));
  EXPECT_OK(other->close_session());
}

TEST_P(Unlink, close_of_the_session_releases_what_was_open) {
  auto other = client();
  ASSERT_TRUE(other);
  auto made = other->create(root_, kRootIno, "f", 0644, 0, true, 2);
  ASSERT_OK(made);
  ASSERT_OK(other->unlink(root_, kRootIno, "f"));
  EXPECT_EQ(attr(made->entry.ino).nlink, 0u);
  EXPECT_OK(other->close_session());
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, made->entry.ino));
}

TEST_P(Unlink, parent_times) {
  const Ino dir = mkdir(kRootIno, "d");
  mkfile(dir, "f");
  mkdir(dir, "sub");
  clock_.advance(1000);
  ASSERT_OK(meta_->unlink(root_, dir, "f"));
  EXPECT_EQ(attr(dir).mtime, clock_.now());
  EXPECT_EQ(attr(dir).ctime, clock_.now());
  clock_.advance(1);
  ASSERT_OK(meta_->rmdir(root_, dir, "sub"));
  EXPECT_EQ(attr(dir).mtime, clock_.now());
}

class Rmdir : public Conformance {};
ON_EVERY_ENGINE(Rmdir);

TEST_P(Rmdir, refusals) {
  const Ino dir = mkdir(kRootIno, "d", 0777);
  const Ino file = mkfile(dir, "f");
  const Ino full = mkdir(dir, "full");
  mkfile(full, "x");
  const Context bob = user(1001);
  EXPECT_ERRNO(EINVAL, meta_->rmdir(root_, dir, "."));
  EXPECT_ERRNO(ENOTEMPTY, meta_->rmdir(root_, dir, ".."));
  EXPECT_ERRNO(EPERM, meta_->rmdir(root_, kRootIno, ".trash"));
  EXPECT_ERRNO(EPERM, meta_->rmdir(root_, kTrashIno, "2026-01-01-00"));
  EXPECT_ERRNO(EPERM, meta_->rmdir(bob, Ino{raw(kTrashIno) + 1}, "x"));
  EXPECT_ERRNO(ENOENT, meta_->rmdir(root_, Ino{99999}, "f"));
  EXPECT_ERRNO(ENOTDIR, meta_->rmdir(root_, file, "f"));
  EXPECT_ERRNO(ENOENT, meta_->rmdir(root_, dir, "missing"));
  EXPECT_ERRNO(ENOTDIR, meta_->rmdir(root_, dir, "f"));
  EXPECT_ERRNO(ENOTEMPTY, meta_->rmdir(root_, dir, "full"));
  const Ino closed = mkdir(kRootIno, "closed");
  mkdir(closed, "sub");
  EXPECT_ERRNO(EACCES, meta_->rmdir(bob, closed, "sub"));
  const Ino sticky = mkdir(kRootIno, "sticky", 01777);
  mkdir(sticky, "of root");
  mkdir(sticky, "of bob", 0700, bob);
  const Ino not_empty = mkdir(sticky, "not empty");
  mkdir(not_empty, "x");
  EXPECT_ERRNO(EPERM, meta_->rmdir(bob, sticky, "of root"));
  EXPECT_ERRNO(EPERM, meta_->rmdir(bob, sticky, "not empty"));
  EXPECT_OK(meta_->rmdir(bob, sticky, "of bob"));
}

TEST_P(Rmdir, protected_by_flags) {
  const Ino dir = mkdir(kRootIno, "d"), sub = mkdir(dir, "sub");
  for (Ino ino : {sub, dir}) {
    for (uint8_t flag : {kFlagImmutable, kFlagAppend}) {
      Attr flags;
      flags.flags = flag;
      ASSERT_OK(meta_->setattr(root_, ino, meta::kSetFlags, flags));
      EXPECT_ERRNO(EPERM, meta_->rmdir(root_, dir, "sub"));
    }
    ASSERT_OK(meta_->setattr(root_, ino, meta::kSetFlags, Attr{}));
  }
  EXPECT_OK(meta_->rmdir(root_, dir, "sub"));
}

TEST_P(Rmdir, takes_everything_of_the_directory) {
  const Ino dir = mkdir(kRootIno, "d"), sub = mkdir(dir, "sub");
  ASSERT_OK(meta_->setxattr(root_, sub, "user.a", "b", 0));
  ASSERT_OK(meta_->set_quota(Meta::QuotaKind::kDirectory, raw(sub), 1 << 30, std::nullopt, true));
  mkfile(sub, "f");
  EXPECT_OK(meta_->unlink(root_, sub, "f"));
  verify();
  EXPECT_EQ(attr(dir).nlink, 3u);
  ASSERT_OK(meta_->rmdir(root_, dir, "sub"));
  EXPECT_EQ(attr(dir).nlink, 2u);
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, sub));
  EXPECT_ERRNO(ENOENT, meta_->get_quota(Meta::QuotaKind::kDirectory, raw(sub)));
}

}  // namespace
}  // namespace zest::conformance
