// Extended attributes and ACLs (semantics.md section 8).
#include "files_fixture.h"

namespace zest::meta {
namespace {

class Xattr : public FilesTest {};
FILES_ON_EVERY_ENGINE(Xattr);

TEST_P(Xattr, set_get_list_remove) {
  auto& c = client();
  Ino f = c.file("f");
  Attr before = c.attr(f);
  ASSERT_OK(c->setxattr(root_, f, "user.a", "1", 0));
  ASSERT_OK(c->setxattr(root_, f, "user.empty", "", 0));
  ASSERT_OK(c->setxattr(root_, f, "user.binary", std::string("\0\xff\n", 3), 0));
  EXPECT_EQ(c->getxattr(root_, f, "user.a").value_or("-"), "1");
  EXPECT_EQ(c->getxattr(root_, f, "user.empty").value_or("-"), "");
  EXPECT_EQ(c->getxattr(root_, f, "user.binary").value_or("-"), std::string("\0\xff\n", 3));
  auto names = c->listxattr(root_, f);
  ASSERT_OK(names);
  EXPECT_EQ(*names, (std::vector<std::string>{"user.a", "user.binary", "user.empty"}));
  ASSERT_OK(c->removexattr(root_, f, "user.a"));
  EXPECT_ERR(c->getxattr(root_, f, "user.a"), ENODATA);
  EXPECT_ERR(c->removexattr(root_, f, "user.a"), ENODATA);
  Attr after = c.attr(f);
  EXPECT_GT(after.ctime, before.ctime);
  after.ctime = before.ctime;
  EXPECT_EQ(after, before) << "nothing else";
}

TEST_P(Xattr, flags_and_errors) {
  auto& c = client();
  Ino f = c.file("f");
  EXPECT_ERR(c->setxattr(root_, f, "user.a", "1", kXattrReplace), ENODATA);
  EXPECT_OK(c->setxattr(root_, f, "user.a", "1", kXattrCreate));
  EXPECT_ERR(c->setxattr(root_, f, "user.a", "2", kXattrCreate), EEXIST);
  EXPECT_OK(c->setxattr(root_, f, "user.a", "2", kXattrReplace));
  EXPECT_ERR(c->setxattr(root_, f, "user.a", "2", kXattrCreate | kXattrReplace), EEXIST);
  EXPECT_ERR(c->setxattr(root_, f, "user.b", "2", kXattrCreate | kXattrReplace), ENODATA);
  EXPECT_ERR(c->setxattr(root_, f, "user.a", "2", 4), EINVAL);
  EXPECT_ERR(c->setxattr(root_, f, "", "2", 0), EINVAL);
  EXPECT_ERR(c->setxattr(root_, f, std::string(256, 'n'), "2", 0), ERANGE);
  EXPECT_OK(c->setxattr(root_, f, std::string(255, 'n'), std::string(65536, 'v'), 0));
  EXPECT_ERR(c->setxattr(root_, f, "user.b", std::string(65537, 'v'), 0), ERANGE);
  EXPECT_ERR(c->setxattr(root_, Ino{999}, "user.a", "1", 0), ENOENT);
  EXPECT_ERR(c->getxattr(root_, Ino{999}, "user.a"), ENODATA);
  EXPECT_ERR(c->listxattr(root_, Ino{999}), ENOENT);
  EXPECT_ERR(c->setxattr(root_, kTrashIno, "user.a", "1", 0), EPERM);
  Attr flags;
  flags.flags = kFlagImmutable;
  ASSERT_OK(c->setattr(root_, f, kSetFlags, flags));
  EXPECT_ERR(c->setxattr(root_, f, "user.a", "3", 0), EPERM);
  EXPECT_ERR(c->removexattr(root_, f, "user.a"), EPERM);
  EXPECT_EQ(c->getxattr(root_, f, "user.a").value_or("-"), "2");
}

TEST_P(Xattr, gone_with_the_inode) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c->setxattr(root_, f, "user.a", "1", 0));
  ASSERT_OK(c->unlink(root_, kRootIno, "f"));
  EXPECT_FALSE(c.exists(Key::xattr(f, "user.a")));
}

