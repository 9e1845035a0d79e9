// setattr: section 5.4 of semantics.md.
#include "fixture.h"

namespace zest::conformance {
namespace {

using namespace meta;

class Setattr : public Conformance {
 protected:
  void choose(Format& format) override { format.trash_days = 1, format.enable_acl = true; }
  Result<Attr> chmod(const Context& ctx, Ino ino, uint16_t mode) {
    Attr want;
    want.mode = mode;
    return meta_->setattr(ctx, ino, kSetMode, want);
  }
  Result<Attr> chown(const Context& ctx, Ino ino, std::optional<uint32_t> uid, std::optional<uint32_t> gid) {
    Attr want;
    want.uid = uid.value_or(0), want.gid = gid.value_or(0);
    return meta_->setattr(ctx, ino, (uid ? kSetUid : 0) | (gid ? kSetGid : 0), want);
  }
  Result<Attr> set_flags(Ino ino, uint8_t flags) {
    Attr want;
    want.flags = flags;
    return meta_->setattr(root_, ino, kSetFlags, want);
  }
};
ON_EVERY_ENGINE(Setattr);

TEST_P(Setattr, chmod_by_owner_and_root_only) {
  const Context alice = user(1000, 100), bob = user(1001, 100);
  const Ino file = mkfile(kRootIno, "f", 0644, alice);
  clock_.advance(1000);
  auto changed = chmod(alice, file, 01640);
  ASSERT_OK(changed);
  EXPECT_EQ(changed->mode, 01640);
  EXPECT_EQ(changed->ctime, clock_.now());
  EXPECT_LT(changed->mtime, clock_.now());
  EXPECT_EQ(attr(file), *changed);
  EXPECT_ERRNO(EPERM, chmod(bob, file, 0777));
  EXPECT_OK(chmod(root_, file, 07755));
  EXPECT_EQ(attr(file).mode, 07755);
  clock_.advance(1000);
  EXPECT_OK(chmod(alice, file, 05755));
  EXPECT_EQ(chmod(alice, file, 05755)->ctime, clock_.now());  // also to the same mode
  EXPECT_ERRNO(ENOENT, chmod(root_, Ino{99999}, 0644));
  EXPECT_ERRNO(EPERM, chmod(root_, kTrashIno, 0777));
}

TEST_P(Setattr, setgid_is_for_members_of_the_group) {
  const Context alice = user(1000, 100);
  const Ino file = mkfile(kRootIno, "f", 0644, alice);
  EXPECT_EQ(chmod(alice, file, 02755)->mode, 02755);
  ASSERT_OK(chown(root_, file, std::nullopt, 500));
  EXPECT_EQ(chmod(alice, file, 02755)->mode, 0755);
  EXPECT_EQ(chmod(user(1000, 100, {500}), file, 02755)->mode, 02755);
  Context behind_kernel = alice;
  behind_kernel.check_permission = false;
  EXPECT_EQ(chmod(behind_kernel, file, 02755)->mode, 02755);
}

TEST_P(Setattr, others_may_only_take_set_id_bits_away) {
  Context bob = user(1001);
  bob.check_permission = false;  // a kernel passes on what a write did
  const Ino file = mkfile(kRootIno, "f", 06777, user(1000));
  EXPECT_EQ(chmod(bob, file, 0777)->mode, 0777);
  EXPECT_ERRNO(EPERM, chmod(bob, file, 04777));
  EXPECT_ERRNO(EPERM, chmod(bob, file, 0776));
}

TEST_P(Setattr, chown_rules) {
  const Context alice = user(1000, 100, {200});
  const Ino file = mkfile(kRootIno, "f", 0644, alice);
  EXPECT_ERRNO(EPERM, chown(alice, file, 1001, std::nullopt));
  EXPECT_OK(chown(alice, file, 1000, std::nullopt));
  EXPECT_ERRNO(EPERM, chown(alice, file, std::nullopt, 300));
  EXPECT_EQ(chown(alice, file, std::nullopt, 200)->gid, 200u);
  EXPECT_ERRNO(EPERM, chown(user(1001, 100), file, std::nullopt, 100));
  EXPECT_ERRNO(EPERM, chown(user(1001, 100), file, 1000, std::nullopt)) << "not even to its owner";
  clock_.advance(1000);
  auto changed = chown(root_, file, 0xFFFFFFF0, 0x80000001);  // over 2^31
  if (GetParam().name == "postgres" || GetParam().name == "mysql") {
    EXPECT_ERRNO(EINVAL, changed) << "the columns are signed";
    EXPECT_EQ(attr(file).uid, 1000u);
    return;
  }
  ASSERT_OK(changed);
  EXPECT_EQ(attr(file).uid, 0xFFFFFFF0);
  EXPECT_EQ(attr(file).gid, 0x80000001);
  EXPECT_EQ(attr(file).ctime, clock_.now());
}

TEST_P(Setattr, chown_strips_set_id_bits) {
  const Context alice = user(1000, 100, {200});
  auto after = [&](uint16_t mode, const Context& ctx) {
    const std::string name = "f" + std::to_string(mode) + (ctx.uid ? "u" : "r");
    const Ino file = mkfile(kRootIno, name, mode, alice);
    auto changed = chown(ctx, file, std::nullopt, 200);
    EXPECT_TRUE(changed);
    return changed ? changed->mode : 0;
  };
  EXPECT_EQ(after(06755, alice), 0755);
  EXPECT_EQ(after(06755, root_), 0755);
  // Without group execution setgid means locking: as Linux has it, it goes when somebody asks who is not in the group.
  EXPECT_EQ(after(06744, alice), 02744);
  EXPECT_EQ(after(06744, root_), 02744);
  const Ino foreign = mkfile(kRootIno, "foreign", 0744, alice);
  ASSERT_OK(chown(root_, foreign, std::nullopt, 300));
  Attr set_id;
  set_id.mode = 06744;
  ASSERT_OK(meta_->setattr(root_, foreign, kSetMode, set_id));
  EXPECT_EQ(chown(alice, foreign, std::nullopt, 200)->mode, 0744);
  EXPECT_EQ(after(01755, alice), 01755);
  const Ino dir = mkdir(kRootIno, "d", 06755, alice);
  EXPECT_EQ(chown(alice, dir, std::nullopt, 200)->mode, 06755);
  // Even when the owner stays the same.
  const Ino same = mkfile(kRootIno, "same", 04755, alice);
  clock_.advance(1000);
  auto changed = chown(root_, same, 1000, 100);
  ASSERT_OK(changed);
  EXPECT_EQ(changed->mode, 0755);
  EXPECT_EQ(changed->ctime, clock_.now());
}

TEST_P(Setattr, times) {
  const Context alice = user(1000), bob = user(1001);
  const Ino file = mkfile(kRootIno, "f", 0666, alice);
  Attr want;
  want.atime = {1, 123'456'789};
  want.mtime = {-5, 999'999'999};  // before 1970
  clock_.advance(1000);
  auto changed = meta_->setattr(alice, file, kSetAtime | kSetMtime, want);
  ASSERT_OK(changed);
  const Attr stored = attr(file);
  EXPECT_EQ(stored.atime, want.atime);
  EXPECT_EQ(stored.mtime, want.mtime);
  EXPECT_EQ(stored.ctime, clock_.now());
  EXPECT_ERRNO(EPERM, meta_->setattr(bob, file, kSetMtime, want));
  EXPECT_ERRNO(EPERM, meta_->setattr(bob, file, kSetAtime, want));
  EXPECT_ERRNO(EPERM, meta_->setattr(bob, file, kSetAtimeNow, {})) << "only both together";
  EXPECT_ERRNO(EPERM, meta_->setattr(bob, file, kSetAtimeNow | kSetMtime, want));
  clock_.advance(1000);
  ASSERT_OK(meta_->setattr(bob, file, kSetAtimeNow | kSetMtimeNow, {}));  // may write
  EXPECT_EQ(attr(file).atime, clock_.now());
  EXPECT_EQ(attr(file).mtime, clock_.now());
  ASSERT_OK(chmod(alice, file, 0644));
  EXPECT_ERRNO(EACCES, meta_->setattr(bob, file, kSetAtimeNow | kSetMtimeNow, {}));
  EXPECT_OK(meta_->setattr(alice, file, kSetAtimeNow, {}));
}

TEST_P(Setattr, nothing_asked_changes_nothing) {
  const Ino file = mkfile(kRootIno, "f");
  const Attr before = attr(file);
  clock_.advance(1000);
  auto same = meta_->setattr(root_, file, 0, {});
  ASSERT_OK(same);
  EXPECT_EQ(*same, before);
  EXPECT_EQ(attr(file), before);
}

TEST_P(Setattr, protected_files_keep_owner_mode_and_times) {
  const Ino file = mkfile(kRootIno, "f");
  for (uint8_t flag : {kFlagImmutable, kFlagAppend}) {
    ASSERT_OK(set_flags(file, flag));
    EXPECT_EQ(attr(file).flags, flag);
    EXPECT_ERRNO(EPERM, chmod(root_, file, 0600));
    EXPECT_ERRNO(EPERM, chown(root_, file, 5, 5));
    EXPECT_ERRNO(EPERM, meta_->setattr(root_, file, kSetMtime, {}));
    EXPECT_ERRNO(EPERM, meta_->setattr(root_, file, kSetMtimeNow, {}));  // "now" for one, the other kept: chosen
    EXPECT_ERRNO(flag == kFlagImmutable ? EPERM : 0, meta_->setattr(root_, file, kSetAtimeNow | kSetMtimeNow, {}));
  }
  ASSERT_OK(set_flags(file, 0));
  EXPECT_OK(chmod(root_, file, 0600));
}

TEST_P(Setattr, entries_of_the_trash_are_fixed) {
  const Ino file = mkfile(kRootIno, "f");
  ASSERT_OK(meta_->unlink(root_, kRootIno, "f"));
  EXPECT_ERRNO(EPERM, chmod(root_, file, 0600));
  EXPECT_ERRNO(EPERM, chmod(root_, hour_dir(), 0700));
}

TEST_P(Setattr, file_that_went_to_the_trash_while_open) {
  auto made = meta_->create(root_, kRootIno, "f", 0644, 0, true, 2);
  ASSERT_OK(made);
  const Ino file = made->entry.ino;
  ASSERT_OK(meta_->unlink(root_, kRootIno, "f"));
  ASSERT_EQ(attr(file).parent, hour_dir());
  EXPECT_OK(chmod(root_, file, 0600));
  EXPECT_OK(meta_->close(file));
  EXPECT_ERRNO(EPERM, chmod(root_, file, 0640));
}

TEST_P(Setattr, chmod_changes_the_access_rule) {
  const Context alice = user(1000, 100);
  const Ino file = mkfile(kRootIno, "f", 0640, alice);
  AclRule rule;
  rule.owner = 6, rule.group = 4, rule.mask = 6, rule.other = 0;
  rule.users = {{1001, 6}};
  ASSERT_OK(meta_->set_acl(alice, file, false, rule));
  EXPECT_EQ(attr(file).mode, 0660);
  EXPECT_OK(meta_->access(user(1001, 7), file, kMayRead | kMayWrite));
  EXPECT_ERRNO(EPERM, chmod(user(1001, 7), file, 0777));
  clock_.advance(1000);
  auto changed = chmod(alice, file, 0741);
  ASSERT_OK(changed);
  EXPECT_EQ(changed->mode, 0741);
  EXPECT_EQ(changed->ctime, clock_.now());
  auto stored = meta_->get_acl(root_, file, false);
  ASSERT_OK(stored);
  EXPECT_EQ(stored->owner, 7);
  EXPECT_EQ(stored->group, 4);
  EXPECT_EQ(stored->mask, 4);
  EXPECT_EQ(stored->other, 1);
  EXPECT_EQ(stored->users, rule.users);
  EXPECT_ERRNO(EACCES, meta_->access(user(1001, 7), file, kMayWrite));
  EXPECT_OK(meta_->access(user(1001, 7), file, kMayRead));
}

}  // namespace
}  // namespace zest::conformance
