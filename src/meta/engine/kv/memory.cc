#include "meta/engine/kv/memory.h"

#include <mutex>

#include "base/bytes.h"

namespace zest::meta::kv {

class MemoryView : public View {
 public:
  explicit MemoryView(const MemoryStore& store) : store_(store), lock_(store.mutex_) {}

  Result<std::vector<std::optional<Item>>> get(std::span<const std::string> keys) override {
    std::vector<std::optional<Item>> out;
    out.reserve(keys.size());
    for (const auto& key : keys) {
      auto it = store_.items_.find(key);
      out.push_back(it == store_.items_.end() ? std::nullopt : std::optional(it->second));
    }
    return out;
  }

  Result<std::vector<Pair>> scan(std::string_view begin, std::string_view end, size_t limit) override {
    std::vector<Pair> out;
    for (auto it = store_.items_.lower_bound(begin); it != store_.items_.end() && out.size() < limit; ++it) {
      if (it->first >= end) break;
      out.push_back({it->first, it->second});
    }
    return out;
  }

 private:
  const MemoryStore& store_;
  std::shared_lock<std::shared_mutex> lock_;
};

Result<std::unique_ptr<View>> MemoryStore::view() { return std::make_unique<MemoryView>(*this); }

Result<void> MemoryStore::commit(std::span<const Check> checks, std::span<const RangeCheck> ranges,
                                 std::span<const Write> writes) {
  std::unique_lock lock(mutex_);
  for (const auto& check : checks) {
    auto it = items_.find(check.key);
    if ((it == items_.end() ? 0 : it->second.version) != check.version)
      return fail(EAGAIN, Fault::kConflict, "a key changed");
  }
  for (const auto& range : ranges) {
    auto it = items_.lower_bound(range.begin);
    size_t n = 0;
    for (; it != items_.end() && it->first < range.end && n < range.limit; ++it, ++n) {
      if (n >= range.found.size() || range.found[n].key != it->first || range.found[n].version != it->second.version)
        return fail(EAGAIN, Fault::kConflict, "a range of keys changed");
    }
    if (n != range.found.size()) return fail(EAGAIN, Fault::kConflict, "a range of keys changed");
  }
  for (const auto& write : writes) {
    if (write.value) {
      version_++;
      std::string key = write.key;
      if (write.stamped) put_be64(key, version_);
      items_[key] = {*write.value, version_};
    } else {
      items_.erase(write.key);
    }
  }
  return {};
}

std::vector<std::pair<std::string, std::string>> MemoryStore::dump() const {
  std::shared_lock lock(mutex_);
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [key, item] : items_) out.emplace_back(key, item.value);
  return out;
}

void MemoryStore::load(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::unique_lock lock(mutex_);
  items_.clear();
  for (const auto& [key, value] : pairs) items_[key] = {value, ++version_};
}

std::shared_ptr<MemoryStore> shared_memory_store(const std::string& name) {
  // Clients of one process that name the same store must meet, so the names have to live somewhere.
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<MemoryStore>> stores;
  std::lock_guard lock(mutex);
  auto& slot = stores[name];
  auto store = slot.lock();
  if (!store) slot = store = std::make_shared<MemoryStore>();
  return store;
}

}  // namespace zest::meta::kv
