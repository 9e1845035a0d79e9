// Slices of a chunk: records, and what a list of them shows (docs/format/encodings.md section 5).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "volume/types.h"

namespace zest {

constexpr size_t kSliceRecord = 24;  // bytes

struct Slice {
  uint32_t pos = 0;   // where it begins in the chunk
  SliceId id{0};      // 0: zeroes
  uint32_t size = 0;  // bytes of the whole slice in the object store
  uint32_t off = 0;   // first byte used of it
  uint32_t len = 0;   // bytes used
  friend bool operator==(const Slice&, const Slice&) = default;
};

void encode_slice(std::string& out, const Slice& slice);
std::string encode_slices(const std::vector<Slice>& slices);
Result<std::vector<Slice>> decode_slices(std::string_view records);  // EIO unless a multiple of 24 and in bounds

// The visible pieces, ordered by position, without gaps from the chunk's start (holes have id 0) to the end of the last
// piece; nothing follows. Later records hide earlier ones.
std::vector<Slice> resolve_slices(const std::vector<Slice>& records);

// Zero records over [from, to) of a file, cut at chunk borders: pairs of chunk and record.
struct ChunkSlice {
  ChunkIndex chunk;
  Slice slice;
};
std::vector<ChunkSlice> zero_slices(uint64_t from, uint64_t to);

// What compaction does with a chunk's first (at most 5000) records (section 5.4).
struct CompactionPlan {
  size_t records = 0;          // how many of the list take part, the skipped ones included
  size_t skipped = 0;          // leading records left as they are
  uint32_t pos = 0, size = 0;  // place and length of the new slice
  std::vector<Slice> pieces;   // what it is made of, in order; holes have id 0
};
// A plan with size 0 when there is nothing to gain.
CompactionPlan plan_compaction(const std::vector<Slice>& records);

// 12-byte records of delayed slices: id, size (section 14.2).
struct SliceRefKey {
  SliceId id{0};
  uint32_t size = 0;
  friend auto operator<=>(const SliceRefKey&, const SliceRefKey&) = default;
};
std::string encode_slice_keys(const std::vector<SliceRefKey>& keys);
Result<std::vector<SliceRefKey>> decode_slice_keys(std::string_view records);

}  // namespace zest
