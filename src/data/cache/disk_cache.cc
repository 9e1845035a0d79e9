#include "data/cache/disk_cache.h"

#include <fmt/format.h>
#include <glob.h>

#include <array>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "base/threads.h"
#include "data/cache/disk_store.h"
#include "data/cache/hash_ring.h"
#include "data/stopper.h"

namespace zest::data {
namespace {

constexpr int64_t kTickMs = 1000, kRescanMs = 5000;

// Directories with * ? [ expanded, sorted.
std::vector<std::string> expand_dirs(const std::vector<std::string>& dirs) {
  std::vector<std::string> out;
  for (const auto& dir : dirs) {
    if (dir.find_first_of("*?[") == std::string::npos) {
      out.push_back(dir);
      continue;
    }
    glob_t found{};
    if (::glob(dir.c_str(), GLOB_ONLYDIR, nullptr, &found) == 0)
      for (size_t i = 0; i < found.gl_pathc; i++) out.emplace_back(found.gl_pathv[i]);
    ::globfree(&found);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

class DiskCache : public BlockCache {
 public:
  DiskCache(DataOptions options, const Format& format, const Clock& clock)
      : options_(std::move(options)), format_(format), clock_(clock) {}
  ~DiskCache() override { stop(); }

  bool open_stores(DataStats& stats) {
    auto dirs = expand_dirs(options_.cache.dirs);
    StoreLimits limits;
    auto count = std::max<size_t>(dirs.size(), 1);
    limits.bytes = options_.cache.size_bytes / count;
    limits.items = options_.cache.items / count;
    limits.queued_blocks = std::max<size_t>(options_.buffer_size / 5 / format_.block_size() / count, 1);
    std::vector<std::string> ids;
    for (const auto& dir : dirs) {
      auto store = DiskStore::open(dir, limits, options_, format_, clock_, stats);
      if (!store) {
        log_warning(fmt::format("cache directory {} is not used: {}", dir, store.error().message()));
        continue;
      }
      ids.push_back((*store)->id());
      stores_.push_back(std::move(*store));
    }
    if (stores_.empty()) return false;
    ring_ = std::make_unique<HashRing>(ids);
    find_staged();
    upkeep_ = std::thread([this] { run(); });
    return true;
  }

  bool read(const BlockId& id, uint32_t offset, std::span<char> into) override {
    for (DiskStore* store : places(id))
      if (store && store->read(id, offset, into)) return true;
    return false;
  }
  void put(const BlockId& id, BufferPtr data, bool wait) override { home(id).put(id, std::move(data), wait); }
  bool contains(const BlockId& id) override {
    for (DiskStore* store : places(id))
      if (store && store->contains(id)) return true;
    return false;
  }
  void expect(const BlockId& id) override {
    for (DiskStore* store : places(id))
      if (store && store->contains(id)) return store->expect(id);
  }
  std::string location(const BlockId& id) override {
    for (DiskStore* store : places(id))
      if (store && store->contains(id)) return store->root() + "/";
    return "";
  }
  void remove(const BlockId& id) override {
    for (DiskStore* store : places(id))
      if (store) store->remove(id);
  }
  std::pair<uint64_t, uint64_t> usage() const override {
    std::pair<uint64_t, uint64_t> sum{0, 0};
    for (const auto& store : stores_) {
      auto [blocks, bytes] = store->usage();
      sum.first += blocks;
      sum.second += bytes;
    }
    return sum;
  }

  Result<void> stage(const BlockId& id, const BufferPtr& data) override {
    size_t index = home_index(id);
    ZEST_TRY(stores_[index]->stage(id, data));
    remember_staged(id, index);
    return {};
  }
  bool is_staged(const BlockId& id) override { return staged_store(id) != nullptr; }
  Result<void> read_staged(const BlockId& id, const BufferPtr& into) override {
    auto* store = staged_store(id);
    if (!store) return fail(ENOENT);
    return store->read_staged(id, into);
  }
  void unstage(const BlockId& id, bool drop) override {
    auto* store = staged_store(id);
    if (!store) return;
    store->unstage(id, drop);
    std::lock_guard lock(mutex_);
    staged_in_.erase(id);
    staged_count_ = staged_in_.size();
  }
  std::vector<StagedBlock> staged() override {
    std::lock_guard lock(mutex_);
    return std::exchange(found_, {});
  }
  bool wants_room() const override {
    return staged_count_ > 0 && std::any_of(stores_.begin(), stores_.end(), [](auto& s) { return s->crowded(); });
  }
  Result<void> sync_staged() override {
    if (staged_count_ == 0) return {};
    for (auto& store : stores_) ZEST_TRY(store->sync());
    return {};
  }
  void stop() override {
    stopping_ = true;
    stopper_.stop();
    if (upkeep_.joinable()) upkeep_.join();
    for (auto& store : stores_) store->stop();
  }

 private:
  // Where a block may be: its staged place, its home by the ring, and where old clients put it.
  std::array<DiskStore*, 3> places(const BlockId& id) {
    if (stores_.size() == 1) return {stores_[0].get(), nullptr, nullptr};
    auto key = block_key(format_, id.slice, id.index, id.bytes);
    DiskStore* home = stores_[home_index(id)].get();
    DiskStore* old = stores_[fnv1_32(key) % stores_.size()].get();
    DiskStore* staged = staged_count_ > 0 ? staged_store(id) : nullptr;
    return {home, old == home ? nullptr : old, staged == home || staged == old ? nullptr : staged};
  }
  size_t home_index(const BlockId& id) {
    if (stores_.size() == 1) return 0;
    size_t index = ring_->pick(block_key(format_, id.slice, id.index, id.bytes));
    for (size_t i = 0; i < stores_.size() && !stores_[index]->usable(); i++) index = (index + 1) % stores_.size();
    return index;
  }
  DiskStore& home(const BlockId& id) { return *stores_[home_index(id)]; }
  // A directory that hung is looked at again when it is back in use.
  void find_staged() {
    for (size_t i = 0; i < stores_.size(); i++)
      for (const auto& block : stores_[i]->find_staged(stopping_)) {
        remember_staged(block.id, i);
        std::lock_guard lock(mutex_);
        found_.push_back(block);
      }
  }
  void remember_staged(const BlockId& id, size_t index) {
    std::lock_guard lock(mutex_);
    staged_in_[id] = stores_[index].get();
    staged_count_ = staged_in_.size();
  }
  DiskStore* staged_store(const BlockId& id) {
    std::lock_guard lock(mutex_);
    auto it = staged_in_.find(id);
    return it == staged_in_.end() ? nullptr : it->second;
  }

  void run() {
    name_this_thread("cache-upkeep");
    int64_t interval = options_.cache.scan_interval_ms;
    int64_t next_scan = interval < 0 ? INT64_MAX : 0;
    if (interval < 0) interval = INT64_MAX / 2;
    do {
      auto now = clock_.monotonic_ms();
      if (next_scan <= now) {
        bool all = true;
        for (auto& store : stores_) all = store->scan(stopping_) && all;
        next_scan = !all ? now + kRescanMs : interval == 0 ? INT64_MAX : now + interval;
      }
      for (auto& store : stores_) store->tick();
      find_staged();
    } while (stopper_.sleep(kTickMs));
  }

  const DataOptions options_;
  const Format format_;
  const Clock& clock_;
  std::vector<std::unique_ptr<DiskStore>> stores_;
  std::unique_ptr<HashRing> ring_;
  std::mutex mutex_;
  std::vector<StagedBlock> found_;
  std::unordered_map<BlockId, DiskStore*, BlockIdHash> staged_in_;
  std::atomic<size_t> staged_count_{0};
  Stopper stopper_;
  std::atomic<bool> stopping_{false};
  std::thread upkeep_;
};

}  // namespace

std::unique_ptr<BlockCache> make_disk_cache(const DataOptions& options, const Format& format, const Clock& clock,
                                            DataStats& stats) {
  auto cache = std::make_unique<DiskCache>(options, format, clock);
  if (!cache->open_stores(stats)) return nullptr;
  return cache;
}

}  // namespace zest::data
