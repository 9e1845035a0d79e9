// The volume's own encodings (docs/format/encodings.md).
#include "volume/records.h"
#include "base/bytes.h"
#include "base/units.h"
#include "fuzz.h"
#include "volume/acl.h"
#include "volume/attr.h"
#include "volume/format.h"
#include "volume/secrets.h"
#include "volume/slice.h"
#include "volume/text.h"

namespace zest::fuzz {

namespace {

constexpr char kUuid[] = "2f1e7bb1-9b8c-4a4e-9d1c-0f6a0b1c2d3e";

std::string bytes(std::string_view hex) { return from_hex(hex).value(); }

// Whatever decodes must decode to the same once it was encoded.
template <auto decode, auto encode>
void round_trip(std::string_view input) {
  auto value = decode(input);
  if (!value) return;
  auto again = decode(encode(*value));
  require(again && *again == *value, "what was decoded survives encoding");
}

std::vector<std::string> attr_seeds() {
  return {bytes("0011a40000000000000000000000006b030561300cb77c000000006b030561301fdc74000000006b0305613041abd300000001"
                "00000000"
                "0000000600000000000000000000000100"),
          bytes("0011bc0000000000000000000000006b0305b501900cfe000000006b0305b501af7a5b000000006b03061e1be31dd200000001"
                "00000000"
                "00000002000000000000000000000001000000010000000000"),
          bytes("0011b40000000000000000000000006b030d4608e2e83a000000006b030d4608eb4414000000006b030d46126e043a00000001"
                "00000000"
                "0000000200000000000000000000000100000001000000000200")};
}

std::vector<std::string> acl_seeds(bool xattr) {
  AclRule rule{7, 5, 7, 4, {{10001, 6}, {10002, 4}}, {{20000, 7}}};
  AclRule minimal{6, 4, kAclAbsent, 4, {}, {}};
  auto encode = xattr ? acl_to_xattr : encode_acl;
  return {encode(rule), encode(minimal), encode(AclRule{})};
}

void use_acl(std::string_view input) {
  auto rule = acl_from_xattr(input);
  if (!rule) return;
  acl_allows(*rule, 1, 2, 10001, {20000}, 7);
  require(acl_from_xattr(acl_to_xattr(*rule)).has_value(), "an ACL can be given back");
}

void use_slices(std::string_view input) {
  auto slices = decode_slices(input);
  if (!slices) return;
  uint64_t at = 0;
  for (auto& piece : resolve_slices(*slices)) {
    require(piece.pos == at, "no gaps between pieces");
    at += piece.len;
  }
  require(at <= kChunkSize, "pieces lie in the chunk");
  (void)plan_compaction(*slices);
}

std::vector<std::string> slice_seeds() {
  std::string many;
  for (uint32_t i = 0; i < 6; i++) encode_slice(many, {i * 1000, SliceId{i % 3}, 5000, i * 10, 4000});
  return {many, encode_slices({{0, SliceId{1}, 1 << 22, 0, 1 << 22}}), ""};
}

void use_format(std::string_view input) {
  auto format = parse_format(input);
  if (!format) return;
  (void)check_client_version(*format);
  auto text = dump_format(*format);
  require(!text || parse_format(*text).has_value(), "settings can be read again");
}

std::vector<std::string> format_seeds() {
  Format format;
  format.name = "vol", format.uuid = kUuid, format.bucket = "/data/", format.secret_key = "secret";
  format.unknown = R"({"Future":{"a":[1,2,{"b":null}]}})";
  format.tiers[1] = {1, "STANDARD_IA", "cold"};
  return {dump_format(format).value(),
          R"({"Name":"v","UUID":"u","Storage":"file","BlockSize":4096,"Capacity":-1,"TrashDays":1e3})"};
}

void use_lines(std::string_view input) {
  (void)parse_size(input);
  (void)parse_duration_ms(input);
  (void)repair_utf8(input);
  (void)json_depth(input);
  int64_t sec = 0;
  uint32_t nsec = 0;
  if (time_from_json(input, sec, nsec)) (void)time_to_json(sec, nsec);
  if (parse_trash_hour(input, sec)) (void)trash_hour_name(sec);
  Ino parent{0}, ino{0};
  std::string name;
  (void)parse_trash_entry(input, parent, ino, name);
  SliceId id{0};
  uint32_t block = 0, size = 0;
  (void)parse_block_key(input, id, block, size);
  (void)check_name(input);
  (void)valid_volume_name(input);
  (void)compare_versions(input, "1.3.0-beta1+2024");
}

SessionInfo session() { return {"1.3.1", "host", "/mnt/x", {"10.0.0.1", "::1"}, {1700000000, 5}, 4711}; }

}  // namespace

std::vector<Target> record_targets() {
  return {
      {"records.attr", attr_seeds(), round_trip<decode_attr, encode_attr>},
      {"records.entry",
       {bytes("010000000000000007"), bytes("02000000000000ffff")},
       round_trip<decode_entry, encode_entry>},
      {"records.slices", slice_seeds(), use_slices},
      {"records.slice_keys",
       {encode_slice_keys({{SliceId{7}, 4096}, {SliceId{8}, 1}})},
       round_trip<decode_slice_keys, encode_slice_keys>},
      {"records.acl", acl_seeds(false), round_trip<decode_acl, encode_acl>},
      {"records.acl_named", {encode_acl_named({{1, 7}, {2, 5}})}, round_trip<decode_acl_named, encode_acl_named>},
      {"records.acl_xattr", acl_seeds(true), use_acl},
      {"records.locks",
       {encode_posix_locks({{LockType::kWrite, 12, 0, 99}, {LockType::kRead, 13, 200, kLockEnd}})},
       round_trip<decode_posix_locks, encode_posix_locks>},
      {"records.session",
       {encode_session_info(session()), "{}", ""},
       [](std::string_view in) { (void)decode_session_info(in); }},
      {"records.format", format_seeds(), use_format},
      {"records.secret",
       {seal_secret(kUuid, "aes256gcm-rsa", "secret", std::string(12, 'n')).value(), "", "====", "removed"},
       [](std::string_view in) { (void)open_secret(kUuid, "aes256gcm-rsa", in); },
       4},
      {"records.text",
       {"4K", "10GiB", "1h30m", "2024-01-02T03:04:05.678901234+02:00", "2024-01-02-03", "1-22-name",
        "vol/chunks/0/0/7_0_4096", "chunks/5F/1/1234567_3_4194304", "1.2.0-beta2", "\xc3\xa4\xff"},
       use_lines},
  };
}

}  // namespace zest::fuzz
