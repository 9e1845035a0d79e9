#include "cli/mount_options.h"

#include <fmt/format.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/volume_options.h"

namespace zest::cli {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// Options that hold a text: name, where it goes, what it is for.
struct TextOption {
  const char* name;
  std::string MountOptions::*at;
  const char* help;
};
struct FlagOption {
  const char* name;
  bool MountOptions::*at;
  const char* help;
};
struct IntOption {
  const char* name;
  int MountOptions::*at;
  const char* help;
};
using M = MountOptions;

struct Group {
  const char* title;
  std::vector<TextOption> texts;
  std::vector<FlagOption> flags;
  std::vector<IntOption> ints;
};

const std::vector<Group>& groups() {
  static const std::vector<Group> all = {
      {"Options",
       {{"--log", &M::log_file, "log file of a background mount (/var/log/zestfs.log, ~/.juicefs/zestfs.log)"}},
       {{"-d,--background", &M::background, "run in the background"},
        {"--no-syslog", &M::no_syslog, "no system log"},
        {"--force", &M::force, "mount even where a volume is mounted already"},
        {"--update-fstab", &M::update_fstab, "add or update the line of this mount in /etc/fstab"},
        {"--disable-transparent-hugepage", &M::no_huge_pages, "keep huge pages out of the process"},
        {"--hide-internal", &M::hide_internal, "do not list .accesslog, .stats, ..."}},
       {}},
      {"FUSE",
       {{"--root-squash", &M::root_squash, "UID:GID that root becomes"},
        {"--all-squash", &M::all_squash, "UID:GID that everybody becomes"},
        {"--max-fuse-io", &M::max_fuse_io, "largest request, in bytes"},
        {"--umask", &M::umask, "umask for all users, octal"},
        {"--watchdog", &M::watchdog,
         "restart a mount process that so long takes no request though some wait; 0: never"}},
       {{"--enable-xattr", &M::enable_xattr, "extended attributes"},
        {"--enable-cap", &M::enable_cap, "the xattr security.capability"},
        {"--enable-selinux", &M::enable_selinux, "the xattr security.selinux"},
        {"--enable-whiteout", &M::enable_whiteout, "RENAME_WHITEOUT, which overlayfs needs of its upper layer"},
        {"--enable-ioctl", &M::enable_ioctl, "chattr and lsattr"},
        {"--prefix-internal", &M::prefix_internal, "name the virtual files .jfs.stats, ..."}},
       {}},
      {"META",
       {{"--subdir", &M::subdir, "mount this directory of the volume; made if it is not there"},
        {"--backup-meta", &M::backup_meta, "interval of metadata backups, 0: none"},
        {"--heartbeat", &M::heartbeat, "interval of heartbeats"},
        {"--atime-mode", &M::atime_mode, "noatime, relatime, strictatime"},
        {"--skip-dir-mtime", &M::skip_dir_mtime, "leave the mtime of a directory that changed less than this ago"},
        {"--network-interfaces", &M::network_interfaces, "interfaces whose addresses the session tells"}},
       {{"--backup-skip-trash", &M::backup_skip_trash, "leave the trash out of backups"},
        {"--read-only", &M::read_only, "change nothing"},
        {"--no-bgjob", &M::no_background_jobs, "no background jobs (clean-up, backup)"},
        {"--sort-dir", &M::sort_dir, "list directories in the order of names"},
        {"--fast-statfs", &M::fast_statfs, "answer df from what is known here"}},
       {{"--skip-dir-nlink", &M::skip_dir_nlink, "retries after which nlink of a directory is left (TKV only)"}}},
      {"META CACHE",
       {{"--attr-cache", &M::attr_cache, "how long the kernel keeps attributes"},
        {"--entry-cache", &M::entry_cache, "how long it keeps names of files"},
        {"--dir-entry-cache", &M::dir_entry_cache, "how long it keeps names of directories"},
        {"--negative-entry-cache", &M::negative_entry_cache, "how long it remembers that a name is not there"},
        {"--open-cache", &M::open_cache, "reuse attributes of opened files this long; 0: ask at every open"}},
       {{"--readdir-cache", &M::readdir_cache, "let the kernel cache listings"}},
       {}},
      {"DATA STORAGE",
       {{"--get-timeout", &M::get_timeout, "timeout of a download"},
        {"--put-timeout", &M::put_timeout, "timeout of an upload"},
        {"--upload-limit", &M::upload_limit, "bandwidth of uploads in Mbps"},
        {"--download-limit", &M::download_limit, "bandwidth of downloads in Mbps"}},
       {{"--check-storage", &M::check_storage, "test the storage first"}},
       {{"--io-retries", &M::io_retries, "retries after network failures"},
        {"--max-uploads", &M::max_uploads, "uploads at once"},
        {"--max-downloads", &M::max_downloads, "downloads at once"},
        {"--max-stage-write", &M::max_stage_write, "staged blocks written at once"},
        {"--max-deletes", &M::max_deletes, "threads that delete objects; 0: never"}}},
      {"DATA CACHE",
       {{"--buffer-size", &M::buffer_size, "memory for reading and writing, in MiB"},
        {"--max-readahead", &M::max_readahead, "most read-ahead of a stream, in MiB (16 blocks)"},
        {"--writeback-threshold-size", &M::writeback_threshold, "stage only smaller blocks; 0: all"},
        {"--upload-delay", &M::upload_delay, "how long staged blocks wait before their upload"},
        {"--upload-hours", &M::upload_hours, "hours of the day for uploads of staged blocks, as 0,6 or 22-4"},
        {"--cache-mode", &M::cache_mode, "permissions of cached blocks"},
        {"--cache-size", &M::cache_size, "size of the cache, in MiB"},
        {"--verify-cache-checksum", &M::verify_checksum, "none, full, shrink, extend"},
        {"--cache-eviction", &M::eviction, "2-random, lru, none"},
        {"--cache-scan-interval", &M::scan_interval, "interval of scans of the cache directories"},
        {"--cache-expire", &M::cache_expire, "drop blocks that were not used this long; 0: never"}},
       {{"--writeback", &M::writeback, "upload in the background: data is at the mercy of this disk until then"},
        {"--cache-partial-only", &M::cache_partial_only, "cache only small reads and short blocks"},
        {"--cache-large-write", &M::cache_large_write, "cache whole blocks when they are written"}},
       {{"--prefetch", &M::prefetch, "blocks fetched ahead at once"}}},
      {"METRICS",
       {{"--metrics", &M::metrics, "address of the metrics"},
        {"--custom-labels", &M::custom_labels, "labels of the metrics, as key:value;key:value"},
        {"--consul", &M::consul, "address of the consul server"},
        {"--push-gateway", &M::push_gateway, "address of a Prometheus push gateway"},
        {"--push-auth", &M::push_auth, "USER:PASSWORD of the push gateway"},
        {"--push-graphite", &M::push_graphite, "HOST:PORT of Graphite"},
        {"--push-interval", &M::push_interval, "interval of pushes"},
        {"--push-labels", &M::push_labels, "more labels of what is pushed, as key:value;key:value"},
        {"--slow-op", &M::slow_op, "log where the time of operations over this limit went; 0: none"}},
       {{"--no-usage-report", &M::no_usage_report, "accepted: there is no usage report"}},
       {}},
  };
  return all;
}

int64_t duration_ms(const std::string& text, const char* flag) {
  if (text.empty()) return 0;
  if (auto ms = parse_duration_ms(text)) return *ms;
  log_warning(fmt::format("invalid duration \"{}\" for {}: taken as 0", text, flag));
  return 0;
}

// "100", "1.5G": Mbit a second, in bytes a second.
Result<int64_t> bandwidth(std::string text, const char* flag) {
  double unit = 1;
  if (!text.empty() && std::isalpha(static_cast<unsigned char>(text.back()))) {
    switch (std::toupper(static_cast<unsigned char>(text.back()))) {
      case 'M': unit = 1; break;
      case 'G': unit = 1e3; break;
      case 'T': unit = 1e6; break;
      case 'P': unit = 1e9; break;
      default: return fail(EINVAL, fmt::format("Invalid value \"{}\" for \"{}\": invalid unit", text, flag));
    }
    text.pop_back();
  }
  char* end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end || value < 0 || !std::isfinite(value))
    return fail(EINVAL, fmt::format("Invalid value \"{}\" for \"{}\": no number", text, flag));
  return static_cast<int64_t>(value * unit * 1e6 / 8);
}

