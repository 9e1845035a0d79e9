// The records that metadata consists of: their names and their values. What a transaction (meta/txn.h) reads and
// writes.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "volume/acl.h"
#include "volume/attr.h"
#include "volume/records.h"
#include "volume/slice.h"
#include "volume/types.h"

namespace zest::meta {

// Every kind of record. In brackets: what Key.a, Key.b and Key.name are, and the type of the value.
enum class Kind : uint8_t {
  kSetting,    // []                        string: the Format JSON
  kCounter,    // [name]                    int64; absent reads as 0. Names: see Counter below
  kInode,      // [a ino]                   Attr
  kEntry,      // [a parent, name]          Entry
  kParents,    // [a ino]                   LinkCounts: of a file with attr.parent == 0. SQL derives it from the entries
  kChunk,      // [a ino, b chunk index]    string of 24-byte records
  kSymlink,    // [a ino]                   string
  kXattr,      // [a ino, name]             string
  kXattrs,     // [a ino]                   XattrMap: all of them; write only as a delete (removes all)
  kDirStat,    // [a ino]                   DirStat
  kDirQuota,   // [a ino]                   Quota
  kUserQuota,  // [a uid]                   Quota
  kGroupQuota,  // [a gid]                  Quota
  kSliceRef,    // [a slice id, b size]      int64: number of references. Absent: see Engine::absent_ref()
  kDelFile,     // [a ino, b length]         int64: unix seconds of the deletion
  kDelSlices,   // [a new slice id, b unix s] string of 12-byte records
  kSustained,   // [a sid, b ino]            bool true
  kSession,     // [a sid]                   SessionRecord
  kFlocks,      // [a ino]                   FlockMap
  kPlocks,      // [a ino]                   PlockMap
  kDetached,    // [a ino]                   int64: unix seconds
  kAcl,         // [a id]                    AclRule
  kHasEntries,  // [a ino]                  bool: does the directory hold any entry? Read only; conflicts with a create
                //                          in that directory
};

// Counters, named as an operation means them; an engine maps them to its own names and bases. kNextInode and kNextChunk
// are "next free" (a new volume: 2 and 1), also where the engine stores the last one given out.
namespace counter {
inline constexpr char kNextInode[] = "nextInode", kNextChunk[] = "nextChunk", kNextSession[] = "nextSession",
                      kNextTrash[] = "nextTrash", kUsedSpace[] = "usedSpace", kTotalInodes[] = "totalInodes",
                      kAclMaxId[] = "aclMaxId", kLastCleanupSessions[] = "lastCleanupSessions",
                      kLastCleanupFiles[] = "lastCleanupFiles", kLastCleanupTrash[] = "lastCleanupTrash",
                      kNextCleanupSlices[] = "nextCleanupSlices", kLastCleanupChangelog[] = "lastCleanupChangelog";
}

struct Key {
  Kind kind;
  uint64_t a = 0, b = 0;
  std::string name;
  friend auto operator<=>(const Key&, const Key&) = default;

  static Key setting() { return {Kind::kSetting, 0, 0, {}}; }
  static Key counter(std::string_view name) { return {Kind::kCounter, 0, 0, std::string(name)}; }
  static Key inode(Ino ino) { return {Kind::kInode, raw(ino)}; }
  static Key entry(Ino parent, std::string_view name) { return {Kind::kEntry, raw(parent), 0, std::string(name)}; }
  static Key parents(Ino ino) { return {Kind::kParents, raw(ino)}; }
  static Key chunk(Ino ino, ChunkIndex index) { return {Kind::kChunk, raw(ino), index}; }
  static Key symlink(Ino ino) { return {Kind::kSymlink, raw(ino)}; }
  static Key xattr(Ino ino, std::string_view name) { return {Kind::kXattr, raw(ino), 0, std::string(name)}; }
  static Key xattrs(Ino ino) { return {Kind::kXattrs, raw(ino)}; }
  static Key dir_stat(Ino ino) { return {Kind::kDirStat, raw(ino)}; }
  static Key dir_quota(Ino ino) { return {Kind::kDirQuota, raw(ino)}; }
  static Key user_quota(uint32_t uid) { return {Kind::kUserQuota, uid}; }
  static Key group_quota(uint32_t gid) { return {Kind::kGroupQuota, gid}; }
  static Key slice_ref(SliceId id, uint32_t size) { return {Kind::kSliceRef, raw(id), size}; }
  static Key del_file(Ino ino, uint64_t length) { return {Kind::kDelFile, raw(ino), length}; }
  static Key del_slices(SliceId id, int64_t sec) { return {Kind::kDelSlices, raw(id), static_cast<uint64_t>(sec)}; }
  static Key sustained(uint64_t sid, Ino ino) { return {Kind::kSustained, sid, raw(ino)}; }
  static Key session(uint64_t sid) { return {Kind::kSession, sid}; }
  static Key flocks(Ino ino) { return {Kind::kFlocks, raw(ino)}; }
  static Key plocks(Ino ino) { return {Kind::kPlocks, raw(ino)}; }
  static Key detached(Ino ino) { return {Kind::kDetached, raw(ino)}; }
  static Key acl(uint32_t id) { return {Kind::kAcl, id}; }
  static Key has_entries(Ino dir) { return {Kind::kHasEntries, raw(dir)}; }
};

using LinkCounts = std::map<Ino, int64_t>;  // parent -> names in it; only counts > 0
using XattrMap = std::map<std::string, std::string>;
using FlockMap = std::map<LockOwner, char>;  // 'R' or 'W'
using PlockMap = std::map<LockOwner, std::vector<PosixLock>>;
struct SessionRecord {
  int64_t expire = 0;  // unix seconds
  std::string info;    // JSON
  friend bool operator==(const SessionRecord&, const SessionRecord&) = default;
};

// monostate: there is no such record.
using Value = std::variant<std::monostate, bool, int64_t, std::string, Attr, Entry, LinkCounts, XattrMap, DirStat,
                           Quota, SessionRecord, FlockMap, PlockMap, AclRule>;

}  // namespace zest::meta
