// Listings. A directory handle streams entries from the database a batch at a time; an offset is an entry's place in
// that stream. Going back further than the batch at hand reads the stream again.
#include <fmt/format.h>

#include "fs/changes.h"
#include "fs/filesystem.h"
#include "fs/handles.h"
#include "fs/links.h"
#include "fs/op.h"
#include "fs/virtual_files.h"

namespace zest::fs {
namespace {

// About as many entries as fit into the caller's buffer: a batch is used while it is fresh, and round trips stay few.
size_t batch_for(size_t buffer) { return std::clamp<size_t>(buffer / 64, 64, 4096); }

// FNV-1a: the same in every build, since a newer program may go on with a listing.
uint64_t hash_of(std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325;
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001B3;
  return hash;
}

}  // namespace

Result<uint64_t> FileSystem::opendir(const Context& context, Ino ino) {
  Op op(*this, context, Method::kOpendir);
  Result<uint64_t> result = fail(0);
  if (context.check_permission && !is_special(ino))
    if (auto allowed = meta_.access(context, ino, meta::kMayRead); !allowed) result = fail(allowed.error());
  if (result.error().code == 0) {
    changes_->watch();
    result = add_handle(context, ino, 0, true)->id;
  }
  op.end(result,
         [&] { return fmt::format("({}){}", raw(ino), result ? fmt::format(" [fh:{}]", *result) : std::string()); });
  return result;
}

void FileSystem::releasedir(const Context& context, Ino ino, uint64_t fh) {
  Op op(*this, context, Method::kReleasedir);
  auto found = handles_->find(fh, ino) ? handles_->remove(fh) : nullptr;
  if (found) {
    changes_->unwatch();
    handles_->forget(*found);
  }
  op.end(found ? 0 : EBADF, [&] { return fmt::format("({})", raw(ino)); });
}

Result<void> FileSystem::readdir(const Context& context, Ino ino, uint64_t fh, uint64_t offset, size_t size,
                                 bool with_attr, const std::function<bool(const DirItem&)>& add) {
  Op op(*this, context, Method::kReaddir);
  Result<size_t> result = fail(EBADF);
  auto handle = handles_->find(fh, ino);
  if (handle && handle->is_dir) {
    std::lock_guard lock(handle->mutex);
    result = fill_dir(context, *handle, offset, size, with_attr, add);
  }
  op.end(result,
         [&] { return fmt::format("({},{},{},{}): ({})", raw(ino), size, offset, with_attr, result.value_or(0)); });
  if (!result) return fail(std::move(result.error()));
  return {};
}

// Starts a listing again. When the handle comes from another process, the listing goes on at `wanted` by what was given
// before: positions in a new stream are others once entries have come or gone.
void FileSystem::rewind(Handle& dir, uint64_t wanted) {
  auto given = wanted > 0 && !dir.dir.stream ? table_->names(*dir.record) : std::vector<uint64_t>();
  dir.dir = DirWindow{};
  table_->clear_names(*dir.record);
  if (given.size() < wanted || wanted == 0) return;
  given.resize(wanted);
  table_->add_names(*dir.record, given);
  dir.dir.skip.insert(given.begin(), given.end());
  dir.dir.base = wanted;
}

void FileSystem::note_names(Handle& dir, size_t from) {
  std::vector<uint64_t> hashes;
  for (size_t at = from; at < dir.dir.entries.size(); at++) hashes.push_back(hash_of(dir.dir.entries[at].name));
  table_->add_names(*dir.record, hashes);
}

// Back to an earlier offset (seekdir): it stays that of the same entry though others have come or gone, so all is read
// again, what was known is put into its old place, and what is new comes last. False when the names are not known.
Result<bool> FileSystem::seek_back(const Context& context, Handle& dir, uint64_t wanted) {
  auto known = table_->names(*dir.record);
  if (known.size() < wanted) return false;
  std::unordered_map<uint64_t, uint64_t> places;
  for (uint64_t place = 0; place < known.size(); place++) places.emplace(known[place], place);
  DirWindow window;
  window.read_at = changes_->now();
  ZEST_ASSIGN(window.stream, meta_.opendir(context, dir.ino, false));
  window.base = wanted;
  window.entries.resize(known.size() - wanted);
  while (!window.ended) {
    if (context.is_cancelled()) return fail(EINTR);
    ZEST_ASSIGN(auto batch, window.stream->next(batch_for(SIZE_MAX)));
    window.ended = batch.empty();
    for (auto& entry : batch) {
      auto found = places.find(hash_of(entry.name));
      if (found == places.end())
        window.entries.push_back(std::move(entry));
      else if (found->second >= wanted)
        window.entries[found->second - wanted] = std::move(entry);
    }
  }
  dir.dir = std::move(window);
  note_names(dir, known.size() - wanted);
  return true;
}

// Offsets: virtual files of the root, ".", "..", then the stream's entries.
Result<size_t> FileSystem::fill_dir(const Context& context, Handle& dir, uint64_t offset, size_t size, bool with_attr,
                                    const std::function<bool(const DirItem&)>& add) {
  bool listed = dir.ino == kRootIno && !options_.hide_internal;
  uint64_t extra = listed ? virtual_->listed().size() : 0;
  auto& window = dir.dir;
  size_t count = 0;
  if (offset == 0) rewind(dir, 0);

  for (; offset < extra; offset++, count++) {
    auto& [name, entry] = virtual_->listed()[offset];
    if (!add({name, entry->ino, entry->attr.type, &entry->attr, offset + 1})) return count;
  }
  for (; offset < extra + 2; offset++, count++) {
    if (!add({offset == extra ? "." : "..", dir.ino, FileType::kDirectory, nullptr, offset + 1})) return count;
  }

  uint64_t wanted = offset - extra - 2;
  bool restart = !window.stream;
  if (!restart && wanted < window.base) {
    ZEST_ASSIGN(const bool back, seek_back(context, dir, wanted));
    restart = !back;
  }
  if (restart) {
    rewind(dir, wanted);
    auto stream = meta_.opendir(context, dir.ino, with_attr);
    if (!stream && stream.error().code == EACCES) {  // the names are for whoever has it open
      auto unchecked = context;
      unchecked.check_permission = with_attr = false;
      stream = meta_.opendir(unchecked, dir.ino, false);
    }
    if (!stream) return fail(std::move(stream.error()));
    window.stream = std::move(*stream);
    window.with_attr = with_attr;
  }
  while (true) {
    while (wanted >= window.base + window.entries.size() && !window.ended) {
      if (context.is_cancelled()) return fail(EINTR);
      window.base += window.entries.size();
      window.entries.clear();
      uint64_t now = changes_->now();
      auto batch = window.stream->next(batch_for(size));
      if (!batch) return fail(std::move(batch.error()));
      window.ended = batch->empty();
      if (!window.skip.empty())
        std::erase_if(*batch, [&](auto& entry) { return window.skip.contains(hash_of(entry.name)); });
      window.entries = std::move(*batch);
      window.read_at = now;
      note_names(dir, 0);
    }
    if (wanted >= window.base + window.entries.size()) return count;
    auto& entry = window.entries[wanted - window.base];
    wanted++, offset++;
    if (entry.name.empty()) continue;  // gone when the listing went back
    auto change = changes_->name_changed(dir.ino, entry.name, window.read_at);
    if (change == Changes::Name::kRemoved) continue;
    DirItem item{entry.name, entry.entry.ino, entry.entry.type, nullptr, offset};
    if (with_attr && entry.attr && change == Changes::Name::kUnchanged &&
        !changes_->inode_changed(item.ino, window.read_at)) {
      auto open = entry.attr->is_file() ? handles_->inode(item.ino) : nullptr;
      if ((!open || open->writers == 0) && !links_->unknown(item.ino, *entry.attr)) {
        correct_links(item.ino, *entry.attr, open.get());
        item.attr = &*entry.attr;
      }
    }
    if (!add(item)) return count;
    count++;
  }
}

}  // namespace zest::fs
