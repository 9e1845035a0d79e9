#include "meta/recent.h"

#include <utility>

namespace zest::meta {

namespace {
constexpr int64_t kDistrustMs = 1000;
}

// For one item more in the young generation. With the shard's lock held.
void Recent::make_room(Shard& shard) {
  if (shard.young.size() < kGeneration) return;
  shard.old = std::move(shard.young);
  shard.young.clear();
}

// The item, moved to the young generation. With the shard's lock held.
Recent::Item* Recent::look(Shard& shard, const Key& key) {
  if (auto it = shard.young.find(key); it != shard.young.end()) return &it->second;
  auto it = shard.old.find(key);
  if (it == shard.old.end()) return nullptr;
  auto node = shard.old.extract(it);
  make_room(shard);
  return &shard.young.insert(std::move(node)).position->second;
}

void Recent::keep(const Key& key, const Value& value) {
  put(key, value, [](const Item&) { return true; });
}

void Recent::keep_seen(const Key& key, const Value& value, int64_t now_ms) {
  put(key, value, [&](const Item& item) {
    const Attr *seen = std::get_if<Attr>(&value), *kept = std::get_if<Attr>(&item.value);
    return now_ms < item.distrusted_until_ms || !seen || !kept || kept->ctime <= seen->ctime;
  });
}

void Recent::put(const Key& key, const Value& value, const std::function<bool(const Item&)>& may_replace) {
  if (key.kind != Kind::kInode && key.kind != Kind::kEntry) return;
  Shard& at = shard(key);
  std::lock_guard lock(at.mutex);
  if (Item* item = look(at, key)) {
    if (may_replace(*item)) item->value = value;
    return;
  }
  make_room(at);
  at.young.emplace(key, Item{value});
}

std::optional<Value> Recent::find(const Key& key, int64_t now_ms) const {
  if (key.kind != Kind::kInode && key.kind != Kind::kEntry) return {};
  Shard& at = shard(key);
  std::lock_guard lock(at.mutex);
  Item* item = look(at, key);
  if (!item || now_ms < item->distrusted_until_ms) return {};
  return item->value;
}

void Recent::distrust(const Key& key, int64_t now_ms) {
  Shard& at = shard(key);
  std::lock_guard lock(at.mutex);
  if (Item* item = look(at, key)) item->distrusted_until_ms = now_ms + kDistrustMs;
}

}  // namespace zest::meta
