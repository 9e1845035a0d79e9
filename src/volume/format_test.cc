#include "volume/format.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "volume/secrets.h"
#include "volume/text.h"

namespace zest {
namespace {

constexpr char kFresh[] = R"({
"Name": "spec1",
"UUID": "ab6ad14a-aa63-4580-95ac-d1237fa3fa4d",
"Storage": "file",
"Bucket": "/data/obj/",
"BlockSize": 4096,
"Compression": "none",
"EncryptAlgo": "aes256gcm-rsa",
"TrashDays": 1,
"MetaVersion": 1,
"MinClientVersion": "1.2.0-A",
"DirStats": true,
"EnableACL": true
})";
constexpr char kUuid[] = "c1776feb-fcb9-4c87-9266-c078b686c881";

TEST(Format, AsTheReferenceWritesIt) {
  auto format = parse_format(kFresh);
  ASSERT_TRUE(format);
  EXPECT_EQ(format->name, "spec1");
  EXPECT_EQ(format->bucket, "/data/obj/");
  EXPECT_EQ(format->block_size(), 4u << 20);
  EXPECT_EQ(format->trash_days, 1);
  EXPECT_EQ(format->min_client_version, "1.2.0-A");
  EXPECT_TRUE(format->dir_stats);
  EXPECT_TRUE(format->enable_acl);
  EXPECT_FALSE(format->hash_prefix);
  EXPECT_TRUE(format->unknown.empty());
  EXPECT_EQ(*dump_format(*format), kFresh);
}

TEST(Format, MembersOf14AndTiers) {
  std::string json =
      "{\n\"Name\": \"golden-sqlite-v14\",\n\"UUID\": \"3b92e111-4e17-4a47-9768-90b68b627452\",\n\"Storage\": "
      "\"file\",\n\"Tiers\": {\n\"0\": {\n\"ID\": 0,\n\"StorageClass\": \"\",\n\"Tag\": \"\"\n}\n},\n\"Bucket\": "
      "\"/bucket/\",\n\"BlockSize\": 4096,\n\"Compression\": \"none\",\n\"EncryptAlgo\": "
      "\"aes256gcm-rsa\",\n\"TrashDays\": 0,\n\"MetaVersion\": 1,\n\"MinClientVersion\": "
      "\"1.2.0-A\",\n\"DirStats\": true,\n\"UserGroupQuota\": true,\n\"EnableACL\": true\n}";
  auto format = parse_format(json);
  ASSERT_TRUE(format);
  EXPECT_TRUE(format->user_group_quota);
  EXPECT_EQ(format->tiers.size(), 1u);
  EXPECT_EQ(*dump_format(*format), json);
  EXPECT_TRUE(parse_format(R"({"Name":"x","BlockSize":64,"Tiers":null})")->tiers.empty());
}

TEST(Format, AbsentMembersAreZeroAndUnknownOnesStay) {
  auto format = parse_format(R"({"NAME":"abc","blocksize":64,"Later":{"b":[1,"x"],"a":null},"another":1.5})");
  ASSERT_TRUE(format);
  EXPECT_EQ(format->name, "abc");
  EXPECT_EQ(format->block_size_kib, 64);
  EXPECT_EQ(format->trash_days, 0);
  EXPECT_EQ(format->meta_version, 0);
  EXPECT_FALSE(format->dir_stats);
  auto again = parse_format(*dump_format(*format));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->unknown, R"({"Later":{"b":[1,"x"],"a":null},"another":1.5})");
  EXPECT_NE(format_without_secrets(*format, -1).find("\"another\":1.5"), std::string::npos);
}

TEST(Format, LargeNumbersAndBadOnes) {
  auto format = parse_format(R"({"Name":"abc","BlockSize":64,"Capacity":18446744073709551615,"UploadLimit":-1})");
  ASSERT_TRUE(format);
  EXPECT_EQ(format->capacity, ~uint64_t{0});
  EXPECT_EQ(format->upload_limit, -1);
  for (const char* bad :
       {"", "[]", "{", R"({"Name":"abc"})", R"({"BlockSize":64})", R"({"Name":"abc","BlockSize":"64"})",
        R"({"Name":1,"BlockSize":64})", R"({"Name":"abc","BlockSize":4294967360})", R"({"Name":"a","BlockSize":-64})",
        R"({"Name":"a","BlockSize":64,"Capacity":-1})", R"({"Name":"a","BlockSize":64,"DirStats":1})",
        R"({"Name":"a","BlockSize":64,"Shards":257})", R"({"Name":"a","BlockSize":64,"TrashDays":1.5})",
        R"({"Name":"a","BlockSize":64,"Tiers":{"x":{}}})"})
    EXPECT_EQ(code_of(parse_format(bad)), EINVAL) << bad;
  EXPECT_EQ(code_of(parse_format(std::string(200000, '['))), EINVAL);
  EXPECT_TRUE(parse_format("{\"Name\":\"a\xff\",\"BlockSize\":64,\"\xfe\":\"\xc3\"}"));
}

