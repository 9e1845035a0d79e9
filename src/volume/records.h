// The smaller records of a volume: statistics, quotas, locks, sessions (docs/format/encodings.md sections 10 to 13).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "volume/types.h"

namespace zest {

// Sums over the entries directly in a directory.
struct DirStat {
  int64_t length = 0, space = 0, inodes = 0;
  DirStat& operator+=(const DirStat& other) {
    length += other.length, space += other.space, inodes += other.inodes;
    return *this;
  }
  bool zero() const { return length == 0 && space == 0 && inodes == 0; }
  friend bool operator==(const DirStat&, const DirStat&) = default;
};

struct Quota {
  int64_t max_space = 0, max_inodes = 0;    // 0 or less: no limit
  int64_t used_space = 0, used_inodes = 0;  // all below the directory, itself excluded
  friend bool operator==(const Quota&, const Quota&) = default;
};

enum class LockType : uint32_t { kRead = 0, kWrite = 1, kUnlock = 2 };  // F_RDLCK, F_WRLCK, F_UNLCK of Linux
constexpr uint64_t kLockEnd = 0x7FFFFFFFFFFFFFFF;                       // to the end of the file

struct PosixLock {
  LockType type = LockType::kRead;
  uint32_t pid = 0;
  uint64_t start = 0, end = 0;  // end inclusive
  friend bool operator==(const PosixLock&, const PosixLock&) = default;
};
std::string encode_posix_locks(const std::vector<PosixLock>& locks);
Result<std::vector<PosixLock>> decode_posix_locks(std::string_view records);
// One owner's locks after it asked for `request` (kUnlock erases): sorted, disjoint, neighbours merged.
std::vector<PosixLock> apply_posix_lock(std::vector<PosixLock> held, const PosixLock& request);

struct LockOwner {
  uint64_t sid = 0, owner = 0;
  friend auto operator<=>(const LockOwner&, const LockOwner&) = default;
};

// What a session tells of its client.
struct SessionInfo {
  std::string version, host, mount_point;
  std::vector<std::string> addresses;
  Time mount_time;
  int64_t pid = 0;
};
std::string encode_session_info(const SessionInfo& info);        // JSON
Result<SessionInfo> decode_session_info(std::string_view json);  // empty text: an empty info

// The name of the trash's directory for the hour of `t`, "2026-11-22-15" (UTC), and back: seconds, nothing if it is no
// such name.
std::string trash_hour_name(int64_t unix_sec);
bool parse_trash_hour(std::string_view name, int64_t& unix_sec);
// "<parent>-<inode>-<name>", cut to 255 bytes.
std::string trash_entry_name(Ino parent, Ino ino, std::string_view name);
bool parse_trash_entry(std::string_view entry, Ino& parent, Ino& ino, std::string& name);

// 0, or EINVAL (empty, '/', NUL), ENAMETOOLONG.
int check_name(std::string_view name);

}  // namespace zest
