// Clean-ups of gc and of the hourly jobs.
#include "meta/bulk/clean.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/log.h"
#include "base/threads.h"
#include "meta/bulk/remove.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

constexpr size_t kBatch = 50'000;    // records gathered before they are worked on
constexpr size_t kMaxFailed = 1000;  // then something is wrong with the storage, not with single slices
constexpr size_t kDeleteThreads = 10;

void warn(const char* what, uint64_t id, const Error& error) {
  log_warning(fmt::format("{} {}: {}", what, id, error.message()));
}

// Gathers keys of a table for which `wanted` holds and works on them, again until a scan finds no more: nothing is
// changed while a scan is under way. work() gives true when the record is gone, or is not wanted any more.
using Record = std::pair<Key, int64_t>;
Result<void> in_batches(State& state, Table table, const Limits& limits,
                        const std::function<bool(const Key&, const Value&)>& wanted,
                        const std::function<bool(const Record&)>& work) {
  std::set<Key> failed;  // not tried again
  uint64_t done = 0;
  while (true) {
    std::vector<Record> batch;
    ZEST_TRY(state.engine->scan(table, 0, [&](const Key& key, const Value& value) {
      if (!wanted(key, value) || failed.contains(key)) return true;
      const auto* number = std::get_if<int64_t>(&value);
      batch.emplace_back(key, number ? *number : 0);
      return batch.size() < kBatch && !limits.over();
    }));
    for (const auto& record : batch) {
      if (limits.over() || done >= limits.max || failed.size() >= kMaxFailed) return {};
      if (work(record))
        done++;
      else
        failed.insert(record.first);
    }
    if (batch.size() < kBatch) return {};
  }
}

// Hour directories whose hour began before the edge, oldest first.
Result<std::vector<std::pair<Ino, std::string>>> expired_hours(State& state, int64_t edge_sec) {
  std::vector<std::pair<Ino, std::string>> hours;
  std::string cursor;
  Distinct distinct(*state.engine);
  do {
    ZEST_ASSIGN(auto page, state.engine->list(kTrashIno, cursor, 1000, false));
    for (auto& entry : page) {
      int64_t hour = 0;
      if (entry.entry.type != FileType::kDirectory || !distinct.first(entry.name)) continue;
      if (!parse_trash_hour(entry.name, hour))
        log_warning(fmt::format("{} in the trash is no hour", entry.name));
      else if (hour < edge_sec)
        hours.emplace_back(entry.entry.ino, std::move(entry.name));
    }
  } while (!cursor.empty());
  std::sort(hours.begin(), hours.end());
  return hours;
}

// Removes an hour directory if nothing is in it.
Result<bool> remove_hour(State& state, Ino hour, const std::string& name) {
  bool gone = false;
  ZEST_TRY(state.run({hour}, [&](Txn& txn) -> Result<void> {
    gone = false;
    ZEST_TRY(txn.want({{Key::entry(kTrashIno, name)}, {Key::inode(hour)}, {Key::has_entries(hour)}}));
    ZEST_ASSIGN(auto entry, txn.entry(kTrashIno, name));
    ZEST_ASSIGN(const bool full, txn.has_entries(hour));
    if (!entry || entry->ino != hour || full) return {};
    ZEST_ASSIGN(auto attr, txn.attr(hour));
    txn.erase(Key::entry(kTrashIno, name));
    state.change_log.add(txn, state.clock.now(), "RMDIR", {kTrashIno, name, 0}, hour);
    txn.erase(Key::dir_stat(hour));
    if (attr) {
      txn.erase(Key::inode(hour));
      txn.erase(Key::xattrs(hour));
      Ledger::add_inline(state, txn, -4096, -1);
    }
    gone = attr.has_value();
    return {};
  }));
  if (gone) state.ledger.volume(state, -4096, -1);
  return gone;
}

