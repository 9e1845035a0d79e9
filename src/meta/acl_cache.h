// ACL rules by id, and the id of a rule (encodings.md 9.1). Rules never change, so what is cached is true for ever.
#pragma once

#include <map>
#include <mutex>
#include <optional>

#include "meta/txn.h"

namespace zest::meta {

struct State;

class AclCache {
 public:
  // The rule of an id: from the cache, else through the transaction. EIO when the id names none.
  Result<AclRule> rule(Txn& txn, uint32_t id);
  // The id of a rule equal to this one: cached, found in the database, or newly stored (in a transaction of its own, so
  // a conflict of the caller's transaction only wastes an id). 0 for an empty rule.
  Result<uint32_t> intern(State& state, const AclRule& rule);
  // The id of a rule equal to this one if this client knows it already; 0 for an empty rule.
  std::optional<uint32_t> known(const AclRule& rule);
  Result<void> load(State& state);  // all rules, at session start

 private:
  void remember(uint32_t id, const AclRule& rule);
  std::mutex mutex_;
  std::map<uint32_t, AclRule> by_id_;
  std::map<std::string, uint32_t> by_rule_;  // encoded rule
};

}  // namespace zest::meta
