// The slices of a volume by id, for fsck and gc: compact enough for many millions (24 bytes each), sorted for look-ups.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "meta/api.h"

namespace zest::cli {

enum class SliceState : uint8_t { kUsed, kPending, kDelayed };

struct KnownSlice {
  uint64_t id = 0;
  uint64_t owner = 0;  // an inode that uses it; 0: none known
  uint32_t size = 0;
  SliceState state = SliceState::kUsed;
};

class SliceTable {
 public:
  // Every slice that the metadata names. A slice in use wins over the same one waiting to be deleted.
  static Result<SliceTable> read(meta::Meta& meta);
  const KnownSlice* find(SliceId id) const;
  const std::vector<KnownSlice>& all() const { return slices_; }

 private:
  std::vector<KnownSlice> slices_;
};

// Bytes of block `index` of a slice of `size` bytes; 0: there is no such block.
uint32_t block_bytes(uint32_t block_size, uint32_t size, uint32_t index);

}  // namespace zest::cli
