// Limits, eviction, scans and health of one cache directory.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>
#include <unordered_set>

#include "base/log.h"
#include "data/cache/disk_store.h"

namespace zest::data {
namespace {

constexpr int kErrorsToGoOut = 3, kProbesToComeBack = 5;
constexpr int64_t kErrorWindowMs = 60'000, kLockCheckMs = 10'000, kExpireCheckMs = 30'000;
constexpr int64_t kStaleTmpSec = 60;
constexpr std::chrono::milliseconds kProbeTimeout{1000};
constexpr size_t kExpireBatch = 1000;
constexpr int kWalkPatience = 6;  // for a folder of many files, as many times what a read may take

// What is in a folder; leftovers of writes are removed.
struct Folder {
  struct File {
    std::string name;
    int64_t atime = 0, mtime = 0;
    bool linked_twice = false;
  };
  std::vector<std::string> folders;
  std::vector<File> files;
  bool empty = false;  // and for a while: it can go
  int code = 0;        // of an error
};

Folder look_into(const std::string& dir) {
  Folder out;
  DIR* handle = ::opendir(dir.c_str());
  if (!handle) {
    out.code = errno == ENOENT ? 0 : errno;
    return out;
  }
  auto now = static_cast<int64_t>(std::time(nullptr));
  out.empty = true;
  while (auto* entry = ::readdir(handle)) {
    std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    out.empty = false;
    struct stat st {};
    if (::fstatat(::dirfd(handle), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISDIR(st.st_mode)) {
      out.folders.push_back(std::move(name));
    } else if (!S_ISREG(st.st_mode)) {
      continue;
    } else if (name.ends_with(".tmp")) {
      if (now - st.st_mtime > kStaleTmpSec) ::unlinkat(::dirfd(handle), name.c_str(), 0);
    } else {
      out.files.push_back({std::move(name), st.st_atime, st.st_mtime, st.st_nlink > 1});
    }
  }
  struct stat own {};
  out.empty = out.empty && ::fstat(::dirfd(handle), &own) == 0 && now - own.st_mtime > kStaleTmpSec;
  ::closedir(handle);
  return out;
}

}  // namespace

bool DiskStore::full() const { return used_ > max_bytes_ || (max_items_ > 0 && counted_ > max_items_) || raw_full_; }

// Of each two blocks met, the one used less recently (lru: the least recently used of all), until used bytes and items
// are below the goals of the limits and at least bytes_goal and items_goal are gone.
std::vector<BlockId> DiskStore::choose_victims(uint64_t bytes_goal, uint64_t items_goal) {
  std::lock_guard lock(mutex_);
  uint64_t keep_bytes = max_bytes_ / 100 * 95, keep_items = max_items_ > 0 ? max_items_ / 100 * 99 : UINT64_MAX;
  uint64_t over_bytes = used_ > max_bytes_ ? used_ - keep_bytes : 0;
  uint64_t over_items = counted_ > keep_items && max_items_ > 0 && counted_ > max_items_ ? counted_ - keep_items : 0;
  uint64_t bytes = std::max(over_bytes, bytes_goal), items = std::max(over_items, items_goal);
  std::vector<BlockId> victims;
  uint64_t freed = 0;
  auto enough = [&] { return freed >= bytes && victims.size() >= items; };
  auto take = [&](const BlockId& id) {
    victims.push_back(id);
    freed += id.bytes + 4096;
  };
  if (options_.cache.eviction == "lru") {
    std::vector<std::pair<uint32_t, BlockId>> all;
    for (const auto& [id, item] : items_)
      if (!item.staged) all.emplace_back(item.used_s, id);
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first < b.first : a.second.bytes > b.second.bytes;
    });
    for (const auto& [used, id] : all) {
      if (enough()) break;
      take(id);
    }
    return victims;
  }
  const std::pair<const BlockId, Item>* kept = nullptr;
  for (const auto& entry : items_) {
    if (enough()) break;
    if (entry.second.staged) continue;
    if (!kept) {
      kept = &entry;
      continue;
    }
    take(entry.second.used_s < kept->second.used_s ? entry.first : kept->first);
    kept = nullptr;
  }
  if (!enough() && kept) take(kept->first);
  return victims;
}

void DiskStore::evict(uint64_t bytes_goal, uint64_t items_goal) {
  for (const auto& id : choose_victims(bytes_goal, items_goal)) {
    forget(id);
    delete_file(path(id, false));
    stats_.cache_evictions++;
  }
}

void DiskStore::expire() {
  if (options_.cache.expire_ms <= 0) return;
  std::vector<BlockId> old;
  {
    std::lock_guard lock(mutex_);
    auto edge = static_cast<int64_t>(now_s()) - std::max<int64_t>(options_.cache.expire_ms / 1000, 1);
    for (const auto& [id, item] : items_) {
      if (item.staged || item.used_s >= edge) continue;
      old.push_back(id);
      if (old.size() >= kExpireBatch) break;
    }
  }
  for (const auto& id : old) {
    forget(id);
    delete_file(path(id, false));
    stats_.cache_evictions++;
  }
}

