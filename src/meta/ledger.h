// Sums that change with nearly every operation: used space and inodes, directory statistics, quotas (semantics.md
// sections 2, 16, 17).
//
// Operations tell the ledger after their commit (or, where Engine::info().inline_counters is set, add the volume
// counters to their transaction with add_inline). The ledger writes what has gathered: volume and directory statistics
// every second, quotas every three. Limits are checked against what the database had at the last refresh plus what
// waits here.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "meta/api.h"

namespace zest::meta {

struct State;

class Ledger {
 public:
  // Volume limits for growth by so much: ENOSPC. [0]
  Result<void> check_volume(State&, int64_t space, int64_t inodes);
  // Quotas of `dir` and all its ancestors: EDQUOT. Parents are found in the cache of parents, else read. What moves
  // here from the directory `from` is counted by the ancestors of both already: those are left out.
  Result<void> check_quota(State&, const Context&, Ino dir, int64_t space, int64_t inodes, Ino from = Ino{0});
  // Quotas of an owner: EDQUOT.
  Result<void> check_owner(State&, uint32_t uid, uint32_t gid, int64_t space, int64_t inodes);
  // Both, for a file's growth: its parents are attr.parent or, when 0, those in `parents`.
  Result<void> check_growth(State&, const Context&, const Attr& attr, Ino ino, int64_t space);

  // Volume counters inside the transaction, for engines with inline counters; a no-op elsewhere.
  static void add_inline(State&, Txn&, int64_t space, int64_t inodes);
  // After the commit. volume() is a no-op with inline counters (it only updates the local view).
  void volume(State&, int64_t space, int64_t inodes);
  void dir(State&, Ino dir, const DirStat& delta);             // statistics of one directory
  void forget_dir(Ino dir);                                    // removed: nothing waits for its statistics any more
  void quota(State&, Ino dir, int64_t space, int64_t inodes);  // every quota on the path dir -> root
  void owner(State&, uint32_t uid, uint32_t gid, int64_t space, int64_t inodes);

  // The parent of a directory, remembered by lookups and changes, so that quotas are found without reading.
  void remember_parent(Ino dir, Ino parent);
  Result<Ino> parent_of(State&, Ino dir);
  // The nearest directory at or above `dir` with a quota; 0: none.
  Result<Ino> nearest_quota(State&, Ino dir);
  bool any_dir_quota() const { return has_dir_quotas_.load(std::memory_order_relaxed); }
  // A quota that this client has just written, or (nothing) removed.
  void learn_quota(const Key& key, const std::optional<Quota>& quota);
  // What waits here for the volume's counters: space, inodes.
  std::pair<int64_t, int64_t> waiting_volume() const {
    std::lock_guard lock(mutex_);
    return {space_, inodes_};
  }
  // What waits here for the quota.
  std::pair<int64_t, int64_t> waiting(const Key& key) const;

  Result<void> refresh(State&);  // counters and quotas from the database
  Result<void> flush_volume(State&);
  Result<void> flush_dirs(State&);  // missing or negative records are recounted from a listing
  Result<void> flush_quotas(State&);
  // Used space and inodes as known here: last read plus waiting, never negative.
  std::pair<int64_t, int64_t> used() const;
  // The sum over the entries of a directory, from a listing. store: written unless the directory is gone; what waits
  // here for it is dropped first, as the listing holds it.
  Result<DirStat> recount_dir(State&, Ino dir, bool store);

 private:
  struct Pending {
    Quota stored;
    int64_t space = 0, inodes = 0;  // waiting to be written
    bool exceeded_by(int64_t more_space, int64_t more_inodes) const;
  };
  using Quotas = std::map<uint64_t, Pending>;

  // Calls `each` with dir and every directory above it, until it gives false.
  Result<void> climb(State&, Ino dir, const std::function<bool(Ino)>& each);
  Quotas& quotas_of(Kind kind);
  Result<void> load_quotas(State&, Table table, Kind kind);
  Result<void> flush_quotas_of(State&, Kind kind);
  Result<void> write_quotas(State&, Kind kind, const std::vector<std::pair<uint64_t, DirStat>>& batch);
  Result<DirStat> count_and_store(State&, Ino dir);  // with flushing_ held
  Result<void> write_dirs(State&, const std::vector<std::pair<Ino, DirStat>>& batch);

  mutable std::mutex mutex_;
  std::mutex flushing_;  // one flush or refresh at a time
  int64_t used_space_ = 0, used_inodes_ = 0, space_ = 0, inodes_ = 0;
  std::map<Ino, DirStat> dirs_;
  Quotas dir_quotas_, users_, groups_;
  std::unordered_map<Ino, Ino> parents_;
  std::atomic<bool> has_dir_quotas_{false};
};

}  // namespace zest::meta
