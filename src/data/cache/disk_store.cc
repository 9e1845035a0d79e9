// Reading, writing and staging blocks of one cache directory. Limits, scans and health: disk_upkeep.cc.
#include "data/cache/disk_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>

#include "base/log.h"
#include "base/threads.h"

namespace zest::data {
namespace {

constexpr size_t kOpenFiles = 512;
constexpr size_t kMostExpected = 16;  // blocks that are read into the page cache at once
// How many times as long as a read a write, and a sync, may take before they count as hanging.
constexpr int kWritePatience = 3, kSyncPatience = 6;
constexpr std::chrono::milliseconds kTimeoutWhileOut{1000};

std::string random_uuid() {
  std::random_device source;
  std::string hex;
  for (int i = 0; i < 4; i++) hex += fmt::format("{:08x}", static_cast<uint32_t>(source()));
  hex[12] = '4';
  hex[16] = "89ab"[(hex[16] <= '9' ? hex[16] - '0' : hex[16] - 'a' + 10) & 3];
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" +
         hex.substr(20, 12);
}

Result<std::string> read_small_file(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(errno);
  char text[128];
  ssize_t n = ::read(fd, text, sizeof text);
  ::close(fd);
  if (n < 0) return fail(EIO);
  return std::string(text, static_cast<size_t>(n));
}

// Makes the folders and the .lock file; gives its text.
Result<std::string> prepare_root(const std::string& root, uint32_t mode) {
  ZEST_TRY(make_dirs(root + "/raw", dir_mode(mode)));
  std::string lock = root + "/.lock";
  if (auto text = read_small_file(lock); text && !text->empty()) return text->substr(0, text->find_first_of("\r\n"));
  std::string id = random_uuid();
  int fd = ::open(lock.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return fail(errno, "cannot write " + lock);
  ssize_t n = ::write(fd, id.data(), id.size());
  ::close(fd);
  if (n != static_cast<ssize_t>(id.size())) return fail(EIO, "cannot write " + lock);
  return id;
}

// The block's file below rawstaging/, and a second name for it below raw/.
Result<void> stage_file(const std::string& staging, const std::string& raw_path, std::string_view data, Verify verify,
                        uint32_t mode) {
  ZEST_TRY(write_cache_file(staging, data, verify, mode, true));
  for (int attempt = 0;; attempt++) {
    if (::link(staging.c_str(), raw_path.c_str()) == 0) return {};
    int code = errno;
    if (attempt == 0 && code == ENOENT) {
      (void)make_dirs(raw_path.substr(0, raw_path.find_last_of('/')), dir_mode(mode));
    } else if (attempt == 0 && code == EEXIST) {
      ::unlink(raw_path.c_str());
    } else {
      ::unlink(staging.c_str());
      return fail(code, "link " + raw_path);
    }
  }
}

}  // namespace

std::chrono::milliseconds DiskStore::timeout(int patience) const {
  std::chrono::milliseconds usual(options_.cache.disk_timeout_ms * patience);
  return out_ ? std::min(usual, kTimeoutWhileOut) : usual;
}

void DiskStore::hung(std::chrono::milliseconds timeout) {
  log_warning(fmt::format("cache: {} does not answer within {} ms", root_, timeout.count()));
  std::lock_guard lock(mutex_);
  go_out("hangs");
}

Result<std::unique_ptr<DiskStore>> DiskStore::open(const std::string& dir, const StoreLimits& limits,
                                                   const DataOptions& options, const Format& format, const Clock& clock,
                                                   DataStats& stats) {
  std::string root = dir;
  while (root.size() > 1 && root.ends_with('/')) root.pop_back();
  std::unique_ptr<DiskStore> store(new DiskStore(root + "/" + format.uuid, limits, options, format, clock, stats));
  ZEST_TRY(store->prepare());
  store->measure();
  return store;
}

DiskStore::DiskStore(std::string root, const StoreLimits& limits, const DataOptions& options, const Format& format,
                     const Clock& clock, DataStats& stats)
    : root_(std::move(root)),
      limits_(limits),
      options_(options),
      format_(format),
      clock_(clock),
      stats_(stats),
      verify_(parse_verify(options.cache.verify_checksum).value_or(Verify::kExtend)),
      max_bytes_(limits.bytes),
      max_items_(limits.items),
      free_ratio_(options.cache.free_space_ratio) {}

DiskStore::~DiskStore() { stop(); }

Result<void> DiskStore::prepare() {
  auto id = in_time<Result<std::string>>(
      [root = root_, mode = options_.cache.mode] { return prepare_root(root, mode); }, kWritePatience);
  if (!id) return fail(EIO, "it hangs");
  ZEST_ASSIGN(id_, std::move(*id));
  return {};
}

std::string DiskStore::path(const BlockId& id, bool staging) const {
  return root_ + (staging ? "/rawstaging/" : "/raw/") + block_key(format_, id.slice, id.index, id.bytes);
}

// Until the first scan is over the disk is asked about what is not known.
std::shared_ptr<CacheFile> DiskStore::known_file(const BlockId& id, bool& ask) {
  std::lock_guard lock(mutex_);
  auto it = items_.find(id);
  ask = it != items_.end() || !scanned_;
  if (it == items_.end()) return nullptr;
  it->second.used_s = now_s();
  if (!it->second.file) return nullptr;
  open_.splice(open_.begin(), open_, it->second.place);
  return it->second.file;
}

void DiskStore::keep_open(const BlockId& id, const std::shared_ptr<CacheFile>& file) {
  add(id, now_s(), file->linked_twice());
  std::shared_ptr<CacheFile> closed;  // outside the lock
  std::lock_guard lock(mutex_);
  auto it = items_.find(id);
  if (it == items_.end() || it->second.file) return;
  open_.push_front(id);
  it->second.place = open_.begin();
  it->second.file = file;
  if (open_.size() <= kOpenFiles) return;
  auto last = items_.find(open_.back());
  if (last != items_.end()) closed = std::move(last->second.file);
  open_.pop_back();
}

void DiskStore::failed(const BlockId& id, const Error& error) {
  if (error.code == ENOENT) return forget(id);
  log_warning(fmt::format("cache: {}: {}", path(id, false), error.message()));
  if (error.what.find("checksum") == std::string::npos) io_error(error.code);
  bool staged = false;
  {
    std::lock_guard lock(mutex_);
    auto it = items_.find(id);
    staged = it != items_.end() && it->second.staged;
  }
  if (!staged) remove(id);
}

bool DiskStore::read_from_disk(const BlockId& id, std::shared_ptr<CacheFile> file, uint32_t offset,
                               std::span<char> into) {
  struct Outcome {
    std::shared_ptr<CacheFile> file;
    std::unique_ptr<char[]> bytes;
    Result<void> result;
  };
  auto outcome = in_time<Outcome>(
      [file = std::move(file), name = path(id, false), id, verify = verify_, offset, size = into.size()] {
        Outcome out{file, nullptr, {}};
        if (!out.file) {
          auto opened = CacheFile::open(name, id.bytes, verify);
          if (!opened) return Outcome{nullptr, nullptr, fail(std::move(opened.error()))};
          out.file = std::move(*opened);
        }
        if (size == 0) return out;
        out.bytes = std::make_unique_for_overwrite<char[]>(size);
        out.result = out.file->read(offset, std::span(out.bytes.get(), size));
        return out;
      });
  if (!outcome) return false;
  if (outcome->file) keep_open(id, outcome->file);
  if (!outcome->result) {
    failed(id, outcome->result.error());
    return false;
  }
  if (!into.empty()) std::memcpy(into.data(), outcome->bytes.get(), into.size());
  return true;
}

bool DiskStore::is_staged(const BlockId& id) const {
  std::lock_guard lock(mutex_);
  auto it = items_.find(id);
  return it != items_.end() && it->second.staged;
}

void DiskStore::delete_file(std::string path) {
  if (!out_ && in_time<int>([path] { return ::unlink(path.c_str()); })) return;
  std::lock_guard lock(mutex_);
  to_delete_.push_back(std::move(path));
}

bool DiskStore::read(const BlockId& id, uint32_t offset, std::span<char> into) {
  if (out_ && !is_staged(id)) return false;
  {
    BufferPtr waiting;
    {
      std::lock_guard lock(mutex_);
      if (!queued_.empty())
        if (auto it = queued_.find(id); it != queued_.end()) waiting = it->second;
    }
    if (waiting) {
      std::memcpy(into.data(), waiting->data() + offset, into.size());
      return true;
    }
  }
  bool ask = false;
  auto file = known_file(id, ask);
  if (!ask) return false;
  if (!file) file = opened_file(id);
  if (file) {
    auto result = file->read_at_hand(offset, into);
    if (result) return true;
    if (result.error().code != EAGAIN) {
      failed(id, result.error());
      return false;
    }
  }
  return read_from_disk(id, std::move(file), offset, into);
}

void DiskStore::expect(const BlockId& id) {
  bool ask = false;
  auto file = out_ ? nullptr : known_file(id, ask);
  if (!ask || (file && file->at_hand())) return;
  {
    std::lock_guard lock(expected_->mutex);
    if (expected_->running >= kMostExpected) return;
    expected_->running++;
  }
  apart_.start([file, name = path(id, false), id, verify = verify_, expected = expected_]() mutable {
    const bool known = file != nullptr;
    if (!known) file = CacheFile::open(name, id.bytes, verify).value_or(nullptr);
    if (file && !file->at_hand()) file->read_ahead();
    std::lock_guard lock(expected->mutex);
    expected->running--;
    if (known || !file) return;
    if (expected->opened.size() >= kMostExpected) expected->opened.clear();  // nobody came for them
    expected->opened[id] = std::move(file);
  });
}

std::shared_ptr<CacheFile> DiskStore::opened_file(const BlockId& id) {
  std::shared_ptr<CacheFile> file;
  {
    std::lock_guard lock(expected_->mutex);
    auto found = expected_->opened.extract(id);
    if (found.empty()) return nullptr;
    file = std::move(found.mapped());
  }
  keep_open(id, file);
  return file;
}

void DiskStore::add(const BlockId& id, uint32_t used_s, bool staged) {
  std::lock_guard lock(mutex_);
  auto [it, fresh] = items_.try_emplace(id);
  it->second.used_s = std::max(it->second.used_s, used_s);
  it->second.added = round_;
  if (!fresh) return;
  it->second.staged = staged;
  if (staged) return;
  used_ += id.bytes + 4096;
  counted_++;
}

void DiskStore::erase(Index::iterator it) {
  if (!it->second.staged) {
    used_ -= it->first.bytes + 4096;
    counted_--;
  }
  if (it->second.file) open_.erase(it->second.place);
  items_.erase(it);
}

void DiskStore::forget(const BlockId& id) {
  std::shared_ptr<CacheFile> closed;
  std::lock_guard lock(mutex_);
  auto it = items_.find(id);
  if (it == items_.end()) return;
  closed = it->second.file;
  erase(it);
}

bool DiskStore::contains(const BlockId& id) {
  if (out_) return is_staged(id);
  {
    std::lock_guard lock(mutex_);
    if (queued_.contains(id)) return true;
    if (items_.contains(id)) return true;
    if (scanned_) return false;
  }
  return read_from_disk(id, nullptr, 0, {});
}

void DiskStore::remove(const BlockId& id) {
  {
    std::lock_guard lock(mutex_);
    queued_.erase(id);
    std::erase_if(queue_, [&](const auto& entry) { return entry.id == id; });
    auto it = items_.find(id);
    if (it != items_.end() && it->second.staged) return;
  }
  forget(id);
  delete_file(path(id, false));
}

std::pair<uint64_t, uint64_t> DiskStore::usage() const {
  std::lock_guard lock(mutex_);
  return {counted_, used_};
}

void DiskStore::put(const BlockId& id, BufferPtr data, bool wait) {
  if (out_ || data->size() != id.bytes) return;
  std::unique_lock lock(mutex_);
  if (items_.contains(id) || queued_.contains(id)) return;
  if (options_.cache.eviction == "none" && full()) {
    stats_.cache_drops++;
    return;
  }
  if (wait)
    room_.wait_for(lock, std::chrono::seconds(30), [&] { return stop_ || queue_.size() < limits_.queued_blocks; });
  if (stop_ || queue_.size() >= limits_.queued_blocks) {
    stats_.cache_drops++;
    return;
  }
  queued_[id] = data;
  queue_.push_back({id, std::move(data), wait});
  if (!writer_.joinable()) writer_ = std::thread([this] { write_queued(); });
  wake_.notify_one();
}

void DiskStore::write_queued() {
  name_this_thread("cache");
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stop_ || !queue_.empty(); });
    if (queue_.empty()) return;
    auto [id, data, soon] = queue_.front();
    lock.unlock();
    write_block(id, data, soon);
    data.reset();
    lock.lock();
    std::shared_ptr<Buffer> gone;
    if (auto it = queued_.find(id); it != queued_.end()) gone = std::move(it->second), queued_.erase(it);
    if (!queue_.empty() && queue_.front().id == id) queue_.pop_front();
    lock.unlock();
    gone.reset();  // gives memory back, without the lock
    room_.notify_all();
    lock.lock();
  }
}

