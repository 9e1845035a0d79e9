#include "meta/engine/kv/layout.h"

#include "base/bytes.h"

namespace zest::meta::kv {
namespace {

std::string key_of(std::string_view tag, uint64_t ino, char part = 0) {
  std::string key(tag);
  put_le64(key, ino);
  if (part) key.push_back(part);
  return key;
}

std::string key_be(std::string_view tag, uint64_t id) {
  std::string key(tag);
  put_be64(key, id);
  return key;
}

Place one(std::string key) { return {std::move(key), {}}; }
Place range(std::string prefix) {
  std::string end = after_prefix(prefix);
  return {std::move(prefix), std::move(end)};
}

bool holds_time(std::string_view counter) {
  return counter == counter::kLastCleanupSessions || counter == counter::kLastCleanupFiles ||
         counter == counter::kLastCleanupTrash || counter == counter::kNextCleanupSlices ||
         counter == counter::kLastCleanupChangelog;
}

std::string encode_be(int64_t value) {
  std::string out;
  put_be64(out, static_cast<uint64_t>(value));
  return out;
}

std::unexpected<Error> corrupt(const Key& key) {
  return fail(EIO, "record of kind " + std::to_string(static_cast<int>(key.kind)) + " of " + std::to_string(key.a) +
                       " is corrupt");
}

std::string encode_quota(const Quota& q) {
  std::string out;
  for (int64_t v : {q.max_space, q.max_inodes, q.used_space, q.used_inodes}) put_be64(out, static_cast<uint64_t>(v));
  return out;
}

std::string encode_flocks(const FlockMap& locks) {
  std::string out;
  for (const auto& [owner, type] : locks) {
    put_be64(out, owner.sid);
    put_be64(out, owner.owner);
    out.push_back(type);
  }
  return out;
}

Result<Value> decode_flocks(const Key& key, std::string_view bytes) {
  if (bytes.size() % 17 != 0) return corrupt(key);
  FlockMap locks;
  ByteReader in(bytes);
  while (in.left() > 0) {
    LockOwner owner{in.be64(), in.be64()};
    locks[owner] = static_cast<char>(in.u8());
  }
  return Value(std::move(locks));
}

std::string encode_plocks(const PlockMap& locks) {
  std::string out;
  for (const auto& [owner, held] : locks) {
    std::string records = encode_posix_locks(held);
    put_be64(out, owner.sid);
    put_be64(out, owner.owner);
    put_be32(out, static_cast<uint32_t>(records.size()));
    out += records;
  }
  return out;
}

Result<Value> decode_plocks(const Key& key, std::string_view bytes) {
  PlockMap locks;
  ByteReader in(bytes);
  while (in.left() > 0) {
    LockOwner owner{in.be64(), in.be64()};
    auto records = in.bytes(in.be32());
    if (!in.ok()) return corrupt(key);
    ZEST_ASSIGN(locks[owner], decode_posix_locks(records));
  }
  return Value(std::move(locks));
}

Result<Value> decode_fixed(const Key& key, std::string_view bytes) {
  ByteReader in(bytes);
  if (key.kind == Kind::kDirStat) {
    if (bytes.size() != 24) return corrupt(key);
    DirStat stat;
    stat.length = static_cast<int64_t>(in.be64());
    stat.space = static_cast<int64_t>(in.be64());
    stat.inodes = static_cast<int64_t>(in.be64());
    return Value(stat);
  }
  if (bytes.size() != 32) return corrupt(key);
  Quota quota;
  for (int64_t* v : {&quota.max_space, &quota.max_inodes, &quota.used_space, &quota.used_inodes})
    *v = static_cast<int64_t>(in.be64());
  return Value(quota);
}

template <class T>
Result<Value> as_value(Result<T> result) {
  if (!result) return fail(std::move(result.error()));
  return Value(std::move(*result));
}

}  // namespace

std::string after_prefix(std::string prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xFF) prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(static_cast<uint8_t>(prefix.back()) + 1);
  return prefix;
}

