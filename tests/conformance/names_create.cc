// mknod, mkdir, symlink, create, tmpfile: table 6.1 of semantics.md.
#include "fixture.h"

namespace zest::conformance {
namespace {

class Create : public Conformance {};
ON_EVERY_ENGINE(Create);

TEST_P(Create, new_nodes_have_the_attributes_of_their_type) {
  const Context alice = user(1000, 100);
  const Ino dir = mkdir(kRootIno, "d", 0777);
  clock_.advance(5000);
  const Time now = clock_.now();
  auto check = [&](const EntryAttr& made, FileType type, uint16_t mode, uint32_t nlink, uint64_t length) {
    const Attr got = attr(made.ino);
    EXPECT_EQ(got, made.attr);
    EXPECT_EQ(got.type, type);
    EXPECT_EQ(got.mode, mode);
    EXPECT_EQ(got.uid, 1000u);
    EXPECT_EQ(got.gid, 100u);
    EXPECT_EQ(got.nlink, nlink);
    EXPECT_EQ(got.length, length);
    EXPECT_EQ(got.parent, dir);
    EXPECT_EQ(got.atime, now);
    EXPECT_EQ(got.mtime, now);
    EXPECT_EQ(got.ctime, now);
  };
  auto file = meta_->mknod(alice, dir, "file", FileType::kFile, 06777, 0022, 7);
  ASSERT_OK(file);
  check(*file, FileType::kFile, 06755, 1, 0);
  EXPECT_EQ(file->attr.rdev, 0u);
  auto sub = meta_->mkdir(alice, dir, "sub", 01777, 0077);
  ASSERT_OK(sub);
  check(*sub, FileType::kDirectory, 01700, 2, 4096);
  auto link = meta_->symlink(alice, dir, "link", "to/where");
  ASSERT_OK(link);
  check(*link, FileType::kSymlink, 0777, 1, 8);
  Context behind_kernel = alice;  // which says who may make devices
  behind_kernel.check_permission = false;
  for (auto type : {FileType::kFifo, FileType::kSocket, FileType::kChar, FileType::kBlock}) {
    auto node =
        meta_->mknod(behind_kernel, dir, "node" + std::to_string(static_cast<int>(type)), type, 0600, 0, 0x0803);
    ASSERT_OK(node);
    check(*node, type, 0600, 1, 0);
    EXPECT_EQ(node->attr.rdev, type == FileType::kChar || type == FileType::kBlock ? 0x0803u : 0u);
  }
  EXPECT_EQ(attr(dir).nlink, 3u);
  EXPECT_EQ(attr(dir).mtime, now);
  EXPECT_EQ(attr(dir).ctime, now);
}

TEST_P(Create, refusals) {
  const Ino dir = mkdir(kRootIno, "d");
  const Ino file = mkfile(dir, "file");
  const Context bob = user(1001, 100);
  auto make = [&](const Context& ctx, Ino parent, const std::string& name, FileType type = FileType::kFile) {
    return meta_->mknod(ctx, parent, name, type, 0644, 0, 0);
  };
  EXPECT_ERRNO(EINVAL, make(root_, dir, "x", static_cast<FileType>(0)));
  EXPECT_ERRNO(EINVAL, make(root_, dir, "x", static_cast<FileType>(8)));
  EXPECT_ERRNO(EPERM, make(root_, kTrashIno, "x"));
  EXPECT_ERRNO(EPERM, make(root_, Ino{raw(kTrashIno) + 5}, "x"));
  EXPECT_ERRNO(EPERM, make(root_, kRootIno, ".trash"));
  EXPECT_ERRNO(EEXIST, make(root_, dir, "."));
  EXPECT_ERRNO(EEXIST, make(root_, dir, ".."));
  EXPECT_ERRNO(EINVAL, make(root_, dir, ""));
  EXPECT_ERRNO(EINVAL, make(root_, dir, "a/b"));
  EXPECT_ERRNO(EINVAL, make(root_, dir, std::string("a\0b", 3)));
  EXPECT_ERRNO(ENAMETOOLONG, make(root_, dir, std::string(256, 'x')));
  EXPECT_OK(make(root_, dir, std::string(255, 'x')));
  EXPECT_OK(make(root_, dir, "\xFF\xFE not UTF-8"));
  EXPECT_ERRNO(ENOENT, make(root_, Ino{123456}, "x"));
  EXPECT_ERRNO(ENOTDIR, make(root_, file, "x"));
  EXPECT_ERRNO(EACCES, make(bob, dir, "x"));
  const Ino open = mkdir(kRootIno, "open", 0777);
  EXPECT_ERRNO(EPERM, meta_->mknod(bob, open, "x", FileType::kBlock, 0600, 0, 0x103));
  EXPECT_ERRNO(EPERM, meta_->mknod(bob, open, "x", FileType::kChar, 0600, 0, 0x103));
  EXPECT_OK(meta_->mknod(bob, open, "whiteout", FileType::kChar, 0600, 0, 0));
  EXPECT_ERRNO(EEXIST, make(root_, dir, "file"));
  EXPECT_ERRNO(EEXIST, make(root_, dir, "file", FileType::kDirectory));
  EXPECT_ERRNO(EINVAL, meta_->symlink(root_, dir, "l", ""));
  EXPECT_ERRNO(EINVAL, meta_->symlink(root_, dir, "l", std::string("a\0b", 3)));
  EXPECT_ERRNO(EINVAL, meta_->symlink(root_, dir, "l", std::string(4097, 'x')));
  auto longest = meta_->symlink(root_, dir, "l", std::string(4096, 'x'));
  ASSERT_OK(longest);
  EXPECT_EQ(std::string(4096, 'x'), *meta_->readlink(root_, longest->ino));
}

TEST_P(Create, flags_of_the_parent) {
  const Ino dir = mkdir(kRootIno, "d");
  Attr flags;
  flags.flags = kFlagImmutable;
  ASSERT_OK(meta_->setattr(root_, dir, meta::kSetFlags, flags));
  EXPECT_ERRNO(EPERM, meta_->mkdir(root_, dir, "x", 0755, 0));
  EXPECT_ERRNO(EPERM, meta_->tmpfile(root_, dir, 0600, 0));
  flags.flags = kFlagAppend | kFlagSkipTrash;
  ASSERT_OK(meta_->setattr(root_, dir, meta::kSetFlags, flags));
  const Ino child = mkfile(dir, "x");
  EXPECT_EQ(attr(child).flags, kFlagSkipTrash);  // inherited; the append-only flag is not
}

TEST_P(Create, setgid_parent_gives_its_group) {
  const Ino dir = mkdir(kRootIno, "d");
  Attr want;
  want.gid = 500;
  want.mode = 02777;
  ASSERT_OK(meta_->setattr(root_, dir, meta::kSetGid | meta::kSetMode, want));
  ASSERT_EQ(attr(dir).mode, 02777);
  const Ino sub = mkdir(dir, "sub", 0755, user(1000, 100));
  EXPECT_EQ(attr(sub).gid, 500u);
  EXPECT_EQ(attr(sub).mode, 02755);
  EXPECT_EQ(attr(mkfile(dir, "outsider", 02755, user(1000, 100))).mode, 0755);
  EXPECT_EQ(attr(mkfile(dir, "member", 02755, user(1000, 100, {500}))).mode, 02755);
  EXPECT_EQ(attr(mkfile(dir, "no group exec", 02745, user(1000, 100))).mode, 02745);
  Context behind_kernel = user(1000, 100);
  behind_kernel.check_permission = false;
  EXPECT_EQ(attr(mkfile(dir, "kernel decided", 02755, behind_kernel)).mode, 02755);
}

TEST_P(Create, open_with_create) {
  const Ino dir = mkdir(kRootIno, "d", 0777);
  auto made = meta_->create(root_, dir, "f", 0640, 0, true, 2);
  ASSERT_OK(made);
  EXPECT_FALSE(made->existed);
  EXPECT_TRUE(meta_->is_open(made->entry.ino));
  EXPECT_ERRNO(EEXIST, meta_->create(root_, dir, "f", 0640, 0, true, 2));
  auto again = meta_->create(root_, dir, "f", 0600, 0, false, 2);
  ASSERT_OK(again);
  EXPECT_TRUE(again->existed);
  EXPECT_EQ(again->entry.ino, made->entry.ino);
  EXPECT_EQ(again->entry.attr.mode, 0640);
  EXPECT_OK(meta_->close(made->entry.ino));
  EXPECT_TRUE(meta_->is_open(made->entry.ino));
  EXPECT_OK(meta_->close(made->entry.ino));
  EXPECT_FALSE(meta_->is_open(made->entry.ino));
  mkdir(dir, "sub");
  EXPECT_ERRNO(EEXIST, meta_->create(root_, dir, "sub", 0600, 0, false, 2));
}

TEST_P(Create, existing_file_is_opened_on_a_full_volume) {
  mkfile(kRootIno, "f");
  change_format([](Format& format) { format.inodes = 1; });
  EXPECT_ERRNO(ENOSPC, meta_->create(root_, kRootIno, "new", 0600, 0, false, 2));
  EXPECT_ERRNO(ENOSPC, meta_->mkdir(root_, kRootIno, "new", 0700, 0));
  EXPECT_ERRNO(ENOSPC, meta_->tmpfile(root_, kRootIno, 0600, 0));
  auto opened = meta_->create(root_, kRootIno, "f", 0600, 0, false, 2);
  ASSERT_OK(opened);
  EXPECT_OK(meta_->close(opened->entry.ino));
  change_format([](Format& format) { format.inodes = 0, format.capacity = 8191; });
  EXPECT_ERRNO(ENOSPC, meta_->mkdir(root_, kRootIno, "new", 0700, 0));
  change_format([](Format& format) { format.capacity = 8192; });
  EXPECT_OK(meta_->mkdir(root_, kRootIno, "new", 0700, 0));
}

TEST_P(Create, parent_times_follow_each_change) {
  const Ino dir = mkdir(kRootIno, "d");
  for (int i = 0; i < 4; i++) {
    clock_.advance(1);
    const std::string name = std::to_string(i);
    i % 2 ? mkdir(dir, name) : mkfile(dir, name);
    EXPECT_EQ(attr(dir).mtime, clock_.now());
    EXPECT_EQ(attr(dir).ctime, clock_.now());
  }
  // A time in the future gives way.
  Attr future;
  future.mtime = {clock_.now().sec + 100'000, 5};
  ASSERT_OK(meta_->setattr(root_, dir, meta::kSetMtime, future));
  mkfile(dir, "g");
  EXPECT_EQ(attr(dir).mtime, clock_.now());
}

TEST_P(Create, file_without_a_name_goes_at_the_last_close) {
  const Ino dir = mkdir(kRootIno, "d");
  auto made = meta_->tmpfile(root_, dir, 0600, 0077);
  ASSERT_OK(made);
  EXPECT_EQ(made->attr.nlink, 0u);
  EXPECT_TRUE(names(dir).empty());
  verify();  // it counts in the volume, and nowhere else
  grow(made->ino, 10'000);
  verify();
  EXPECT_OK(meta_->close(made->ino));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, made->ino));
}

TEST_P(Create, file_without_a_name_may_get_one) {
  const Ino dir = mkdir(kRootIno, "d");
  auto made = meta_->tmpfile(root_, dir, 0600, 0);
  ASSERT_OK(made);
  grow(made->ino, 5000);
  auto linked = meta_->link(root_, made->ino, dir, "now");
  ASSERT_OK(linked);
  EXPECT_EQ(linked->nlink, 1u);
  EXPECT_EQ(linked->parent, dir);
  verify();
  EXPECT_OK(meta_->close(made->ino));
  EXPECT_EQ(attr(made->ino).length, 5000u);
  ASSERT_OK(meta_->link(root_, made->ino, dir, "second"));
  EXPECT_EQ(attr(made->ino).nlink, 2u);
}

TEST_P(Create, many_names_in_one_directory_from_two_clients) {
  auto other = client();
  ASSERT_TRUE(other);
  const Ino dir = mkdir(kRootIno, "d");
  for (int i = 0; i < 50; i++) {
    mkfile(dir, "a" + std::to_string(i));
    ASSERT_OK(other->mkdir(root_, dir, "b" + std::to_string(i), 0755, 0));
  }
  EXPECT_EQ(names(dir).size(), 100u);
  EXPECT_EQ(attr(dir).nlink, 52u);
  EXPECT_OK(other->close_session());
}

class CreateWithAcl : public Conformance {
  void choose(Format& format) override { format.enable_acl = true; }
};
ON_EVERY_ENGINE(CreateWithAcl);

TEST_P(CreateWithAcl, default_rule_is_inherited) {
  const Ino dir = mkdir(kRootIno, "d", 0777);
  AclRule rule;
  rule.owner = 7, rule.group = 5, rule.mask = 7, rule.other = 1;
  rule.users = {{1000, 6}};
  ASSERT_OK(meta_->set_acl(root_, dir, true, rule));
  auto file = meta_->mknod(root_, dir, "f", FileType::kFile, 0664, 0077, 0);
  ASSERT_OK(file);
  EXPECT_EQ(file->attr.mode, 0660);  // owner 6, mask 6, other 0; the umask does not count
  auto access = meta_->get_acl(root_, file->ino, false);
  ASSERT_OK(access);
  EXPECT_EQ(access->owner, 6);
  EXPECT_EQ(access->group, 5);
  EXPECT_EQ(access->mask, 6);
  EXPECT_EQ(access->other, 0);
  EXPECT_EQ(access->users, rule.users);
  EXPECT_ERRNO(ENODATA, meta_->get_acl(root_, file->ino, true));
  auto sub = meta_->mkdir(root_, dir, "sub", 0777, 0);
  ASSERT_OK(sub);
  auto inherited = meta_->get_acl(root_, sub->ino, true);
  ASSERT_OK(inherited);
  EXPECT_EQ(*inherited, rule);
  auto link = meta_->symlink(root_, dir, "l", "x");
  ASSERT_OK(link);
  EXPECT_EQ(link->attr.mode, 0777);
  EXPECT_EQ(link->attr.access_acl, 0u);
  // The same rule has the same id.
  auto second = meta_->mknod(root_, dir, "f2", FileType::kFile, 0664, 0, 0);
  ASSERT_OK(second);
  EXPECT_EQ(second->attr.access_acl, file->attr.access_acl);
}

TEST_P(CreateWithAcl, minimal_default_rule_takes_the_place_of_the_umask) {
  const Ino dir = mkdir(kRootIno, "d", 0777);
  AclRule rule;
  rule.owner = 7, rule.group = 5, rule.other = 0;
  ASSERT_OK(meta_->set_acl(root_, dir, true, rule));
  auto file = meta_->mknod(root_, dir, "f", FileType::kFile, 0666, 0777, 0);
  ASSERT_OK(file);
  EXPECT_EQ(file->attr.mode, 0640);
  EXPECT_EQ(file->attr.access_acl, 0u);
}

}  // namespace
}  // namespace zest::conformance
