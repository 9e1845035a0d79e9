#include "cli/slices.h"

#include <algorithm>

namespace zest::cli {

Result<SliceTable> SliceTable::read(meta::Meta& meta) {
  SliceTable table;
  auto& slices = table.slices_;
  // the data of a file that waits for deletion goes at any moment
  std::vector<uint64_t> deleted;
  ZEST_TRY(meta.engine().scan(meta::Table::kDelFiles, 0, [&](const meta::Key& key, const meta::Value&) {
    deleted.push_back(key.a);
    return true;
  }));
  std::sort(deleted.begin(), deleted.end());
  ZEST_TRY(meta.scan_chunks([&](Ino ino, ChunkIndex, const std::vector<Slice>& records) {
    auto state =
        std::binary_search(deleted.begin(), deleted.end(), raw(ino)) ? SliceState::kPending : SliceState::kUsed;
    for (auto& record : records)
      if (raw(record.id)) slices.push_back({raw(record.id), raw(ino), record.size, state});
    return true;
  }));
  ZEST_TRY(meta.engine().scan(meta::Table::kDelSlicesTable, 0, [&](const meta::Key&, const meta::Value& value) {
    if (auto* records = std::get_if<std::string>(&value))
      if (auto keys = decode_slice_keys(*records))
        for (auto& key : *keys) slices.push_back({raw(key.id), 0, key.size, SliceState::kDelayed});
    return true;
  }));
  ZEST_TRY(meta.engine().scan(meta::Table::kSliceRefs, 0, [&](const meta::Key& key, const meta::Value& value) {
    auto* refs = std::get_if<int64_t>(&value);
    if (refs && *refs <= 0) slices.push_back({key.a, 0, static_cast<uint32_t>(key.b), SliceState::kPending});
    return true;
  }));
  std::sort(slices.begin(), slices.end(),
            [](auto& a, auto& b) { return a.id != b.id ? a.id < b.id : a.state < b.state; });
  slices.erase(std::unique(slices.begin(), slices.end(), [](auto& a, auto& b) { return a.id == b.id; }), slices.end());
  return table;
}

const KnownSlice* SliceTable::find(SliceId id) const {
  auto it = std::lower_bound(slices_.begin(), slices_.end(), raw(id),
                             [](auto& slice, uint64_t wanted) { return slice.id < wanted; });
  return it != slices_.end() && it->id == raw(id) ? &*it : nullptr;
}

uint32_t block_bytes(uint32_t block_size, uint32_t size, uint32_t index) {
  uint64_t start = uint64_t{index} * block_size;
  return start >= size ? 0 : static_cast<uint32_t>(std::min<uint64_t>(block_size, size - start));
}

}  // namespace zest::cli
