// Attributes: what the database says, corrected by what is buffered here.
#include "fs/filesystem.h"

#include <fmt/format.h>

#include "fs/changes.h"
#include "fs/control.h"
#include "fs/handles.h"
#include "fs/links.h"
#include "fs/op.h"
#include "fs/virtual_files.h"
#include "fs/volume_stats.h"

namespace zest::fs {
namespace {

std::string describe(const Change& change) {
  std::string out;
  auto add = [&](const std::string& text) { out += (out.empty() ? "" : ",") + text; };
  const auto& v = change.values;
  if (change.set & meta::kSetMode) add(fmt::format("mode={}:0{:04o}", log_mode(to_st_mode(v.type, v.mode)), v.mode));
  if (change.set & meta::kSetUid) add(fmt::format("uid={}", v.uid));
  if (change.set & meta::kSetGid) add(fmt::format("gid={}", v.gid));
  if (change.set & (meta::kSetAtime | meta::kSetAtimeNow))
    add(change.set & meta::kSetAtimeNow ? "atime=NOW" : fmt::format("atime={}", v.atime.sec));
  if (change.set & (meta::kSetMtime | meta::kSetMtimeNow))
    add(change.set & meta::kSetMtimeNow ? "mtime=NOW" : fmt::format("mtime={}", v.mtime.sec));
  if (change.set & kSetSize) add(fmt::format("size={}", change.size));
  return out;
}

constexpr size_t kMaxBackground = 32;  // jobs
constexpr int64_t kNoteFlushedMs = 1000;
constexpr uint32_t kMetaBits = meta::kSetMode | meta::kSetUid | meta::kSetGid | meta::kSetAtime | meta::kSetMtime |
                               meta::kSetAtimeNow | meta::kSetMtimeNow;

// The times that the commit of what is buffered will store.
void show_written(Attr& attr, Time mtime) {
  if (mtime == attr.mtime) return;
  attr.mtime = mtime;
  attr.ctime = std::max(attr.ctime, mtime);
}

// Without a mount that could be told otherwise.
std::shared_ptr<StateTable> unshared_table(const Format& format) {
  std::shared_ptr<StateTable> table = StateTable::unshared();
  table->header().posix_acl = format.enable_acl;
  return table;
}

}  // namespace

FileSystem::FileSystem(meta::Meta& meta, data::Data& data, const Clock& clock, Options options,
                       std::shared_ptr<StateTable> table)
    : meta_(meta),
      data_(data),
      clock_(clock),
      options_(std::move(options)),
      table_(table ? std::move(table) : unshared_table(meta.format())),
      acl_(table_->header().posix_acl != 0),
      handles_(std::make_unique<HandleTable>(*table_)),
      log_(std::make_unique<AccessLog>()),
      troubles_(std::make_unique<Troubles>()),
      stats_(std::make_unique<OpStats>()),
      volume_stats_(std::make_unique<VolumeStats>(meta)),
      changes_(std::make_unique<Changes>()),
      links_(std::make_unique<Links>(meta)),
      virtual_(std::make_unique<VirtualFiles>(*this)) {
  virtual_->set_config_size(config_text().size());
  note_flushed_ = std::make_unique<Periodic>("note-flushed", kNoteFlushedMs, [this] { note_flushed(); });
}

FileSystem::~FileSystem() {
  note_flushed_.reset();
  stop_ = true;
  for (auto& job : background_) job.thread.join();
}

Result<void> FileSystem::run_in_background(std::function<void(const std::atomic<bool>& stop)> job) {
  std::lock_guard lock(background_mutex_);
  std::erase_if(background_, [](Job& one) {
    if (!*one.ended) return false;
    one.thread.join();
    return true;
  });
  if (background_.size() >= kMaxBackground) return fail(EAGAIN);
  auto ended = std::make_shared<std::atomic<bool>>(false);
  background_.push_back({std::thread([this, ended, job = std::move(job)] {
                           job(stop_);
                           *ended = true;
                         }),
                         ended});
  return {};
}

size_t FileSystem::open_inodes() const { return handles_->inodes(); }

Result<void> FileSystem::flush_all() {
  std::vector<std::pair<std::shared_ptr<OpenInode>, uint64_t>> dirty;
  for (auto& open : handles_->dirty_inodes()) dirty.emplace_back(open, open->written());
  ZEST_TRY(data_.flush_all());
  for (auto& [open, written] : dirty) open->flushed(written);
  return {};
}

// Written data becomes safe without being asked for, too.
void FileSystem::note_flushed() {
  for (auto& open : handles_->dirty_inodes()) {
    uint64_t written = open->written();
    if (data_.clean(open->ino)) open->flushed(written);
  }
}

// --- attributes of files that are open here ---

// The reply of the database may be older than a write that was buffered and committed meanwhile, so the length of what
// is buffered is taken before asking, too, and the question is repeated when the file was written to in between.
Result<Attr> FileSystem::read_attr(const Context& context, Ino ino) {
  auto open = handles_->inode(ino);
  auto attr = open ? read_raw_attr(context, ino, *open) : meta_.getattr(context, ino);
  if (attr) correct_links(ino, *attr, open.get());
  return attr;
}

Result<Attr> FileSystem::read_raw_attr(const Context& context, Ino ino, OpenInode& state) {
  auto* open = &state;
  for (int tries = 0;; tries++) {
    uint64_t seen = open->changes.load(std::memory_order_acquire);
    uint64_t buffered = data_.length(ino, 0);
    auto attr = meta_.getattr(context, ino);
    if (!attr || !attr->is_file()) return attr;
    buffered = std::max(buffered, data_.length(ino, 0));
    show_written(*attr, data_.mtime(ino, attr->mtime));

    std::unique_lock lock(open->mutex);
    if (open->changes.load(std::memory_order_acquire) != seen) {
      if (tries < 3) continue;
      attr->length = std::max(attr->length, open->length.load());  // written to all the time
      return attr;
    }
    attr->length = std::max(attr->length, buffered);
    uint64_t before = open->length.exchange(attr->length);
    bool elsewhere = attr->mtime != open->mtime && open->mtime_at_change == seen && open->mtime != Time{};
    open->mtime = attr->mtime;
    open->mtime_at_change = seen;
    lock.unlock();
    if (elsewhere)
      data_.invalidate(ino, 0, kMaxFileSize);
    else if (attr->length < before)
      data_.invalidate(ino, attr->length, kMaxFileSize - attr->length);
    return attr;
  }
}

void FileSystem::correct_links(Ino ino, Attr& attr, const OpenInode* open) {
  links_->correct(ino, attr, (open && open->named) || meta_.is_removed(ino));
}

void FileSystem::correct(Ino ino, Attr& attr) {
  if (attr.is_dir()) return;
  auto open = handles_->inode(ino);
  correct_links(ino, attr, open.get());
  if (!open || !attr.is_file()) return;
  attr.length = std::max(attr.length, data_.length(ino, 0));
  show_written(attr, data_.mtime(ino, attr.mtime));
}

void FileSystem::wrote(OpenInode& open, uint64_t end) {
  open.dirty.store(true, std::memory_order_release);
  std::atomic_ref(open.record->inode.written).fetch_add(1, std::memory_order_release);
  {
    std::lock_guard lock(open.mutex);
    open.changes.fetch_add(1, std::memory_order_acq_rel);
    if (open.length.load(std::memory_order_relaxed) < end) open.length.store(end, std::memory_order_release);
  }
  changes_->inode(open.ino);
}

void FileSystem::set_length(OpenInode& open, uint64_t length, const Attr& attr) {
  std::lock_guard lock(open.mutex);
  uint64_t changes = open.changes.fetch_add(1, std::memory_order_acq_rel) + 1;
  open.length.store(length, std::memory_order_release);
  open.mtime = attr.mtime;
  open.mtime_at_change = changes;
}

Result<Attr> FileSystem::getattr(const Context& context, Ino ino) {
  if (is_special(ino))
    if (auto* node = virtual_->by_ino(ino)) return node->attr;  // neither logged nor counted
  Op op(*this, context, Method::kGetattr);
  auto result = read_attr(context, ino);
  op.end(result, [&] { return fmt::format("({}):{}", raw(ino), result ? log_entry(ino, *result) : std::string()); });
  return result;
}

Result<Attr> FileSystem::setattr(const Context& context, Ino ino, std::optional<uint64_t> fh, const Change& change) {
  Op op(*this, context, Method::kSetattr);
  auto result = do_setattr(context, ino, fh, change);
  op.end(result, [&] {
    return fmt::format("({}[{}],0x{:X},[{}]):{}", raw(ino), fh.value_or(0), change.set, describe(change),
                       result ? log_entry(ino, *result) : std::string());
  });
  return result;
}

Result<Attr> FileSystem::do_setattr(const Context& context, Ino ino, std::optional<uint64_t> fh, const Change& change) {
  if (is_special(ino)) {
    if (change.set & kSetSize) return fail(EPERM);
    if (auto* node = virtual_->by_ino(ino)) return node->attr;
    return fail(EPERM);
  }
  Result<Attr> result = fail(EINVAL);
  uint32_t set = change.set & kMetaBits;
  if (change.set & kSetSize) {
    result = do_truncate(context, ino, fh, change.size);
    if (result) correct_links(ino, *result, handles_->inode(ino).get());
    if (!result || set == 0) return result;
  }
  if (set == 0) return read_attr(context, ino);
  const bool of_group =
      (set & (meta::kSetUid | meta::kSetGid)) || ((set & meta::kSetMode) && (change.values.mode & 02000));
  result = meta_.setattr(of_group ? with_groups(context) : context, ino, set, change.values);
  if (!result) return result;
  changes_->inode(ino);
  if (set & (meta::kSetMtime | meta::kSetMtimeNow))
    if (auto open = handles_->inode(ino); open && open->writers > 0) {
      data_.set_mtime(ino, result->mtime);
      std::lock_guard lock(open->mutex);
      open->changes.fetch_add(1, std::memory_order_acq_rel);
    }
  Time mtime = result->mtime;
  correct(ino, *result);
  if (set & (meta::kSetMtime | meta::kSetMtimeNow)) result->mtime = mtime;
  return result;
}

// What failed to be written before is reported by flush and close, not here.
Result<Attr> FileSystem::do_truncate(const Context& context, Ino ino, std::optional<uint64_t> fh, uint64_t length) {
  if (length >= kMaxFileSize) return fail(length > INT64_MAX ? EINVAL : EFBIG);
  if (fh) {
    auto handle = handles_->find(*fh, ino);
    if (!handle) return fail(EBADF);
    if (!handle->writable()) return fail(EACCES);
  }
  auto open = handles_->inode(ino);
  if (!open) {
    auto result = meta_.truncate(context, ino, length, fh.has_value());
    if (result) {
      data_.invalidate(ino, length, kMaxFileSize - length);
      changes_->inode(ino);
    }
    return result;
  }
  ExclusiveHold hold(open->lock);
  ZEST_TRY(hold.take(context));
  if (auto flushed = data_.flush(ino, context.cancelled); !flushed && flushed.error().code == EINTR) return fail(EINTR);
  auto result = meta_.truncate(context, ino, length, fh.has_value());
  if (!result) return result;
  set_length(*open, length, *result);
  data_.invalidate(ino, length, kMaxFileSize - length);
  changes_->inode(ino);
  return result;
}

Result<void> FileSystem::access(const Context& context, Ino ino, uint8_t mask) {
  Op op(*this, context, Method::kAccess);
  Result<void> result;
  if (auto* node = is_special(ino) ? virtual_->by_ino(ino) : nullptr) {
    unsigned shift = context.uid == node->attr.uid ? 6 : context.gid == node->attr.gid ? 3 : 0;
    if (context.uid != 0 && ((node->attr.mode >> shift) & mask) != mask) result = fail(EACCES);
  } else {
    result = meta_.access(context, ino, mask);
  }
  op.end(result, [&] { return fmt::format("({},0x{:X})", raw(ino), mask); });
  return result;
}

void FileSystem::forget(Ino ino) { meta_.forget(ino); }

Result<meta::StatFs> FileSystem::statfs(const Context& context, Ino ino) {
  Op op(*this, context, Method::kStatfs);
  auto result = meta_.statfs(context, is_special(ino) ? kRootIno : ino);
  op.end(result, [&] {
    auto s = result.value_or(meta::StatFs{});
    return fmt::format("({}): ({},{},{},{})", raw(ino), s.total_space - s.avail_space, s.avail_space, s.used_inodes,
                       s.avail_inodes);
  });
  return result;
}

}  // namespace zest::fs
