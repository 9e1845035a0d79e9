#include "data/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "base/spent.h"
#include "base/wait_notice.h"
#include "data/group.h"

namespace zest::data {
namespace {

constexpr int64_t kIdleAheadMs = 5'000;
constexpr int64_t kReadDeadlineMs = 120'000;
constexpr uint64_t kWindowBlocks = 16;
constexpr SliceId kBuffered{uint64_t{1} << 63};  // + index: a buffered slice among the records

uint64_t window_limit(const DataOptions& options, uint64_t block_size) {
  if (options.readahead_off) return 0;
  // as many requests as a store wants to have under way; two readers at full speed share the budget with writers
  if (options.max_readahead == 0) return std::min(kWindowBlocks * block_size, options.buffer_size / 4);
  return std::min(options.max_readahead, options.buffer_size / 10 * 8);
}

bool is_cancelled(const std::atomic<bool>* cancelled) {
  return cancelled && cancelled->load(std::memory_order_relaxed);
}

// Where, in the chunk, the block that holds byte `off` of the piece's slice ends, or the piece does.
uint64_t block_end(const Slice& piece, uint32_t off, uint32_t block_size) {
  uint64_t block_stop = (uint64_t{off} / block_size + 1) * block_size;
  return piece.pos + std::min<uint64_t>(block_stop - piece.off, piece.len);
}

}  // namespace

// Takes itself out of the reader's list.
class RegisteredHandle : public FileHandle {
 public:
  RegisteredHandle(Reader& reader, Ino ino, uint64_t block_size, uint64_t window)
      : FileHandle(ino, block_size, window), reader_(reader) {
    std::lock_guard lock(reader_.mutex_);
    place_ = reader_.handles_.insert(reader_.handles_.end(), this);
  }
  ~RegisteredHandle() override {
    std::lock_guard lock(reader_.mutex_);
    reader_.handles_.erase(place_);
  }

