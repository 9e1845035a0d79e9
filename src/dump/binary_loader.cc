// Loads a binary dump, and shows what one holds. The file is untrusted: every length is checked before it is used.
#include <fmt/format.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "dump/batch.h"
#include "dump/binary_format.h"
#include "dump/dump.h"
#include "dump/escape.h"
#include "dump/wire.h"

namespace zest::dump {
namespace {

using meta::Key;

Result<std::string> read_exactly(Source& in, uint64_t size) {
  std::string out(size, '\0');
  ZEST_ASSIGN(size_t got, in.read(out.data(), out.size()));
  if (got != size) return fail(EINVAL, "the dump ends too early");
  return out;
}

// Fields 1 to 6 of a record.
struct Fields {
  uint64_t number[7] = {};
  std::string_view bytes[7];

  static Result<Fields> read(std::string_view message) {
    Fields out;
    MessageReader reader(message);
    while (auto field = reader.next()) {
      if (field->number > 6) continue;
      out.number[field->number] = field->value;
      out.bytes[field->number] = field->bytes;
    }
    if (!reader.ok()) return fail(EINVAL, "a broken record");
    return out;
  }
  int64_t i64(int field) const { return static_cast<int64_t>(number[field]); }
  uint32_t u32(int field) const { return static_cast<uint32_t>(number[field]); }
};

class BinaryLoader {
 public:
  BinaryLoader(meta::Meta& meta, const LoadOptions& options)
      : meta_(meta), options_(options), batch_(meta.engine(), options.threads) {}
  Result<void> load(Source& in);

 private:
  Result<void> segment(Segment kind, std::string_view payload);
  Result<void> record(Segment kind, const Fields& f);
  Result<void> chunk(const Fields& f);

