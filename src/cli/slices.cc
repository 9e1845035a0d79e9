#include "cli/slices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <set>

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

namespace {

constexpr char kListed[] = "listed";  // all of them

std::string line_of(const KnownBlock& block) {
  return fmt::format("block {} {} {} {}", block.slice, block.index, block.bytes, block.mtime_sec);
}

bool parse_line(const std::string& line, KnownBlock& block) {
  int end = 0;
  return sscanf(line.c_str(), "block %" SCNu64 " %" SCNu32 " %" SCNu32 " %" SCNd64 "%n", &block.slice, &block.index,
                &block.bytes, &block.mtime_sec, &end) == 4 &&
         static_cast<size_t>(end) == line.size();
}

}  // namespace

Result<void> read_blocks(object::Storage& store, const Format& format, BlockSort& blocks, std::atomic<uint64_t>& listed,
                         std::atomic<uint64_t>& listed_bytes, Checkpoint& checkpoint,
                         const std::atomic<bool>* cancelled) {
  Result<void> added;
  auto add = [&](const KnownBlock& block) {
    listed++, listed_bytes += block.bytes;
    added = blocks.add(block);
    return added.has_value() && !*cancelled;
  };
  bool complete = false;
  std::string after;  // the key listed last
  checkpoint.begin([&](std::string_view line) {
    if (line == kListed) return complete = true;
    KnownBlock block;
    if (complete || !added || !parse_line(std::string(line), block)) return false;
    after = block_key(format, SliceId{block.slice}, block.index, block.bytes);
    add(block);
    return true;
  });
  ZEST_TRY(added);
  if (listed > 0) log_info(fmt::format("going on behind {} blocks that were listed before", listed.load()));
  if (complete) return {};
  uint64_t strange = 0;
  auto each = [&](const object::ObjectInfo& object) {
    SliceId id;
    uint32_t index, bytes;
    if (object.is_dir || !parse_block_key(object.key, id, index, bytes)) return !*cancelled;
    if (object.key != block_key(format, id, index, bytes)) {
      if (strange++ == 0) log_warning("left alone: " + object.key + " is not where a block of that name belongs");
      return !*cancelled;
    }
    const KnownBlock block{raw(id), index, bytes, object.mtime.sec};
    checkpoint.add(line_of(block));
    return add(block);
  };
  ZEST_TRY(object::list_all(store, "chunks/", each, after));
  ZEST_TRY(added);
  if (*cancelled) return fail(EINTR);
  checkpoint.add(kListed);
  return {};
}

uint32_t block_bytes(uint32_t block_size, uint32_t size, uint32_t index) {
  uint64_t start = uint64_t{index} * block_size;
  return start >= size ? 0 : static_cast<uint32_t>(std::min<uint64_t>(block_size, size - start));
}

Result<void> each_block(meta::Meta& meta, Ino ino, uint64_t length,
                        const std::function<Result<void>(const std::string& key, uint32_t bytes)>& call) {
  std::set<std::pair<SliceId, uint32_t>> slices;
  for (ChunkIndex chunk = 0; chunk * kChunkSize < length; chunk++) {
    ZEST_ASSIGN(auto view, meta.read_chunk(ino, chunk));
    for (auto& piece : view.pieces)
      if (raw(piece.id)) slices.emplace(piece.id, piece.size);
  }
  auto format = meta.format();
  for (auto& [id, size] : slices)
    for (uint32_t index = 0; uint32_t bytes = block_bytes(format.block_size(), size, index); index++)
      ZEST_TRY(call(block_key(format, id, index, bytes), bytes));
  return {};
}

}  // namespace zest::cli
