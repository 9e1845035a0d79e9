// rename: table 6.4 of semantics.md and what section 21 says of it.
#include "fixture.h"

namespace zest::conformance {
namespace {

using namespace meta;

class Rename : public Conformance {
 protected:
  int rename(Ino src, const std::string& name, Ino dst, const std::string& to, uint32_t flags = 0,
             const Context& ctx = {}) {
    return code_of(meta_->rename(ctx, src, name, dst, to, flags));
  }
  void set_flags(Ino ino, uint8_t flags) {
    Attr want;
    want.flags = flags;
    EXPECT_OK(meta_->setattr(root_, ino, kSetFlags, want));
  }
};
ON_EVERY_ENGINE(Rename);

TEST_P(Rename, refusals_before_anything_is_read) {
  const Ino dir = mkdir(kRootIno, "d");
  mkfile(dir, "f");
  EXPECT_EQ(EPERM, rename(kRootIno, ".trash", dir, "x"));
  EXPECT_EQ(EPERM, rename(dir, "f", kRootIno, ".trash"));
  EXPECT_EQ(EPERM, rename(dir, "f", kTrashIno, "x"));
  EXPECT_EQ(EPERM, rename(Ino{raw(kTrashIno) + 1}, "x", dir, "x", 0, user(1001)));
  EXPECT_EQ(EINVAL, rename(dir, "f", dir, ""));
  EXPECT_EQ(EINVAL, rename(dir, "f", dir, "a/b"));
  EXPECT_EQ(ENAMETOOLONG, rename(dir, "f", dir, std::string(256, 'x')));
  EXPECT_EQ(EPERM, rename(Ino{raw(kTrashIno) + 1}, "x", dir, "x", kRenameWhiteout));
  EXPECT_EQ(EINVAL, rename(dir, "f", dir, "g", kRenameWhiteout | kRenameExchange));
  EXPECT_EQ(EINVAL, rename(dir, "f", dir, "g", kRenameWhiteout | kRenameNoReplace | kRenameRestore));
  EXPECT_EQ(EINVAL, rename(dir, "f", dir, "g", kRenameNoReplace | kRenameExchange));
  EXPECT_EQ(EINVAL, rename(dir, "f", dir, "g", 8));
  EXPECT_EQ(EINVAL, rename(dir, "f", dir, "g", kRenameRestore));
  EXPECT_EQ(EINVAL, rename(dir, "f", dir, "g", kRenameRestore | kRenameNoReplace | kRenameExchange));
}

TEST_P(Rename, refusals_of_directories_and_names) {
  const Ino dir = mkdir(kRootIno, "d", 0777), other = mkdir(kRootIno, "other", 0755);
  const Ino file = mkfile(dir, "f");
  EXPECT_EQ(ENOENT, rename(Ino{99999}, "f", dir, "x"));
  EXPECT_EQ(ENOENT, rename(dir, "f", Ino{99999}, "x"));
  EXPECT_EQ(ENOTDIR, rename(file, "f", dir, "x"));
  EXPECT_EQ(ENOTDIR, rename(dir, "f", file, "x"));
  EXPECT_EQ(ENOENT, rename(dir, "missing", dir, "x"));
  EXPECT_EQ(EACCES, rename(dir, "f", other, "x", 0, user(1001)));
  EXPECT_EQ(EACCES, rename(other, "missing", dir, "x", 0, user(1001)));
  EXPECT_EQ(0, rename(dir, "f", dir, "f"));
  EXPECT_EQ(find(dir, "f"), file);
}

TEST_P(Rename, protected_by_flags) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b");
  const Ino file = mkfile(a, "f"), target = mkfile(b, "t");
  for (uint8_t flag : {kFlagImmutable, kFlagAppend}) {
    for (Ino ino : {a, file, target}) {
      set_flags(ino, flag);
      EXPECT_EQ(EPERM, rename(a, "f", b, "t")) << raw(ino);
      EXPECT_EQ(EPERM, rename(a, "f", b, "t", kRenameExchange)) << raw(ino);
      set_flags(ino, 0);
    }
    set_flags(b, flag);
    EXPECT_EQ(EPERM, rename(a, "f", b, "t"));
    EXPECT_EQ(flag == kFlagImmutable ? EPERM : 0, rename(a, "f", b, "new"));
    set_flags(b, 0);
  }
}

TEST_P(Rename, sticky_directories) {
  const Context alice = user(1000), bob = user(1001);
  const Ino sticky = mkdir(kRootIno, "sticky", 01777), open = mkdir(kRootIno, "open", 0777);
  mkfile(sticky, "of alice", 0666, alice);
  mkfile(sticky, "of bob", 0666, bob);
  mkfile(open, "x", 0666, bob);
  const Ino closed = mkdir(kRootIno, "closed", 0755);
  EXPECT_EQ(EPERM, rename(sticky, "of alice", sticky, "y", 0, bob));
  EXPECT_EQ(EPERM, rename(sticky, "of alice", open, "y", 0, bob));
  EXPECT_EQ(EPERM, rename(sticky, "of alice", closed, "y", 0, bob)) << "the old place is looked at first";
  EXPECT_EQ(EPERM, rename(open, "x", sticky, "of alice", 0, bob));
  EXPECT_EQ(0, rename(open, "x", sticky, "of bob", 0, bob));
  EXPECT_EQ(0, rename(sticky, "of bob", open, "y", 0, bob));
  // The owner of a sticky directory may move what is in it.
  const Ino own = mkdir(kRootIno, "own", 01777, alice);
  mkfile(own, "f", 0666, bob);
  mkdir(own, "d", 0777, bob);
  EXPECT_EQ(0, rename(own, "d", open, "d", 0, alice));
  EXPECT_EQ(0, rename(own, "f", open, "f", 0, alice));
}

TEST_P(Rename, a_directory_that_moves_is_written_to) {
  const Context alice = user(1000), bob = user(1001);
  const Ino a = mkdir(kRootIno, "a", 0777), b = mkdir(kRootIno, "b", 0777);
  mkdir(a, "of bob", 0755, bob);
  mkdir(b, "of alice", 0700, alice);
  mkfile(mkdir(b, "full", 0777, alice), "x");
  EXPECT_EQ(EACCES, rename(a, "of bob", b, "new", 0, alice));
  EXPECT_EQ(EACCES, rename(a, "of bob", b, "full", 0, alice));
  EXPECT_EQ(EACCES, rename(b, "of alice", a, "of bob", kRenameExchange, alice));
  EXPECT_EQ(EACCES, rename(a, "of bob", b, "of alice", kRenameExchange, alice));
  EXPECT_EQ(0, rename(a, "of bob", a, "new", 0, alice)) << "its parent stays";
  EXPECT_EQ(0, rename(a, "new", b, "new", 0, bob));
}

TEST_P(Rename, moves_a_file_between_directories) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b"), file = mkfile(a, "f");
  grow(file, 5000);
  const Time mtime = attr(file).mtime;
  clock_.advance(2000);
  auto moved = meta_->rename(root_, a, "f", b, "g", 0);
  ASSERT_OK(moved);
  EXPECT_EQ(moved->ino, file);
  EXPECT_EQ(moved->attr, attr(file));
  EXPECT_EQ(attr(file).parent, b);
  EXPECT_EQ(attr(file).ctime, clock_.now());
  EXPECT_EQ(attr(file).mtime, mtime);
  for (Ino dir : {a, b}) {
    EXPECT_EQ(attr(dir).mtime, clock_.now());
    EXPECT_EQ(attr(dir).ctime, clock_.now());
    EXPECT_EQ(attr(dir).nlink, 2u);
  }
  EXPECT_TRUE(names(a).empty());
  EXPECT_EQ(find(b, "g"), file);
}

