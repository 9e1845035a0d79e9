// Counting and storing what owners use.
#include "meta/bulk/owners.h"

#include "meta/bulk/seen.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

Result<void> store(State& state, Kind kind, uint64_t id, const DirStat& used) {
  const Key key{kind, id, 0, {}};
  Quota stored;
  ZEST_TRY(state.run({}, [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto quota, txn.quota(key));
    stored = quota.value_or(Quota{-1, -1, 0, 0});
    stored.used_space = used.space;
    stored.used_inodes = used.inodes;
    if (!quota || !(*quota == stored)) txn.put(key, stored);
    return {};
  }));
  state.ledger.learn_quota(key, stored);
  return {};
}

}  // namespace

Result<OwnerUsage> count_owners(State& state) {
  OwnerUsage usage;
  SeenInodes seen(*state.engine);
  ZEST_TRY(state.engine->scan(Table::kInodes, 0, [&](const Key& key, const Value& value) {
    const auto* attr = std::get_if<Attr>(&value);
    const Ino ino{key.a};
    if (!attr || ino == kRootIno || is_trash(ino) || !seen.first(ino)) return true;
    const DirStat one{0, attr->space(), 1};
    usage.users[attr->uid] += one;
    usage.groups[attr->gid] += one;
    return true;
  }));
  return usage;
}

Result<void> recount_owners(State& state) {
  ZEST_ASSIGN(const auto usage, count_owners(state));
  for (const auto& [uid, used] : usage.users) ZEST_TRY(store(state, Kind::kUserQuota, uid, used));
  for (const auto& [gid, used] : usage.groups) ZEST_TRY(store(state, Kind::kGroupQuota, gid, used));
  return {};
}

}  // namespace zest::meta
