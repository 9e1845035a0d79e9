#include "data/gather.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "data/group.h"

namespace zest::data {
namespace {

constexpr size_t kAtOnce = 8;  // requests: what the file's users wait for comes first
constexpr int64_t kHeldShare = 8;
constexpr uint64_t kWholeShare = 8;

}  // namespace

Gather::Gather(BlockStore& blocks, const std::vector<Slice>& pieces) : blocks_(blocks), pieces_(pieces) {
  each_part(0, UINT32_MAX, [&](const BlockId& id, uint32_t, uint32_t at, uint32_t n) {
    auto& source = sources_[id];
    source.wanted += n;
    source.end = uint64_t{at} + n;
  });
}

template <class Each>
void Gather::each_part(uint32_t from, uint32_t to, Each each) const {
  const uint32_t block = blocks_.block_size();
  uint64_t start = 0;  // of the piece in the new slice
  for (const Slice& piece : pieces_) {
    uint64_t low = std::max<uint64_t>(start, from), high = std::min<uint64_t>(start + piece.len, to);
    for (uint64_t at = low; at < high && raw(piece.id) > 0;) {
      auto off = static_cast<uint32_t>(piece.off + (at - start));
      auto n = static_cast<uint32_t>(std::min<uint64_t>(high - at, block - off % block));
      BlockId id{piece.id, off / block, block_bytes(piece.size, off / block, block)};
      each(id, off % block, static_cast<uint32_t>(at), n);
      at += n;
    }
    start += piece.len;
  }
}

// A block of which much is wanted is fetched once, and kept until all of that was read, if memory allows.
Result<void> Gather::read_source(const BlockId& id, Source& source) {
  const bool whole = source.wanted * kWholeShare >= id.bytes;
  for (const auto& part : source.parts)
    ZEST_TRY(blocks_.read(id, part.offset, part.into, whole, nullptr, &source.fetch));
  return {};
}

Result<void> Gather::read(uint32_t from, std::span<char> into) {
  std::memset(into.data(), 0, into.size());
  std::vector<Sources::value_type*> far;
  each_part(from, from + static_cast<uint32_t>(into.size()),
            [&](const BlockId& id, uint32_t offset, uint32_t at, uint32_t n) {
              auto& entry = *sources_.find(id);
              auto part = into.subspan(at - from, n);
              if (blocks_.read_near(id, offset, part)) return;
              if (entry.second.parts.empty()) far.push_back(&entry);
              entry.second.parts.push_back({offset, part});
            });
  std::atomic<size_t> next{0};
  auto work = [&]() -> Result<void> {
    for (size_t i = next++; i < far.size(); i = next++) ZEST_TRY(read_source(far[i]->first, far[i]->second));
    return {};
  };
  Group group;
  for (size_t i = 1; i < std::min(kAtOnce, far.size()); i++) {
    group.add();
    blocks_.downloads().submit([&] { group.done(work()); });
  }
  auto mine = work();
  auto others = group.wait();  // they write into the caller's buffer
  for (auto* entry : far) entry->second.parts.clear();

  int64_t held = 0;
  for (auto& [id, source] : sources_) {
    if (!source.fetch) continue;
    if (source.end <= from + into.size() || held + id.bytes > blocks_.pool().budget().limit() / kHeldShare)
      source.fetch = nullptr;
    else
      held += id.bytes;
  }
  return mine ? others : mine;
}

}  // namespace zest::data
