// Who waits for whose range locks on this client, to tell processes that wait for each other (fcntl(2): EDEADLK).
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>

namespace zest::meta {

class LockWaits {
 public:
  using Owners = std::set<uint64_t>;

  // A point in the order of things, for what follows.
  uint64_t now() { return ++clock_; }

  // The owner, waiting since `begun`, was asked for at `asked` and refused for the sake of the holders. Does it wait
  // for itself, and is it the last of the circle? What a waiter was told counts against a holder who has not released
  // anything since: one who has been waiting himself since before it was asked.
  bool closes_circle(uint64_t owner, uint64_t begun, uint64_t asked, Owners holders) {
    std::lock_guard lock(mutex_);
    waits_[begun] = {owner, asked, std::move(holders)};
    std::set<uint64_t> seen;
    return leads_to(begun, begun, seen);
  }
  void end(uint64_t begun) {
    std::lock_guard lock(mutex_);
    waits_.erase(begun);
  }

 private:
  struct Wait {
    uint64_t owner = 0, asked = 0;
    Owners holders;
  };
  bool leads_to(uint64_t from, uint64_t target, std::set<uint64_t>& seen) const {
    if (!seen.insert(from).second) return false;
    const Wait& wait = waits_.at(from);
    for (auto& [begun, other] : waits_) {
      if (begun > target) break;
      if (!wait.holders.contains(other.owner) || wait.asked < begun) continue;
      if (begun == target || leads_to(begun, target, seen)) return true;
    }
    return false;
  }

  std::atomic<uint64_t> clock_{0};
  std::mutex mutex_;
  std::map<uint64_t, Wait> waits_;  // by when they began
};

}  // namespace zest::meta
