#include "fs/links.h"

namespace zest::fs {

bool Links::several(const Attr& attr) const {
  return !attr.is_dir() && raw(attr.parent) == 0 && attr.nlink > 0 && attr.ctime >= since_;
}

bool Links::unknown(Ino ino, const Attr& attr) const {
  if (!several(attr)) return false;
  std::lock_guard lock(mutex_);
  auto found = known_.find(ino);
  return found == known_.end() || found->second.ctime != attr.ctime || found->second.nlink != attr.nlink;
}

void Links::correct(Ino ino, Attr& attr, bool removed) {
  if (attr.in_trash()) {
    if (removed) attr.nlink = 0;
    return;
  }
  if (!several(attr)) return;
  uint32_t visible = attr.nlink;
  if (unknown(ino, attr)) {
    auto parents = meta_.parents(ino);
    if (!parents) return;  // the count of the database is the best there is
    visible = 0;
    for (auto& [parent, count] : *parents)
      if (!is_trash(parent)) visible += static_cast<uint32_t>(count);
    std::lock_guard lock(mutex_);
    if (known_.size() >= kLimit) known_.clear();
    known_[ino] = {attr.ctime, attr.nlink, visible};
  } else {
    std::lock_guard lock(mutex_);
    if (auto found = known_.find(ino); found != known_.end()) visible = found->second.visible;
  }
  if (visible > 0 || removed) attr.nlink = visible;
}

}  // namespace zest::fs
