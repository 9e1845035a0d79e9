// Limits, counters and caches around a change of a file's data.
#include "meta/growth.h"

#include <set>

namespace zest::meta {

Result<void> put_data_change(State& state, Txn& txn, const Context& ctx, Ino ino, DataChange& change) {
  int64_t grown = change.after.space() - change.before.space();
  // An unlinked file belongs to no directory any more: only the volume's limit holds.
  if (change.after.length > change.before.length) {
    if (change.after.nlink > 0)
      ZEST_TRY(state.ledger.check_growth(state, ctx, change.after, ino, grown));
    else
      ZEST_TRY(state.ledger.check_volume(state, grown, 0));
  }
  if (change.after.length != change.before.length && change.after.nlink > 0 && state.dir_stats) {
    if (raw(change.after.parent) != 0) {
      change.parents[change.after.parent] = 1;
    } else {
      ZEST_ASSIGN(change.parents, txn.parents(ino));
    }
  }
  txn.put_attr(ino, change.after);
  if (grown != 0) Ledger::add_inline(state, txn, grown, 0);
  return {};
}

void data_changed(State& state, Ino ino, const DataChange& change, std::optional<std::span<const ChunkIndex>> chunks) {
  state.open_files.changed_here(ino, change.before, change.after, chunks, state.clock.monotonic_ms());
  if (change.after.length == change.before.length) return;
  const int64_t space = change.after.space() - change.before.space();
  const auto length = static_cast<int64_t>(change.after.length) - static_cast<int64_t>(change.before.length);
  state.ledger.volume(state, space, 0);
  state.ledger.owner(state, change.after.uid, change.after.gid, space, 0);
  for (const auto& [parent, names] : change.parents) {
    state.ledger.dir(state, parent, DirStat{length * names, space * names, 0});
    state.ledger.quota(state, parent, space * names, 0);
  }
}

Result<CommitResult> run_data_change(State& state, std::vector<Ino> hot, Ino ino, const DataChange& change,
                                     const std::function<Result<void>(Txn&)>& body) {
  TxnOptions options;
  options.hot = std::move(hot);
  options.settled = [ino, &change](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto attr, txn.attr(ino));
    return attr && attr->length == change.after.length && attr->mtime == change.after.mtime &&
           attr->ctime == change.after.ctime;
  };
  return run(*state.engine, state.clock, options, [&](Txn& txn) -> Result<void> {
    ZEST_TRY(state.still_mine(ino));
    return body(txn);
  });
}

Result<void> append_zeroes(State& state, Txn& txn, Ino ino, uint64_t from, uint64_t to, bool only_existing_between) {
  if (from >= to) return {};
  // Naming every chunk of a sparse giant would be endless; from here on the existing lists are looked up instead.
  constexpr uint64_t kNamed = 64;
  uint64_t first = from / kChunkSize, last = (to - 1) / kChunkSize;
  auto append = [&](uint64_t index, bool only_if_present) {
    uint64_t begin = index == first ? from % kChunkSize : 0;
    uint64_t end = index == last ? (to - 1) % kChunkSize + 1 : kChunkSize;
    Slice zero;
    zero.pos = static_cast<uint32_t>(begin);
    zero.len = static_cast<uint32_t>(end - begin);
    std::string record;
    encode_slice(record, zero);
    txn.append(ino, static_cast<ChunkIndex>(index), std::move(record), only_if_present);
  };
  append(first, false);
  if (last - first <= kNamed) {
    for (uint64_t i = first + 1; i < last; i++) append(i, only_existing_between);
  } else {
    // Who writes to another chunk meanwhile changes the inode too, so this transaction fails and looks again.
    std::set<ChunkIndex> existing;  // a scan may name one twice
    ZEST_TRY(state.engine->scan(Table::kChunks, raw(ino), [&](const Key& key, const Value&) {
      if (key.b > first && key.b < last) existing.insert(static_cast<ChunkIndex>(key.b));
      return true;
    }));
    for (ChunkIndex i : existing) append(i, true);
  }
  // A whole last chunk counts as one between.
  if (last > first) append(last, only_existing_between && to % kChunkSize == 0);
  return {};
}

}  // namespace zest::meta