TEST_P(Xattr, no_acl_unless_the_volume_has_them) {
  auto& c = client();
  Ino f = c.file("f");
  AclRule rule;
  rule.owner = rule.mask = 7;
  rule.users = {{1000, 7}};
  EXPECT_ERR(c->set_acl(root_, f, false, rule), ENOTSUP);
  EXPECT_ERR(c->get_acl(root_, f, false), ENODATA);
}

class AclOps : public FilesTest {
 protected:
  void SetUp() override {
    FilesTest::SetUp();
    set_format([](Format& format) { format.enable_acl = true; });
  }
  AclRule extended() {
    AclRule rule;
    rule.owner = 6, rule.group = 4, rule.mask = 7, rule.other = 4;
    rule.users = {{1000, 7}, {1002, 4}};
    rule.groups = {{1003, 5}};
    return rule;
  }
};
FILES_ON_EVERY_ENGINE(AclOps);

TEST_P(AclOps, access_rule_shows_in_the_mode) {
  auto& c = client();
  Ino f = c.file("f", kRootIno, 0640);
  EXPECT_ERR(c->get_acl(root_, f, false), ENODATA);
  Attr before = c.attr(f);
  ASSERT_OK(c->set_acl(root_, f, false, extended()));
  Attr attr = c.attr(f);
  EXPECT_EQ(attr.mode, 0674);
  EXPECT_NE(attr.access_acl, 0u);
  EXPECT_GT(attr.ctime, before.ctime);
  auto rule = c->get_acl(root_, f, false);
  ASSERT_OK(rule);
  EXPECT_EQ(*rule, extended());
  auto names = c->listxattr(root_, f);
  ASSERT_OK(names);
  EXPECT_EQ(*names, std::vector<std::string>{"system.posix_acl_access"});
  // equal rules share an id, also with another client
  auto other = connect();
  Ino g = other->file("g");
  ASSERT_OK((*other)->set_acl(root_, g, false, extended()));
  EXPECT_EQ(other->attr(g).access_acl, attr.access_acl);
  // what is there already is set as on local file systems: ctime alone changes
  ASSERT_OK(c->set_acl(root_, f, false, extended()));
  auto again = c.attr(f);
  EXPECT_GT(again.ctime, attr.ctime);
  again.ctime = attr.ctime;
  EXPECT_EQ(again, attr);
}

TEST_P(AclOps, minimal_and_empty_rules) {
  auto& c = client();
  Ino f = c.file("f", kRootIno, 0600);
  ASSERT_OK(c->set_acl(root_, f, false, extended()));
  AclRule minimal;
  minimal.owner = 7, minimal.group = 5, minimal.other = 1;
  ASSERT_OK(c->set_acl(root_, f, false, minimal));
  EXPECT_EQ(c.attr(f).access_acl, 0u);
  EXPECT_EQ(c.attr(f).mode, 0751);
  ASSERT_OK(c->set_acl(root_, f, false, extended()));
  ASSERT_OK(c->set_acl(root_, f, false, AclRule{}));
  EXPECT_EQ(c.attr(f).access_acl, 0u);
  EXPECT_EQ(c.attr(f).mode, 0674);
  EXPECT_OK(c->set_acl(root_, f, false, AclRule{}));  // nothing to remove is no error
  Ino d = c.dir("d");
  ASSERT_OK(c->set_acl(root_, d, true, minimal));
  EXPECT_NE(c.attr(d).default_acl, 0u);
  EXPECT_EQ(c.attr(d).mode, 0755);
}

