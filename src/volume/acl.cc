// POSIX ACLs as the format keeps them.
#include "volume/acl.h"

#include <algorithm>

#include "base/bytes.h"

namespace zest {

namespace {

constexpr uint16_t kTagOwner = 0x01, kTagUser = 0x02, kTagGroup = 0x04, kTagNamedGroup = 0x08, kTagMask = 0x10,
                   kTagOther = 0x20;
constexpr uint32_t kNoId = 0xFFFFFFFF;
constexpr uint8_t kXattrVersion = 2;

void put_named(std::string& out, const std::vector<AclRule::Named>& list) {
  for (const auto& named : list) {
    put_be32(out, named.id);
    put_be16(out, named.perm);
  }
}

bool read_named(ByteReader& in, std::vector<AclRule::Named>& list, size_t count) {
  if (in.left() / 6 < count) return false;
  list.resize(count);
  for (auto& named : list) {
    named.id = in.be32();
    named.perm = in.be16();
  }
  return true;
}

template <class T>
void put_host(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void put_xattr_entry(std::string& out, uint16_t tag, uint16_t perm, uint32_t id) {
  put_host(out, tag);
  put_host(out, perm);
  put_host(out, id);
}

// Takes one entry of the xattr form into the rule; false if it has no place there.
bool take_entry(AclRule& rule, uint16_t tag, uint16_t perm, uint32_t id) {
  if (perm > 7) return false;
  auto once = [perm](uint16_t& slot) {
    if (slot != kAclAbsent) return false;
    slot = perm;
    return true;
  };
  switch (tag) {
    case kTagOwner: return once(rule.owner);
    case kTagGroup: return once(rule.group);
    case kTagMask: return once(rule.mask);
    case kTagOther: return once(rule.other);
    case kTagUser: rule.users.push_back({id, perm}); return true;
    case kTagNamedGroup: rule.groups.push_back({id, perm}); return true;
    default: return false;
  }
}

}  // namespace

bool AclRule::empty() const { return minimal() && owner == kAclAbsent && group == kAclAbsent && other == kAclAbsent; }

bool AclRule::minimal() const { return users.empty() && groups.empty() && mask == kAclAbsent; }

std::string encode_acl(const AclRule& rule) {
  std::string out;
  put_be16(out, rule.owner);
  put_be16(out, rule.group);
  put_be16(out, rule.mask);
  put_be16(out, rule.other);
  put_be32(out, static_cast<uint32_t>(rule.users.size()));
  put_named(out, rule.users);
  put_be32(out, static_cast<uint32_t>(rule.groups.size()));
  put_named(out, rule.groups);
  return out;
}

Result<AclRule> decode_acl(std::string_view record) {
  ByteReader in(record);
  AclRule rule;
  rule.owner = in.be16();
  rule.group = in.be16();
  rule.mask = in.be16();
  rule.other = in.be16();
  bool fits = read_named(in, rule.users, in.be32());
  fits = fits && read_named(in, rule.groups, in.be32());
  if (!fits || !in.ok() || in.left() != 0) return fail(EIO, "malformed ACL rule");
  return rule;
}

std::string encode_acl_named(const std::vector<AclRule::Named>& list) {
  std::string out;
  put_named(out, list);
  return out;
}

Result<std::vector<AclRule::Named>> decode_acl_named(std::string_view record) {
  std::vector<AclRule::Named> list;
  ByteReader in(record);
  if (record.size() % 6 != 0 || !read_named(in, list, record.size() / 6)) return fail(EIO, "malformed ACL entries");
  return list;
}

std::string acl_to_xattr(const AclRule& rule) {
  std::string out;
  put_u8(out, kXattrVersion);
  out.append(3, '\0');
  auto unnamed = [&out](uint16_t tag, uint16_t perm) {
    if (perm != kAclAbsent) put_xattr_entry(out, tag, perm, kNoId);
  };
  unnamed(kTagOwner, rule.owner);
  for (const auto& user : rule.users) put_xattr_entry(out, kTagUser, user.perm, user.id);
  unnamed(kTagGroup, rule.group);
  for (const auto& group : rule.groups) put_xattr_entry(out, kTagNamedGroup, group.perm, group.id);
  unnamed(kTagMask, rule.mask);
  unnamed(kTagOther, rule.other);
  return out;
}

Result<AclRule> acl_from_xattr(std::string_view value) {
  if (value.size() % 8 != 4 || static_cast<uint8_t>(value[0]) != kXattrVersion) return fail(EINVAL);
  AclRule rule;
  for (size_t at = 4; at < value.size(); at += 8) {
    uint16_t tag, perm;
    uint32_t id;
    std::memcpy(&tag, value.data() + at, 2);
    std::memcpy(&perm, value.data() + at + 2, 2);
    std::memcpy(&id, value.data() + at + 4, 4);
    if (!take_entry(rule, tag, perm, id)) return fail(EINVAL);
  }
  if (rule.mask == kAclAbsent && !(rule.users.empty() && rule.groups.empty())) return fail(EINVAL);
  return rule;
}

uint16_t acl_mode(const AclRule& rule) {
  uint16_t middle = rule.minimal() ? rule.group : rule.mask;
  return static_cast<uint16_t>((rule.owner & 7) << 6 | (middle & 7) << 3 | (rule.other & 7));
}

AclRule acl_chmod(const AclRule& rule, uint16_t mode) {
  AclRule out = rule;
  out.owner = mode >> 6 & 7;
  (rule.minimal() ? out.group : out.mask) = mode >> 3 & 7;
  out.other = mode & 7;
  return out;
}

AclRule acl_fill(const AclRule& rule, uint16_t mode) {
  AclRule out = rule;
  if (out.owner == kAclAbsent) out.owner = mode >> 6 & 7;
  if (out.group == kAclAbsent) out.group = mode >> 3 & 7;
  if (out.other == kAclAbsent) out.other = mode & 7;
  return out;
}

AclRule acl_child(const AclRule& default_rule, uint16_t mode) {
  AclRule out = default_rule;
  out.owner &= mode >> 6 & 7;
  out.mask &= mode >> 3 & 7;
  out.other &= mode & 7;
  return out;
}

bool acl_allows(const AclRule& rule, uint32_t file_uid, uint32_t file_gid, uint32_t uid,
                const std::vector<uint32_t>& gids, uint8_t want) {
  auto grants = [want](uint16_t perm) { return (perm & want) == want; };
  if (uid == 0) return true;
  if (uid == file_uid) return grants(rule.owner);
  for (const auto& user : rule.users)
    if (user.id == uid) return grants(user.perm & rule.mask);
  auto member = [&gids](uint32_t gid) { return std::find(gids.begin(), gids.end(), gid) != gids.end(); };
  bool matched = false;
  if (member(file_gid)) {
    if (grants(rule.group & rule.mask)) return true;
    matched = true;
  }
  for (const auto& group : rule.groups) {
    if (!member(group.id)) continue;
    if (grants(group.perm & rule.mask)) return true;
    matched = true;
  }
  return !matched && grants(rule.other);
}

}  // namespace zest
