// Attributes and directory entries that stay what the database has, because it tells when they change
// (docs/format/redis.md section 14). Also remembers what was told to this client's users, so that they can be told of
// changes: the kernel may hold it for an hour. Knows nothing of connections.
//
// Order of events: a reader notes now() before it sends its request. What it brings home is only given to others when
// no invalidation of the record came since then.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "meta/txn.h"

namespace zest::meta::redis {

// Thread safe.
class CoherentCache {
 public:
  // limit: records, the longest unused go first. Nothing older than expire_ms is given out.
  CoherentCache(size_t limit, int64_t expire_ms) : limit_(limit), expire_ms_(expire_ms) {}

  // Who is told of changes, by tell(). Replacing it waits for calls under way.
  void watch(Watcher watcher);
  // Tells of what was found since the last call. For one thread, which holds no locks.
  void tell();

  uint64_t now() const;
  std::optional<Value> find(const Key& key);
  // kInode and kEntry; others are ignored. since: now() before the request was sent.
  void fetched(const Key& key, const Value& value, uint64_t since);
  // This client changed it from what its commit compared, if it did, to `value`.
  void committed(const Key& key, const std::optional<Value>& before, const Value& value, uint64_t since);

  // The database told of a change: of the inode's attributes, of some entry of the directory.
  void inode_invalidated(Ino ino);
  void dir_invalidated(Ino dir);
  // Begins and ends the time in which it does. At its end everything is forgotten, and the users are told so.
  void set_live(bool live);
  // It never will: the cache stays empty.
  void switch_off();

  // Records that users know of and that may have changed, to be read again; verified() settles each.
  std::vector<Key> take_doubtful();
  void verified(const Key& key, const Value& value, uint64_t since);

 private:
  struct Item {
    Value value;         // as last seen
    Value told;          // what users may still believe
    uint64_t since = 0;  // seen not before
    int64_t seen_ms = 0;
    std::list<Key>::iterator used;
  };
  using Items = std::map<Key, Item>;
  struct Notice {
    Key key;
    bool data;  // of an inode: may its content have changed?
  };

  static constexpr size_t kSlots = 4096;
  uint64_t& invalidated_at(const Key& key);  // of the record, or an earlier one that shares its slot
  bool current(const Key& key, const Item& item);
  Item& put(const Key& key, const Value& value, uint64_t since);
  void drop_longest_unused();
  void doubt(const Key& key);

  const size_t limit_;
  const int64_t expire_ms_;
  mutable std::mutex mutex_;
  Items items_;
  std::list<Key> used_;  // the latest in front
  std::set<Ino> doubtful_inodes_, doubtful_dirs_;
  std::array<uint64_t, kSlots> inodes_at_{}, dirs_at_{};
  uint64_t clock_ = 1, all_at_ = 0;
  bool live_ = false, off_ = false;
  std::vector<Notice> notices_;

  std::mutex watcher_mutex_;
  Watcher watcher_;
};

}  // namespace zest::meta::redis
