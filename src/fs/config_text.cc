// .config: the settings of a mount as the reference's tools read them (docs/behaviour/control.md section 3).
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "fs/filesystem.h"

namespace zest::fs {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kNsPerMs = 1'000'000;

std::string text_of(meta::AtimeMode mode) {
  switch (mode) {
    case meta::AtimeMode::kRelatime: return "relatime";
    case meta::AtimeMode::kStrictAtime: return "strictatime";
    case meta::AtimeMode::kNoAtime: break;
  }
  return "noatime";
}

Json meta_json(meta::Meta& meta) {
  auto& o = meta.options();
  return {{"Strict", true},
          {"Retries", o.io_retries},
          {"MaxDeletes", o.max_deletes},
          {"SkipDirNlink", o.skip_dir_nlink},
          {"CaseInsensi", false},
          {"ReadOnly", o.read_only},
          {"NoBGJob", o.no_background_jobs},
          {"OpenCache", o.open_cache_ms * kNsPerMs},
          {"OpenCacheLimit", o.open_cache_limit},
          {"Heartbeat", o.heartbeat_ms * kNsPerMs},
          {"MountPoint", o.mount_point},
          {"Subdir", o.subdir},
          {"AtimeMode", text_of(o.atime)},
          {"DirStatFlushPeriod", 1000 * kNsPerMs},
          {"SkipDirMtime", o.skip_dir_mtime_ms * kNsPerMs},
          {"Sid", meta.session_id()},
          {"SortDir", o.sort_dir},
          {"FastStatfs", o.fast_statfs}};
}

Json chunk_json(const data::DataOptions& o, data::Data& data, const Format& format) {
  auto readahead = static_cast<int64_t>(o.readahead_off ? 0 : o.max_readahead);
  std::string hours;
  if (o.upload_from_hour != o.upload_to_hour)
    hours = std::to_string(o.upload_from_hour) + "," + std::to_string(o.upload_to_hour);
  return {{"CacheDir", data.cache_dir()},
          {"CacheMode", o.cache.mode},
          {"CacheSize", o.cache.size_bytes},
          {"CacheItems", o.cache.items},
          {"CacheChecksum", o.cache.verify_checksum},
          {"CacheEviction", o.cache.eviction},
          {"CacheScanInterval", o.cache.scan_interval_ms * kNsPerMs},
          {"CacheExpire", o.cache.expire_ms * kNsPerMs},
          {"OSCache", std::getenv("JFS_DROP_OSCACHE") == nullptr},
          {"FreeSpace", o.cache.free_space_ratio},
          {"AutoCreate", true},
          {"Compress", format.compression},
          {"MaxUpload", o.max_uploads},
          {"MaxDownload", o.max_downloads},
          {"MaxStageWrite", o.max_stage_write},
          {"MaxRetries", o.io_retries},
          {"UploadLimit", format.upload_limit * 1'000'000 / 8},
          {"DownloadLimit", format.download_limit * 1'000'000 / 8},
          {"Writeback", o.writeback},
          {"WritebackThresholdSize", o.writeback_threshold},
          {"UploadDelay", o.upload_delay_ms * kNsPerMs},
          {"UploadHours", hours},
          {"HashPrefix", format.hash_prefix},
          {"BlockSize", format.block_size()},
          {"GetTimeout", o.get_timeout_ms * kNsPerMs},
          {"PutTimeout", o.put_timeout_ms * kNsPerMs},
          {"CacheFullBlock", !o.cache.partial_only},
          {"CacheLargeWrite", o.cache.large_write},
          {"BufferSize", o.buffer_size},
          {"Readahead", readahead},
          {"Prefetch", o.prefetch}};
}

// The request settings of the FUSE connection, under the names the reference's tools compare.
Json fuse_json(const Options& o) {
  return {{"AllowOther", o.allow_other},
          {"Options", o.fuse_options},
          {"MaxBackground", 200},
          {"MaxWrite", o.max_write},
          {"MaxReadAhead", 1 << 20},
          {"IgnoreSecurityLabels", false},
          {"RememberInodes", false},
          {"FsName", o.fs_name},
          {"Name", "zestfs"},
          {"SingleThreaded", false},
          {"DisableXAttrs", !o.enable_xattr},
          {"Debug", false},
          {"EnableLocks", true},
          {"EnableSymlinkCaching", true},
          {"ExplicitDataCacheControl", false},
          {"DirectMount", true},
          {"DirectMountFlags", 0},
          {"EnableAcl", o.cap_acl},
          {"EnableWriteback", o.writeback_cache},
          {"EnableIoctl", o.enable_ioctl},
          {"DontUmask", o.dont_mask},
          {"OtherCaps", 0},
          {"NoAllocForRead", false},
          {"Timeout", 900'000 * kNsPerMs}};
}

Json squash_json(const std::string& text) {
  auto colon = text.find(':');
  return {{"Uid", std::strtoul(text.c_str(), nullptr, 10)},
          {"Gid", colon == text.npos ? 0 : std::strtoul(text.c_str() + colon + 1, nullptr, 10)}};
}

}  // namespace

std::string FileSystem::config_text() const {
  auto format = meta_.format();
  Json out;
  out["Meta"] = meta_json(meta_);
  out["Format"] = Json::parse(format_without_secrets(format, 0), nullptr, false);
  out["Chunk"] = chunk_json(options_.data, data_, format);
  out["Security"] = {{"EnableCap", options_.enable_cap}, {"EnableSELinux", options_.enable_selinux}};
  Json port = Json::object();
  if (!options_.metrics_address.empty()) port["PrometheusAgent"] = options_.metrics_address;
  if (!options_.consul_address.empty()) port["ConsulAddr"] = options_.consul_address;
  out["Port"] = std::move(port);
  out["Version"] = std::string(kCompatVersion) + "+zestfs";
  out["AttrTimeout"] = options_.attr_timeout_ms * kNsPerMs;
  out["DirEntryTimeout"] = options_.dir_entry_timeout_ms * kNsPerMs;
  out["NegEntryTimeout"] = options_.negative_timeout_ms * kNsPerMs;
  out["EntryTimeout"] = options_.entry_timeout_ms * kNsPerMs;
  out["ReaddirCache"] = options_.readdir_cache;
  out["BackupMeta"] = options_.backup_meta_ms * kNsPerMs;
  out["BackupSkipTrash"] = options_.backup_skip_trash;
  if (!meta_.options().subdir.empty()) out["Subdir"] = meta_.options().subdir;
  out["PrefixInternal"] = options_.prefix_internal;
  out["HideInternal"] = options_.hide_internal;
  if (!options_.root_squash.empty()) out["RootSquash"] = squash_json(options_.root_squash);
  if (!options_.all_squash.empty()) out["AllSquash"] = squash_json(options_.all_squash);
  if (options_.non_default_permission) out["NonDefaultPermission"] = true;
  out["UMask"] = options_.umask;
  out["Pid"] = getpid();
  out["PPid"] = getppid();
  out["FuseOpts"] = fuse_json(options_);
  out["Mountpoint"] = meta_.options().mount_point;
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace zest::fs