  meta::Meta& meta_;
  const LoadOptions& options_;
  Batch batch_;
  IdSet slices_;
  std::string setting_;
  std::vector<std::pair<SliceRefKey, int64_t>> refs_;  // written last, over what the chunks gave
  int64_t max_acl_ = 0;
};

Result<void> BinaryLoader::chunk(const Fields& f) {
  ZEST_ASSIGN(auto slices, decode_slices(f.bytes[3]));
  for (auto& slice : slices)
    if (raw(slice.id) && slices_.insert(raw(slice.id))) ZEST_TRY(batch_.new_slice(slice.id, slice.size));
  return batch_.append(Ino{f.number[1]}, f.u32(2), std::string(f.bytes[3]));
}

Result<void> BinaryLoader::record(Segment kind, const Fields& f) {
  Ino ino{f.number[1]};
  switch (kind) {
    case Segment::kCounter:
      if (f.bytes[1] == kLastChangelog) return {};
      return batch_.put(Key::counter(f.bytes[1]), f.i64(2));
    case Segment::kNode: {
      ZEST_ASSIGN(auto attr, decode_attr(f.bytes[2]));
      return batch_.put(Key::inode(ino), attr);
    }
    case Segment::kEdge: {
      if (check_name(f.bytes[3]) != 0 || f.number[4] < 1 || f.number[4] > 7)
        return fail(EINVAL, fmt::format("a bad entry in directory {}", raw(ino)));
      return batch_.put(Key::entry(ino, f.bytes[3]), Entry{static_cast<FileType>(f.number[4]), Ino{f.number[2]}});
    }
    case Segment::kChunk: return chunk(f);
    case Segment::kSliceRef:
      if (f.number[1]) refs_.push_back({{SliceId{f.number[1]}, f.u32(2)}, f.i64(3)});
      return {};
    case Segment::kSymlink: return batch_.put(Key::symlink(ino), std::string(f.bytes[2]));
    case Segment::kDelFile: return batch_.put(Key::del_file(ino, f.number[2]), f.i64(3));
    case Segment::kXattr: return batch_.put(Key::xattr(ino, f.bytes[2]), std::string(f.bytes[3]));
    case Segment::kAcl: {
      ZEST_ASSIGN(auto rule, decode_acl(f.bytes[2]));
      max_acl_ = std::max(max_acl_, f.i64(1));
      return batch_.put(Key::acl(f.u32(1)), rule);
    }
    case Segment::kStat: return batch_.put(Key::dir_stat(ino), DirStat{f.i64(2), f.i64(3), f.i64(4)});
    case Segment::kQuota: {
      Quota quota{f.i64(2), f.i64(3), f.i64(4), f.i64(5)};
      if (f.number[6] == 1) return batch_.put(Key::user_quota(f.u32(1)), quota);
      if (f.number[6] == 2) return batch_.put(Key::group_quota(f.u32(1)), quota);
      return batch_.put(Key::dir_quota(ino), quota);
    }
    case Segment::kParent: return batch_.add_links(ino, Ino{f.number[2]}, f.i64(3));
    case Segment::kSustained: {
      auto packed = f.bytes[2];
      while (!packed.empty()) {
        auto inode = MessageReader::take_varint(packed);
        if (!inode) return fail(EINVAL, "a broken list of open unlinked files");
        ZEST_TRY(batch_.put(Key::sustained(f.number[1], Ino{*inode}), true));
      }
      return {};
    }
    default: return {};
  }
}

Result<void> BinaryLoader::segment(Segment kind, std::string_view payload) {
  if (kind == Segment::kFormat) {
    ZEST_ASSIGN(auto f, Fields::read(payload));
    setting_ = f.bytes[1];
    return {};
  }
  MessageReader reader(payload);
  uint32_t wanted = kBatchField[static_cast<size_t>(kind)];
  while (auto field = reader.next()) {
    bool quota = kind == Segment::kQuota && (field->number == 15 || field->number == 16);
    if (!field->is_bytes || (field->number != wanted && !quota)) continue;
    ZEST_ASSIGN(auto fields, Fields::read(field->bytes));
    if (quota) fields.number[6] = field->number == 15 ? 1 : 2;
    ZEST_TRY(record(kind, fields));
    if (options_.progress) (*options_.progress)++;
  }
  return reader.ok() ? Result<void>{} : fail(EINVAL, "a broken segment");
}

Result<void> BinaryLoader::load(Source& in) {
  uint64_t offset = 0;
  while (true) {
    if (options_.cancelled && *options_.cancelled) return fail(EINTR);
    ZEST_ASSIGN(auto type, read_exactly(in, 4));
    uint32_t kind = ByteReader(type).be32();
    if (kind == kMagic) break;
    if (kind == 0 || kind > 15) return fail(EINVAL, fmt::format("at byte {}: unknown segment type {}", offset, kind));
    ZEST_ASSIGN(auto length, read_exactly(in, 8));
    uint64_t size = ByteReader(length).be64();
    if (size > kMaxSegment) return fail(EINVAL, fmt::format("at byte {}: a segment of {} bytes", offset, size));
    ZEST_ASSIGN(auto payload, read_exactly(in, size));
    if (auto taken = segment(static_cast<Segment>(kind), payload); !taken)
      return fail(taken.error().code, fmt::format("segment at byte {}: {}", offset, taken.error().message()));
    offset += 12 + size;
  }
  if (setting_.empty()) return fail(EINVAL, "the dump has no settings");
  ZEST_TRY(batch_.finish());  // what these replace
  for (auto& [key, count] : refs_) ZEST_TRY(batch_.put(Key::slice_ref(key.id, key.size), count));
  ZEST_TRY(batch_.put(Key::counter(meta::counter::kAclMaxId), max_acl_));
  ZEST_TRY(batch_.finish());  // the settings last: until they are there, there is no volume
  ZEST_TRY(batch_.put(Key::setting(), setting_));
  return batch_.finish();
}

}  // namespace

Result<void> load_binary(meta::Meta& meta, const LoadOptions& options, Source& in) {
  ZEST_TRY(prepare_target(meta));
  auto loaded = BinaryLoader(meta, options).load(in);
  if (!loaded)
    if (auto undone = meta.engine().reset(); !undone)
      return fail(loaded.error().code,
                  loaded.error().what + "; what was written could not be removed: " + undone.error().message());
  return loaded;
}

Result<std::vector<SegmentInfo>> binary_contents(const std::string& file, uint32_t& version) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) return fail(errno ? errno : ENOENT, file);
  auto size = static_cast<uint64_t>(in.tellg());
  auto at = [&](uint64_t offset, uint64_t n) -> Result<std::string> {
    std::string out(n, '\0');
    in.seekg(static_cast<std::streamoff>(offset));
    if (!in.read(out.data(), static_cast<std::streamsize>(n))) return fail(EINVAL, file + " is no binary dump");
    return out;
  };
  if (size < 24) return fail(EINVAL, file + " is no binary dump");
  ZEST_ASSIGN(auto tail, at(size - 8, 8));
  uint64_t length = ByteReader(tail).be64();
  if (length > size - 12) return fail(EINVAL, file + " is no binary dump");
  ZEST_ASSIGN(auto footer, at(size - 8 - length, length));
  std::vector<SegmentInfo> out;
  uint32_t magic = 0;
  MessageReader reader(footer);
  while (auto field = reader.next()) {
    if (field->number == 1) magic = static_cast<uint32_t>(field->value);
    if (field->number == 2) version = static_cast<uint32_t>(field->value);
    if (field->number != 3) continue;
    ZEST_ASSIGN(auto entry, Fields::read(field->bytes));
    ZEST_ASSIGN(auto info, Fields::read(entry.bytes[2]));
    SegmentInfo segment{std::string(entry.bytes[1]), info.number[2], ""};
    auto packed = info.bytes[1];
    while (!packed.empty()) {
      auto offset = MessageReader::take_varint(packed);
      if (!offset) return fail(EINVAL, file + ": a broken footer");
      segment.offsets += (segment.offsets.empty() ? "" : ",") + std::to_string(*offset);
    }
    out.push_back(segment);
  }
  if (!reader.ok() || magic != kMagic) return fail(EINVAL, file + " is no binary dump");
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.name < b.name; });
  return out;
}