Result<uint32_t> octal(const std::string& text, const char* flag) {
  char* end = nullptr;
  auto value = std::strtoul(text.c_str(), &end, 8);
  if (text.empty() || *end || value > 07777)
    return fail(EINVAL, fmt::format("invalid {}: {} is no octal mode", flag, text));
  return static_cast<uint32_t>(value);
}

// "UID:GID"; a part that is missing or 0 becomes nobody: nothing is mapped to root.
fuse::Identity identity(const std::string& text, const char* flag) {
  fuse::Identity out{65534, 65534};
  if (auto* user = getpwnam("nobody")) out.uid = user->pw_uid;
  if (auto* group = getgrnam("nogroup")) out.gid = group->gr_gid;
  auto colon = text.find(':');
  auto take = [&](std::string_view part, uint32_t& into) {
    auto number = parse_uint(part);
    if (number && *number > 0 && *number < UINT32_MAX)
      into = static_cast<uint32_t>(*number);
    else if (!part.empty())
      log_warning(fmt::format("{}: \"{}\" is replaced by {}", flag, part, into));
  };
  std::string_view view = text;
  take(view.substr(0, colon), out.uid);
  if (colon != std::string::npos) take(view.substr(colon + 1), out.gid);
  return out;
}

std::vector<std::string> split(const std::string& text, const char* separators) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    auto end = std::min(text.find_first_of(separators, at), text.size());
    if (end > at) out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

