// Directory quotas as operations on names change them: section 16 of semantics.md.
#include "fixture.h"

namespace zest::conformance {
namespace {

using namespace meta;

class NameQuota : public Conformance {
 protected:
  void limit(Ino dir, std::optional<int64_t> space, std::optional<int64_t> inodes) {
    EXPECT_OK(meta_->set_quota(Meta::QuotaKind::kDirectory, raw(dir), space, inodes, true));
  }
};
ON_EVERY_ENGINE(NameQuota);

TEST_P(NameQuota, limits_what_is_created_below) {
  const Ino dir = mkdir(kRootIno, "d"), sub = mkdir(dir, "sub");
  limit(dir, std::nullopt, 4);
  const Ino file = mkfile(sub, "a");
  mkfile(sub, "b");
  ASSERT_OK(meta_->link(root_, file, dir, "c"));
  EXPECT_ERRNO(EDQUOT, meta_->mkdir(root_, sub, "x", 0755, 0));
  EXPECT_ERRNO(EDQUOT, meta_->symlink(root_, dir, "x", "y"));
  EXPECT_ERRNO(EDQUOT, meta_->link(root_, file, sub, "x"));
  EXPECT_ERRNO(EDQUOT, meta_->create(root_, dir, "x", 0644, 0, false, 2));
  EXPECT_ERRNO(EEXIST, meta_->mkdir(root_, sub, "a", 0755, 0));
  verify();
  ASSERT_OK(meta_->unlink(root_, sub, "b"));
  EXPECT_OK(meta_->mkdir(root_, sub, "x", 0755, 0));
}

TEST_P(NameQuota, moves_take_their_usage_along) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b"), tree = mkdir(a, "tree");
  grow(mkfile(tree, "f"), 50'000);
  mkfile(mkdir(tree, "sub"), "g");
  limit(a, std::nullopt, 100);
  limit(b, std::nullopt, 100);
  limit(tree, std::nullopt, 100);
  verify();
  ASSERT_OK(meta_->rename(root_, a, "tree", b, "tree", 0));
  verify();
  EXPECT_EQ(meta_->get_quota(Meta::QuotaKind::kDirectory, raw(a))->used_inodes, 0);
  EXPECT_EQ(meta_->get_quota(Meta::QuotaKind::kDirectory, raw(b))->used_inodes, 4);
  ASSERT_OK(meta_->rename(root_, b, "tree", kRootIno, "tree", 0));
  verify();
  mkfile(a, "x");
  ASSERT_OK(meta_->rename(root_, a, "x", kRootIno, "tree2", 0));
  mkfile(a, "x");
  ASSERT_OK(meta_->rename(root_, a, "x", kRootIno, "tree", kRenameExchange));
  verify();
}

TEST_P(NameQuota, a_move_within_a_quota_is_never_refused_by_it) {
  const Ino top = mkdir(kRootIno, "top"), a = mkdir(top, "a"), b = mkdir(top, "b");
  mkfile(a, "f");
  limit(b, std::nullopt, 10);
  limit(top, std::nullopt, 3);  // all used
  ASSERT_OK(meta_->rename(root_, a, "f", b, "f", 0));
  verify();
  limit(a, std::nullopt, 1);
  mkdir(kRootIno, "out");
  mkfile(kRootIno, "x");
  EXPECT_ERRNO(EDQUOT, meta_->rename(root_, kRootIno, "x", a, "x", 0));  // top is full
  ASSERT_OK(meta_->rename(root_, b, "f", a, "f", 0));
  mkdir(kRootIno, "dir");
  mkfile(find(kRootIno, "dir"), "1");
  limit(top, std::nullopt, 5);
  limit(a, std::nullopt, 2);
  EXPECT_ERRNO(EDQUOT, meta_->rename(root_, kRootIno, "dir", a, "dir", 0));  // two inodes, one is left
  EXPECT_OK(meta_->rename(root_, kRootIno, "x", a, "x", 0));
}

TEST_P(NameQuota, replaced_targets_are_given_back) {
  const Ino a = mkdir(kRootIno, "a");
  grow(mkfile(a, "big"), 100'000);
  limit(a, 1 << 20, 2);
  mkfile(kRootIno, "small");
  ASSERT_OK(meta_->rename(root_, kRootIno, "small", a, "big", 0));
  verify();
  mkfile(a, "second");
  ASSERT_OK(meta_->rename(root_, a, "second", a, "big", 0));
}

class TrashQuota : public NameQuota {
  void choose(Format& format) override { format.trash_days = 1; }
};
ON_EVERY_ENGINE(TrashQuota);

TEST_P(TrashQuota, trash_is_in_no_quota) {
  const Ino a = mkdir(kRootIno, "a"), file = mkfile(a, "f"), sub = mkdir(a, "sub");
  limit(kRootIno, std::nullopt, 100);
  limit(a, std::nullopt, 100);
  ASSERT_OK(meta_->unlink(root_, a, "f"));
  ASSERT_OK(meta_->rmdir(root_, a, "sub"));
  verify();
  ASSERT_OK(meta_->rename(root_, hour_dir(), trash_entry_name(a, file, "f"), a, "f", 0));
  verify();
  ASSERT_OK(meta_->rmdir(root_, hour_dir(), trash_entry_name(a, sub, "sub")));
  verify();
}

TEST_P(TrashQuota, subdirectory_client_charges_its_root) {
  const Ino a = mkdir(kRootIno, "a");
  limit(a, std::nullopt, 3);
  Options options;
  options.subdir = "/a";
  auto below = client(options);
  ASSERT_TRUE(below);
  auto made = below->mkdir(root_, kRootIno, "d", 0755, 0);
  ASSERT_OK(made);
  ASSERT_OK(below->mknod(root_, made->ino, "f", FileType::kFile, 0644, 0, 0));
  ASSERT_OK(below->mknod(root_, made->ino, "g", FileType::kFile, 0644, 0, 0));
  EXPECT_ERRNO(EDQUOT, below->mknod(root_, made->ino, "h", FileType::kFile, 0644, 0, 0));
  EXPECT_OK(below->close_session());
}

}  // namespace
}  // namespace zest::conformance
