// A slice while this client writes it: its bytes in memory, block by block, and where they belong in the file.
//
// Not thread safe: the file writer's lock guards it. Bytes of complete blocks, and all bytes once frozen, never change,
// so uploads read them without the lock.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "data/block.h"
#include "data/buffer.h"
#include "volume/slice.h"

namespace zest::data {

// Bytes [off, off + len) of the slice are bytes [pos, pos + len) of the chunk.
struct Extent {
  ChunkIndex chunk = 0;
  uint32_t pos = 0, off = 0, len = 0;
  friend bool operator==(const Extent&, const Extent&) = default;
};

struct WriteSlice {
  enum class BlockState : uint8_t { kBuffered, kQueued, kDone };
  struct Block {
    BufferPtr buffer;  // gone once uploaded
    BlockState state = BlockState::kBuffered;
  };

  WriteSlice(uint32_t block_size, uint64_t number) : block_size(block_size), number(number) {}

  const uint32_t block_size;
  uint64_t number;               // order of creation within the file
  uint64_t first = 0, last = 0;  // numbers of the first and the last write in it
  SliceId id{0};                 // 0: not assigned yet
  std::vector<Extent> extents;   // one, but for packed slices
  uint32_t size = 0;
  Time mtime;
  int64_t created_ms = 0;
  bool frozen = false;     // takes no more writes
  bool dropped = false;    // failed; nobody will commit it
  uint32_t in_flight = 0;  // blocks that an upload holds
  std::vector<Block> blocks;

  BlockId block_id(uint32_t index) const { return {id, index, block_bytes(size, index, block_size)}; }
  bool untouched() const;  // no block is queued or uploaded yet
  bool uploaded() const;   // frozen, and all blocks are done
  // Can a write of `len` bytes at `pos` of the chunk go into it: at its end, or inside its last incomplete block?
  bool accepts(ChunkIndex chunk, uint32_t pos, uint32_t len) const;
  bool overlaps(ChunkIndex chunk, uint32_t pos, uint32_t len) const;
  // How many bytes from `pos` on the block at hand can take now, at most `len`, and the memory that it needs first (0:
  // none).
  struct Room {
    uint32_t bytes = 0;
    size_t capacity = 0;
  };
  Room room(uint32_t pos, uint32_t len) const;
  // Moves the tail block into larger memory.
  void grow(BufferPtr larger);
  // Within room().
  void put(uint32_t pos, std::span<const char> data);
  // Bytes still in memory; false: the block that holds `off` was uploaded and let go.
  bool copy(uint32_t off, std::span<char> into) const;
};
using WriteSlicePtr = std::shared_ptr<WriteSlice>;

// Which slice takes a write: the newest that accepts it, unless a newer one overlaps (order of overwrites). `slices` in
// order of creation. -1: a new one.
int choose_slice(std::span<const WriteSlicePtr> slices, ChunkIndex chunk, uint32_t pos, uint32_t len);

// One slice out of small untouched ones that follow each other: what later ones hide is left out, neighbours join.
// Bytes needed: packed_size(). The result has the number and time of the members, and is frozen.
struct PackPlan {
  struct Copy {
    size_t member = 0;
    uint32_t from = 0, to = 0, len = 0;  // bytes in the member, in the pack
  };
  std::vector<Copy> copies;
  std::vector<Extent> extents;
  uint32_t size = 0;
};
PackPlan plan_pack(std::span<const WriteSlicePtr> members);
WriteSlicePtr pack_slices(std::span<const WriteSlicePtr> members, const PackPlan& plan, BufferPtr memory);

}  // namespace zest::data
