// SEEK_DATA and SEEK_HOLE (lseek(2)) from the slices of a file, in pages, as local file systems have it.
#include <algorithm>
#include <set>

#include "meta/state.h"

namespace zest::meta {

namespace {

constexpr uint64_t kPage = 4096;
// After so many chunks without data it looks up which chunks there are: sparse files may be very long.
constexpr uint64_t kEmptyInARow = 16;

struct Extent {
  uint64_t begin, end;  // of the chunk, whole pages
};

std::vector<Extent> data_extents(const ChunkView& view) {
  std::vector<Extent> extents;
  for (const Slice& piece : view.pieces) {
    if (raw(piece.id) == 0 || piece.len == 0) continue;
    const uint64_t begin = piece.pos / kPage * kPage;
    const uint64_t end = (uint64_t{piece.pos} + piece.len + kPage - 1) / kPage * kPage;
    if (!extents.empty() && begin <= extents.back().end)
      extents.back().end = end;
    else
      extents.push_back({begin, end});
  }
  return extents;
}

// Where data begins at or after `at`; the chunk's size if nowhere.
uint64_t data_from(const std::vector<Extent>& extents, uint64_t at) {
  for (auto& extent : extents)
    if (extent.end > at) return std::max(at, extent.begin);
  return kChunkSize;
}

uint64_t hole_from(const std::vector<Extent>& extents, uint64_t at) {
  for (auto& extent : extents)
    if (extent.begin <= at && at < extent.end) at = extent.end;
  return at;
}

// The first chunk after `index` that has records; nothing if none has.
Result<std::optional<uint64_t>> next_listed(State& state, Ino ino, uint64_t index) {
  std::optional<uint64_t> next;
  ZEST_TRY(state.engine->scan(Table::kChunks, raw(ino), [&](const Key& key, const Value&) {
    if (key.b > index && (!next || key.b < *next)) next = key.b;
    return true;
  }));
  return next;
}

}  // namespace

Result<uint64_t> Meta::seek(Ino ino, uint64_t offset, uint64_t length, bool hole) {
  uint64_t empty = 0;
  for (uint64_t index = offset / kChunkSize, at = offset % kChunkSize; index * kChunkSize < length; index++, at = 0) {
    ZEST_ASSIGN(const ChunkView view, read_chunk(ino, static_cast<ChunkIndex>(index)));
    const auto extents = data_extents(view);
    const uint64_t found = hole ? hole_from(extents, at) : data_from(extents, at);
    if (found < kChunkSize) {
      const uint64_t where = index * kChunkSize + found;
      if (where < length) return where;
      break;
    }
    empty = extents.empty() ? empty + 1 : 0;
    if (empty % kEmptyInARow != kEmptyInARow - 1) continue;
    ZEST_ASSIGN(const auto next, next_listed(*state_, ino, index));
    if (!next) break;
    index = *next - 1;
  }
  if (!hole) return fail(ENXIO);
  return length;
}

}  // namespace zest::meta
