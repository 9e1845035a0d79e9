// copy_file_range (semantics.md 7.5): the destination refers to the slices of the source; no data moves.
#include <algorithm>
#include <map>

#include "meta/growth.h"

namespace zest::meta {

namespace {

constexpr uint64_t kMostChunks = 64;  // of the source, in one call: what one transaction can carry

// What [from, to) of a chunk shows, positions relative to the chunk; all of the range, holes as id 0.
std::vector<Slice> visible(const std::vector<Slice>& records, uint32_t from, uint32_t to) {
  std::vector<Slice> out;
  uint32_t at = from;
  auto hole = [&](uint32_t end) {
    if (end > at) out.push_back(Slice{at, SliceId{0}, 0, 0, end - at});
    at = std::max(at, end);
  };
  for (Slice piece : resolve_slices(records)) {
    uint32_t begin = std::max(piece.pos, from), end = std::min(piece.pos + piece.len, to);
    if (begin >= end) continue;
    hole(begin);
    if (raw(piece.id) == 0) {
      hole(end);
      continue;
    }
    out.push_back(Slice{begin, piece.id, piece.size, piece.off + (begin - piece.pos), end - begin});
    at = end;
  }
  hole(to);
  return out;
}

// Puts a piece at `offset` of a file, cut where a chunk ends.
void place(std::map<ChunkIndex, std::vector<Slice>>& chunks, uint64_t offset, Slice piece) {
  while (piece.len > 0) {
    Slice part = piece;
    part.pos = static_cast<uint32_t>(offset % kChunkSize);
    part.len = static_cast<uint32_t>(std::min<uint64_t>(piece.len, kChunkSize - part.pos));
    chunks[static_cast<ChunkIndex>(offset / kChunkSize)].push_back(part);
    offset += part.len;
    piece.len -= part.len;
    if (raw(piece.id) > 0) piece.off += part.len;
  }
}

struct Ranges {
  Ino in, out;
  uint64_t off_in, off_out, size;
};

Result<void> append_copy(Txn& txn, const Ranges& r) {
  std::map<ChunkIndex, std::vector<Slice>> chunks;
  std::map<SliceRefKey, int64_t> refs;
  for (uint64_t done = 0; done < r.size;) {
    uint64_t at = r.off_in + done;
    auto from = static_cast<uint32_t>(at % kChunkSize);
    uint64_t part = std::min(kChunkSize - from, r.size - done);
    ZEST_ASSIGN(auto list, txn.chunk(r.in, static_cast<ChunkIndex>(at / kChunkSize)));
    ZEST_ASSIGN(auto records, decode_slices(list));
    for (auto& piece : visible(records, from, from + static_cast<uint32_t>(part)))
      place(chunks, r.off_out + done + (piece.pos - from), piece);
    done += part;
  }
  for (auto& [chunk, slices] : chunks) {
    for (auto& slice : slices)
      if (raw(slice.id) > 0) refs[{slice.id, slice.size}]++;
    txn.append(r.out, chunk, encode_slices(slices));
  }
  for (auto& [key, count] : refs) txn.add(Key::slice_ref(key.id, key.size), count);
  return {};
}

}  // namespace

Result<Meta::Copied> Meta::copy_file_range(const Context& ctx, Ino in, uint64_t off_in, Ino out, uint64_t off_out,
                                           uint64_t size) {
  Calling calling(engine().stats, Call::kCopyFileRange);
  State& s = *state_;
  ZEST_TRY(s.may_change(out));
  if (off_in >= kMaxFileSize || off_out >= kMaxFileSize) return fail(EFBIG);
  size = std::min(size, kMostChunks * kChunkSize - off_in % kChunkSize);
  if (off_in + size >= kMaxFileSize || off_out + size >= kMaxFileSize) return fail(EFBIG);
  DataChange change;
  Copied copied;
  auto done = run_data_change(s, {std::min(in, out), std::max(in, out)}, out, change, [&](Txn& txn) -> Result<void> {
    std::vector<Want> wants{{Key::inode(in)}, {Key::inode(out)}};
    for (uint64_t i = off_in / kChunkSize; size > 0 && i <= (off_in + size - 1) / kChunkSize; i++)
      wants.push_back({Key::chunk(in, static_cast<ChunkIndex>(i))});
    ZEST_TRY(txn.want(wants));
    ZEST_ASSIGN(auto source, txn.attr(in));
    ZEST_ASSIGN(auto target, txn.attr(out));
    if (!source || !target) return fail(ENOENT);
    if (!source->is_file()) return fail(EINVAL);
    change = {*target, *target};
    copied.bytes = off_in >= source->length ? 0 : std::min(size, source->length - off_in);
    if (copied.bytes == 0) return {};
    if (!target->is_file()) return fail(EINVAL);
    if (target->flags & (kFlagImmutable | kFlagAppend)) return fail(EPERM);
    change.after.length = std::max(target->length, off_out + copied.bytes);
    change.after.mtime = change.after.ctime = s.clock.now();
    ZEST_TRY(put_data_change(s, txn, ctx, out, change));
    s.change_log.add(txn, change.after.ctime, "COPYFILERANGE", {in, off_in, out, off_out, copied.bytes},
                     change.after.length);
    return append_copy(txn, {in, out, off_in, off_out, copied.bytes});
  });
  if (!done) return fail(std::move(done.error()));
  if (copied.bytes > 0) data_changed(s, out, change, {});
  copied.attr = change.after;
  return copied;
}

}  // namespace zest::meta