TEST_P(AclOps, errors) {
  auto& c = client();
  Ino f = c.file("f");
  EXPECT_ERR(c->set_acl(root_, kTrashIno, false, extended()), EPERM);
  EXPECT_ERR(c->set_acl(root_, Ino{999}, false, extended()), ENOENT);
  EXPECT_ERR(c->set_acl(user(500), f, false, extended()), EPERM);
  EXPECT_ERR(c->set_acl(root_, f, true, extended()), EACCES);
  EXPECT_ERR(c->get_acl(root_, Ino{999}, false), ENOENT);
  Attr flags;
  flags.flags = kFlagImmutable;
  ASSERT_OK(c->setattr(root_, f, kSetFlags, flags));
  EXPECT_ERR(c->set_acl(root_, f, false, extended()), EPERM);
  Ino dangling = c.file("dangling");
  ASSERT_OK(c.state().run({dangling}, [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto attr, txn.attr(dangling));
    attr->access_acl = 4711;
    txn.put_attr(dangling, *attr);
    return {};
  }));
  EXPECT_ERR(c->get_acl(root_, dangling, false), EIO);
}

TEST_P(AclOps, sgid_goes_when_the_owner_is_not_in_the_group) {
  auto& c = client();
  Ino f = c.file("f");
  Attr owner;
  owner.uid = 500, owner.gid = 600;
  ASSERT_OK(c->setattr(root_, f, kSetUid | kSetGid, owner));
  owner.mode = 02755;
  ASSERT_OK(c->setattr(root_, f, kSetMode, owner));
  ASSERT_EQ(c.attr(f).mode, 02755);
  ASSERT_OK(c->set_acl(user(500, 600), f, false, extended()));
  EXPECT_EQ(c.attr(f).mode, 02674);
  ASSERT_OK(c->set_acl(user(500, 500), f, false, extended()));
  EXPECT_EQ(c.attr(f).mode, 0674);
}

TEST_P(AclOps, chmod_changes_the_mask) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c->set_acl(root_, f, false, extended()));
  Attr mode;
  mode.mode = 0750;
  ASSERT_OK(c->setattr(root_, f, kSetMode, mode));
  auto rule = c->get_acl(root_, f, false);
  ASSERT_OK(rule);
  EXPECT_EQ(rule->owner, 7);
  EXPECT_EQ(rule->group, 4);
  EXPECT_EQ(rule->mask, 5);
  EXPECT_EQ(rule->other, 0);
  EXPECT_EQ(c.attr(f).mode, 0750);
}

TEST_P(AclOps, children_inherit_the_default_rule) {
  auto& c = client();
  Ino d = c.dir("d");
  AclRule inherited;
  inherited.owner = 7, inherited.group = 5, inherited.mask = 7, inherited.other = 5;
  inherited.users = {{1000, 7}};
  ASSERT_OK(c->set_acl(root_, d, true, inherited));
  auto made = c->mknod(root_, d, "f", FileType::kFile, 0666, 022, 0);
  ASSERT_OK(made);
  EXPECT_EQ(made->attr.mode, 0664);
  auto rule = c->get_acl(root_, made->ino, false);
  ASSERT_OK(rule);
  AclRule expected = inherited;
  expected.owner = 6, expected.mask = 6, expected.other = 4;
  EXPECT_EQ(*rule, expected);
  auto sub = c->mkdir(root_, d, "sub", 0777, 022);
  ASSERT_OK(sub);
  auto of_sub = c->get_acl(root_, sub->ino, true);
  ASSERT_OK(of_sub);
  EXPECT_EQ(*of_sub, inherited);
}

TEST_P(AclOps, permission_follows_the_rule) {
  auto& c = client();
  Ino f = c.file("f", kRootIno, 0600);
  ASSERT_OK(c->set_acl(root_, f, false, extended()));
  EXPECT_OK(c->open(user(1000), f, O_RDWR));
  EXPECT_OK(c->open(user(1002), f, O_RDONLY));
  EXPECT_ERR(c->open(user(1002), f, O_RDWR), EACCES);
  EXPECT_OK(c->open(user(7, 1003), f, O_RDONLY));
  EXPECT_ERR(c->open(user(7, 1003), f, O_WRONLY), EACCES);
  EXPECT_ERR(c->open(user(9), f, O_WRONLY), EACCES);
}

}  // namespace
}  // namespace zest::meta
