#include "cli/slices.h"

#include <algorithm>

#include "base/log.h"

namespace zest::cli {

Result<void> SliceStream::read(meta::Meta& meta, const std::atomic<bool>* cancelled) {
  Result<void> added;
  ZEST_TRY(meta.scan_slices([&](const meta::Meta::SliceUse& use) {
    added = sort_.add({raw(use.id), use.state, use.size, raw(use.owner)});
    return added.has_value() && !*cancelled;
  }));
  ZEST_TRY(added);
  return *cancelled ? Result<void>(fail(EINTR)) : Result<void>();
}

Result<std::optional<KnownSlice>> SliceStream::next() {
  while (true) {
    ZEST_ASSIGN(auto slice, sort_.next());
    if (!slice || slice->id != last_) {
      if (slice) last_ = slice->id;
      return slice;
    }
  }
}

Result<std::optional<KnownSlice>> SliceStream::find(uint64_t id) {
  while (!started_ || (current_ && current_->id < id)) {
    started_ = true;
    ZEST_ASSIGN(current_, next());
  }
  return current_ && current_->id == id ? current_ : std::nullopt;
}

Result<void> read_blocks(object::Storage& store, const Format& format, BlockSort& blocks, std::atomic<uint64_t>& listed,
                         std::atomic<uint64_t>& listed_bytes, const std::atomic<bool>* cancelled) {
  Result<void> added;
  uint64_t strange = 0;
  ZEST_TRY(object::list_all(store, "chunks/", [&](const object::ObjectInfo& object) {
    SliceId id;
    uint32_t index, bytes;
    if (object.is_dir || !parse_block_key(object.key, id, index, bytes)) return !*cancelled;
    if (object.key != block_key(format, id, index, bytes)) {
      if (strange++ == 0) log_warning("left alone: " + object.key + " is not where a block of that name belongs");
      return !*cancelled;
    }
    listed++, listed_bytes += bytes;
    added = blocks.add({raw(id), index, bytes, object.mtime.sec});
    return added.has_value() && !*cancelled;
  }));
  ZEST_TRY(added);
  return *cancelled ? Result<void>(fail(EINTR)) : Result<void>();
}

uint32_t block_bytes(uint32_t block_size, uint32_t size, uint32_t index) {
  uint64_t start = uint64_t{index} * block_size;
  return start >= size ? 0 : static_cast<uint32_t>(std::min<uint64_t>(block_size, size - start));
}

}  // namespace zest::cli
