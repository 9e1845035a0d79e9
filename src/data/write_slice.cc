#include "data/write_slice.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace zest::data {
namespace {
constexpr size_t kSmallest = 4096;
}

bool WriteSlice::untouched() const {
  return std::all_of(blocks.begin(), blocks.end(), [](const Block& b) { return b.state == BlockState::kBuffered; });
}

bool WriteSlice::uploaded() const {
  return frozen &&
         std::all_of(blocks.begin(), blocks.end(), [](const Block& b) { return b.state == BlockState::kDone; });
}

bool WriteSlice::accepts(ChunkIndex chunk, uint32_t pos, uint32_t len) const {
  if (frozen || dropped || extents.size() != 1) return false;
  const Extent& extent = extents[0];
  if (extent.chunk != chunk || uint64_t{pos} + len > kChunkSize) return false;
  uint32_t tail = size / block_size * block_size;
  return pos >= extent.pos + tail && pos <= extent.pos + size;
}

bool WriteSlice::overlaps(ChunkIndex chunk, uint32_t pos, uint32_t len) const {
  return std::any_of(extents.begin(), extents.end(), [&](const Extent& e) {
    return e.chunk == chunk && pos < uint64_t{e.pos} + e.len && e.pos < uint64_t{pos} + len;
  });
}

WriteSlice::Room WriteSlice::room(uint32_t pos, uint32_t len) const {
  uint32_t start = pos - extents[0].pos;
  uint32_t index = start / block_size, inside = start % block_size;
  Room room;
  room.bytes = std::min(len, block_size - inside);
  size_t need = size_t{inside} + room.bytes;
  size_t have = index < blocks.size() && blocks[index].buffer ? blocks[index].buffer->capacity() : 0;
  if (need > have) {
    size_t capacity = index > 0 ? block_size : std::max(have * 4, kSmallest);
    while (capacity < need) capacity *= 2;
    room.capacity = std::min<size_t>(capacity, block_size);
  }
  return room;
}

void WriteSlice::grow(BufferPtr larger) {
  if (size % block_size == 0) {  // the tail is complete: a new block begins
    if (blocks.size() == size / block_size) {
      blocks.push_back({std::move(larger), BlockState::kBuffered});
      return;
    }
  }
  Block& tail = blocks.back();
  std::memcpy(larger->data(), tail.buffer->data(), tail.buffer->size());
  larger->set_size(tail.buffer->size());
  tail.buffer = std::move(larger);
}

void WriteSlice::put(uint32_t pos, std::span<const char> data) {
  uint32_t start = pos - extents[0].pos;
  uint32_t index = start / block_size, inside = start % block_size;
  Buffer& buffer = *blocks[index].buffer;
  std::memcpy(buffer.data() + inside, data.data(), data.size());
  uint32_t end = start + static_cast<uint32_t>(data.size());
  if (inside + data.size() > buffer.size()) buffer.set_size(inside + data.size());
  if (end > size) {
    size = end;
    extents[0].len = end;
  }
}

bool WriteSlice::copy(uint32_t off, std::span<char> into) const {
  size_t done = 0;
  while (done < into.size()) {
    uint32_t at = off + static_cast<uint32_t>(done);
    uint32_t index = at / block_size, inside = at % block_size;
    if (index >= blocks.size() || !blocks[index].buffer) return false;
    size_t n = std::min<size_t>(into.size() - done, block_size - inside);
    if (inside + n > blocks[index].buffer->size()) return false;
    std::memcpy(into.data() + done, blocks[index].buffer->data() + inside, n);
    done += n;
  }
  return true;
}

int choose_slice(std::span<const WriteSlicePtr> slices, ChunkIndex chunk, uint32_t pos, uint32_t len) {
  for (size_t i = slices.size(); i-- > 0;) {
    const WriteSlice& slice = *slices[i];
    if (slice.accepts(chunk, pos, len)) return static_cast<int>(i);
    if (slice.overlaps(chunk, pos, len)) return -1;
  }
  return -1;
}

PackPlan plan_pack(std::span<const WriteSlicePtr> members) {
  // The overlay rules of the format decide what shows: a record for each extent, named by its place in `sources`.
  struct Source {
    size_t member;
    uint32_t off;
  };
  std::vector<Source> sources;
  std::map<ChunkIndex, std::vector<Slice>> records;
  for (size_t i = 0; i < members.size(); i++) {
    for (const Extent& extent : members[i]->extents) {
      sources.push_back({i, extent.off});
      records[extent.chunk].push_back({extent.pos, SliceId{sources.size()}, extent.len, 0, extent.len});
    }
  }
  PackPlan plan;
  for (const auto& [chunk, list] : records) {
    for (const Slice& piece : resolve_slices(list)) {
      if (piece.id == SliceId{0}) continue;
      const Source& source = sources[raw(piece.id) - 1];
      plan.copies.push_back({source.member, source.off + piece.off, plan.size, piece.len});
      if (!plan.extents.empty() && plan.extents.back().chunk == chunk &&
          plan.extents.back().pos + plan.extents.back().len == piece.pos) {
        plan.extents.back().len += piece.len;
      } else {
        plan.extents.push_back({chunk, piece.pos, plan.size, piece.len});
      }
      plan.size += piece.len;
    }
  }
  return plan;
}

WriteSlicePtr pack_slices(std::span<const WriteSlicePtr> members, const PackPlan& plan, BufferPtr memory) {
  auto pack = std::make_shared<WriteSlice>(members[0]->block_size, members.back()->number);
  for (const auto& copy : plan.copies)
    members[copy.member]->copy(copy.from, std::span(memory->data() + copy.to, copy.len));
  memory->set_size(plan.size);
  pack->extents = plan.extents;
  pack->size = plan.size;
  pack->frozen = true;
  pack->blocks.push_back({std::move(memory), WriteSlice::BlockState::kBuffered});
  pack->first = members[0]->first;
  for (const auto& member : members) {
    pack->first = std::min(pack->first, member->first);
    pack->last = std::max(pack->last, member->last);
    pack->mtime = std::max(pack->mtime, member->mtime);
    if (member->id != SliceId{0}) pack->id = member->id;
  }
  pack->created_ms = members[0]->created_ms;
  return pack;
}

}  // namespace zest::data
