#include "volume/attr.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/bytes.h"

namespace zest {
namespace {

constexpr char kPlain[] =
    "0011a40000000000000000000000006b030561300cb77c000000006b030561301fdc74000000006b0305613041abd30000000100000000"
    "0000000600000000000000000000000100";
constexpr char kAcl[] =
    "0011bc0000000000000000000000006b0305b501900cfe000000006b0305b501af7a5b000000006b03061e1be31dd20000000100000000"
    "00000002000000000000000000000001000000010000000000";
constexpr char kTier[] =
    "2011a40000000000000000000000006b0307503a13b75c000000006b0307503a1fe6bc000000006b03075a0a1f4cad0000000100000000"
    "000000030000000000000000000000030100";
constexpr char kAclAndTier[] =
    "0011b40000000000000000000000006b030d4608e2e83a000000006b030d4608eb4414000000006b030d46126e043a0000000100000000"
    "0000000200000000000000000000000100000001000000000200";

Attr decode(const char* hex) {
  auto attr = decode_attr(*from_hex(hex));
  EXPECT_TRUE(attr);
  return attr.value_or(Attr{});
}

TEST(Attr, PlainRecordOf72Bytes) {
  Attr a = decode(kPlain);
  EXPECT_EQ(a.flags, 0);
  EXPECT_EQ(a.type, FileType::kFile);
  EXPECT_EQ(a.mode, 0644);
  EXPECT_EQ(a.uid, 0u);
  EXPECT_EQ(a.gid, 0u);
  EXPECT_EQ(a.atime, (Time{0x6b030561, 0x300cb77c}));
  EXPECT_EQ(a.mtime, (Time{0x6b030561, 0x301fdc74}));
  EXPECT_EQ(a.ctime, (Time{0x6b030561, 0x3041abd3}));
  EXPECT_EQ(a.nlink, 1u);
  EXPECT_EQ(a.length, 6u);
  EXPECT_EQ(a.rdev, 0u);
  EXPECT_EQ(a.parent, Ino{1});
  EXPECT_EQ(a.access_acl, 0u);
  EXPECT_EQ(a.tier, 0);
  EXPECT_EQ(encode_attr(a).size(), 72u);
}

TEST(Attr, EveryVectorComesOutAsItWentIn) {
  for (const char* hex : {kPlain, kAcl, kTier, kAclAndTier}) EXPECT_EQ(to_hex(encode_attr(decode(hex))), hex);
  EXPECT_EQ(decode(kAcl).access_acl, 1u);
  EXPECT_EQ(decode(kAcl).mode, 0674);
  EXPECT_EQ(decode(kAcl).tier, 0);
  EXPECT_EQ(decode(kTier).tier, 1);
  EXPECT_EQ(decode(kTier).flags, kFlagSkipTrash);
  EXPECT_EQ(decode(kTier).parent, Ino{3});
  EXPECT_EQ(decode(kTier).access_acl, 0u);
  EXPECT_EQ(decode(kAclAndTier).access_acl, 1u);
  EXPECT_EQ(decode(kAclAndTier).default_acl, 0u);
  EXPECT_EQ(decode(kAclAndTier).tier, 2);
}

TEST(Attr, OldAndUnpaddedRecords) {
  std::string plain = *from_hex(kPlain), acl = *from_hex(kAcl);
  Attr without_parent = decode(kPlain);
  without_parent.parent = Ino{0};
  EXPECT_EQ(*decode_attr(plain.substr(0, 63)), without_parent);
  EXPECT_EQ(*decode_attr(plain.substr(0, 71)), decode(kPlain));
  EXPECT_EQ(*decode_attr(acl.substr(0, 79)), decode(kAcl));
  EXPECT_EQ(*decode_attr(acl + "later additions"), decode(kAcl));
  EXPECT_EQ(code_of(decode_attr("")), EIO);
  EXPECT_EQ(code_of(decode_attr(plain.substr(0, 62))), EIO);
}

TEST(Attr, OtherTypesAndExtremes) {
  std::string bytes = *from_hex(
      "0021ff0000000000000000000000006b03051800000000000000006b03051800000000000000006b0305180000000000000002"
      "000000000000100000000000000000000000000100");
  Attr root = *decode_attr(bytes);
  EXPECT_EQ(root.type, FileType::kDirectory);
  EXPECT_EQ(root.mode, 0777);
  EXPECT_EQ(root.nlink, 2u);
  EXPECT_EQ(root.length, 4096u);
  EXPECT_EQ(encode_attr(root), bytes);
  Attr a;
  a.type = FileType::kBlock;
  a.mode = 06644;
  a.rdev = 0x811;
  a.atime = {-5, 999'999'999};
  a.length = ~uint64_t{0};
  a.uid = a.gid = a.nlink = 0xFFFFFFFF;
  a.parent = Ino{raw(kTrashIno) + 1};
  a.default_acl = 7;
  EXPECT_EQ(*decode_attr(encode_attr(a)), a);
  EXPECT_TRUE(a.in_trash());
  EXPECT_EQ(to_hex(encode_attr(a)).substr(0, 6), "005da4");
}

TEST(Attr, Space) {
  Attr a;
  EXPECT_EQ(a.space(), 4096);
  a.length = 4097;
  EXPECT_EQ(a.space(), 8192);
  EXPECT_EQ(a.data_length(), 4097u);
  a.type = FileType::kSymlink;
  EXPECT_EQ(a.space(), 4096);
  EXPECT_EQ(a.data_length(), 0u);
}

TEST(Entry, RoundTripAndLength) {
  std::string hour = *from_hex("02 7fffffff10000001");
  Entry e = *decode_entry(hour);
  EXPECT_EQ(e.type, FileType::kDirectory);
  EXPECT_EQ(raw(e.ino), raw(kTrashIno) + 1);
  EXPECT_EQ(encode_entry(e), hour);
  EXPECT_EQ(to_hex(encode_entry({FileType::kDirectory, Ino{3}})), "020000000000000003");
  EXPECT_EQ(code_of(decode_entry(hour + "x")), EIO);
  EXPECT_EQ(code_of(decode_entry(hour.substr(1))), EIO);
}

TEST(FileType, StatMode) {
  for (auto type : {FileType::kFile, FileType::kDirectory, FileType::kSymlink, FileType::kFifo, FileType::kBlock,
                    FileType::kChar, FileType::kSocket})
    EXPECT_EQ(from_st_mode(to_st_mode(type, 0640)), type);
  EXPECT_EQ(to_st_mode(FileType::kDirectory, 01777), static_cast<uint32_t>(S_IFDIR | 01777));
}

}  // namespace
}  // namespace zest
