// Quotas of directories and of the volume: section 16 of semantics.md.
#include "fixture.h"
#include "meta/state.h"

namespace zest::conformance {
namespace {

using Kind = Meta::QuotaKind;
using meta::Key;
using meta::Txn;

class DirQuota : public Conformance {
 protected:
  void set(Ino dir, std::optional<int64_t> space, std::optional<int64_t> inodes) {
    EXPECT_OK(meta_->set_quota(Kind::kDirectory, raw(dir), space, inodes, false));
  }
  Quota get(Ino dir) {
    auto quota = meta_->get_quota(Kind::kDirectory, raw(dir));
    EXPECT_TRUE(quota) << quota.error().message();
    return quota.value_or(Quota{});
  }
  void expect_used(Ino dir, int64_t space, int64_t inodes) {
    const Quota quota = get(dir);
    EXPECT_EQ(space, quota.used_space) << raw(dir);
    EXPECT_EQ(inodes, quota.used_inodes) << raw(dir);
  }
  int code_of_mkfile(Ino dir, const std::string& name) {
    return code_of(meta_->mknod(root_, dir, name, FileType::kFile, 0644, 0, 0));
  }
};
ON_EVERY_ENGINE(DirQuota);

TEST_P(DirQuota, first_one_counts_what_is_there) {
  const Ino dir = mkdir(kRootIno, "d"), sub = mkdir(dir, "sub");
  grow(mkfile(dir, "f"), 5000);
  grow(mkfile(sub, "g"), 1);
  mksymlink(sub, "l", "target");
  EXPECT_ERRNO(ENOENT, meta_->get_quota(Kind::kDirectory, raw(dir)));
  EXPECT_ERRNO(EINVAL, meta_->set_quota(Kind::kDirectory, raw(dir), {}, {}, false)) << "no limit at all";
  set(dir, 1 << 20, {});
  expect_used(dir, 8192 + 4096 + 4096 + 4096, 4);
  EXPECT_EQ(1 << 20, get(dir).max_space);
  EXPECT_EQ(0, get(dir).max_inodes);
  set(dir, {}, 10);
  EXPECT_EQ(1 << 20, get(dir).max_space) << "left as it was";
  EXPECT_EQ(10, get(dir).max_inodes);
  auto all = meta_->list_quotas();
  ASSERT_OK(all);
  ASSERT_EQ(1u, all->size());
  EXPECT_EQ(raw(dir), (*all)[0].id);
  EXPECT_OK(meta_->delete_quota(Kind::kDirectory, raw(dir)));
  EXPECT_OK(meta_->delete_quota(Kind::kDirectory, raw(dir)));
  EXPECT_ERRNO(ENOENT, meta_->get_quota(Kind::kDirectory, raw(dir)));
  EXPECT_FALSE(meta_->state().ledger.any_dir_quota());
}

TEST_P(DirQuota, refused_where_it_makes_no_sense) {
  const Ino file = mkfile(kRootIno, "f");
  EXPECT_ERRNO(ENOTDIR, meta_->set_quota(Kind::kDirectory, raw(file), 4096, {}, false));
  EXPECT_ERRNO(ENOENT, meta_->set_quota(Kind::kDirectory, 99999, 4096, {}, false));
  EXPECT_ERRNO(EPERM, meta_->set_quota(Kind::kDirectory, raw(kTrashIno), 4096, {}, false));
  EXPECT_ERRNO(EINVAL, meta_->set_quota(Kind::kUser, 0, 4096, {}, false));
}

TEST_P(DirQuota, inodes_are_enforced) {
  const Ino dir = mkdir(kRootIno, "d"), sub = mkdir(dir, "sub");
  set(dir, {}, 4);
  const Ino file = mkfile(sub, "1");
  mkfile(sub, "2");
  mkdir(sub, "3");
  EXPECT_EQ(EDQUOT, code_of_mkfile(dir, "4"));
  EXPECT_EQ(EDQUOT, code_of_mkfile(sub, "4"));
  EXPECT_ERRNO(EDQUOT, meta_->link(root_, file, sub, "4"));
  EXPECT_ERRNO(EDQUOT, meta_->symlink(root_, sub, "4", "x"));
  mkfile(kRootIno, "outside");
  EXPECT_OK(meta_->unlink(root_, sub, "2"));
  EXPECT_EQ(0, code_of_mkfile(dir, "4"));
  expect_used(dir, 4 * 4096, 4);
}

TEST_P(DirQuota, space_is_enforced_and_shrinking_is_not_hindered) {
  const Ino dir = mkdir(kRootIno, "d");
  const Ino file = mkfile(dir, "f");
  set(dir, 16384, {});
  grow(file, 16384);
  EXPECT_ERRNO(EDQUOT, meta_->truncate(root_, file, 16385, false));
  EXPECT_EQ(EDQUOT, code_of_mkfile(dir, "g"));
  set(dir, 4096, {});
  EXPECT_ERRNO(EDQUOT, meta_->truncate(root_, file, 20000, false));
  grow(file, 9000);  // over the new limit, but less than before
  grow(file, 0);
  expect_used(dir, 4096, 1);
  auto id = meta_->new_slice_id();
  ASSERT_OK(id);
  Meta::ChunkWrite write{0, Slice{0, *id, 5000, 0, 5000}, clock_.now()};
  EXPECT_ERRNO(EDQUOT, meta_->write(file, std::span(&write, 1)));
}

TEST_P(DirQuota, every_directory_above_counts) {
  const Ino outer = mkdir(kRootIno, "outer"), middle = mkdir(outer, "middle"), inner = mkdir(middle, "inner");
  set(outer, {}, 4);
  set(inner, {}, 100);
  mkfile(inner, "1");
  mkfile(inner, "2");
  EXPECT_EQ(EDQUOT, code_of_mkfile(inner, "3"));
  expect_used(outer, 4 * 4096, 4);
  expect_used(inner, 2 * 4096, 2);
  set(kRootIno, {}, 6);
  expect_used(kRootIno, 5 * 4096, 5);
  mkfile(kRootIno, "last");
  EXPECT_EQ(EDQUOT, code_of_mkfile(kRootIno, "no"));
}

TEST_P(DirQuota, hard_links_count_in_each_directory) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b");
  const Ino file = mkfile(a, "f");
  grow(file, 10'000);
  EXPECT_OK(meta_->link(root_, file, b, "g"));
  set(a, 1 << 20, {});
  set(b, 20'000, {});
  expect_used(a, 12288, 1);
  expect_used(b, 12288, 1);
  grow(file, 15'000);
  expect_used(a, 16384, 1);
  expect_used(b, 16384, 1);
  EXPECT_ERRNO(EDQUOT, meta_->truncate(root_, file, 30'000, false)) << "too much for one of its directories";
  EXPECT_OK(meta_->unlink(root_, a, "f"));
  expect_used(a, 0, 0);
  expect_used(b, 16384, 1);
}

TEST_P(DirQuota, renames_carry_usage_across) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b"), tree = mkdir(a, "tree");
  grow(mkfile(tree, "1"), 5000);
  mkfile(tree, "2");
  set(a, {}, 10);
  set(b, {}, 3);
  expect_used(a, 4096 + 8192 + 4096, 3);
  EXPECT_OK(meta_->rename(root_, a, "tree", b, "tree", 0));
  expect_used(a, 0, 0);
  expect_used(b, 4096 + 8192 + 4096, 3);
  mkfile(a, "f");
  EXPECT_ERRNO(EDQUOT, meta_->rename(root_, a, "f", b, "f", 0));
  expect_used(a, 4096, 1);
  EXPECT_OK(meta_->rename(root_, b, "tree", kRootIno, "tree", 0));
  expect_used(b, 0, 0);
  EXPECT_OK(meta_->rename(root_, a, "f", b, "f", 0));
  expect_used(b, 4096, 1);
}

TEST_P(DirQuota, goes_with_its_directory) {
  const Ino dir = mkdir(kRootIno, "d");
  set(dir, 4096, {});
  EXPECT_OK(meta_->rmdir(root_, kRootIno, "d"));
  EXPECT_TRUE(meta_->list_quotas()->empty());
}

TEST_P(DirQuota, other_clients_learn_of_it) {
  const Ino dir = mkdir(kRootIno, "d");
  auto other = client();
  set(dir, {}, 2);
  EXPECT_OK(other->state().jobs->refresh());
  EXPECT_OK(other->mknod(root_, dir, "1", FileType::kFile, 0644, 0, 0));
  EXPECT_OK(other->flush_ledgers());
  EXPECT_OK(meta_->state().jobs->refresh());
  mkfile(dir, "2");
  EXPECT_EQ(EDQUOT, code_of_mkfile(dir, "3"));
  EXPECT_OK(meta_->flush_ledgers());
  EXPECT_OK(other->state().jobs->refresh());
  EXPECT_ERRNO(EDQUOT, other->mknod(root_, dir, "3", FileType::kFile, 0644, 0, 0));
  // Deleted by one, the other's changes do not bring it back.
  EXPECT_OK(meta_->delete_quota(Kind::kDirectory, raw(dir)));
  EXPECT_OK(other->unlink(root_, dir, "1"));
  EXPECT_OK(other->flush_ledgers());
  EXPECT_ERRNO(ENOENT, meta_->get_quota(Kind::kDirectory, raw(dir)));
  EXPECT_OK(other->close_session());
}

TEST_P(DirQuota, check_finds_and_repairs_a_wrong_usage) {
  const Ino dir = mkdir(kRootIno, "d");
  grow(mkfile(dir, "f"), 5000);
  set(dir, 1 << 20, {});
  Quota counted;
  auto fine = meta_->check_quota(Kind::kDirectory, raw(dir), true, false, &counted);
  ASSERT_OK(fine);
  EXPECT_TRUE(*fine);
  EXPECT_EQ(8192, counted.used_space);
  ASSERT_OK(meta_->state().run({}, [&](Txn& txn) -> Result<void> {
    txn.put(Key::dir_quota(dir), Quota{1 << 20, 0, 1, -7});
    return {};
  }));
  EXPECT_FALSE(*meta_->check_quota(Kind::kDirectory, raw(dir), false, false, &counted));
  EXPECT_EQ(1, get(dir).used_space) << "only looked at";
  EXPECT_FALSE(*meta_->check_quota(Kind::kDirectory, raw(dir), false, true, &counted));
  expect_used(dir, 8192, 1);
  EXPECT_EQ(1 << 20, get(dir).max_space);
  EXPECT_TRUE(*meta_->check_quota(Kind::kDirectory, raw(dir), false, false, nullptr));
  EXPECT_ERRNO(ENOENT, meta_->check_quota(Kind::kDirectory, 99999, false, false, nullptr));
}

TEST_P(DirQuota, switches_statistics_on) {
  change_format([](Format& format) { format.dir_stats = false; });
  const Ino dir = mkdir(kRootIno, "d");
  mkfile(dir, "f");
  set(dir, 1 << 20, {});
  EXPECT_TRUE(meta_->format().dir_stats);
  expect_used(dir, 4096, 1);
}

class VolumeLimit : public Conformance {};
ON_EVERY_ENGINE(VolumeLimit);

TEST_P(VolumeLimit, space_and_inodes) {
  const Ino dir = mkdir(kRootIno, "d"), file = mkfile(dir, "f");
  change_format([](Format& format) { format.capacity = 16384; });
  grow(file, 12288);
  EXPECT_ERRNO(ENOSPC, meta_->truncate(root_, file, 12289, false));
  EXPECT_ERRNO(ENOSPC, meta_->mkdir(root_, dir, "x", 0755, 0));
  grow(file, 0);
  EXPECT_OK(meta_->mkdir(root_, dir, "x", 0755, 0));
  change_format([](Format& format) {
    format.capacity = 0;
    format.inodes = 4;
  });
  mkfile(dir, "4");
  EXPECT_ERRNO(ENOSPC, meta_->mkdir(root_, dir, "y", 0755, 0));
  EXPECT_OK(meta_->unlink(root_, dir, "4"));
  EXPECT_OK(meta_->mkdir(root_, dir, "y", 0755, 0));
}

}  // namespace
}  // namespace zest::conformance
