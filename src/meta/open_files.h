// Files that this client has open: reference counts, cached attributes and chunk views (semantics.md sections 7.1, 15).
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "meta/api.h"

namespace zest::meta {

class OpenFiles {
 public:
  // One more reference. keep_cache: mtime equals that of this client's previous open.
  bool open(Ino ino, const Attr& attr, int64_t now_ms);
  // One less; true when it was the last.
  bool close(Ino ino);
  bool is_open(Ino ino) const;
  // Unlinked while open here, so the last close must release the inode.
  void mark_sustained(Ino ino);
  bool take_sustained(Ino ino);  // was it marked? clears the mark

  // Attributes not older than max_age_ms.
  std::optional<Attr> attr(Ino ino, int64_t now_ms, int64_t max_age_ms) const;
  void update(Ino ino, const Attr& attr, int64_t now_ms);  // drops chunk views when the mtime differs
  std::shared_ptr<const ChunkView> chunk(Ino ino, ChunkIndex index) const;
  void keep_chunk(Ino ino, ChunkIndex index, std::shared_ptr<const ChunkView> view, uint64_t version);
  // Changes with each forget(); a view read from the database under an older version is not kept.
  uint64_t version(Ino ino) const;
  void forget(Ino ino);
  void forget_chunk(Ino ino, ChunkIndex index);
  void trim(int64_t now_ms);

 private:
  struct File {
    int refs = 0;
    Attr attr;
    int64_t read_at_ms = 0, closed_at_ms = 0;
    uint64_t version = 0;
    bool sustained = false;
    std::map<ChunkIndex, std::shared_ptr<const ChunkView>> chunks;
  };
  mutable std::mutex mutex_;
  std::unordered_map<Ino, File> files_;
};

}  // namespace zest::meta
