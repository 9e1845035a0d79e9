// The settings of a volume as JSON.
#include "volume/format.h"

#include <nlohmann/json.hpp>
#include <variant>

#include "base/bytes.h"
#include "volume/secrets.h"
#include "volume/text.h"

namespace zest {

namespace {

using nlohmann::ordered_json;

constexpr size_t kMaxDepth = 100;  // writing JSON recurses

// One member of the JSON object and where it lives. `always`: written also when it has its zero value.
struct Member {
  const char* name;
  std::variant<std::string Format::*, int Format::*, int64_t Format::*, uint64_t Format::*, bool Format::*,
               std::map<int, Tier> Format::*>
      field;
  bool always = false;
  bool secret = false;
};

// In the order in which the reference writes them.
const Member kMembers[] = {
    {"Name", &Format::name, true},
    {"UUID", &Format::uuid, true},
    {"Storage", &Format::storage, true},
    {"StorageClass", &Format::storage_class},
    {"Tiers", &Format::tiers},
    {"Bucket", &Format::bucket, true},
    {"AccessKey", &Format::access_key},
    {"SecretKey", &Format::secret_key, false, true},
    {"SessionToken", &Format::session_token, false, true},
    {"BlockSize", &Format::block_size_kib, true},
    {"Compression", &Format::compression},
    {"Shards", &Format::shards},
    {"HashPrefix", &Format::hash_prefix},
    {"Capacity", &Format::capacity},
    {"Inodes", &Format::inodes},
    {"EncryptKey", &Format::encrypt_key, false, true},
    {"EncryptAlgo", &Format::encrypt_algo},
    {"KeyEncrypted", &Format::key_encrypted},
    {"UploadLimit", &Format::upload_limit},
    {"DownloadLimit", &Format::download_limit},
    {"TrashDays", &Format::trash_days, true},
    {"MetaVersion", &Format::meta_version},
    {"MinClientVersion", &Format::min_client_version},
    {"MaxClientVersion", &Format::max_client_version},
    {"DirStats", &Format::dir_stats},
    {"UserGroupQuota", &Format::user_group_quota},
    {"EnableACL", &Format::enable_acl, true},
    {"RangerRestUrl", &Format::ranger_rest_url},
    {"RangerService", &Format::ranger_service},
    {"ChangeLog", &Format::change_log},
    {"ChangeLogMaxAge", &Format::change_log_max_age},
    {"ChangeLogMaxLines", &Format::change_log_max_lines},
    {"KerbConf", &Format::kerb_conf},
};

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

// What is not in the JSON has its zero value; the defaults of the struct are those of a new volume.
Format zero_format() {
  Format format;
  format.storage.clear();
  format.compression.clear();
  format.encrypt_algo.clear();
  format.block_size_kib = format.trash_days = format.meta_version = 0;
  format.dir_stats = false;
  return format;
}

template <class T>
bool read_integer(const ordered_json& value, T& out) {
  if (value.is_number_unsigned()) {
    uint64_t v = value.get<uint64_t>();
    out = static_cast<T>(v);
    return out >= 0 && static_cast<uint64_t>(out) == v;
  }
  if (!value.is_number_integer()) return false;
  int64_t v = value.get<int64_t>();  // negative
  out = static_cast<T>(v);
  return out < 0 && static_cast<int64_t>(out) == v;
}
template <>
bool read_integer(const ordered_json& value, uint64_t& out) {
  if (!value.is_number_unsigned()) return false;
  out = value.get<uint64_t>();
  return true;
}

bool read_string(const ordered_json& value, std::string& out) {
  if (!value.is_string()) return false;
  out = value.get<std::string>();
  return true;
}

bool read_bool(const ordered_json& value, bool& out) {
  if (!value.is_boolean()) return false;
  out = value.get<bool>();
  return true;
}

bool read_tiers(const ordered_json& value, std::map<int, Tier>& out) {
  if (!value.is_object()) return false;
  out.clear();
  for (const auto& [key, item] : value.items()) {
    auto id = parse_int(key);
    if (!id || *id < 0 || *id > 255 || !item.is_object()) return false;
    Tier tier;
    tier.id = static_cast<int>(*id);
    bool fits = true;
    for (const auto& [name, part] : item.items()) {
      if (part.is_null()) continue;
      if (same_ignoring_case(name, "ID")) fits = fits && read_integer(part, tier.id);
      if (same_ignoring_case(name, "StorageClass")) fits = fits && read_string(part, tier.storage_class);
      if (same_ignoring_case(name, "Tag")) fits = fits && read_string(part, tier.tag);
    }
    if (!fits) return false;
    out[static_cast<int>(*id)] = tier;
  }
  return true;
}

bool read_member(const ordered_json& value, const Member& member, Format& format) {
  if (value.is_null()) return true;  // as absent
  return std::visit(Overloaded{
                        [&](std::string Format::*f) { return read_string(value, format.*f); },
                        [&](int Format::*f) { return read_integer(value, format.*f); },
                        [&](int64_t Format::*f) { return read_integer(value, format.*f); },
                        [&](uint64_t Format::*f) { return read_integer(value, format.*f); },
                        [&](bool Format::*f) { return read_bool(value, format.*f); },
                        [&](std::map<int, Tier> Format::*f) { return read_tiers(value, format.*f); },
                    },
                    member.field);
}

ordered_json tiers_json(const std::map<int, Tier>& tiers) {
  ordered_json out = ordered_json::object();
  for (const auto& [id, tier] : tiers)
    out[std::to_string(id)] = {{"ID", tier.id}, {"StorageClass", tier.storage_class}, {"Tag", tier.tag}};
  return out;
}

void write_member(const Format& format, const Member& member, ordered_json& out) {
  auto scalar = [&](auto f) {
    const auto& value = format.*f;
    if (member.always || value != std::remove_cvref_t<decltype(value)>{}) out[member.name] = value;
  };
  std::visit(
      Overloaded{
          [&](std::map<int, Tier> Format::*f) {
            if (!(format.*f).empty()) out[member.name] = tiers_json(format.*f);
          },
          scalar,
      },
      member.field);
}

std::string& text_of(Format& format, const Member& member) {
  return format.*std::get<std::string Format::*>(member.field);
}

ordered_json to_json(const Format& format) {
  ordered_json out = ordered_json::object();
  for (const auto& member : kMembers) write_member(format, member, out);
  auto unknown = ordered_json::parse(format.unknown, nullptr, false);
  if (unknown.is_object())
    for (const auto& [name, value] : unknown.items())
      if (!out.contains(name)) out[name] = value;
  return out;
}

std::string dump(const ordered_json& json, int indent) {
  return json.dump(indent, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace

Result<Format> parse_format(std::string_view json) {
  if (json_depth(json) > kMaxDepth) return fail(EINVAL, "the volume's settings are nested too deep");
  auto parsed = ordered_json::parse(repair_utf8(json), nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return fail(EINVAL, "the volume's settings are no JSON object");
  Format format = zero_format();
  ordered_json unknown = ordered_json::object();
  for (const auto& [name, value] : parsed.items()) {
    const Member* known = nullptr;
    for (const auto& member : kMembers)
      if (same_ignoring_case(name, member.name)) known = &member;
    if (known == nullptr)
      unknown[name] = value;
    else if (!read_member(value, *known, format))
      return fail(EINVAL, std::string("the volume's setting ") + known->name + " has a wrong type or value");
  }
  if (format.name.empty()) return fail(EINVAL, "the volume's settings have no Name");
  if (format.block_size_kib < 1 || format.block_size_kib > 65536)
    return fail(EINVAL, "the volume's BlockSize of " + std::to_string(format.block_size_kib) + " KiB is out of range");
  if (format.shards < 0 || format.shards > 256)
    return fail(EINVAL, "the volume's number of shards, " + std::to_string(format.shards) + ", is out of range");
  if (!unknown.empty()) format.unknown = dump(unknown, -1);
  for (const auto& member : kMembers) {
    if (!member.secret || !format.key_encrypted) continue;
    std::string& text = text_of(format, member);
    if (text.empty()) continue;
    auto plain = open_secret(format.uuid, format.encrypt_algo, text);
    if (!plain) return fail(plain.error().code, std::string(member.name) + ": " + plain.error().what);
    text = std::move(*plain);
  }
  return format;
}

Result<std::string> dump_format(const Format& format) {
  Format stored = format;
  for (const auto& member : kMembers) {
    if (!member.secret || !format.key_encrypted) continue;
    std::string& text = text_of(stored, member);
    if (text.empty()) continue;
    ZEST_ASSIGN(text, seal_secret(format.uuid, format.encrypt_algo, text));
  }
  return dump(to_json(stored), 0);
}

std::string format_without_secrets(const Format& format, int indent) {
  Format shown = format;
  for (const auto& member : kMembers)
    if (member.secret && !text_of(shown, member).empty()) text_of(shown, member) = kRemovedSecret;
  return dump(to_json(shown), indent);
}

}  // namespace zest