Result<std::string> binary_segment(const std::string& file, uint64_t offset, std::string& name) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(errno ? errno : ENOENT, file);
  in.seekg(static_cast<std::streamoff>(offset));
  std::string head(12, '\0');
  if (!in.read(head.data(), 12)) return fail(EINVAL, fmt::format("{}: no segment at {}", file, offset));
  ByteReader reader(head);
  uint32_t kind = reader.be32();
  uint64_t size = reader.be64();
  if (kind == 0 || kind > 15 || size > kMaxSegment)
    return fail(EINVAL, fmt::format("{}: no segment at {}", file, offset));
  std::string payload(size, '\0');
  if (!in.read(payload.data(), static_cast<std::streamsize>(size)))
    return fail(EINVAL, fmt::format("{}: no whole segment at {}", file, offset));
  name = kSegmentNames[kind];
  auto list = nlohmann::ordered_json::array();
  auto show = [&](std::string_view message) -> Result<void> {
    ZEST_ASSIGN(auto fields, Fields::read(message));
    nlohmann::ordered_json record;
    for (int i = 1; i <= 6; i++) {
      auto key = std::to_string(i);
      if (fields.number[i]) record[key] = fields.number[i];
      if (!fields.bytes[i].empty()) record[key] = escape(fields.bytes[i]);
    }
    list.push_back(record);
    return {};
  };
  if (static_cast<Segment>(kind) == Segment::kFormat) {
    ZEST_TRY(show(payload));
  } else {
    MessageReader batch(payload);
    while (auto field = batch.next())
      if (field->is_bytes) ZEST_TRY(show(field->bytes));
  }
  return list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace zest::dump
