#include "meta/engine/redis/layout.h"

#include <cmath>
#include <cstdlib>

#include "base/bytes.h"

namespace zest::meta::redis {

namespace {

std::unexpected<Error> corrupt(const Key& key, std::string_view why) {
  return fail(EIO, "corrupt record (kind " + std::to_string(static_cast<int>(key.kind)) + " of " +
                       std::to_string(key.a) + "): " + std::string(why));
}

Result<int64_t> number(const Key& key, const Raw& raw) {
  if (!raw.present) return 0;
  auto value = parse_int(raw.text);
  if (!value) return corrupt(key, "no number");
  return *value;
}

// The names of the three hashes of a quota.
struct QuotaKeys {
  const char *limit, *space, *inodes;
};
QuotaKeys quota_keys(Kind kind) {
  switch (kind) {
    case Kind::kUserQuota: return {"userQuota", "userQuotaUsedSpace", "userQuotaUsedInodes"};
    case Kind::kGroupQuota: return {"groupQuota", "groupQuotaUsedSpace", "groupQuotaUsedInodes"};
    default: return {"dirQuota", "dirQuotaUsedSpace", "dirQuotaUsedInodes"};
  }
}

Result<Value> decode_quota(const Key& key, std::span<const Raw> raws) {
  if (!raws[0].present) return Value{};
  if (raws[0].text.size() != 16) return corrupt(key, "limit is not 16 bytes");
  ByteReader in(raws[0].text);
  Quota quota;
  quota.max_space = static_cast<int64_t>(in.be64());
  quota.max_inodes = static_cast<int64_t>(in.be64());
  ZEST_ASSIGN(quota.used_space, number(key, raws[1]));
  ZEST_ASSIGN(quota.used_inodes, number(key, raws[2]));
  return Value(quota);
}

Result<Value> decode_stat(const Key& key, std::span<const Raw> raws) {
  if (!raws[1].present) return Value{};  // the used-space field tells whether there are statistics
  DirStat stat;
  ZEST_ASSIGN(stat.length, number(key, raws[0]));
  ZEST_ASSIGN(stat.space, number(key, raws[1]));
  ZEST_ASSIGN(stat.inodes, number(key, raws[2]));
  return Value(stat);
}

Result<Value> decode_parents(const Key& key, const Raw& raw) {
  LinkCounts links;
  for (const auto& [field, text] : raw.fields) {
    auto parent = parse_uint(field);
    auto count = parse_int(text);
    if (!parent || !count) return corrupt(key, "bad count of links");
    if (*count > 0) links[Ino{*parent}] = *count;
  }
  if (links.empty()) return Value{};
  return Value(std::move(links));
}

Result<Value> decode_locks(const Key& key, const Raw& raw) {
  FlockMap flocks;
  PlockMap plocks;
  for (const auto& [field, text] : raw.fields) {
    LockOwner owner;
    if (!parse_lock_field(field, owner)) continue;
    if (key.kind == Kind::kFlocks) {
      if (text != "R" && text != "W") return corrupt(key, "bad lock");
      flocks[owner] = text[0];
    } else {
      ZEST_ASSIGN(auto locks, decode_posix_locks(text));
      if (!locks.empty()) plocks[owner] = std::move(locks);
    }
  }
  if (flocks.empty() && plocks.empty()) return Value{};
  return key.kind == Kind::kFlocks ? Value(std::move(flocks)) : Value(std::move(plocks));
}

Result<Value> decode_session(const Key&, std::span<const Raw> raws) {
  if (!raws[0].present && !raws[1].present) return Value{};
  SessionRecord session;
  if (raws[0].present) {
    ZEST_ASSIGN(session.expire, parse_score(raws[0].text));
  }
  session.info = raws[1].text;
  return Value(std::move(session));
}

}  // namespace

std::vector<std::string> read_command(const Part& part) {
  switch (part.how) {
    case Read::kGet: return {"GET", part.key};
    case Read::kField: return {"HGET", part.key, part.field};
    case Read::kCount: return {"HLEN", part.key};
    case Read::kList: return {"LRANGE", part.key, "0", "-1"};
    case Read::kScore: return {"ZSCORE", part.key, part.field};
    case Read::kMember: return {"SISMEMBER", part.key, part.field};
    case Read::kWholeHash: return {"HGETALL", part.key};
  }
  return {};
}

Result<Raw> read_reply(const Part& part, Reply& reply) {
  Raw raw;
  auto unexpected = [] { return fail(EPROTO, "Redis: a reply of another type than expected"); };
  switch (part.how) {
    case Read::kCount:
    case Read::kMember:
      if (!reply.is_integer()) return unexpected();
      raw.present = reply.integer > 0;
      return raw;
    case Read::kList:
      if (!reply.is_array()) return unexpected();
      for (const Reply& item : reply.items) {
        if (!item.is_bulk() || item.text.size() != kSliceRecord)
          return fail(EIO, "chunk " + part.key + " holds an element that is no slice");
        raw.text += item.text;
      }
      raw.present = !raw.text.empty();
      return raw;
    case Read::kWholeHash:
      if (!reply.is_array() || reply.items.size() % 2 != 0) return unexpected();
      for (size_t i = 0; i < reply.items.size(); i += 2)
        raw.fields[std::move(reply.items[i].text)] = std::move(reply.items[i + 1].text);
      raw.present = !raw.fields.empty();
      return raw;
    default:
      if (reply.is_nil()) return raw;
      if (!reply.is_bulk()) return unexpected();
      raw.present = true;
      raw.text = std::move(reply.text);
      return raw;
  }
}

std::vector<Part> Layout::parts(const Key& k) const {
  auto id = std::to_string(k.a);
  switch (k.kind) {
    case Kind::kSetting: return {{Read::kGet, key("setting"), {}}};
    case Kind::kCounter: return {{Read::kGet, key(counter_name(k.name)), {}}};
    case Kind::kInode: return {{Read::kGet, key("i", k.a), {}}};
    case Kind::kEntry: return {{Read::kField, key("d", k.a), k.name}};
    case Kind::kParents: return {{Read::kWholeHash, key("p", k.a), {}}};
    case Kind::kChunk: return {{Read::kList, chunk_key(k.a, k.b), {}}};
    case Kind::kSymlink: return {{Read::kGet, key("s", k.a), {}}};
    case Kind::kXattr: return {{Read::kField, key("x", k.a), k.name}};
    case Kind::kXattrs: return {{Read::kWholeHash, key("x", k.a), {}}};
    case Kind::kDirStat:
      return {{Read::kField, key("dirDataLength"), id},
              {Read::kField, key("dirUsedSpace"), id},
              {Read::kField, key("dirUsedInodes"), id}};
    case Kind::kDirQuota:
    case Kind::kUserQuota:
    case Kind::kGroupQuota: {
      auto names = quota_keys(k.kind);
      return {{Read::kField, key(names.limit), id},
              {Read::kField, key(names.space), id},
              {Read::kField, key(names.inodes), id}};
    }
    case Kind::kSliceRef: return {{Read::kField, key("sliceRef"), slice_field(k.a, k.b)}};
    case Kind::kDelFile: return {{Read::kScore, key("delfiles"), id + ":" + std::to_string(k.b)}};
    case Kind::kDelSlices: return {{Read::kField, key("delSlices"), id + "_" + std::to_string(k.b)}};
    case Kind::kSustained: return {{Read::kMember, key("session", k.a), std::to_string(k.b)}};
    case Kind::kSession: return {{Read::kScore, key("allSessions"), id}, {Read::kField, key("sessionInfos"), id}};
    case Kind::kFlocks: return {{Read::kWholeHash, key("lockf", k.a), {}}};
    case Kind::kPlocks: return {{Read::kWholeHash, key("lockp", k.a), {}}};
    case Kind::kDetached: return {{Read::kScore, key("detachedNodes"), id}};
    case Kind::kAcl: return {{Read::kField, key("acl"), id}};
    case Kind::kHasEntries: return {{Read::kCount, key("d", k.a), {}}};
  }
  return {};
}

Result<Value> decode(const Key& key, std::span<const Raw> raws) {
  const Raw& raw = raws[0];
  switch (key.kind) {
    case Kind::kHasEntries: return Value(raw.present);
    case Kind::kDirStat: return decode_stat(key, raws);
    case Kind::kDirQuota:
    case Kind::kUserQuota:
    case Kind::kGroupQuota: return decode_quota(key, raws);
    case Kind::kSession: return decode_session(key, raws);
    case Kind::kFlocks:
    case Kind::kPlocks: return decode_locks(key, raw);
    default: break;
  }
  // some writers leave an empty value where an attribute was
  if (!raw.present || (key.kind == Kind::kInode && raw.text.empty())) return Value{};
  switch (key.kind) {
    case Kind::kCounter: {
      ZEST_ASSIGN(int64_t value, number(key, raw));
      return Value(value + counter_base(key.name));
    }
    case Kind::kInode: {
      ZEST_ASSIGN(auto attr, decode_attr(raw.text));
      return Value(attr);
    }
    case Kind::kEntry: {
      ZEST_ASSIGN(auto entry, decode_entry(raw.text));
      return Value(entry);
    }
    case Kind::kParents: return decode_parents(key, raw);
    case Kind::kXattrs: return Value(raw.fields);
    case Kind::kSliceRef: {
      ZEST_ASSIGN(int64_t more, number(key, raw));
      return Value(more + 1);
    }
    case Kind::kDelFile:
    case Kind::kDetached: {
      ZEST_ASSIGN(int64_t score, parse_score(raw.text));
      return Value(score);
    }
    case Kind::kSustained: return Value(true);
    case Kind::kAcl: {
      ZEST_ASSIGN(auto rule, decode_acl(raw.text));
      return Value(std::move(rule));
    }
    default: return Value(raw.text);
  }
}

std::optional<std::string> encode_single(const Key& key, const Value& value) {
  switch (key.kind) {
    case Kind::kInode: return encode_attr(std::get<Attr>(value));
    case Kind::kEntry: return encode_entry(std::get<Entry>(value));
    case Kind::kAcl: return encode_acl(std::get<AclRule>(value));
    case Kind::kCounter: return std::to_string(std::get<int64_t>(value) - counter_base(key.name));
    case Kind::kSliceRef: return std::to_string(std::get<int64_t>(value) - 1);
    case Kind::kDelFile:
    case Kind::kDetached: return std::to_string(std::get<int64_t>(value));
    case Kind::kSetting:
    case Kind::kChunk:
    case Kind::kSymlink:
    case Kind::kXattr:
    case Kind::kDelSlices: return std::get<std::string>(value);
    default: return {};
  }
}

std::string counter_name(std::string_view name) {
  if (name == counter::kNextInode) return "nextinode";
  if (name == counter::kNextChunk) return "nextchunk";
  if (name == counter::kNextSession) return "nextsession";
  return std::string(name);
}

// Redis keeps the last number given out; the records count the next free one.
int64_t counter_base(std::string_view name) { return name == counter::kNextInode || name == counter::kNextChunk; }

std::string lock_field(const LockOwner& owner) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out = std::to_string(owner.sid) + "_";
  for (int shift = 60; shift >= 0; shift -= 4) out += kDigits[owner.owner >> shift & 15];
  return out;
}

