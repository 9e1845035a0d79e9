#include "cli/volume_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "base/log.h"
#include "base/units.h"
#include "cli/open.h"

namespace zest::cli {

void add_store_options(CLI::App& app, VolumeOptions& o) {
  const char* group = "DATA STORAGE";
  app.add_option("--storage", o.storage, "kind of object storage")->group(group);
  app.add_option("--bucket", o.bucket, "where the objects go: a URL or a folder")->group(group);
  app.add_option("--access-key", o.access_key, "access key of the object storage (env ACCESS_KEY)")->group(group);
  app.add_option("--secret-key", o.secret_key, "secret key of the object storage (env SECRET_KEY)")->group(group);
  app.add_option("--session-token", o.session_token, "session token of the object storage (env SESSION_TOKEN)")
      ->group(group);
  app.add_option("--storage-class", o.storage_class, "storage class of new objects")->group(group);
  app.add_option("--tag", o.tag, "tag of new objects, key=value")->group(group);
}

void add_management_options(CLI::App& app, VolumeOptions& o) {
  const char* group = "MANAGEMENT";
  app.add_option("--capacity", o.capacity, "most space that data may take, in GiB; 0: no limit")->group(group);
  app.add_option("--inodes", o.inodes, "most inodes; 0: no limit")->group(group);
  app.add_option("--trash-days", o.trash_days, "days that removed files are kept; 0: no trash")
      ->group(group)
      ->check([](const std::string& text) { return text.starts_with('-') ? "cannot be negative" : ""; });
  app.add_flag("--enable-acl", o.enable_acl, "POSIX ACLs; cannot be taken back")->group(group);
  app.add_option("--ranger-rest-url", o.ranger_rest_url, "URL of Apache Ranger, kept for other clients")->group(group);
  app.add_option("--ranger-service", o.ranger_service, "service name in Apache Ranger, kept for other clients")
      ->group(group);
  app.add_option("--kerberos-config-file", o.kerberos_config_file, "Kerberos settings, kept for other clients")
      ->group(group);
}

Result<uint64_t> parse_bytes(const std::string& text, uint64_t unit, const std::string& flag) {
  if (text.empty()) return 0;
  // one letter at most: "10MB" and "10MiB" are refused, as the reference does
  bool letters_ok = text.size() < 2 || !isalpha(static_cast<unsigned char>(text[text.size() - 2]));
  auto bytes = letters_ok ? parse_size(text, unit) : std::nullopt;
  if (!bytes) return fail(EINVAL, fmt::format("Invalid value \"{}\" for \"{}\": invalid unit", text, flag));
  return *bytes;
}

std::string default_bucket() {
  if (geteuid() == 0) return "/var/jfs";
  const char* home = getenv("HOME");
  return std::string(home ? home : "") + "/.juicefs/local";
}

std::string canonical_bucket(const std::string& storage, const std::string& bucket) {
  if (storage != "file") return bucket;
  std::string path = bucket.starts_with("file://") ? bucket.substr(7) : bucket;
  if (path.starts_with("~/"))
    if (const char* home = getenv("HOME")) path = home + path.substr(1);
  path = std::filesystem::absolute(path).lexically_normal().string();
  if (!path.ends_with('/')) path += '/';
  return path;
}

static Result<void> probe(object::Storage& store) {
  Result<void> result = object::probe_store(store);
  if (result) return {};
  if (auto made = store.create(); !made)
    return fail(made.error().code, fmt::format("cannot create {}: {}", store.describe(), made.error().what));
  for (int attempt = 0; attempt < 3; attempt++) {
    result = object::probe_store(store);
    if (result) return {};
  }
  return fail(result.error().code, fmt::format("storage {} does not work, check bucket, keys and network: {}",
                                               store.describe(), result.error().what));
}

Result<void> check_changed_storage(const Format& format) {
  if (getenv("JFS_NO_CHECK_OBJECT_STORAGE")) return {};
  ZEST_ASSIGN(auto store, open_volume_storage(format));
  return probe(*store);
}

Result<void> check_new_storage(const Format& format) {
  if (getenv("JFS_NO_CHECK_OBJECT_STORAGE")) return {};
  ZEST_ASSIGN(auto store, open_volume_storage(format));
  ZEST_TRY(probe(*store));
  bool used = false;
  ZEST_TRY(object::list_all(*store, "", [&](const object::ObjectInfo& object) {
    used = !object.is_dir && object.size > 0 && object.key != "testing" && !object.key.starts_with("testing/");
    return !used;
  }));
  if (used)
    return fail(ENOTEMPTY, fmt::format("Storage {} is not empty; please clean it up or pick another volume name",
                                       store->describe()));
  if (auto put = store->put("juicefs_uuid", format.uuid); !put)
    log_warning("cannot write the volume's UUID to the storage: " + put.error().message());
  return {};
}

void forget_new_storage(const Format& format) {
  if (getenv("JFS_NO_CHECK_OBJECT_STORAGE")) return;
  if (auto store = open_volume_storage(format)) {
    if (auto removed = (*store)->remove("juicefs_uuid"); !removed)
      log_warning("cannot remove the volume's UUID from the storage: " + removed.error().message());
  }
}

Result<std::string> parse_tag(const std::string& text) {
  auto equals = text.find('=');
  bool good = text.empty() || (equals != 0 && equals != std::string::npos && text.find_first_of("\n\r&") == text.npos);
  if (!good) return fail(EINVAL, fmt::format("invalid tag \"{}\": it must be key=value", text));
  return text;
}

Result<std::string> read_text_file(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return fail(errno ? errno : ENOENT, "cannot read " + file);
  return text.str();
}

std::string new_uuid() {
  std::random_device random;
  uint32_t a = random(), b = random(), c = random(), d = random();
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:04x}{:08x}", a, b >> 16, b & 0xfff, (c >> 16 & 0x3fff) | 0x8000,
                     c & 0xffff, d);
}

}  // namespace zest::cli
