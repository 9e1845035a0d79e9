// Records of slices, the overlay they form, and what compaction makes of it.
#include "volume/slice.h"

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "volume/compaction.h"

namespace zest {

namespace {

constexpr size_t kCompactLimit = 5000;      // records that one compaction takes: what replaces them fits 64 KiB
constexpr uint32_t kSkipLength = 1u << 20;  // a leading record at least this long may be left alone
constexpr size_t kLongList = 350;           // records for which a thrifty compaction rewrites whatever it takes
constexpr uint64_t kThrift = 64;            // bytes rewritten for each new one, with fewer records

Slice hole(uint64_t pos, uint64_t len) {
  return Slice{static_cast<uint32_t>(pos), SliceId{0}, 0, 0, static_cast<uint32_t>(len)};
}

// The surviving pieces by position. Holes appear as their records left them; what no record covers is absent.
class Overlay {
 public:
  void add(const Slice& slice) {
    if (slice.len == 0) return;
    const uint64_t from = slice.pos, to = from + slice.len;
    auto it = pieces_.upper_bound(from);
    if (it != pieces_.begin()) {
      auto before = std::prev(it);
      if (end_of(*before) > from) {
        Slice old = before->second;
        uint64_t old_end = end_of(*before);
        if (old.pos == from)
          pieces_.erase(before);
        else
          before->second.len = static_cast<uint32_t>(from - old.pos);
        if (old_end > to) insert_tail(old, to);
      }
    }
    while (it != pieces_.end() && it->first < to) {
      if (end_of(*it) > to) insert_tail(it->second, to);
      it = pieces_.erase(it);
    }
    pieces_[from] = slice;
  }

  const std::map<uint64_t, Slice>& pieces() const { return pieces_; }