TEST(Format, SecretsAreStoredEncrypted) {
  auto format = parse_format(std::string(R"({"Name":"abc","BlockSize":64,"UUID":")") + kUuid +
                             R"(","SecretKey":"VxI7vb4GMtz+GzKhy5+XT/YsMFZZSrA0XjTq5hYEfAFe/zjutwUx",)"
                             R"("SessionToken":"RrEkViqWnfeJSt2vXdHpepmz4KXjT79ovIFxoA9RxQ==","KeyEncrypted":true})");
  ASSERT_TRUE(format);
  EXPECT_EQ(format->secret_key, "SecretSauce");
  EXPECT_EQ(format->session_token, "TOK");
  std::string stored = *dump_format(*format);
  EXPECT_EQ(stored.find("SecretSauce"), std::string::npos);
  EXPECT_EQ(parse_format(stored)->secret_key, "SecretSauce");
  std::string shown = format_without_secrets(*format, 2);
  EXPECT_EQ(shown.find("SecretSauce"), std::string::npos);
  EXPECT_NE(shown.find("\"SecretKey\": \"removed\""), std::string::npos);
  auto stripped = parse_format(shown);
  ASSERT_FALSE(stripped);
  EXPECT_EQ(stripped.error().code, EACCES);
  EXPECT_NE(stripped.error().what.find("secret was removed"), std::string::npos);
  format->key_encrypted = false;
  EXPECT_EQ(parse_format(*dump_format(*format))->secret_key, "SecretSauce");
}

TEST(Secrets, VectorWithAGivenNonce) {
  std::string uuid = "11111111-2222-4333-8444-555555555555";
  std::string nonce = *from_hex("000102030405060708090a0b");
  std::string sealed = "AAECAwQFBgcICQoL73Ib4H5vhMG/jpdy9NdyYv3qcj/lcpJu7w==";
  EXPECT_EQ(*seal_secret(uuid, "aes256gcm-rsa", "my-secret", nonce), sealed);
  EXPECT_EQ(*open_secret(uuid, "aes256gcm-rsa", sealed), "my-secret");
}

TEST(Secrets, DamageIsSeen) {
  std::string sealed = *seal_secret(kUuid, "", "text");
  EXPECT_EQ(*open_secret(kUuid, "", sealed), "text");
  EXPECT_NE(*seal_secret(kUuid, "", "text"), sealed);  // the nonce is random
  EXPECT_EQ(code_of(open_secret("another uuid", "", sealed)), EACCES);
  EXPECT_EQ(code_of(open_secret(kUuid, "sm4gcm", sealed)), EACCES);
  EXPECT_EQ(code_of(open_secret(kUuid, "", "removed")), EACCES);
  EXPECT_EQ(code_of(open_secret(kUuid, "", "!!!!")), EINVAL);
  EXPECT_EQ(code_of(open_secret(kUuid, "", "AAAA")), EINVAL);
  EXPECT_EQ(code_of(open_secret(kUuid, "", "AAA")), EINVAL);
}

TEST(Secrets, Sm4) {
  for (size_t size : {0u, 1u, 16u, 1700u}) {
    std::string plain(size, 'p');
    std::string sealed = *seal_secret(kUuid, "sm4gcm", plain);
    EXPECT_EQ(*open_secret(kUuid, "sm4gcm", sealed), plain);
    sealed[20] = sealed[20] == 'A' ? 'B' : 'A';
    EXPECT_EQ(code_of(open_secret(kUuid, "sm4gcm", sealed)), EACCES);
  }
}

TEST(Version, Order) {
  const char* ascending[] = {"junk",        "1.1.0-A", "1.1.0-beta1",  "1.1.0",  "1.2.0-A", "1.2.0-alpha1",
                             "1.2.0-beta1", "1.2",     "1.2.1+build7", "1.10.0", "2"};
  for (size_t i = 0; i < std::size(ascending); i++)
    for (size_t j = 0; j < std::size(ascending); j++) {
      int c = compare_versions(ascending[i], ascending[j]);
      EXPECT_EQ(c < 0 ? -1 : c > 0, i < j ? -1 : i > j) << ascending[i] << " " << ascending[j];
    }
  EXPECT_EQ(compare_versions("1.3.1+unknown", "1.3.1"), 0);
  EXPECT_EQ(compare_versions("1.2", "1.2.0"), 0);
  EXPECT_EQ(compare_versions("1.2.3.4", "x"), 0);
}

