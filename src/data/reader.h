// Reads of files: joins what is committed with what is still buffered, finds the blocks, fetches ahead.
// docs/behaviour/client.md (b).
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "data/block_store.h"
#include "data/data.h"
#include "data/streams.h"
#include "data/writer.h"
#include "meta/api.h"

namespace zest::data {

class FileHandle : public ReadHandle {
 public:
  FileHandle(Ino ino, uint64_t block_size, uint64_t max_window) : ino(ino), streams(block_size, max_window) {}
  const Ino ino;
  std::mutex mutex;  // of what follows
  Streams streams;
  struct Ahead {
    FetchPtr fetch;
    uint64_t end = 0;  // of the block's part of the file
    size_t stream = 0;
  };
  std::list<Ahead> ahead;
  int64_t used_ms = 0;
};

class Reader {
 public:
  Reader(meta::Meta& meta, BlockStore& blocks, Writer& writer, const Clock& clock, const DataOptions& options);

  std::unique_ptr<ReadHandle> open(Ino ino);
  Result<size_t> read(FileHandle& handle, uint64_t length, uint64_t offset, std::span<char> into,
                      const std::atomic<bool>* cancelled, Lent* lent);
  // Read-ahead of handles that are idle, or of all (memory is short).
  void drop_read_ahead(bool all);
  void stop() { stopper_.stop(); }

 private:
  // A part of a read: of a block of the store.
  struct Part {
    BlockId id;
    uint32_t offset;
    std::span<char> into;
    uint64_t end;    // where the block's piece ends in the file
    FetchPtr fetch;  // the whole block, if it was fetched
  };
  Result<void> read_once(FileHandle& handle, uint64_t length, uint64_t offset, std::span<char> into,
                         const std::atomic<bool>* cancelled, Lent* lent);
  Result<void> locate(Ino ino, ChunkIndex chunk, uint32_t pos, std::span<char> into, std::vector<Part>& parts);
  Result<void> read_parts(std::vector<Part>& parts, bool whole, const std::atomic<bool>* cancelled, Lent* lent);
  // Fetches what the plan says; false: memory was short.
  bool fetch_ahead(Ino ino, const Streams::Plan& plan, std::vector<FileHandle::Ahead>& out);
  bool fetch_piece(const Slice& piece, uint64_t base, uint64_t from, uint64_t to, size_t stream,
                   std::vector<FileHandle::Ahead>& out);
  void hold(FileHandle& handle, const Streams::Plan& plan, std::vector<FileHandle::Ahead> fetched);

  friend class RegisteredHandle;
  meta::Meta& meta_;
  BlockStore& blocks_;
  Writer& writer_;
  const Clock& clock_;
  const DataOptions& options_;
  const uint64_t max_window_;
  Stopper stopper_;
  std::mutex mutex_;
  std::list<FileHandle*> handles_;
};

}  // namespace zest::data
