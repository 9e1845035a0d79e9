// What a chunk shows (semantics.md 7.4, 7.6), and the ids of new slices.
#include <fmt/format.h>

#include "meta/ops/view_chunk.h"
#include "volume/compaction.h"

namespace zest::meta {

namespace {
constexpr size_t kReadCompactsAt = 5;  // records or pieces
}

Result<std::shared_ptr<const ChunkView>> view_chunk(State& state, Ino ino, ChunkIndex chunk, std::string_view records) {
  auto slices = decode_slices(records);
  if (!slices) return fail(EIO, fmt::format("inode {}: chunk {}: broken list of slices", raw(ino), chunk));
  auto view = std::make_shared<ChunkView>();
  view->pieces = resolve_slices(*slices);
  view->records = slices->size();
  const bool many = view->records >= kReadCompactsAt || view->pieces.size() >= kReadCompactsAt;
  if (many && !state.options.read_only && plan_thrifty_compaction(*slices).size > 0)
    state.compactor.background(state, ino, chunk);
  return view;
}

Result<SliceId> Meta::new_slice_id() {
  ZEST_TRY(state_->writable());
  ZEST_ASSIGN(uint64_t id, state_->slices.next());
  return SliceId{id};
}

Result<ChunkView> Meta::read_chunk(Ino ino, ChunkIndex chunk) {
  Calling calling(engine().stats, Call::kRead);
  State& s = *state_;
  bool atimes = s.options.atime != AtimeMode::kNoAtime && !s.options.read_only;
  if (auto view = s.open_files.chunk(ino, chunk)) {
    if (atimes) {
      auto attr = s.open_files.attr(ino, 0, INT64_MAX);
      if (attr && atime_due(s.options.atime, *attr, s.clock.now())) touch_atime(s, ino);
    }
    return *view;
  }
  uint64_t version = s.open_files.version(ino);
  std::string records;
  std::optional<Attr> attr;
  ZEST_TRY(s.read([&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::chunk(ino, chunk)}, {Key::inode(ino)}}));
    ZEST_ASSIGN(records, txn.chunk(ino, chunk));
    ZEST_ASSIGN(attr, txn.attr(ino));
    return {};
  }));
  if (records.empty() && !attr) return fail(ENOENT);
  if (records.empty() && !attr->is_file()) return fail(EPERM);
  ZEST_ASSIGN(auto view, view_chunk(s, ino, chunk, records));
  s.open_files.keep_chunk(ino, chunk, view, version, attr ? &*attr : nullptr, s.clock.monotonic_ms());
  if (attr && atimes && atime_due(s.options.atime, *attr, s.clock.now())) touch_atime(s, ino);
  return *view;
}

void Meta::forget_chunks(Ino ino, ChunkIndex first, ChunkIndex last) {
  state_->open_files.forget_chunks(ino, first, last);
}

void Meta::forget_chunk(Ino ino, ChunkIndex chunk) { state_->open_files.forget_chunk(ino, chunk); }

}  // namespace zest::meta
