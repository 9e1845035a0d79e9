// Writes the binary dump: segments of up to 10,000 records each, then a footer that tells where they are.
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "dump/binary_format.h"
#include "dump/dump.h"
#include "dump/wire.h"

namespace zest::dump {
namespace {

using meta::Key;
using meta::Table;
using meta::Value;

constexpr size_t kRecords = 10'000;

class BinaryWriter {
 public:
  BinaryWriter(meta::Meta& meta, const DumpOptions& options, Sink& out) : meta_(meta), options_(options), out_(out) {}
  Result<void> write();

 private:
  Result<void> segment(Segment kind, const std::string& payload, uint64_t records);
  // One segment kind from one table; `encode` fills the message of a record, false leaves it out.
  Result<void> table(Segment kind, Table table,
                     const std::function<bool(const Key&, const Value&, MessageWriter&)>& encode);
  Result<void> format();
  Result<void> counters();
  Result<void> sustained();
  Result<void> footer();

  meta::Meta& meta_;
  const DumpOptions& options_;
  Sink& out_;
  uint64_t offset_ = 0;
  struct Info {
    std::vector<uint64_t> offsets;
    uint64_t records = 0;
  };
  std::map<std::string, Info> infos_;
};

Result<void> BinaryWriter::segment(Segment kind, const std::string& payload, uint64_t records) {
  std::string head;
  put_be32(head, static_cast<uint32_t>(kind));
  put_be64(head, payload.size());
  auto& info = infos_[kSegmentNames[static_cast<size_t>(kind)]];
  info.offsets.push_back(offset_);
  info.records += records;
  offset_ += head.size() + payload.size();
  if (options_.progress) *options_.progress += records;
  if (options_.cancelled && *options_.cancelled) return fail(EINTR);
  ZEST_TRY(out_.write(head));
  return out_.write(payload);
}

Result<void> BinaryWriter::table(Segment kind, Table table,
                                 const std::function<bool(const Key&, const Value&, MessageWriter&)>& encode) {
  MessageWriter batch;
  uint64_t records = 0, segments = 0;
  std::optional<Error> error;
  auto flush = [&] {
    auto written = segment(kind, batch.str(), records);
    if (!written) error = written.error();
    batch = {};
    records = 0;
    segments++;
    return !error;
  };
  ZEST_TRY(meta_.engine().scan(table, 0, [&](const Key& key, const Value& value) {
    MessageWriter message;
    if (!encode(key, value, message)) return true;
    batch.message(kBatchField[static_cast<size_t>(kind)], message);
    return ++records < kRecords || flush();
  }));
  if (!error && (records > 0 || segments == 0)) flush();
  if (error) return fail(*error);
  return {};
}

Result<void> BinaryWriter::format() {
  ZEST_ASSIGN(auto text, dump_format(meta_.format()));
  if (!options_.keep_secrets) {
    auto json = nlohmann::ordered_json::parse(text, nullptr, false);
    if (json.is_discarded()) return fail(EIO, "the volume's settings are no JSON");
    for (const char* secret : {"SecretKey", "SessionToken", "EncryptKey"})
      if (json.contains(secret)) json[secret] = "removed";
    text = json.dump(0);
  }
  MessageWriter message;
  message.bytes(1, text);
  return segment(Segment::kFormat, message.str(), 1);
}

Result<void> BinaryWriter::counters() {
  namespace c = meta::counter;
  std::map<std::string, int64_t> values;
  ZEST_TRY(meta_.engine().scan(Table::kCounters, 0, [&](const Key& key, const Value& value) {
    if (auto* number = std::get_if<int64_t>(&value)) values[key.name] = *number;
    return true;
  }));
  MessageWriter batch;
  uint64_t records = 0;
  auto add = [&](const char* name, int64_t value) {
    MessageWriter message;
    message.bytes(1, name);
    message.number(2, value);
    batch.message(kBatchField[static_cast<size_t>(Segment::kCounter)], message);
    records++;
  };
  for (const char* name :
       {c::kUsedSpace, c::kTotalInodes, c::kNextInode, c::kNextChunk, c::kNextSession, c::kNextTrash})
    add(name, values[name]);
  ZEST_ASSIGN(const auto log, meta_.engine().log_range());
  if (log.last > 0) add(kLastChangelog, log.last);
  return segment(Segment::kCounter, batch.str(), records);
}

Result<void> BinaryWriter::sustained() {
  std::map<uint64_t, MessageWriter> sessions;  // packed inodes
  ZEST_TRY(meta_.engine().scan(Table::kSustainedTable, 0, [&](const Key& key, const Value&) {
    sessions[key.a].varint(key.b);
    return true;
  }));
  MessageWriter batch;
  for (auto& [sid, inodes] : sessions) {
    MessageWriter message;
    message.number(1, sid);
    message.bytes(2, inodes.str());
    batch.message(kBatchField[static_cast<size_t>(Segment::kSustained)], message);
  }
  return segment(Segment::kSustained, batch.str(), sessions.size());
}

Result<void> BinaryWriter::footer() {
  MessageWriter footer;
  footer.number(1, kMagic);
  footer.number(2, uint32_t{1});
  for (auto& [name, info] : infos_) {
    MessageWriter packed, segment_info, entry;
    for (auto offset : info.offsets) packed.varint(offset);
    segment_info.bytes(1, packed.str());
    segment_info.number(2, info.records);
    entry.bytes(1, name);
    entry.message(2, segment_info);
    footer.message(3, entry);
  }
  std::string tail;
  put_be32(tail, kMagic);
  tail += footer.str();
  put_be64(tail, footer.str().size());
  ZEST_TRY(out_.write(tail));
  return out_.finish();
}

void encode_quota(MessageWriter& m, const Key& key, const Quota& q, uint32_t type) {
  m.number(1, key.a);
  m.number(2, q.max_space);
  m.number(3, q.max_inodes);
  m.number(4, q.used_space);
  m.number(5, q.used_inodes);
  m.number(6, type);
}

Result<void> BinaryWriter::write() {
  ZEST_TRY(format());
  ZEST_TRY(counters());
  ZEST_TRY(table(Segment::kNode, Table::kInodes, [](const Key& key, const Value& value, MessageWriter& m) {
    auto* attr = std::get_if<Attr>(&value);
    if (!attr) return false;
    m.number(1, key.a);
    m.bytes(2, encode_attr(*attr));
    return true;
  }));
  ZEST_TRY(table(Segment::kChunk, Table::kChunks, [](const Key& key, const Value& value, MessageWriter& m) {
    auto* records = std::get_if<std::string>(&value);
    if (!records || records->empty()) return false;
    m.number(1, key.a);
    m.number(2, key.b);
    m.bytes(3, *records);
    return true;
  }));
  ZEST_TRY(table(Segment::kEdge, Table::kEntries, [](const Key& key, const Value& value, MessageWriter& m) {
    auto* entry = std::get_if<Entry>(&value);
    if (!entry) return false;
    m.number(1, key.a);
    m.number(2, raw(entry->ino));
    m.bytes(3, key.name);
    m.number(4, static_cast<uint32_t>(entry->type));
    return true;
  }));
  MessageWriter parents;
  uint64_t parent_records = 0;
  ZEST_TRY(meta_.engine().scan(Table::kParentsTable, 0, [&](const Key& key, const Value& value) {
    if (auto* links = std::get_if<meta::LinkCounts>(&value))
      for (auto& [parent, count] : *links) {
        MessageWriter m;
        m.number(1, key.a);
        m.number(2, raw(parent));
        m.number(3, count);
        parents.message(kBatchField[static_cast<size_t>(Segment::kParent)], m);
        parent_records++;
      }
    return true;
  }));
  ZEST_TRY(segment(Segment::kParent, parents.str(), parent_records));
  ZEST_TRY(table(Segment::kSymlink, Table::kSymlinks, [](const Key& key, const Value& value, MessageWriter& m) {
    auto* target = std::get_if<std::string>(&value);
    if (!target) return false;
    m.number(1, key.a);
    m.bytes(2, *target);
    return true;
  }));
  ZEST_TRY(sustained());
  ZEST_TRY(table(Segment::kDelFile, Table::kDelFiles, [](const Key& key, const Value& value, MessageWriter& m) {
    auto* expire = std::get_if<int64_t>(&value);
    m.number(1, key.a);
    m.number(2, key.b);
    m.number(3, expire ? *expire : 0);
    return true;
  }));
  ZEST_TRY(table(Segment::kSliceRef, Table::kSliceRefs, [](const Key& key, const Value& value, MessageWriter& m) {
    auto* refs = std::get_if<int64_t>(&value);
    if (!refs || *refs == 1 || key.a == 0) return false;
    m.number(1, key.a);
    m.number(2, key.b);
    m.number(3, *refs);
    return true;
  }));
  ZEST_TRY(table(Segment::kAcl, Table::kAcls, [](const Key& key, const Value& value, MessageWriter& m) {
    auto* rule = std::get_if<AclRule>(&value);
    if (!rule) return false;
    m.number(1, key.a);
    m.bytes(2, encode_acl(*rule));
    return true;
  }));
  ZEST_TRY(table(Segment::kXattr, Table::kXattrTable, [](const Key& key, const Value& value, MessageWriter& m) {
    auto* text = std::get_if<std::string>(&value);
    if (!text) return false;
    m.number(1, key.a);
    m.bytes(2, key.name);
    m.bytes(3, *text);
    return true;
  }));
  ZEST_TRY(table(Segment::kQuota, Table::kDirQuotas, [](const Key& key, const Value& value, MessageWriter& m) {
    auto* quota = std::get_if<Quota>(&value);
    if (quota) encode_quota(m, key, *quota, 0);
    return quota != nullptr;
  }));
  ZEST_TRY(table(Segment::kStat, Table::kDirStats, [](const Key& key, const Value& value, MessageWriter& m) {
    auto* stat = std::get_if<DirStat>(&value);
    if (!stat) return false;
    m.number(1, key.a);
    m.number(2, stat->length);
    m.number(3, stat->space);
    m.number(4, stat->inodes);
    return true;
  }));
  return footer();
}

}  // namespace

Result<void> dump_binary(meta::Meta& meta, const DumpOptions& options, Sink& out) {
  return BinaryWriter(meta, options, out).write();
}

}  // namespace zest::dump