std::string home() {
  const char* dir = getenv("HOME");
  return dir ? dir : "/tmp";
}

std::vector<std::string> cache_dirs(const std::vector<std::string>& given) {
  std::vector<std::string> patterns, out;
  for (auto& text : given)
    for (auto& part : split(text, ":,")) patterns.push_back(part);
  if (patterns.empty()) patterns.push_back(getuid() == 0 ? "/var/jfsCache" : home() + "/.juicefs/cache");
  for (auto& pattern : patterns) {
    if (pattern == "memory") {
      out.push_back(pattern);
      continue;
    }
    auto path = std::filesystem::absolute(pattern).lexically_normal().string();
    glob_t found{};
    if (path.find_first_of("*?[") != std::string::npos && glob(path.c_str(), 0, nullptr, &found) == 0) {
      for (size_t i = 0; i < found.gl_pathc; i++) out.emplace_back(found.gl_pathv[i]);
    } else {
      out.push_back(path);
    }
    globfree(&found);
  }
  return out;
}

// A directory's attributes after a change of our own, a file's after its opening: much less than the kernel would keep
// them.
constexpr int64_t kOwnViewMs = 50;

Result<void> resolve_meta(const MountOptions& o, MountSettings& s) {
  auto& m = s.meta;
  m.read_only = o.read_only;
  m.subdir = o.subdir;
  m.heartbeat_ms = duration_ms(o.heartbeat, "--heartbeat");
  if (m.heartbeat_ms > 0) m.heartbeat_ms = std::clamp<int64_t>(m.heartbeat_ms, 1000, 600'000);
  m.skip_dir_mtime_ms = duration_ms(o.skip_dir_mtime, "--skip-dir-mtime");
  m.skip_dir_nlink = o.skip_dir_nlink;
  m.open_cache_ms = duration_ms(o.open_cache, "--open-cache");
  m.open_cache_limit = o.open_cache_limit;
  m.own_view_ms = std::min(kOwnViewMs, duration_ms(o.attr_cache, "--attr-cache"));
  m.max_deletes = o.max_deletes;
  m.io_retries = o.io_retries;
  m.no_background_jobs = o.no_background_jobs;
  m.fast_statfs = o.fast_statfs;
  m.sort_dir = o.sort_dir;
  m.mount_point = s.mount_point;
  if (o.atime_mode == "relatime")
    m.atime = meta::AtimeMode::kRelatime;
  else if (o.atime_mode == "strictatime")
    m.atime = meta::AtimeMode::kStrictAtime;
  else if (o.atime_mode != "noatime")
    log_warning(fmt::format("unknown atime mode \"{}\": noatime is used", o.atime_mode));
  return {};
}

Result<void> resolve_hours(const MountOptions& o, data::DataOptions& d) {
  if (o.upload_hours.empty()) return {};
  auto parts = split(o.upload_hours, ",-");
  const int64_t from = parts.size() == 2 ? parse_int(parts[0]).value_or(-1) : -1;
  const int64_t to = parts.size() == 2 ? parse_int(parts[1]).value_or(-1) : -1;
  if (from < 0 || from > 23 || to < 0 || to > 23) {
    log_warning(fmt::format("unusable upload hours \"{}\": ignored", o.upload_hours));
    return {};
  }
  d.upload_from_hour = static_cast<int>(from);
  d.upload_to_hour = static_cast<int>(to);
  return {};
}

Result<void> resolve_data(const MountOptions& o, MountSettings& s) {
  auto& d = s.data;
  ZEST_ASSIGN(d.buffer_size, parse_bytes(o.buffer_size, kMiB, "buffer-size"));
  d.buffer_size = std::max<uint64_t>(d.buffer_size, 32 * kMiB);
  if (!o.max_readahead.empty()) {
    ZEST_ASSIGN(d.max_readahead, parse_bytes(o.max_readahead, kMiB, "max-readahead"));
    d.readahead_off = d.max_readahead == 0;
  }
  d.prefetch = o.prefetch;
  d.max_uploads = std::max(1, o.max_uploads);
  d.max_downloads = std::max(1, o.max_downloads);
  d.io_retries = std::max(0, o.io_retries);
  d.put_timeout_ms = static_cast<int>(std::max<int64_t>(1, duration_ms(o.put_timeout, "--put-timeout")));
  d.get_timeout_ms = static_cast<int>(std::max<int64_t>(1, duration_ms(o.get_timeout, "--get-timeout")));
  d.read_only = o.read_only;
  d.writeback = o.writeback;
  d.upload_delay_ms = duration_ms(o.upload_delay, "--upload-delay");
  ZEST_TRY(resolve_hours(o, d));
  d.max_stage_write = o.max_stage_write;
  ZEST_ASSIGN(d.writeback_threshold, parse_bytes(o.writeback_threshold, 1, "writeback-threshold-size"));
  auto& c = d.cache;
  c.dirs = cache_dirs(o.cache_dirs);
  ZEST_ASSIGN(c.size_bytes, parse_bytes(o.cache_size, kMiB, "cache-size"));
  c.items = o.cache_items;
  c.free_space_ratio = o.free_space_ratio;
  if (c.free_space_ratio < 0 || c.free_space_ratio >= 1)
    return fail(EINVAL, fmt::format("invalid free-space-ratio: {}", c.free_space_ratio));
  c.eviction = o.eviction;
  if (c.eviction != "none" && c.eviction != "2-random" && c.eviction != "lru")
    return fail(EINVAL, fmt::format("invalid cache-eviction: {}: 2-random, lru or none", c.eviction));
  c.partial_only = o.cache_partial_only;
  c.large_write = o.cache_large_write;
  c.verify_checksum = o.verify_checksum;
  if (c.verify_checksum != "none" && c.verify_checksum != "full" && c.verify_checksum != "shrink" &&
      c.verify_checksum != "extend")
    return fail(EINVAL,
                fmt::format("invalid verify-cache-checksum: {}: none, full, shrink or extend", c.verify_checksum));
  c.expire_ms = duration_ms(o.cache_expire, "--cache-expire");
  if (c.expire_ms > 0 && c.expire_ms < 1000) {
    log_warning("cache-expire is too short: 1 s is used");
    c.expire_ms = 1000;
  }
  c.scan_interval_ms = duration_ms(o.scan_interval, "--cache-scan-interval");
  ZEST_ASSIGN(c.mode, octal(o.cache_mode, "cache-mode"));
  s.store.put_timeout_ms = d.put_timeout_ms;
  s.store.get_timeout_ms = d.get_timeout_ms;
  s.storage = o.storage, s.bucket = o.bucket, s.storage_class = o.storage_class, s.tag = o.tag;
  if (!o.upload_limit.empty()) {
    ZEST_ASSIGN(s.upload_limit, bandwidth(o.upload_limit, "upload-limit"));
  }
  if (!o.download_limit.empty()) {
    ZEST_ASSIGN(s.download_limit, bandwidth(o.download_limit, "download-limit"));
  }
  s.check_storage = o.check_storage;
  return {};
}

// What -o holds: some items are ours, the rest goes to libfuse and the kernel.
void resolve_fuse_list(const MountOptions& o, MountSettings& s) {
  bool root = getuid() == 0;
  s.fuse.allow_other = root;
  for (auto& list : o.fuse_options)
    for (auto& item : split(list, ",")) {
      s.fs.fuse_options.push_back(item);
      if (item == "allow_other")
        s.fuse.allow_other = true;
      else if (item == "ro")
        s.meta.read_only = s.data.read_only = true;  // the kernel's mount stays writable
      else if (item == "writeback_cache")
        s.fuse.writeback_cache = true;
      else if (item == "async_dio")
        s.fuse.async_dio = true;
      else if (item == "nonempty" || item == "rw" || item.starts_with("fsname=") || item.starts_with("subtype="))
        continue;
      else
        s.fuse.mount_options.push_back(item);
    }
}

Result<void> resolve_fuse(const MountOptions& o, MountSettings& s) {
  auto& f = s.fuse;
  resolve_fuse_list(o, s);
  s.watchdog_ms = duration_ms(o.watchdog, "--watchdog");
  f.mount_point = s.mount_point;
  f.enable_xattr = o.enable_xattr;
  f.enable_ioctl = o.enable_ioctl;
  f.readdir_cache = o.readdir_cache;
  ZEST_ASSIGN(uint64_t max_io, parse_bytes(o.max_fuse_io, 1, "max-fuse-io"));
  f.max_io = static_cast<uint32_t>(std::clamp<uint64_t>(max_io, 4096, kMiB));
  f.attr_timeout_ms = duration_ms(o.attr_cache, "--attr-cache");
  f.entry_timeout_ms = duration_ms(o.entry_cache, "--entry-cache");
  f.dir_entry_timeout_ms = duration_ms(o.dir_entry_cache, "--dir-entry-cache");
  f.negative_timeout_ms = duration_ms(o.negative_entry_cache, "--negative-entry-cache");
  if (!o.all_squash.empty())
    f.all_squash = identity(o.all_squash, "--all-squash");
  else if (!o.root_squash.empty())
    f.root_squash = identity(o.root_squash, "--root-squash");
  f.default_permissions = !f.all_squash && !o.non_default_permission;
  // A name that the kernel keeps is there for all users, also for those who may not search its directory.
  if (o.non_default_permission && !f.all_squash && f.allow_other) {
    if (!o.entry_cache_given) f.entry_timeout_ms = 0;
    if (!o.dir_entry_cache_given) f.dir_entry_timeout_ms = 0;
    if (f.entry_timeout_ms > 0 || f.dir_entry_timeout_ms > 0)
      log_warning(
          "--non-default-permission with --entry-cache or --dir-entry-cache: for that long, users can reach what "
          "another user looked up in a directory that they may not search");
  }
  if (!o.umask.empty()) {
    ZEST_ASSIGN(uint32_t mask, octal(o.umask, "umask"));
    f.umask = static_cast<uint16_t>(mask & 0777);
  }
  return {};
}

// "key:value;key:value"
Result<std::vector<std::pair<std::string, std::string>>> parse_labels(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> out;
  for (auto& label : split(text, ";")) {
    auto colon = label.find(':');
    auto name = label.substr(0, colon);
    bool usable = colon != std::string::npos && label.find(':', colon + 1) == std::string::npos && !name.empty() &&
                  !std::isdigit(static_cast<unsigned char>(name[0]));
    for (unsigned char c : name) usable = usable && (std::isalnum(c) || c == '_');
    if (!usable) return fail(EINVAL, fmt::format("invalid label format: {}", text));
    if (name == "mp" || name == "vol_name" || name == "instance")
      log_warning(fmt::format("the label {} of the metrics is replaced", name));
    out.emplace_back(name, label.substr(colon + 1));
  }
  return out;
}

Result<void> resolve_metrics(const MountOptions& o, MountSettings& s) {
  s.metrics = o.metrics;
  s.metrics_given = o.metrics_given;
  if (o.consul_given) s.consul = o.consul;
  ZEST_ASSIGN(s.labels, parse_labels(o.custom_labels));
  ZEST_ASSIGN(s.push_labels, parse_labels(o.push_labels));
  s.push.gateway = o.push_gateway;
  s.push.auth = o.push_auth;
  s.push.graphite = o.push_graphite;
  s.push.interval_ms = std::max<int64_t>(duration_ms(o.push_interval, "--push-interval"), 1000);
  return {};
}

Result<void> resolve_fs(const MountOptions& o, MountSettings& s) {
  auto& f = s.fs;
  f.prefix_internal = o.prefix_internal;
  f.hide_internal = o.hide_internal;
  f.enable_cap = o.enable_cap;
  f.enable_selinux = o.enable_selinux;
  f.enable_whiteout = o.enable_whiteout;
  f.read_write_only = f.writeback_cache = s.fuse.writeback_cache;
  f.owner_uid = getuid(), f.owner_gid = getgid();
  f.attr_timeout_ms = s.fuse.attr_timeout_ms;
  f.entry_timeout_ms = s.fuse.entry_timeout_ms;
  f.dir_entry_timeout_ms = s.fuse.dir_entry_timeout_ms;
  f.negative_timeout_ms = s.fuse.negative_timeout_ms;
  f.readdir_cache = o.readdir_cache;
  f.backup_meta_ms = duration_ms(o.backup_meta, "--backup-meta");
  const char* unchecked = getenv("SKIP_BACKUP_META_CHECK");
  if (f.backup_meta_ms > 0 && f.backup_meta_ms < 300'000 && (!unchecked || std::string_view(unchecked) != "true"))
    return fail(EINVAL, fmt::format("backup-meta should not be less than 5 minutes: {}", o.backup_meta));
  f.backup_skip_trash = o.backup_skip_trash;
  f.slow_op_ms = duration_ms(o.slow_op, "--slow-op");
  auto text = [](const fuse::Identity& id) { return fmt::format("{}:{}", id.uid, id.gid); };
  if (s.fuse.root_squash) f.root_squash = text(*s.fuse.root_squash);
  if (s.fuse.all_squash) f.all_squash = text(*s.fuse.all_squash);
  f.umask = s.fuse.umask;
  f.non_default_permission = o.non_default_permission;
  f.max_write = s.fuse.max_io;
  f.enable_xattr = o.enable_xattr, f.enable_ioctl = o.enable_ioctl;
  f.allow_other = s.fuse.allow_other;
  return resolve_metrics(o, s);
}

}  // namespace

static void add_group(CLI::App& app, MountOptions& o, const Group& group) {
  for (auto& option : group.texts)
    app.add_option(option.name, o.*option.at, option.help)->group(group.title)->capture_default_str();
  for (auto& option : group.flags) app.add_flag(option.name, o.*option.at, option.help)->group(group.title);
  for (auto& option : group.ints)
    app.add_option(option.name, o.*option.at, option.help)->group(group.title)->capture_default_str();
}

// Of the front end, not of a client as such.
static bool is_of_mount(const Group& group) {
  return std::string_view(group.title) == "Options" || std::string_view(group.title) == "FUSE";
}

void add_mount_options(CLI::App& app, MountOptions& o) {
  for (auto& group : groups())
    if (is_of_mount(group)) add_group(app, o, group);
  app.add_flag("-f,--foreground", o.foreground)->group("");
  app.add_flag("--non-default-permission", o.non_default_permission)->group("");
  app.add_option("-o", o.fuse_options, "options of FUSE, as allow_other,writeback_cache,debug")
      ->group("FUSE")
      ->allow_extra_args(false);
  add_client_options(app, o);
}

void add_client_options(CLI::App& app, MountOptions& o) {
  for (auto& group : groups())
    if (!is_of_mount(group)) add_group(app, o, group);
  app.get_option("--entry-cache")->each([&o](const std::string&) { o.entry_cache_given = true; });
  app.get_option("--dir-entry-cache")->each([&o](const std::string&) { o.dir_entry_cache_given = true; });
  app.get_option("--metrics")->each([&o](const std::string&) { o.metrics_given = true; });
  app.get_option("--consul")->each([&o](const std::string&) { o.consul_given = true; });
  app.add_option("--open-cache-limit", o.open_cache_limit, "files in the open cache; 0: any number")
      ->group("META CACHE")
      ->capture_default_str();
  app.add_option("--storage", o.storage, "type of the storage, for this client")->group("DATA STORAGE");
  app.add_option("--bucket", o.bucket, "its address, for this client")->group("DATA STORAGE");
  app.add_option("--storage-class", o.storage_class, "its storage class, for this client")->group("DATA STORAGE");
  app.add_option("--tag", o.tag, "key=value on objects uploaded by this client")->group("DATA STORAGE");
  app.add_option("--cache-dir", o.cache_dirs,
                 "directories of the cache, separated by ':'; memory: none (/var/jfsCache)")
      ->group("DATA CACHE")
      ->allow_extra_args(false);
  app.add_option("--cache-items", o.cache_items, "blocks in the cache; 0: by the disk")
      ->group("DATA CACHE")
      ->capture_default_str();
  app.add_option("--free-space-ratio", o.free_space_ratio, "part of the cache's disk that stays free")
      ->group("DATA CACHE")
      ->capture_default_str();
}

Result<MountSettings> resolve(const MountOptions& options) {
  MountSettings s;
  s.url = absolute_url(options.args[0]);
  if (options.args.size() > 1) s.mount_point = std::filesystem::absolute(options.args[1]).lexically_normal().string();
  while (s.mount_point.size() > 1 && s.mount_point.ends_with('/')) s.mount_point.pop_back();
  ZEST_TRY(resolve_meta(options, s));
  ZEST_TRY(resolve_data(options, s));
  ZEST_TRY(resolve_fuse(options, s));
  ZEST_TRY(resolve_fs(options, s));
  s.fs.data = s.data;
  return s;
}

std::string default_log_file() { return getuid() == 0 ? "/var/log/zestfs.log" : home() + "/.juicefs/zestfs.log"; }

std::string absolute_url(const std::string& url) {
  for (std::string scheme : {"sqlite3://", "rocksdb://", "badger://"}) {
    if (!url.starts_with(scheme)) continue;
    auto path = url.substr(scheme.size());
    if (path.empty() || path[0] == '/' || path[0] == ':') return url;
    return scheme + std::filesystem::absolute(path).lexically_normal().string();
  }
  return url;
}

}  // namespace zest::cli