// How full the file system is, and what that makes of the limits.
void DiskStore::measure() {
  struct Outcome {
    int code;
    struct statvfs fs;
  };
  auto outcome = in_time<Outcome>([root = root_] {
    Outcome out{};
    out.code = ::statvfs(root.c_str(), &out.fs) == 0 ? 0 : errno;
    return out;
  });
  if (!outcome) return;
  if (outcome->code != 0) return io_error(outcome->code);
  const auto& fs = outcome->fs;
  double blocks = static_cast<double>(std::max<fsblkcnt_t>(fs.f_blocks, 1));
  double free_space = static_cast<double>(fs.f_bavail) / blocks;
  double free_inodes = fs.f_files > 0 ? static_cast<double>(fs.f_favail) / static_cast<double>(fs.f_files) : 1.0;
  double free = std::min(free_space, free_inodes);
  std::lock_guard lock(mutex_);
  double usable = 1.0 - free_ratio_;
  max_bytes_ = std::min(limits_.bytes, static_cast<uint64_t>(usable * blocks * static_cast<double>(fs.f_frsize)));
  if (fs.f_files > 0) {
    auto items = static_cast<uint64_t>(usable * static_cast<double>(fs.f_files));
    max_items_ = limits_.items > 0 ? std::min(limits_.items, items) : items;
  }
  raw_full_ = free < free_ratio_;
  stage_full_ = free < free_ratio_ / 2;
  missing_bytes_ = 0;
  if (free_space < free_ratio_)
    missing_bytes_ = static_cast<uint64_t>((free_ratio_ - free_space) * blocks * static_cast<double>(fs.f_frsize));
}

void DiskStore::check_lock() {
  struct Outcome {
    int code;            // of looking for the lock file
    bool of_the_system;  // the directory lies on the disk of /
  };
  auto outcome = in_time<Outcome>([root = root_] {
    struct stat lock {
    }, here{}, top{};
    Outcome out{};
    out.code = ::stat((root + "/.lock").c_str(), &lock) == 0 ? 0 : errno;
    out.of_the_system = ::stat(root.c_str(), &here) == 0 && ::stat("/", &top) == 0 && here.st_dev == top.st_dev;
    return out;
  });
  if (!outcome) return;
  bool was_lost = std::exchange(lock_lost_, outcome->code == ENOENT || (lock_lost_ && outcome->code != 0));
  if (was_lost || !lock_lost_) return;
  log_warning(fmt::format("cache: {}/.lock is gone: was the disk unmounted?", root_));
  if (!outcome->of_the_system) return;
  std::lock_guard lock(mutex_);
  free_ratio_ = std::max(free_ratio_, 0.2);
}

// Three errors within a minute, or one call that hangs, take the directory out of use; probes bring it back. What is
// staged in it is nowhere else: it can still be read, if the disk lets, and is uploaded when it works again.
void DiskStore::io_error(int code) {
  constexpr int kOfTheDisk[] = {EIO, ENODEV, ENXIO, EROFS, ETIMEDOUT, EACCES, EPERM, ENOTDIR, ENOTCONN, ESTALE};
  if (std::find(std::begin(kOfTheDisk), std::end(kOfTheDisk), code) == std::end(kOfTheDisk)) return;
  std::lock_guard lock(mutex_);
  auto now = clock_.monotonic_ms();
  errors_ms_.push_back(now);
  while (!errors_ms_.empty() && now - errors_ms_.front() > kErrorWindowMs) errors_ms_.pop_front();
  good_probes_ = 0;
  if (static_cast<int>(errors_ms_.size()) >= kErrorsToGoOut) go_out("fails");
}

void DiskStore::go_out(const char* why) {
  good_probes_ = 0;
  if (out_.exchange(true)) return;
  uint64_t blocks = 0, bytes = 0;
  for (const auto& [id, item] : items_)
    if (item.staged) blocks++, bytes += id.bytes;
  log_error(fmt::format("cache: {} {} and is not used for now", root_, why));
  if (blocks > 0)
    log_error(fmt::format("cache: {} staged blocks ({} bytes) are only in {}: they are uploaded when it works again",
                          blocks, bytes, root_));
}