std::string link_key(uint64_t ino, Ino parent) {
  std::string key = key_of("A", ino, 'P');
  put_le64(key, raw(parent));
  return key;
}

std::string session_info_key(uint64_t sid) { return key_be("SI", sid); }
std::string log_key(int64_t version) { return key_be(kLogPrefix, static_cast<uint64_t>(version)); }

Place place_of(const Key& key) {
  switch (key.kind) {
    case Kind::kSetting: return one("setting");
    case Kind::kCounter: return one("C" + key.name);
    case Kind::kInode: return one(key_of("A", key.a, 'I'));
    case Kind::kEntry: return one(key_of("A", key.a, 'D') + key.name);
    case Kind::kParents: return range(key_of("A", key.a, 'P'));
    case Kind::kChunk: {
      std::string k = key_of("A", key.a, 'C');
      put_be32(k, static_cast<uint32_t>(key.b));
      return one(std::move(k));
    }
    case Kind::kSymlink: return one(key_of("A", key.a, 'S'));
    case Kind::kXattr: return one(key_of("A", key.a, 'X') + key.name);
    case Kind::kXattrs: return range(key_of("A", key.a, 'X'));
    case Kind::kDirStat: return one(key_of("U", key.a));
    case Kind::kDirQuota: return one(key_of("QD", key.a));
    case Kind::kUserQuota: return one(key_be("QU", key.a));
    case Kind::kGroupQuota: return one(key_be("QG", key.a));
    case Kind::kSliceRef: {
      std::string k = key_be("K", key.a);
      put_be32(k, static_cast<uint32_t>(key.b));
      return one(std::move(k));
    }
    case Kind::kDelFile: {
      std::string k = key_of("D", key.a);
      put_be64(k, key.b);
      return one(std::move(k));
    }
    case Kind::kDelSlices: {
      std::string k = key_be("L", key.b);
      put_be64(k, key.a);
      return one(std::move(k));
    }
    case Kind::kSustained: {
      std::string k = key_be("SS", key.a);
      put_le64(k, key.b);
      return one(std::move(k));
    }
    case Kind::kSession: return one(key_be("SE", key.a));
    case Kind::kFlocks: return one(key_of("F", key.a));
    case Kind::kPlocks: return one(key_of("P", key.a));
    case Kind::kDetached: return one(key_of("N", key.a));
    case Kind::kAcl: {
      std::string k = "R";
      put_be32(k, static_cast<uint32_t>(key.a));
      return one(std::move(k));
    }
    case Kind::kHasEntries: return range(key_of("A", key.a, 'D'));
  }
  return {};
}

std::string encode_le(int64_t value) {
  std::string out;
  put_le64(out, static_cast<uint64_t>(value));
  return out;
}

Result<int64_t> decode_le(std::string_view bytes) {
  if (bytes.empty()) return 0;
  if (bytes.size() != 8) return fail(EIO, "a counter of " + std::to_string(bytes.size()) + " bytes");
  return static_cast<int64_t>(ByteReader(bytes).le64());
}

std::string encode_counter(std::string_view name, int64_t value) {
  return holds_time(name) ? encode_be(value) : encode_le(value);
}

Result<int64_t> decode_counter(std::string_view name, std::string_view bytes) {
  if (!holds_time(name) || bytes.size() != 8) return decode_le(bytes);
  return static_cast<int64_t>(ByteReader(bytes).be64());
}