 private:
  Reader& reader_;
  std::list<FileHandle*>::iterator place_;
};

Reader::Reader(meta::Meta& meta, BlockStore& blocks, Writer& writer, const Clock& clock, const DataOptions& options)
    : meta_(meta),
      blocks_(blocks),
      writer_(writer),
      clock_(clock),
      options_(options),
      max_window_(window_limit(options, blocks.block_size())) {}

std::unique_ptr<ReadHandle> Reader::open(Ino ino) {
  return std::make_unique<RegisteredHandle>(*this, ino, blocks_.block_size(), max_window_);
}

Result<size_t> Reader::read(FileHandle& handle, uint64_t length, uint64_t offset, std::span<char> into,
                            const std::atomic<bool>* cancelled, Lent* lent) {
  if (offset >= length || into.empty()) return size_t{0};
  into = into.first(std::min<uint64_t>(into.size(), length - offset));
  int64_t started = clock_.monotonic_ms();
  for (int attempt = 0;; attempt++) {
    auto result = read_once(handle, length, offset, into, cancelled, lent);
    if (result) return into.size();
    auto error = std::move(result.error());
    if (error.code == EINTR || is_cancelled(cancelled)) return fail(EINTR);
    if (error.code == ENOENT && error.what.empty()) return fail(ENOENT);  // the file, not an object
    log_warning(fmt::format("read of inode {} at {} failed (attempt {} of {}): {}", raw(handle.ino), offset,
                            attempt + 1, options_.io_retries + 1, error.message()));
    if (attempt >= options_.io_retries || clock_.monotonic_ms() - started > kReadDeadlineMs || stopper_.stopped()) {
      log_error(fmt::format("inode {}: {} bytes at {} cannot be read: {}", raw(handle.ino), into.size(), offset,
                            error.message()));
      return fail(EIO, error.what);
    }
    // Compaction may have moved the data.
    for (uint64_t at = offset / kChunkSize; at * kChunkSize < offset + into.size(); at++)
      meta_.forget_chunk(handle.ino, static_cast<ChunkIndex>(at));
    if (!stopper_.sleep(attempt * 300 + 1)) continue;
  }
}

Result<void> Reader::read_once(FileHandle& handle, uint64_t length, uint64_t offset, std::span<char> into,
                               const std::atomic<bool>* cancelled, Lent* lent) {
  Streams::Plan plan;
  {
    std::lock_guard lock(handle.mutex);
    plan = handle.streams.on_read(offset, into.size(), length);
    handle.used_ms = clock_.monotonic_ms();
  }
  std::vector<Part> parts;
  parts.reserve(4);
  auto rest = into;
  for (uint64_t at = offset; !rest.empty();) {
    auto pos = static_cast<uint32_t>(at % kChunkSize);
    auto piece = rest.first(std::min<uint64_t>(rest.size(), kChunkSize - pos));
    ZEST_TRY(locate(handle.ino, static_cast<ChunkIndex>(at / kChunkSize), pos, piece, parts));
    rest = rest.subspan(piece.size());
    at += piece.size();
  }
  if (parts.size() != 1 || parts[0].into.size() != into.size()) lent = nullptr;
  auto missing = std::remove_if(parts.begin(), parts.end(), [&](const Part& part) {
    return blocks_.read_near(part.id, part.offset, part.into, lent);
  });
  parts.erase(missing, parts.end());
  if (parts.empty() && plan.to <= plan.from) return {};
  before_wait();

  std::vector<FileHandle::Ahead> fetched;
  bool enough = plan.to <= plan.from || fetch_ahead(handle.ino, plan, fetched);
  auto result = parts.empty() ? Result<void>{} : read_parts(parts, plan.sequential, cancelled, lent);
  for (auto& part : parts)
    if (part.fetch) fetched.push_back({std::move(part.fetch), part.end, plan.stream});
  hold(handle, plan, std::move(fetched));
  std::lock_guard lock(handle.mutex);
  if (!enough)
    handle.streams.shrink(plan.stream);
  else if (!parts.empty())
    handle.streams.stalled(plan.stream, blocks_.far());
  return result;
}

// Fills holes and what is buffered; gives the parts that are blocks of the store.
Result<void> Reader::locate(Ino ino, ChunkIndex chunk, uint32_t pos, std::span<char> into, std::vector<Part>& parts) {
  // Buffered slices first: one that is committed in between is then seen twice, not lost.
  std::shared_ptr<FileWriter> file = writer_.find(ino);
  std::vector<PendingSlice> pending;
  if (file) pending = file->pending(chunk);
  ZEST_ASSIGN(auto view, meta_.read_chunk(ino, chunk));
  if (!pending.empty()) {
    auto& records = view.pieces;
    for (size_t i = 0; i < pending.size(); i++)
      records.push_back({pending[i].extent.pos, SliceId{raw(kBuffered) + i}, pending[i].size, pending[i].extent.off,
                         pending[i].extent.len});
    records = resolve_slices(records);
  }
  const uint32_t block = blocks_.block_size();
  uint64_t end = pos + into.size(), at = pos;
  auto first = std::partition_point(view.pieces.begin(), view.pieces.end(),
                                    [&](const Slice& piece) { return uint64_t{piece.pos} + piece.len <= pos; });
  for (auto it = first; it != view.pieces.end() && at < end; ++it) {
    if (it->pos > at) {
      uint64_t gap = std::min<uint64_t>(it->pos, end) - at;
      std::memset(into.data() + (at - pos), 0, gap);
      at += gap;
    }
    uint64_t stop = std::min<uint64_t>(end, uint64_t{it->pos} + it->len);
    while (at < stop) {
      auto off = static_cast<uint32_t>(it->off + (at - it->pos));
      auto n = static_cast<size_t>(std::min<uint64_t>(stop - at, block - off % block));
      auto span = into.subspan(at - pos, n);
      at += n;
      if (raw(it->id) == 0) {
        std::memset(span.data(), 0, n);
        continue;
      }
      BlockId id{it->id, off / block, block_bytes(it->size, off / block, block)};
      if (raw(it->id) >= raw(kBuffered) && file->copy(*pending[raw(it->id) - raw(kBuffered)].slice, off, span, id))
        continue;
      if (raw(id.slice) == 0) return fail(EIO, fmt::format("inode {}: buffered data was dropped", raw(ino)));
      parts.push_back({id, off % block, span, uint64_t{chunk} * kChunkSize + block_end(*it, off, block), nullptr});
    }
  }
  if (at < end) std::memset(into.data() + (at - pos), 0, end - at);
  return {};
}

Result<void> Reader::read_parts(std::vector<Part>& parts, bool whole, const std::atomic<bool>* cancelled, Lent* lent) {
  Group group;
  for (size_t i = 1; i < parts.size(); i++) {
    group.add();
    blocks_.downloads().submit([this, &group, &part = parts[i], whole, cancelled] {
      group.done(blocks_.read(part.id, part.offset, part.into, whole, cancelled, &part.fetch));
    });
  }
  Part& first = parts[0];
  auto mine = blocks_.read(first.id, first.offset, first.into, whole, cancelled, &first.fetch, lent);
  auto others = group.wait();  // they write into the caller's buffer: never leave before them
  return mine ? others : mine;
}

void Reader::hold(FileHandle& handle, const Streams::Plan& plan, std::vector<FileHandle::Ahead> fetched) {
  std::list<FileHandle::Ahead> gone;  // freed without the lock
  std::lock_guard lock(handle.mutex);
  for (auto it = handle.ahead.begin(); it != handle.ahead.end();) {
    auto next = std::next(it);
    bool passed = it->stream == plan.stream && it->end <= plan.keep;
    bool again = std::any_of(fetched.begin(), fetched.end(), [&](const auto& f) { return f.fetch == it->fetch; });
    if (passed || again) gone.splice(gone.end(), handle.ahead, it);
    it = next;
  }
  for (auto& ahead : fetched) handle.ahead.push_back(std::move(ahead));
  while (handle.ahead.size() > max_window_ / blocks_.block_size() * 2 + 2)
    gone.splice(gone.end(), handle.ahead, handle.ahead.begin());
}

bool Reader::fetch_ahead(Ino ino, const Streams::Plan& plan, std::vector<FileHandle::Ahead>& out) {
  for (uint64_t chunk = plan.from / kChunkSize; chunk * kChunkSize < plan.to; chunk++) {
    auto view = meta_.read_chunk(ino, static_cast<ChunkIndex>(chunk));
    if (!view) return true;
    uint64_t base = chunk * kChunkSize;
    uint64_t low = plan.from > base ? plan.from - base : 0, high = std::min(plan.to - base, kChunkSize);
    for (const Slice& piece : view->pieces)
      if (raw(piece.id) > 0 && !fetch_piece(piece, base, low, high, plan.stream, out)) return false;
  }
  return true;
}

// The blocks of one piece of a chunk, as far as they lie in [from, to) of it.
bool Reader::fetch_piece(const Slice& piece, uint64_t base, uint64_t from, uint64_t to, size_t stream,
                         std::vector<FileHandle::Ahead>& out) {
  const uint32_t block = blocks_.block_size();
  uint64_t at = std::max<uint64_t>(piece.pos, from), stop = std::min<uint64_t>(uint64_t{piece.pos} + piece.len, to);
  while (at < stop) {
    auto off = static_cast<uint32_t>(piece.off + (at - piece.pos));
    uint64_t n = std::min<uint64_t>(stop - at, block - off % block);
    BlockId id{piece.id, off / block, block_bytes(piece.size, off / block, block)};
    at += n;
    if (n < id.bytes / 4) continue;  // a sliver of a block: fetched as a range when it is read
    if (auto fetch = blocks_.read_ahead(id, blocks_.pool().budget().limit() / 3))
      out.push_back({std::move(fetch), base + block_end(piece, off, block), stream});
    else if (!blocks_.near(id))
      return false;
  }
  return true;
}

void Reader::drop_read_ahead(bool all) {
  std::list<FileHandle::Ahead> gone;
  auto now = clock_.monotonic_ms();
  std::lock_guard lock(mutex_);
  for (FileHandle* handle : handles_) {
    std::lock_guard inner(handle->mutex);
    if (all || now - handle->used_ms > kIdleAheadMs) gone.splice(gone.end(), handle->ahead);
  }
}

}  // namespace zest::data
