// Going on where another process stopped: its open handles, and the requests that it had begun.
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "fs/changes.h"
#include "fs/filesystem.h"
#include "fs/handles.h"
#include "fs/virtual_files.h"

namespace zest::fs {
namespace {

constexpr size_t kBatch = 1000;  // files of one round trip

// What the records of a state table say, by inode and handle.
struct Found {
  std::vector<Record*> handles, inodes, orphans;
  std::set<Ino> dirty, named;
  std::multimap<uint64_t, Record*> locks;  // by handle
};

Found sort_records(StateTable& table) {
  Found found;
  table.each([&](Record& record) {
    switch (record.kind) {
      case Record::kFile:
      case Record::kDirectory: (record.handle.id ? found.handles : found.orphans).push_back(&record); break;
      case Record::kPosixLock:
      case Record::kFlock: found.locks.emplace(record.lock.handle, &record); break;
      case Record::kInode:
        found.inodes.push_back(&record);
        if (record.inode.written != record.inode.flushed) found.dirty.insert(Ino{record.inode.ino});
        if (record.inode.named) found.named.insert(Ino{record.inode.ino});
        break;
      default: break;
    }
  });
  return found;
}

bool is_again(const Context& context) { return context.attempt && context.attempt->again; }

// The inode that the earlier try of this request was about to change; 0: it came not so far.
Ino tried(const Context& context) { return is_again(context) ? Ino{context.attempt->ino} : Ino{0}; }

}  // namespace

Result<std::vector<Ino>> FileSystem::restore() {
  auto found = sort_records(*table_);
  std::vector<std::shared_ptr<Handle>> files;
  std::set<Ino> lost;
  for (auto* record : found.handles) {
    Ino ino{record->handle.ino};
    if (ino == kControlIno) {  // what was asked of the process is gone with it: EBADF from now on
      found.orphans.push_back(record);
      continue;
    }
    auto handle = handles_->adopt(record);
    if (handle->is_dir) {
      changes_->watch();
    } else if (is_special(ino)) {
      restore_special(*handle);
    } else {
      if (handle->writable() && found.dirty.contains(ino)) record->handle.lost = 1, lost.insert(ino);
      files.push_back(std::move(handle));
    }
  }
  for (auto* record : found.inodes) table_->give_back(record);
  for (auto* record : found.orphans) table_->give_back(record);
  ZEST_TRY(restore_files(files));
  for (auto& handle : files) {
    if (found.named.contains(handle->ino)) handle->inode->set_named();
    for (auto [at, end] = found.locks.equal_range(handle->id); at != end; ++at)
      handles_->adopt_lock(*handle, at->second);
    found.locks.erase(handle->id);
  }
  for (auto& [handle, record] : found.locks) table_->give_back(record);
  for (Ino ino : found.dirty)
    log_warning(fmt::format("inode {}: writes that were not flushed are lost; {}", raw(ino),
                            lost.contains(ino)
                                ? "the next write and the next fsync or close of its descriptors give an I/O error"
                                : "no descriptor is left to tell of it"));
  return std::vector<Ino>(found.dirty.begin(), found.dirty.end());
}

void FileSystem::restore_special(Handle& handle) {
  if (auto special = virtual_->open({}, handle.ino, handle.flags)) {
    handle.special = std::move(*special);
    return;
  }
  handles_->remove(handle.id);
  handles_->forget(handle);
}

Result<void> FileSystem::restore_files(const std::vector<std::shared_ptr<Handle>>& files) {
  for (size_t begin = 0; begin < files.size(); begin += kBatch) {
    size_t end = std::min(files.size(), begin + kBatch);
    std::vector<Ino> inodes;
    for (size_t i = begin; i < end; i++) inodes.push_back(files[i]->ino);
    ZEST_ASSIGN(auto attrs, meta_.reopen(inodes));
    for (size_t i = begin; i < end; i++) {
      auto& handle = *files[i];
      handle.inode = handles_->open_inode(handle.ino, handle.writable());
      auto& attr = attrs[i - begin];
      if (!attr) continue;  // deleted by another client meanwhile
      handle.inode->length = attr->length;
      if (!attr->in_trash()) handle.inode->set_named();
    }
  }
  return {};
}

// --- requests that are served again ---

std::optional<EntryAttr> FileSystem::made_before(const Context& context, Ino parent, std::string_view name) {
  Ino ino = tried(context);
  if (raw(ino) == 0) return std::nullopt;
  auto entry = meta_.lookup(context, parent, name);
  if (!entry || entry->ino != ino) return std::nullopt;
  return *entry;
}

bool FileSystem::removed_before(const Context& context, Ino parent, std::string_view name) {
  Ino ino = tried(context);
  if (raw(ino) == 0) return false;
  auto entry = meta_.lookup(context, parent, name);
  return entry ? entry->ino != ino : entry.error().code == ENOENT;
}

// Also of an exchange: the inode stands at the new name, and not at the old one.
bool FileSystem::renamed_before(const Context& context, Ino parent, std::string_view name, Ino new_parent,
                                std::string_view new_name) {
  return made_before(context, new_parent, new_name) && removed_before(context, parent, name);
}

// The client's kernel lets one append follow the other, so what stands where this one was to go is its own.
bool FileSystem::appended_before(const Context& context, Handle& handle, uint64_t offset, std::span<const char> bytes) {
  uint64_t length = handle.inode->length.load(std::memory_order_acquire);
  if (!is_again(context) || bytes.empty() || offset + bytes.size() > length) return false;
  std::vector<char> stored(bytes.size());
  auto reader = data_.open_reader(handle.ino);
  auto got = data_.read(*reader, length, offset, stored, context.cancelled);
  return got && *got == bytes.size() && std::equal(bytes.begin(), bytes.end(), stored.begin());
}

Result<FileSystem::Created> FileSystem::reopen_created(const Context& context, const EntryAttr& entry, uint32_t flags) {
  ZEST_ASSIGN(auto opened, meta_.open({}, entry.ino, flags & ~uint32_t{O_CREAT | O_EXCL | O_TRUNC}));
  auto handle = add_file(context, entry.ino, flags);
  set_length(*handle->inode, opened.attr.length, opened.attr);
  handle->inode->set_named();
  return Created{{entry.ino, opened.attr, true}, handle->id};
}

std::shared_ptr<Handle> FileSystem::add_handle(const Context& context, Ino ino, uint32_t flags, bool is_dir) {
  uint64_t orphan = is_again(context) ? context.attempt->fh : 0;
  auto handle = handles_->add(ino, flags, is_dir);
  if (context.attempt) std::atomic_ref(context.attempt->fh).store(handle->id, std::memory_order_release);
  if (orphan != 0) close_orphan(orphan, ino);
  return handle;
}

std::shared_ptr<Handle> FileSystem::add_file(const Context& context, Ino ino, uint32_t flags) {
  auto handle = add_handle(context, ino, flags, false);
  handle->inode = handles_->open_inode(ino, handle->writable());
  return handle;
}

// The kernel never learned of the handle that an earlier try of the request opened.
void FileSystem::close_orphan(uint64_t fh, Ino ino) {
  auto handle = handles_->find(fh, ino);
  if (!handle) return;
  if (handle->is_dir)
    releasedir({}, ino, fh);
  else
    release({}, ino, fh);
}

}  // namespace zest::fs
