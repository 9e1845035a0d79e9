// Keys and values as the reference wrote them (docs/format/tkv.md, "real bytes").
#include "meta/engine/kv/layout.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace zest::meta::kv {
namespace {

std::string hex(const Key& key) { return to_hex(place_of(key).key); }

TEST(Layout, KeysAsInARealDatabase) {
  EXPECT_EQ(hex(Key::inode(Ino{1})), "41010000000000000049");
  EXPECT_EQ(hex(Key::inode(kTrashIno)), "4100000010ffffff7f49");
  EXPECT_EQ(hex(Key::entry(Ino{1}, "d")), "4101000000000000004464");
  EXPECT_EQ(hex(Key::chunk(Ino{5}, 0)), "4105000000000000004300000000");
  EXPECT_EQ(to_hex(link_key(5, Ino{4})), "410500000000000000500400000000000000");
  EXPECT_EQ(hex(Key::counter(counter::kNextInode)), "436e657874496e6f6465");
  EXPECT_EQ(hex(Key::session(1)), "53450000000000000001");
  EXPECT_EQ(hex(Key::sustained(1, Ino{16})), "535300000000000000011000000000000000");
  EXPECT_EQ(hex(Key::flocks(Ino{7})), "460700000000000000");
  EXPECT_EQ(hex(Key::plocks(Ino{7})), "500700000000000000");
  EXPECT_EQ(hex(Key::slice_ref(SliceId{1}, 6)), "4b000000000000000100000006");
  EXPECT_EQ(hex(Key::del_slices(SliceId{14}, 0x6b030693)), "4c000000006b030693000000000000000e");
  EXPECT_EQ(hex(Key::dir_stat(Ino{4})), "550400000000000000");
  EXPECT_EQ(hex(Key::dir_quota(Ino{4})), "51440400000000000000");
  EXPECT_EQ(hex(Key::user_quota(1000)), "515500000000000003e8");
  EXPECT_EQ(hex(Key::acl(1)), "5200000001");
  EXPECT_EQ(hex(Key::del_file(Ino{5}, 6)), "4405000000000000000000000000000006");
  EXPECT_EQ(hex(Key::detached(Ino{5})), "4e0500000000000000");
}

TEST(Layout, ValuesAsInARealDatabase) {
  auto bytes = [](const Key& key, const Value& value) { return to_hex(encode_value(key, value)); };
  EXPECT_EQ(bytes(Key::counter(counter::kNextInode), int64_t{1026}), "0204000000000000");
  EXPECT_EQ(bytes(Key::counter(counter::kLastCleanupSessions), int64_t{0x6b03066d}), "000000006b03066d");
  EXPECT_EQ(bytes(Key::session(1), SessionRecord{0x6b0306a9, "{}"}), "000000006b0306a9");
  EXPECT_EQ(bytes(Key::sustained(1, Ino{16}), true), "01");
  EXPECT_EQ(bytes(Key::flocks(Ino{7}), FlockMap{{{1, 0xaff259a068d9a9bd}, 'W'}}), "0000000000000001aff259a068d9a9bd57");
  EXPECT_EQ(bytes(Key::plocks(Ino{7}), PlockMap{{{1, 0x228ba4349184ad52}, {{LockType::kRead, 0x2d6a, 100, 149}}}}),
            "0000000000000001228ba4349184ad52000000180000000000002d6a00000000000000640000000000000095");
  EXPECT_EQ(bytes(Key::slice_ref(SliceId{1}, 6), int64_t{2}), "0100000000000000");
  EXPECT_EQ(bytes(Key::dir_stat(Ino{4}), DirStat{8, 0x2000, 2}), "000000000000000800000000000020000000000000000002");
  EXPECT_EQ(bytes(Key::dir_quota(Ino{4}), Quota{1 << 30, 100, 0x2000, 2}),
            "0000000040000000000000000000006400000000000020000000000000000002");
  EXPECT_EQ(bytes(Key::acl(1), AclRule{6, 4, 6, 4, {{1000, 6}}, {}}), "000600040006000400000001000003e8000600000000");
}

TEST(Layout, KeysOfATableAreReadBack) {
  auto back = [](Table table, const Key& key) { return parse_key(table, place_of(key).key); };
  EXPECT_EQ(back(Table::kEntries, Key::entry(Ino{1}, "d")), Key::entry(Ino{1}, "d"));
  EXPECT_EQ(back(Table::kInodes, Key::entry(Ino{1}, "d")), std::nullopt);
  EXPECT_EQ(back(Table::kChunks, Key::chunk(Ino{5}, 77)), Key::chunk(Ino{5}, 77));
  EXPECT_EQ(back(Table::kXattrTable, Key::xattr(Ino{5}, "user.a")), Key::xattr(Ino{5}, "user.a"));
  EXPECT_EQ(back(Table::kDelFiles, Key::del_file(Ino{5}, 6)), Key::del_file(Ino{5}, 6));
  EXPECT_EQ(back(Table::kDelSlicesTable, Key::del_slices(SliceId{5}, 6)), Key::del_slices(SliceId{5}, 6));
  EXPECT_EQ(back(Table::kSustainedTable, Key::sustained(5, Ino{6})), Key::sustained(5, Ino{6}));
  EXPECT_EQ(parse_key(Table::kDelFiles, "D123"), std::nullopt);
  EXPECT_EQ(parse_key(Table::kInodes, "A"), std::nullopt);
  EXPECT_EQ(parse_key(Table::kAcls, ""), std::nullopt);
}

TEST(Layout, BytesThatAreNoneAreRefused) {
  EXPECT_FALSE(decode_value(Key::dir_stat(Ino{1}), "short"));
  EXPECT_FALSE(decode_value(Key::dir_quota(Ino{1}), std::string(24, 'x')));
  EXPECT_FALSE(decode_value(Key::flocks(Ino{1}), "short"));
  EXPECT_FALSE(decode_value(Key::plocks(Ino{1}), std::string(20, '\xff')));
  EXPECT_FALSE(decode_value(Key::counter("usedSpace"), "abc"));
  EXPECT_FALSE(decode_value(Key::session(1), ""));
  EXPECT_FALSE(decode_value(Key::entry(Ino{1}, "a"), "12345678"));
}

TEST(Layout, TheEndOfAPrefix) {
  EXPECT_EQ(after_prefix("ab"), "ac");
  EXPECT_EQ(after_prefix("a\xff"), "b");
  EXPECT_EQ(after_prefix("\xff\xff"), "");
}

}  // namespace
}  // namespace zest::meta::kv
