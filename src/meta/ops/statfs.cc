// statfs (semantics.md 10.1): never fails; what cannot be read is answered from what this client knows.
#include <algorithm>

#include "meta/state.h"

namespace zest::meta {

namespace {

struct Usage {
  int64_t space = 0, inodes = 0;
};

// One attempt, without the patience of an operation: df must not hang while the database is away.
Result<Usage> stored_usage(State& state) {
  Calling::Engine asking;
  ZEST_ASSIGN(auto engine_txn, state.engine->begin(false, {}));
  Txn txn(*engine_txn, 0);
  ZEST_TRY(txn.want({{Key::counter(counter::kUsedSpace)}, {Key::counter(counter::kTotalInodes)}}));
  Usage usage;
  ZEST_ASSIGN(usage.space, txn.counter(counter::kUsedSpace));
  ZEST_ASSIGN(usage.inodes, txn.counter(counter::kTotalInodes));
  return usage;
}

Usage volume_usage(State& state) {
  if (!state.options.fast_statfs) {
    auto [waiting_space, waiting_inodes] = state.ledger.waiting_volume();
    if (auto stored = stored_usage(state))
      return {std::max<int64_t>(stored->space + waiting_space, 0),
              std::max<int64_t>(stored->inodes + waiting_inodes, 0)};
  }
  auto [space, inodes] = state.ledger.used();
  return {std::max<int64_t>(space, 0), std::max<int64_t>(inodes, 0)};
}

StatFs volume_statfs(State& state, const Usage& usage) {
  StatFs out;
  auto used = static_cast<uint64_t>(usage.space);
  out.total_space = std::max<uint64_t>(state.capacity, used);
  if (state.capacity == 0) {
    out.total_space = uint64_t{1} << 50;
    while (out.total_space / 10 * 8 < used) out.total_space *= 2;
  }
  out.avail_space = out.total_space - used;
  out.used_inodes = static_cast<uint64_t>(usage.inodes);
  if (state.inode_limit > 0) {
    out.avail_inodes = state.inode_limit > out.used_inodes ? state.inode_limit - out.used_inodes : 0;
  } else {
    out.avail_inodes = uint64_t{10} << 20;
    while (out.used_inodes > 4 * out.avail_inodes) out.avail_inodes *= 2;
  }
  return out;
}

struct DirUsage {
  Ino dir;
  Quota quota;  // with what waits here added
};

// Quotas at and above `dir`, the nearest first.
Result<std::vector<DirUsage>> quotas_above(State& state, Ino dir) {
  std::vector<DirUsage> out;
  while (raw(dir) != 0) {
    ZEST_ASSIGN(Ino at, state.ledger.nearest_quota(state, dir));
    if (raw(at) == 0) break;
    std::optional<Quota> quota;
    Key key = Key::dir_quota(at);
    ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(quota, txn.quota(key));
      return {};
    }));
    if (quota) {
      auto [space, inodes] = state.ledger.waiting(key);
      quota->used_space += space;
      quota->used_inodes += inodes;
      out.push_back({at, *quota});
    }
    if (at == kRootIno) break;
    ZEST_ASSIGN(dir, state.ledger.parent_of(state, at));
  }
  return out;
}

void apply_quotas(StatFs& out, const std::vector<DirUsage>& quotas) {
  if (quotas.empty()) return;
  auto at_least_0 = [](int64_t n) { return static_cast<uint64_t>(std::max<int64_t>(n, 0)); };
  for (auto& [dir, quota] : quotas) {
    if (quota.max_space > 0)
      out.avail_space = std::min(out.avail_space, at_least_0(quota.max_space - quota.used_space));
    if (quota.max_inodes > 0)
      out.avail_inodes = std::min(out.avail_inodes, at_least_0(quota.max_inodes - quota.used_inodes));
  }
  out.total_space = at_least_0(quotas.front().quota.used_space) + out.avail_space;
  out.used_inodes = at_least_0(quotas.front().quota.used_inodes);
}

// The directory whose quotas hold for the inode; 0: none is found.
Result<Ino> directory_of(State& state, Ino ino) {
  if (is_special(ino)) return state.root;
  Ino dir{0};
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto attr, txn.attr(ino));
    if (attr) dir = attr->is_dir() ? ino : attr->parent;
    return {};
  }));
  return dir;
}

}  // namespace

Result<StatFs> Meta::statfs(const Context&, Ino ino) {
  Calling calling(engine().stats, Call::kStatFs);
  State& s = *state_;
  ino = s.map_root(ino);
  StatFs out = volume_statfs(s, volume_usage(s));
  if (!s.ledger.any_dir_quota()) return out;
  auto dir = directory_of(s, ino);
  if (!dir || is_trash(*dir)) return out;
  if (auto quotas = quotas_above(s, *dir)) apply_quotas(out, *quotas);
  return out;
}

}  // namespace zest::meta
