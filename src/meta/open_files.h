// Files that this client has open: reference counts, cached attributes and chunk views (semantics.md sections 7.1, 15).
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>

#include "meta/api.h"

namespace zest::meta {

// Thread safe. An entry is made by expect() or open() and outlives the last close, so that opening again finds its
// views; the calls on an inode without an entry do nothing.
class OpenFiles {
 public:
  // Makes the entry of a file that is about to be read from the database for opening it; gives its version.
  uint64_t expect(Ino ino);
  // One more reference. `attr`, and `first`, the view of chunk 0 if it was read with it, as they were read under
  // `version`; 0: that is not known. keep_cache: the file is what it was at this client's previous open, but for this
  // client's own changes.
  bool open(Ino ino, const Attr& attr, int64_t now_ms, uint64_t version = 0,
            std::shared_ptr<const ChunkView> first = nullptr);
  // One less; true when it was the last. `sustained`, if given: the last, of an inode that was marked; clears the mark.
  bool close(Ino ino, bool* sustained = nullptr);
  bool is_open(Ino ino) const;
  // Unlinked while open here, so the last close must release the inode. False when it has been closed meanwhile: then
  // the caller must release it.
  bool mark_sustained(Ino ino);
  bool take_sustained(Ino ino);  // was it marked? clears the mark: the inode has a name again

  // Attributes not older than max_age_ms.
  std::optional<Attr> attr(Ino ino, int64_t now_ms, int64_t max_age_ms) const;
  // Those that the last open read, not more than max_age_ms ago, or newer ones. Nothing if this client has changed the
  // file since.
  std::optional<Attr> attr_at_open(Ino ino, int64_t now_ms, int64_t max_age_ms) const;
  void update(Ino ino, const Attr& attr, int64_t now_ms);  // drops chunk views when the mtime differs
  std::shared_ptr<const ChunkView> chunk(Ino ino, ChunkIndex index) const;
  // Of the version that version() gave before the view was read. `attr`: the inode as it was read with the view.
  void keep_chunk(Ino ino, ChunkIndex index, std::shared_ptr<const ChunkView> view, uint64_t version,
                  const Attr* attr = nullptr, int64_t now_ms = 0);
  // Changes with each forget() and own change; a view read from the database under an older version is not kept.
  uint64_t version(Ino ino) const;
  void forget(Ino ino);  // all views, and the attributes
  void forget_chunk(Ino ino, ChunkIndex index);
  void forget_chunks(Ino ino, ChunkIndex first, ChunkIndex last);  // both included
  void forget_attr(Ino ino);
  // This client committed a change of the file's data: `before` is what the transaction read, `after` what it wrote.
  // Drops the views of `chunks` (nothing given: of all), and all of them when another client's change came between.
  void changed_here(Ino ino, const Attr& before, const Attr& after, std::optional<std::span<const ChunkIndex>> chunks,
                    int64_t now_ms);
  // Drops entries closed more than 12 h ago, and the longest closed ones while there are more than `limit` (0: any
  // number).
  void trim(int64_t now_ms, int64_t limit = 10'000);

 private:
  struct File {
    int refs = 0;
    Attr attr;
    std::optional<Time> opened_mtime;  // at the last open, moved on by this client's own changes
    uint64_t opened_version = 0;       // at the last open; 0: what was read was out of date by then
    int64_t opened_at_ms = 0;
    bool fresh = false;
    int64_t read_at_ms = 0, closed_at_ms = 0;
    uint64_t version = 0;
    bool sustained = false;
    std::map<ChunkIndex, std::shared_ptr<const ChunkView>> chunks;
  };
  void drop_views(File& file) {
    file.chunks.clear();
    file.version = ++versions_;
  }
  File* find(Ino ino);
  void learn(File& file, const Attr& attr, int64_t now_ms);

  mutable std::mutex mutex_;
  std::unordered_map<Ino, File> files_;
  uint64_t versions_ = 0;  // never the same number again, also after an entry was dropped and made anew
};

}  // namespace zest::meta
