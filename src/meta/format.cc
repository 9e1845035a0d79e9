// Creating a volume and changing its settings (semantics.md 18; which records a new volume has: docs/format/).
#include <fmt/format.h>

#include "base/log.h"
#include "meta/bulk/owners.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

constexpr char kOldestClient[] = "1.1.0-A";
constexpr size_t kEraseBatch = 40;

Attr root_attr(uint16_t mode, int64_t now_sec) {
  Attr attr;
  attr.type = FileType::kDirectory;
  attr.mode = mode;
  attr.nlink = 2;
  attr.length = 4096;
  attr.parent = kRootIno;
  attr.atime = attr.mtime = attr.ctime = Time{now_sec, 0};
  return attr;
}

// The oldest client that understands what these settings switch on.
const char* needed_client(const Format& format) {
  bool tiers = !format.kerb_conf.empty();
  for (const auto& [id, tier] : format.tiers) tiers |= id != 0;
  if (tiers) return "1.4.0-A";
  if (!format.ranger_rest_url.empty() || !format.ranger_service.empty()) return "1.3.0-A";
  return format.enable_acl ? "1.2.0-A" : kOldestClient;
}

void raise_min_client(Format& format) {
  const char* needed = needed_client(format);
  if (format.min_client_version.empty() || compare_versions(format.min_client_version, needed) < 0)
    format.min_client_version = needed;
}

// What cannot change in a volume that holds data: a text naming the first member that differs, or nothing.
std::string immutable_difference(const Format& old, const Format& now) {
  auto differs = [](const char* what, const auto& a, const auto& b) {
    return a == b ? std::string() : fmt::format("cannot update volume {} from {} to {}", what, a, b);
  };
  auto compression = [](const Format& f) { return f.compression.empty() ? std::string("none") : f.compression; };
  for (auto text : {differs("name", old.name, now.name), differs("block size", old.block_size_kib, now.block_size_kib),
                    differs("compression", compression(old), compression(now)),
                    differs("shards", old.shards, now.shards), differs("hash prefix", old.hash_prefix, now.hash_prefix),
                    differs("meta version", old.meta_version, now.meta_version)})
    if (!text.empty()) return text;
  return {};
}

// What stays as the volume has it, whoever writes the settings.
void keep_stored(const Format& old, Format& now) {
  now.uuid = old.uuid;
  now.unknown = old.unknown;
  if (!old.min_client_version.empty() && now.min_client_version.empty())
    now.min_client_version = old.min_client_version;
}

// Counters that an engine stores for a new volume. Those that are absent read as 0, or as the first id.
void put_counters(const Engine& engine, Txn& txn) {
  const std::string& name = engine.info().name;
  if (name.starts_with("redis")) return;
  txn.put(Key::counter(counter::kNextInode), int64_t{2});
  txn.put(Key::counter(counter::kNextChunk), int64_t{1});
  if (name != "sqlite3" && name != "mysql" && name != "postgres") return;
  for (const char* zero :
       {counter::kNextSession, counter::kUsedSpace, counter::kTotalInodes, counter::kNextCleanupSlices})
    txn.put(Key::counter(zero), int64_t{0});
}

Result<std::optional<Format>> stored_format(Txn& txn) {
  ZEST_ASSIGN(const Value* value, txn.get(Key::setting()));
  const auto* json = std::get_if<std::string>(value);
  if (!json) return std::optional<Format>();
  ZEST_ASSIGN(auto format, parse_format(*json));
  return std::optional(std::move(format));
}

Result<bool> any_dir_quota(Engine& engine) {
  bool any = false;
  ZEST_TRY(engine.scan(Table::kDirQuotas, 0, [&](const Key&, const Value&) {
    any = true;
    return false;
  }));
  return any;
}

// Before statistics are kept again: those from before are out of date.
Result<void> erase_dir_stats(State& state) {
  for (;;) {
    std::vector<Key> batch;
    ZEST_TRY(state.engine->scan(Table::kDirStats, 0, [&](const Key& key, const Value&) {
      batch.push_back(key);
      return batch.size() < kEraseBatch;
    }));
    if (batch.empty()) return {};
    ZEST_TRY(state.run({}, [&](Txn& txn) -> Result<void> {
      for (const Key& key : batch) txn.erase(key);
      return {};
    }));
  }
}

Result<void> put_setting(Txn& txn, const Format& format) {
  ZEST_ASSIGN(std::string json, dump_format(format));
  txn.put(Key::setting(), std::move(json));
  return {};
}

// The trash's root, made when trash is first switched on and never changed after.
Result<void> put_trash_root(Txn& txn, const Format& format, int64_t now_sec) {
  if (format.trash_days <= 0) return {};
  ZEST_ASSIGN(auto trash, txn.attr(kTrashIno));
  if (!trash) txn.put_attr(kTrashIno, root_attr(0555, now_sec));
  return {};
}

