#include "data/volume_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <future>
#include <thread>

#include "base/log.h"
#include "data/cache/disk_cache.h"
#include "data/cache/memory_cache.h"
#include "data/gather.h"

namespace zest::data {
namespace {
constexpr uint64_t kFallbackCache = 100 << 20;
constexpr int64_t kTickMs = 1000;
constexpr size_t kWarmers = 16;
constexpr size_t kCompactUploads = 4;  // of one compaction at once

DataOptions sane(DataOptions options, const Format& format) {
  options.buffer_size = std::max<uint64_t>(options.buffer_size, 2 * uint64_t{format.block_size()});
  if (options.cache.size_bytes == 0) options.prefetch = 0, options.writeback = false;
  options.io_retries = std::max(options.io_retries, 0);
  return options;
}
}  // namespace

Result<std::unique_ptr<Data>> Data::open(meta::Meta& meta, std::unique_ptr<object::Storage> storage, const Clock& clock,
                                         const DataOptions& options) {
  if (!storage) return fail(EINVAL, "no object storage");
  ZEST_TRY(object::parse_compression(meta.format().compression));
  return std::make_unique<VolumeData>(meta, std::move(storage), clock, options);
}

VolumeData::VolumeData(meta::Meta& meta, std::unique_ptr<object::Storage> storage, const Clock& clock,
                       const DataOptions& options)
    : meta_(meta),
      storage_(std::move(storage)),
      clock_(clock),
      options_(sane(options, meta.format())),
      format_(meta.format()),
      budget_(static_cast<int64_t>(options_.buffer_size)),
      pool_(budget_, format_.block_size()) {
  make_cache();
  blocks_ = std::make_unique<BlockStore>(*storage_, format_, options_, pool_, cache_.get(), stats_);
  if (cache_ && !options_.read_only) {
    staging_ = std::make_unique<Staging>(*blocks_, *cache_, options_, clock_, stats_);
    staging_->scan();
  }
  writer_ = std::make_unique<Writer>(
      meta_, *blocks_, options_.writeback ? staging_.get() : nullptr, clock_, options_,
      [this] { reader_->drop_read_ahead(true); }, [this](SliceId id, uint32_t size) { (void)delete_slice(id, size); },
      [this](Ino ino) { return placement(ino); });
  reader_ = std::make_unique<Reader>(meta_, *blocks_, *writer_, clock_, options_);
  blocks_->set_relief([this] { reader_->drop_read_ahead(true); });
  ticker_ = std::make_unique<Periodic>("data", kTickMs, [this] { tick(); });
}

VolumeData::~VolumeData() {
  closed_ = true;
  if (ticker_) ticker_->stop();
  reader_->stop();
  writer_->stop();
  if (staging_) staging_->stop();
  blocks_->stop();
  if (cache_) cache_->stop();
}

void VolumeData::make_cache() {
  cache_dir_ = "memory";
  const auto& cache = options_.cache;
  if (cache.size_bytes == 0) return;
  bool memory = cache.dirs.empty() || (cache.dirs.size() == 1 && cache.dirs[0] == "memory");
  if (!memory) {
    if (auto disk = make_disk_cache(options_, format_, clock_, stats_)) {
      cache_ = std::move(disk);
      cache_dir_.clear();
      for (const auto& dir : cache.dirs)
        cache_dir_ += (cache_dir_.empty() ? "" : ":") + dir + (dir.ends_with('/') ? "" : "/") + format_.uuid;
      return;
    }
    log_warning("no cache directory can be used: 100 MiB of memory are used instead");
  }
  options_.writeback = false;
  cache_ = make_memory_cache(memory ? cache.size_bytes : kFallbackCache, cache, clock_, stats_);
}

Result<void> VolumeData::close() {
  if (closed_.exchange(true)) return {};
  auto outcome = writer_->flush_all();
  ticker_->stop();
  reader_->stop();
  writer_->stop();
  if (staging_) staging_->stop();
  blocks_->stop();
  if (cache_) cache_->stop();
  return outcome;
}

// Lets go of memory that nobody uses any more.
void VolumeData::tick() {
  reader_->drop_read_ahead(false);
  uint64_t activity = stats_.object_gets + stats_.object_puts;
  if (activity == last_activity_) pool_.trim();
  last_activity_ = activity;
}

Result<size_t> VolumeData::read(ReadHandle& handle, uint64_t length, uint64_t offset, std::span<char> into,
                                const std::atomic<bool>* cancelled, Lent* lent) {
  return reader_->read(static_cast<FileHandle&>(handle), length, offset, into, cancelled, lent);
}

Result<void> VolumeData::write(Ino ino, uint64_t offset, std::span<const char> data,
                               const std::atomic<bool>* cancelled) {
  if (options_.read_only) return fail(EROFS);
  if (closed_) return fail(EIO, "the client is stopping");
  return writer_->write(ino, offset, data, cancelled);
}

Result<void> VolumeData::flush(Ino ino, const std::atomic<bool>* cancelled) { return writer_->flush(ino, cancelled); }

Result<void> VolumeData::sync(Ino ino) {
  ZEST_TRY(writer_->flush(ino, nullptr));
  if (options_.writeback && cache_) ZEST_TRY(cache_->sync_staged());
  ZEST_TRY(storage_->sync());
  return meta_.engine().sync();
}

bool VolumeData::clean(Ino ino) const {
  auto file = writer_->find(ino);
  return !file || (file->clean() && !file->has_error());
}

uint64_t VolumeData::length(Ino ino, uint64_t meta_length) const {
  auto file = writer_->find(ino);
  if (!file) return meta_length;
  uint64_t known = std::max(file->end(), meta_length);
  if (meta_length == 0 || file->committed_end(clock_.monotonic_ms()) <= known) return known;
  // The caller read the attributes before a commit that has just taken the data out of the buffers, or another client
  // made the file shorter: the database knows.
  auto attr = meta_.getattr(meta::Context{}, ino);
  return attr ? std::max(file->end(), attr->length) : known;
}

Time VolumeData::mtime(Ino ino, Time meta_mtime) const {
  auto file = writer_->find(ino);
  if (!file) return meta_mtime;
  return file->mtime().value_or(meta_mtime);
}

void VolumeData::set_mtime(Ino ino, Time mtime) {
  if (auto file = writer_->find(ino)) file->set_mtime(mtime);
}

void VolumeData::invalidate(Ino ino, uint64_t offset, uint64_t size) {
  if (auto file = writer_->find(ino)) file->forget_length();
  if (size == 0) return;
  uint64_t last = offset + size - 1 < offset ? UINT64_MAX : offset + size - 1;
  last = std::min(last, kMaxFileSize - 1) / kChunkSize;
  meta_.forget_chunks(ino, static_cast<ChunkIndex>(offset / kChunkSize), static_cast<ChunkIndex>(last));
}

std::pair<uint64_t, uint64_t> VolumeData::cached() const {
  return cache_ ? cache_->usage() : std::pair<uint64_t, uint64_t>{0, 0};
}

// Several blocks at a time, as far as memory lets.
void VolumeData::warm_up(const std::vector<BlockId>& blocks) {
  auto fits = options_.buffer_size / 4 / format_.block_size();
  size_t workers = std::min<size_t>({blocks.size(), std::max<uint64_t>(fits, 1), kWarmers});
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i = next++; i < blocks.size() && !closed_; i = next++)
      if (auto result = blocks_->warm(blocks[i]); !result)
        log_warning(fmt::format("warm-up of {}: {}", blocks_->key(blocks[i]), result.error().message()));
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < workers; i++) threads.emplace_back(work);
  work();
  for (auto& thread : threads) thread.join();
}

