// Slices and blocks of a volume in the order of their ids, for fsck and gc: any number in bounded memory.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/external_sort.h"
#include "base/result.h"
#include "cli/checkpoint.h"
#include "meta/api.h"
#include "object/storage.h"

namespace zest::cli {

using SliceState = meta::Meta::SliceState;

struct KnownSlice {
  uint64_t id = 0;
  SliceState state = SliceState::kUsed;
  uint32_t size = 0;
  uint64_t owner = 0;  // an inode that uses it; 0: none known
  friend auto operator<=>(const KnownSlice&, const KnownSlice&) = default;
};

// Every slice that the metadata names, each once: one in use wins over the same one waiting to be deleted.
class SliceStream {
 public:
  Result<void> read(meta::Meta& meta, const std::atomic<bool>* cancelled);  // EINTR
  Result<std::optional<KnownSlice>> next();
  // The slice of this id, asked for in rising order; nothing when there is none.
  Result<std::optional<KnownSlice>> find(uint64_t id);

 private:
  ExternalSort<KnownSlice> sort_;
  std::optional<KnownSlice> current_;
  uint64_t last_ = 0;  // id given last; there is no slice 0
  bool started_ = false;
};

struct KnownBlock {
  uint64_t slice = 0;
  uint32_t index = 0, bytes = 0;  // as the object's name says
  int64_t mtime_sec = 0;
  friend auto operator<=>(const KnownBlock&, const KnownBlock&) = default;
};
using BlockSort = ExternalSort<KnownBlock>;

// Lists the volume's blocks into `blocks`; counts them and their bytes while it does. Objects of other names are left
// alone: nothing reads them. What the checkpoint says was listed is not listed again.
Result<void> read_blocks(object::Storage& store, const Format& format, BlockSort& blocks, std::atomic<uint64_t>& listed,
                         std::atomic<uint64_t>& listed_bytes, Checkpoint& checkpoint,
                         const std::atomic<bool>* cancelled);

// Bytes of block `index` of a slice of `size` bytes; 0: there is no such block.
uint32_t block_bytes(uint32_t block_size, uint32_t size, uint32_t index);

// Calls for each object that a file of this length shows, each once, with the object's key and bytes; the first error
// ends it.
Result<void> each_block(meta::Meta& meta, Ino ino, uint64_t length,
                        const std::function<Result<void>(const std::string& key, uint32_t bytes)>& call);

}  // namespace zest::cli
