// One transaction over a store: remembers what it read, so that the commit can check it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "meta/engine/kv/store.h"
#include "meta/txn.h"

namespace zest::meta::kv {

class KvTxn : public EngineTxn {
 public:
  explicit KvTxn(Store& store) : store_(store) {}
  Result<std::vector<Value>> fetch(std::span<const Want> wants, std::vector<std::pair<Key, Value>>& followed) override;
  Result<CommitResult> commit(std::span<const Change> changes) override;

 private:
  // Reads the keys into read_, in one round trip.
  Result<void> load(View& view, std::vector<std::string> keys);
  // The value a key has after the changes so far.
  std::optional<std::string> current(const std::string& key) const;
  void set(std::string key, std::optional<std::string> value) { buffer_[std::move(key)] = std::move(value); }
  Result<std::vector<Pair>> scan(View& view, const std::string& begin, const std::string& end, size_t limit);
  Result<Value> read_value(View& view, const Key& key);
  Result<void> follow(View& view, std::span<const Want> wants, const std::vector<Value>& values,
                      std::vector<std::pair<Key, Value>>& followed);
  Result<void> load_for_commit(View& view, std::span<const Change> changes);
  Result<void> apply(View& view, const Change& change, CommitResult& result);
  Result<void> apply_add(const Change& change, CommitResult& result);
  Result<void> clear_range(View& view, const std::string& begin, const std::string& end);

  Store& store_;
  std::map<std::string, std::optional<Item>> read_;
  std::vector<RangeCheck> ranges_;
  std::map<std::string, std::optional<std::string>> buffer_;
};

}  // namespace zest::meta::kv
