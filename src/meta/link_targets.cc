#include "meta/link_targets.h"

namespace zest::meta {

namespace {
constexpr size_t kMaxTargets = 10'000, kMaxBytes = 4 << 20;
}

std::optional<std::string> LinkTargets::find(Ino ino) const {
  std::lock_guard lock(mutex_);
  if (auto found = targets_.find(ino); found != targets_.end()) return found->second;
  return std::nullopt;
}

void LinkTargets::keep(Ino ino, const std::string& target) {
  std::lock_guard lock(mutex_);
  if (targets_.size() >= kMaxTargets || bytes_ + target.size() > kMaxBytes) {
    const size_t enough = targets_.size() * 4 / 5;
    while (targets_.size() > enough) {
      bytes_ -= targets_.begin()->second.size();
      targets_.erase(targets_.begin());
    }
  }
  if (targets_.emplace(ino, target).second) bytes_ += target.size();
}

}  // namespace zest::meta
