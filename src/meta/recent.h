// The attributes and directory entries that this client saw or wrote last. May be out of date at any time: only good
// for what is compared with the database later.
#pragma once

#include <array>
#include <functional>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "meta/record.h"

namespace zest::meta {

// Thread safe. Holds some thousand records; those not looked at for long go first.
class Recent {
 public:
  // kInode and kEntry; other kinds are ignored. monostate: known to be absent. keep: about to be written. keep_seen: as
  // read; ignored where a commit under way has made it older than what is kept.
  void keep(const Key& key, const Value& value);
  void keep_seen(const Key& key, const Value& value, int64_t now_ms);
  std::optional<Value> find(const Key& key, int64_t now_ms) const;
  // It was not what was kept: another client changes it. Not given out again for a second.
  void distrust(const Key& key, int64_t now_ms);

 private:
  struct Item {
    Value value;
    int64_t distrusted_until_ms = 0;
  };
  struct Hash {
    size_t operator()(const Key& key) const {
      return std::hash<std::string>{}(key.name) ^ (key.a * 0x9E3779B97F4A7C15u + static_cast<size_t>(key.kind));
    }
  };
  using Items = std::unordered_map<Key, Item, Hash>;
  // Two generations: when the young one is full, it becomes the old one, and what the old one held is forgotten.
  struct Shard {
    mutable std::mutex mutex;
    mutable Items young, old;
  };
  static constexpr size_t kShards = 16, kGeneration = 512;

  Shard& shard(const Key& key) const { return shards_[Hash{}(key) % kShards]; }
  void put(const Key& key, const Value& value, const std::function<bool(const Item&)>& may_replace);
  static void make_room(Shard& shard);
  static Item* look(Shard& shard, const Key& key);

  mutable std::array<Shard, kShards> shards_;
};

}  // namespace zest::meta
