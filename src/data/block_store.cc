#include "data/block_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>

#include "base/log.h"
#include "base/spent.h"

namespace zest::data {
namespace {

constexpr int64_t kSlowRequestUs = 10'000'000;
constexpr uint32_t kSmallBlock = 128 << 10;  // below it a part costs the store as much as the whole
constexpr int64_t kMemoryWaitMs = 2'000;
// A block that one GET would take several times this long for is fetched in parts.
constexpr int64_t kPartUs = 50'000, kMaxParts = 4;
constexpr size_t kPart = 1 << 20, kRangeThreads = 16;

int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void log_slow(const char* method, const std::string& key, int64_t us) {
  if (us > kSlowRequestUs) log_warning(fmt::format("slow request: {} {} ({:.1f} s)", method, key, us / 1e6));
}

// A block that is not there is an I/O error: ENOENT would be about the file.
std::unexpected<Error> lost(const std::string& key, const Error& error) {
  return fail(EIO, error.fault, fmt::format("{}: {}", key, error.message()));
}

// Part of a block: lent, or copied.
void give(const BufferPtr& block, uint32_t offset, std::span<char> into, Lent* lent) {
  if (lent)
    *lent = {block, {block->data() + offset, into.size()}};
  else
    std::memcpy(into.data(), block->data() + offset, into.size());
}

}  // namespace

bool Density::note(const BlockId& id, uint32_t bytes) {
  std::lock_guard lock(mutex_);
  auto [it, fresh] = seen_.try_emplace(id, 0);
  if (fresh) {
    order_.push_back(id);
    if (order_.size() > limit_) {
      seen_.erase(order_.front());
      order_.pop_front();
    }
  }
  it->second += bytes;
  if (it->second < id.bytes / 8) return false;
  it->second = 0;
  return true;
}

BlockStore::BlockStore(object::Storage& storage, const Format& format, const DataOptions& options, BufferPool& pool,
                       BlockCache* cache, DataStats& stats)
    : storage_(storage),
      format_(format),
      options_(options),
      block_size_(format.block_size()),
      pool_(pool),
      cache_(cache),
      stats_(stats),
      upload_slots_(options.max_uploads),
      downloads_("download", static_cast<size_t>(std::max(options.max_downloads, 1)), 1 << 20),
      prefetches_("prefetch", static_cast<size_t>(std::max(options.prefetch, 1)),
                  static_cast<size_t>(std::max(4 * options.prefetch, 10))),
      ranges_("range", kRangeThreads, 1 << 20) {
  if (auto compression = object::parse_compression(format.compression)) compression_ = *compression;
  ranged_ = compression_ == object::Compression::kNone && format.encrypt_key.empty();
}

BlockStore::~BlockStore() { stop(); }

void BlockStore::stop() {
  stopping_ = true;
  prefetches_.drain();
  downloads_.drain();
  ranges_.drain();
}

std::string BlockStore::key(const BlockId& id) const { return block_key(format_, id.slice, id.index, id.bytes); }

Result<void> BlockStore::put_object(const BlockId& id, std::string_view data, const object::Placement& placement) {
  Waiting waiting(Part::kObject);
  Slots::Guard slot(upload_slots_);
  Counted uploading(stats_.uploading);
  auto name = key(id);
  std::string packed;
  Budget::Hold hold;
  if (compression_ != object::Compression::kNone) {
    auto bound = object::compress_bound(compression_, data.size());
    hold = pool_.budget().try_take(static_cast<int64_t>(bound));
    if (!hold && relief_) relief_();
    if (!hold) hold = pool_.budget().take(static_cast<int64_t>(bound), options_.put_timeout_ms);
    if (!hold) return fail(ENOMEM, Fault::kUnavailable, "no memory to compress " + name);
    auto result = object::compress(compression_, data);
    if (!result) return fail(std::move(result.error()));
    packed = std::move(*result);
    data = packed;
  }
  auto start = now_us();
  auto result = storage_.put(name, data, placement);
  auto took = now_us() - start;
  log_slow("PUT", name, took);
  stats_.object_puts++;
  stats_.put_seconds.add(static_cast<double>(took) / 1e6);
  if (!result) {
    stats_.object_errors++;
    return result;
  }
  stats_.object_put_bytes += data.size();
  return {};
}

Result<void> BlockStore::upload(const BlockId& id, const BufferPtr& data, const object::Placement& placement) {
  ZEST_TRY(put_object(id, data->view(), placement));
  if (cache_ && (id.bytes < block_size_ || options_.cache.large_write)) {
    Waiting waiting(Part::kCache);
    cache_->put(id, data, false);
  }
  return {};
}

BufferPtr BlockStore::take_memory(size_t bytes, int64_t timeout_ms) {
  if (auto memory = pool_.try_get(bytes, 0)) return memory;
  if (relief_) relief_();
  return pool_.get(bytes, timeout_ms);
}

Result<void> BlockStore::get_range(const BlockId& id, uint32_t offset, std::span<char> into,
                                   object::SegmentSums* sums) {
  auto name = key(id);
  Waiting waiting(Part::kObject);
  auto start = now_us();
  auto got = storage_.get_into(name, offset, into, sums);
  auto took = now_us() - start;
  log_slow(fmt::format("RANGE({},{})", offset, into.size()).c_str(), name, took);
  stats_.object_gets++;
  stats_.get_seconds.add(static_cast<double>(took) / 1e6);
  if (!got || *got != into.size()) {
    stats_.object_errors++;
    if (!got) return lost(name, got.error());
    return fail(EIO, fmt::format("{}: {} bytes at {} expected, got {}", name, into.size(), offset, *got));
  }
  stats_.object_get_bytes += *got;
  if (into.size() >= kPart) {
    auto per_mib = took * (1 << 20) / static_cast<int64_t>(into.size());
    us_per_mib_ = (us_per_mib_ * 3 + per_mib) / 4;
  }
  return {};
}

size_t BlockStore::parts_for(size_t bytes) const {
  auto expected_us = us_per_mib_ * static_cast<int64_t>(bytes) / (1 << 20);
  auto parts = std::min<int64_t>(expected_us / kPartUs, static_cast<int64_t>(bytes / kPart));
  return static_cast<size_t>(std::clamp<int64_t>(parts, 1, kMaxParts));
}

Result<void> BlockStore::get_parts(const BlockId& id, std::span<char> into, object::SegmentSums* sums) {
  Waiting waiting(Part::kObject);
  size_t parts = parts_for(into.size());
  if (parts == 1) return get_range(id, 0, into, sums);
  std::mutex mutex;
  std::condition_variable ended;
  size_t running = parts - 1;
  Result<void> outcome;
  size_t each = (into.size() + parts - 1) / parts;
  for (size_t i = 1; i < parts; i++) {
    auto part = into.subspan(i * each, std::min(each, into.size() - i * each));
    ranges_.submit([&, part, i, each] {
      auto got = get_range(id, static_cast<uint32_t>(i * each), part);
      std::lock_guard lock(mutex);
      if (!got && outcome) outcome = std::move(got);
      if (--running == 0) ended.notify_all();
    });
  }
  auto mine = get_range(id, 0, into.first(each));
  std::unique_lock lock(mutex);
  ended.wait(lock, [&] { return running == 0; });
  return mine ? outcome : mine;
}

Result<BufferPtr> BlockStore::get_block(const BlockId& id, BufferPtr into, bool awaited) {
  if (!into) into = take_memory(id.bytes, kMemoryWaitMs);
  if (!into) return fail(ENOMEM, Fault::kUnavailable, "no memory to read " + key(id));
  std::span<char> room(into->data(), id.bytes);
  if (compression_ == object::Compression::kNone) {
    auto* sums = ranged_ ? &into->sums() : nullptr;  // of what is stored
    ZEST_TRY(awaited && ranged_ ? get_parts(id, room, sums) : get_range(id, 0, room, sums));
  } else {
    auto bound = object::compress_bound(compression_, id.bytes);
    auto hold = pool_.budget().take(static_cast<int64_t>(bound), kMemoryWaitMs);
    if (!hold) return fail(ENOMEM, Fault::kUnavailable, "no memory to unpack " + key(id));
    auto name = key(id);
    Waiting waiting(Part::kObject);
    auto start = now_us();
    auto packed = storage_.get(name);
    auto took = now_us() - start;
    log_slow("GET", name, took);
    stats_.object_gets++;
    stats_.get_seconds.add(static_cast<double>(took) / 1e6);
    if (!packed) {
      stats_.object_errors++;
      return lost(name, packed.error());
    }
    stats_.object_get_bytes += packed->size();
    if (auto plain = object::decompress(compression_, *packed, room); !plain)
      return fail(EIO, fmt::format("{}: {}", name, plain.error().message()));
  }
  into->set_size(id.bytes);
  return into;
}

void BlockStore::keep(const BlockId& id, const BufferPtr& data, bool force, bool wait) {
  if (!cache_ || (!force && options_.cache.partial_only && id.bytes >= block_size_)) return;
  Waiting waiting(Part::kCache);
  cache_->put(id, data, wait);
}

Result<BufferPtr> BlockStore::run(const FetchPtr& fetch, BufferPtr into, bool force_cache, bool awaited) {
  auto block = get_block(fetch->id(), std::move(into), awaited);
  if (block)
    keep(fetch->id(), *block, force_cache, force_cache);
  else
    fetches_.forget(*fetch);
  fetch->finish(block);
  return block;
}

bool BlockStore::read_near(const BlockId& id, uint32_t offset, std::span<char> into, Lent* lent) {
  if (auto fetch = fetches_.find(id); fetch && fetch->done()) {
    if (auto block = fetch->wait(nullptr)) {
      give(*block, offset, into, lent);
      return true;
    }
  }
  if (!cache_) return false;
  Waiting waiting(Part::kCache);
  auto start = now_us();
  if (!cache_->read(id, offset, into)) return false;
  stats_.cache_hits++;
  stats_.cache_hit_bytes += into.size();
  stats_.cache_read_seconds.add(static_cast<double>(now_us() - start) / 1e6);
  return true;
}

Result<void> BlockStore::get_only(const BlockId& id, uint32_t offset, std::span<char> into) {
  stats_.fetched_demand += into.size();
  return get_range(id, offset, into);
}

Result<void> BlockStore::read(const BlockId& id, uint32_t offset, std::span<char> into, bool whole,
                              const std::atomic<bool>* cancelled, FetchPtr* keep, Lent* lent) {
  if (uint64_t{offset} + into.size() > id.bytes) return fail(EIO, key(id) + ": read beyond the end of the block");
  if (read_near(id, offset, into, lent)) return {};
  stats_.cache_misses++;
  stats_.cache_miss_bytes += into.size();
  auto fetch = fetches_.find(id);
  if (!fetch && !whole && ranged_ && id.bytes > kSmallBlock && into.size() <= id.bytes / 2) {
    ZEST_TRY(get_only(id, offset, into));
    if (cache_ && options_.prefetch > 0 && density_.note(id, static_cast<uint32_t>(into.size()))) promote(id);
    return {};
  }
  if (!fetch) fetch = fetches_.join(id);
  Result<BufferPtr> block;
  if (fetch->claim()) {
    auto memory = take_memory(id.bytes, ranged_ ? 20 : kMemoryWaitMs);
    if (!memory && ranged_) {  // short of memory: the caller's buffer is there anyway
      fetches_.forget(*fetch);
      fetch->finish(fail(ENOMEM, Fault::kUnavailable, "no memory to read " + key(id)));
      return get_only(id, offset, into);
    }
    block = run(fetch, std::move(memory), false, true);
    if (block) stats_.fetched_demand += id.bytes;
  } else {
    block = fetch->wait(cancelled);
    if (!block && block.error().code == ENOMEM && ranged_) return get_only(id, offset, into);
  }
  if (!block) return fail(std::move(block.error()));
  give(*block, offset, into, lent);
  if (keep) *keep = std::move(fetch);
  return {};
}

void BlockStore::promote(const BlockId& id) {
  if (stopping_) return;
  auto fetch = fetches_.join(id);
  bool queued = prefetches_.try_submit([this, fetch, id] {
    if (!fetch->claim()) return;
    if (auto memory = stopping_ ? nullptr : pool_.try_get(id.bytes, pool_.budget().limit() / 4)) {
      if (run(fetch, std::move(memory), true, false)) stats_.fetched_ahead += id.bytes;
    } else {
      fetches_.forget(*fetch);
      fetch->finish(fail(ENOMEM, Fault::kUnavailable, "no memory to fetch ahead"));
    }
  });
  if (!queued && fetch->claim()) {  // nobody will do it: do not let others wait
    fetches_.forget(*fetch);
    fetch->finish(fail(ENOMEM, Fault::kUnavailable, "prefetch queue is full"));
  }
}

FetchPtr BlockStore::read_ahead(const BlockId& id, int64_t reserve) {
  if (stopping_) return nullptr;
  if (auto fetch = fetches_.find(id)) return fetch;
  if (cache_ && cache_->contains(id)) {
    cache_->expect(id);
    return nullptr;
  }
  auto memory = pool_.try_get(id.bytes, reserve);
  if (!memory) return nullptr;
  auto fetch = fetches_.join(id);
  bool queued = downloads_.try_submit([this, fetch, memory = std::move(memory)]() mutable {
    if (fetch->claim() && run(fetch, std::move(memory), false, false)) stats_.fetched_ahead += fetch->id().bytes;
    memory = nullptr;
  });
  if (!queued) return nullptr;
  return fetch;
}

Result<void> BlockStore::warm(const BlockId& id) {
  if (!cache_ || cache_->contains(id)) return {};
  auto fetch = fetches_.join(id);
  bool ours = fetch->claim();
  auto block = ours ? run(fetch, nullptr, true, false) : fetch->wait(nullptr);
  if (ours && block) stats_.fetched_warm += id.bytes;
  if (!block) return fail(std::move(block.error()));
  if (!cache_->contains(id)) keep(id, *block, true, true);  // fetched for somebody else, who need not keep it
  return {};
}

Result<void> BlockStore::remove_objects(std::span<const BlockId> ids) {
  std::vector<std::string> keys;
  for (const auto& id : ids) keys.push_back(key(id));
  if (keys.empty()) return {};
  stats_.object_deletes += keys.size();
  auto start = now_us();
  auto failed = storage_.remove_many(keys);
  auto took = now_us() - start;
  log_slow("DELETE", keys[0], took);
  for (size_t i = 0; i < keys.size(); i++)  // an equal share each: they may have gone in one request
    stats_.delete_seconds.add(static_cast<double>(took) / 1e6 / static_cast<double>(keys.size()));
  stats_.object_errors += failed.size();
  if (failed.empty()) return {};
  return fail(std::move(failed[0].second));
}

}  // namespace zest::data
