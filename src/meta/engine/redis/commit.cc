#include "meta/engine/redis/commit.h"

#include <set>

#include "meta/engine/redis/client.h"

namespace zest::meta::redis {

namespace {

constexpr size_t kBatch = 500;       // arguments of one command: Lua's unpack has a limit
constexpr size_t kCompareText = 64;  // longer values are compared by their SHA-1

std::string expectation(const Raw& raw) {
  if (!raw.present) return "-";
  return raw.text.size() <= kCompareText ? "=" + raw.text : "#" + sha1_hex(raw.text);
}

std::set<uint64_t> sessions_of(const Value& value) {
  std::set<uint64_t> out;
  if (auto* flocks = std::get_if<FlockMap>(&value))
    for (const auto& [owner, type] : *flocks) out.insert(owner.sid);
  if (auto* plocks = std::get_if<PlockMap>(&value))
    for (const auto& [owner, locks] : *plocks)
      if (!locks.empty()) out.insert(owner.sid);
  return out;
}

}  // namespace

std::optional<std::map<std::string, std::string>> encode_hash(const Key& key, const Value& value) {
  std::map<std::string, std::string> out;
  switch (key.kind) {
    case Kind::kParents:
      for (const auto& [parent, count] : std::get<LinkCounts>(value))
        if (count > 0) out[std::to_string(raw(parent))] = std::to_string(count);
      return out;
    case Kind::kXattrs: return std::get<XattrMap>(value);
    case Kind::kFlocks:
      for (const auto& [owner, type] : std::get<FlockMap>(value)) out[lock_field(owner)] = std::string(1, type);
      return out;
    case Kind::kPlocks:
      for (const auto& [owner, locks] : std::get<PlockMap>(value))
        if (!locks.empty()) out[lock_field(owner)] = encode_posix_locks(locks);
      return out;
    default: return {};
  }
}

const std::string& Commit::index_of(const std::string& key) {
  auto [it, is_new] = index_.try_emplace(key);
  if (is_new) {
    keys_.push_back(key);
    it->second = std::to_string(keys_.size());
  }
  return it->second;
}

void Commit::check_reads() {
  for (const auto& [key, raws] : reads_) {
    auto parts = layout_.parts(key);
    compared_.emplace_back(args_.size(), &key);
    for (size_t i = 0; i < parts.size(); i++) check(parts[i], raws[i]);
  }
}

const Key* Commit::compared_at(int64_t place) const {
  const Key* found = nullptr;
  for (const auto& [begin, key] : compared_)
    if (begin <= place) found = key;
  return found;
}

void Commit::finish() {
  args_[0] = std::to_string(args_.size() - 2);
  args_[1] = std::to_string(keys_.size());
}

void Commit::check(const Part& part, const Raw& raw) {
  args_.push_back(std::string(1, static_cast<char>(part.how)));
  args_.push_back(index_of(part.key));
  if (part.how == Read::kWholeHash) {
    args_.push_back(std::to_string(raw.fields.size()));
    for (const auto& [field, text] : raw.fields) {
      args_.push_back(field);
      args_.push_back(expectation({true, text, {}}));
    }
    return;
  }
  args_.push_back(part.field);
  if (part.how == Read::kCount || part.how == Read::kMember)
    args_.push_back(raw.present ? "1" : "0");
  else
    args_.push_back(expectation(raw));
}

void Commit::command(char letter, std::string_view name, const std::string& key, const std::vector<std::string>& args) {
  args_.push_back(std::string(1, letter));
  args_.push_back(index_of(key));
  args_.push_back(std::to_string(args.size()));
  args_.emplace_back(name);
  args_.insert(args_.end(), args.begin(), args.end());
}

void Commit::set_fields(const std::string& key, const std::map<std::string, std::string>& fields) {
  std::vector<std::string> args;
  for (const auto& [field, text] : fields) {
    args.push_back(field);
    args.push_back(text);
    if (args.size() < kBatch) continue;
    command('C', "HSET", key, args);
    args.clear();
  }
  if (!args.empty()) command('C', "HSET", key, args);
}

Result<void> Commit::apply(const Change& change) {
  using Op = Change::Op;
  switch (change.op) {
    case Op::kPut: return put(change);
    case Op::kDelete: erase(change.key); return {};
    case Op::kAdd: return add(change);
    case Op::kAppend:
    case Op::kAppendIfPresent: push(change, false); return {};
    case Op::kNewSlice: return {};  // no record stands for one reference
    case Op::kLog:
      command('C', "RPUSH", layout_.key("txnLog"), {std::get<std::string>(change.value)});
      command('C', "INCR", layout_.key("txnLastLog"), {});
      return {};
  }
  return {};
}

Result<void> Commit::put(const Change& change) {
  const Key& key = change.key;
  auto parts = layout_.parts(key);
  const Part& part = parts[0];
  switch (key.kind) {
    case Kind::kHasEntries: return fail(EINVAL, "this record cannot be written");
    case Kind::kChunk: push(change, true); return {};
    case Kind::kSustained: command('C', "SADD", part.key, {part.field}); return {};
    case Kind::kDelFile:
    case Kind::kDetached: command('C', "ZADD", part.key, {*encode_single(key, change.value), part.field}); return {};
    case Kind::kSession: {
      const auto& session = std::get<SessionRecord>(change.value);
      command('C', "ZADD", part.key, {std::to_string(session.expire), part.field});
      command('C', "HSET", parts[1].key, {parts[1].field, session.info});
      return {};
    }
    case Kind::kDirStat: {
      const auto& stat = std::get<DirStat>(change.value);
      int64_t numbers[] = {stat.length, stat.space, stat.inodes};
      for (size_t i = 0; i < 3; i++) command('C', "HSET", parts[i].key, {parts[i].field, std::to_string(numbers[i])});
      return {};
    }
    case Kind::kDirQuota:
    case Kind::kUserQuota:
    case Kind::kGroupQuota: {
      const auto& quota = std::get<Quota>(change.value);
      command('C', "HSET", part.key, {part.field, encode_limit(quota)});
      command('C', "HSET", parts[1].key, {parts[1].field, std::to_string(quota.used_space)});
      command('C', "HSET", parts[2].key, {parts[2].field, std::to_string(quota.used_inodes)});
      return {};
    }
    case Kind::kParents:
    case Kind::kXattrs:
    case Kind::kFlocks:
    case Kind::kPlocks:
      command('C', "DEL", part.key, {});
      set_fields(part.key, *encode_hash(key, change.value));
      put_lock_index(key, change.value);
      return {};
    default: break;
  }
  auto text = encode_single(key, change.value);
  if (!text) return fail(EINVAL, "this record cannot be written");
  if (part.how == Read::kGet)
    command('C', "SET", part.key, {*text});
  else
    command('C', "HSET", part.key, {part.field, *text});
  return {};
}

// Each session has a set of the keys it holds locks in: how its locks are found when it is gone. Shared flocks are
// entered too, which the reference omits.
void Commit::put_lock_index(const Key& key, const Value& value) {
  if (key.kind != Kind::kFlocks && key.kind != Kind::kPlocks) return;
  std::string lock_key = layout_.parts(key)[0].key;
  auto now = sessions_of(value);
  std::set<uint64_t> before;
  if (auto it = reads_.find(key); it != reads_.end())
    if (auto old = decode(key, it->second)) before = sessions_of(*old);
  for (uint64_t sid : now) command('C', "SADD", layout_.key("locked", sid), {lock_key});
  for (uint64_t sid : before)
    if (!now.contains(sid)) command('C', "SREM", layout_.key("locked", sid), {lock_key});
}

void Commit::push(const Change& change, bool replace) {
  std::string key = layout_.chunk_key(change.key.a, change.key.b);
  if (replace) command('C', "DEL", key, {});
  const auto& records = std::get<std::string>(change.value);
  const char* name = change.op == Change::Op::kAppendIfPresent ? "RPUSHX" : "RPUSH";
  for (size_t at = 0; at < records.size();) {
    std::vector<std::string> args;
    for (; at < records.size() && args.size() < kBatch; at += kSliceRecord)
      args.push_back(records.substr(at, kSliceRecord));
    bool tell = !replace && at >= records.size();
    command(tell ? 'R' : 'C', name, key, args);
    if (tell) expected_.push_back({Expected::kRecords, change.key});
  }
}

void Commit::erase(const Key& key) {
  for (const Part& part : layout_.parts(key)) {
    switch (part.how) {
      case Read::kField: command('C', "HDEL", part.key, {part.field}); break;
      case Read::kScore: command('C', "ZREM", part.key, {part.field}); break;
      case Read::kMember: command('C', "SREM", part.key, {part.field}); break;
      default: command('C', "DEL", part.key, {});
    }
  }
  put_lock_index(key, Value{});
}

Result<void> Commit::add(const Change& change) {
  const Key& key = change.key;
  auto parts = layout_.parts(key);
  switch (key.kind) {
    case Kind::kCounter: command('C', "INCRBY", parts[0].key, {std::to_string(change.delta)}); return {};
    case Kind::kSliceRef:
      command(change.delta < 0 ? 'R' : 'C', "HINCRBY", parts[0].key, {parts[0].field, std::to_string(change.delta)});
      if (change.delta < 0) expected_.push_back({Expected::kRef, key});
      return {};
    case Kind::kParents:
      command('C', "HINCRBY", parts[0].key, {std::to_string(raw(change.ino)), std::to_string(change.delta)});
      return {};
    case Kind::kDirStat:
      add_fields(key, parts[1],
                 {{parts[0], change.stat.length}, {parts[1], change.stat.space}, {parts[2], change.stat.inodes}});
      return {};
    case Kind::kDirQuota:
    case Kind::kUserQuota:
    case Kind::kGroupQuota:
      add_fields(key, parts[0], {{parts[1], change.stat.space}, {parts[2], change.stat.inodes}});
      return {};
    default: return fail(EINVAL, "nothing can be added to this record");
  }
}

void Commit::add_fields(const Key& key, const Part& exists, const std::vector<std::pair<Part, int64_t>>& deltas) {
  args_.push_back("X");
  args_.push_back(index_of(exists.key));
  args_.push_back(exists.field);
  size_t skip = args_.size();
  args_.emplace_back();
  for (const auto& [part, delta] : deltas)
    if (delta != 0) command('C', "HINCRBY", part.key, {part.field, std::to_string(delta)});
  args_[skip] = std::to_string(args_.size() - skip - 1);
  expected_.push_back({Expected::kExists, key});
}

Result<CommitResult> Commit::results(std::span<const Reply> results) const {
  if (results.size() != expected_.size()) return fail(EPROTO, "Redis: unexpected results of a commit");
  CommitResult out;
  for (size_t i = 0; i < results.size(); i++) {
    if (!results[i].is_integer()) return fail(EPROTO, "Redis: unexpected result of a commit");
    int64_t value = results[i].integer;
    const Key& key = expected_[i].key;
    switch (expected_[i].what) {
      case Expected::kRef: out.refs.emplace_back(key, value + 1); break;
      case Expected::kRecords:
        if (value > 0) out.chunk_records.emplace_back(key, static_cast<size_t>(value));
        break;
      case Expected::kExists:
        if (value == 0) out.missing.push_back(key);
        break;
    }
  }
  return out;
}

}  // namespace zest::meta::redis
