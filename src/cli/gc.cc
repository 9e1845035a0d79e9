// zestfs gc: finds objects that nothing refers to; removes them, expired trash and waiting deletions
// (docs/behaviour/cli.md).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "base/log.h"
#include "base/threads.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/slices.h"
#include "cli/terminal.h"
#include "data/data.h"

namespace zest::cli {
namespace {

struct Tally {
  uint64_t count = 0, bytes = 0;
  void add(uint64_t size) { count++, bytes += size; }
};

struct GcCommand {
  std::vector<std::string> args;
  bool compact = false, remove = false;
  int threads = 10;

  int run();
  Result<void> expire(meta::Meta& meta, int64_t now);
  Result<void> compact_all(meta::Meta& meta);
  Result<void> sweep(meta::Meta& meta, object::Storage& store, int64_t now);
  const std::atomic<bool>* cancelled = nullptr;
};

// Trash, unfinished clones, deleted files and slices whose time has come.
Result<void> GcCommand::expire(meta::Meta& meta, int64_t now) {
  auto format = meta.format();
  ZEST_ASSIGN(uint64_t trashed, meta.clean_trash(now - int64_t{format.trash_days} * 86400));
  if (trashed) log_info(fmt::format("Removed {} files from the trash", trashed));
  ZEST_ASSIGN(uint64_t detached, meta.clean_detached(86400));
  if (detached) log_info(fmt::format("Removed {} unfinished clones", detached));
  ZEST_ASSIGN(uint64_t files, meta.clean_deleted_files(0));
  if (files) log_info(fmt::format("Deleted the data of {} files", files));
  ZEST_ASSIGN(uint64_t delayed, meta.clean_delayed_slices(now - int64_t{format.trash_days} * 86400));
  if (delayed) log_info(fmt::format("Removed {} compacted slices", delayed));
  return {};
}

Result<void> GcCommand::compact_all(meta::Meta& meta) {
  std::atomic<uint64_t> done{0}, chunks{0}, slices{0}, bytes{0}, failed{0};
  Progress progress("Scanned chunks", &done, nullptr);
  ThreadPool pool("compact", static_cast<size_t>(threads), 1000);
  auto scanned = meta.scan_chunks([&](Ino ino, ChunkIndex index, const std::vector<Slice>& records) {
    if (records.size() > 1) {
      uint64_t size = 0;
      for (auto& record : records) size += record.len;
      pool.submit([&, ino, index, count = records.size(), size] {
        auto result = meta.compact_chunk(ino, index);
        if (!result)
          failed++, log_warning(fmt::format("cannot compact chunk {} of inode {}: {}", index, raw(ino),
                                            result.error().message()));
        else if (*result)
          chunks++, slices += count, bytes += size;
      });
    }
    done++;
    return !*cancelled;
  });
  pool.drain();
  log_info(fmt::format("Compacted {} chunks ({} slices, {} bytes).", chunks.load(), slices.load(), bytes.load()));
  return scanned;
}

Result<void> GcCommand::sweep(meta::Meta& meta, object::Storage& store, int64_t now) {
  const char* setting = getenv("JFS_GC_SKIPPEDTIME");
  int64_t youngest = now - (setting ? atoll(setting) : 3600);
  auto format = meta.format();
  uint64_t delfiles = 0, delfile_bytes = 0, pending_slices = 0;
  ZEST_TRY(meta.engine().scan(meta::Table::kDelFiles, 0, [&](const meta::Key& key, const meta::Value&) {
    delfiles++, delfile_bytes += key.b;
    return true;
  }));
  if (remove) {
    ZEST_ASSIGN(pending_slices, meta.clean_slices());
    log_info(fmt::format("Deleted {} pending slices", pending_slices));
  }
  ZEST_ASSIGN(auto slices, SliceTable::read(meta));
  Tally used, delayed;
  for (auto& slice : slices.all()) (slice.state == SliceState::kUsed ? used : delayed).add(slice.size);
  log_info(fmt::format("using {} slices ({} bytes)", used.count, used.bytes));
  Tally valid, pending, compacted, leaked, skipped;
  std::atomic<uint64_t> scanned{0};
  ThreadPool pool("gc", static_cast<size_t>(threads), 1000);
  Progress progress("Scanned objects", &scanned, nullptr);
  auto listed = object::list_all(store, "chunks/", [&](const object::ObjectInfo& object) {
    SliceId id;
    uint32_t index, bytes;
    if (object.is_dir || !parse_block_key(object.key, id, index, bytes)) return !*cancelled;
    scanned++;
    auto* slice = slices.find(id);
    bool fits = slice && block_bytes(format.block_size(), slice->size, index) == bytes;
    if (fits && slice->state == SliceState::kUsed)
      valid.add(bytes);
    else if (object.mtime.sec == 0 || object.mtime.sec > youngest)
      skipped.add(bytes);
    else if (fits && slice->state == SliceState::kPending)
      pending.add(bytes);
    else if (fits)
      compacted.add(bytes);
    else {
      if (slice) log_warning(fmt::format("object {} does not fit its slice of {} bytes", object.key, slice->size));
      leaked.add(bytes);
      if (remove) {
        pool.submit([&store, key = object.key] {
          if (auto removed = store.remove(key); !removed)
            log_warning(fmt::format("cannot delete {}: {}", key, removed.error().message()));
        });
      }
    }
    return !*cancelled;
  });
  pool.drain();
  ZEST_TRY(listed);
  log_info(fmt::format(
      "scanned {} objects, {} valid, {} pending delete ({} bytes), {} compacted ({} bytes), {} leaked ({} bytes), "
      "{} delslices ({} bytes), {} delfiles ({} bytes), {} skipped ({} bytes)",
      scanned.load(), valid.count, pending.count, pending.bytes, compacted.count, compacted.bytes, leaked.count,
      leaked.bytes, delayed.count, delayed.bytes, delfiles, delfile_bytes, skipped.count, skipped.bytes));
  if (leaked.count && !remove) log_info("Please add `--delete` to clean leaked objects");
  return {};
}

int GcCommand::run() {
  if ((compact || remove) && threads <= 0) return complain("threads should be greater than 0");
  threads = std::max(threads, 1);
  cancelled = watch_interrupts();
  meta::Options options;
  options.no_background_jobs = true;
  options.max_deletes = threads;
  auto opened = open_volume(args[0], options);
  if (!opened) return complain("", opened.error());
  auto& meta = **opened;
  auto store = open_volume_storage(meta.format());
  if (!store) return complain("cannot open the storage", store.error());
  auto& raw_store = **store;
  data::DataOptions data_options;
  data_options.cache.size_bytes = 0;
  auto data = data::Data::open(meta, std::move(*store), system_clock(), data_options);
  if (!data) return complain("cannot open the data", data.error());
  meta.set_data_hooks(data->get());
  int64_t now = system_clock().now().sec;
  auto result = [&]() -> Result<void> {
    if (remove) ZEST_TRY(expire(meta, now));
    if (compact) ZEST_TRY(compact_all(meta));
    meta.drain_deletes();
    return sweep(meta, raw_store, now);
  }();
  meta.drain_deletes();
  meta.set_data_hooks(nullptr);
  auto closed = (*data)->close();
  if (!result) return complain("gc", result.error());
  if (*cancelled) return complain("interrupted; what was done is done, run it again to go on");
  return closed ? 0 : complain("gc", closed.error());
}

}  // namespace

Runner setup_gc(CLI::App& app) {
  auto command = std::make_shared<GcCommand>();
  positionals(app, command->args, 1, 1);
  app.add_flag("--compact", command->compact, "compact all chunks of several slices first");
  app.add_flag("--delete", command->remove, "delete leaked objects, expired trash and what waits for deletion");
  app.add_option("--threads,-p", command->threads, "threads that delete or compact");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