TEST_P(Rename, moves_a_directory) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b"), sub = mkdir(a, "sub");
  mkfile(sub, "f");
  EXPECT_EQ(0, rename(a, "sub", a, "sub2"));
  EXPECT_EQ(attr(a).nlink, 3u);
  EXPECT_EQ(0, rename(a, "sub2", b, "sub3"));
  EXPECT_EQ(attr(a).nlink, 2u);
  EXPECT_EQ(attr(b).nlink, 3u);
  EXPECT_EQ(attr(sub).parent, b);
  EXPECT_EQ(meta_->lookup(root_, sub, "..")->ino, b);
}

TEST_P(Rename, into_itself_or_below_is_refused_at_any_depth) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(a, "b"), c = mkdir(b, "c"), d = mkdir(c, "d");
  for (Ino below : {a, b, c, d}) EXPECT_EQ(EINVAL, rename(kRootIno, "a", below, "x"));
  EXPECT_EQ(EINVAL, rename(kRootIno, "a", c, "d", kRenameExchange));
  EXPECT_EQ(EINVAL, rename(c, "d", kRootIno, "a", kRenameExchange));
  EXPECT_EQ(0, rename(c, "d", kRootIno, "d"));
  EXPECT_EQ(0, rename(kRootIno, "a", d, "a"));
  // Another client moved it meanwhile: what this one remembers is not what counts.
  auto other = client();
  ASSERT_TRUE(other);
  const Ino p = mkdir(kRootIno, "p"), q = mkdir(kRootIno, "q"), deep = mkdir(q, "deep");
  ASSERT_OK(other->rename(root_, kRootIno, "q", p, "q", 0));
  EXPECT_EQ(EINVAL, rename(kRootIno, "p", deep, "p"));
  EXPECT_OK(other->close_session());
}