// A slice reference that says no more than its absence would.
Result<void> drop_plain_reference(State& state, const Key& key) {
  ZEST_TRY(state.run({}, [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(const Value* value, txn.get(key));
    const auto* refs = std::get_if<int64_t>(value);
    if (refs && *refs == state.engine->absent_ref()) txn.erase(key);
    return {};
  }));
  return {};
}

}  // namespace

Result<uint64_t> clean_deleted_files(Meta& meta, int64_t older_than_sec, const Limits& limits) {
  State& state = meta.state();
  ZEST_TRY(state.writable());
  const int64_t edge = state.clock.now().sec - older_than_sec;
  std::atomic<uint64_t> removed{0};
  {
    ThreadPool pool("clean-files", kDeleteThreads, kDeleteThreads * 2);
    std::vector<std::pair<Ino, uint64_t>> files;
    ZEST_TRY(state.engine->scan(Table::kDelFiles, 0, [&](const Key& key, const Value& value) {
      const auto* deleted = std::get_if<int64_t>(&value);
      if (deleted && *deleted <= edge) files.emplace_back(Ino{key.a}, key.b);
      return files.size() < std::min<uint64_t>(limits.max, 600'000);
    }));
    for (const auto& [ino, length] : files) {
      if (limits.over()) break;
      pool.submit([&state, &removed, ino = ino, length = length] {
        if (auto done = state.deleter.delete_file_data(state, {{ino, length}}); done)
          removed++;
        else
          warn("data of deleted file", raw(ino), done.error());
      });
    }
    pool.drain();
  }
  return removed.load();
}

Result<uint64_t> clean_slices(Meta& meta, const Limits& limits) {
  State& state = meta.state();
  ZEST_TRY(state.writable());
  if (!state.data || state.options.max_deletes <= 0) return uint64_t{0};
  const int64_t plain = state.engine->absent_ref();
  uint64_t removed = 0;
  ZEST_TRY(in_batches(
      state, Table::kSliceRefs, limits,
      [&](const Key& key, const Value& value) {
        const auto* refs = std::get_if<int64_t>(&value);
        return refs && key.a != 0 && (*refs <= 0 || (plain > 0 && *refs == plain));
      },
      [&](const Record& record) {
        const auto& [key, refs] = record;
        Result<void> done;
        if (refs > 0)
          done = drop_plain_reference(state, key);
        else
          done = state.deleter.delete_slice(state, SliceId{key.a}, static_cast<uint32_t>(key.b));
        if (!done) warn("slice", key.a, done.error());
        if (done && refs <= 0) removed++;
        return done.has_value();
      }));
  return removed;
}

Result<uint64_t> clean_delayed_slices(Meta& meta, int64_t edge_sec, const Limits& limits, const char* logged_as) {
  State& state = meta.state();
  ZEST_TRY(state.writable());
  uint64_t removed = 0;
  ZEST_TRY(in_batches(
      state, Table::kDelSlicesTable, limits,
      [&](const Key& key, const Value&) { return static_cast<int64_t>(key.b) < edge_sec; },
      [&](const Record& record) {
        const Key& key = record.first;
        size_t slices = 0;
        auto done = state.run({}, [&](Txn& txn) -> Result<void> {
          slices = 0;
          ZEST_ASSIGN(const Value* value, txn.get(key));
          const auto* records = std::get_if<std::string>(value);
          if (!records) return {};
          ZEST_ASSIGN(const auto keys, decode_slice_keys(*records));
          txn.erase(key);
          for (const auto& slice : keys) txn.add(Key::slice_ref(slice.id, slice.size), -1);
          slices = keys.size();
          state.change_log.add(txn, state.clock.now(), logged_as, {key.a, key.b});
          return {};
        });
        if (!done) {
          warn("delayed slices of slice", key.a, done.error());
          return false;
        }
        removed += slices;
        state.deleter.slices(state, *done);
        return true;
      }));
  return removed;
}

Result<uint64_t> clean_trash(Meta& meta, int64_t edge_sec, const Limits& limits) {
  State& state = meta.state();
  ZEST_TRY(state.writable());
  ZEST_ASSIGN(const auto hours, expired_hours(state, edge_sec));
  const int64_t now = state.clock.now().sec;
  const std::string current = trash_hour_name(now), previous = trash_hour_name(now - 3600);
  std::atomic<uint64_t> removed{0};
  RemoveOptions options;
  options.skip_trash = true;
  options.lenient = true;
  options.removed = &removed;
  options.limits = &limits;
  for (const auto& [hour, name] : hours) {
    if (limits.over()) break;
    if (auto emptied = empty_directory(meta, Context{}, hour, options); !emptied) {
      warn("hour directory", raw(hour), emptied.error());
      continue;
    }
    // Clients that delete right now know these by heart.
    if (name == current || name == previous) continue;
    auto gone = remove_hour(state, hour, name);
    if (!gone)
      warn("hour directory", raw(hour), gone.error());
    else if (*gone)
      removed++;
  }
  return removed.load();
}

Result<uint64_t> clean_detached(Meta& meta, int64_t older_than_sec, const Limits& limits) {
  State& state = meta.state();
  ZEST_TRY(state.writable());
  const int64_t edge = state.clock.now().sec - older_than_sec;
  uint64_t removed = 0;
  ZEST_TRY(in_batches(
      state, Table::kDetachedNodes, limits,
      [&](const Key&, const Value& value) {
        const auto* since = std::get_if<int64_t>(&value);
        return since && *since <= edge;
      },
      [&](const Record& record) {
        auto done = remove_detached(meta, Ino{record.first.a});
        if (done)
          removed++;
        else
          warn("detached tree", record.first.a, done.error());
        return done.has_value();
      }));
  return removed;
}

Result<void> remove_detached(Meta& meta, Ino top) {
  State& state = meta.state();
  // It was never part of a tree: what it held is in no quota above it.
  state.ledger.remember_parent(top, Ino{0});
  RemoveOptions options;
  options.skip_trash = true;
  for (int pass = 0;; pass++) {
    ZEST_TRY(empty_directory(meta, Context{}, top, options));
    bool full = false, gone = false;
    ZEST_TRY(state.run({top}, [&](Txn& txn) -> Result<void> {
      gone = false;
      ZEST_TRY(txn.want({{Key::inode(top)}, {Key::has_entries(top)}}));
      ZEST_ASSIGN(full, txn.has_entries(top));
      if (full) return {};
      ZEST_ASSIGN(auto attr, txn.attr(top));
      gone = attr.has_value();
      if (gone) {
        txn.erase(Key::inode(top));
        txn.erase(Key::xattrs(top));
        Ledger::add_inline(state, txn, -4096, -1);
      }
      txn.erase(Key::dir_stat(top));
      txn.erase(Key::detached(top));
      state.change_log.add(txn, state.clock.now(), "CLEANUP", {top});
      return {};
    }));
    if (!full) {
      if (gone) state.ledger.volume(state, -4096, -1);
      return {};
    }
    if (pass == 10) return fail(ENOTEMPTY);
  }
}

Result<uint64_t> Meta::clean_deleted_files(int64_t older_than_sec) {
  return meta::clean_deleted_files(*this, older_than_sec, Limits());
}
Result<uint64_t> Meta::clean_slices() { return meta::clean_slices(*this, Limits()); }
Result<uint64_t> Meta::clean_delayed_slices(int64_t edge_sec) {
  return meta::clean_delayed_slices(*this, edge_sec, Limits());
}
Result<uint64_t> Meta::clean_trash(int64_t edge_sec) { return meta::clean_trash(*this, edge_sec, Limits()); }
Result<uint64_t> Meta::clean_detached(int64_t older_than_sec) {
  return meta::clean_detached(*this, older_than_sec, Limits());
}
const CleanUpStats& Meta::clean_up_stats() const { return state_->jobs->clean_ups(); }
void Meta::drain_deletes() { state_->deleter.drain(); }

}  // namespace zest::meta
