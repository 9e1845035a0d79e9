#include "volume/records.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace zest {
namespace {

PosixLock lock(LockType type, uint32_t pid, uint64_t start, uint64_t end) { return {type, pid, start, end}; }
constexpr auto kR = LockType::kRead, kW = LockType::kWrite, kU = LockType::kUnlock;

TEST(PosixLocks, RecordVector) {
  auto bytes = *from_hex("00000001 00002a70 0000000000000032 0000000000000095");
  std::vector expected{lock(kW, 10864, 50, 149)};
  EXPECT_EQ(encode_posix_locks(expected), bytes);
  EXPECT_EQ(*decode_posix_locks(bytes), expected);
  EXPECT_EQ(code_of(decode_posix_locks(bytes + "x")), EIO);
  EXPECT_EQ(code_of(decode_posix_locks(encode_posix_locks({lock(kW, 1, 5, 4)}))), EIO);
  EXPECT_TRUE(decode_posix_locks("")->empty());
}

TEST(PosixLocks, ReplaceSplitAndMerge) {
  std::vector<PosixLock> held;
  held = apply_posix_lock(held, lock(kW, 1, 0, 99));
  held = apply_posix_lock(held, lock(kR, 1, 40, 59));
  EXPECT_EQ(held, (std::vector{lock(kW, 1, 0, 39), lock(kR, 1, 40, 59), lock(kW, 1, 60, 99)}));
  held = apply_posix_lock(held, lock(kU, 1, 50, 69));
  EXPECT_EQ(held, (std::vector{lock(kW, 1, 0, 39), lock(kR, 1, 40, 49), lock(kW, 1, 70, 99)}));
  held = apply_posix_lock(held, lock(kW, 1, 40, 69));
  EXPECT_EQ(held, (std::vector{lock(kW, 1, 0, 99)}));
  held = apply_posix_lock(held, lock(kW, 2, 100, kLockEnd));  // another pid: stays on its own
  EXPECT_EQ(held.size(), 2u);
  held = apply_posix_lock(held, lock(kU, 0, 0, kLockEnd));
  EXPECT_TRUE(held.empty());
  EXPECT_TRUE(apply_posix_lock({}, lock(kU, 1, 5, 9)).empty());
}

TEST(Session, JsonAsTheReferenceWritesIt) {
  std::string json =
      R"({"Version":"1.3.1+unknown","HostName":"vm","IPAddrs":["192.0.2.2","fd00::2"],"MountPoint":"/mnt/jfs",)"
      R"("MountTime":"2026-11-22T15:07:21.902993312Z","ProcessID":18787})";
  auto info = decode_session_info(json);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->version, "1.3.1+unknown");
  EXPECT_EQ(info->host, "vm");
  EXPECT_EQ(info->addresses, (std::vector<std::string>{"192.0.2.2", "fd00::2"}));
  EXPECT_EQ(info->mount_point, "/mnt/jfs");
  EXPECT_EQ(info->mount_time, (Time{1795360041, 902993312}));
  EXPECT_EQ(info->pid, 18787);
  EXPECT_EQ(encode_session_info(*info), json);
}

TEST(Session, MissingForeignAndMalformed) {
  EXPECT_TRUE(decode_session_info("")->version.empty());
  EXPECT_TRUE(decode_session_info("{}")->host.empty());
  auto info = decode_session_info(
      R"({"version":"1.0","MountTime":"2026-11-22T17:07:21.5+02:00","ProcessID":"x","Later":{"a":1},"IPAddrs":null})");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->version, "1.0");
  EXPECT_EQ(info->mount_time, (Time{1795360041, 500000000}));
  EXPECT_TRUE(decode_session_info("{\"HostName\":\"\xff\"}"));
  for (const char* bad : {"[]", "{", "12", R"({"MountTime":"yesterday"})", R"({"MountTime":"2026-11-22T15:07:21"})"})
    EXPECT_EQ(code_of(decode_session_info(bad)), EIO) << bad;
  SessionInfo empty;
  EXPECT_EQ(encode_session_info(empty),
            R"({"Version":"","HostName":"","MountPoint":"","MountTime":"1970-01-01T00:00:00Z","ProcessID":0})");
}

TEST(Trash, HourNames) {
  EXPECT_EQ(trash_hour_name(1795360041), "2026-11-22-15");
  int64_t sec = 0;
  ASSERT_TRUE(parse_trash_hour("2026-11-22-15", sec));
  EXPECT_EQ(sec, 1795359600);
  for (const char* bad : {"", "2026-11-22", "2026-11-22-24", "2026-02-30-01", "2026-13-01-01", "2026-11-22-1x",
                          "2026-11-22-150", "2026/11/22/15"})
    EXPECT_FALSE(parse_trash_hour(bad, sec)) << bad;
}

TEST(Trash, EntryNames) {
  EXPECT_EQ(trash_entry_name(Ino{1}, Ino{9}, "r2"), "1-9-r2");
  EXPECT_EQ(trash_entry_name(Ino{3}, Ino{2}, "hard"), "3-2-hard");
  EXPECT_EQ(trash_entry_name(Ino{3}, Ino{2}, std::string(255, 'x')).size(), 255u);
  Ino parent, ino;
  std::string name;
  ASSERT_TRUE(parse_trash_entry("12-345-a-b-c", parent, ino, name));
  EXPECT_EQ(parent, Ino{12});
  EXPECT_EQ(ino, Ino{345});
  EXPECT_EQ(name, "a-b-c");
  for (const char* bad : {"", "1-2", "1-2-", "-2-x", "1--x", "a-2-x", "1-99999999999999999999999-x"})
    EXPECT_FALSE(parse_trash_entry(bad, parent, ino, name)) << bad;
}

TEST(Names, Checked) {
  EXPECT_EQ(check_name("a"), 0);
  EXPECT_EQ(check_name("\xff\xfe"), 0);
  EXPECT_EQ(check_name(std::string(255, 'x')), 0);
  EXPECT_EQ(check_name(std::string(256, 'x')), ENAMETOOLONG);
  EXPECT_EQ(check_name(""), EINVAL);
  EXPECT_EQ(check_name("a/b"), EINVAL);
  EXPECT_EQ(check_name(std::string_view("a\0b", 3)), EINVAL);
}

}  // namespace
}  // namespace zest