TEST_P(Rename, replaces_a_file) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b");
  const Ino file = mkfile(a, "f"), target = mkfile(b, "t");
  grow(file, 10'000);
  grow(target, 70'000);
  ASSERT_OK(meta_->setxattr(root_, target, "user.x", "y", 0));
  EXPECT_EQ(EEXIST, rename(a, "f", b, "t", kRenameNoReplace));
  EXPECT_EQ(0, rename(a, "f", b, "t"));
  EXPECT_EQ(find(b, "t"), file);
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, target));
  verify();
  // Types may differ, but for directories: the target's length counts.
  const Ino link = mksymlink(a, "l", "target");
  EXPECT_EQ(0, rename(a, "l", b, "t"));
  EXPECT_EQ(find(b, "t"), link);
  verify();
  const Ino again = mkfile(a, "again");
  grow(again, 50'000);
  EXPECT_EQ(0, rename(a, "again", b, "t"));
}

TEST_P(Rename, replaces_an_open_file) {
  auto made = meta_->create(root_, kRootIno, "t", 0644, 0, true, 2);
  ASSERT_OK(made);
  mkfile(kRootIno, "f");
  EXPECT_EQ(0, rename(kRootIno, "f", kRootIno, "t"));
  EXPECT_EQ(attr(made->entry.ino).nlink, 0u);
  verify();
  EXPECT_OK(meta_->close(made->entry.ino));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, made->entry.ino));
}

TEST_P(Rename, replaces_a_directory) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b");
  const Ino sub = mkdir(a, "sub"), target = mkdir(b, "t");
  mkfile(a, "f");
  mkfile(sub, "inside");
  EXPECT_EQ(ENOTDIR, rename(a, "sub", a, "f"));
  EXPECT_EQ(EISDIR, rename(a, "f", a, "sub"));
  mkfile(target, "x");
  EXPECT_EQ(ENOTEMPTY, rename(a, "sub", b, "t"));
  ASSERT_OK(meta_->unlink(root_, target, "x"));
  EXPECT_EQ(0, rename(a, "sub", b, "t"));
  EXPECT_EQ(find(b, "t"), sub);
  EXPECT_EQ(attr(a).nlink, 2u);
  EXPECT_EQ(attr(b).nlink, 3u);
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, target));
  verify();
  mkdir(b, "second");
  EXPECT_EQ(0, rename(b, "t", b, "second"));
  EXPECT_EQ(attr(b).nlink, 3u);
}

TEST_P(Rename, onto_another_name_of_the_same_file_does_nothing) {
  const Ino file = mkfile(kRootIno, "a");
  ASSERT_OK(meta_->link(root_, file, kRootIno, "b"));
  EXPECT_EQ(0, rename(kRootIno, "a", kRootIno, "b"));
  EXPECT_EQ(find(kRootIno, "a"), file);
  EXPECT_EQ(find(kRootIno, "b"), file);
  EXPECT_EQ(attr(file).nlink, 2u);
  EXPECT_EQ(EEXIST, rename(kRootIno, "a", kRootIno, "b", kRenameNoReplace));
}

TEST_P(Rename, file_with_several_names) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b"), file = mkfile(a, "f");
  grow(file, 3000);
  ASSERT_OK(meta_->link(root_, file, a, "g"));
  EXPECT_EQ(0, rename(a, "g", b, "g"));
  EXPECT_EQ(*meta_->parents(file), (LinkCounts{{a, 1}, {b, 1}}));
  verify();
  mkfile(b, "other");
  EXPECT_EQ(0, rename(b, "other", b, "g"));
  EXPECT_EQ(*meta_->parents(file), (LinkCounts{{a, 1}}));
  EXPECT_EQ(attr(file).nlink, 1u);
}

