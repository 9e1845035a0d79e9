// The data of slices in memory, for tests of metadata: what data/ does with objects, done with strings.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "meta/api.h"

namespace zest::meta {

// Shared by all clients of a volume. Thread safe.
class MemoryData : public DataHooks {
 public:
  void put(SliceId id, std::string bytes) {
    std::lock_guard lock(mutex_);
    slices_[id] = std::move(bytes);
  }
  // Bytes of a piece; "" when the slice is not there.
  std::string get(const Slice& piece) const {
    if (raw(piece.id) == 0) return std::string(piece.len, '\0');
    std::lock_guard lock(mutex_);
    auto it = slices_.find(piece.id);
    return it == slices_.end() ? "" : it->second.substr(piece.off, piece.len);
  }
  bool has(SliceId id) const {
    std::lock_guard lock(mutex_);
    return slices_.contains(id);
  }
  std::vector<SliceId> ids() const {
    std::lock_guard lock(mutex_);
    std::vector<SliceId> out;
    for (auto& [id, bytes] : slices_) out.push_back(id);
    return out;
  }

  Result<void> delete_slice(SliceId id, uint32_t) override {
    std::lock_guard lock(mutex_);
    slices_.erase(id);
    return {};
  }
  Result<void> compact(const CompactionPlan& plan, SliceId id, uint8_t) override {
    if (auto hook = std::exchange(before_commit, nullptr)) hook();
    std::string bytes;
    for (auto& piece : plan.pieces) {
      std::string part = get(piece);
      if (part.size() != piece.len) return fail(ENOENT);
      bytes += part;
    }
    if (bytes.size() != plan.size) return fail(EIO, "the plan's pieces have another size than the plan");
    put(id, std::move(bytes));
    return {};
  }
  std::function<void()> before_commit;  // run in the next compaction

 private:
  mutable std::mutex mutex_;
  std::map<SliceId, std::string> slices_;
};

}  // namespace zest::meta