bool parse_lock_field(std::string_view field, LockOwner& owner) {
  size_t bar = field.find('_');
  if (bar == field.npos || field.size() - bar - 1 > 16 || field.size() == bar + 1) return false;
  auto sid = parse_uint(field.substr(0, bar));
  if (!sid) return false;
  uint64_t value = 0;
  for (char c : field.substr(bar + 1)) {
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                       : -1;
    if (digit < 0) return false;
    value = value << 4 | static_cast<uint64_t>(digit);
  }
  owner = {*sid, value};
  return true;
}

std::string slice_field(uint64_t id, uint64_t size) { return "k" + std::to_string(id) + "_" + std::to_string(size); }

bool parse_pair(std::string_view text, char between, uint64_t& a, uint64_t& b) {
  size_t at = text.find(between);
  if (at == text.npos) return false;
  auto first = parse_uint(text.substr(0, at)), second = parse_uint(text.substr(at + 1));
  if (!first || !second) return false;
  a = *first;
  b = *second;
  return true;
}

std::string encode_limit(const Quota& quota) {
  std::string out;
  put_be64(out, static_cast<uint64_t>(quota.max_space));
  put_be64(out, static_cast<uint64_t>(quota.max_inodes));
  return out;
}

Result<int64_t> parse_score(std::string_view text) {
  if (auto value = parse_int(text)) return *value;
  std::string copy(text);
  char* end = nullptr;
  double value = std::strtod(copy.c_str(), &end);
  if (copy.empty() || *end != '\0' || !std::isfinite(value) || std::fabs(value) > 9e18)
    return fail(EIO, "a score that is no number");
  return static_cast<int64_t>(value);
}

}  // namespace zest::meta::redis
