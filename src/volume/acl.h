// POSIX ACLs: the rule record, its xattr form and its arithmetic (docs/format/encodings.md section 9; acl(5)).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace zest {

constexpr uint16_t kAclAbsent = 0xFFFF;

struct AclRule {
  struct Named {
    uint32_t id = 0;
    uint16_t perm = 0;
    friend bool operator==(const Named&, const Named&) = default;
  };
  uint16_t owner = kAclAbsent, group = kAclAbsent, mask = kAclAbsent, other = kAclAbsent;
  std::vector<Named> users, groups;

  bool empty() const;    // means "no ACL"
  bool minimal() const;  // no more than mode bits: no named entries, no mask
  friend bool operator==(const AclRule&, const AclRule&) = default;
};

std::string encode_acl(const AclRule& rule);
Result<AclRule> decode_acl(std::string_view record);                    // EIO
std::string encode_acl_named(const std::vector<AclRule::Named>& list);  // SQL columns: 6 bytes each, no count
Result<std::vector<AclRule::Named>> decode_acl_named(std::string_view record);
std::string acl_to_xattr(const AclRule& rule);
Result<AclRule> acl_from_xattr(std::string_view value);  // EINVAL

// The permission bits (0777) that a stored access rule shows in the mode.
uint16_t acl_mode(const AclRule& rule);
// chmod of an inode with this access rule.
AclRule acl_chmod(const AclRule& rule, uint16_t mode);
// Missing owner, group, other filled from the mode.
AclRule acl_fill(const AclRule& rule, uint16_t mode);
// A child of a directory with this (not minimal) default rule, created with `mode`.
AclRule acl_child(const AclRule& default_rule, uint16_t mode);
// Does the rule grant all of `want` (4 read, 2 write, 1 execute)? gids: all groups of the caller.
bool acl_allows(const AclRule& rule, uint32_t file_uid, uint32_t file_gid, uint32_t uid,
                const std::vector<uint32_t>& gids, uint8_t want);

}  // namespace zest