std::string encode_value(const Key& key, const Value& value) {
  switch (key.kind) {
    case Kind::kSetting:
    case Kind::kChunk:
    case Kind::kSymlink:
    case Kind::kXattr:
    case Kind::kDelSlices: return std::get<std::string>(value);
    case Kind::kCounter: return encode_counter(key.name, std::get<int64_t>(value));
    case Kind::kInode: return encode_attr(std::get<Attr>(value));
    case Kind::kEntry: return encode_entry(std::get<Entry>(value));
    case Kind::kDirStat: {
      const auto& stat = std::get<DirStat>(value);
      std::string out;
      for (int64_t v : {stat.length, stat.space, stat.inodes}) put_be64(out, static_cast<uint64_t>(v));
      return out;
    }
    case Kind::kDirQuota:
    case Kind::kUserQuota:
    case Kind::kGroupQuota: return encode_quota(std::get<Quota>(value));
    case Kind::kSliceRef: return encode_le(std::get<int64_t>(value) - 1);
    case Kind::kDelFile:
    case Kind::kDetached: return encode_be(std::get<int64_t>(value));
    case Kind::kSustained: return "\x01";
    case Kind::kSession: return encode_be(std::get<SessionRecord>(value).expire);
    case Kind::kFlocks: return encode_flocks(std::get<FlockMap>(value));
    case Kind::kPlocks: return encode_plocks(std::get<PlockMap>(value));
    case Kind::kAcl: return encode_acl(std::get<AclRule>(value));
    case Kind::kParents:
    case Kind::kXattrs:
    case Kind::kHasEntries: break;
  }
  return {};
}

Result<Value> decode_value(const Key& key, std::string_view bytes) {
  switch (key.kind) {
    case Kind::kSetting:
    case Kind::kChunk:
    case Kind::kSymlink:
    case Kind::kXattr:
    case Kind::kDelSlices: return Value(std::string(bytes));
    case Kind::kCounter: return as_value(decode_counter(key.name, bytes));
    case Kind::kInode: return as_value(decode_attr(bytes));
    case Kind::kEntry: return as_value(decode_entry(bytes));
    case Kind::kDirStat:
    case Kind::kDirQuota:
    case Kind::kUserQuota:
    case Kind::kGroupQuota: return decode_fixed(key, bytes);
    case Kind::kSliceRef: {
      ZEST_ASSIGN(int64_t more, decode_le(bytes));
      return Value(more + 1);
    }
    case Kind::kDelFile:
    case Kind::kDetached:
      if (bytes.size() != 8) return corrupt(key);
      return Value(static_cast<int64_t>(ByteReader(bytes).be64()));
    case Kind::kSustained: return Value(true);
    case Kind::kSession:
      if (bytes.size() != 8) return corrupt(key);
      return Value(SessionRecord{static_cast<int64_t>(ByteReader(bytes).be64()), {}});
    case Kind::kFlocks: return decode_flocks(key, bytes);
    case Kind::kPlocks: return decode_plocks(key, bytes);
    case Kind::kAcl: return as_value(decode_acl(bytes));
    case Kind::kParents:
    case Kind::kXattrs:
    case Kind::kHasEntries: break;
  }
  return corrupt(key);
}

std::pair<std::string, std::string> table_range(Table table, uint64_t within) {
  auto prefixed = [](std::string prefix) {
    std::string end = after_prefix(prefix);
    return std::pair(std::move(prefix), std::move(end));
  };
  switch (table) {
    case Table::kInodes:
    case Table::kEntries:
    case Table::kSymlinks:
    case Table::kParentsTable: return prefixed("A");
    case Table::kChunks: return prefixed(within ? key_of("A", within, 'C') : "A");
    case Table::kXattrTable: return prefixed(within ? key_of("A", within, 'X') : "A");
    case Table::kDirStats: return prefixed("U");
    case Table::kDirQuotas: return prefixed("QD");
    case Table::kUserQuotas: return prefixed("QU");
    case Table::kGroupQuotas: return prefixed("QG");
    case Table::kSliceRefs: return prefixed("K");
    case Table::kDelFiles: return prefixed("D");
    case Table::kDelSlicesTable: return prefixed("L");
    case Table::kSustainedTable: return prefixed(within ? key_be("SS", within) : "SS");
    case Table::kSessions: return prefixed("SE");
    case Table::kFlockTable: return prefixed("F");
    case Table::kPlockTable: return prefixed("P");
    case Table::kDetachedNodes: return prefixed("N");
    case Table::kAcls: return prefixed("R");
    case Table::kCounters: return prefixed("C");
  }
  return {};
}

