#include "meta/engine/redis/coherent_cache.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"

namespace zest::meta::redis {

namespace {

bool kept(const Key& key) { return key.kind == Kind::kInode || key.kind == Kind::kEntry; }

}  // namespace

void CoherentCache::watch(Watcher watcher) {
  std::lock_guard lock(watcher_mutex_);
  watcher_ = std::move(watcher);
}

uint64_t CoherentCache::now() const {
  std::lock_guard lock(mutex_);
  return clock_;
}

uint64_t& CoherentCache::invalidated_at(const Key& key) {
  auto& slots = key.kind == Kind::kInode ? inodes_at_ : dirs_at_;
  return slots[key.a * 0x9E3779B97F4A7C15u >> 52];
}

bool CoherentCache::current(const Key& key, const Item& item) {
  return live_ && item.since >= all_at_ && item.since >= invalidated_at(key);
}

std::optional<Value> CoherentCache::find(const Key& key) {
  std::lock_guard lock(mutex_);
  auto it = items_.find(key);
  if (it == items_.end() || !current(key, it->second)) return {};
  if (system_clock().monotonic_ms() - it->second.seen_ms >= expire_ms_) return {};
  used_.splice(used_.begin(), used_, it->second.used);
  return it->second.value;
}

// With mutex_ held. A new item's users were told its value.
CoherentCache::Item& CoherentCache::put(const Key& key, const Value& value, uint64_t since) {
  auto [it, made] = items_.try_emplace(key);
  Item& item = it->second;
  if (made) {
    item.told = value;
    item.used = used_.insert(used_.begin(), key);
    if (items_.size() > limit_) drop_longest_unused();
  } else {
    used_.splice(used_.begin(), used_, item.used);
  }
  if (since >= item.since) {
    item.value = value;
    item.since = since;
    item.seen_ms = system_clock().monotonic_ms();
  }
  return item;
}

// Nobody will hear of its changes any more, so its users have to forget it, too.
void CoherentCache::drop_longest_unused() {
  const Key key = std::move(used_.back());
  used_.pop_back();
  items_.erase(key);
  if (key.kind == Kind::kInode) doubtful_inodes_.erase(Ino{key.a});
  notices_.push_back({key, false});
}

void CoherentCache::doubt(const Key& key) {
  (key.kind == Kind::kInode ? doubtful_inodes_ : doubtful_dirs_).insert(Ino{key.a});
}

void CoherentCache::fetched(const Key& key, const Value& value, uint64_t since) {
  if (!kept(key)) return;
  std::lock_guard lock(mutex_);
  if (off_) return;
  if (!current(key, put(key, value, since))) doubt(key);
}

void CoherentCache::committed(const Key& key, const std::optional<Value>& before, const Value& value, uint64_t since) {
  if (!kept(key)) return;
  std::lock_guard lock(mutex_);
  if (off_) return;
  Item& item = put(key, value, since);
  if (before && *before == item.told) item.told = value;
  if (!current(key, item)) doubt(key);
}

void CoherentCache::inode_invalidated(Ino ino) {
  std::lock_guard lock(mutex_);
  const Key key = Key::inode(ino);
  invalidated_at(key) = ++clock_;
  if (items_.contains(key)) doubt(key);
}

void CoherentCache::dir_invalidated(Ino dir) {
  std::lock_guard lock(mutex_);
  const Key first = Key::entry(dir, "");
  invalidated_at(first) = ++clock_;
  auto it = items_.lower_bound(first);
  if (it != items_.end() && it->first.kind == Kind::kEntry && it->first.a == raw(dir)) doubt(first);
}

void CoherentCache::set_live(bool live) {
  std::lock_guard lock(mutex_);
  live_ = live;
  all_at_ = ++clock_;
  if (live) {
    for (const auto& [key, item] : items_) doubt(key);
    return;
  }
  for (const auto& [key, item] : items_) notices_.push_back({key, true});
  items_.clear();
  used_.clear();
}

void CoherentCache::switch_off() {
  set_live(false);
  std::lock_guard lock(mutex_);
  off_ = true;
}

std::vector<Key> CoherentCache::take_doubtful() {
  std::lock_guard lock(mutex_);
  std::vector<Key> out;
  for (Ino ino : std::exchange(doubtful_inodes_, {})) out.push_back(Key::inode(ino));
  for (Ino dir : std::exchange(doubtful_dirs_, {})) {
    for (auto it = items_.lower_bound(Key::entry(dir, "")); it != items_.end(); ++it) {
      if (it->first.kind != Kind::kEntry || it->first.a != raw(dir)) break;
      out.push_back(it->first);
    }
  }
  return out;
}

void CoherentCache::verified(const Key& key, const Value& value, uint64_t since) {
  std::lock_guard lock(mutex_);
  auto it = items_.find(key);
  if (it == items_.end()) return;
  Item& item = it->second;
  if (since < item.since) return doubt(key);  // read before what this client did since
  if (item.told != value) {
    const Attr *old = std::get_if<Attr>(&item.told), *attr = std::get_if<Attr>(&value);
    notices_.push_back({key, !(old && attr && old->mtime == attr->mtime && old->length == attr->length)});
  }
  item.value = item.told = value;
  item.since = since;
  item.seen_ms = system_clock().monotonic_ms();
}

void CoherentCache::tell() {
  std::vector<Notice> notices;
  {
    std::lock_guard lock(mutex_);
    notices.swap(notices_);
  }
  if (notices.empty()) return;
  std::lock_guard lock(watcher_mutex_);
  for (const auto& [key, data] : notices) {
    if (key.kind == Kind::kEntry) {
      if (watcher_.entry) watcher_.entry(Ino{key.a}, key.name);
    } else if (watcher_.inode) {
      watcher_.inode(Ino{key.a}, data);
    }
  }
}

}  // namespace zest::meta::redis
