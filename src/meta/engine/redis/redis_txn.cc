#include "meta/engine/redis/redis_txn.h"

#include <algorithm>

#include "meta/engine/redis/scripts.h"

namespace zest::meta::redis {

namespace {

std::unexpected<Error> unexpected_reply() { return fail(EPROTO, "Redis: a reply of another type than expected"); }

}  // namespace

Result<Value> RedisTxn::take(const Key& key, std::vector<Raw> raws) {
  ZEST_ASSIGN(auto value, decode(key, raws));
  if (write_) reads_.try_emplace(key, std::move(raws));
  return value;
}

Result<std::vector<Value>> RedisTxn::fetch_plain(std::span<const Want> wants) {
  std::vector<std::vector<Part>> parts;
  std::vector<std::vector<std::string>> commands;
  for (const auto& want : wants) {
    parts.push_back(layout_.parts(want.key));
    for (const auto& part : parts.back()) commands.push_back(read_command(part));
  }
  std::vector<Reply> replies;
  if (commands.size() == 1) {
    ZEST_ASSIGN(auto reply, client_.call(commands[0], Client::Repeat::kSafe));
    replies.push_back(std::move(reply));
  } else {
    ZEST_ASSIGN(replies, client_.atomically(commands, Client::Repeat::kSafe));
  }
  std::vector<Value> values;
  size_t at = 0;
  for (size_t i = 0; i < wants.size(); i++) {
    std::vector<Raw> raws;
    for (const auto& part : parts[i]) {
      ZEST_ASSIGN(auto raw, read_reply(part, replies[at++]));
      raws.push_back(std::move(raw));
    }
    ZEST_ASSIGN(auto value, take(wants[i].key, std::move(raws)));
    values.push_back(std::move(value));
  }
  return values;
}

Result<void> RedisTxn::take_followed(const Want& want, Reply& reply, std::vector<Value>& values,
                                     std::vector<std::pair<Key, Value>>& followed) {
  if (!reply.is_array() || reply.items.size() != 3) return unexpected_reply();
  ZEST_ASSIGN(auto entry_raw, read_reply(layout_.parts(want.key)[0], reply.items[0]));
  ZEST_ASSIGN(auto value, take(want.key, {std::move(entry_raw)}));
  const auto* entry = std::get_if<Entry>(&value);
  if (entry) {
    Key inode = Key::inode(entry->ino);
    ZEST_ASSIGN(auto raw, read_reply(layout_.parts(inode)[0], reply.items[1]));
    ZEST_ASSIGN(auto attr, take(inode, {std::move(raw)}));
    followed.emplace_back(inode, std::move(attr));
    if (want.follow_empty && entry->type == FileType::kDirectory) {
      Key has = Key::has_entries(entry->ino);
      ZEST_ASSIGN(auto count, read_reply(layout_.parts(has)[0], reply.items[2]));
      ZEST_ASSIGN(auto filled, take(has, {std::move(count)}));
      followed.emplace_back(has, std::move(filled));
    }
  }
  values.push_back(std::move(value));
  return {};
}

// Only what is read without being written to is read from the cache: a commit compares what the server said.
Result<std::vector<Value>> RedisTxn::fetch(std::span<const Want> wants, std::vector<std::pair<Key, Value>>& followed) {
  if (wants.empty()) return std::vector<Value>();
  if (write_ && turn_.contended()) turn_.take();
  if (!cache_) return fetch_from_server(wants, followed);
  if (!write_ && !afresh_)
    if (auto found = fetch_from_cache(wants, followed)) return std::move(*found);
  const uint64_t since = cache_->now();
  ZEST_ASSIGN(auto values, fetch_from_server(wants, followed));
  for (size_t i = 0; i < wants.size(); i++) cache_->fetched(wants[i].key, values[i], since);
  for (const auto& [key, value] : followed) cache_->fetched(key, value, since);
  return values;
}

// All of it or nothing.
std::optional<std::vector<Value>> RedisTxn::fetch_from_cache(std::span<const Want> wants,
                                                             std::vector<std::pair<Key, Value>>& followed) {
  std::vector<Value> values;
  for (const auto& want : wants) {
    auto value = cache_->find(want.key);
    if (!value || want.follow_empty) return {};
    if (auto* entry = std::get_if<Entry>(&*value); entry && want.follow) {
      auto attr = cache_->find(Key::inode(entry->ino));
      if (!attr) return {};
      followed.emplace_back(Key::inode(entry->ino), std::move(*attr));
    }
    values.push_back(std::move(*value));
  }
  return values;
}

Result<std::vector<Value>> RedisTxn::fetch_from_server(std::span<const Want> wants,
                                                       std::vector<std::pair<Key, Value>>& followed) {
  auto follows = [](const Want& w) { return w.key.kind == Kind::kEntry && (w.follow || w.follow_empty); };
  if (std::none_of(wants.begin(), wants.end(), follows)) return fetch_plain(wants);
  std::vector<std::string> keys, args{layout_.prefix()};
  std::vector<std::vector<Part>> parts;
  for (const auto& want : wants) {
    parts.push_back(layout_.parts(want.key));
    for (const auto& part : parts.back()) {
      char letter = !follows(want) ? static_cast<char>(part.how) : want.follow_empty ? 'D' : 'F';
      keys.push_back(part.key);
      args.push_back(std::string(1, letter));
      args.push_back(part.field);
    }
  }
  ZEST_ASSIGN(auto reply, client_.eval(read_script(), keys, args, Client::Repeat::kSafe));
  if (!reply.is_array() || reply.items.size() != keys.size()) return unexpected_reply();
  std::vector<Value> values;
  size_t at = 0;
  for (size_t i = 0; i < wants.size(); i++) {
    if (follows(wants[i])) {
      ZEST_TRY(take_followed(wants[i], reply.items[at++], values, followed));
      continue;
    }
    std::vector<Raw> raws;
    for (const auto& part : parts[i]) {
      ZEST_ASSIGN(auto raw, read_reply(part, reply.items[at++]));
      raws.push_back(std::move(raw));
    }
    ZEST_ASSIGN(auto value, take(wants[i].key, std::move(raws)));
    values.push_back(std::move(value));
  }
  return values;
}

bool RedisTxn::assume(std::span<const std::pair<Key, Value>> records) {
  for (const auto& [key, value] : records) {
    Raw raw;
    if (auto* filled = std::get_if<bool>(&value)) {  // kHasEntries
      raw.present = *filled;
    } else if (!std::holds_alternative<std::monostate>(value)) {
      raw.present = true;
      raw.text = *encode_single(key, value);
    }
    reads_.insert_or_assign(key, std::vector<Raw>{std::move(raw)});
  }
  return true;
}

Result<CommitResult> RedisTxn::commit(std::span<const Change> changes) {
  if (changes.empty()) return CommitResult{};
  if (!write_) return fail(EROFS);
  Commit commit(layout_, reads_);
  commit.check_reads();
  for (const auto& change : changes) ZEST_TRY(commit.apply(change));
  commit.finish();
  const uint64_t since = cache_ ? cache_->now() : 0;
  auto result = send(commit);
  if (result && cache_) keep_committed(changes, since);
  if (result) return result;
  if (result.error().fault == Fault::kUnknownOutcome && decides(changes))
    return settle(commit, changes, std::move(result.error()));
  return result;
}

void RedisTxn::keep_committed(std::span<const Change> changes, uint64_t since) {
  std::map<Key, const Value*> last;
  static const Value kAbsent;
  for (const auto& change : changes)
    if (change.op != Change::Op::kLog) last[change.key] = change.op == Change::Op::kDelete ? &kAbsent : &change.value;
  for (const auto& [key, value] : last) {
    std::optional<Value> before;
    if (auto it = reads_.find(key); it != reads_.end())
      if (auto decoded = decode(key, it->second)) before = std::move(*decoded);
    cache_->committed(key, before, *value, since);
  }
}

Result<CommitResult> RedisTxn::send(const Commit& commit) {
  // What was assumed may be what commits under way are going to write, so who comes next can build on this one at once.
  ZEST_ASSIGN(auto reply, commits_.submit(commit, [this] {
    if (!turn_.contended()) turn_.end();
  }));
  if (!reply.is_array() || reply.items.empty() || !reply.items[0].is_integer()) return unexpected_reply();
  if (reply.items[0].integer == 0) {
    // a name that is there, or gone, stands in nobody's way but this transaction's
    const Key* differs = reply.items.size() > 1 ? commit.compared_at(reply.items[1].integer) : nullptr;
    if (!differs || differs->kind != Kind::kEntry) turn_.conflicted();
    return fail(EAGAIN, Fault::kConflict, {});
  }
  return commit.results(std::span(reply.items).subspan(1));
}

// Does the change make a record differ from what this transaction read of it?
bool RedisTxn::differs_from_read(const Change& change) const {
  auto it = reads_.find(change.key);
  if (it == reads_.end()) return false;
  const Raw& old = it->second[0];
  if (change.op == Change::Op::kDelete) return old.present;
  if (change.op != Change::Op::kPut) return false;
  if (auto text = encode_single(change.key, change.value)) return !old.present || old.text != *text;
  if (auto fields = encode_hash(change.key, change.value)) return old.fields != *fields;
  return false;
}

// Can the commit not be applied twice, because its first application changes what the comparison wants to see?
bool RedisTxn::decides(std::span<const Change> changes) const {
  return std::any_of(changes.begin(), changes.end(),
                     [this](const Change& change) { return differs_from_read(change); });
}

// The connection broke before the answer came. The same commit is sent again: when the first one was carried out, the
// comparison fails now, for the first one changed what it compares (decides()); then the records tell whose write it
// was.
Result<CommitResult> RedisTxn::settle(const Commit& commit, std::span<const Change> changes, Error lost) {
  auto again = send(commit);
  if (again) return again;
  if (again.error().fault == Fault::kConflict) {
    ZEST_ASSIGN(bool ours, written_by_us(changes));
    if (ours) return results_afterwards(changes);
  }
  return fail(std::move(lost));
}

// An attribute carries the time of its change to the nanosecond, an entry an inode number given out once: finding one
// exactly as we meant to write it means that we did.
Result<bool> RedisTxn::written_by_us(std::span<const Change> changes) {
  std::vector<Part> parts;
  std::vector<const Change*> written;
  std::vector<std::vector<std::string>> commands;
  for (const auto& change : changes) {
    if (change.op != Change::Op::kPut || !differs_from_read(change)) continue;
    parts.push_back(layout_.parts(change.key)[0]);
    written.push_back(&change);
    commands.push_back(read_command(parts.back()));
  }
  if (commands.empty()) return false;
  auto replies = client_.atomically(commands, Client::Repeat::kSafe);
  if (!replies) return fail(replies.error().code, Fault::kUnknownOutcome, replies.error().what);
  for (size_t i = 0; i < parts.size(); i++) {
    ZEST_ASSIGN(auto raw, read_reply(parts[i], (*replies)[i]));
    if (auto text = encode_single(written[i]->key, written[i]->value)) {
      if (raw.present && raw.text == *text) return true;
    } else if (auto fields = encode_hash(written[i]->key, written[i]->value)) {
      if (raw.fields == *fields) return true;
    }
  }
  return false;
}

Result<CommitResult> RedisTxn::results_afterwards(std::span<const Change> changes) {
  std::vector<std::vector<std::string>> commands;
  std::vector<Key> keys;
  for (const auto& change : changes) {
    if (change.op != Change::Op::kAdd || change.key.kind != Kind::kSliceRef || change.delta >= 0) continue;
    keys.push_back(change.key);
    commands.push_back(read_command(layout_.parts(change.key)[0]));
  }
  CommitResult out;
  if (keys.empty()) return out;
  auto replies = client_.atomically(commands, Client::Repeat::kSafe);
  if (!replies) return out;  // the hourly job finds slices without references
  for (size_t i = 0; i < keys.size(); i++) {
    Part part = layout_.parts(keys[i])[0];
    ZEST_ASSIGN(auto raw, read_reply(part, (*replies)[i]));
    ZEST_ASSIGN(auto value, decode(keys[i], std::span(&raw, 1)));
    if (auto* refs = std::get_if<int64_t>(&value)) out.refs.emplace_back(keys[i], *refs);
  }
  return out;
}

}  // namespace zest::meta::redis
