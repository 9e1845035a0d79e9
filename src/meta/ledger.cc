// Gathers the changes of counters, statistics and quotas, checks limits, and writes what has gathered. Knows nothing of
// the operations that cause the changes.
#include "meta/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/log.h"
#include "meta/bulk/distinct.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

// Records of one transaction: enough to make the round trip cheap, few enough for engines that bound a transaction.
constexpr size_t kBatch = 40;
constexpr int kMaxDepth = 1 << 16;  // directories above another: more means a cycle
constexpr size_t kMaxParents = 500'000;
constexpr size_t kListPage = 1000;

bool is_quota(Kind kind) { return kind == Kind::kDirQuota || kind == Kind::kUserQuota || kind == Kind::kGroupQuota; }

// The commit's reply was lost: writing again could count twice, so what it held is given up; a recount mends it.
bool outcome_unknown(const Error& error, const char* what) {
  if (error.fault != Fault::kUnknownOutcome) return false;
  log_warning(fmt::format("{}: the database did not say whether the last flush was stored: {}", what, error.message()));
  return true;
}

}  // namespace

bool Ledger::Pending::exceeded_by(int64_t more_space, int64_t more_inodes) const {
  if (more_space > 0 && stored.max_space > 0 && stored.used_space + space + more_space > stored.max_space) return true;
  return more_inodes > 0 && stored.max_inodes > 0 && stored.used_inodes + inodes + more_inodes > stored.max_inodes;
}

// --- limits ---

Result<void> Ledger::check_volume(State& state, int64_t space, int64_t inodes) {
  const auto capacity = static_cast<int64_t>(state.capacity.load());
  const auto limit = static_cast<int64_t>(state.inode_limit.load());
  if (capacity <= 0 && limit <= 0) return {};
  std::lock_guard lock(mutex_);
  if (space > 0 && capacity > 0 && used_space_ + space_ + space > capacity) return fail(ENOSPC);
  if (inodes > 0 && limit > 0 && used_inodes_ + inodes_ + inodes > limit) return fail(ENOSPC);
  return {};
}

Result<void> Ledger::check_quota(State& state, const Context&, Ino dir, int64_t space, int64_t inodes, Ino from) {
  if ((space <= 0 && inodes <= 0) || !any_dir_quota()) return {};
  std::set<Ino> shared;
  if (raw(from) != 0 && !is_trash(from)) {
    ZEST_TRY(climb(state, from, [&](Ino ino) { return shared.insert(ino).second; }));
  }
  bool exceeded = false;
  ZEST_TRY(climb(state, dir, [&](Ino ino) {
    if (shared.contains(ino)) return false;
    std::lock_guard lock(mutex_);
    auto it = dir_quotas_.find(raw(ino));
    exceeded = it != dir_quotas_.end() && it->second.exceeded_by(space, inodes);
    return !exceeded;
  }));
  if (exceeded) return fail(EDQUOT);
  return {};
}

Result<void> Ledger::check_owner(State& state, uint32_t uid, uint32_t gid, int64_t space, int64_t inodes) {
  if (!state.user_group_quota) return {};
  std::lock_guard lock(mutex_);
  auto exceeded = [&](const Quotas& quotas, uint32_t id) {
    auto it = quotas.find(id);
    return it != quotas.end() && it->second.exceeded_by(space, inodes);
  };
  if (exceeded(users_, uid) || exceeded(groups_, gid)) return fail(EDQUOT);
  return {};
}

Result<void> Ledger::check_growth(State& state, const Context& context, const Attr& attr, Ino ino, int64_t space) {
  if (space <= 0) return {};
  ZEST_TRY(check_volume(state, space, 0));
  ZEST_TRY(check_owner(state, attr.uid, attr.gid, space, 0));
  if (!any_dir_quota() || attr.nlink == 0) return {};
  if (raw(attr.parent) != 0) return check_quota(state, context, attr.parent, space, 0);
  LinkCounts parents;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(parents, txn.parents(ino));
    return {};
  }));
  for (const auto& [parent, count] : parents)
    if (count > 0) ZEST_TRY(check_quota(state, context, parent, space * count, 0));
  return {};
}

// --- changes ---

void Ledger::add_inline(State& state, Txn& txn, int64_t space, int64_t inodes) {
  if (!state.engine->info().inline_counters) return;
  if (space != 0) txn.add(Key::counter(counter::kUsedSpace), space);
  if (inodes != 0) txn.add(Key::counter(counter::kTotalInodes), inodes);
}

