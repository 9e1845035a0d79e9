// Open files: reading, writing, and when what is written becomes durable.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <shared_mutex>

#include "fs/changes.h"
#include "fs/filesystem.h"
#include "fs/handles.h"
#include "fs/op.h"
#include "fs/virtual_files.h"

namespace zest::fs {
namespace {

// The file went away, or lost its type, under an open handle: the handle is what is wrong now.
Error as_handle_error(Error error) {
  if (error.code == ENOENT || error.code == EPERM || error.code == EINVAL) error.code = EBADF;
  return error;
}

// One copy stays below 4 GiB and ends on a chunk border then.
constexpr uint64_t kMaxCopy = (uint64_t{1} << 32) - kChunkSize;

bool overlap(uint64_t a, uint64_t b, uint64_t size) { return a < b + size && b < a + size; }

}  // namespace

Result<FileSystem::Opened> FileSystem::open(const Context& context, Ino ino, uint32_t flags) {
  Op op(*this, context, Method::kOpen);
  auto result = do_open(context, ino, flags);
  op.end(result, [&] {
    return fmt::format("({},0x{:x}){}", raw(ino), flags, result ? fmt::format(" [fh:{}]", result->fh) : std::string());
  });
  return result;
}

Result<FileSystem::Opened> FileSystem::do_open(const Context& context, Ino ino, uint32_t flags) {
  if (is_special(ino)) {
    ZEST_ASSIGN(auto special, virtual_->open(context, ino, flags));
    auto handle = add_handle(context, ino, flags, false);
    handle->special = std::move(special);
    return Opened{handle->id, virtual_->by_ino(ino)->attr, false, true};
  }
  auto before = handles_->inode(ino);
  uint64_t seen = before ? before->changes.load(std::memory_order_acquire) : 0;
  uint64_t buffered = before ? data_.length(ino, 0) : 0;
  ZEST_ASSIGN(auto opened, meta_.open(context, ino, flags));
  auto handle = add_file(context, ino, flags);
  auto& open = *handle->inode;
  {
    std::lock_guard lock(open.mutex);
    uint64_t length = std::max({opened.attr.length, buffered, data_.length(ino, 0)});
    // unchanged here meanwhile: the database is right, also about a file that became shorter elsewhere
    open.length = open.changes == seen ? length : std::max(length, open.length.load());
    opened.attr.length = open.length;
    if (!opened.attr.in_trash()) open.set_named();
  }
  if (!opened.keep_cache) data_.invalidate(ino, 0, 0);  // its length; what chunks hold meta_.open() has looked after
  return Opened{handle->id, opened.attr, opened.keep_cache, false};
}

Result<size_t> FileSystem::read(const Context& context, Ino ino, uint64_t fh, uint64_t offset, std::span<char> into,
                                data::Lent* lent) {
  if (ino == kLogIno) {  // would log its own reading
    auto handle = handles_->find(fh, ino);
    if (!handle || !handle->special) return fail(EBADF);
    return handle->special->read(context, offset, into);
  }
  Op op(*this, context, Method::kRead);
  auto result = do_read(context, ino, fh, offset, into, lent);
  stats_->read(result.value_or(0));
  op.end(result, [&] {
    auto got = result.value_or(0);
    return is_special(ino) ? fmt::format("({},{},{},{}): {}", raw(ino), into.size(), offset, fh, got)
                           : fmt::format("({},{},{},{}): ({})", raw(ino), into.size(), offset, fh, got);
  });
  return result;
}

Result<size_t> FileSystem::do_read(const Context& context, Ino ino, uint64_t fh, uint64_t offset, std::span<char> into,
                                   data::Lent* lent) {
  auto handle = handles_->find(fh, ino);
  if (!handle || handle->is_dir) return fail(EBADF);
  if (handle->special) return handle->special->read(context, offset, into);
  if (!handle->readable() && !options_.read_write_only) return fail(EBADF);
  if (offset >= kMaxFileSize || offset + into.size() >= kMaxFileSize) return fail(EFBIG);
  auto& open = *handle->inode;
  SharedHold hold(open.lock);
  ZEST_TRY(hold.take(context));
  std::call_once(handle->reader_once, [&] { handle->reader = data_.open_reader(ino); });
  uint64_t length = open.length.load(std::memory_order_acquire);
  if (offset >= length || into.empty()) return size_t{0};
  auto result = data_.read(*handle->reader, length, offset, into, context.cancelled, lent);
  if (!result && result.error().code == ENOENT) return fail(as_handle_error(std::move(result.error())));
  return result;
}

Result<size_t> FileSystem::write(const Context& context, Ino ino, uint64_t fh, uint64_t offset,
                                 std::span<const char> bytes, bool from_cache) {
  Op op(*this, context, Method::kWrite);
  auto result = do_write(context, ino, fh, offset, bytes, from_cache);
  if (result) stats_->written(*result);
  op.end(result, [&] { return fmt::format("({},{},{},{})", raw(ino), bytes.size(), offset, fh); });
  return result;
}

Result<size_t> FileSystem::do_write(const Context& context, Ino ino, uint64_t fh, uint64_t offset,
                                    std::span<const char> bytes, bool from_cache) {
  auto handle = handles_->find(fh, ino);
  if (!handle || handle->is_dir) return fail(EBADF);
  if (handle->special) return handle->special->write(context, offset, bytes);
  if (!handle->writable()) return fail(EBADF);
  if (handle->refuses_write()) return fail(EIO);
  auto& open = *handle->inode;
  SharedHold hold(open.lock);
  ZEST_TRY(hold.take(context));
  std::unique_lock append(open.append, std::defer_lock);
  uint64_t asked = offset;
  if ((handle->flags & O_APPEND) && !from_cache) {
    {
      Waiting waiting(Part::kLock);
      append.lock();
    }
    if (appended_before(context, *handle, asked, bytes)) return bytes.size();
    offset = open.length.load(std::memory_order_acquire);
  }
  if (offset >= kMaxFileSize || offset + bytes.size() >= kMaxFileSize) return fail(EFBIG);
  if (bytes.empty()) return size_t{0};
  open.changes.fetch_add(1, std::memory_order_acq_rel);
  auto result = data_.write(ino, offset, bytes, context.cancelled);
  if (!result) return fail(as_handle_error(std::move(result.error())));
  wrote(open, offset + bytes.size());
  // The client put the pages where it thought the end was.
  if (auto* cache = client_cache(); cache && offset != asked)
    cache->forget_inode(ino, static_cast<int64_t>(std::min(offset, asked)), 0);
  return bytes.size();
}

Result<void> FileSystem::flush(const Context& context, Ino ino, uint64_t fh, uint64_t lock_owner) {
  Op op(*this, context, Method::kFlush);
  auto result = do_flush(context, ino, fh, lock_owner);
  op.end(result, [&] { return fmt::format("({},{},{:016X})", raw(ino), fh, lock_owner); });
  return result;
}

Result<void> FileSystem::flush_open(const Context& context, OpenInode& open) {
  uint64_t written = open.written();
  open.dirty.store(false, std::memory_order_release);
  auto result = data_.flush(open.ino, context.cancelled);
  if (result) {
    open.flushed(written);
    return result;
  }
  open.dirty.store(true, std::memory_order_release);
  return fail(as_handle_error(std::move(result.error())));
}

Result<void> FileSystem::do_flush(const Context& context, Ino ino, uint64_t fh, uint64_t lock_owner) {
  auto handle = handles_->find(fh, ino);
  if (!handle) return fail(EBADF);
  if (handle->special) {
    handle->special->flush();
    return {};
  }
  if (!handle->inode) return {};
  auto& open = *handle->inode;
  Result<void> result;
  if (handle->writable()) {
    result = flush_open(context, open);
    if (result && handle->take_lost()) result = fail(EIO);
  }
  // A process that closes any descriptor of a file loses its locks on it, whichever descriptor took them.
  bool locked;
  {
    std::lock_guard lock(open.mutex);
    locked = open.lock_owners.erase(lock_owner) > 0;
  }
  if (locked) {
    auto unlocked = meta_.setlk(context, ino, lock_owner, {LockType::kUnlock, 0, 0, kLockEnd}, false);
    if (!unlocked && result) result = std::move(unlocked);
  }
  return result;
}

Result<void> FileSystem::fsync(const Context& context, Ino ino, uint64_t fh, bool data_only) {
  Op op(*this, context, Method::kFsync);
  Result<void> result;
  auto handle = handles_->find(fh, ino);
  if (is_special(ino)) {
    result = {};
  } else if (!handle || !handle->inode) {
    result = fail(EBADF);
  } else {
    result = flush_open(context, *handle->inode);
    if (result)
      if (auto synced = data_.sync(ino); !synced) {
        handle->inode->dirty.store(true, std::memory_order_release);
        result = fail(as_handle_error(std::move(synced.error())));
      }
    if (result && handle->take_lost()) result = fail(EIO);
  }
  op.end(result, [&] { return fmt::format("({},{})", raw(ino), data_only ? 1 : 0); });
  return result;
}

Result<void> FileSystem::fsyncdir(const Context& context, Ino ino) {
  Op op(*this, context, Method::kFsync);
  Result<void> result;
  if (!is_special(ino)) result = data_.sync(ino);
  op.end(result, [&] { return fmt::format("({},0)", raw(ino)); });
  return result;
}

// Pages of a mapping may be written back between the last close and this, so it flushes once more.
void FileSystem::release(const Context& context, Ino ino, uint64_t fh) {
  Op op(*this, context, Method::kRelease);
  auto handle = handles_->find(fh, ino) ? handles_->remove(fh) : nullptr;
  if (handle && handle->inode) {
    auto& open = *handle->inode;
    const auto closing = [&open](int change) {
      std::lock_guard lock(open.mutex);
      open.closing += change;
      open.closed.notify_all();
    };
    closing(1);
    if (handle->writable() && open.dirty.load()) (void)flush_open(context, open);
    release_locks(*handle);
    closing(-1);
    handle->reader.reset();
    bool last = handles_->close_inode(open, handle->writable());
    (void)meta_.close(ino);
    if (last) data_.release(ino);
  }
  if (handle) handles_->forget(*handle);
  op.end(handle ? 0 : EBADF, [&] { return fmt::format("({},{})", raw(ino), fh); });
}

Result<void> FileSystem::fallocate(const Context& context, Ino ino, uint64_t fh, uint32_t mode, int64_t offset,
                                   int64_t size) {
  Op op(*this, context, Method::kFallocate);
  auto result = do_fallocate(context, ino, fh, mode, offset, size);
  op.end(result, [&] { return fmt::format("({},{},{},{})", raw(ino), mode, offset, size); });
  if (!result) return fail(std::move(result.error()));
  return {};
}

Result<Attr> FileSystem::do_fallocate(const Context& context, Ino ino, uint64_t fh, uint32_t mode, int64_t offset,
                                      int64_t size) {
  if (offset < 0 || size <= 0) return fail(EINVAL);
  if (is_special(ino)) return fail(EPERM);
  auto handle = handles_->find(fh, ino);
  if (!handle || !handle->inode || !handle->writable()) return fail(EBADF);
  auto from = static_cast<uint64_t>(offset), count = static_cast<uint64_t>(size);
  if (from >= kMaxFileSize || from + count >= kMaxFileSize) return fail(EFBIG);
  auto& open = *handle->inode;
  ExclusiveHold hold(open.lock);
  ZEST_TRY(hold.take(context));
  ZEST_TRY(data_.flush(ino, context.cancelled));
  auto attr = meta_.fallocate(context, ino, mode, from, count);
  if (!attr) return attr;
  set_length(open, attr->length, *attr);
  data_.invalidate(ino, from, count);
  changes_->inode(ino);
  return attr;
}

Result<uint64_t> FileSystem::copy_file_range(const Context& context, Ino in, uint64_t fh_in, uint64_t off_in, Ino out,
                                             uint64_t fh_out, uint64_t off_out, uint64_t size, uint32_t flags) {
  Op op(*this, context, Method::kCopyFileRange);
  auto result = do_copy(context, in, fh_in, off_in, out, fh_out, off_out, size, flags);
  op.end(result, [&] { return fmt::format("({},{},{},{},{},{})", raw(in), off_in, raw(out), off_out, size, flags); });
  return result;
}

Result<uint64_t> FileSystem::do_copy(const Context& context, Ino in, uint64_t fh_in, uint64_t off_in, Ino out,
                                     uint64_t fh_out, uint64_t off_out, uint64_t size, uint32_t flags) {
  if (is_special(in)) return fail(ENOTSUP);
  if (is_special(out)) return fail(EPERM);
  auto from = handles_->find(fh_in, in), to = handles_->find(fh_out, out);
  if (!from || !from->inode || !from->readable() || !to || !to->inode) return fail(EBADF);
  if (!to->writable()) return fail(EACCES);
  if (size > UINT32_MAX) size = kMaxCopy;
  if (off_in >= kMaxFileSize || off_in + size >= kMaxFileSize || off_out >= kMaxFileSize ||
      off_out + size >= kMaxFileSize)
    return fail(EFBIG);
  if (flags != 0) return fail(EINVAL);
  if (in == out && overlap(off_in, off_out, size)) return fail(EINVAL);

  // Both in the order of their numbers, so that two opposite copies do not wait for each other.
  ExclusiveHold target(to->inode->lock);
  SharedHold source(from->inode->lock);
  if (in < out) ZEST_TRY(source.take(context));
  ZEST_TRY(target.take(context));
  if (in > out) ZEST_TRY(source.take(context));
  ZEST_TRY(data_.flush(in, context.cancelled));
  if (in != out) ZEST_TRY(data_.flush(out, context.cancelled));
  auto copied = meta_.copy_file_range(context, in, off_in, out, off_out, size);
  if (!copied) return fail(std::move(copied.error()));
  if (copied->bytes > 0) {
    set_length(*to->inode, copied->attr.length, copied->attr);
    data_.invalidate(out, off_out, copied->bytes);
    changes_->inode(out);
  }
  return copied->bytes;
}

Result<uint64_t> FileSystem::lseek(const Context& context, Ino ino, uint64_t fh, uint64_t offset, int whence) {
  Op op(*this, context, Method::kLseek);
  auto result = do_lseek(context, ino, fh, offset, whence);
  op.end(result, [&] { return fmt::format("({},{},{}): {}", raw(ino), offset, whence, result.value_or(0)); });
  return result;
}

Result<uint64_t> FileSystem::do_lseek(const Context& context, Ino ino, uint64_t fh, uint64_t offset, int whence) {
  auto handle = handles_->find(fh, ino);
  if (!handle || !handle->inode) return fail(EBADF);
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return fail(EINVAL);
  auto& open = *handle->inode;
  SharedHold hold(open.lock);
  ZEST_TRY(hold.take(context));
  ZEST_TRY(data_.flush(ino, context.cancelled));
  const uint64_t length = open.length.load(std::memory_order_acquire);
  if (offset >= length) return fail(ENXIO);
  return meta_.seek(ino, offset, length, whence == SEEK_HOLE);
}

bool FileSystem::has_writers(Ino ino) const {
  auto open = handles_->inode(ino);
  return open && open->writers > 0;
}

}  // namespace zest::fs
