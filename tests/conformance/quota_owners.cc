// Quotas of users and groups: section 16.6 of semantics.md.
#include "fixture.h"
#include "meta/state.h"

namespace zest::conformance {
namespace {

using Kind = Meta::QuotaKind;

class OwnerQuota : public Conformance {
 protected:
  Quota get(Kind kind, uint32_t id) {
    auto quota = meta_->get_quota(kind, id);
    EXPECT_TRUE(quota) << quota.error().message();
    return quota.value_or(Quota{});
  }
  const Context alice_ = user(1001, 100), bob_ = user(1002, 200);
};
ON_EVERY_ENGINE(OwnerQuota);

TEST_P(OwnerQuota, counts_what_owners_have_when_switched_on) {
  const Ino dir = mkdir(kRootIno, "d", 0777);
  grow(mkfile(dir, "a", 0666, alice_), 5000);
  mkdir(dir, "b", 0755, bob_);
  EXPECT_OK(meta_->set_quota(Kind::kUser, 1001, 1 << 20, {}, false));
  EXPECT_TRUE(meta_->format().user_group_quota);
  EXPECT_EQ(8192, get(Kind::kUser, 1001).used_space);
  EXPECT_EQ(1, get(Kind::kUser, 1001).used_inodes);
  EXPECT_EQ(1, get(Kind::kUser, 1002).used_inodes) << "usage is kept for everybody";
  EXPECT_EQ(8192, get(Kind::kGroup, 100).used_space);
  auto all = meta_->list_quotas();
  ASSERT_OK(all);
  ASSERT_EQ(1u, all->size()) << "only those with a limit";
  EXPECT_EQ(Kind::kUser, (*all)[0].kind);
}

TEST_P(OwnerQuota, enforced_and_released) {
  const Ino dir = mkdir(kRootIno, "d", 0777);
  EXPECT_OK(meta_->set_quota(Kind::kUser, 1001, {}, 2, false));
  EXPECT_OK(meta_->set_quota(Kind::kGroup, 200, 8192, {}, false));
  mkfile(dir, "1", 0666, alice_);
  mkdir(dir, "2", 0755, alice_);
  EXPECT_ERRNO(EDQUOT, meta_->mknod(alice_, dir, "3", FileType::kFile, 0644, 0, 0));
  EXPECT_OK(meta_->unlink(alice_, dir, "1"));
  mkfile(dir, "3", 0666, alice_);
  const Ino file = mkfile(dir, "of bob", 0666, bob_);
  grow(file, 8192);
  EXPECT_ERRNO(EDQUOT, meta_->truncate(root_, file, 8193, false));
  EXPECT_OK(meta_->flush_ledgers());
  EXPECT_EQ(2, get(Kind::kUser, 1001).used_inodes);
  EXPECT_EQ(8192, get(Kind::kGroup, 200).used_space);
  EXPECT_EQ(8192, get(Kind::kUser, 1002).used_space);
}

TEST_P(OwnerQuota, deleting_the_limit_keeps_the_usage) {
  const Ino dir = mkdir(kRootIno, "d", 0777);
  EXPECT_OK(meta_->set_quota(Kind::kUser, 1001, {}, 1, false));
  mkfile(dir, "1", 0666, alice_);
  EXPECT_ERRNO(EDQUOT, meta_->mknod(alice_, dir, "2", FileType::kFile, 0644, 0, 0));
  EXPECT_OK(meta_->delete_quota(Kind::kUser, 1001));
  mkfile(dir, "2", 0666, alice_);
  EXPECT_OK(meta_->flush_ledgers());
  EXPECT_EQ(2, get(Kind::kUser, 1001).used_inodes);
  EXPECT_EQ(-1, get(Kind::kUser, 1001).max_inodes);
  EXPECT_TRUE(meta_->list_quotas()->empty());
  Quota counted;
  EXPECT_TRUE(*meta_->check_quota(Kind::kUser, 1001, false, false, &counted));
  EXPECT_EQ(2, counted.used_inodes);
}

}  // namespace
}  // namespace zest::conformance
