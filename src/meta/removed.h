// Inodes whose last name went away while the kernel knew them. Whoever still has such a directory, pipe or device open
// looks at it and changes it here, until the kernel lets go of it: the volume has records only for files that are open
// (sustained.cc). What lies in the trash has its record there; of it only the number is kept.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>

#include "meta/record.h"
#include "volume/attr.h"
#include "volume/types.h"

namespace zest::meta {

// Thread safe.
class Removed {
 public:
  struct Node {
    std::mutex mutex;  // of what follows; may be held over a call to the engine
    Attr attr;         // link count 0
    XattrMap xattrs;
  };

  void keep(Ino ino, const Attr& attr, XattrMap xattrs) {
    auto node = std::make_shared<Node>();
    node->attr = attr;
    node->attr.nlink = 0;
    node->xattrs = std::move(xattrs);
    insert(ino, std::move(node));
  }
  void keep_trashed(Ino ino) { insert(ino, nullptr); }
  void forget(Ino ino) {
    if (count_ == 0) return;
    std::lock_guard lock(mutex_);
    nodes_.erase(ino);
    count_ = nodes_.size();
  }
  // Either kind.
  bool holds(Ino ino) const {
    if (count_ == 0) return false;
    std::lock_guard lock(mutex_);
    return nodes_.contains(ino);
  }
  // Null for what has a record.
  std::shared_ptr<Node> find(Ino ino) const {
    if (count_ == 0) return nullptr;
    std::lock_guard lock(mutex_);
    auto found = nodes_.find(ino);
    return found == nodes_.end() ? nullptr : found->second;
  }

 private:
  static constexpr size_t kMost = 65'536;  // what the kernel does not know, it does not let go of
  void insert(Ino ino, std::shared_ptr<Node> node) {
    std::lock_guard lock(mutex_);
    if (nodes_.size() >= kMost) nodes_.erase(nodes_.begin());
    nodes_[ino] = std::move(node);
    count_ = nodes_.size();
  }
  mutable std::mutex mutex_;
  std::map<Ino, std::shared_ptr<Node>> nodes_;  // the oldest inodes first
  std::atomic<size_t> count_{0};
};

}  // namespace zest::meta
