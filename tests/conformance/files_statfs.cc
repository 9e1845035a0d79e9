// statfs (semantics.md 10.1).
#include "files_fixture.h"

namespace zest::meta {
namespace {

class Statfs : public FilesTest {};
FILES_ON_EVERY_ENGINE(Statfs);

TEST_P(Statfs, without_limits) {
  auto& c = client();
  auto empty = c->statfs(root_, kRootIno);
  ASSERT_OK(empty);
  EXPECT_EQ(empty->total_space, uint64_t{1} << 50);
  EXPECT_EQ(empty->avail_space, uint64_t{1} << 50);
  EXPECT_EQ(empty->used_inodes, 0u);
  EXPECT_EQ(empty->avail_inodes, uint64_t{10} << 20);
  Ino f = c.file("f");
  ASSERT_OK(c->truncate(root_, f, 10000, true));
  auto used = c->statfs(root_, f);
  ASSERT_OK(used);
  EXPECT_EQ(used->total_space - used->avail_space, 12288u);
  EXPECT_EQ(used->used_inodes, 1u);
  ASSERT_OK(c->truncate(root_, f, uint64_t{9} << 49, true));
  auto huge = c->statfs(root_, kRootIno);
  ASSERT_OK(huge);
  EXPECT_EQ(huge->total_space, uint64_t{8} << 50);
}

TEST_P(Statfs, with_limits) {
  set_format([](Format& format) { format.capacity = 1 << 20, format.inodes = 10; });
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c->truncate(root_, f, 10000, true));
  auto stat = c->statfs(root_, kRootIno);
  ASSERT_OK(stat);
  EXPECT_EQ(stat->total_space, 1u << 20);
  EXPECT_EQ(stat->avail_space, (1u << 20) - 12288);
  EXPECT_EQ(stat->used_inodes, 1u);
  EXPECT_EQ(stat->avail_inodes, 9u);
}

TEST_P(Statfs, below_a_quota) {
  auto& c = client();
  Ino outer = c.dir("outer"), inner = c.dir("inner", outer);
  ASSERT_OK(c->set_quota(Meta::QuotaKind::kDirectory, raw(outer), 1 << 20, 100, false));
  ASSERT_OK(c->set_quota(Meta::QuotaKind::kDirectory, raw(inner), 4 << 20, 10, false));
  Ino f = c.file("f", inner);
  ASSERT_OK(c->truncate(root_, f, 10000, true));
  auto stat = c->statfs(root_, f);
  ASSERT_OK(stat);
  // used: the nearest; free: what the outer one leaves
  EXPECT_EQ(stat->used_inodes, 1u);
  EXPECT_EQ(stat->avail_inodes, 9u);
  EXPECT_EQ(stat->avail_space, (1u << 20) - 4096 - 12288);
  EXPECT_EQ(stat->total_space, (1u << 20) - 4096);
  EXPECT_ERR(c->truncate(root_, f, 2 << 20, true), EDQUOT);
  auto of_root = c->statfs(root_, kRootIno);
  ASSERT_OK(of_root);
  EXPECT_EQ(of_root->total_space, uint64_t{1} << 50);
}

}  // namespace
}  // namespace zest::meta