void Ledger::volume(State& state, int64_t space, int64_t inodes) {
  const bool stored = state.engine->info().inline_counters;
  std::lock_guard lock(mutex_);
  (stored ? used_space_ : space_) += space;
  (stored ? used_inodes_ : inodes_) += inodes;
}

void Ledger::dir(State& state, Ino dir, const DirStat& delta) {
  if (!state.dir_stats || raw(dir) == 0 || dir == kTrashIno || delta.zero()) return;
  std::lock_guard lock(mutex_);
  dirs_[dir] += delta;
}

void Ledger::forget_dir(Ino dir) {
  std::lock_guard lock(mutex_);
  dirs_.erase(dir);
}

void Ledger::quota(State& state, Ino dir, int64_t space, int64_t inodes) {
  if (!any_dir_quota() || (space == 0 && inodes == 0)) return;
  auto climbed = climb(state, dir, [&](Ino ino) {
    std::lock_guard lock(mutex_);
    if (auto it = dir_quotas_.find(raw(ino)); it != dir_quotas_.end()) {
      it->second.space += space;
      it->second.inodes += inodes;
    }
    return true;
  });
  if (!climbed && climbed.error().code != ENOENT)
    log_warning(fmt::format("quotas above directory {}: {}", raw(dir), climbed.error().message()));
}

void Ledger::owner(State& state, uint32_t uid, uint32_t gid, int64_t space, int64_t inodes) {
  if (!state.user_group_quota || (space == 0 && inodes == 0)) return;
  std::lock_guard lock(mutex_);
  for (Pending* pending : {&users_[uid], &groups_[gid]}) {
    pending->space += space;
    pending->inodes += inodes;
  }
}

// --- parents ---

void Ledger::remember_parent(Ino dir, Ino parent) {
  std::lock_guard lock(mutex_);
  if (parents_.size() >= kMaxParents) parents_.clear();
  parents_[dir] = parent;
}

Result<Ino> Ledger::parent_of(State& state, Ino dir) {
  if (dir == kRootIno || dir == kTrashIno) return kRootIno;
  {
    std::lock_guard lock(mutex_);
    if (auto it = parents_.find(dir); it != parents_.end()) return it->second;
  }
  Ino parent{0};
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto attr, txn.attr(dir));
    if (!attr) return fail(ENOENT);
    parent = attr->parent;
    return {};
  }));
  remember_parent(dir, parent);
  return parent;
}

Result<void> Ledger::climb(State& state, Ino dir, const std::function<bool(Ino)>& each) {
  for (int depth = 0; depth < kMaxDepth; depth++) {
    // What lies in the trash is in no quota.
    if (raw(dir) == 0 || is_trash(dir) || !each(dir) || dir == kRootIno) return {};
    ZEST_ASSIGN(dir, parent_of(state, dir));
  }
  return fail(ELOOP, fmt::format("directory {} is its own ancestor", raw(dir)));
}

Result<Ino> Ledger::nearest_quota(State& state, Ino dir) {
  Ino nearest{0};
  if (!any_dir_quota()) return nearest;
  ZEST_TRY(climb(state, dir, [&](Ino ino) {
    std::lock_guard lock(mutex_);
    if (dir_quotas_.contains(raw(ino))) nearest = ino;
    return raw(nearest) == 0;
  }));
  return nearest;
}

// --- quotas known here ---

Ledger::Quotas& Ledger::quotas_of(Kind kind) {
  return kind == Kind::kDirQuota ? dir_quotas_ : kind == Kind::kUserQuota ? users_ : groups_;
}

void Ledger::learn_quota(const Key& key, const std::optional<Quota>& quota) {
  if (!is_quota(key.kind)) return;
  std::lock_guard lock(mutex_);
  Quotas& quotas = quotas_of(key.kind);
  if (quota)
    quotas[key.a].stored = *quota;
  else
    quotas.erase(key.a);
  has_dir_quotas_ = !dir_quotas_.empty();
}

std::pair<int64_t, int64_t> Ledger::waiting(const Key& key) const {
  std::lock_guard lock(mutex_);
  const Quotas& quotas = const_cast<Ledger*>(this)->quotas_of(key.kind);
  auto it = quotas.find(key.a);
  return it == quotas.end() ? std::pair<int64_t, int64_t>{0, 0} : std::pair{it->second.space, it->second.inodes};
}

