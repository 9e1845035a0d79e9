// Sums that change with nearly every operation: used space and inodes, directory statistics, quotas (semantics.md
// sections 2, 16, 17).
//
// Operations tell the ledger after their commit (or, where Engine::info().inline_counters is set, add the volume
// counters to their transaction with add_inline). The ledger writes what has gathered: volume and directory statistics
// every second, quotas every three. Limits are checked against what the database had at the last refresh plus what
// waits here.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "meta/api.h"

namespace zest::meta {

struct State;

class Ledger {
 public:
  // Volume limits for growth by so much: ENOSPC. [0]
  Result<void> check_volume(State&, int64_t space, int64_t inodes);
  // Quotas of `dir` and all its ancestors: EDQUOT. Parents are found in the cache of parents, else read.
  Result<void> check_quota(State&, const Context&, Ino dir, int64_t space, int64_t inodes);
  // Quotas of an owner: EDQUOT.
  Result<void> check_owner(State&, uint32_t uid, uint32_t gid, int64_t space, int64_t inodes);
  // Both, for a file's growth: its parents are attr.parent or, when 0, those in `parents`.
  Result<void> check_growth(State&, const Context&, const Attr& attr, Ino ino, int64_t space);

  // Volume counters inside the transaction, for engines with inline counters; a no-op elsewhere.
  static void add_inline(State&, Txn&, int64_t space, int64_t inodes);
  // After the commit. volume() is a no-op with inline counters (it only updates the local view).
  void volume(State&, int64_t space, int64_t inodes);
  void dir(State&, Ino dir, const DirStat& delta);             // statistics of one directory
  void quota(State&, Ino dir, int64_t space, int64_t inodes);  // every quota on the path dir -> root
  void owner(State&, uint32_t uid, uint32_t gid, int64_t space, int64_t inodes);
  // A file's length changed: statistics and quotas of each of its parents, its owner's, the volume's.
  void length_changed(State&, Ino ino, const Attr& attr, uint64_t old_length, uint64_t new_length);

  // The parent of a directory, remembered by lookups and changes, so that quotas are found without reading.
  void remember_parent(Ino dir, Ino parent);
  Result<Ino> parent_of(State&, Ino dir);
  // The nearest directory at or above `dir` with a quota; 0: none.
  Result<Ino> nearest_quota(State&, Ino dir);
  bool any_dir_quota() const;

  Result<void> refresh(State&);  // counters and quotas from the database
  Result<void> flush_volume(State&);
  Result<void> flush_dirs(State&);  // missing or negative records are recounted from a listing
  Result<void> flush_quotas(State&);
  // Used space and inodes as known here: last read plus waiting.
  std::pair<int64_t, int64_t> used() const;
  Result<DirStat> recount_dir(State&, Ino dir, bool store);

 private:
  struct Pending {
    Quota stored;
    int64_t space = 0, inodes = 0;  // waiting to be written
  };
  mutable std::mutex mutex_;
  std::mutex flushing_;  // one flush or refresh of quotas at a time
  int64_t used_space_ = 0, used_inodes_ = 0, space_ = 0, inodes_ = 0;
  std::map<Ino, DirStat> dirs_;
  std::map<Ino, Pending> dir_quotas_;
  std::map<uint32_t, Pending> users_, groups_;
  std::map<Ino, Ino> parents_;
};

}  // namespace zest::meta
