// zestfs config: shows or changes the settings of a volume; clients take them over within a heartbeat.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/log.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/terminal.h"
#include "cli/volume_options.h"

namespace zest::cli {
namespace {

struct ConfigCommand {
  std::vector<std::string> args;
  VolumeOptions volume;
  std::optional<double> upload_limit, download_limit;
  std::optional<std::string> min_version, max_version;
  std::optional<bool> dir_stats, acl, user_group_quota, change_log;
  std::optional<std::string> change_log_max_age;
  std::optional<int64_t> change_log_max_lines;
  std::optional<int> tier;
  bool dir_stats_value = false, user_group_quota_value = false, change_log_value = false, encrypt_secret = false,
       yes = false, force = false;

  int run();
  Result<void> apply(Format& format);
  Result<void> apply_versions(Format& format);
  Result<void> apply_tier(Format& format);
  Result<void> apply_change_log(Format& format);
  Result<bool> accepted(meta::Meta& meta, const Format& old, const Format& changed);
  void changed(const std::string& name, const std::string& from, const std::string& to);
  void changed_secret(const std::string& name);
  void raise_min_client(Format& format, const char* version);
  std::vector<std::string> lines;
  bool storage_changed = false;
};

void ConfigCommand::changed(const std::string& name, const std::string& from, const std::string& to) {
  if (from != to) lines.push_back(fmt::format("{:>10}: {} -> {}", name, from, to));
}

void ConfigCommand::changed_secret(const std::string& name) { lines.push_back(fmt::format("{:>10}: updated", name)); }

Result<void> ConfigCommand::apply(Format& f) {
  auto& o = volume;
  auto set = [&](const char* name, std::string& field, const std::optional<std::string>& value, bool store) {
    if (!value || *value == field) return;
    changed(name, field, *value);
    field = *value;
    storage_changed |= store;
  };
  set("storage", f.storage, o.storage, true);
  if (o.bucket) set("bucket", f.bucket, canonical_bucket(f.storage, *o.bucket), true);
  set("access-key", f.access_key, o.access_key, true);
  auto set_secret = [&](const char* name, std::string& field, const std::optional<std::string>& value) {
    if (!value || *value == field) return;
    changed_secret(name);
    field = *value;
    storage_changed = true;
  };
  set_secret("secret-key", f.secret_key, o.secret_key);
  set_secret("session-token", f.session_token, o.session_token);
  if (tier || o.tag)
    ZEST_TRY(apply_tier(f));
  else
    set("storage-class", f.storage_class, o.storage_class, true);
  if (encrypt_secret && !f.key_encrypted) changed_secret("encrypt-secret");
  bool secrets = !f.secret_key.empty() || !f.session_token.empty() || !f.encrypt_key.empty();
  f.key_encrypted = (f.key_encrypted || encrypt_secret || storage_changed) && secrets;
  auto set_limit = [&](const char* name, int64_t& field, const std::optional<double>& value) {
    if (!value || static_cast<int64_t>(*value) == field) return;
    changed(name, mbps(field), mbps(static_cast<int64_t>(*value)));
    field = static_cast<int64_t>(*value);
  };
  set_limit("upload-limit", f.upload_limit, upload_limit);
  set_limit("download-limit", f.download_limit, download_limit);
  if (o.capacity) {
    ZEST_ASSIGN(uint64_t bytes, parse_bytes(*o.capacity, uint64_t{1} << 30, "capacity"));
    changed("capacity", format_size(f.capacity), format_size(bytes));
    f.capacity = bytes;
  }
  if (o.inodes) {
    changed("inodes", with_commas(f.inodes), with_commas(*o.inodes));
    f.inodes = *o.inodes;
  }
  if (o.trash_days) {
    changed("trash-days", std::to_string(f.trash_days), std::to_string(*o.trash_days));
    f.trash_days = *o.trash_days;
  }
  set("ranger-rest-url", f.ranger_rest_url, o.ranger_rest_url, false);
  set("ranger-service", f.ranger_service, o.ranger_service, false);
  if (o.kerberos_config_file) {
    ZEST_ASSIGN(auto text, read_text_file(*o.kerberos_config_file));
    if (text != f.kerb_conf) lines.push_back("kerberos-config-file: updated");
    f.kerb_conf = text;
    if (!text.empty()) raise_min_client(f, "1.4.0-A");
  }
  auto set_flag = [&](const char* name, bool& field, const std::optional<bool>& value) {
    if (!value) return;
    changed(name, field ? "true" : "false", *value ? "true" : "false");
    field = *value;
  };
  set_flag("dir-stats", f.dir_stats, dir_stats);
  set_flag("user-group-quota", f.user_group_quota, user_group_quota);
  set_flag("changelog", f.change_log, change_log);
  ZEST_TRY(apply_change_log(f));
  if (acl && *acl != f.enable_acl) {
    if (!*acl) return fail(EINVAL, "cannot disable acl");
    changed("enable-acl", "false", "true");
    f.enable_acl = true;
    raise_min_client(f, "1.2.0-A");
  }
  return apply_versions(f);
}

void ConfigCommand::raise_min_client(Format& f, const char* version) {
  if (compare_versions(f.min_client_version, version) >= 0) return;
  changed("min-client-version", f.min_client_version, version);
  f.min_client_version = version;
}

// --tier N with --storage-class and --tag defines what files of that tier get; tier 0 is the volume's default.
Result<void> ConfigCommand::apply_tier(Format& f) {
  int id = tier.value_or(0);
  if (id < 0 || id > 3) return fail(EINVAL, fmt::format("invalid tier {}: 0 to 3", id));
  auto& o = volume;
  if (tier && !o.storage_class && !o.tag) return fail(EINVAL, "--tier needs --storage-class or --tag");
  auto& known = f.tiers.try_emplace(id, Tier{id, id == 0 ? f.storage_class : "", ""}).first->second;
  if (o.storage_class && *o.storage_class != known.storage_class) {
    lines.push_back(fmt::format("set tier {} storage-class: {}", id, *o.storage_class));
    known.storage_class = *o.storage_class;
    if (id == 0) f.storage_class = *o.storage_class;
  }
  if (o.tag) {
    ZEST_ASSIGN(auto tag, parse_tag(*o.tag));
    if (tag != known.tag) lines.push_back(fmt::format("set tier {} tag: {}", id, tag));
    known.tag = tag;
  }
  if (id != 0) raise_min_client(f, "1.4.0-A");
  return {};
}

// "2h0m0s"
std::string go_duration(int64_t seconds) {
  std::string out;
  if (seconds >= 3600) out += fmt::format("{}h", seconds / 3600);
  if (seconds >= 60) out += fmt::format("{}m", seconds % 3600 / 60);
  return out + fmt::format("{}s", seconds % 60);
}

Result<void> ConfigCommand::apply_change_log(Format& f) {
  constexpr int64_t kDefaultAge = 7200;
  std::optional<int64_t> age;
  if (change_log_max_age) {
    auto ms = parse_duration_ms(*change_log_max_age);
    if (!ms || *ms < 0) return fail(EINVAL, fmt::format("invalid changelog-max-age: {}", *change_log_max_age));
    age = *ms / 1000;
  } else if (f.change_log && f.change_log_max_age == 0 && !change_log_max_lines) {
    age = kDefaultAge;
  }
  if (age) {
    changed("changelog-max-age", go_duration(f.change_log_max_age),
            go_duration(*age) + (change_log_max_age ? "" : " (default)"));
    f.change_log_max_age = *age;
  }
  if (change_log_max_lines && *change_log_max_lines < 0)
    return fail(EINVAL, fmt::format("invalid changelog-max-lines: {}", *change_log_max_lines));
  if (change_log_max_lines) {
    changed("changelog-max-lines", std::to_string(f.change_log_max_lines), std::to_string(*change_log_max_lines));
    f.change_log_max_lines = *change_log_max_lines;
  }
  return {};
}

Result<void> ConfigCommand::apply_versions(Format& f) {
  auto set = [&](const char* name, std::string& field, const std::optional<std::string>& value,
                 bool lowering_refused) -> Result<void> {
    if (!value || *value == field) return {};
    bool numeric = !value->empty() && isdigit(static_cast<unsigned char>((*value)[0]));
    if (!value->empty() && !numeric) return fail(EINVAL, "Invalid version string: " + *value);
    if (lowering_refused && !force && compare_versions(*value, field) < 0)
      return fail(EINVAL, fmt::format("cannot lower min-client-version from {} to {}", field, *value));
    changed(name, field, *value);
    field = *value;
    return {};
  };
  ZEST_TRY(set("min-client-version", f.min_client_version, min_version, true));
  return set("max-client-version", f.max_client_version, max_version, false);
}

Result<bool> ConfigCommand::accepted(meta::Meta& meta, const Format& old, const Format& now) {
  if (force) return true;
  auto ask = [&](const std::string& text) {
    warn_user(text);
    return yes || confirm();
  };
  if (storage_changed) ZEST_TRY(check_changed_storage(now));
  ZEST_ASSIGN(auto usage, meta.statfs({}, kRootIno));
  uint64_t used = usage.total_space - usage.avail_space;
  bool small = (now.capacity && now.capacity != old.capacity && used > now.capacity) ||
               (now.inodes && now.inodes != old.inodes && usage.used_inodes > now.inodes);
  if (small && !ask(fmt::format("New quota is too small (used / quota): {} / {} bytes, {} / {} inodes.", used,
                                now.capacity, usage.used_inodes, now.inodes)))
    return false;
  if (now.trash_days == 0 && old.trash_days != 0 &&
      !ask("The current trash will be emptied and future removed files will purged immediately."))
    return false;
  if (old.dir_stats && !now.dir_stats) {
    ZEST_ASSIGN(auto quotas, meta.list_quotas());
    if (!quotas.empty())
      return fail(EINVAL, fmt::format("cannot disable dir stats when there are still {} dir quotas", quotas.size()));
  }
  if (now.min_client_version != old.min_client_version || now.max_client_version != old.max_client_version) {
    if (auto own = check_client_version(now);
        !own && !ask("This client could not open the volume any more: " + own.error().what))
      return false;
    ZEST_ASSIGN(auto sessions, meta.sessions(false));
    std::string refused;
    for (auto& s : sessions) {
      bool old_one = compare_versions(s.info.version, now.min_client_version) < 0;
      bool new_one = !now.max_client_version.empty() && compare_versions(s.info.version, now.max_client_version) > 0;
      if (old_one || new_one)
        refused += fmt::format("\nhost {} pid {} client version error: {}", s.info.host, s.info.pid, s.info.version);
    }
    if (!refused.empty() && !ask("These clients would be refused at their next mount:" + refused)) return false;
  }
  return true;
}

int ConfigCommand::run() {
  auto opened = open_volume(args[0], {});
  if (!opened) return complain("", opened.error());
  auto& meta = **opened;
  Format old = meta.format(), now = old;
  bool anything = volume.storage || volume.bucket || volume.access_key || volume.secret_key || volume.session_token ||
                  volume.storage_class || volume.capacity || volume.inodes || volume.trash_days ||
                  volume.ranger_rest_url || volume.ranger_service || upload_limit || download_limit || min_version ||
                  max_version || dir_stats || acl || encrypt_secret || user_group_quota || change_log ||
                  change_log_max_age || change_log_max_lines || tier || volume.tag || volume.kerberos_config_file;
  if (!anything) {
    fmt::print("{}\n", format_without_secrets(old, 2));
    return 0;
  }
  if (auto applied = apply(now); !applied) return complain("", applied.error());
  if (lines.empty()) {
    fmt::print("Nothing changed.\n");
    return 0;
  }
  auto agreed = accepted(meta, old, now);
  if (!agreed) return complain("", agreed.error());
  if (!*agreed) return complain("Aborted.");
  if (auto saved = meta.change_format(now); !saved) return complain("cannot save the settings", saved.error());
  for (auto& line : lines) fmt::print("{}\n", line);
  return 0;
}

}  // namespace

Runner setup_config(CLI::App& app) {
  auto command = std::make_shared<ConfigCommand>();
  auto* c = command.get();
  positionals(app, c->args, 1, 1);
  add_store_options(app, c->volume);
  app.add_option("--upload-limit", c->upload_limit, "default limit of uploads for all clients, in Mbps")
      ->group("DATA STORAGE");
  app.add_option("--download-limit", c->download_limit, "default limit of downloads for all clients, in Mbps")
      ->group("DATA STORAGE");
  add_management_options(app, c->volume);
  app.add_flag("--encrypt-secret", c->encrypt_secret, "store the secrets encrypted")->group("MANAGEMENT");
  app.add_option("--min-client-version", c->min_version, "oldest client that may open the volume")->group("MANAGEMENT");
  app.add_option("--max-client-version", c->max_version, "newest client that may open the volume")->group("MANAGEMENT");
  auto* dir_stats =
      app.add_flag("--dir-stats", c->dir_stats_value, "keep statistics of directories")->group("MANAGEMENT");
  auto* owners = app.add_flag("--user-group-quota", c->user_group_quota_value, "count the usage of users and groups")
                     ->group("MANAGEMENT");
  auto* change_log = app.add_flag("--changelog", c->change_log_value,
                                  "let other clients keep a log of changes: ours do not, so it takes --force")
                         ->group("MANAGEMENT");
  app.add_option("--changelog-max-age", c->change_log_max_age, "how long it is kept (default: 2h)")
      ->group("MANAGEMENT");
  app.add_option("--changelog-max-lines", c->change_log_max_lines, "entries kept; 0: any number (default: 0)")
      ->group("MANAGEMENT")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--tier", c->tier, "the tier, 0 to 3, that --storage-class and --tag are for")->group("DATA STORAGE");
  auto* acl = app.get_option("--enable-acl");
  app.add_flag("--yes,-y", c->yes, "do not ask");
  app.add_flag("--force", c->force, "skip the checks");
  return [command, dir_stats, acl, owners, change_log] {
    if (dir_stats->count()) command->dir_stats = command->dir_stats_value;
    if (owners->count()) command->user_group_quota = command->user_group_quota_value;
    if (change_log->count()) command->change_log = command->change_log_value;
    if (acl->count()) command->acl = command->volume.enable_acl;
    return command->run();
  };
}

}  // namespace zest::cli
