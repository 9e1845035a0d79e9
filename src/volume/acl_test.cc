#include "volume/acl.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace zest {
namespace {

AclRule example() {
  AclRule rule;
  rule.owner = 6, rule.group = 4, rule.mask = 7, rule.other = 4;
  rule.users = {{1000, 7}, {1002, 4}};
  rule.groups = {{1003, 5}};
  return rule;
}

TEST(Acl, RecordVector) {
  auto bytes = *from_hex("0006 0004 0007 0004 00000002 000003e8 0007 000003ea 0004 00000001 000003eb 0005");
  EXPECT_EQ(encode_acl(example()), bytes);
  EXPECT_EQ(*decode_acl(bytes), example());
  EXPECT_EQ(bytes.size(), 16u + 6 * 3);
}

TEST(Acl, MalformedRecords) {
  auto bytes = encode_acl(example());
  for (size_t n = 0; n < bytes.size(); n++) EXPECT_EQ(code_of(decode_acl(bytes.substr(0, n))), EIO);
  EXPECT_EQ(code_of(decode_acl(bytes + "x")), EIO);
  EXPECT_EQ(code_of(decode_acl(*from_hex("0006 0004 0007 0004 ffffffff 00000000"))), EIO);
}

TEST(Acl, NamedLists) {
  auto list = example().users;
  EXPECT_EQ(to_hex(encode_acl_named(list)), "000003e80007000003ea0004");
  EXPECT_EQ(*decode_acl_named(encode_acl_named(list)), list);
  EXPECT_TRUE(decode_acl_named("")->empty());
  EXPECT_EQ(code_of(decode_acl_named("1234567")), EIO);
}

TEST(Acl, EmptyAndMinimal) {
  AclRule rule;
  EXPECT_TRUE(rule.empty());
  EXPECT_TRUE(rule.minimal());
  rule.owner = 7;
  EXPECT_FALSE(rule.empty());
  EXPECT_TRUE(rule.minimal());
  rule.mask = 7;
  EXPECT_FALSE(rule.minimal());
  EXPECT_FALSE(example().minimal());
}

TEST(Acl, XattrForm) {
  // little-endian, as on the machines the tests run on
  std::string value = *from_hex(
      "02000000 01000600ffffffff 02000700e8030000 02000400ea030000 04000400ffffffff 08000500eb030000"
      "10000700ffffffff 20000400ffffffff");
  EXPECT_EQ(acl_to_xattr(example()), value);
  EXPECT_EQ(*acl_from_xattr(value), example());
  EXPECT_TRUE(acl_from_xattr(*from_hex("02000000"))->empty());
}

TEST(Acl, MalformedXattr) {
  for (const char* hex : {"", "03000000", "0200000001", "02000000 01000600ffffffff 01000600ffffffff",
                          "02000000 20000600ffffffff 20000600ffffffff", "02000000 02000700e8030000",
                          "02000000 08000700e8030000", "02000000 40000700ffffffff", "02000000 01000800ffffffff"})
    EXPECT_EQ(code_of(acl_from_xattr(*from_hex(hex))), EINVAL) << hex;
}

TEST(Acl, ChildOfADefaultRule) {
  auto rule = *decode_acl(*from_hex("0007 0005 0007 0005 00000001 000003e8 0007 00000000"));
  auto child = acl_child(rule, 0666);
  EXPECT_EQ(to_hex(encode_acl(child)), "000600050006000400000001000003e8000700000000");
  EXPECT_EQ(acl_mode(child), 0664);
}

TEST(Acl, ModeAndChmod) {
  EXPECT_EQ(acl_mode(example()), 0674);  // the mask stands in the group's bits
  AclRule minimal;
  minimal.owner = 6, minimal.group = 4, minimal.other = 0;
  EXPECT_EQ(acl_mode(minimal), 0640);
  auto changed = acl_chmod(example(), 0751);
  EXPECT_EQ(changed.owner, 7);
  EXPECT_EQ(changed.mask, 5);
  EXPECT_EQ(changed.group, 4);
  EXPECT_EQ(changed.other, 1);
  EXPECT_EQ(changed.users, example().users);
  EXPECT_EQ(acl_chmod(minimal, 0751).group, 5);
  AclRule partial;
  partial.mask = 6;
  auto filled = acl_fill(partial, 0751);
  EXPECT_EQ(filled.owner, 7);
  EXPECT_EQ(filled.group, 5);
  EXPECT_EQ(filled.mask, 6);
  EXPECT_EQ(filled.other, 1);
  EXPECT_EQ(acl_fill(example(), 0), example());
}

TEST(Acl, Permission) {
  AclRule rule = example();
  rule.mask = 5;
  auto allows = [&rule](uint32_t uid, std::vector<uint32_t> gids, uint8_t want) {
    return acl_allows(rule, 500, 600, uid, gids, want);
  };
  EXPECT_TRUE(allows(0, {}, 7));
  EXPECT_TRUE(allows(500, {600}, 6));
  EXPECT_FALSE(allows(500, {600}, 1));
  EXPECT_TRUE(allows(1000, {}, 5));
  EXPECT_FALSE(allows(1000, {}, 2));           // masked
  EXPECT_FALSE(allows(1002, {600, 1003}, 1));  // the user's entry decides
  EXPECT_TRUE(allows(7, {600}, 4));
  EXPECT_FALSE(allows(7, {600}, 1));
  EXPECT_TRUE(allows(7, {600, 1003}, 5));  // one entry grants all that is wanted
  EXPECT_FALSE(allows(7, {1003}, 2));
  EXPECT_TRUE(allows(7, {7}, 4));
  EXPECT_FALSE(allows(7, {7}, 2));
  rule.group = 0;
  EXPECT_FALSE(allows(7, {600}, 4));  // a group that denies shuts out "other"
}

}  // namespace
}  // namespace zest
