// Options that format and config share, and how they become settings.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "volume/format.h"

namespace CLI {
class App;
}

namespace zest::cli {

struct VolumeOptions {
  std::optional<std::string> storage, bucket, access_key, secret_key, session_token, storage_class;
  std::optional<std::string> block_size, compress, encrypt_rsa_key, encrypt_algo, capacity;
  std::optional<int> shards, trash_days;
  std::optional<uint64_t> inodes;
  std::optional<std::string> ranger_rest_url, ranger_service, tag, kerberos_config_file;
  bool hash_prefix = false, enable_acl = false;
  bool hash_prefix_given = false;
};

void add_store_options(CLI::App& app, VolumeOptions& options);       // --storage --bucket --access-key ...
void add_management_options(CLI::App& app, VolumeOptions& options);  // --capacity --inodes --trash-days ...

// "10G" of --capacity in bytes (a bare number counts GiB). EINVAL with the reference's wording.
Result<uint64_t> parse_bytes(const std::string& text, uint64_t unit, const std::string& flag);

// The bucket as it is stored: the path of a `file` store becomes absolute and ends with '/'.
std::string canonical_bucket(const std::string& storage, const std::string& bucket);
std::string default_bucket();

// Builds the storage, checks it with put, get and delete (creating the bucket if need be), and, for a new volume, that
// nothing lies below its prefix; then writes its UUID object. Errors are told with what to do.
Result<void> check_new_storage(const Format& format);
Result<void> check_changed_storage(const Format& format);
// Removes the UUID object again, when the volume could not be saved after all.
void forget_new_storage(const Format& format);

// "k=v" of --tag, empty for none; EINVAL otherwise.
Result<std::string> parse_tag(const std::string& text);
// The content of --kerberos-config-file.
Result<std::string> read_text_file(const std::string& file);

std::string new_uuid();

}  // namespace zest::cli
