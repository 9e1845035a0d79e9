// What directories were in this client's last commit. The kernel forgets a directory's attributes with every change in
// it and asks for them before the next one: for a moment those of the commit are as good as read anew.
#pragma once

#include <mutex>
#include <optional>
#include <unordered_map>

#include "volume/attr.h"
#include "volume/types.h"

namespace zest::meta {

// Thread safe. life_ms: how long they are given out; 0: never.
class OwnDirs {
 public:
  explicit OwnDirs(int64_t life_ms) : life_ms_(life_ms) {}

  bool enabled() const { return life_ms_ > 0; }
  void keep(Ino dir, const Attr& attr, int64_t now_ms) {
    std::lock_guard lock(mutex_);
    if (dirs_.size() >= kMost) dirs_.clear();
    auto [it, is_new] = dirs_.try_emplace(dir, Item{attr, now_ms});
    if (is_new || it->second.attr == attr) {
      it->second.kept_ms = now_ms;
    } else if (it->second.attr.ctime < attr.ctime) {
      it->second = {attr, now_ms};
    } else {
      dirs_.erase(it);  // of two commits at once, nobody knows here which was the last
    }
  }
  void forget(Ino dir) {
    std::lock_guard lock(mutex_);
    dirs_.erase(dir);
  }
  std::optional<Attr> find(Ino dir, int64_t now_ms) const {
    if (!enabled()) return {};
    std::lock_guard lock(mutex_);
    auto it = dirs_.find(dir);
    if (it == dirs_.end() || now_ms - it->second.kept_ms >= life_ms_) return {};
    return it->second.attr;
  }

 private:
  static constexpr size_t kMost = 1024;
  struct Item {
    Attr attr;
    int64_t kept_ms;
  };
  const int64_t life_ms_;
  mutable std::mutex mutex_;
  std::unordered_map<Ino, Item> dirs_;
};

}  // namespace zest::meta
