// A key-value store in the memory of this process: the model that tests run on.
#pragma once

#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "meta/engine/kv/store.h"

namespace zest::meta::kv {

class MemoryStore : public Store {
 public:
  std::string name() const override { return "memkv"; }
  Result<std::unique_ptr<View>> view() override;
  Result<void> commit(std::span<const Check> checks, std::span<const RangeCheck> ranges,
                      std::span<const Write> writes) override;
  Result<void> ping() override { return {}; }

  // All keys with their values, in order; and back, into a store that is emptied first. A database dumped elsewhere is
  // loaded with the volume's prefix ("/name\xFD" on etcd) taken off its keys.
  std::vector<std::pair<std::string, std::string>> dump() const;
  void load(const std::vector<std::pair<std::string, std::string>>& pairs);

 private:
  friend class MemoryView;
  mutable std::shared_mutex mutex_;
  std::map<std::string, Item, std::less<>> items_;
  uint64_t version_ = 0;
};

// The store of that name in this process; it lives as long as somebody holds it.
std::shared_ptr<MemoryStore> shared_memory_store(const std::string& name);

}  // namespace zest::meta::kv
