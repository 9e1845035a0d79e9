#include "data/staging.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/log.h"
#include "base/spent.h"

namespace zest::data {
namespace {
constexpr int64_t kScanMs = 60'000;
constexpr int kTries = 3;
}  // namespace

bool in_upload_hours(int from, int to, int hour) {
  if (from == to) return true;
  return from < to ? hour >= from && hour < to : hour >= from || hour < to;
}

Staging::Staging(BlockStore& blocks, BlockCache& cache, const DataOptions& options, const Clock& clock,
                 DataStats& stats)
    : blocks_(blocks),
      cache_(cache),
      options_(options),
      clock_(clock),
      stats_(stats),
      uploads_("staged", static_cast<size_t>(std::max(options.max_uploads, 1)),
               static_cast<size_t>(std::max(options.max_uploads, 1)) * 100) {
  scanner_ = std::thread([this] {
    name_this_thread("staging");
    auto period = options_.upload_delay_ms > 0 ? std::min<int64_t>(kScanMs, options_.upload_delay_ms) : kScanMs;
    int64_t since = 0;
    while (stopper_.sleep(1000)) {
      since += 1000;
      if (since < period && !cache_.wants_room()) continue;
      since = 0;
      scan();
    }
  });
}

Staging::~Staging() { stop(); }

void Staging::stop() {
  stopper_.stop();
  if (scanner_.joinable()) scanner_.join();
  uploads_.drain();
}

bool Staging::in_hours() const {
  std::time_t now = clock_.now().sec;
  std::tm local{};
  localtime_r(&now, &local);
  return in_upload_hours(options_.upload_from_hour, options_.upload_to_hour, local.tm_hour);
}

bool Staging::due(const Item& item, bool hurry) const {
  if (item.state != State::kWaiting || !in_hours()) return false;
  return hurry || (clock_.now().sec - item.staged_at) * 1000 >= options_.upload_delay_ms;
}

Result<void> Staging::stage(const BlockId& id, const BufferPtr& data) {
  if (!options_.writeback) return fail(ENOTSUP);
  if (options_.writeback_threshold > 0 && data->size() >= options_.writeback_threshold) return fail(ENOTSUP);
  Result<void> staged;
  {
    Counted writing(stats_.stage_writing);
    if (stats_.stage_writing > options_.max_stage_write) return fail(EAGAIN);
    Waiting waiting(Part::kCache);
    staged = cache_.stage(id, data);
  }
  if (!staged) stats_.stage_errors++;
  ZEST_TRY(std::move(staged));
  stats_.staged_total_bytes += id.bytes;
  bool now = false;
  {
    std::lock_guard lock(mutex_);
    auto [it, fresh] = items_.try_emplace(id, Item{clock_.now().sec});
    if (fresh) {
      stats_.staged_blocks++;
      stats_.staged_bytes += id.bytes;
    }
    now = due(it->second, false);
  }
  if (now) submit(id);
  return {};
}

void Staging::submit(const BlockId& id) {
  {
    std::lock_guard lock(mutex_);
    auto it = items_.find(id);
    if (it == items_.end() || it->second.state != State::kWaiting) return;
    it->second.state = State::kUploading;
  }
  if (uploads_.try_submit([this, id] { upload(id); })) return;
  std::lock_guard lock(mutex_);  // the scan comes back to it
  if (auto it = items_.find(id); it != items_.end() && it->second.state == State::kUploading)
    it->second.state = State::kWaiting;
}

Result<void> Staging::upload_staged(const BlockId& id) {
  auto memory = blocks_.pool().get(id.bytes, options_.put_timeout_ms);
  if (!memory) return fail(ENOMEM, Fault::kUnavailable, "no memory to upload a staged block");
  ZEST_TRY(cache_.read_staged(id, memory));
  memory->set_size(id.bytes);
  for (int attempt = 0;; attempt++) {
    auto result = blocks_.put_object(id, memory->view());
    if (result || attempt + 1 >= kTries || !stopper_.sleep(attempt * attempt * 1000 + 100)) return result;
  }
}

void Staging::upload(const BlockId& id) {
  if (stopper_.stopped()) return;
  auto result = upload_staged(id);
  bool dropped = false;
  {
    std::lock_guard lock(mutex_);
    auto it = items_.find(id);
    if (it == items_.end()) return;
    dropped = it->second.state == State::kDropped;
    if (!dropped && !result && result.error().code != ENOENT) {
      it->second.state = State::kWaiting;
      if (result.error().code == EAGAIN) return;  // the disk store has told it, once for all its blocks
      log_warning(fmt::format("staged block {} stays for now: {}", blocks_.key(id), result.error().message()));
      return;
    }
    stats_.staged_delay_s += static_cast<uint64_t>(std::max<int64_t>(0, clock_.now().sec - it->second.staged_at));
    items_.erase(it);
    stats_.staged_blocks--;
    stats_.staged_bytes -= id.bytes;
  }
  if (!result && !dropped) log_error(fmt::format("staged block {} is gone from the disk", blocks_.key(id)));
  cache_.unstage(id, dropped);
  if (dropped) (void)blocks_.remove_objects(std::span(&id, 1));
}

void Staging::drop(const BlockId& id) {
  {
    std::lock_guard lock(mutex_);
    auto it = items_.find(id);
    if (it != items_.end()) {
      if (it->second.state != State::kWaiting) {
        it->second.state = State::kDropped;
        return;
      }
      items_.erase(it);
      stats_.staged_blocks--;
      stats_.staged_bytes -= id.bytes;
    }
  }
  cache_.unstage(id, true);
}

size_t Staging::waiting() const {
  std::lock_guard lock(mutex_);
  return items_.size();
}

void Staging::scan() {
  bool hurry = cache_.wants_room();
  auto found = cache_.staged();
  if (!found.empty()) log_info(fmt::format("{} staged blocks wait for their upload", found.size()));
  std::vector<std::pair<int64_t, BlockId>> ready;
  {
    std::lock_guard lock(mutex_);
    for (const auto& block : found) {
      if (!items_.try_emplace(block.id, Item{block.staged_at}).second) continue;
      stats_.staged_blocks++;
      stats_.staged_bytes += block.id.bytes;
    }
    for (const auto& [id, item] : items_)
      if (due(item, hurry)) ready.emplace_back(item.staged_at, id);
  }
  std::sort(ready.begin(), ready.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [when, id] : ready) submit(id);
}

}  // namespace zest::data
