// Usage by owner (semantics.md 16.6), counted over all inodes of the volume.
#pragma once

#include "meta/api.h"

namespace zest::meta {

// Sums over every inode but the root and the trash's directories; files with several names count once.
struct OwnerUsage {
  std::map<uint64_t, DirStat> users, groups;  // length is not counted
};
Result<OwnerUsage> count_owners(State& state);

// Writes the usage of every owner; limits stay as they are (none for a new record).
Result<void> recount_owners(State& state);

}  // namespace zest::meta
