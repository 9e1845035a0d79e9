#include "fs/changes.h"

namespace zest::fs {

void Changes::push(Ino ino, std::string_view name, bool added) {
  if (watchers_.load(std::memory_order_acquire) == 0) {
    // nobody lists: who starts later reads the new state
    seq_.fetch_add(1, std::memory_order_acq_rel);
    return;
  }
  std::lock_guard lock(mutex_);
  uint64_t seq = seq_.fetch_add(1, std::memory_order_acq_rel) + 1;
  if (!records_.empty() && name.empty() && records_.back().ino == ino && records_.back().name.empty()) {
    records_.back().seq = seq;  // a stream of writes to one file
    return;
  }
  records_.push_back({seq, ino, std::string(name), added});
  if (records_.size() > kLimit) {
    forgotten_ = records_.front().seq;
    records_.pop_front();
  }
}

void Changes::inode(Ino ino) { push(ino, {}, false); }
void Changes::name(Ino parent, std::string_view name, bool added) { push(parent, name, added); }

bool Changes::inode_changed(Ino ino, uint64_t since) const {
  if (now() == since) return false;
  std::lock_guard lock(mutex_);
  if (forgotten_ > since) return true;
  for (auto it = records_.rbegin(); it != records_.rend() && it->seq > since; ++it)
    if (it->ino == ino && it->name.empty()) return true;
  return false;
}

Changes::Name Changes::name_changed(Ino parent, std::string_view name, uint64_t since) const {
  if (now() == since) return Name::kUnchanged;
  std::lock_guard lock(mutex_);
  for (auto it = records_.rbegin(); it != records_.rend() && it->seq > since; ++it)
    if (it->ino == parent && it->name == name) return it->added ? Name::kAdded : Name::kRemoved;
  return forgotten_ > since ? Name::kUnknown : Name::kUnchanged;
}

}  // namespace zest::fs