std::pair<int64_t, int64_t> Ledger::used() const {
  std::lock_guard lock(mutex_);
  return {std::max<int64_t>(0, used_space_ + space_), std::max<int64_t>(0, used_inodes_ + inodes_)};
}

// --- the database ---

Result<void> Ledger::refresh(State& state) {
  std::lock_guard flushing(flushing_);
  int64_t space = 0, inodes = 0;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::counter(counter::kUsedSpace)}, {Key::counter(counter::kTotalInodes)}}));
    ZEST_ASSIGN(space, txn.counter(counter::kUsedSpace));
    ZEST_ASSIGN(inodes, txn.counter(counter::kTotalInodes));
    return {};
  }));
  {
    std::lock_guard lock(mutex_);
    used_space_ = space;
    used_inodes_ = inodes;
  }
  ZEST_TRY(load_quotas(state, Table::kDirQuotas, Kind::kDirQuota));
  if (!state.user_group_quota) return {};
  ZEST_TRY(load_quotas(state, Table::kUserQuotas, Kind::kUserQuota));
  return load_quotas(state, Table::kGroupQuotas, Kind::kGroupQuota);
}

Result<void> Ledger::load_quotas(State& state, Table table, Kind kind) {
  Quotas loaded;
  ZEST_TRY(state.engine->scan(table, 0, [&](const Key& key, const Value& value) {
    if (const auto* quota = std::get_if<Quota>(&value)) loaded[key.a].stored = *quota;
    return true;
  }));
  std::lock_guard lock(mutex_);
  Quotas& known = quotas_of(kind);
  for (const auto& [id, pending] : known) {
    auto it = loaded.find(id);
    // A directory's quota that is gone was deleted; an owner's usage that was never written is still to come.
    if (it == loaded.end() && kind == Kind::kDirQuota) continue;
    Pending& target = loaded[id];
    target.space = pending.space;
    target.inodes = pending.inodes;
  }
  known = std::move(loaded);
  has_dir_quotas_ = !dir_quotas_.empty();
  return {};
}

Result<void> Ledger::flush_volume(State& state) {
  if (state.engine->info().inline_counters) return {};
  std::lock_guard flushing(flushing_);
  int64_t space = 0, inodes = 0;
  {
    std::lock_guard lock(mutex_);
    space = space_;
    inodes = inodes_;
  }
  if (space == 0 && inodes == 0) return {};
  auto stored = state.run({}, [&](Txn& txn) -> Result<void> {
    if (inodes != 0) txn.add(Key::counter(counter::kTotalInodes), inodes);
    if (space != 0) txn.add(Key::counter(counter::kUsedSpace), space);
    return {};
  });
  if (!stored && !outcome_unknown(stored.error(), "volume counters")) return fail(std::move(stored.error()));
  // Moved over only now, so that nothing is missing from used() while the transaction runs.
  std::lock_guard lock(mutex_);
  space_ -= space;
  inodes_ -= inodes;
  used_space_ += space;
  used_inodes_ += inodes;
  return {};
}

Result<void> Ledger::flush_dirs(State& state) {
  std::lock_guard flushing(flushing_);
  std::map<Ino, DirStat> taken;
  {
    std::lock_guard lock(mutex_);
    taken.swap(dirs_);
  }
  while (!taken.empty()) {
    std::vector<std::pair<Ino, DirStat>> batch;
    for (auto it = taken.begin(); it != taken.end() && batch.size() < kBatch; ++it) batch.push_back(*it);
    auto written = write_dirs(state, batch);
    if (!written && !outcome_unknown(written.error(), "directory statistics")) {
      std::lock_guard lock(mutex_);
      for (const auto& [dir, delta] : taken) dirs_[dir] += delta;
      return written;
    }
    for (const auto& entry : batch) taken.erase(entry.first);
  }
  return {};
}

Result<void> Ledger::write_dirs(State& state, const std::vector<std::pair<Ino, DirStat>>& batch) {
  auto committed = state.run({}, [&](Txn& txn) -> Result<void> {
    for (const auto& [dir, delta] : batch)
      if (!delta.zero()) txn.add_stat(Key::dir_stat(dir), delta);
    return {};
  });
  if (!committed) return fail(std::move(committed.error()));
  for (const auto& key : committed->missing) {
    auto counted = count_and_store(state, Ino{key.a});
    // The next reader of the missing record counts again.
    if (!counted && counted.error().code != ENOENT)
      log_warning(fmt::format("statistics of directory {}: {}", key.a, counted.error().message()));
  }
  return {};
}

