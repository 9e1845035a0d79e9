// write (semantics.md 7.4): records of slices whose data is in the store.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "meta/growth.h"

namespace zest::meta {

namespace {

// Records of a chunk. From kCompactNow on the writer waits for compaction: a list of over 2,730 does not fit MariaDB's
// column, and a commit brings up to a thousand at once.
constexpr size_t kCompactEvery = 100, kCompactOver = 350, kCompactNow = 1000;

// Is the record of this slice among those of the chunk?
Result<bool> has_record(Txn& txn, Ino ino, const Meta::ChunkWrite& write) {
  ZEST_ASSIGN(auto records, txn.chunk(ino, write.chunk));
  std::string wanted;
  encode_slice(wanted, write.slice);
  for (size_t at = 0; at + kSliceRecord <= records.size(); at += kSliceRecord)
    if (std::string_view(records).substr(at, kSliceRecord) == wanted) return true;
  return false;
}

bool valid(const Meta::ChunkWrite& write) {
  const Slice& slice = write.slice;
  uint64_t end = uint64_t{slice.pos} + slice.len;
  if (slice.len == 0 || end > kChunkSize || write.chunk * kChunkSize + end >= kMaxFileSize) return false;
  return raw(slice.id) == 0 || uint64_t{slice.off} + slice.len <= slice.size;
}

// A slice written by this call may have been committed by an earlier one whose answer was lost.
Result<std::vector<bool>> already_there(State& state, Txn& txn, Ino ino, std::span<const Meta::ChunkWrite> writes) {
  std::vector<bool> there(writes.size());
  std::vector<Want> lists;
  for (auto& write : writes)
    if (state.doubtful.contains(write.slice.id)) lists.push_back({Key::chunk(ino, write.chunk)});
  if (lists.empty()) return there;
  ZEST_TRY(txn.want(lists));
  for (size_t i = 0; i < writes.size(); i++) {
    if (!state.doubtful.contains(writes[i].slice.id)) continue;
    ZEST_ASSIGN(bool found, has_record(txn, ino, writes[i]));
    there[i] = found;
  }
  return there;
}

// The change log says how many records a chunk has after the write; on Redis, where that would have to be read for it,
// the reference says 0.
bool counts_records(const State& state) { return state.change_log.on() && !state.engine->info().inline_counters; }

// After the records were appended.
Result<void> log_writes(State& state, Txn& txn, Ino ino, std::span<const Meta::ChunkWrite> writes,
                        const std::vector<bool>& there, Time at, bool counted) {
  if (!state.change_log.on()) return {};
  std::map<ChunkIndex, size_t> left;  // of the chunk's new records, how many come after this one
  for (size_t i = 0; i < writes.size(); i++) left[writes[i].chunk] += !there[i];
  for (size_t i = 0; i < writes.size(); i++) {
    if (there[i]) continue;
    const auto& [chunk, slice, mtime] = writes[i];
    size_t records = 0;
    left[chunk]--;
    if (counted) {
      ZEST_ASSIGN(const auto list, txn.chunk(ino, chunk));
      records = list.size() / kSliceRecord - left[chunk];
    }
    state.change_log.add(txn, at, "WRITE", {ino, chunk, slice.pos, slice.id, slice.len, mtime.sec, mtime.nsec},
                         records);
  }
  return {};
}

Result<void> put_writes(State& state, Txn& txn, Ino ino, std::span<const Meta::ChunkWrite> writes, DataChange& change,
                        std::vector<bool>& there) {
  ZEST_TRY(state.still_mine(ino));
  std::vector<Want> wants{{Key::inode(ino)}};
  const bool counted = counts_records(state);
  for (size_t i = 0; counted && i < writes.size(); i++) wants.push_back({Key::chunk(ino, writes[i].chunk)});
  ZEST_TRY(txn.want(wants));
  ZEST_ASSIGN(auto found, txn.attr(ino));
  if (!found) return fail(ENOENT);
  if (!found->is_file()) return fail(EPERM);
  change = {*found, *found};
  ZEST_ASSIGN(there, already_there(state, txn, ino, writes));
  std::map<ChunkIndex, std::string> records;
  for (size_t i = 0; i < writes.size(); i++) {
    const auto& [chunk, slice, mtime] = writes[i];
    if (there[i]) continue;
    encode_slice(records[chunk], slice);
    change.after.length = std::max(change.after.length, chunk * kChunkSize + slice.pos + slice.len);
    change.after.mtime = mtime;
  }
  if (records.empty()) return {};
  // As on a local disk the file changed when it was written to: a later commit must not make it look touched again.
  // Zeroes have no id by which settled() could know them: they go by the time of the commit.
  const bool zeroes = std::ranges::all_of(writes, [](auto& write) { return raw(write.slice.id) == 0; });
  // An mtime that lies ahead was chosen meanwhile, and choosing it moved ctime.
  const Time now = state.clock.now();
  if (zeroes)
    change.after.ctime = now;
  else if (change.after.mtime <= now)
    change.after.ctime = std::max(change.after.ctime, change.after.mtime);
  ZEST_TRY(put_data_change(state, txn, Context{}, ino, change));
  for (auto& [chunk, list] : records) txn.append(ino, chunk, std::move(list));
  ZEST_TRY(log_writes(state, txn, ino, writes, there, change.after.ctime, counted));
  std::set<SliceId> held;  // small writes may share a slice: each further record is a further reference
  for (size_t i = 0; i < writes.size(); i++) {
    const Slice& slice = writes[i].slice;
    if (there[i] || raw(slice.id) == 0) continue;
    if (held.insert(slice.id).second)
      txn.new_slice(slice.id, slice.size);
    else
      txn.add(Key::slice_ref(slice.id, slice.size), 1);
  }
  return {};
}

void compact_long_lists(State& state, Ino ino, std::span<const Meta::ChunkWrite> writes, const CommitResult& result) {
  for (auto& [key, records] : result.chunk_records) {
    if (key.kind != Kind::kChunk || records == 0) continue;
    auto chunk = static_cast<ChunkIndex>(key.b);
    size_t added = std::count_if(writes.begin(), writes.end(), [&](auto& write) { return write.chunk == chunk; });
    size_t before = records > added ? records - added : 0;
    // one of the lengths before+1 .. records is 99, 199, ...
    bool hundredth = (records + 1) / kCompactEvery > (before + 1) / kCompactEvery;
    if (records >= kCompactNow)
      (void)state.compactor.compact(state, ino, chunk, kCompactNow);
    else if (hundredth || records > kCompactOver)
      state.compactor.background(state, ino, chunk);
  }
}

// Did the commit of unknown outcome take effect? Slices are known by their ids; zeroes by the time of the change.
Result<bool> settled(Txn& txn, Ino ino, std::span<const Meta::ChunkWrite> writes, const DataChange& change) {
  for (auto& write : writes) {
    if (raw(write.slice.id) > 0) return has_record(txn, ino, write);
  }
  ZEST_ASSIGN(auto attr, txn.attr(ino));
  return attr && attr->ctime == change.after.ctime;
}

// Slices found there already were committed by an earlier call, which could not tell anybody how the file grew.
void settle_doubts(State& state, Ino ino, std::span<const Meta::ChunkWrite> writes, const std::vector<bool>& there,
                   const Attr& attr) {
  for (size_t i = 0; i < writes.size(); i++) {
    auto growth = state.doubtful.find(writes[i].slice.id);
    if (!growth) continue;
    state.doubtful.remove(writes[i].slice.id);
    if (!there[i] || growth->old_length == growth->new_length) continue;
    DataChange change{attr, attr, growth->parents};
    change.before.length = growth->old_length;
    change.after.length = growth->new_length;
    data_changed(state, ino, change, {});
  }
}

}  // namespace

Result<Attr> Meta::write(Ino ino, std::span<const ChunkWrite> writes) {
  Calling calling(engine().stats, Call::kWrite);
  State& s = *state_;
  ZEST_TRY(s.may_change(ino));
  for (auto& write : writes)
    if (!valid(write)) return fail(EINVAL, "slice outside of its chunk");
  DataChange change;
  std::vector<bool> there(writes.size());
  TxnOptions options;
  options.hot = {ino};
  options.settled = [&](Txn& txn) { return settled(txn, ino, writes, change); };
  auto done =
      meta::run(*s.engine, s.clock, options, [&](Txn& txn) { return put_writes(s, txn, ino, writes, change, there); });
  if (!done) {
    s.open_files.forget(ino);
    // The caller may try again with the same slices.
    Doubtful::Growth growth{change.before.length, change.after.length, change.parents};
    for (size_t i = 0; i < writes.size() && done.error().fault == Fault::kUnknownOutcome; i++)
      s.doubtful.add(writes[i].slice.id, std::exchange(growth, {}));
    return fail(std::move(done.error()));
  }
  settle_doubts(s, ino, writes, there, change.after);
  std::vector<ChunkIndex> chunks;
  for (auto& write : writes) chunks.push_back(write.chunk);
  data_changed(s, ino, change, chunks);
  compact_long_lists(s, ino, writes, *done);
  return change.after;
}

}  // namespace zest::meta