void VolumeData::look_up(const BlockId& id, CacheState& state) {
  state.blocks++;
  state.bytes += id.bytes;
  auto where = cache_ ? cache_->location(id) : std::string();
  if (where.empty()) return;
  state.cached_blocks++;
  state.cached_bytes += id.bytes;
  for (auto& [place, bytes] : state.locations) {
    if (place != where) continue;
    bytes += id.bytes;
    return;
  }
  state.locations.emplace_back(where, id.bytes);
}

Result<Data::CacheState> VolumeData::cache_file(Ino ino, uint64_t length, CacheAction action) {
  CacheState state;
  const uint32_t block = format_.block_size();
  for (uint64_t chunk = 0; chunk * kChunkSize < length; chunk++) {
    ZEST_ASSIGN(auto view, meta_.read_chunk(ino, static_cast<ChunkIndex>(chunk)));
    std::vector<BlockId> blocks;
    for (const Slice& piece : view.pieces) {
      if (raw(piece.id) == 0) continue;
      for (uint32_t i = 0; i < block_count(piece.size, block); i++)
        blocks.push_back({piece.id, i, block_bytes(piece.size, i, block)});
    }
    if (action == CacheAction::kWarmup) warm_up(blocks);
    for (const BlockId& id : blocks) {
      if (action == CacheAction::kEvict && cache_) cache_->remove(id);
      look_up(id, state);
    }
  }
  return state;
}