namespace {

// Keys "A", inode, a letter, rest.
std::optional<Key> parse_inode_key(Table table, std::string_view key) {
  if (key.size() < 10) return {};
  ByteReader in(key.substr(1));
  uint64_t ino = in.le64();
  char part = static_cast<char>(in.u8());
  std::string_view rest = key.substr(10);
  switch (table) {
    case Table::kInodes:
      if (part == 'I' && rest.empty()) return Key::inode(Ino{ino});
      break;
    case Table::kEntries:
      if (part == 'D' && !rest.empty()) return Key::entry(Ino{ino}, rest);
      break;
    case Table::kSymlinks:
      if (part == 'S' && rest.empty()) return Key::symlink(Ino{ino});
      break;
    case Table::kXattrTable:
      if (part == 'X' && !rest.empty()) return Key::xattr(Ino{ino}, rest);
      break;
    case Table::kChunks:
      if (part == 'C' && rest.size() == 4) return Key::chunk(Ino{ino}, ByteReader(rest).be32());
      break;
    case Table::kParentsTable:
      if (part == 'P' && rest.size() == 8) return Key{Kind::kParents, ino, ByteReader(rest).le64(), {}};
      break;
    default: break;
  }
  return {};
}

}  // namespace

std::optional<Key> parse_key(Table table, std::string_view key) {
  ByteReader in(key);
  auto sized = [&](size_t tag, size_t size) {
    in.bytes(tag);
    return key.size() == size;
  };
  switch (table) {
    case Table::kInodes:
    case Table::kEntries:
    case Table::kSymlinks:
    case Table::kXattrTable:
    case Table::kChunks:
    case Table::kParentsTable: return parse_inode_key(table, key);
    case Table::kDirStats: return sized(1, 9) ? std::optional(Key::dir_stat(Ino{in.le64()})) : std::nullopt;
    case Table::kDirQuotas: return sized(2, 10) ? std::optional(Key::dir_quota(Ino{in.le64()})) : std::nullopt;
    case Table::kUserQuotas: return sized(2, 10) ? std::optional(Key{Kind::kUserQuota, in.be64()}) : std::nullopt;
    case Table::kGroupQuotas: return sized(2, 10) ? std::optional(Key{Kind::kGroupQuota, in.be64()}) : std::nullopt;
    case Table::kSliceRefs: {
      if (!sized(1, 13)) return {};
      SliceId id{in.be64()};
      return Key::slice_ref(id, in.be32());
    }
    case Table::kDelFiles: {
      if (!sized(1, 17)) return {};
      Ino ino{in.le64()};
      return Key::del_file(ino, in.be64());
    }
    case Table::kDelSlicesTable: {
      if (!sized(1, 17)) return {};
      auto sec = static_cast<int64_t>(in.be64());
      return Key::del_slices(SliceId{in.be64()}, sec);
    }
    case Table::kSustainedTable: {
      if (!sized(2, 18)) return {};
      uint64_t sid = in.be64();
      return Key::sustained(sid, Ino{in.le64()});
    }
    case Table::kSessions: return sized(2, 10) ? std::optional(Key::session(in.be64())) : std::nullopt;
    case Table::kFlockTable: return sized(1, 9) ? std::optional(Key::flocks(Ino{in.le64()})) : std::nullopt;
    case Table::kPlockTable: return sized(1, 9) ? std::optional(Key::plocks(Ino{in.le64()})) : std::nullopt;
    case Table::kDetachedNodes: return sized(1, 9) ? std::optional(Key::detached(Ino{in.le64()})) : std::nullopt;
    case Table::kAcls: return sized(1, 5) ? std::optional(Key::acl(in.be32())) : std::nullopt;
    case Table::kCounters: return key.empty() ? std::nullopt : std::optional(Key::counter(key.substr(1)));
  }
  return {};
}

}  // namespace zest::meta::kv
