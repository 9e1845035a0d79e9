// POSIX range locks and flock. They live in the database, seen by all clients; here only who has to be unlocked when a
// file is closed.
#include <fmt/format.h>

#include "fs/filesystem.h"
#include "fs/handles.h"
#include "fs/op.h"

namespace zest::fs {
namespace {

char letter(LockType type) {
  switch (type) {
    case LockType::kRead: return 'R';
    case LockType::kWrite: return 'W';
    case LockType::kUnlock: return 'U';
  }
  return 'X';
}

// close() does not wait for its RELEASE: who asks for the lock next may get here while that is under way, or has only
// just been read. That a lock is held counts when it has ended.
void wait_for_closes(OpenInode& open) {
  constexpr std::chrono::milliseconds kJustRead(1), kUnderWay(1000);
  std::unique_lock lock(open.mutex);
  if (open.closing == 0) open.closed.wait_for(lock, kJustRead);
  open.closed.wait_for(lock, kUnderWay, [&] { return open.closing == 0; });
}

Result<void> after_closes(Handle& handle, LockWait wait, const std::function<Result<void>()>& ask) {
  auto result = ask();
  if (wait != LockWait::kNo || code_of(result) != EAGAIN || !handle.inode) return result;
  wait_for_closes(*handle.inode);
  return ask();
}

bool comes_back(const Result<void>& result, LockWait wait) {
  return wait == LockWait::kFirst && code_of(result) == EAGAIN;
}

}  // namespace

Result<PosixLock> FileSystem::getlk(const Context& context, Ino ino, uint64_t fh, uint64_t owner,
                                    const PosixLock& lock) {
  Op op(*this, context, Method::kGetlk);
  Result<PosixLock> result = fail(is_special(ino) ? EPERM : EBADF);
  auto handle = is_special(ino) ? nullptr : handles_->find(fh, ino);
  if (handle) result = meta_.getlk(context, ino, owner, lock);
  const bool held = result && result->type != LockType::kUnlock;
  if (held && lock.type != LockType::kUnlock && handle->inode) {
    wait_for_closes(*handle->inode);
    result = meta_.getlk(context, ino, owner, lock);
  }
  op.end(result, [&] {
    auto l = result.value_or(lock);
    return fmt::format("({},{},{:016X}): ({},{},{},{})", raw(ino), fh, owner, l.start, l.end, letter(l.type), l.pid);
  });
  return result;
}

// The owner is noted before asking, so that a close that comes while the lock is being granted releases it.
Result<void> FileSystem::setlk(const Context& context, Ino ino, uint64_t fh, uint64_t owner, const PosixLock& lock,
                               LockWait wait) {
  Op op(*this, context, Method::kSetlk);
  Result<void> result;
  auto handle = handles_->find(fh, ino);
  if (is_special(ino)) {
    result = fail(EPERM);
  } else if (!handle) {
    result = fail(EBADF);
  } else {
    if (lock.type != LockType::kUnlock) {
      {
        std::lock_guard guard(handle->mutex);
        handles_->note_lock(*handle, Record::kPosixLock, owner);
      }
      if (handle->inode) {
        std::lock_guard guard(handle->inode->mutex);
        handle->inode->lock_owners.insert(owner);
      }
    }
    result =
        after_closes(*handle, wait, [&] { return meta_.setlk(context, ino, owner, lock, wait == LockWait::kYes); });
  }
  if (comes_back(result, wait)) return result;
  op.end(result, [&] {
    return fmt::format("({},{},{:016X},{},{},{},{},{})", raw(ino), fh, owner, lock.start, lock.end, letter(lock.type),
                       wait != LockWait::kNo, lock.pid);
  });
  return result;
}

Result<void> FileSystem::flock(const Context& context, Ino ino, uint64_t fh, uint64_t owner, LockType type,
                               LockWait wait) {
  Op op(*this, context, Method::kFlock);
  Result<void> result;
  auto handle = handles_->find(fh, ino);
  // Of two handles of one process each has its own lock.
  uint64_t key = owner ^ fh;
  if (is_special(ino)) {
    result = fail(EPERM);
  } else if (!handle) {
    result = fail(EBADF);
  } else {
    if (type != LockType::kUnlock) {
      std::lock_guard guard(handle->mutex);
      handles_->note_lock(*handle, Record::kFlock, key);
    }
    result = after_closes(*handle, wait, [&] { return meta_.flock(context, ino, key, type, wait == LockWait::kYes); });
  }
  if (comes_back(result, wait)) return result;
  op.end(result, [&] {
    return fmt::format("({},{},{:016X},{},{})", raw(ino), fh, owner,
                       type == LockType::kRead    ? "LOCKSH"
                       : type == LockType::kWrite ? "LOCKEX"
                                                  : "UNLOCK",
                       wait != LockWait::kNo);
  });
  return result;
}

// What is left when the last descriptor of a handle is closed: flocks, and locks owned by the handle (OFD).
void FileSystem::release_locks(Handle& handle) {
  std::set<uint64_t> owners, flocks;
  {
    std::lock_guard guard(handle.mutex);
    owners.swap(handle.lock_owners);
    flocks.swap(handle.flock_owners);
  }
  for (uint64_t owner : flocks) (void)meta_.flock({}, handle.ino, owner, LockType::kUnlock, false);
  for (uint64_t owner : owners) {
    if (handle.inode) {
      std::lock_guard guard(handle.inode->mutex);
      if (handle.inode->lock_owners.erase(owner) == 0) continue;  // a flush has released them
    }
    (void)meta_.setlk({}, handle.ino, owner, {LockType::kUnlock, 0, 0, kLockEnd}, false);
  }
}

}  // namespace zest::fs