// What clients have to count from now on.
void log_switches(State& state, Txn& txn, const Format& old, const Format& now) {
  if (!now.change_log) return;
  auto switched = [&](bool before, bool after, const char* op) {
    if (!before && after) state.change_log.write(txn, state.sid, state.clock.now(), op, {}, {});
  };
  switched(old.dir_stats, now.dir_stats, "INIT_ENABLE_DIRSTATS");
  switched(old.user_group_quota, now.user_group_quota, "INIT_ENABLE_USERGROUPQUOTA");
}

// Writes settings over those of an existing volume; `merge` refuses or completes them.
Result<Format> store_over(State& state, const Format& wanted,
                          const std::function<Result<void>(const Format& old, Format& now)>& merge) {
  ZEST_ASSIGN(const bool quotas, any_dir_quota(*state.engine));
  Format old;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto stored, stored_format(txn));
    if (!stored) return fail(ENOENT, "the database holds no volume");
    old = std::move(*stored);
    return {};
  }));
  Format now = wanted;
  ZEST_TRY(merge(old, now));
  if (old.dir_stats && !now.dir_stats && quotas)
    return fail(EBUSY, "cannot disable dir stats when there are still dir quotas");
  if (!old.dir_stats && now.dir_stats) ZEST_TRY(erase_dir_stats(state));
  ZEST_TRY(state.run({kTrashIno}, [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::setting()}, {Key::inode(kTrashIno)}}));
    ZEST_ASSIGN(auto stored, stored_format(txn));
    if (!stored) return fail(ENOENT, "the database holds no volume");
    now = wanted;
    ZEST_TRY(merge(*stored, now));
    ZEST_TRY(put_trash_root(txn, now, state.clock.now().sec));
    log_switches(state, txn, *stored, now);
    return put_setting(txn, now);
  }));
  const bool scan_owners = !old.user_group_quota && now.user_group_quota;
  state.set_format(now);
  if (scan_owners) ZEST_TRY(recount_owners(state));
  return now;
}

}  // namespace

Result<void> Meta::format(const Format& wanted, bool force) {
  State& state = *state_;
  ZEST_TRY(state.writable());
  if (!valid_volume_name(wanted.name)) return fail(EINVAL, fmt::format("invalid volume name: {}", wanted.name));
  ZEST_TRY(state.engine->prepare());
  bool exists = false;
  Format fresh = wanted;
  raise_min_client(fresh);
  ZEST_TRY(state.run({kRootIno}, [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::setting()}, {Key::inode(kRootIno)}, {Key::inode(kTrashIno)}}));
    ZEST_ASSIGN(const Value* value, txn.get(Key::setting()));
    exists = !std::holds_alternative<std::monostate>(*value);
    if (exists) return {};
    if (fresh.uuid.empty()) return fail(EINVAL, "a new volume needs a UUID");
    const int64_t now = state.clock.now().sec;
    ZEST_TRY(put_trash_root(txn, fresh, now));
    ZEST_TRY(put_setting(txn, fresh));
    txn.put_attr(kRootIno, root_attr(0777, now));
    put_counters(*state.engine, txn);
    return {};
  }));
  if (!exists) {
    state.set_format(fresh);
    return {};
  }
  ZEST_TRY(store_over(state, wanted, [&](const Format& old, Format& now) -> Result<void> {
    if (!force)
      if (auto text = immutable_difference(old, now); !text.empty()) return fail(EEXIST, std::move(text));
    keep_stored(old, now);
    // A second format can only add to what was switched on, and never locks out fewer clients.
    now.enable_acl |= old.enable_acl;
    if (compare_versions(now.min_client_version, old.min_client_version) < 0)
      now.min_client_version = old.min_client_version;
    raise_min_client(now);
    return {};
  }));
  return {};
}

Result<void> Meta::change_format(const Format& wanted) {
  State& state = *state_;
  ZEST_TRY(state.writable());
  ZEST_TRY(store_over(state, wanted, [](const Format& old, Format& now) -> Result<void> {
    if (!now.uuid.empty() && now.uuid != old.uuid)
      return fail(EINVAL, fmt::format("the volume is {}, not {}", old.uuid, now.uuid));
    if (auto text = immutable_difference(old, now); !text.empty()) return fail(EINVAL, std::move(text));
    if (old.enable_acl && !now.enable_acl) return fail(EINVAL, "cannot disable acl");
    keep_stored(old, now);
    if (compare_versions(now.min_client_version, old.min_client_version) < 0)
      return fail(EINVAL, fmt::format("cannot lower min-client-version from {} to {}", old.min_client_version,
                                      now.min_client_version));
    // Not for settings that are as they were: an operator may have allowed older clients on purpose.
    if (needed_client(now) != std::string_view(needed_client(old))) raise_min_client(now);
    return {};
  }));
  return {};
}

Result<void> Meta::reset() {
  ZEST_TRY(state_->writable());
  return state_->engine->reset();
}

}  // namespace zest::meta