TEST_P(Rename, leaves_a_whiteout) {
  const Ino a = mkdir(kRootIno, "a", 02775), b = mkdir(kRootIno, "b");
  const Ino file = mkfile(a, "f"), target = mkfile(b, "t"), sub = mkdir(a, "sub");
  Attr group;
  group.gid = 77;
  ASSERT_OK(meta_->setattr(root_, a, kSetGid, group));
  EXPECT_EQ(EEXIST, rename(a, "f", b, "t", kRenameWhiteout | kRenameNoReplace));
  EXPECT_EQ(0, rename(a, "f", a, "f", kRenameWhiteout));
  EXPECT_EQ(file, find(a, "f")) << "onto itself nothing moves";
  EXPECT_EQ(EACCES, rename(a, "f", b, "t", kRenameWhiteout, user(1001)));
  EXPECT_EQ(0, rename(a, "f", b, "t", kRenameWhiteout));
  EXPECT_EQ(file, find(b, "t"));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, target));
  const Attr left = attr(find(a, "f"));
  EXPECT_EQ(FileType::kChar, left.type);
  EXPECT_EQ(0u, left.rdev);
  EXPECT_EQ(0, left.mode);
  EXPECT_EQ(1u, left.nlink);
  EXPECT_EQ(77u, left.gid) << "as any new file of a set-group-id directory";
  // a directory, within its own; the whiteout is no subdirectory
  EXPECT_EQ(0, rename(a, "sub", a, "moved", kRenameWhiteout | kRenameNoReplace));
  EXPECT_EQ(sub, find(a, "moved"));
  EXPECT_EQ(3u, attr(a).nlink);
  EXPECT_EQ(FileType::kChar, attr(find(a, "sub")).type);
  // and a whiteout is a file that others may replace or remove
  EXPECT_EQ(0, rename(b, "t", a, "f"));
  EXPECT_EQ(file, find(a, "f"));
  ASSERT_OK(meta_->unlink(root_, a, "sub"));
}

TEST_P(Rename, a_whiteout_counts_as_a_new_file) {
  const Ino dir = mkdir(kRootIno, "d");
  const Ino file = mkfile(dir, "f");
  change_format([](Format& format) { format.inodes = 2; });
  EXPECT_EQ(ENOSPC, rename(dir, "f", dir, "g", kRenameWhiteout));
  EXPECT_EQ(ENOENT, rename(dir, "missing", dir, "g", kRenameWhiteout));
  EXPECT_EQ(file, find(dir, "f"));
  EXPECT_EQ(0, rename(dir, "f", dir, "g"));
}

TEST_P(Rename, a_whiteout_inherits_the_acl_of_its_directory) {
  change_format([](Format& format) { format.enable_acl = true; });
  const Ino dir = mkdir(kRootIno, "d");
  mkfile(dir, "f");
  AclRule rule;
  rule.owner = rule.group = rule.other = rule.mask = 7;
  rule.users = {{1001, 7}};
  ASSERT_OK(meta_->set_acl(root_, dir, true, rule));
  EXPECT_EQ(0, rename(dir, "f", dir, "g", kRenameWhiteout));
  const Ino left = find(dir, "f");
  EXPECT_EQ(0, attr(left).mode);
  auto inherited = meta_->get_acl(root_, left, false);
  ASSERT_OK(inherited);
  EXPECT_EQ(1u, inherited->users.size());
  EXPECT_EQ(0, inherited->mask);
}

TEST_P(Rename, exchanges_two_names) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b");
  const Ino file = mkfile(a, "f"), sub = mkdir(b, "sub");
  grow(file, 123'456);
  EXPECT_EQ(ENOENT, rename(a, "f", b, "missing", kRenameExchange));
  clock_.advance(2000);
  EXPECT_EQ(0, rename(a, "f", b, "sub", kRenameExchange));
  EXPECT_EQ(find(a, "f"), sub);
  EXPECT_EQ(find(b, "sub"), file);
  EXPECT_EQ(attr(sub).parent, a);
  EXPECT_EQ(attr(file).parent, b);
  EXPECT_EQ(attr(a).nlink, 3u);
  EXPECT_EQ(attr(b).nlink, 2u);
  for (Ino ino : {file, sub, a, b}) EXPECT_EQ(attr(ino).ctime, clock_.now());
  for (Ino ino : {a, b}) EXPECT_EQ(attr(ino).mtime, clock_.now());
  verify();
  mkfile(b, "g");
  EXPECT_EQ(0, rename(b, "g", b, "sub", kRenameExchange));
  EXPECT_EQ(find(b, "g"), file);
  const Ino x = mkdir(a, "x"), y = mkdir(b, "y");
  mkfile(x, "1");
  EXPECT_EQ(0, rename(a, "x", b, "y", kRenameExchange));
  EXPECT_EQ(find(a, "x"), y);
  EXPECT_EQ(find(b, "y"), x);
}

