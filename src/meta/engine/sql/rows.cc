#include "meta/engine/sql/rows.h"

#include <fmt/format.h>

#include "base/log.h"

namespace zest::meta::sql {
namespace {

Param integer(int64_t v) { return Param::integer(v); }
Param id(uint64_t v) { return Param::unsigned_integer(v); }

// Times are microseconds, and the nanoseconds left over.
int64_t micros(Time t) { return t.sec * 1'000'000 + t.nsec / 1000; }
int64_t rest(Time t) { return t.nsec % 1000; }
Time time_of(int64_t us, int64_t ns) {
  int64_t sec = us / 1'000'000, part = us % 1'000'000;
  if (part < 0) sec--, part += 1'000'000;
  return {sec, static_cast<uint32_t>(part * 1000 + ns)};
}

Result<void> add_attr(Params& p, const Key& key, const Attr& a, Dialect dialect, const Schema& schema) {
  if (dialect != Dialect::kSqlite && !schema.wide_ids) {
    for (uint32_t v : {a.uid, a.gid, a.rdev}) {
      if (v <= INT32_MAX) continue;
      auto text =
          fmt::format("inode {}: {} does not fit the database's signed 32-bit columns (uid {}, gid {}, rdev {})", key.a,
                      v, a.uid, a.gid, a.rdev);
      log_warning(text);
      return fail(EINVAL, std::move(text));
    }
  }
  for (int64_t v : {static_cast<int64_t>(a.type), int64_t{a.flags}, int64_t{a.mode}, int64_t{a.uid}, int64_t{a.gid},
                    micros(a.atime), micros(a.mtime), micros(a.ctime), rest(a.atime), rest(a.mtime), rest(a.ctime),
                    int64_t{a.nlink}, static_cast<int64_t>(a.length), int64_t{a.rdev},
                    static_cast<int64_t>(raw(a.parent)), int64_t{a.access_acl}, int64_t{a.default_acl}})
    p.push_back(integer(v));
  if (schema.tier) p.push_back(integer(a.tier));
  return {};
}

void add_acl(Params& p, const AclRule& rule) {
  for (uint16_t v : {rule.owner, rule.group, rule.mask, rule.other}) p.push_back(integer(v));
  p.push_back(Param::blob(encode_acl_named(rule.users)));
  p.push_back(Param::blob(encode_acl_named(rule.groups)));
}

Result<Value> decode_acl_row(const Rows& rows, size_t row, size_t c) {
  AclRule rule;
  for (uint16_t* v : {&rule.owner, &rule.group, &rule.mask, &rule.other}) {
    if (!std::holds_alternative<std::monostate>(rows.at(row, c))) *v = static_cast<uint16_t>(rows.integer(row, c));
    c++;
  }
  ZEST_ASSIGN(rule.users, decode_acl_named(rows.bytes(row, c)));
  ZEST_ASSIGN(rule.groups, decode_acl_named(rows.bytes(row, c + 1)));
  return Value(std::move(rule));
}

bool valid_utf8(const std::string& s) {
  for (size_t i = 0; i < s.size();) {
    auto c = static_cast<uint8_t>(s[i]);
    size_t more = c < 0x80 ? 0 : c >= 0xC2 && c < 0xE0 ? 1 : c >= 0xE0 && c < 0xF0 ? 2 : c >= 0xF0 && c < 0xF5 ? 3 : 9;
    if (more == 9 || c == 0 || i + more >= s.size()) return false;
    for (size_t k = 1; k <= more; k++)
      if ((static_cast<uint8_t>(s[i + k]) & 0xC0) != 0x80) return false;
    if (more > 1) {
      auto second = static_cast<uint8_t>(s[i + 1]);
      if ((c == 0xE0 && second < 0xA0) || (c == 0xED && second > 0x9F) || (c == 0xF0 && second < 0x90) ||
          (c == 0xF4 && second > 0x8F))
        return false;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace

bool storable_xattr_name(const std::string& name, Dialect dialect) {
  return dialect != Dialect::kPostgres || valid_utf8(name);
}

Params key_params(const Key& key, Dialect dialect) {
  switch (key.kind) {
    case Kind::kSetting: return {Param::text("format")};
    case Kind::kCounter: return {Param::text(key.name)};
    case Kind::kEntry: return {id(key.a), Param::blob(key.name)};
    case Kind::kXattr: return {id(key.a), dialect == Dialect::kMysql ? Param::blob(key.name) : Param::text(key.name)};
    case Kind::kUserQuota: return {integer(1), id(key.a)};
    case Kind::kGroupQuota: return {integer(2), id(key.a)};
    case Kind::kChunk:
    case Kind::kSliceRef:
    case Kind::kDelFile:
    case Kind::kDelSlices:
    case Kind::kSustained: return {id(key.a), id(key.b)};
    default: return {id(key.a)};
  }
}

Result<void> add_value_params(Params& p, const Key& key, const Value& value, Dialect dialect, const Schema& schema) {
  switch (key.kind) {
    case Kind::kSetting: p.push_back(Param::text(std::get<std::string>(value))); break;
    case Kind::kCounter:
    case Kind::kSliceRef:
    case Kind::kDelFile:
    case Kind::kDetached: p.push_back(integer(std::get<int64_t>(value))); break;
    case Kind::kInode: return add_attr(p, key, std::get<Attr>(value), dialect, schema);
    case Kind::kEntry: {
      const auto& entry = std::get<Entry>(value);
      p.push_back(id(raw(entry.ino)));
      p.push_back(integer(static_cast<int64_t>(entry.type)));
      break;
    }
    case Kind::kXattr:
      if (!storable_xattr_name(key.name, dialect))
        return fail(EINVAL, "the database cannot hold the name of this extended attribute");
      p.push_back(Param::blob(std::get<std::string>(value)));
      break;
    case Kind::kChunk:
    case Kind::kSymlink:
    case Kind::kDelSlices: p.push_back(Param::blob(std::get<std::string>(value))); break;
    case Kind::kDirStat: {
      const auto& stat = std::get<DirStat>(value);
      for (int64_t v : {stat.length, stat.space, stat.inodes}) p.push_back(integer(v));
      break;
    }
    case Kind::kDirQuota:
    case Kind::kUserQuota:
    case Kind::kGroupQuota: {
      const auto& q = std::get<Quota>(value);
      for (int64_t v : {q.max_space, q.max_inodes, q.used_space, q.used_inodes}) p.push_back(integer(v));
      break;
    }
    case Kind::kSession: {
      const auto& session = std::get<SessionRecord>(value);
      p.push_back(integer(session.expire));
      p.push_back(Param::blob(session.info));
      break;
    }
    case Kind::kAcl: add_acl(p, std::get<AclRule>(value)); break;
    default: break;
  }
  return {};
}

Attr decode_node(const Rows& rows, size_t row, size_t c, bool tier) {
  auto next = [&] { return rows.integer(row, c++); };
  Attr a;
  a.type = static_cast<FileType>(next());
  a.flags = static_cast<uint8_t>(next());
  a.mode = static_cast<uint16_t>(next());
  a.uid = static_cast<uint32_t>(next());
  a.gid = static_cast<uint32_t>(next());
  int64_t atime = next(), mtime = next(), ctime = next();
  a.atime = time_of(atime, next());
  a.mtime = time_of(mtime, next());
  a.ctime = time_of(ctime, next());
  a.nlink = static_cast<uint32_t>(next());
  a.length = static_cast<uint64_t>(next());
  a.rdev = static_cast<uint32_t>(next());
  a.parent = Ino{static_cast<uint64_t>(next())};
  a.access_acl = static_cast<uint32_t>(next());
  a.default_acl = static_cast<uint32_t>(next());
  if (tier) a.tier = static_cast<uint8_t>(next());
  return a;
}

Result<Value> decode_row(const Key& key, const Rows& rows, size_t row, size_t c, bool tier) {
  switch (key.kind) {
    case Kind::kSetting:
    case Kind::kChunk:
    case Kind::kSymlink:
    case Kind::kXattr:
    case Kind::kDelSlices: return Value(rows.bytes(row, c));
    case Kind::kCounter:
    case Kind::kSliceRef:
    case Kind::kDelFile:
    case Kind::kDetached: return Value(rows.integer(row, c));
    case Kind::kInode: return Value(decode_node(rows, row, c, tier));
    case Kind::kEntry:
      return Value(
          Entry{static_cast<FileType>(rows.integer(row, c + 1)), Ino{static_cast<uint64_t>(rows.integer(row, c))}});
    case Kind::kDirStat:
      return Value(DirStat{rows.integer(row, c), rows.integer(row, c + 1), rows.integer(row, c + 2)});
    case Kind::kDirQuota:
    case Kind::kUserQuota:
    case Kind::kGroupQuota:
      return Value(
          Quota{rows.integer(row, c), rows.integer(row, c + 1), rows.integer(row, c + 2), rows.integer(row, c + 3)});
    case Kind::kSustained: return Value(true);
    case Kind::kSession: return Value(SessionRecord{rows.integer(row, c), rows.bytes(row, c + 1)});
    case Kind::kAcl: return decode_acl_row(rows, row, c);
    default: return fail(EIO, "not a record of one row");
  }
}

Key decode_key(Kind kind, const Rows& rows, size_t row, size_t c) {
  auto number = [&](size_t i) { return static_cast<uint64_t>(rows.integer(row, c + i)); };
  switch (kind) {
    case Kind::kSetting: return Key::setting();
    case Kind::kCounter: return Key::counter(rows.bytes(row, c));
    case Kind::kEntry:
    case Kind::kXattr: return {kind, number(0), 0, rows.bytes(row, c + 1)};
    case Kind::kUserQuota:
    case Kind::kGroupQuota: return {kind, number(1), 0, {}};
    case Kind::kChunk:
    case Kind::kSliceRef:
    case Kind::kDelFile:
    case Kind::kDelSlices:
    case Kind::kSustained: return {kind, number(0), number(1), {}};
    default: return {kind, number(0), 0, {}};
  }
}

Params flock_params(uint64_t ino, const LockOwner& owner, char type) {
  return {id(ino), id(owner.sid), id(owner.owner), integer(static_cast<uint8_t>(type))};
}

Params plock_params(uint64_t ino, const LockOwner& owner, const std::vector<PosixLock>& locks) {
  return {id(ino), id(owner.sid), id(owner.owner), Param::blob(encode_posix_locks(locks))};
}

}  // namespace zest::meta::sql
