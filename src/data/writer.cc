#include "data/writer.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace zest::data {
namespace {
constexpr int64_t kTickMs = 100;
constexpr size_t kCommitThreads = 8;
}  // namespace

Writer::Writer(meta::Meta& meta, BlockStore& blocks, Staging* staging, const Clock& clock, const DataOptions& options,
               std::function<void()> drop_read_ahead, std::function<void(SliceId, uint32_t)> remove_slice,
               std::function<object::Placement(Ino)> placement)
    : uploads_("upload", static_cast<size_t>(std::max(options.max_uploads, 1)), 1 << 24),
      commits_("commit", kCommitThreads, 1 << 24),
      env_{meta,
           blocks,
           staging,
           clock,
           options,
           stopper_,
           uploads_,
           commits_,
           [this] { relieve(); },
           std::move(remove_slice),
           std::move(placement)},
      drop_read_ahead_(std::move(drop_read_ahead)) {
  ticker_ = std::thread([this] { run(); });
}

Writer::~Writer() { stop(); }

void Writer::stop() {
  stopper_.stop();
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (ticker_.joinable()) ticker_.join();
  uploads_.drain();
  commits_.drain();
  std::lock_guard lock(mutex_);
  files_.clear();
  count_ = 0;
}

std::shared_ptr<FileWriter> Writer::find(Ino ino) const {
  if (count_.load(std::memory_order_acquire) == 0) return nullptr;
  std::lock_guard lock(mutex_);
  auto it = files_.find(ino);
  return it == files_.end() ? nullptr : it->second;
}

std::shared_ptr<FileWriter> Writer::find_or_make(Ino ino) {
  std::lock_guard lock(mutex_);
  auto& file = files_[ino];
  if (!file) {
    file = std::make_shared<FileWriter>(ino, env_);
    count_++;
    if (std::exchange(idle_, false)) wake_.notify_all();
  }
  return file;
}

std::vector<std::shared_ptr<FileWriter>> Writer::all() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<FileWriter>> out;
  for (const auto& [ino, file] : files_) out.push_back(file);
  return out;
}

Result<void> Writer::write(Ino ino, uint64_t offset, std::span<const char> data, const std::atomic<bool>* cancelled) {
  if (data.empty()) return {};
  return find_or_make(ino)->write(offset, data, cancelled);
}

Result<void> Writer::flush(Ino ino, const std::atomic<bool>* cancelled) {
  auto file = find(ino);
  if (!file) return {};
  return file->flush(cancelled);
}

Result<void> Writer::flush_all() {
  auto files = all();
  for (auto& file : files) file->freeze();
  Result<void> outcome;
  for (auto& file : files)
    if (auto result = file->flush(nullptr); !result && outcome) outcome = std::move(result);
  return outcome;
}

void Writer::release(Ino ino) {
  std::shared_ptr<FileWriter> last;  // destroyed without the lock
  std::lock_guard lock(mutex_);
  auto it = files_.find(ino);
  if (it == files_.end()) return;
  it->second->forget_error();
  if (it->second.use_count() > 1 || !it->second->clean()) return;  // the ticker takes it away later
  last = std::move(it->second);
  files_.erase(it);
  count_--;
}

// While uploads are about to free enough memory there is nothing to do but wait. Else files close what they hold, those
// that hold most first: each closed early costs an object and a record, and its readers more of both. At most every 50
// ms: many writers may be short of memory at once.
void Writer::relieve() {
  auto now = env_.clock.monotonic_ms();
  auto last = relieved_ms_.load();
  if (now - last < 50 || !relieved_ms_.compare_exchange_strong(last, now)) return;
  drop_read_ahead_();
  const int64_t enough = env_.blocks.pool().budget().limit() / 4;
  if (env_.leaving >= enough) return;
  std::vector<std::pair<int64_t, std::shared_ptr<FileWriter>>> files;
  for (auto& file : all())
    if (auto bytes = file->open_bytes(); bytes > 0) files.emplace_back(bytes, std::move(file));
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  for (auto& [bytes, file] : files) {
    file->freeze();
    if (env_.leaving >= enough) return;
  }
}

void Writer::run() {
  name_this_thread("writer");
  std::unordered_map<Ino, int64_t> clean_since;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (files_.empty()) {
      clean_since.clear();
      idle_ = true;
      wake_.wait(lock, [&] { return stop_ || !idle_; });
    }
    wake_.wait_for(lock, std::chrono::milliseconds(kTickMs), [&] { return stop_; });
    if (stop_) break;
    lock.unlock();
    auto now = env_.clock.monotonic_ms();
    for (auto& file : all()) file->tick(now);
    lock.lock();
    for (auto it = files_.begin(); it != files_.end();) {
      bool idle = it->second.use_count() == 1 && it->second->clean() && !it->second->has_error();
      if (!idle) {
        clean_since.erase(it->first);
        ++it;
        continue;
      }
      auto since = clean_since.try_emplace(it->first, now).first->second;
      if (now - since < 2000) {
        ++it;
        continue;
      }
      clean_since.erase(it->first);
      it = files_.erase(it);
      count_--;
    }
  }
}

}  // namespace zest::data
