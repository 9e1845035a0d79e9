// zestfs gc: finds objects that nothing refers to; removes them, expired trash and waiting deletions
// (docs/behaviour/cli.md).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/threads.h"
#include "cli/checkpoint.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/slices.h"
#include "cli/terminal.h"
#include "data/data.h"
#include "dump/escape.h"
#include "meta/bulk/clean.h"

namespace zest::cli {
namespace {

struct Tally {
  uint64_t count = 0, bytes = 0;
  void add(uint64_t size) { count++, bytes += size; }
};

struct GcCommand {
  std::vector<std::string> args;
  bool compact = false, remove = false, json = false;
  Checkpoint::Options checkpointing;
  int threads = 10;

  int run();
  Result<void> expire(meta::Meta& meta, int64_t now);
  Result<void> compact_all(meta::Meta& meta);
  Result<void> sweep(meta::Meta& meta, object::Storage& store, Checkpoint& checkpoint, int64_t now);
  void report(uint64_t scanned);
  Result<void> count_waiting(meta::Meta& meta);
  Result<void> judge(SliceStream& slices, BlockSort& blocks, uint32_t block_size, int64_t youngest, BlockSort& leaks);
  Result<void> delete_leaks(meta::Meta& meta, object::Storage& store, BlockSort& leaks);
  struct {
    Tally used, delayed, valid, pending, compacted, leaked, skipped, delfiles;
  } counts;
  const std::atomic<bool>* cancelled = nullptr;
};

// Trash, unfinished clones, deleted files and slices whose time has come.
Result<void> GcCommand::expire(meta::Meta& meta, int64_t now) {
  const int64_t edge = now - int64_t{meta.format().trash_days} * 86400;
  const meta::Limits limits(system_clock(), std::numeric_limits<int32_t>::max(), cancelled);
  ZEST_ASSIGN(uint64_t trashed, meta::clean_trash(meta, edge, limits));
  if (trashed) log_info(fmt::format("Removed {} files from the trash", trashed));
  ZEST_ASSIGN(uint64_t detached, meta::clean_detached(meta, 86400, limits));
  if (detached) log_info(fmt::format("Removed {} unfinished clones", detached));
  ZEST_ASSIGN(uint64_t files, meta::clean_deleted_files(meta, 0, limits));
  if (files) log_info(fmt::format("Deleted the data of {} files", files));
  ZEST_ASSIGN(uint64_t delayed, meta::clean_delayed_slices(meta, edge, limits));
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

bool fits(const std::optional<KnownSlice>& slice, const KnownBlock& block, uint32_t block_size) {
  return slice && block_bytes(block_size, slice->size, block.index) == block.bytes;
}

// Judges every block; those that leaked are added to `leaks`.
Result<void> GcCommand::judge(SliceStream& slices, BlockSort& blocks, uint32_t block_size, int64_t youngest,
                              BlockSort& leaks) {
  while (!*cancelled) {
    ZEST_ASSIGN(auto block, blocks.next());
    if (!block) return {};
    ZEST_ASSIGN(auto slice, slices.find(block->slice));
    bool good = fits(slice, *block, block_size);
    if (good && slice->state == SliceState::kUsed) {
      counts.valid.add(block->bytes);
    } else if (block->mtime_sec == 0 || block->mtime_sec > youngest) {
      counts.skipped.add(block->bytes);
    } else if (good) {
      (slice->state == SliceState::kPending ? counts.pending : counts.compacted).add(block->bytes);
    } else {
      if (slice)
        log_warning(fmt::format("block {}_{}_{} does not fit its slice of {} bytes", block->slice, block->index,
                                block->bytes, slice->size));
      counts.leaked.add(block->bytes);
      ZEST_TRY(leaks.add(*block));
    }
  }
  return fail(EINTR);
}

// Reads the metadata once more before anything goes: a copy of a slice may have been made behind the first scan's back.
Result<void> GcCommand::delete_leaks(meta::Meta& meta, object::Storage& store, BlockSort& leaks) {
  if (leaks.count() == 0) return {};
  auto format = meta.format();
  SliceStream slices;
  ZEST_TRY(slices.read(meta, cancelled));
  std::atomic<uint64_t> done{0}, total{leaks.count()};
  Progress progress("Deleted leaked objects", &done, &total);
  ThreadPool pool("gc", static_cast<size_t>(threads), 1000);
  while (!*cancelled) {
    ZEST_ASSIGN(auto block, leaks.next());
    if (!block) return {};
    ZEST_ASSIGN(auto slice, slices.find(block->slice));
    if (fits(slice, *block, format.block_size())) continue;
    pool.submit([&store, &done, key = block_key(format, SliceId{block->slice}, block->index, block->bytes)] {
      if (auto removed = store.remove(key); !removed)
        log_warning(fmt::format("cannot delete {}: {}", key, removed.error().message()));
      done++;
    });
  }
  return fail(EINTR);
}

Result<void> GcCommand::count_waiting(meta::Meta& meta) {
  ZEST_TRY(meta.engine().scan(meta::Table::kDelFiles, 0, [&](const meta::Key& key, const meta::Value&) {
    counts.delfiles.add(key.b);
    return !*cancelled;
  }));
  SliceStream slices;
  ZEST_TRY(slices.read(meta, cancelled));
  while (true) {
    ZEST_ASSIGN(auto slice, slices.next());
    if (!slice) return {};
    (slice->state == SliceState::kUsed ? counts.used : counts.delayed).add(slice->size);
  }
}

void GcCommand::report(uint64_t scanned) {
  auto& c = counts;
  log_info(fmt::format(
      "scanned {} objects, {} valid, {} pending delete ({} bytes), {} compacted ({} bytes), {} leaked ({} bytes), "
      "{} delslices ({} bytes), {} delfiles ({} bytes), {} skipped ({} bytes)",
      scanned, c.valid.count, c.pending.count, c.pending.bytes, c.compacted.count, c.compacted.bytes, c.leaked.count,
      c.leaked.bytes, c.delayed.count, c.delayed.bytes, c.delfiles.count, c.delfiles.bytes, c.skipped.count,
      c.skipped.bytes));
  if (c.leaked.count && !remove) log_info("Please add `--delete` to clean leaked objects");
  if (!json) return;
  nlohmann::ordered_json out{{"scannedBlocks", scanned}};
  for (auto& [name, tally] : {std::pair{"used", &c.used},
                              {"valid", &c.valid},
                              {"pending", &c.pending},
                              {"compacted", &c.compacted},
                              {"leaked", &c.leaked},
                              {"skipped", &c.skipped},
                              {"delslices", &c.delayed},
                              {"delfiles", &c.delfiles}})
    out[name] = {{"count", tally->count}, {"bytes", tally->bytes}};
  out["deleted"] = remove;
  fmt::print("{}\n", out.dump(2));
}

Result<void> GcCommand::sweep(meta::Meta& meta, object::Storage& store, Checkpoint& checkpoint, int64_t now) {
  const char* setting = getenv("JFS_GC_SKIPPEDTIME");
  int64_t youngest = now - (setting ? atoll(setting) : 3600);
  if (remove) {
    const meta::Limits limits(system_clock(), std::numeric_limits<int32_t>::max(), cancelled);
    ZEST_ASSIGN(uint64_t pending_slices, meta::clean_slices(meta, limits));
    log_info(fmt::format("Deleted {} pending slices", pending_slices));
  }
  ZEST_TRY(count_waiting(meta));
  log_info(fmt::format("using {} slices ({} bytes)", counts.used.count, counts.used.bytes));
  // The metadata first: what is listed afterwards and not in it is young, or leaked. What an interrupted run listed is
  // older still, and judged by the metadata of now.
  SliceStream slices;
  BlockSort blocks, leaks;
  ZEST_TRY(slices.read(meta, cancelled));
  std::atomic<uint64_t> scanned{0}, bytes{0};
  {
    Progress progress("Scanned objects", &scanned, nullptr);
    ZEST_TRY(read_blocks(store, meta.format(), blocks, scanned, bytes, checkpoint, cancelled));
  }
  ZEST_TRY(judge(slices, blocks, meta.format().block_size(), youngest, leaks));
  if (remove) ZEST_TRY(delete_leaks(meta, store, leaks));
  report(scanned);
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
  Checkpoint checkpoint(checkpointing, meta.format().uuid, "gc", dump::escape(meta.format().bucket));
  auto result = [&]() -> Result<void> {
    if (remove) ZEST_TRY(expire(meta, now));
    if (compact && !*cancelled) ZEST_TRY(compact_all(meta));
    meta.drain_deletes();
    if (*cancelled) return fail(EINTR);
    return sweep(meta, raw_store, checkpoint, now);
  }();
  meta.drain_deletes();
  meta.set_data_hooks(nullptr);
  auto closed = (*data)->close();
  if (!result) {
    checkpoint.keep();
    return complain("gc", result.error());
  }
  checkpoint.finish();
  return closed ? 0 : complain("gc", closed.error());
}

}  // namespace

Runner setup_gc(CLI::App& app) {
  auto command = std::make_shared<GcCommand>();
  positionals(app, command->args, 1, 1);
  app.add_flag("--compact", command->compact, "compact all chunks of several slices first");
  app.add_flag("--delete", command->remove, "delete leaked objects, expired trash and what waits for deletion");
  app.add_option("--threads,-p", command->threads, "threads that delete or compact");
  app.add_flag("--json", command->json, "print the counts as JSON");
  Checkpoint::add_options(app, command->checkpointing);
  return [command] { return command->run(); };
}

}  // namespace zest::cli
