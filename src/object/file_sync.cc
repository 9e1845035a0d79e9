#include "object/file_sync.h"

#include <fcntl.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <utility>

namespace zest::object {
namespace {

// What is gone by now needs no syncing.
int sync_path(const std::string& path, int flags) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  if (fd < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
  int code = ::fsync(fd) < 0 ? errno : 0;
  ::close(fd);
  // Some network file systems cannot sync a folder; there is nothing more to be done then.
  return flags & O_DIRECTORY && (code == EINVAL || code == ENOTSUP) ? 0 : code;
}

template <class Paths>
int sync_all(const Paths& paths, int flags) {
  int code = 0;
  for (const auto& path : paths)
    if (int one = sync_path(path, flags)) code = one;
  return code;
}

void start_writing(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ::sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
  ::close(fd);
}

}  // namespace

void FileSync::add_file(std::string path) {
  std::lock_guard lock(mutex_);
  if (batch_.everything) return;
  batch_.files.push_back(std::move(path));
  bound();
}

void FileSync::add_folder(std::string path) {
  std::lock_guard lock(mutex_);
  if (batch_.everything) return;
  batch_.folders.insert(std::move(path));
  bound();
}

void FileSync::bound() {
  if (batch_.files.size() + batch_.folders.size() <= kMaxPending) return;
  batch_ = {};
  batch_.everything = true;
}

int FileSync::flush(const Batch& batch) {
  if (batch.everything) {
    int fd = ::open(root_.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    int code = ::syncfs(fd) < 0 ? errno : 0;
    ::close(fd);
    return code;
  }
  // With all of it under way, the first flush of the file system's journal does for most of the others.
  if (batch.files.size() > 1)
    for (const auto& file : batch.files) start_writing(file);
  // Side by side a file and its folder share one such flush.
  auto folders = std::make_shared<std::packaged_task<int()>>([&] { return sync_all(batch.folders, O_DIRECTORY); });
  auto folders_code = folders->get_future();
  if (batch.files.empty())
    (*folders)();
  else
    beside_.submit([folders] { (*folders)(); });
  int code = sync_all(batch.files, 0);
  int other = folders_code.get();
  return code ? code : other;
}

Result<void> FileSync::sync() {
  std::unique_lock lock(mutex_);
  uint64_t first = running_ ? batch_id_ - 1 : batch_id_, last = batch_id_;
  while (done_id_ < last) {
    if (running_) {
      done_.wait(lock);
      continue;
    }
    Batch batch = std::exchange(batch_, {});
    uint64_t id = batch_id_++;
    running_ = true;
    lock.unlock();
    int code = flush(batch);
    lock.lock();
    running_ = false;
    done_id_ = id;
    if (code) failed_[id] = code;
    if (failed_.size() > 100) failed_.erase(failed_.begin());
    done_.notify_all();
  }
  for (auto it = failed_.lower_bound(first); it != failed_.end() && it->first <= last; ++it)
    return fail(it->second, "sync " + root_);
  return {};
}

}  // namespace zest::object
