// Every option of `mount`, in one place: name, default, unit, help. Others that serve a volume (gateway, webdav) take
// their groups from here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/data.h"
#include "front/fuse/session.h"
#include "front/metrics/push.h"
#include "fs/filesystem.h"
#include "meta/api.h"
#include "object/open.h"

namespace CLI {
class App;
}

namespace zest::cli {

// As given on the command line; texts with units are still texts.
struct MountOptions {
  std::vector<std::string> args;  // META-URL MOUNTPOINT; what follows the URL may be missing without FUSE
  // itself
  bool background = false, foreground = false, no_syslog = false, force = false, update_fstab = false;
  bool no_huge_pages = false, hide_internal = false;
  std::string log_file;
  // FUSE
  bool enable_xattr = false, enable_cap = false, enable_selinux = false, enable_ioctl = false, prefix_internal = false;
  bool enable_whiteout = false;
  bool non_default_permission = false;
  std::string root_squash, all_squash, max_fuse_io = "1M", umask, watchdog = "1m";
  std::vector<std::string> fuse_options;
  // metadata
  std::string subdir, backup_meta = "1h", heartbeat = "12s", atime_mode = "noatime", skip_dir_mtime = "100ms";
  std::string network_interfaces;
  bool backup_skip_trash = false, read_only = false, no_background_jobs = false, sort_dir = false, fast_statfs = false;
  int skip_dir_nlink = 20;
  // caches of metadata
  std::string attr_cache = "1.0s", entry_cache = "1.0s", dir_entry_cache = "1.0s", negative_entry_cache;
  bool entry_cache_given = false, dir_entry_cache_given = false;
  std::string open_cache = "0s";
  bool readdir_cache = false;
  int64_t open_cache_limit = 10'000;
  // storage
  std::optional<std::string> storage, bucket, storage_class, tag;
  std::string get_timeout = "60s", put_timeout = "60s", upload_limit, download_limit;
  int io_retries = 10, max_uploads = 20, max_downloads = 200, max_stage_write = 1000, max_deletes = 10;
  bool check_storage = false;
  // cache of data
  std::string buffer_size = "300M", max_readahead, writeback_threshold = "0", upload_delay = "0s", upload_hours;
  int prefetch = 1;
  bool writeback = false, cache_partial_only = false, cache_large_write = false;
  std::vector<std::string> cache_dirs;
  std::string cache_mode = "0600", cache_size = "100G", verify_checksum = "extend", eviction = "2-random";
  std::string scan_interval = "1h", cache_expire = "0s";
  uint64_t cache_items = 0;
  double free_space_ratio = 0.1;
  // metrics
  bool metrics_given = false;
  std::string metrics = "127.0.0.1:9567", custom_labels, consul = "127.0.0.1:8500", slow_op = "10s";
  std::string push_gateway, push_auth, push_graphite, push_interval = "10s", push_labels;
  bool consul_given = false;
  bool no_usage_report = false;
};

void add_mount_options(CLI::App& app, MountOptions& options);
// Those of a client without FUSE: metadata, its caches, storage, cache of data, metrics.
void add_client_options(CLI::App& app, MountOptions& options);

// The same, checked and in the units of the layers. EINVAL with a text for people.
struct MountSettings {
  std::string url, mount_point;
  meta::Options meta;
  data::DataOptions data;
  object::StoreOptions store;
  fs::Options fs;
  fuse::Options fuse;
  std::optional<std::string> storage, bucket, storage_class, tag;
  std::optional<int64_t> upload_limit, download_limit;  // bytes a second
  bool check_storage = false;
  int64_t watchdog_ms = 0;     // 0: none
  std::string metrics;         // address
  bool metrics_given = false;  // no other port will do
  std::vector<std::pair<std::string, std::string>> labels, push_labels;
  std::string consul;  // address of the agent; empty: none
  metrics::PushOptions push;
};
Result<MountSettings> resolve(const MountOptions& options);

// Where `mount -d` logs when it is not told.
std::string default_log_file();
// A metadata URL that still works after chdir().
std::string absolute_url(const std::string& url);

}  // namespace zest::cli
