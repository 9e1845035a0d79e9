// Whole-volume scans: chunks, slices, and the volume's counters anew.
#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "meta/bulk/seen.h"
#include "meta/state.h"

namespace zest::meta {

Result<void> Meta::scan_chunks(const std::function<bool(Ino, ChunkIndex, const std::vector<Slice>&)>& each) {
  return state_->engine->scan(Table::kChunks, 0, [&](const Key& key, const Value& value) {
    const auto* records = std::get_if<std::string>(&value);
    if (!records) return true;
    auto slices = decode_slices(*records);
    if (!slices) {
      log_error(fmt::format("chunk {} of inode {} is damaged: {}", key.b, key.a, slices.error().message()));
      return true;
    }
    return each(Ino{key.a}, static_cast<ChunkIndex>(key.b), *slices);
  });
}

Result<void> Meta::scan_slices(const std::function<bool(const SliceUse&)>& each) {
  auto& engine = *state_->engine;
  bool more = true;
  auto give = [&](SliceId id, uint32_t size, SliceState state, Ino owner) {
    if (more && raw(id) != 0) more = each({id, size, state, owner});
  };
  // The data of a file that waits for deletion goes at any moment.
  std::vector<uint64_t> deleted;
  ZEST_TRY(engine.scan(Table::kDelFiles, 0, [&](const Key& key, const Value&) {
    deleted.push_back(key.a);
    return true;
  }));
  std::sort(deleted.begin(), deleted.end());
  ZEST_TRY(scan_chunks([&](Ino ino, ChunkIndex, const std::vector<Slice>& slices) {
    const bool pending = std::binary_search(deleted.begin(), deleted.end(), raw(ino));
    for (const auto& slice : slices)
      give(slice.id, slice.size, pending ? SliceState::kPending : SliceState::kUsed, ino);
    return more;
  }));
  if (!more) return {};
  ZEST_TRY(engine.scan(Table::kDelSlicesTable, 0, [&](const Key& key, const Value& value) {
    const auto* records = std::get_if<std::string>(&value);
    if (!records) return true;
    auto slices = decode_slice_keys(*records);
    if (!slices) {
      log_error(fmt::format("delayed slices of slice {} are damaged: {}", key.a, slices.error().message()));
      return true;
    }
    for (const auto& slice : *slices) give(slice.id, slice.size, SliceState::kDelayed, Ino{0});
    return more;
  }));
  if (!more) return {};
  return engine.scan(Table::kSliceRefs, 0, [&](const Key& key, const Value& value) {
    const auto* refs = std::get_if<int64_t>(&value);
    if (refs && *refs <= 0) give(SliceId{key.a}, static_cast<uint32_t>(key.b), SliceState::kPending, Ino{0});
    return more;
  });
}

Result<Meta::Counted> Meta::recount(bool repair, std::atomic<uint64_t>* progress) {
  State& state = *state_;
  if (!state.options.read_only) ZEST_TRY(state.ledger.flush_volume(state));
  auto stored = [&](Counted& counted) {
    return state.read([&](Txn& txn) -> Result<void> {
      ZEST_TRY(txn.want({{Key::counter(counter::kUsedSpace)}, {Key::counter(counter::kTotalInodes)}}));
      ZEST_ASSIGN(counted.stored_space, txn.counter(counter::kUsedSpace));
      ZEST_ASSIGN(counted.stored_inodes, txn.counter(counter::kTotalInodes));
      return {};
    });
  };
  Counted counted;
  ZEST_TRY(stored(counted));
  SeenInodes seen(*state.engine);
  // Every inode is charged, whoever holds it: the tree, the trash, an open file without a name, a detached clone.
  ZEST_TRY(state.engine->scan(Table::kInodes, 0, [&](const Key& key, const Value& value) {
    const auto* attr = std::get_if<Attr>(&value);
    const Ino ino{key.a};
    if (!attr || ino == kRootIno || ino == kTrashIno || !seen.first(ino)) return true;
    counted.used_space += attr->space();
    counted.total_inodes++;
    if (progress) ++*progress;
    return true;
  }));
  const int64_t space = counted.used_space - counted.stored_space;
  const int64_t inodes = counted.total_inodes - counted.stored_inodes;
  if (!repair || (space == 0 && inodes == 0)) return counted;
  ZEST_TRY(state.writable());
  // The difference, so that what others add meanwhile is kept.
  ZEST_TRY(state.run({}, [&](Txn& txn) -> Result<void> {
    const auto add = [&](const char* name, int64_t delta) {
      if (delta == 0) return;
      txn.add(Key::counter(name), delta);
      state.change_log.add(txn, state.clock.now(), "INCR_COUNTER", {name, delta});
    };
    add(counter::kTotalInodes, inodes);
    add(counter::kUsedSpace, space);
    return {};
  }));
  ZEST_TRY(state.ledger.refresh(state));
  return counted;
}

}  // namespace zest::meta
