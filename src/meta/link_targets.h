// Targets of symlinks by inode. They never change and inodes are never used again, so what is kept is true for ever.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "volume/types.h"

namespace zest::meta {

// Thread safe. Bounded by number and bytes; when full, a fifth goes.
class LinkTargets {
 public:
  std::optional<std::string> find(Ino ino) const;
  void keep(Ino ino, const std::string& target);

 private:
  mutable std::mutex mutex_;
  std::unordered_map<Ino, std::string> targets_;
  size_t bytes_ = 0;
};

}  // namespace zest::meta
