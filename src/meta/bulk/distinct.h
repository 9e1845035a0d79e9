// Drops names that a listing gives twice, which Redis may do while it rehashes.
#pragma once

#include <functional>
#include <string_view>
#include <unordered_set>

#include "meta/txn.h"

namespace zest::meta {

class Distinct {
 public:
  explicit Distinct(const Engine& engine) : may_repeat_(engine.info().name.starts_with("redis")) {}
  // False when this directory's listing had the name before. Remembers hashes, 8 bytes a name.
  bool first(std::string_view name) { return !may_repeat_ || seen_.insert(std::hash<std::string_view>{}(name)).second; }

 private:
  const bool may_repeat_;
  std::unordered_set<size_t> seen_;
};

}  // namespace zest::meta
