// Quotas of directories, users and groups (semantics.md 16): setting, reading and checking them. Enforcement and
// accounting are the ledger's.
#include <fmt/format.h>

#include <algorithm>

#include "meta/bulk/owners.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

Result<Key> quota_key(State& state, Meta::QuotaKind kind, uint64_t id) {
  if (kind == Meta::QuotaKind::kDirectory) {
    const Ino ino = state.map_root(Ino{id});
    if (is_trash(ino)) return fail(EPERM, "the trash has no quota");
    return Key::dir_quota(ino);
  }
  if (id > UINT32_MAX) return fail(EINVAL, fmt::format("{} is no user or group id", id));
  const auto owner = static_cast<uint32_t>(id);
  return kind == Meta::QuotaKind::kUser ? Key::user_quota(owner) : Key::group_quota(owner);
}

Result<std::optional<Quota>> stored_quota(State& state, const Key& key) {
  std::optional<Quota> quota;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(quota, txn.quota(key));
    return {};
  }));
  return quota;
}

Result<void> must_be_directory(State& state, Ino ino) {
  return state.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto attr, txn.attr(ino));
    if (!attr) return fail(ENOENT);
    if (!attr->is_dir()) return fail(ENOTDIR);
    return {};
  });
}

// What everything below the directory, or everything of the owner, uses.
Result<Quota> count_usage(Meta& meta, const Key& key, bool strict) {
  Quota used;
  State& state = meta.state();
  if (key.kind == Kind::kDirQuota) {
    ZEST_ASSIGN(const Summary sum, meta.summary(Context{}, Ino{key.a}, true, strict));
    used.used_space = static_cast<int64_t>(sum.space) - 4096;
    used.used_inodes = static_cast<int64_t>(sum.dirs + sum.files) - 1;
    return used;
  }
  ZEST_ASSIGN(const auto usage, count_owners(state));
  const auto& owners = key.kind == Kind::kUserQuota ? usage.users : usage.groups;
  if (auto it = owners.find(key.a); it != owners.end()) {
    used.used_space = it->second.space;
    used.used_inodes = it->second.inodes;
  }
  return used;
}

// Quotas need what they are counted by.
Result<void> switch_on(Meta& meta, Meta::QuotaKind kind) {
  State& state = meta.state();
  Format format = state.format();
  bool& needed = kind == Meta::QuotaKind::kDirectory ? format.dir_stats : format.user_group_quota;
  if (needed) return {};
  needed = true;
  return meta.change_format(format);
}

}  // namespace

Result<Quota> Meta::set_quota(QuotaKind kind, uint64_t id, std::optional<int64_t> max_space,
                              std::optional<int64_t> max_inodes, bool strict) {
  State& state = *state_;
  ZEST_TRY(state.writable());
  ZEST_ASSIGN(const Key key, quota_key(state, kind, id));
  if (kind == QuotaKind::kUser && id == 0) return fail(EINVAL, "the superuser cannot have a quota");
  if (kind == QuotaKind::kDirectory) ZEST_TRY(must_be_directory(state, Ino{key.a}));
  ZEST_ASSIGN(auto before, stored_quota(state, key));
  const bool limited = max_space.value_or(0) > 0 || max_inodes.value_or(0) > 0;
  if (!before && !limited && kind == QuotaKind::kDirectory)
    return fail(EINVAL, "a new quota needs a limit of space or inodes");
  ZEST_TRY(switch_on(*this, kind));
  Quota counted;
  if (!before) {
    // What waits here is in the count, so it must not be added to the new record later.
    ZEST_TRY(flush_ledgers());
    ZEST_ASSIGN(counted, count_usage(*this, key, strict));
  }
  Quota quota;
  ZEST_TRY(state.run({}, [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto stored, txn.quota(key));
    quota = stored.value_or(Quota{kind == QuotaKind::kDirectory ? 0 : -1, kind == QuotaKind::kDirectory ? 0 : -1,
                                  counted.used_space, counted.used_inodes});
    if (max_space) quota.max_space = *max_space;
    if (max_inodes) quota.max_inodes = *max_inodes;
    txn.put(key, quota);
    state.change_log.add(txn, state.clock.now(), "SETQUOTA",
                         {static_cast<int>(kind), key.a, max_space.value_or(-1), max_inodes.value_or(-1)});
    return {};
  }));
  state.ledger.learn_quota(key, quota);
  return quota;
}

