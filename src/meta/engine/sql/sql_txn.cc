#include "meta/engine/sql/sql_txn.h"

#include <algorithm>
#include <set>

#include "volume/format.h"

namespace zest::meta::sql {
namespace {

bool absent(const Value& value) { return std::holds_alternative<std::monostate>(value); }

Param id(uint64_t v) { return Param::unsigned_integer(v); }

// The id of an ACL rule is its row's serial number: there is no counter row.
bool is_acl_counter(const Key& key) { return key.kind == Kind::kCounter && key.name == counter::kAclMaxId; }

bool is_user_quota(Kind kind) { return kind == Kind::kUserQuota || kind == Kind::kGroupQuota; }

// Records that never change once they are there, or only together with the inode, which is checked.
bool needs_no_check(const Key& key) {
  return key.kind == Kind::kAcl || key.kind == Kind::kSymlink || key.kind == Kind::kParents || is_acl_counter(key);
}

// The settings that a record holds; nothing where it is another one, or cannot be read.
std::optional<Format> settings_in(const Key& key, const Value& value) {
  auto* text = std::get_if<std::string>(&value);
  if (key.kind != Kind::kSetting || !text) return {};
  auto format = parse_format(*text);
  return format ? std::optional(std::move(*format)) : std::nullopt;
}

Result<Value> decode_flocks(const Rows& rows) {
  if (rows.empty()) return Value{};
  FlockMap locks;
  for (size_t i = 0; i < rows.size(); i++) {
    LockOwner owner{static_cast<uint64_t>(rows.integer(i, 1)), static_cast<uint64_t>(rows.integer(i, 2))};
    locks[owner] = static_cast<char>(rows.integer(i, 3));
  }
  return Value(std::move(locks));
}

Result<Value> decode_plocks(const Rows& rows) {
  if (rows.empty()) return Value{};
  PlockMap locks;
  for (size_t i = 0; i < rows.size(); i++) {
    LockOwner owner{static_cast<uint64_t>(rows.integer(i, 1)), static_cast<uint64_t>(rows.integer(i, 2))};
    ZEST_ASSIGN(locks[owner], decode_posix_locks(rows.bytes(i, 3)));
  }
  return Value(std::move(locks));
}

}  // namespace

bool SqlTxn::select(const Want& want, std::vector<Statement>& statements) const {
  const Key& key = want.key;
  auto by_inode = [&](const Text& text) {
    statements.push_back({&text, {id(key.a)}});
    return true;
  };
  switch (key.kind) {
    case Kind::kHasEntries: return by_inode(texts_->has_entries);
    case Kind::kParents: return by_inode(texts_->parents);
    case Kind::kXattrs: return by_inode(texts_->xattrs);
    case Kind::kFlocks: return by_inode(texts_->flocks);
    case Kind::kPlocks: return by_inode(texts_->plocks);
    default: break;
  }
  if (is_user_quota(key.kind) && !texts_->schema.user_quota) return false;
  if (key.kind == Kind::kXattr && !storable_xattr_name(key.name, database_.dialect())) return false;
  if (is_acl_counter(key)) {
    statements.push_back({&texts_->acl_max, {}});
    return true;
  }
  const Text* text = &texts_of(key.kind).select;
  if (want.follow) text = &texts_->follow;
  if (want.follow_empty) text = &texts_->follow_empty;
  statements.push_back({text, key_params(key, database_.dialect())});
  return true;
}

Result<Value> SqlTxn::decode(const Want& want, const Rows& rows, std::vector<std::pair<Key, Value>>& followed) const {
  const bool tier = texts_->schema.tier;
  switch (want.key.kind) {
    case Kind::kHasEntries: return Value(!rows.empty() && rows.integer(0, 0) != 0);
    case Kind::kFlocks: return decode_flocks(rows);
    case Kind::kPlocks: return decode_plocks(rows);
    case Kind::kParents: {
      LinkCounts links;
      for (size_t i = 0; i < rows.size(); i++)
        links[Ino{static_cast<uint64_t>(rows.integer(i, 0))}] = rows.integer(i, 1);
      return links.empty() ? Value{} : Value(std::move(links));
    }
    case Kind::kXattrs: {
      XattrMap all;
      for (size_t i = 0; i < rows.size(); i++) all[rows.bytes(i, 0)] = rows.bytes(i, 1);
      return all.empty() ? Value{} : Value(std::move(all));
    }
    default: break;
  }
  if (rows.empty()) return Value{};
  if (is_acl_counter(want.key) && rows.integer(0, 0) == 0) return Value{};
  ZEST_ASSIGN(auto value, decode_row(want.key, rows, 0, 0, tier));
  if (want.follow || want.follow_empty) {
    const auto& entry = std::get<Entry>(value);
    followed.emplace_back(Key::inode(entry.ino), rows.integer(0, 3) ? Value(decode_node(rows, 0, 4, tier)) : Value{});
    if (want.follow_empty && entry.type == FileType::kDirectory)
      followed.emplace_back(Key::has_entries(entry.ino), rows.integer(0, 2) != 0);
  }
  return value;
}

Result<std::vector<Value>> SqlTxn::fetch(std::span<const Want> wants, std::vector<std::pair<Key, Value>>& followed) {
  std::vector<Value> values(wants.size());
  ZEST_ASSIGN(texts_, database_.texts());
  if (texts_->schema.volume) {
    std::vector<Statement> statements;
    std::vector<size_t> asked;
    for (size_t i = 0; i < wants.size(); i++)
      if (select(wants[i], statements)) asked.push_back(i);
    if (!statements.empty()) {
      ZEST_ASSIGN(auto rows, database_.run(statements, Connection::Mode::kRead));
      for (size_t i = 0; i < asked.size(); i++) {
        ZEST_ASSIGN(values[asked[i]], decode(wants[asked[i]], rows[i], followed));
      }
    }
  }
  // With the settings, which clients read now and then, comes what they may find in the tables from now on.
  for (size_t i = 0; i < wants.size(); i++)
    if (const auto format = settings_in(wants[i].key, values[i]))
      ZEST_TRY(database_.look_for(!format->tiers.empty(), format->user_group_quota, format->change_log));
  if (write_) {
    for (size_t i = 0; i < wants.size(); i++) read_.try_emplace(wants[i].key, values[i]);
    for (const auto& [key, value] : followed) read_.try_emplace(key, value);
  }
  return values;
}

bool SqlTxn::assume(std::span<const std::pair<Key, Value>> records) {
  for (const auto& [key, value] : records) read_.insert_or_assign(key, value);
  return true;
}

Result<void> SqlTxn::fit_schema(std::span<const Change> changes) {
  ZEST_ASSIGN(texts_, database_.texts());
  if (!texts_->schema.volume) return fail(ENOENT, "the database has no tables of a volume");
  bool tier = false, user_quota = false, change_log = false;
  for (const auto& change : changes) {
    if (auto* attr = std::get_if<Attr>(&change.value)) tier |= attr->tier != 0;
    user_quota |= is_user_quota(change.key.kind) && change.op == Change::Op::kPut;
    // With the settings, so that clients that run already find it as soon as they learn of them.
    change_log |= change.op == Change::Op::kLog;
    if (const auto format = settings_in(change.key, change.value)) change_log |= format->change_log;
  }
  if (tier && !texts_->schema.tier) ZEST_TRY(database_.add_tier());
  if (user_quota && !texts_->schema.user_quota) ZEST_TRY(database_.add_user_quota());
  if (change_log && !texts_->schema.change_log) ZEST_TRY(database_.add_change_log());
  ZEST_ASSIGN(texts_, database_.texts());
  return {};
}

// Everything read must still be what it was. In the order of the keys, so that the locks of two transactions cannot
// cross.
Result<void> SqlTxn::plan_checks(std::span<const Change> changes, Plan& plan) const {
  std::set<Key> written, inserted;
  for (const auto& change : changes) {
    if (written.insert(change.key).second && change.op == Change::Op::kPut) inserted.insert(change.key);
    // A list of locks is what it is while its inode stands still.
    if (change.key.kind == Kind::kFlocks || change.key.kind == Kind::kPlocks)
      written.insert({Kind::kInode, change.key.a});
  }
  std::set<uint64_t> locked;  // inodes that have to be held alone, though nothing of theirs was read
  for (const auto& [key, value] : read_) {
    if (key.kind != Kind::kHasEntries && key.kind != Kind::kFlocks && key.kind != Kind::kPlocks) continue;
    written.insert({Kind::kInode, key.a});
    if (!read_.contains({Kind::kInode, key.a})) locked.insert(key.a);
  }
  auto next = locked.begin();
  for (const auto& [key, value] : read_) {
    for (; next != locked.end() && Key{Kind::kInode, *next} < key; ++next) plan.add(texts_->lock_node, {id(*next)});
    ZEST_TRY(plan_check(key, value, written.contains(key), inserted.contains(key), plan));
  }
  return {};
}

Result<void> SqlTxn::plan_check(const Key& key, const Value& value, bool written, bool inserted, Plan& plan) const {
  if (needs_no_check(key)) return {};
  if (key.kind == Kind::kHasEntries) {
    bool filled = std::holds_alternative<bool>(value) && std::get<bool>(value);
    plan.add(filled ? texts_->verify_some_entries : texts_->verify_no_entries, {id(key.a)});
    return {};
  }
  if (!is_one_row(key.kind)) return plan_list_check(key, value, plan);
  if (is_user_quota(key.kind) && !texts_->schema.user_quota) return {};
  if (key.kind == Kind::kXattr && !storable_xattr_name(key.name, database_.dialect())) return {};
  Params params = key_params(key, database_.dialect());
  if (absent(value)) {
    // The unique key refuses a second one; else it must be looked for.
    if (!inserted) plan.add(texts_of(key.kind).verify_absent, std::move(params));
    return {};
  }
  ZEST_TRY(add_value_params(params, key, value, database_.dialect(), texts_->schema));
  plan.add(written ? texts_of(key.kind).verify_exclusive : texts_of(key.kind).verify_shared, std::move(params));
  return {};
}

// A record of many rows: their number, and each of them.
Result<void> SqlTxn::plan_list_check(const Key& key, const Value& value, Plan& plan) const {
  auto count = [&](const Text& text, size_t n) {
    plan.add(text, {Param::integer(static_cast<int64_t>(n)), id(key.a)});
  };
  if (key.kind == Kind::kFlocks) {
    auto* locks = std::get_if<FlockMap>(&value);
    count(texts_->count_flocks, locks ? locks->size() : 0);
    if (!locks) return {};
    for (const auto& [owner, type] : *locks) plan.add(texts_->verify_flock, flock_params(key.a, owner, type));
  } else if (key.kind == Kind::kPlocks) {
    auto* locks = std::get_if<PlockMap>(&value);
    count(texts_->count_plocks, locks ? locks->size() : 0);
    if (!locks) return {};
    for (const auto& [owner, held] : *locks) plan.add(texts_->verify_plock, plock_params(key.a, owner, held));
  } else if (key.kind == Kind::kXattrs) {
    auto* all = std::get_if<XattrMap>(&value);
    count(texts_->count_xattrs, all ? all->size() : 0);
    if (!all) return {};
    for (const auto& [name, content] : *all) {
      Key one{Kind::kXattr, key.a, 0, name};
      Params params = key_params(one, database_.dialect());
      ZEST_TRY(add_value_params(params, one, content, database_.dialect(), texts_->schema));
      plan.add(texts_of(Kind::kXattr).verify_shared, std::move(params));
    }
  }
  return {};
}

Result<void> SqlTxn::plan_put(const Change& change, Plan& plan) {
  const Key& key = change.key;
  if (key.kind == Kind::kParents) return {};  // derived from the entries
  if (key.kind == Kind::kFlocks) {
    plan.add(texts_of(key.kind).remove, {id(key.a)});
    for (const auto& [owner, type] : std::get<FlockMap>(change.value))
      plan.add(texts_->insert_flock, flock_params(key.a, owner, type));
    return {};
  }
  if (key.kind == Kind::kPlocks) {
    plan.add(texts_of(key.kind).remove, {id(key.a)});
    for (const auto& [owner, held] : std::get<PlockMap>(change.value))
      plan.add(texts_->insert_plock, plock_params(key.a, owner, held));
    return {};
  }
  if (is_acl_counter(key)) return {};  // the table of rules tells its highest id itself
  if (!is_one_row(key.kind)) return fail(EINVAL, "this record cannot be written");
  const auto& texts = texts_of(key.kind);
  auto known = present_.find(key);
  Params params;
  if (known != present_.end() && known->second) {
    ZEST_TRY(add_value_params(params, key, change.value, database_.dialect(), texts_->schema));
    if (params.empty()) return {};
    for (auto& p : key_params(key, database_.dialect())) params.push_back(std::move(p));
    plan.add(texts.update, std::move(params));
    return {};
  }
  params = key_params(key, database_.dialect());
  ZEST_TRY(add_value_params(params, key, change.value, database_.dialect(), texts_->schema));
  // An ACL rule gets a row of its own, or none: rules never change.
  bool insert = known != present_.end() || key.kind == Kind::kAcl;
  plan.add(insert ? texts.insert : texts.upsert, std::move(params));
  if (key.kind == Kind::kAcl && database_.dialect() == Dialect::kPostgres) {
    auto table = quoted(Dialect::kPostgres, table_name(database_.config().table_prefix, "acl"));
    plan.add(texts_->acl_bump, {Param::text(std::move(table))});
  }
  return {};
}

Result<void> SqlTxn::plan_add(const Change& change, Plan& plan) {
  const Key& key = change.key;
  auto delta = [](int64_t v) { return Param::integer(v); };
  switch (key.kind) {
    case Kind::kParents: return {};
    case Kind::kCounter:
      if (!is_acl_counter(key))
        plan.add(texts_->add_counter, {Param::text(key.name), delta(change.delta), delta(change.delta)});
      return {};
    case Kind::kSliceRef:
      if (change.delta >= 0) {
        plan.add(texts_->add_ref, {id(key.a), id(key.b), delta(change.delta), delta(change.delta)});
        return {};
      }
      plan.add(texts_->drop_ref, {delta(change.delta), id(key.a), id(key.b)});
      if (database_.dialect() == Dialect::kMysql) plan.add(texts_->read_ref, {id(key.a), id(key.b)});
      plan.answers.back() = {Answer::What::kRefs, key, change.delta};
      return {};
    case Kind::kDirStat:
      plan.add(texts_->add_dir_stat,
               {delta(change.stat.length), delta(change.stat.space), delta(change.stat.inodes), id(key.a)},
               {Answer::What::kStatFound, key});
      return {};
    case Kind::kDirQuota:
      plan.add(texts_->add_dir_quota, {delta(change.stat.space), delta(change.stat.inodes), id(key.a)},
               {Answer::What::kStatFound, key});
      return {};
    case Kind::kUserQuota:
    case Kind::kGroupQuota:
      if (!texts_->schema.user_quota) {
        plan.add(texts_->ping, {}, {Answer::What::kStatFound, key, -1});
        return {};
      }
      plan.add(
          texts_->add_user_quota,
          {delta(change.stat.space), delta(change.stat.inodes), delta(key.kind == Kind::kUserQuota ? 1 : 2), id(key.a)},
          {Answer::What::kStatFound, key});
      return {};
    default: return fail(EINVAL, "nothing can be added to this record");
  }
}

Result<void> SqlTxn::plan_change(const Change& change, Plan& plan) {
  using Op = Change::Op;
  const Key& key = change.key;
  switch (change.op) {
    case Op::kPut:
      ZEST_TRY(plan_put(change, plan));
      present_[key] = true;
      return {};
    case Op::kDelete:
      if (key.kind == Kind::kXattrs)
        std::erase_if(present_, [&](auto& p) { return p.first.kind == Kind::kXattr && p.first.a == key.a; });
      if (key.kind == Kind::kParents || is_acl_counter(key)) return {};
      if (key.kind == Kind::kHasEntries) return fail(EINVAL, "this record cannot be written");
      present_[key] = false;
      if (is_user_quota(key.kind) && !texts_->schema.user_quota) return {};
      plan.add(texts_of(key.kind).remove, key_params(key, database_.dialect()));
      return {};
    case Op::kAdd: present_.erase(key); return plan_add(change, plan);
    case Op::kNewSlice:
      plan.add(texts_of(Kind::kSliceRef).insert, {id(key.a), id(key.b), Param::integer(1)});
      return {};
    case Op::kLog: plan.add(texts_->log, {Param::text(std::get<std::string>(change.value))}); return {};
    case Op::kAppend:
    case Op::kAppendIfPresent: {
      present_.erase(key);
      auto records = Param::blob(std::get<std::string>(change.value));
      if (change.op == Op::kAppend) {
        plan.add(texts_->append, {id(key.a), id(key.b), records, records});
      } else {
        plan.add(texts_->append_if_present, {records, id(key.a), id(key.b)});
      }
      if (database_.dialect() == Dialect::kMysql) plan.add(texts_->chunk_length, {id(key.a), id(key.b)});
      plan.answers.back() = {Answer::What::kChunkLength, key};
      return {};
    }
  }
  return {};
}

CommitResult SqlTxn::collect(const Plan& plan, const std::vector<Rows>& rows) const {
  CommitResult result;
  for (size_t i = 0; i < plan.answers.size(); i++) {
    const auto& answer = plan.answers[i];
    switch (answer.what) {
      case Answer::What::kNothing: break;
      case Answer::What::kRefs:
        result.refs.emplace_back(answer.key, rows[i].empty() ? answer.delta : rows[i].integer(0, 0));
        break;
      case Answer::What::kChunkLength:
        if (!rows[i].empty())
          result.chunk_records.emplace_back(answer.key, static_cast<size_t>(rows[i].integer(0, 0)) / kSliceRecord);
        break;
      case Answer::What::kStatFound:
        if (answer.delta < 0 || rows[i].affected == 0) result.missing.push_back(answer.key);
        break;
    }
  }
  return result;
}

Result<CommitResult> SqlTxn::commit(std::span<const Change> changes) {
  if (changes.empty()) return CommitResult{};
  if (!write_ || database_.config().read_only) return fail(EROFS);
  ZEST_TRY(fit_schema(changes));
  Plan plan;
  ZEST_TRY(plan_checks(changes, plan));
  present_.clear();
  for (const auto& [key, value] : read_) present_[key] = !absent(value);
  for (const auto& change : changes) ZEST_TRY(plan_change(change, plan));
  if (plan.statements.empty()) return CommitResult{};
  auto rows = database_.run(plan.statements, Connection::Mode::kCommit);
  if (!rows) {
    if (rows.error().fault == Fault::kConflict) database_.stripes().lost(hold_);
    return fail(std::move(rows.error()));
  }
  return collect(plan, *rows);
}

}  // namespace zest::meta::sql