 private:
  static uint64_t end_of(const std::pair<const uint64_t, Slice>& piece) { return piece.first + piece.second.len; }
  void insert_tail(const Slice& old, uint64_t at) {
    Slice tail = old;
    auto cut = static_cast<uint32_t>(at - old.pos);
    tail.pos = static_cast<uint32_t>(at);
    tail.off = old.off + cut;
    tail.len = old.len - cut;
    pieces_[at] = tail;
  }
  std::map<uint64_t, Slice> pieces_;
};

// Pieces in order, gaps between them filled with holes, neighbouring holes not joined.
std::vector<Slice> overlay(const Slice* first, const Slice* last, uint64_t from) {
  Overlay all;
  for (; first != last; ++first) all.add(*first);
  std::vector<Slice> out;
  out.reserve(all.pieces().size());
  uint64_t at = from;
  for (const auto& [pos, piece] : all.pieces()) {
    if (pos > at) out.push_back(hole(at, pos - at));
    out.push_back(raw(piece.id) == 0 ? hole(pos, piece.len) : piece);
    at = pos + piece.len;
  }
  return out;
}

void join_holes(std::vector<Slice>& pieces) {
  size_t kept = 0;
  for (const Slice& piece : pieces) {
    if (kept > 0 && raw(piece.id) == 0 && raw(pieces[kept - 1].id) == 0)
      pieces[kept - 1].len += piece.len;
    else
      pieces[kept++] = piece;
  }
  pieces.resize(kept);
}

// The overlay of [first, last) without the holes at both ends; of holes alone the last one stays, one byte of it.
std::vector<Slice> trimmed_view(const Slice* first, const Slice* last) {
  auto pieces = overlay(first, last, 0);
  size_t from = 0, to = pieces.size();
  while (to - from > 1 && raw(pieces[from].id) == 0) from++;
  while (to - from > 1 && raw(pieces[to - 1].id) == 0) to--;
  std::vector<Slice> view(pieces.begin() + static_cast<ptrdiff_t>(from), pieces.begin() + static_cast<ptrdiff_t>(to));
  if (view.size() == 1 && raw(view[0].id) == 0) view[0].len = 1;
  return view;
}

uint64_t view_size(const std::vector<Slice>& view) {
  return view.empty() ? 0 : uint64_t{view.back().pos} + view.back().len - view.front().pos;
}

}  // namespace

void encode_slice(std::string& out, const Slice& slice) {
  put_be32(out, slice.pos);
  put_be64(out, raw(slice.id));
  put_be32(out, slice.size);
  put_be32(out, slice.off);
  put_be32(out, slice.len);
}

std::string encode_slices(const std::vector<Slice>& slices) {
  std::string out;
  out.reserve(slices.size() * kSliceRecord);
  for (const auto& slice : slices) encode_slice(out, slice);
  return out;
}

Result<std::vector<Slice>> decode_slices(std::string_view records) {
  if (records.size() % kSliceRecord != 0)
    return fail(EIO, "slice records of " + std::to_string(records.size()) + " bytes");
  std::vector<Slice> out;
  out.reserve(records.size() / kSliceRecord);
  ByteReader in(records);
  while (in.left() > 0) {
    Slice s;
    s.pos = in.be32();
    s.id = SliceId{in.be64()};
    s.size = in.be32();
    s.off = in.be32();
    s.len = in.be32();
    bool fits = uint64_t{s.pos} + s.len <= kChunkSize;
    if (raw(s.id) == 0)
      s.size = s.off = 0;  // copies of cut holes carry an offset that means nothing
    else
      fits = fits && uint64_t{s.off} + s.len <= s.size;
    if (!fits) return fail(EIO, "slice record " + std::to_string(out.size()) + " is out of bounds");
    out.push_back(s);
  }
  return out;
}

std::vector<Slice> resolve_slices(const std::vector<Slice>& records) {
  auto pieces = overlay(records.data(), records.data() + records.size(), 0);
  join_holes(pieces);
  return pieces;
}

std::vector<ChunkSlice> zero_slices(uint64_t from, uint64_t to) {
  std::vector<ChunkSlice> out;
  while (from < to) {
    uint64_t pos = from % kChunkSize;
    uint64_t len = std::min(kChunkSize - pos, to - from);
    out.push_back({static_cast<ChunkIndex>(from / kChunkSize), hole(pos, len)});
    from += len;
  }
  return out;
}

namespace {

enum class Compaction { kWhole, kThrifty };

// May the first of these records stay as it is? `view` is what they show.
bool may_stay(const Slice* first, const Slice* last, const std::vector<Slice>& view, Compaction kind) {
  const Slice& record = *first;
  const uint64_t size = view_size(view);
  if (record.len == 0 || size == 0) return false;
  if (kind == Compaction::kWhole && (record.len < kSkipLength || uint64_t{record.len} * 5 < size)) return false;
  if (record.len < kSkipLength && record.len < 2 * view_size(trimmed_view(first + 1, last))) return false;
  const Slice& head = view.front();
  if (head.pos != record.pos || head.id != record.id || head.off != record.off || head.len != record.len) return false;
  return std::find(first + 1, last, record) == last;
}

bool too_dear(const Slice* first, const Slice* last, uint64_t size) {
  uint64_t sum = 0, longest = 0;
  for (const Slice* s = first; s != last; ++s) {
    sum += s->len;
    longest = std::max<uint64_t>(longest, s->len);
  }
  return static_cast<size_t>(last - first) < kLongList && size > kThrift * (sum - longest);
}

CompactionPlan make_plan(const std::vector<Slice>& records, Compaction kind) {
  CompactionPlan plan;
  plan.records = std::min(records.size(), kCompactLimit);
  const Slice* const all = records.data();
  const Slice* const last = all + plan.records;
  const Slice* first = all;
  std::vector<Slice> view = trimmed_view(first, last);
  while (first != last && may_stay(first, last, view, kind)) view = trimmed_view(++first, last);
  // What is left alone must not lie under the new slice: it would be hidden by what was only a hole of the view.
  auto lies_under = [&](const Slice& s) {
    return s.len > 0 && s.pos < view.front().pos + view_size(view) && view.front().pos < uint64_t{s.pos} + s.len;
  };
  while (first != last && !view.empty()) {
    const Slice* under = std::find_if(all, first, lies_under);
    if (under == first) break;
    first = under;
    view = trimmed_view(first, last);
  }
  plan.skipped = static_cast<size_t>(first - all);
  const uint64_t size = view_size(view);
  if (last - first < 2 || size == 0) return plan;
  plan.pos = view.front().pos;
  if (kind == Compaction::kThrifty && too_dear(first, last, size)) return plan;
  plan.size = static_cast<uint32_t>(size);
  plan.pieces = std::move(view);
  join_holes(plan.pieces);
  return plan;
}

}  // namespace

CompactionPlan plan_compaction(const std::vector<Slice>& records) { return make_plan(records, Compaction::kWhole); }
CompactionPlan plan_thrifty_compaction(const std::vector<Slice>& records) {
  return make_plan(records, Compaction::kThrifty);
}

std::string encode_slice_keys(const std::vector<SliceRefKey>& keys) {
  std::string out;
  out.reserve(keys.size() * 12);
  for (const auto& key : keys) {
    put_be64(out, raw(key.id));
    put_be32(out, key.size);
  }
  return out;
}

Result<std::vector<SliceRefKey>> decode_slice_keys(std::string_view records) {
  if (records.size() % 12 != 0) return fail(EIO, "delayed slices of " + std::to_string(records.size()) + " bytes");
  std::vector<SliceRefKey> out;
  out.reserve(records.size() / 12);
  ByteReader in(records);
  while (in.left() > 0) {
    SliceRefKey key;
    key.id = SliceId{in.be64()};
    key.size = in.be32();
    out.push_back(key);
  }
  return out;
}

}  // namespace zest
