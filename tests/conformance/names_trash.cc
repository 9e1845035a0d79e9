// The trash: section 11 of semantics.md.
#include "fixture.h"

namespace zest::conformance {
namespace {

using namespace meta;

class TrashBin : public Conformance {
 protected:
  void choose(Format& format) override { format.trash_days = 1; }
};
ON_EVERY_ENGINE(TrashBin);

TEST_P(TrashBin, removed_file_keeps_everything) {
  const Ino dir = mkdir(kRootIno, "d", 0777), file = mkfile(dir, "f", 0640, user(1000, 100));
  ASSERT_OK(meta_->setxattr(root_, file, "user.x", "y", 0));
  grow(file, 10);
  const Attr before = attr(file);
  clock_.advance(1000);
  ASSERT_OK(meta_->unlink(root_, dir, "f"));
  const Ino hour = hour_dir();
  EXPECT_EQ(hour, Ino{raw(kTrashIno) + 1});
  EXPECT_EQ(names(hour), std::vector<std::string>{trash_entry_name(dir, file, "f")});
  Attr expected = before;
  expected.parent = hour;
  expected.ctime = clock_.now();
  EXPECT_EQ(attr(file), expected);
  EXPECT_EQ(*meta_->getxattr(root_, file, "user.x"), "y");
  const Attr dir_attr = attr(hour);
  EXPECT_EQ(dir_attr.mode, 0555);
  EXPECT_EQ(dir_attr.uid, 0u);
  EXPECT_EQ(dir_attr.parent, kTrashIno);
}

TEST_P(TrashBin, a_directory_an_hour) {
  mkfile(kRootIno, "a");
  ASSERT_OK(meta_->unlink(root_, kRootIno, "a"));
  const Ino first = hour_dir();
  clock_.advance(3'600'000);
  EXPECT_EQ(raw(hour_dir()), 0u);
  mkfile(kRootIno, "a");
  ASSERT_OK(meta_->unlink(root_, kRootIno, "a"));
  EXPECT_NE(hour_dir(), first);
  EXPECT_EQ(names(kTrashIno).size(), 2u);
  EXPECT_EQ(attr(kTrashIno).nlink, 2u);
  // Another client uses the same one.
  auto other = client();
  ASSERT_TRUE(other);
  mkfile(kRootIno, "b");
  ASSERT_OK(other->unlink(root_, kRootIno, "b"));
  EXPECT_EQ(names(kTrashIno).size(), 2u);
  EXPECT_EQ(names(hour_dir()).size(), 2u);
  EXPECT_OK(other->close_session());
}

TEST_P(TrashBin, long_names_are_cut) {
  const std::string name(255, 'n');
  const Ino file = mkfile(kRootIno, name);
  ASSERT_OK(meta_->unlink(root_, kRootIno, name));
  const auto listed = names(hour_dir());
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0].size(), 255u);
  EXPECT_EQ(listed[0], trash_entry_name(kRootIno, file, name));
}

TEST_P(TrashBin, links_each_get_an_entry) {
  const Ino dir = mkdir(kRootIno, "d"), file = mkfile(dir, "a");
  grow(file, 5000);
  ASSERT_OK(meta_->link(root_, file, dir, "b"));
  ASSERT_OK(meta_->unlink(root_, dir, "a"));
  EXPECT_EQ(attr(file).nlink, 2u);
  EXPECT_EQ(*meta_->parents(file), (LinkCounts{{dir, 1}, {hour_dir(), 1}}));
  verify();
  // The same name once more within the hour: that link is destroyed.
  ASSERT_OK(meta_->link(root_, file, dir, "a"));
  ASSERT_OK(meta_->unlink(root_, dir, "a"));
  EXPECT_EQ(attr(file).nlink, 2u);
  verify();
  ASSERT_OK(meta_->unlink(root_, dir, "b"));
  EXPECT_EQ(attr(file).nlink, 2u);
  EXPECT_EQ(*meta_->parents(file), (LinkCounts{{hour_dir(), 2}}));
}

