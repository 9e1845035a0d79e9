#include "meta/engine/kv/kv_txn.h"

#include "base/bytes.h"
#include "meta/engine/kv/layout.h"

namespace zest::meta::kv {
namespace {

constexpr size_t kNoLimit = SIZE_MAX;

}  // namespace

Result<void> KvTxn::load(View& view, std::vector<std::string> keys) {
  std::erase_if(keys, [&](const std::string& key) { return read_.contains(key); });
  if (keys.empty()) return {};
  ZEST_ASSIGN(auto items, view.get(keys));
  for (size_t i = 0; i < keys.size(); i++) read_.try_emplace(std::move(keys[i]), std::move(items[i]));
  return {};
}

Result<std::vector<Pair>> KvTxn::scan(View& view, const std::string& begin, const std::string& end, size_t limit) {
  ZEST_ASSIGN(auto pairs, view.scan(begin, end, limit));
  RangeCheck check{begin, end, limit, {}};
  for (const auto& pair : pairs) check.found.push_back({pair.key, pair.item.version});
  ranges_.push_back(std::move(check));
  return pairs;
}

// A record whose keys are loaded, or one that is a range.
Result<Value> KvTxn::read_value(View& view, const Key& key) {
  Place place = place_of(key);
  if (!place.is_range()) {
    const auto& item = read_.at(place.key);
    if (!item) return Value{};
    // An empty value is what a deleted attribute looks like to some writers.
    if (key.kind == Kind::kInode && item->value.empty()) return Value{};
    ZEST_ASSIGN(auto value, decode_value(key, item->value));
    if (auto* session = std::get_if<SessionRecord>(&value)) {
      if (const auto& info = read_.at(session_info_key(key.a))) session->info = info->value;
    }
    return value;
  }
  ZEST_ASSIGN(auto pairs, scan(view, place.key, place.end, key.kind == Kind::kHasEntries ? 1 : kNoLimit));
  if (key.kind == Kind::kHasEntries) return Value(!pairs.empty());
  if (pairs.empty()) return Value{};
  if (key.kind == Kind::kXattrs) {
    XattrMap all;
    for (auto& pair : pairs) all[pair.key.substr(place.key.size())] = std::move(pair.item.value);
    return Value(std::move(all));
  }
  LinkCounts links;
  for (const auto& pair : pairs) {
    auto link = parse_key(Table::kParentsTable, pair.key);
    if (!link) continue;
    ZEST_ASSIGN(int64_t count, decode_le(pair.item.value));
    if (count > 0) links[Ino{link->b}] = count;
  }
  return Value(std::move(links));
}

Result<std::vector<Value>> KvTxn::fetch(std::span<const Want> wants, std::vector<std::pair<Key, Value>>& followed) {
  ZEST_ASSIGN(auto view, store_.view());
  std::vector<std::string> keys;
  bool follows = false;
  for (const auto& want : wants) {
    Place place = place_of(want.key);
    if (!place.is_range()) keys.push_back(std::move(place.key));
    if (want.key.kind == Kind::kSession) keys.push_back(session_info_key(want.key.a));
    follows |= want.follow || want.follow_empty;
  }
  ZEST_TRY(load(*view, std::move(keys)));
  std::vector<Value> values;
  values.reserve(wants.size());
  for (const auto& want : wants) {
    ZEST_ASSIGN(auto value, read_value(*view, want.key));
    values.push_back(std::move(value));
  }
  if (follows) ZEST_TRY(follow(*view, wants, values, followed));
  return values;
}

Result<void> KvTxn::follow(View& view, std::span<const Want> wants, const std::vector<Value>& values,
                           std::vector<std::pair<Key, Value>>& followed) {
  std::vector<Key> targets;
  std::vector<std::string> keys;
  for (size_t i = 0; i < wants.size(); i++) {
    auto* entry = std::get_if<Entry>(&values[i]);
    if (!entry || !(wants[i].follow || wants[i].follow_empty)) continue;
    targets.push_back(Key::inode(entry->ino));
    keys.push_back(place_of(targets.back()).key);
    if (wants[i].follow_empty && entry->type == FileType::kDirectory) targets.push_back(Key::has_entries(entry->ino));
  }
  ZEST_TRY(load(view, std::move(keys)));
  for (auto& target : targets) {
    ZEST_ASSIGN(auto value, read_value(view, target));
    followed.emplace_back(std::move(target), std::move(value));
  }
  return {};
}

std::optional<std::string> KvTxn::current(const std::string& key) const {
  if (auto it = buffer_.find(key); it != buffer_.end()) return it->second;
  auto it = read_.find(key);
  if (it == read_.end() || !it->second) return {};
  return it->second->value;
}

// What the changes add to must be known first; one round trip for all of it.
Result<void> KvTxn::load_for_commit(View& view, std::span<const Change> changes) {
  std::vector<std::string> keys;
  for (const auto& change : changes) {
    using Op = Change::Op;
    if (change.op != Op::kAdd && change.op != Op::kAppend && change.op != Op::kAppendIfPresent) continue;
    keys.push_back(change.key.kind == Kind::kParents ? link_key(change.key.a, change.ino) : place_of(change.key).key);
  }
  return load(view, std::move(keys));
}

Result<CommitResult> KvTxn::commit(std::span<const Change> changes) {
  CommitResult result;
  if (changes.empty()) return result;
  buffer_.clear();
  {
    ZEST_ASSIGN(auto view, store_.view());
    ZEST_TRY(load_for_commit(*view, changes));
    for (const auto& change : changes) ZEST_TRY(apply(*view, change, result));
  }
  std::vector<Check> checks;
  for (const auto& [key, item] : read_) checks.push_back({key, item ? item->version : 0});
  std::vector<Write> writes;
  for (auto& [key, value] : buffer_) writes.push_back({key, std::move(value)});
  for (const auto& change : changes)
    if (change.op == Change::Op::kLog) writes.push_back({kLogPrefix, std::get<std::string>(change.value), true});
  ZEST_TRY(store_.commit(checks, ranges_, writes));
  return result;
}

Result<void> KvTxn::clear_range(View& view, const std::string& begin, const std::string& end) {
  ZEST_ASSIGN(auto pairs, scan(view, begin, end, kNoLimit));
  for (const auto& pair : pairs) set(pair.key, std::nullopt);
  for (auto it = buffer_.lower_bound(begin); it != buffer_.end() && it->first < end; ++it) it->second.reset();
  return {};
}

Result<void> KvTxn::apply(View& view, const Change& change, CommitResult& result) {
  using Op = Change::Op;
  const Key& key = change.key;
  Place place = place_of(key);
  switch (change.op) {
    case Op::kPut:
      if (key.kind == Kind::kParents) {
        ZEST_TRY(clear_range(view, place.key, place.end));
        for (const auto& [parent, count] : std::get<LinkCounts>(change.value))
          set(link_key(key.a, parent), encode_le(count));
        return {};
      }
      if (place.is_range()) return fail(EINVAL, "this record cannot be written");
      set(place.key, encode_value(key, change.value));
      if (key.kind == Kind::kSession) set(session_info_key(key.a), std::get<SessionRecord>(change.value).info);
      return {};
    case Op::kDelete:
      if (place.is_range()) return clear_range(view, place.key, place.end);
      set(place.key, std::nullopt);
      if (key.kind == Kind::kSession) set(session_info_key(key.a), std::nullopt);
      return {};
    case Op::kAdd: return apply_add(change, result);
    case Op::kAppend:
    case Op::kAppendIfPresent: {
      auto list = current(place.key);
      if (!list && change.op == Op::kAppendIfPresent) return {};
      std::string records = std::move(list).value_or("") + std::get<std::string>(change.value);
      result.chunk_records.emplace_back(key, records.size() / kSliceRecord);
      set(place.key, std::move(records));
      return {};
    }
    case Op::kNewSlice: return {};  // no key is one reference
    case Op::kLog: return {};       // commit() writes them
  }
  return {};
}

Result<void> KvTxn::apply_add(const Change& change, CommitResult& result) {
  const Key& key = change.key;
  if (key.kind == Kind::kParents) {
    std::string link = link_key(key.a, change.ino);
    ZEST_ASSIGN(int64_t count, decode_le(current(link).value_or("")));
    set(link, encode_le(count + change.delta));
    return {};
  }
  std::string place = place_of(key).key;
  auto bytes = current(place);
  if (key.kind == Kind::kCounter) {
    ZEST_ASSIGN(int64_t count, decode_counter(key.name, bytes.value_or("")));
    set(place, encode_counter(key.name, count + change.delta));
    return {};
  }
  if (key.kind == Kind::kSliceRef) {
    ZEST_ASSIGN(int64_t more, decode_le(bytes.value_or("")));
    more += change.delta;
    set(place, encode_le(more));
    if (change.delta < 0) result.refs.emplace_back(key, more + 1);
    return {};
  }
  if (!bytes) {
    result.missing.push_back(key);
    return {};
  }
  ZEST_ASSIGN(auto value, decode_value(key, *bytes));
  if (auto* stat = std::get_if<DirStat>(&value)) {
    *stat += change.stat;
  } else if (auto* quota = std::get_if<Quota>(&value)) {
    quota->used_space += change.stat.space;
    quota->used_inodes += change.stat.inodes;
  } else {
    return fail(EINVAL, "nothing can be added to this record");
  }
  set(place, encode_value(key, value));
  return {};
}

}  // namespace zest::meta::kv
