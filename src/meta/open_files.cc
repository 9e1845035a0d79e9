// The table of open files. Knows nothing of the database: who reads or commits tells it.
#include "meta/open_files.h"

#include <algorithm>
#include <utility>

namespace zest::meta {

namespace {
constexpr int64_t kIdleMs = 12LL * 3600 * 1000;
}

OpenFiles::File* OpenFiles::find(Ino ino) {
  auto it = files_.find(ino);
  return it == files_.end() ? nullptr : &it->second;
}

void OpenFiles::learn(File& file, const Attr& attr, int64_t now_ms) {
  if (file.attr.mtime != attr.mtime) drop_views(file);
  file.attr = attr;
  file.fresh = true;
  file.read_at_ms = now_ms;
}

uint64_t OpenFiles::expect(Ino ino) {
  std::lock_guard lock(mutex_);
  auto [it, made] = files_.try_emplace(ino);
  if (made) it->second.version = ++versions_;
  return it->second.version;
}

bool OpenFiles::open(Ino ino, const Attr& attr, int64_t now_ms, uint64_t version,
                     std::shared_ptr<const ChunkView> first) {
  std::lock_guard lock(mutex_);
  auto [it, made] = files_.try_emplace(ino);
  File& file = it->second;
  const bool keep_cache = file.opened_mtime == attr.mtime;
  if (made) file.version = ++versions_;
  const bool current = !made && file.version == version;
  learn(file, attr, now_ms);
  if (current && first) file.chunks[0] = std::move(first);
  file.opened_mtime = attr.mtime;
  file.opened_version = current ? file.version : 0;
  file.opened_at_ms = now_ms;
  file.refs++;
  return keep_cache;
}

bool OpenFiles::close(Ino ino, bool* sustained) {
  std::lock_guard lock(mutex_);
  if (sustained) *sustained = false;
  File* file = find(ino);
  if (!file || file->refs == 0) return false;
  if (--file->refs > 0) return false;
  file->closed_at_ms = file->read_at_ms;
  if (!file->sustained) return true;
  if (sustained) *sustained = true;
  files_.erase(ino);
  return true;
}

bool OpenFiles::is_open(Ino ino) const {
  std::lock_guard lock(mutex_);
  auto it = files_.find(ino);
  return it != files_.end() && it->second.refs > 0;
}

bool OpenFiles::mark_sustained(Ino ino) {
  std::lock_guard lock(mutex_);
  File* file = find(ino);
  if (!file || file->refs == 0) return false;
  file->sustained = true;
  return true;
}

bool OpenFiles::take_sustained(Ino ino) {
  std::lock_guard lock(mutex_);
  File* file = find(ino);
  return file && std::exchange(file->sustained, false);
}

std::optional<Attr> OpenFiles::attr(Ino ino, int64_t now_ms, int64_t max_age_ms) const {
  std::lock_guard lock(mutex_);
  auto it = files_.find(ino);
  if (it == files_.end() || !it->second.fresh || now_ms - it->second.read_at_ms >= max_age_ms) return {};
  return it->second.attr;
}

std::optional<Attr> OpenFiles::attr_at_open(Ino ino, int64_t now_ms, int64_t max_age_ms) const {
  std::lock_guard lock(mutex_);
  auto it = files_.find(ino);
  if (it == files_.end()) return {};
  const File& file = it->second;
  if (file.version != file.opened_version || now_ms - file.opened_at_ms >= max_age_ms) return {};
  return file.attr;
}

void OpenFiles::update(Ino ino, const Attr& attr, int64_t now_ms) {
  std::lock_guard lock(mutex_);
  if (File* file = find(ino)) learn(*file, attr, now_ms);
}

std::shared_ptr<const ChunkView> OpenFiles::chunk(Ino ino, ChunkIndex index) const {
  std::lock_guard lock(mutex_);
  auto it = files_.find(ino);
  if (it == files_.end()) return nullptr;
  auto found = it->second.chunks.find(index);
  return found == it->second.chunks.end() ? nullptr : found->second;
}

void OpenFiles::keep_chunk(Ino ino, ChunkIndex index, std::shared_ptr<const ChunkView> view, uint64_t version,
                           const Attr* attr, int64_t now_ms) {
  std::lock_guard lock(mutex_);
  File* file = find(ino);
  if (!file || file->version != version) return;
  if (attr) learn(*file, *attr, now_ms);
  file->chunks[index] = std::move(view);
}

uint64_t OpenFiles::version(Ino ino) const {
  std::lock_guard lock(mutex_);
  auto it = files_.find(ino);
  return it == files_.end() ? 0 : it->second.version;
}

void OpenFiles::forget(Ino ino) {
  std::lock_guard lock(mutex_);
  if (File* file = find(ino)) {
    drop_views(*file);
    file->fresh = false;
  }
}

void OpenFiles::forget_chunk(Ino ino, ChunkIndex index) {
  std::lock_guard lock(mutex_);
  if (File* file = find(ino)) {
    file->chunks.erase(index);
    file->version = ++versions_;
    file->fresh = false;
  }
}

void OpenFiles::forget_chunks(Ino ino, ChunkIndex first, ChunkIndex last) {
  std::lock_guard lock(mutex_);
  if (File* file = find(ino)) {
    file->chunks.erase(file->chunks.lower_bound(first), file->chunks.upper_bound(last));
    file->version = ++versions_;
    file->fresh = false;
  }
}

void OpenFiles::forget_attr(Ino ino) {
  std::lock_guard lock(mutex_);
  if (File* file = find(ino)) {
    file->version = ++versions_;
    file->fresh = false;
  }
}

void OpenFiles::changed_here(Ino ino, const Attr& before, const Attr& after,
                             std::optional<std::span<const ChunkIndex>> chunks, int64_t now_ms) {
  std::lock_guard lock(mutex_);
  File* file = find(ino);
  if (!file) return;
  if (file->opened_mtime == before.mtime) file->opened_mtime = after.mtime;
  file->version = ++versions_;
  if (file->attr.mtime == before.mtime) {
    if (!chunks) file->chunks.clear();
    for (ChunkIndex index : chunks.value_or(std::span<const ChunkIndex>{})) file->chunks.erase(index);
    file->attr = after;
    file->fresh = true;
    file->read_at_ms = now_ms;
    return;
  }
  // Somebody else's change lies between, or two of our own changes are told in the other order: trust nothing.
  drop_views(*file);
  file->fresh = false;
}

void OpenFiles::trim(int64_t now_ms, int64_t limit) {
  std::lock_guard lock(mutex_);
  std::vector<std::pair<int64_t, Ino>> closed;
  for (auto& [ino, file] : files_)
    if (file.refs == 0 && !file.sustained) closed.emplace_back(std::max(file.closed_at_ms, file.read_at_ms), ino);
  std::sort(closed.begin(), closed.end(), [](auto& a, auto& b) { return a.first < b.first; });
  for (auto& [at, ino] : closed) {
    bool crowded = limit > 0 && files_.size() > static_cast<size_t>(limit);
    if (!crowded && now_ms - at < kIdleMs) break;
    files_.erase(ino);
  }
}

}  // namespace zest::meta