TEST_P(Rename, exchanges_names_of_linked_files) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b");
  const Ino one = mkfile(a, "one"), two = mkfile(b, "two");
  ASSERT_OK(meta_->link(root_, one, a, "one again"));
  EXPECT_EQ(0, rename(a, "one", b, "two", kRenameExchange));
  EXPECT_EQ(*meta_->parents(one), (LinkCounts{{a, 1}, {b, 1}}));
  EXPECT_EQ(attr(two).parent, a);
  verify();
  EXPECT_EQ(0, rename(a, "one again", b, "two", kRenameExchange));  // one file, two names
  EXPECT_EQ(*meta_->parents(one), (LinkCounts{{a, 1}, {b, 1}}));
}

class RenameWithTrash : public Rename {
  void choose(Format& format) override { format.trash_days = 1; }
};
ON_EVERY_ENGINE(RenameWithTrash);

TEST_P(RenameWithTrash, replaced_file_goes_to_the_trash) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b"), target = mkfile(b, "t");
  grow(target, 70'000);
  mkfile(a, "f");
  EXPECT_EQ(0, rename(a, "f", b, "t"));
  EXPECT_EQ(find_trashed(b, target, "t"), target);
  EXPECT_EQ(attr(target).parent, hour_dir());
  EXPECT_EQ(attr(target).nlink, 1u);
}

TEST_P(RenameWithTrash, replaced_directory_goes_to_the_trash) {
  const Ino sub = mkdir(kRootIno, "sub"), target = mkdir(kRootIno, "t");
  EXPECT_EQ(0, rename(kRootIno, "sub", kRootIno, "t"));
  EXPECT_EQ(find(kRootIno, "t"), sub);
  EXPECT_EQ(find_trashed(kRootIno, target, "t"), target);
  EXPECT_EQ(attr(kRootIno).nlink, 3u);
  // What is created in it finds it gone.
  EXPECT_ERRNO(ENOENT, meta_->mkdir(root_, target, "x", 0755, 0));
  mkfile(kRootIno, "f");
  EXPECT_EQ(ENOENT, rename(kRootIno, "f", target, "x"));
  EXPECT_EQ(0, rename(kRootIno, "f", target, "x", kRenameNoReplace | kRenameRestore));
}

TEST_P(RenameWithTrash, exchange_puts_nothing_there) {
  mkfile(kRootIno, "a");
  mkfile(kRootIno, "b");
  EXPECT_EQ(0, rename(kRootIno, "a", kRootIno, "b", kRenameExchange));
  EXPECT_EQ(raw(hour_dir()), 0u);
}

TEST_P(RenameWithTrash, second_link_replaced_under_the_same_name_is_destroyed) {
  const Ino dir = mkdir(kRootIno, "d"), file = mkfile(dir, "f");
  ASSERT_OK(meta_->link(root_, file, dir, "keep"));
  for (int i = 0; i < 2; i++) {
    mkfile(dir, "new");
    EXPECT_EQ(0, rename(dir, "new", dir, "f"));
    verify();
    ASSERT_OK(meta_->unlink(root_, dir, "f", true));
    ASSERT_OK(meta_->link(root_, file, dir, "f"));
  }
  mkfile(dir, "new");
  EXPECT_EQ(0, rename(dir, "new", dir, "f"));
  EXPECT_EQ(attr(file).nlink, 2u);  // "keep" and the one in the trash
  EXPECT_EQ(*meta_->parents(file), (LinkCounts{{dir, 1}, {hour_dir(), 1}}));
}

TEST_P(RenameWithTrash, out_of_the_trash) {
  const Ino dir = mkdir(kRootIno, "d"), sub = mkdir(dir, "sub"), file = mkfile(dir, "f");
  grow(file, 9000);
  ASSERT_OK(meta_->unlink(root_, dir, "f"));
  ASSERT_OK(meta_->rmdir(root_, dir, "sub"));
  verify();
  const Ino hour = hour_dir();
  EXPECT_EQ(EPERM, rename(hour, trash_entry_name(dir, file, "f"), dir, "f", 0, user(1001)));
  EXPECT_EQ(0, rename(hour, trash_entry_name(dir, file, "f"), dir, "f"));
  EXPECT_EQ(0, rename(hour, trash_entry_name(dir, sub, "sub"), dir, "sub", kRenameNoReplace | kRenameRestore));
  EXPECT_EQ(attr(file).parent, dir);
  EXPECT_EQ(attr(dir).nlink, 3u);
  EXPECT_TRUE(names(hour).empty());
  verify();
  grow(file, 1);
  mkfile(sub, "x");
}

}  // namespace
}  // namespace zest::conformance
