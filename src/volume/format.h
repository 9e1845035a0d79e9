// The volume's settings, stored as JSON (docs/format/encodings.md sections 7, 8). Members that this program does not
// know are kept when it rewrites them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "volume/types.h"

namespace zest {

struct Tier {
  int id = 0;
  std::string storage_class, tag;
};

struct Format {
  std::string name, uuid, storage = "file", storage_class, bucket, access_key, secret_key, session_token;
  int block_size_kib = 4096;
  std::string compression = "none";
  int shards = 0;
  bool hash_prefix = false;
  uint64_t capacity = 0, inodes = 0;  // bytes, inodes; 0: no limit
  std::string encrypt_key, encrypt_algo = "aes256gcm-rsa";
  bool key_encrypted = false;                    // how the three secrets are stored; in memory they are always plain
  int64_t upload_limit = 0, download_limit = 0;  // Mbps
  int trash_days = 1;
  int meta_version = 1;
  std::string min_client_version, max_client_version;
  bool dir_stats = true, enable_acl = false;
  bool user_group_quota = false, change_log = false;  // 1.4
  int64_t change_log_max_age = 0, change_log_max_lines = 0;
  std::map<int, Tier> tiers;  // 1.4; empty: absent
  std::string ranger_rest_url, ranger_service, kerb_conf;
  std::string unknown;  // JSON object of members not listed here

  uint32_t block_size() const { return static_cast<uint32_t>(block_size_kib) * 1024; }
};

// Secrets are decrypted; EINVAL for JSON that is no Format, EACCES "secret was removed" for stripped secrets.
Result<Format> parse_format(std::string_view json);
// One member a line, as the reference writes it; secrets encrypted when key_encrypted.
Result<std::string> dump_format(const Format& format);
// For people, logs and dumps: secrets replaced by "removed".
std::string format_without_secrets(const Format& format, int indent);

bool valid_volume_name(std::string_view name);

// The version of the reference that we behave as, for the gates and the session record.
inline constexpr char kCompatVersion[] = "1.4.1";
// <0, 0, >0. "1.2.0-A" < "1.2.0-beta1" < "1.2.0"; text behind '+' does not count. An unparsable version is the oldest.
int compare_versions(std::string_view a, std::string_view b);
// EPERM with a text when this client may not open the volume.
Result<void> check_client_version(const Format& format);

// "chunks/0/0/19_0_3000": the object of one block, without the volume's prefix (docs/format/objects.md).
std::string block_key(const Format& format, SliceId id, uint32_t block, uint32_t block_bytes);
// Back again; false for other names.
bool parse_block_key(std::string_view key, SliceId& id, uint32_t& block, uint32_t& block_bytes);

}  // namespace zest
