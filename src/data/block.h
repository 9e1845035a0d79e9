// A block of a slice: what becomes one object. The name of the object: block_key() in volume/format.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "volume/types.h"

namespace zest::data {

struct BlockId {
  SliceId slice{0};
  uint32_t index = 0;
  uint32_t bytes = 0;  // of this block, uncompressed
  friend bool operator==(const BlockId&, const BlockId&) = default;
};

struct BlockIdHash {
  size_t operator()(const BlockId& id) const noexcept {
    uint64_t h = raw(id.slice) * 0x9E3779B97F4A7C15 ^ (uint64_t{id.index} << 32 | id.bytes) * 0xC2B2AE3D27D4EB4F;
    return static_cast<size_t>(h ^ h >> 29);
  }
};

// Bytes of block `index` of a slice of `slice_bytes`; 0 beyond its end.
constexpr uint32_t block_bytes(uint32_t slice_bytes, uint32_t index, uint32_t block_size) {
  uint64_t start = uint64_t{index} * block_size;
  if (start >= slice_bytes) return 0;
  return slice_bytes - start < block_size ? static_cast<uint32_t>(slice_bytes - start) : block_size;
}
constexpr uint32_t block_count(uint32_t slice_bytes, uint32_t block_size) {
  return static_cast<uint32_t>((uint64_t{slice_bytes} + block_size - 1) / block_size);
}

}  // namespace zest::data