Result<void> Ledger::flush_quotas(State& state) {
  std::lock_guard flushing(flushing_);
  ZEST_TRY(flush_quotas_of(state, Kind::kDirQuota));
  ZEST_TRY(flush_quotas_of(state, Kind::kUserQuota));
  return flush_quotas_of(state, Kind::kGroupQuota);
}

Result<void> Ledger::flush_quotas_of(State& state, Kind kind) {
  std::vector<std::pair<uint64_t, DirStat>> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, pending] : quotas_of(kind))
      if (pending.space != 0 || pending.inodes != 0) all.emplace_back(id, DirStat{0, pending.space, pending.inodes});
  }
  for (size_t from = 0; from < all.size(); from += kBatch) {
    const std::vector batch(all.begin() + static_cast<ptrdiff_t>(from),
                            all.begin() + static_cast<ptrdiff_t>(std::min(all.size(), from + kBatch)));
    auto written = write_quotas(state, kind, batch);
    if (!written && !outcome_unknown(written.error(), "quotas")) return written;
    std::lock_guard lock(mutex_);
    for (const auto& [id, delta] : batch) {
      auto it = quotas_of(kind).find(id);
      if (it == quotas_of(kind).end()) continue;
      Pending& pending = it->second;
      pending.space -= delta.space;
      pending.inodes -= delta.inodes;
      pending.stored.used_space += delta.space;
      pending.stored.used_inodes += delta.inodes;
    }
  }
  return {};
}

Result<void> Ledger::write_quotas(State& state, Kind kind, const std::vector<std::pair<uint64_t, DirStat>>& batch) {
  auto committed = state.run({}, [&](Txn& txn) -> Result<void> {
    for (const auto& [id, delta] : batch) txn.add_stat(Key{kind, id, 0, {}}, delta);
    return {};
  });
  if (!committed) return fail(std::move(committed.error()));
  if (kind == Kind::kDirQuota) return {};  // a missing one was deleted
  // Owners without a limit have a record of their usage as well.
  for (const auto& key : committed->missing) {
    auto it = std::find_if(batch.begin(), batch.end(), [&](const auto& entry) { return entry.first == key.a; });
    if (it == batch.end()) continue;
    ZEST_TRY(state.run({}, [&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(auto quota, txn.quota(key));
      if (!quota) quota = Quota{-1, -1, 0, 0};
      quota->used_space += it->second.space;
      quota->used_inodes += it->second.inodes;
      txn.put(key, *quota);
      return {};
    }));
  }
  return {};
}

namespace {

Result<DirStat> count_entries(State& state, Ino dir) {
  DirStat sum;
  std::string cursor;
  Distinct distinct(*state.engine);
  do {
    ZEST_ASSIGN(auto page, state.engine->list(dir, cursor, kListPage, true));
    for (const auto& entry : page) {
      if (!distinct.first(entry.name)) continue;
      sum += entry.attr ? DirStat{static_cast<int64_t>(entry.attr->data_length()), entry.attr->space(), 1}
                        : DirStat{0, 4096, 1};
    }
  } while (!cursor.empty());
  return sum;
}

}  // namespace

Result<DirStat> Ledger::recount_dir(State& state, Ino dir, bool store) {
  if (!store || state.options.read_only) return count_entries(state, dir);
  // Not while a flush has taken changes that the listing shows already.
  std::lock_guard flushing(flushing_);
  return count_and_store(state, dir);
}

Result<DirStat> Ledger::count_and_store(State& state, Ino dir) {
  {
    std::lock_guard lock(mutex_);
    dirs_.erase(dir);
  }
  ZEST_ASSIGN(const DirStat sum, count_entries(state, dir));
  ZEST_TRY(state.run({dir}, [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(dir)}, {Key::dir_stat(dir)}}));
    ZEST_ASSIGN(auto attr, txn.attr(dir));
    if (!attr) return {};
    txn.put(Key::dir_stat(dir), sum);
    log_dir_stat(state, txn, dir, sum);
    return {};
  }));
  return sum;
}

}  // namespace zest::meta
