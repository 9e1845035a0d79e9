#include "meta/engine/redis/layout.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace zest::meta::redis {
namespace {

std::string where(const Layout& layout, const Key& key) {
  std::string out;
  for (const auto& part : layout.parts(key)) {
    if (!out.empty()) out += " ";
    for (const auto& word : read_command(part)) out += (out.empty() || out.back() == ' ' ? "" : ",") + word;
  }
  return out;
}

TEST(Layout, KeysOfEachRecord) {
  Layout plain("");
  EXPECT_EQ(where(plain, Key::setting()), "GET,setting");
  EXPECT_EQ(where(plain, Key::counter(counter::kNextInode)), "GET,nextinode");
  EXPECT_EQ(where(plain, Key::counter(counter::kNextChunk)), "GET,nextchunk");
  EXPECT_EQ(where(plain, Key::counter(counter::kNextSession)), "GET,nextsession");
  EXPECT_EQ(where(plain, Key::counter(counter::kNextTrash)), "GET,nextTrash");
  EXPECT_EQ(where(plain, Key::inode(Ino{raw(kTrashIno) + 1})), "GET,i9223372032828243969");
  EXPECT_EQ(where(plain, Key::entry(Ino{1}, "a b")), "HGET,d1,a b");
  EXPECT_EQ(where(plain, Key::parents(Ino{2})), "HGETALL,p2");
  EXPECT_EQ(where(plain, Key::chunk(Ino{2}, 3)), "LRANGE,c2_3,0,-1");
  EXPECT_EQ(where(plain, Key::symlink(Ino{4})), "GET,s4");
  EXPECT_EQ(where(plain, Key::xattr(Ino{2}, "user.a")), "HGET,x2,user.a");
  EXPECT_EQ(where(plain, Key::dir_stat(Ino{3})), "HGET,dirDataLength,3 HGET,dirUsedSpace,3 HGET,dirUsedInodes,3");
  EXPECT_EQ(where(plain, Key::dir_quota(Ino{3})), "HGET,dirQuota,3 HGET,dirQuotaUsedSpace,3 HGET,dirQuotaUsedInodes,3");
  EXPECT_EQ(where(plain, Key::user_quota(9)), "HGET,userQuota,9 HGET,userQuotaUsedSpace,9 HGET,userQuotaUsedInodes,9");
  EXPECT_EQ(where(plain, Key::slice_ref(SliceId{8}, 100000)), "HGET,sliceRef,k8_100000");
  EXPECT_EQ(where(plain, Key::del_file(Ino{2}, 4)), "ZSCORE,delfiles,2:4");
  EXPECT_EQ(where(plain, Key::del_slices(SliceId{15}, 1795360508)), "HGET,delSlices,15_1795360508");
  EXPECT_EQ(where(plain, Key::sustained(1, Ino{16})), "SISMEMBER,session1,16");
  EXPECT_EQ(where(plain, Key::session(1)), "ZSCORE,allSessions,1 HGET,sessionInfos,1");
  EXPECT_EQ(where(plain, Key::flocks(Ino{3})), "HGETALL,lockf3");
  EXPECT_EQ(where(plain, Key::plocks(Ino{3})), "HGETALL,lockp3");
  EXPECT_EQ(where(plain, Key::detached(Ino{3})), "ZSCORE,detachedNodes,3");
  EXPECT_EQ(where(plain, Key::acl(1)), "HGET,acl,1");
  EXPECT_EQ(where(Layout("{2}"), Key::inode(Ino{1})), "GET,{2}i1");
}

TEST(Layout, LockOwners) {
  LockOwner owner{1, 0xB8111024E0A044F6};
  EXPECT_EQ(lock_field(owner), "1_B8111024E0A044F6");
  EXPECT_EQ(lock_field({12, 5}), "12_0000000000000005");
  LockOwner back;
  ASSERT_TRUE(parse_lock_field("1_B8111024E0A044F6", back));
  EXPECT_EQ(back, owner);
  for (const char* bad : {"", "1", "_1", "1_", "x_1", "1_G", "1_00000000000000001"})
    EXPECT_FALSE(parse_lock_field(bad, back)) << bad;
}

TEST(Layout, ValuesMeanWhatTheyMean) {
  auto value = [](const Key& key, std::string text) {
    Raw raw{true, std::move(text), {}};
    auto v = decode(key, std::span(&raw, 1));
    EXPECT_TRUE(v);
    return v ? *v : Value{};
  };
  EXPECT_EQ(value(Key::counter(counter::kNextInode), "1024"), Value(int64_t{1025}));
  EXPECT_EQ(value(Key::counter(counter::kNextSession), "3"), Value(int64_t{3}));
  EXPECT_EQ(value(Key::slice_ref(SliceId{8}, 1), "4"), Value(int64_t{5}));
  EXPECT_EQ(value(Key::inode(Ino{2}), ""), Value());
  EXPECT_EQ(value(Key::del_file(Ino{2}, 4), "1795360412"), Value(int64_t{1795360412}));
  EXPECT_EQ(*parse_score("1.5e3"), 1500);
  EXPECT_FALSE(parse_score("inf"));
  EXPECT_FALSE(parse_score(""));
  Raw bad{true, "short", {}};
  EXPECT_EQ(code_of(decode(Key::inode(Ino{2}), std::span(&bad, 1))), EIO);
  EXPECT_EQ(code_of(decode(Key::counter("usedSpace"), std::span(&bad, 1))), EIO);
  Raw links{true, {}, {{"1", "2"}, {"5", "0"}, {"6", "-1"}}};
  EXPECT_EQ(*decode(Key::parents(Ino{2}), std::span(&links, 1)), Value(LinkCounts{{Ino{1}, 2}}));
  EXPECT_EQ(to_hex(encode_limit({1 << 30, 1000})), "000000004000000000000000000003e8");
  EXPECT_EQ(to_hex(encode_limit({-1, 10})), "ffffffffffffffff000000000000000a");
}

}  // namespace
}  // namespace zest::meta::redis
