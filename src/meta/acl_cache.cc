#include "meta/acl_cache.h"

#include "meta/state.h"

namespace zest::meta {

void AclCache::remember(uint32_t id, const AclRule& rule) {
  std::lock_guard lock(mutex_);
  by_id_.insert_or_assign(id, rule);
  by_rule_.emplace(encode_acl(rule), id);  // of equal rules the first one found is used on
}

Result<AclRule> AclCache::rule(Txn& txn, uint32_t id) {
  {
    std::lock_guard lock(mutex_);
    if (auto found = by_id_.find(id); found != by_id_.end()) return found->second;
  }
  ZEST_ASSIGN(auto stored, txn.acl(id));
  if (!stored) return fail(EIO, "ACL rule " + std::to_string(id) + " is missing");
  remember(id, *stored);
  return *stored;
}

std::optional<uint32_t> AclCache::known(const AclRule& rule) {
  if (rule.empty()) return 0;
  std::lock_guard lock(mutex_);
  if (auto found = by_rule_.find(encode_acl(rule)); found != by_rule_.end()) return found->second;
  return std::nullopt;
}

Result<uint32_t> AclCache::intern(State& state, const AclRule& rule) {
  if (auto id = known(rule)) return *id;
  uint32_t id = 0;
  bool fresh = false;
  TxnOptions options;
  options.settled = [](Txn&) -> Result<bool> { return false; };  // a second run finds what the first stored
  ZEST_TRY(run(*state.engine, state.clock, options, [&](Txn& txn) -> Result<void> {
    fresh = false;
    ZEST_ASSIGN(const int64_t last, txn.counter(counter::kAclMaxId));
    // Rules that other clients added since this one looked.
    std::vector<Want> unknown;
    {
      std::lock_guard lock(mutex_);
      for (int64_t other = 1; other <= last; other++)
        if (!by_id_.contains(static_cast<uint32_t>(other))) unknown.push_back({Key::acl(static_cast<uint32_t>(other))});
    }
    if (!unknown.empty()) ZEST_TRY(txn.want(unknown));
    for (const auto& want : unknown) {
      const auto other = static_cast<uint32_t>(want.key.a);
      ZEST_ASSIGN(auto stored, txn.acl(other));
      if (stored) remember(other, *stored);
    }
    if (auto found = known(rule)) {
      id = *found;
      return {};
    }
    fresh = true;
    id = static_cast<uint32_t>(last + 1);
    txn.add(Key::counter(counter::kAclMaxId), 1);
    txn.put(Key::acl(id), rule);
    const bool stored = state.engine->absent_ref() != 0;  // SQL has no such counter
    if (stored) state.change_log.add(txn, state.clock.now(), "INCR_COUNTER", {counter::kAclMaxId, 1});
    return {};
  }));
  if (fresh) remember(id, rule);
  return id;
}

Result<void> AclCache::load(State& state) {
  return state.engine->scan(Table::kAcls, 0, [&](const Key& key, const Value& value) {
    if (auto rule = std::get_if<AclRule>(&value)) remember(static_cast<uint32_t>(key.a), *rule);
    return true;
  });
}

}  // namespace zest::meta