void DiskStore::probe() {
  auto works = [file = root_ + "/raw/probe/" + std::to_string(::getpid()), mode = options_.cache.mode] {
    const std::string text = "probe";
    bool good = write_cache_file(file, text, Verify::kFull, mode).has_value();
    if (good) {
      char back[5];
      auto open = CacheFile::open(file, sizeof back, Verify::kFull);
      good = open && (*open)->read(0, std::span(back)) && std::string_view(back, sizeof back) == text;
    }
    ::unlink(file.c_str());
    return good;
  };
  good_probes_ = apart_.run<bool>(kProbeTimeout, works).value_or(false) ? good_probes_ + 1 : 0;
  if (good_probes_ < kProbesToComeBack) return;
  std::vector<std::string> to_delete;
  {
    std::lock_guard lock(mutex_);
    errors_ms_.clear();
    to_delete.swap(to_delete_);
  }
  log_info(fmt::format("cache: {} works again", root_));
  // Before anything new can have one of these names.
  (void)apart_.run<bool>(std::chrono::minutes(1), [to_delete] {
    for (const auto& path : to_delete) ::unlink(path.c_str());
    return true;
  });
  out_ = false;
}

void DiskStore::tick() {
  if (out_) return probe();
  measure();
  auto now = clock_.monotonic_ms();
  if (now - lock_checked_ms_ > kLockCheckMs) {
    lock_checked_ms_ = now;
    check_lock();
  }
  if (now - expired_ms_ > std::min(kExpireCheckMs, std::max<int64_t>(options_.cache.expire_ms / 2, 1000))) {
    expired_ms_ = now;
    expire();
  }
  bool over = false;
  uint64_t missing = 0;
  {
    std::lock_guard lock(mutex_);
    over = full() && options_.cache.eviction != "none";
    missing = missing_bytes_;
  }
  if (over) evict(missing, raw_full_ && missing == 0 ? 1 : 0);
}

// Every block's file below root_/kind/chunks; false when the disk hangs or fails, or to stop.
bool DiskStore::walk(const std::string& kind, const std::atomic<bool>& stop, const FoundBlock& each) {
  std::vector<std::string> to_see{"chunks"}, empty;
  while (!to_see.empty()) {
    if (stop) return false;
    std::string key = std::move(to_see.back()), dir = root_ + "/" + kind + "/" + key;
    to_see.pop_back();
    auto folder = in_time<Folder>([dir] { return look_into(dir); }, kWalkPatience);
    if (folder && folder->code != 0) io_error(folder->code);
    if (!folder || folder->code != 0) return false;
    if (folder->empty && key != "chunks") empty.push_back(std::move(dir));
    for (const auto& name : folder->folders) to_see.push_back(key + "/" + name);
    for (const auto& file : folder->files) {
      BlockId id;
      std::string block = key + "/" + file.name;
      if (!parse_block_key(block, id.slice, id.index, id.bytes) || id.bytes == 0) continue;
      if (block == block_key(format_, id.slice, id.index, id.bytes))
        each(id, file.atime, file.mtime, file.linked_twice);
    }
  }
  auto removed = in_time<int>([empty] {  // fails when a file came in between
    for (const auto& dir : empty) ::rmdir(dir.c_str());
    return 0;
  });
  return removed.has_value();
}

bool DiskStore::scan(const std::atomic<bool>& stop) {
  if (out_) return false;
  uint64_t round = 0;
  {
    std::lock_guard lock(mutex_);
    round = ++round_;
  }
  std::unordered_set<BlockId, BlockIdHash> found;
  bool all = walk("raw", stop, [&](const BlockId& id, int64_t atime, int64_t mtime, bool linked_twice) {
    found.insert(id);
    add(id, static_cast<uint32_t>(std::max(atime, mtime)), linked_twice);
  });
  if (!all) return false;
  std::vector<std::shared_ptr<CacheFile>> closed;
  std::lock_guard lock(mutex_);
  scanned_ = true;
  for (auto it = items_.begin(); it != items_.end();) {
    auto here = it++;
    if (found.contains(here->first) || here->second.added >= round || here->second.staged) continue;
    closed.push_back(here->second.file);
    erase(here);
  }
  return true;
}

std::vector<StagedBlock> DiskStore::find_staged(const std::atomic<bool>& stop) {
  std::vector<StagedBlock> out;
  if (out_ || staged_found_) return out;
  staged_found_ = walk("rawstaging", stop, [&](const BlockId& id, int64_t, int64_t mtime, bool) {
    if (!is_staged(id)) out.push_back({id, mtime});
  });
  // Readable through raw/, as when they were staged.
  std::vector<std::pair<std::string, std::string>> links;
  for (const auto& block : out) links.emplace_back(path(block.id, true), path(block.id, false));
  (void)in_time<int>(
      [links, mode = dir_mode(options_.cache.mode)] {
        for (const auto& [file, link] : links) {
          if (::access(link.c_str(), F_OK) == 0) continue;
          (void)make_dirs(link.substr(0, link.find_last_of('/')), mode);
          (void)::link(file.c_str(), link.c_str());
        }
        return 0;
      },
      kWalkPatience);
  for (const auto& block : out) {
    add(block.id, static_cast<uint32_t>(block.staged_at), true);
    staged_count_++;  // perhaps not synced before its client ended
  }
  return out;
}

}  // namespace zest::data
