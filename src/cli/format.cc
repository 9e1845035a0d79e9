// zestfs format: creates a volume or updates an existing one (docs/behaviour/cli.md).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "base/log.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/volume_options.h"
#include "object/compress.h"

namespace zest::cli {
namespace {

struct FormatCommand {
  std::vector<std::string> args;
  VolumeOptions volume;
  bool force = false, no_update = false;

  int run();
  Result<Format> updated(const Format& old) const;
  Result<Format> fresh() const;
  Result<void> apply(Format& format) const;  // what both have in common
};

std::string from_env(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

Result<int> block_size_kib(const std::string& text) {
  ZEST_ASSIGN(uint64_t bytes, parse_bytes(text, 1024, "block-size"));
  uint64_t kib = std::clamp<uint64_t>(bytes / 1024, 64, 16 * 1024), power = 64;
  while (power * 2 <= kib) power *= 2;
  if (power * 1024 != bytes)
    log_warning(fmt::format("block size is adjusted to {} KiB: a power of two from 64 KiB to 16 MiB", power));
  return static_cast<int>(power);
}

Result<void> FormatCommand::apply(Format& format) const {
  auto& o = volume;
  if (o.storage) format.storage = *o.storage;
  if (o.bucket || format.bucket.empty()) format.bucket = o.bucket.value_or(default_bucket());
  format.bucket = canonical_bucket(format.storage, format.bucket);
  if (o.access_key) format.access_key = *o.access_key;
  if (o.secret_key) format.secret_key = *o.secret_key;
  if (o.session_token) format.session_token = *o.session_token;
  if (o.block_size) {
    ZEST_ASSIGN(format.block_size_kib, block_size_kib(*o.block_size));
  }
  if (o.compress) format.compression = o.compress->empty() ? "none" : *o.compress;
  if (auto known = object::parse_compression(format.compression); !known)
    return fail(EINVAL, fmt::format("Unsupported compress algorithm: {}", format.compression));
  if (o.shards) format.shards = *o.shards;
  if (format.shards > 256) return fail(EINVAL, fmt::format("too many shards: {}", format.shards));
  if (format.shards > 1 && format.bucket.find("%d") == std::string::npos)
    return fail(EINVAL, "the bucket of a volume with shards must hold %d");
  if (o.hash_prefix_given) format.hash_prefix = o.hash_prefix;
  if (o.capacity) {
    ZEST_ASSIGN(format.capacity, parse_bytes(*o.capacity, uint64_t{1} << 30, "capacity"));
  }
  if (o.inodes) format.inodes = *o.inodes;
  if (o.trash_days) format.trash_days = *o.trash_days;
  if (o.ranger_rest_url) format.ranger_rest_url = *o.ranger_rest_url;
  if (o.ranger_service) format.ranger_service = *o.ranger_service;
  if (o.tag) {
    ZEST_ASSIGN(auto tag, parse_tag(*o.tag));
    format.tiers[0] = {0, format.storage_class, tag};
  }
  if (o.kerberos_config_file) {
    ZEST_ASSIGN(format.kerb_conf, read_text_file(*o.kerberos_config_file));
  }
  format.key_encrypted = !format.secret_key.empty() || !format.session_token.empty() || !format.encrypt_key.empty();
  return {};
}

Result<Format> FormatCommand::updated(const Format& old) const {
  Format format = old;
  format.name = args[1];
  if (volume.encrypt_rsa_key || volume.encrypt_algo)
    log_warning("the encryption of a volume cannot be changed: --encrypt-rsa-key and --encrypt-algo are ignored");
  ZEST_TRY(apply(format));
  return format;
}

Result<Format> FormatCommand::fresh() const {
  Format format;
  format.name = args[1];
  format.uuid = new_uuid();
  format.access_key = from_env("ACCESS_KEY");
  format.secret_key = from_env("SECRET_KEY");
  format.session_token = from_env("SESSION_TOKEN");
  if (volume.storage_class) format.storage_class = *volume.storage_class;
  if (volume.encrypt_algo) format.encrypt_algo = *volume.encrypt_algo;
  if (volume.encrypt_rsa_key && !volume.encrypt_rsa_key->empty()) {
    ZEST_ASSIGN(format.encrypt_key, read_text_file(*volume.encrypt_rsa_key));
  }
  format.enable_acl = volume.enable_acl;
  ZEST_TRY(apply(format));
  return format;
}

int FormatCommand::run() {
  auto opened = open_meta(args[0], {});
  if (!opened) return complain("", opened.error());
  if (!valid_volume_name(args[1]))
    return complain(fmt::format(
        "invalid name: {}, only alphabet, number and - are allowed, and the length should be 3 to 63 characters.",
        args[1]));
  auto& meta = **opened;
  auto old = meta.load();
  bool exists = old.has_value();
  if (!exists && old.error().code != ENOENT) return complain("cannot read the volume's settings", old.error());
  if (exists && no_update) return 0;
  auto format = exists ? updated(*old) : fresh();
  if (!format) return complain("", format.error());
  if (exists && force) log_warning("Existing volume will be overwrited: " + format_without_secrets(*old, 0));
  if (auto good = exists ? check_changed_storage(*format) : check_new_storage(*format); !good)
    return complain("", good.error());
  if (auto saved = meta.format(*format, force); !saved) {
    if (!exists) forget_new_storage(*format);
    return complain("format", saved.error());
  }
  log_info("Volume is formatted as " + format_without_secrets(*format, 2));
  return 0;
}

}  // namespace

Runner setup_format(CLI::App& app) {
  auto command = std::make_shared<FormatCommand>();
  auto& o = command->volume;
  positionals(app, command->args, 2, 2);
  app.add_flag("--force", command->force, "overwrite the settings of an existing volume");
  app.add_flag("--no-update", command->no_update, "leave an existing volume as it is");
  add_store_options(app, o);
  const char* group = "DATA FORMAT";
  app.add_option("--block-size", o.block_size, "size of a block in KiB")->group(group);
  app.add_option("--compress", o.compress, "compression of blocks: none, lz4, zstd")->group(group);
  app.add_option("--encrypt-rsa-key", o.encrypt_rsa_key,
                 "file with an RSA private key (PEM); passphrase in JFS_RSA_PASSPHRASE")
      ->group(group);
  app.add_option("--encrypt-algo", o.encrypt_algo, "aes256gcm-rsa or chacha20-rsa")
      ->group(group)
      ->check(CLI::IsMember({"aes256gcm-rsa", "chacha20-rsa"}));
  app.add_flag("--hash-prefix", o.hash_prefix, "begin the names of objects with a hash")
      ->group(group)
      ->each([&o](const std::string&) { o.hash_prefix_given = true; });
  app.add_option("--shards", o.shards, "spread blocks over this many buckets; the bucket then holds %d")->group(group);
  add_management_options(app, o);
  // what a new volume gets; an existing one keeps what it has
  for (auto [name, text] : {std::pair{"--storage", "file"},
                            {"--block-size", "4M"},
                            {"--compress", "none"},
                            {"--encrypt-algo", "aes256gcm-rsa"},
                            {"--shards", "0"},
                            {"--capacity", "0"},
                            {"--inodes", "0"},
                            {"--trash-days", "1"}})
    app.get_option(name)->default_str(text);
  app.get_option("--bucket")->default_str(default_bucket());
  return [command] { return command->run(); };
}

}  // namespace zest::cli
