// Inodes that a scan gave before: a scan of Redis may give a key twice. One bit an inode, in pages made when touched.
#pragma once

#include <bitset>
#include <memory>
#include <unordered_map>

#include "meta/txn.h"

namespace zest::meta {

class SeenInodes {
 public:
  explicit SeenInodes(const Engine& engine) : may_repeat_(engine.info().name.starts_with("redis")) {}
  bool first(Ino ino) {
    if (!may_repeat_) return true;
    auto& page = pages_[raw(ino) / kPage];
    if (!page) page = std::make_unique<std::bitset<kPage>>();
    auto bit = (*page)[raw(ino) % kPage];
    if (bit) return false;
    return bit = true;
  }

 private:
  static constexpr size_t kPage = 32768;
  const bool may_repeat_;
  std::unordered_map<uint64_t, std::unique_ptr<std::bitset<kPage>>> pages_;
};

}  // namespace zest::meta