Result<Quota> Meta::get_quota(QuotaKind kind, uint64_t id) {
  State& state = *state_;
  ZEST_ASSIGN(const Key key, quota_key(state, kind, id));
  ZEST_ASSIGN(auto quota, stored_quota(state, key));
  if (!quota) return fail(ENOENT);
  const auto [space, inodes] = state.ledger.waiting(key);
  quota->used_space += space;
  quota->used_inodes += inodes;
  return *quota;
}

Result<void> Meta::delete_quota(QuotaKind kind, uint64_t id) {
  State& state = *state_;
  ZEST_TRY(state.writable());
  ZEST_ASSIGN(const Key key, quota_key(state, kind, id));
  std::optional<Quota> left;
  ZEST_TRY(state.run({}, [&](Txn& txn) -> Result<void> {
    left.reset();
    const auto log = [&] { state.change_log.add(txn, state.clock.now(), "DELQUOTA", {static_cast<int>(kind), key.a}); };
    if (kind == QuotaKind::kDirectory) {
      txn.erase(key);
      log();
      return {};
    }
    ZEST_ASSIGN(left, txn.quota(key));
    if (!left) return {};
    // The usage of an owner goes on being counted.
    left->max_space = left->max_inodes = -1;
    txn.put(key, *left);
    log();
    return {};
  }));
  if (left || kind == QuotaKind::kDirectory) state.ledger.learn_quota(key, left);
  return {};
}

Result<std::vector<Meta::QuotaOf>> Meta::list_quotas() {
  std::vector<QuotaOf> quotas;
  auto collect = [&](Table table, QuotaKind kind) {
    return state_->engine->scan(table, 0, [&](const Key& key, const Value& value) {
      const auto* quota = std::get_if<Quota>(&value);
      // Owners without a limit have records too: of their usage.
      if (quota && (kind == QuotaKind::kDirectory || quota->max_space > 0 || quota->max_inodes > 0))
        quotas.push_back({kind, key.a, *quota});
      return true;
    });
  };
  ZEST_TRY(collect(Table::kDirQuotas, QuotaKind::kDirectory));
  if (state_->user_group_quota) {
    ZEST_TRY(collect(Table::kUserQuotas, QuotaKind::kUser));
    ZEST_TRY(collect(Table::kGroupQuotas, QuotaKind::kGroup));
  }
  std::sort(quotas.begin(), quotas.end(),
            [](const QuotaOf& a, const QuotaOf& b) { return std::pair(a.kind, a.id) < std::pair(b.kind, b.id); });
  return quotas;
}

Result<bool> Meta::check_quota(QuotaKind kind, uint64_t id, bool strict, bool repair, Quota* counted) {
  State& state = *state_;
  ZEST_ASSIGN(const Key key, quota_key(state, kind, id));
  ZEST_TRY(flush_ledgers());
  ZEST_ASSIGN(auto stored, stored_quota(state, key));
  if (!stored) return fail(ENOENT);
  ZEST_ASSIGN(const Quota used, count_usage(*this, key, strict));
  if (counted) *counted = Quota{stored->max_space, stored->max_inodes, used.used_space, used.used_inodes};
  const int64_t space = used.used_space - stored->used_space, inodes = used.used_inodes - stored->used_inodes;
  if (space == 0 && inodes == 0) return true;
  if (!repair) return false;
  ZEST_TRY(state.writable());
  // The difference, so that what others add meanwhile is kept.
  std::optional<Quota> now;
  ZEST_TRY(state.run({}, [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(now, txn.quota(key));
    if (!now) return {};
    now->used_space += space;
    now->used_inodes += inodes;
    txn.put(key, *now);
    return {};
  }));
  state.ledger.learn_quota(key, now);
  return false;
}

}  // namespace zest::meta
