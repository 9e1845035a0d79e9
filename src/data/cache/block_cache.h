// Blocks kept near: in memory or on local disks. Below the block store; knows nothing of files or objects.
//
// Thread safe. A cache never fails a caller: what it cannot do counts as a miss or is dropped.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/block.h"
#include "data/buffer.h"

namespace zest::data {

// A block that waits on a local disk for its upload.
struct StagedBlock {
  BlockId id;
  int64_t staged_at = 0;  // unix seconds
};

class BlockCache {
 public:
  virtual ~BlockCache() = default;

  // Copies bytes [offset, offset + into.size()) of the block; false: a miss.
  virtual bool read(const BlockId& id, uint32_t offset, std::span<char> into) = 0;
  // Keeps a whole block, perhaps a little later; shares the buffer until then. `wait`: for room in the queue instead of
  // dropping it; and it is wanted for later reads, while other blocks are those of a stream, read just now.
  virtual void put(const BlockId& id, BufferPtr data, bool wait) = 0;
  virtual bool contains(const BlockId& id) = 0;
  // It is here and will be read soon: begins to bring it into memory, should it be on a disk.
  virtual void expect(const BlockId&) {}
  // Where it is, as `info` and `warmup --check` show it; empty: not here.
  virtual std::string location(const BlockId& id) = 0;
  virtual void remove(const BlockId& id) = 0;               // staged blocks stay
  virtual std::pair<uint64_t, uint64_t> usage() const = 0;  // blocks, bytes

  // --- write-back; a cache without a disk refuses ---
  // On disk and readable when it returns. ENOSPC, EIO, ...: the caller uploads it itself.
  virtual Result<void> stage(const BlockId&, const BufferPtr&) { return fail(ENOTSUP); }
  virtual bool is_staged(const BlockId&) { return false; }
  // The staged block's bytes; ENOENT when it is gone, EAGAIN while its disk is out of use.
  virtual Result<void> read_staged(const BlockId&, const BufferPtr&) { return fail(ENOENT); }
  // The upload is done (it stays as a cached block) or the slice was deleted (drop: it goes altogether).
  virtual void unstage(const BlockId&, bool) {}
  // The blocks that an earlier client staged, as far as they were found since the last call.
  virtual std::vector<StagedBlock> staged() { return {}; }
  // So little room that staged blocks ought to leave early.
  virtual bool wants_room() const { return false; }
  virtual Result<void> sync_staged() { return {}; }  // against power loss
  virtual void stop() {}                             // writes what is queued, ends the threads
};

}  // namespace zest::data