TEST(Version, Gates) {
  Format format;
  EXPECT_TRUE(check_client_version(format));
  format.min_client_version = "1.3.0-A";
  EXPECT_TRUE(check_client_version(format));
  format.min_client_version = "9.0.0";
  auto refused = check_client_version(format);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EPERM);
  EXPECT_NE(refused.error().what.find("allowed minimum version"), std::string::npos);
  format.min_client_version.clear();
  format.max_client_version = "1.0.0";
  EXPECT_EQ(code_of(check_client_version(format)), EPERM);
  format.max_client_version.clear();
  format.meta_version = 2;
  EXPECT_NE(check_client_version(format).error().what.find("incompatible metadata version"), std::string::npos);
}

TEST(Names, Volumes) {
  for (const char* good : {"abc", "a-b", "0ab", "golden-sqlite-v14"}) EXPECT_TRUE(valid_volume_name(good)) << good;
  for (const char* bad : {"", "ab", "-ab", "ab-", "Abc", "a_b", "a.b"}) EXPECT_FALSE(valid_volume_name(bad)) << bad;
  EXPECT_TRUE(valid_volume_name(std::string(63, 'a')));
  EXPECT_FALSE(valid_volume_name(std::string(64, 'a')));
}

TEST(BlockKey, BothLayouts) {
  struct {
    uint64_t id;
    uint32_t block, bytes;
    const char *plain, *hashed;
  } cases[] = {
      {1, 0, 65536, "chunks/0/0/1_0_65536", "chunks/01/0/1_0_65536"},
      {255, 0, 4, "chunks/0/0/255_0_4", "chunks/FF/0/255_0_4"},
      {303, 0, 65536, "chunks/0/0/303_0_65536", "chunks/2F/0/303_0_65536"},
      {1234567, 2, 10, "chunks/1/1234/1234567_2_10", "chunks/87/1/1234567_2_10"},
      {19, 0, 3000, "chunks/0/0/19_0_3000", "chunks/13/0/19_0_3000"},
  };
  for (const auto& c : cases)
    for (bool hashed : {false, true}) {
      Format format;
      format.hash_prefix = hashed;
      std::string key = hashed ? c.hashed : c.plain;
      EXPECT_EQ(block_key(format, SliceId{c.id}, c.block, c.bytes), key);
      SliceId id;
      uint32_t block, bytes;
      ASSERT_TRUE(parse_block_key(key, id, block, bytes));
      EXPECT_EQ(raw(id), c.id);
      EXPECT_EQ(block, c.block);
      EXPECT_EQ(bytes, c.bytes);
    }
  SliceId id;
  uint32_t block, bytes;
  for (const char* bad : {"", "chunks/0/0/1_0", "chunks/0/1/1_0_65536", "chunks/0/0/1_0_65536.tmp", "chunks/0/0/x_0_1",
                          "chunks/0/0/01_0_1", "juicefs_uuid", "vol/chunks/0/0/1_0_65536", "chunks/0/0/1_0_99999999999",
                          "chunks/0/0/__", "chunks/0/0/_", "chunks/01/0/0/1_0_65536"})
    EXPECT_FALSE(parse_block_key(bad, id, block, bytes)) << bad;
}

TEST(Text, JsonTimes) {
  int64_t sec;
  uint32_t nsec;
  EXPECT_EQ(time_to_json(1795360041, 902993312), "2026-11-22T15:07:21.902993312Z");
  EXPECT_EQ(time_to_json(1795360041, 500000000), "2026-11-22T15:07:21.5Z");
  EXPECT_TRUE(time_from_json("0001-01-01T00:00:00Z", sec, nsec));
  ASSERT_TRUE(time_from_json("2026-11-22T10:07:21.25-05:00", sec, nsec));
  EXPECT_EQ(sec, 1795360041);
  EXPECT_EQ(nsec, 250000000u);
  for (const char* bad : {"", "2026-11-22", "2026-11-22T15:07:21.Z", "2026-13-22T15:07:21Z", "2026-11-22T15:07:21Zx"})
    EXPECT_FALSE(time_from_json(bad, sec, nsec)) << bad;
}

TEST(Text, Utf8) {
  EXPECT_EQ(repair_utf8("a\xc3\xa9\xf0\x9f\x98\x80"), "a\xc3\xa9\xf0\x9f\x98\x80");
  EXPECT_EQ(repair_utf8("\xc0\xaf"), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(repair_utf8("\xed\xa0\x80").size(), 9u);
  EXPECT_EQ(repair_utf8("x\xe2\x82"), "x\xEF\xBF\xBD\xEF\xBF\xBD");
}

}  // namespace
}  // namespace zest