TEST_P(TrashBin, directories_lose_statistics_and_quota) {
  const Ino dir = mkdir(kRootIno, "d"), sub = mkdir(dir, "sub");
  ASSERT_OK(meta_->set_quota(Meta::QuotaKind::kDirectory, raw(sub), 1 << 30, std::nullopt, true));
  ASSERT_OK(meta_->rmdir(root_, dir, "sub"));
  EXPECT_EQ(find_trashed(dir, sub, "sub"), sub);
  EXPECT_EQ(attr(sub).parent, hour_dir());
  EXPECT_EQ(attr(dir).nlink, 2u);
  EXPECT_ERRNO(ENOENT, meta_->get_quota(Meta::QuotaKind::kDirectory, raw(sub)));
}

TEST_P(TrashBin, only_root_may_purge) {
  const Ino file = mkfile(kRootIno, "f", 0666, user(1000));
  const Ino sub = mkdir(kRootIno, "sub", 0777, user(1000));
  ASSERT_OK(meta_->unlink(root_, kRootIno, "f"));
  ASSERT_OK(meta_->rmdir(root_, kRootIno, "sub"));
  const Ino hour = hour_dir();
  const std::string file_entry = trash_entry_name(kRootIno, file, "f"),
                    dir_entry = trash_entry_name(kRootIno, sub, "sub");
  EXPECT_ERRNO(EPERM, meta_->unlink(user(1000), hour, file_entry));
  EXPECT_ERRNO(EPERM, meta_->rmdir(user(1000), hour, dir_entry));
  EXPECT_ERRNO(EPERM, meta_->rmdir(root_, kTrashIno, trash_hour_name(clock_.now().sec)));
  EXPECT_OK(meta_->unlink(root_, hour, file_entry));
  EXPECT_OK(meta_->rmdir(root_, hour, dir_entry));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, file));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, sub));
}

TEST_P(TrashBin, may_be_skipped) {
  const Ino file = mkfile(kRootIno, "f"), sub = mkdir(kRootIno, "sub");
  ASSERT_OK(meta_->unlink(root_, kRootIno, "f", true));
  ASSERT_OK(meta_->rmdir(root_, kRootIno, "sub", true));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, file));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, sub));
  EXPECT_EQ(raw(hour_dir()), 0u);
  // A flag of 1.4 says so for a whole tree.
  const Ino dir = mkdir(kRootIno, "d");
  Attr flags;
  flags.flags = kFlagSkipTrash;
  ASSERT_OK(meta_->setattr(root_, dir, kSetFlags, flags));
  const Ino below = mkfile(dir, "f");
  ASSERT_OK(meta_->unlink(root_, dir, "f"));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, below));
}

TEST_P(TrashBin, file_open_while_it_is_purged) {
  auto made = meta_->create(root_, kRootIno, "f", 0644, 0, true, 2);
  ASSERT_OK(made);
  const Ino file = made->entry.ino;
  ASSERT_OK(meta_->unlink(root_, kRootIno, "f"));
  ASSERT_OK(meta_->unlink(root_, hour_dir(), trash_entry_name(kRootIno, file, "f")));
  EXPECT_EQ(attr(file).nlink, 0u);
  verify();
  EXPECT_OK(meta_->close(file));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, file));
}

TEST_P(TrashBin, switched_off_and_on) {
  change_format([](Format& format) { format.trash_days = 0; });
  const Ino file = mkfile(kRootIno, "f");
  ASSERT_OK(meta_->unlink(root_, kRootIno, "f"));
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, file));
  change_format([](Format& format) { format.trash_days = 2; });
  const Ino kept = mkfile(kRootIno, "f");
  ASSERT_OK(meta_->unlink(root_, kRootIno, "f"));
  EXPECT_EQ(find_trashed(kRootIno, kept, "f"), kept);
}

class LaterTrash : public Conformance {};  // TrashDays 0 at format
ON_EVERY_ENGINE(LaterTrash);

TEST_P(LaterTrash, works_once_switched_on) {
  change_format([](Format& format) { format.trash_days = 1; });
  const Ino file = mkfile(kRootIno, "f");
  ASSERT_OK(meta_->unlink(root_, kRootIno, "f"));
  EXPECT_EQ(find_trashed(kRootIno, file, "f"), file);
  EXPECT_EQ(attr(kTrashIno).mode, 0555);
}

}  // namespace
}  // namespace zest::conformance