void DiskStore::write_block(const BlockId& id, const BufferPtr& data, bool soon) {
  if (out_) return;
  {
    std::lock_guard lock(mutex_);
    if (!queued_.contains(id)) return;  // removed meanwhile
    if (options_.cache.eviction == "none" && full()) {
      stats_.cache_drops++;
      return;
    }
  }
  auto start = std::chrono::steady_clock::now();
  auto name = path(id, false);
  auto done =
      in_time<Result<void>>([name, data, verify = verify_, mode = options_.cache.mode,
                             soon] { return write_cache_file(name, data->view(), verify, mode, soon, data->sums()); },
                            kWritePatience, [name] { ::unlink(name.c_str()); });
  if (!done) {
    stats_.cache_drops++;
    return;
  }
  auto& result = *done;
  stats_.cache_write_seconds.add(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  if (!result) {
    stats_.cache_drops++;
    if (result.error().code == ENOSPC || result.error().code == EDQUOT) {
      raw_full_ = true;
      evict(id.bytes * 4, 0);
    } else {
      log_warning(fmt::format("cache: {}", result.error().message()));
      io_error(result.error().code);
    }
    return;
  }
  stats_.cache_writes++;
  stats_.cache_write_bytes += id.bytes;
  bool removed = false, over = false;
  {
    std::lock_guard lock(mutex_);
    removed = !queued_.contains(id);
  }
  if (removed) return delete_file(std::move(name));  // while it was being written
  add(id, now_s(), false);
  {
    std::lock_guard lock(mutex_);
    over = full() && options_.cache.eviction != "none";
  }
  if (over) evict(0, 0);
}

Result<void> DiskStore::stage(const BlockId& id, const BufferPtr& data) {
  if (out_) return fail(EIO, "cache directory is out of use");
  if (stage_full_) return fail(ENOSPC);
  std::string staging = path(id, true), raw_path = path(id, false);
  auto done = in_time<Result<void>>(
      [staging, raw_path, data, verify = verify_, mode = options_.cache.mode] {
        return stage_file(staging, raw_path, data->view(), verify, mode);
      },
      kWritePatience, [staging, raw_path] {  // it was uploaded instead
        ::unlink(staging.c_str());
        ::unlink(raw_path.c_str());
      });
  if (!done) return fail(EIO, "cache directory hangs");
  if (!*done) {
    int code = done->error().code;
    if (code == ENOSPC || code == EDQUOT) stage_full_ = true;
    io_error(code);
    return std::move(*done);
  }
  staged_count_++;
  forget(id);
  add(id, now_s() - static_cast<uint32_t>(options_.cache.expire_ms / 2000), true);
  return {};
}

Result<void> DiskStore::read_staged(const BlockId& id, const BufferPtr& into) {
  if (out_) return fail(EAGAIN, "cache directory is out of use");
  auto done = in_time<Result<void>>([name = path(id, true), id, into, verify = verify_]() -> Result<void> {
    ZEST_ASSIGN(auto file, CacheFile::open(name, id.bytes, verify));
    return file->read(0, std::span(into->data(), id.bytes));
  });
  if (!done) return fail(EAGAIN, "cache directory hangs");
  if (!*done && done->error().code != ENOENT) io_error(done->error().code);
  return std::move(*done);
}

void DiskStore::unstage(const BlockId& id, bool drop) {
  delete_file(path(id, true));
  bool known = false;
  {
    std::lock_guard lock(mutex_);
    auto it = items_.find(id);
    known = it != items_.end();
    if (known && it->second.staged) {
      it->second.staged = false;
      used_ += id.bytes + 4096;
      counted_++;
    }
  }
  if (drop) remove(id);
}

// Nothing to do, and nothing that can fail, when all that is staged was synced before.
Result<void> DiskStore::sync() {
  uint64_t count = staged_count_, before = synced_count_;
  if (before >= count) return {};
  auto code = in_time<int>(
      [root = root_] {
        int fd = ::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) return errno;
        int failed = ::syncfs(fd) == 0 ? 0 : errno;
        ::close(fd);
        return failed;
      },
      kSyncPatience);
  if (!code) return fail(EIO, root_ + " hangs: what is staged there may not survive a power cut");
  if (*code != 0) return fail(*code, "syncfs " + root_);
  while (before < count && !synced_count_.compare_exchange_weak(before, count)) {
  }
  return {};
}

void DiskStore::stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  room_.notify_all();
  if (writer_.joinable()) writer_.join();
}

}  // namespace zest::data