Result<void> VolumeData::delete_slice(SliceId id, uint32_t size) {
  if (raw(id) == 0) return {};
  // After a loss of power the database must not show the slice any more, if its objects are gone then.
  ZEST_TRY(meta_sync_.sync());
  const uint32_t block = format_.block_size();
  std::vector<BlockId> blocks;
  for (uint32_t i = 0; i < block_count(size, block); i++) {
    blocks.push_back({id, i, block_bytes(size, i, block)});
    if (staging_) staging_->drop(blocks.back());
    if (cache_) cache_->remove(blocks.back());
  }
  return blocks_->remove_objects(blocks);
}

object::Placement VolumeData::placement_of_tier(uint8_t tier) const {
  auto found = format_.tiers.find(tier);
  if (tier == 0 || found == format_.tiers.end()) return {};
  return {found->second.storage_class, found->second.tag};
}

object::Placement VolumeData::placement(Ino ino) {
  if (format_.tiers.empty()) return {};
  auto attr = meta_.getattr(meta::Context{}, ino);  // the file is open: mostly at hand
  return attr ? placement_of_tier(attr->tier) : object::Placement();
}

Result<void> VolumeData::compact(const CompactionPlan& plan, SliceId id, uint8_t tier) {
  const uint32_t block = format_.block_size();
  const object::Placement placement = placement_of_tier(tier);
  auto patiently = [this](const std::function<Result<void>()>& work) {
    for (int attempt = 0;; attempt++) {
      auto outcome = work();
      if (outcome || attempt >= std::min(options_.io_retries, 3) || closed_) return outcome;
      clock_.sleep_ms(attempt * attempt * 1000 + 10);
    }
  };
  Gather source(*blocks_, plan.pieces);
  Result<void> outcome;
  std::deque<std::future<Result<void>>> uploads;  // under way while the next block is read
  auto end_one = [&] {
    auto one = uploads.front().get();
    uploads.pop_front();
    if (!one && outcome) outcome = std::move(one);
  };
  uint32_t written = 0;
  for (uint32_t i = 0; outcome && i < block_count(plan.size, block); i++) {
    BlockId one{id, i, block_bytes(plan.size, i, block)};
    auto memory = pool_.get(one.bytes, options_.put_timeout_ms);
    if (!memory) {
      outcome = fail(ENOMEM, Fault::kUnavailable, "no memory for compaction");
      break;
    }
    memory->set_size(one.bytes);
    outcome = patiently([&] { return source.read(i * block, std::span(memory->data(), one.bytes)); });
    if (!outcome) break;
    written = i + 1;
    uploads.push_back(std::async(std::launch::async, [this, &patiently, &placement, one, memory = std::move(memory)] {
      name_this_thread("compact-put");
      return patiently([&] { return blocks_->upload(one, memory, placement); });
    }));
    if (uploads.size() >= kCompactUploads) end_one();
  }
  while (!uploads.empty()) end_one();
  // The objects that it replaces may have been made durable by an fsync: this one must be before they go.
  if (outcome) outcome = storage_->sync();
  if (outcome) {
    stats_.compact_sizes.add(plan.size);
    return {};
  }
  std::vector<BlockId> leftover;
  for (uint32_t i = 0; i < written; i++) leftover.push_back({id, i, block_bytes(plan.size, i, block)});
  (void)blocks_->remove_objects(leftover);
  return outcome;
}

}  // namespace zest::data
