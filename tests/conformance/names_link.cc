// link: table 6.5 of semantics.md, and the queries on parents and paths (10.2).
#include <algorithm>

#include "fixture.h"

namespace zest::conformance {
namespace {

class Link : public Conformance {
 protected:
  void choose(Format& format) override { format.trash_days = 1; }
};
ON_EVERY_ENGINE(Link);

TEST_P(Link, refusals) {
  const Ino dir = mkdir(kRootIno, "d", 0777);
  const Ino file = mkfile(dir, "f");
  const Context bob = user(1001);
  EXPECT_ERRNO(EPERM, meta_->link(root_, file, kTrashIno, "x"));
  EXPECT_ERRNO(EPERM, meta_->link(root_, file, kRootIno, ".trash"));
  EXPECT_ERRNO(EINVAL, meta_->link(root_, file, dir, ""));
  EXPECT_ERRNO(EINVAL, meta_->link(root_, file, dir, "a/b"));
  EXPECT_ERRNO(ENAMETOOLONG, meta_->link(root_, file, dir, std::string(256, 'x')));
  EXPECT_ERRNO(EEXIST, meta_->link(root_, file, dir, "."));
  EXPECT_ERRNO(EEXIST, meta_->link(root_, file, dir, ".."));
  EXPECT_ERRNO(ENOENT, meta_->link(root_, Ino{99999}, dir, "x"));
  EXPECT_ERRNO(EPERM, meta_->link(root_, dir, dir, "x"));
  EXPECT_ERRNO(ENOENT, meta_->link(root_, file, Ino{99999}, "x"));
  EXPECT_ERRNO(ENOTDIR, meta_->link(root_, file, file, "x"));
  EXPECT_ERRNO(EEXIST, meta_->link(root_, file, dir, "f"));
  const Ino closed = mkdir(kRootIno, "closed");
  EXPECT_ERRNO(EACCES, meta_->link(bob, file, closed, "x"));
  const Ino gone = mkdir(kRootIno, "gone");
  ASSERT_OK(meta_->rmdir(root_, kRootIno, "gone"));
  EXPECT_ERRNO(ENOENT, meta_->link(root_, file, gone, "x"));
  Attr flags;
  flags.flags = kFlagImmutable;
  ASSERT_OK(meta_->setattr(root_, dir, meta::kSetFlags, flags));
  EXPECT_ERRNO(EPERM, meta_->link(root_, file, dir, "x"));
  ASSERT_OK(meta_->setattr(root_, dir, meta::kSetFlags, Attr{}));
  for (uint8_t flag : {kFlagImmutable, kFlagAppend}) {
    flags.flags = flag;
    ASSERT_OK(meta_->setattr(root_, file, meta::kSetFlags, flags));
    EXPECT_ERRNO(EPERM, meta_->link(root_, file, dir, "x"));
  }
}

TEST_P(Link, counts_names_by_parent) {
  const Ino dir = mkdir(kRootIno, "d"), other = mkdir(kRootIno, "other");
  const Ino file = mkfile(dir, "f");
  grow(file, 12'345);
  EXPECT_EQ(*meta_->parents(file), (meta::LinkCounts{{dir, 1}}));
  clock_.advance(1000);
  auto linked = meta_->link(root_, file, dir, "g");
  ASSERT_OK(linked);
  EXPECT_EQ(linked->nlink, 2u);
  EXPECT_EQ(linked->ctime, clock_.now());
  EXPECT_EQ(raw(linked->parent), 0u);
  EXPECT_EQ(attr(dir).mtime, clock_.now());
  EXPECT_EQ(*meta_->parents(file), (meta::LinkCounts{{dir, 2}}));
  ASSERT_OK(meta_->link(root_, file, other, "h"));
  EXPECT_EQ(*meta_->parents(file), (meta::LinkCounts{{dir, 2}, {other, 1}}));
  verify();
  grow(file, 100'000);  // counts in each directory, once a name
  verify();
  grow(file, 0);
}

TEST_P(Link, other_types) {
  const Ino dir = mkdir(kRootIno, "d");
  const Ino link = mksymlink(dir, "l", "some target");
  ASSERT_OK(meta_->link(root_, link, dir, "l2"));
  auto fifo = meta_->mknod(root_, dir, "p", FileType::kFifo, 0600, 0, 0);
  ASSERT_OK(fifo);
  ASSERT_OK(meta_->link(root_, fifo->ino, dir, "p2"));
  verify();
  ASSERT_OK(meta_->unlink(root_, dir, "l", true));
  EXPECT_EQ(*meta_->readlink(root_, link), "some target");
  ASSERT_OK(meta_->unlink(root_, dir, "l2", true));
}

TEST_P(Link, brings_a_file_back_from_the_trash) {
  const Ino dir = mkdir(kRootIno, "d");
  const Ino file = mkfile(dir, "f");
  ASSERT_OK(meta_->unlink(root_, dir, "f"));
  ASSERT_EQ(find_trashed(dir, file, "f"), file);
  ASSERT_OK(meta_->link(root_, file, dir, "again"));
  EXPECT_EQ(attr(file).nlink, 2u);
  EXPECT_EQ(*meta_->parents(file), (meta::LinkCounts{{dir, 1}, {hour_dir(), 1}}));
  ASSERT_OK(meta_->setattr(root_, file, meta::kSetMode, Attr{.mode = 0600}));  // a live file again
}

TEST_P(Link, to_an_inode_without_a_name_that_is_not_open) {
  auto other = client();
  ASSERT_TRUE(other);
  auto made = other->tmpfile(root_, kRootIno, 0600, 0);
  ASSERT_OK(made);
  EXPECT_ERRNO(ENOENT, meta_->link(root_, made->ino, kRootIno, "x"));
  EXPECT_OK(other->close_session());
}

TEST_P(Link, paths_of_all_names) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(a, "b");
  const Ino file = mkfile(b, "f");
  EXPECT_EQ(*meta_->paths(root_, file), std::vector<std::string>{"/a/b/f"});
  ASSERT_OK(meta_->link(root_, file, b, "g"));
  ASSERT_OK(meta_->link(root_, file, kRootIno, "h"));
  auto paths = meta_->paths(root_, file);
  ASSERT_OK(paths);
  std::sort(paths->begin(), paths->end());
  EXPECT_EQ(*paths, (std::vector<std::string>{"/a/b/f", "/a/b/g", "/h"}));
  EXPECT_EQ(*meta_->paths(root_, kRootIno), std::vector<std::string>{"/"});
  EXPECT_EQ(*meta_->paths(root_, kTrashIno), std::vector<std::string>{"/.trash"});
  EXPECT_EQ(*meta_->paths(root_, b), std::vector<std::string>{"/a/b"});
  EXPECT_ERRNO(ENOENT, meta_->paths(root_, Ino{99999}));
  EXPECT_EQ(*meta_->parents(kRootIno), (meta::LinkCounts{{kRootIno, 1}}));

  meta::Options options;
  options.subdir = "/a";
  auto below = client(options);
  ASSERT_TRUE(below);
  auto seen = below->paths(root_, file);
  ASSERT_OK(seen);
  std::sort(seen->begin(), seen->end());
  EXPECT_EQ(*seen, (std::vector<std::string>{"/b/f", "/b/g"}));
  EXPECT_OK(below->close_session());
}

}  // namespace
}  // namespace zest::conformance
