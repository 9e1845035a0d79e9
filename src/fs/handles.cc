#include "fs/handles.h"

#include <fcntl.h>

#include <chrono>

#include "base/spent.h"
#include "base/wait_notice.h"

namespace zest::fs {
namespace {

// How often a waiter looks whether its caller gave up.
constexpr auto kCancelPoll = std::chrono::milliseconds(50);

}  // namespace

Result<void> InodeLock::lock_shared(const Context& context) {
  std::unique_lock lock(mutex_);
  if (exclusive_ || waiting_ > 0) {
    Waiting waiting(Part::kLock);
    while (exclusive_ || waiting_ > 0) {
      before_wait();
      changed_.wait_for(lock, kCancelPoll);
      if (context.is_cancelled()) return fail(EINTR);
    }
  }
  shared_++;
  return {};
}

void InodeLock::unlock_shared() {
  std::lock_guard lock(mutex_);
  if (--shared_ == 0 && waiting_ > 0) changed_.notify_all();
}

Result<void> InodeLock::lock(const Context& context) {
  std::unique_lock lock(mutex_);
  waiting_++;
  Waiting waiting(Part::kLock);
  while (exclusive_ || shared_ > 0) {
    changed_.wait_for(lock, kCancelPoll);
    if (context.is_cancelled()) {
      waiting_--;
      changed_.notify_all();
      return fail(EINTR);
    }
  }
  waiting_--;
  exclusive_ = true;
  return {};
}

void InodeLock::unlock() {
  std::lock_guard lock(mutex_);
  exclusive_ = false;
  changed_.notify_all();
}

Result<size_t> VirtualHandle::write(const Context&, uint64_t, std::span<const char>) { return fail(EACCES); }

bool Handle::writable() const { return (flags & O_ACCMODE) != O_RDONLY; }
bool Handle::readable() const { return (flags & O_ACCMODE) != O_WRONLY; }

std::shared_ptr<Handle> HandleTable::add(Ino ino, uint32_t flags, bool is_dir) {
  auto handle = std::make_shared<Handle>();
  handle->ino = ino;
  handle->flags = flags;
  handle->is_dir = is_dir;
  bool writable = !is_dir && !is_special(ino) && handle->writable();
  uint64_t id = next_.fetch_add(1, std::memory_order_relaxed);
  handle->id = id * 2 + (writable ? 0 : 1);
  auto& shard = shards_[handle->id / 2 % kShards];
  std::lock_guard lock(shard.mutex);
  shard.handles.emplace(handle->id, handle);
  return handle;
}

std::shared_ptr<Handle> HandleTable::find(uint64_t id, Ino ino) const {
  auto& shard = shards_[id / 2 % kShards];
  std::shared_lock lock(shard.mutex);
  auto found = shard.handles.find(id);
  if (found == shard.handles.end() || found->second->ino != ino) return nullptr;
  return found->second;
}

std::shared_ptr<Handle> HandleTable::remove(uint64_t id) {
  auto& shard = shards_[id / 2 % kShards];
  std::lock_guard lock(shard.mutex);
  auto found = shard.handles.find(id);
  if (found == shard.handles.end()) return nullptr;
  auto handle = std::move(found->second);
  shard.handles.erase(found);
  return handle;
}

std::shared_ptr<OpenInode> HandleTable::open_inode(Ino ino, bool writable) {
  auto& shard = shard_of(ino);
  std::lock_guard lock(shard.mutex);
  auto& open = shard.inodes[ino];
  if (!open) open = std::make_shared<OpenInode>(ino);
  open->refs++;
  if (writable) open->writers++;
  return open;
}

std::shared_ptr<OpenInode> HandleTable::inode(Ino ino) const {
  auto& shard = shard_of(ino);
  std::shared_lock lock(shard.mutex);
  auto found = shard.inodes.find(ino);
  return found == shard.inodes.end() ? nullptr : found->second;
}

bool HandleTable::close_inode(OpenInode& open, bool writable) {
  auto& shard = shard_of(open.ino);
  std::lock_guard lock(shard.mutex);
  if (writable) open.writers--;
  if (--open.refs > 0) return false;
  shard.inodes.erase(open.ino);
  return true;
}

size_t HandleTable::inodes() const {
  size_t total = 0;
  for (auto& shard : inode_shards_) {
    std::shared_lock lock(shard.mutex);
    total += shard.inodes.size();
  }
  return total;
}

size_t HandleTable::size() const {
  size_t total = 0;
  for (auto& shard : shards_) {
    std::shared_lock lock(shard.mutex);
    total += shard.handles.size();
  }
  return total;
}

}  // namespace zest::fs
