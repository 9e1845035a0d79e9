#include "fs/handles.h"

#include <fcntl.h>

#include <chrono>

#include "base/spent.h"
#include "base/wait_notice.h"

namespace zest::fs {
namespace {

// Values of Record::handle.lost.
constexpr uint64_t kLost = 1, kLostRefused = 2;

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
bool Handle::refuses_write() const {
  uint64_t untold = kLost;
  return std::atomic_ref(record->handle.lost).compare_exchange_strong(untold, kLostRefused);
}
bool Handle::readable() const { return (flags & O_ACCMODE) != O_WRONLY; }

void OpenInode::flushed(uint64_t count) {
  std::atomic_ref safe(record->inode.flushed);
  uint64_t before = safe.load();
  while (before < count && !safe.compare_exchange_weak(before, count)) continue;
}

void OpenInode::set_named() {
  named = true;
  std::atomic_ref(record->inode.named).store(1, std::memory_order_relaxed);
}

std::shared_ptr<Handle> HandleTable::add(Ino ino, uint32_t flags, bool is_dir) {
  auto handle = std::make_shared<Handle>();
  handle->ino = ino;
  handle->flags = flags;
  handle->is_dir = is_dir;
  bool writable = !is_dir && !is_special(ino) && handle->writable();
  uint64_t number = table_.header().next_handle.fetch_add(1, std::memory_order_relaxed);
  handle->id = number * 2 + (writable ? 0 : 1);
  handle->record = table_.take(is_dir ? Record::kDirectory : Record::kFile);
  handle->record->flags = flags;
  handle->record->handle.ino = raw(ino);
  std::atomic_ref(handle->record->handle.id).store(handle->id, std::memory_order_release);
  return insert(std::move(handle));
}

std::shared_ptr<Handle> HandleTable::adopt(Record* record) {
  auto handle = std::make_shared<Handle>();
  handle->ino = Ino{record->handle.ino};
  handle->flags = record->flags;
  handle->is_dir = record->kind == Record::kDirectory;
  handle->id = record->handle.id;
  handle->record = record;
  return insert(std::move(handle));
}

std::shared_ptr<Handle> HandleTable::insert(std::shared_ptr<Handle> handle) {
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
  if (!open) {
    auto* record = table_.take(Record::kInode);
    std::atomic_ref(record->inode.ino).store(raw(ino), std::memory_order_release);
    open = std::make_shared<OpenInode>(ino, record);
  }
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
  table_.give_back(open.record);
  shard.inodes.erase(open.ino);
  return true;
}

void HandleTable::note_lock(Handle& handle, Record::Kind kind, uint64_t owner) {
  auto& owners = kind == Record::kFlock ? handle.flock_owners : handle.lock_owners;
  if (!owners.insert(owner).second) return;
  auto* record = table_.take(kind);
  record->lock.owner = owner;
  std::atomic_ref(record->lock.handle).store(handle.id, std::memory_order_release);
  handle.locks.push_back(record);
}

void HandleTable::adopt_lock(Handle& handle, Record* record) {
  std::lock_guard lock(handle.mutex);
  handle.locks.push_back(record);
  if (record->kind == Record::kFlock) {
    handle.flock_owners.insert(record->lock.owner);
    return;
  }
  handle.lock_owners.insert(record->lock.owner);
  std::lock_guard inode_lock(handle.inode->mutex);
  handle.inode->lock_owners.insert(record->lock.owner);
}

void HandleTable::forget(Handle& handle) {
  std::lock_guard lock(handle.mutex);
  for (auto* record : handle.locks) table_.give_back(record);
  handle.locks.clear();
  if (handle.is_dir) table_.clear_names(*handle.record);
  table_.give_back(std::exchange(handle.record, nullptr));
}

std::vector<std::shared_ptr<OpenInode>> HandleTable::dirty_inodes() const {
  std::vector<std::shared_ptr<OpenInode>> out;
  for (auto& shard : inode_shards_) {
    std::shared_lock lock(shard.mutex);
    for (auto& [ino, open] : shard.inodes)
      if (open->written() != std::atomic_ref(open->record->inode.flushed).load()) out.push_back(open);
  }
  return out;
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
