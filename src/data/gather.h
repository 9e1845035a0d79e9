// What a compaction reads: the pieces of its plan, one block of the new slice after the other.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "data/block_store.h"
#include "volume/slice.h"

namespace zest::data {

class Gather {
 public:
  // pieces: in order, the first at offset 0 of the new slice; both outlive this.
  Gather(BlockStore& blocks, const std::vector<Slice>& pieces);
  // Bytes [from, from + into.size()) of the new slice.
  Result<void> read(uint32_t from, std::span<char> into);

 private:
  struct Part {
    uint32_t offset;  // in the block
    std::span<char> into;
  };
  struct Source {
    uint64_t wanted = 0;      // bytes of the block in the whole plan
    uint64_t end = 0;         // where in the new slice the last of them are
    FetchPtr fetch;           // the whole block, while more of it is wanted
    std::vector<Part> parts;  // what is to be read now
  };
  using Sources = std::unordered_map<BlockId, Source, BlockIdHash>;
  template <class Each>  // each(id, offset in the block, offset in the new slice, bytes)
  void each_part(uint32_t from, uint32_t to, Each each) const;
  Result<void> read_source(const BlockId& id, Source& source);

  BlockStore& blocks_;
  const std::vector<Slice>& pieces_;
  Sources sources_;
};

}  // namespace zest::data
