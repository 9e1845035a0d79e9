// Extended attributes, ACLs under their xattr names, and the flags of chattr.
#include <fmt/format.h>
#include <linux/fs.h>

#include <algorithm>

#include "fs/changes.h"
#include "fs/control.h"
#include "fs/filesystem.h"
#include "fs/handles.h"
#include "fs/op.h"
#include "fs/virtual_files.h"

namespace zest::fs {
namespace {

constexpr std::string_view kAccessAcl = "system.posix_acl_access", kDefaultAcl = "system.posix_acl_default";
constexpr uint32_t kSecureRemove = 0x1;  // chattr +s: what is removed skips the trash

constexpr std::string_view kTrusted = "trusted.", kUser = "user.";

bool is_acl(std::string_view name) { return name == kAccessAcl || name == kDefaultAcl; }

// Linux knows attributes by the namespace that their name begins with (xattr(7)).
bool in_a_namespace(std::string_view name) {
  for (std::string_view prefix : {kUser, std::string_view("security."), kTrusted})
    if (name.starts_with(prefix)) return true;
  return is_acl(name);
}

bool is_bare_namespace(std::string_view name) {
  return in_a_namespace(name) && name.ends_with('.') && std::ranges::count(name, '.') == 1;
}

}  // namespace

// 0 when the name may be used on this mount; ENOTSUP when it is turned off, ENODATA being what reading it gives then.
int FileSystem::check_xattr(std::string_view name) const {
  if (name.size() > kMaxXattrName) return ERANGE;
  if (name.empty() || is_bare_namespace(name)) return EINVAL;
  if (name == "security.capability" && !options_.enable_cap) return ENOTSUP;
  if (name == "security.selinux" && !options_.enable_selinux) return ENOTSUP;
  if (is_acl(name) && !acl_) return ENOTSUP;
  return 0;
}

// Who may, as Linux has it where the kernel checks permissions (xattr(7)).
Result<void> FileSystem::may_xattr(const Context& context, Ino ino, std::string_view name, bool write) {
  if (!context.check_permission || context.uid == 0 || is_acl(name)) return {};
  if (name.starts_with(kTrusted)) return fail(write ? EPERM : ENODATA);
  if (!name.starts_with(kUser)) return write ? fail(EPERM) : Result<void>();
  ZEST_ASSIGN(auto attr, meta_.getattr(context, ino));
  const bool sticky_dir = attr.is_dir() && (attr.mode & 01000) != 0;
  if (write && sticky_dir && context.uid != attr.uid) return fail(EPERM);
  return meta_.access(context, ino, write ? meta::kMayWrite : meta::kMayRead, &attr);
}

Result<void> FileSystem::setxattr(const Context& context, Ino ino, std::string_view name, std::string_view value,
                                  uint32_t flags) {
  Op op(*this, context, Method::kSetxattr);
  auto result = do_setxattr(context, ino, name, value, flags);
  op.end(result, [&] { return fmt::format("({},{},{},{})", raw(ino), log_text(name), value.size(), flags); });
  return result;
}

Result<void> FileSystem::do_setxattr(const Context& context, Ino ino, std::string_view name, std::string_view value,
                                     uint32_t flags) {
  if (is_special(ino)) return fail(EPERM);
  if (value.size() > kMaxXattrValue) return fail(ERANGE);
  if (int code = check_xattr(name)) return fail(code);
  if (!in_a_namespace(name)) return fail(ENOTSUP);
  ZEST_TRY(may_xattr(context, ino, name, true));
  if (!is_acl(name)) return meta_.setxattr(context, ino, name, value, flags);
  ZEST_ASSIGN(auto rule, acl_from_xattr(value));
  auto result = meta_.set_acl(with_groups(context), ino, name == kDefaultAcl, rule);
  if (result) changes_->inode(ino);
  return result;
}

Result<std::string> FileSystem::getxattr(const Context& context, Ino ino, std::string_view name, size_t buffer) {
  Op op(*this, context, Method::kGetxattr);
  auto result = do_getxattr(context, ino, name, buffer);
  op.end(result, [&] {
    return fmt::format("({},{},{}): ({})", raw(ino), log_text(name), buffer, result ? result->size() : 0);
  });
  return result;
}

Result<std::string> FileSystem::do_getxattr(const Context& context, Ino ino, std::string_view name, size_t buffer) {
  if (int code = check_xattr(name)) return fail(code == ENOTSUP ? ENODATA : code);
  if (is_special(ino)) return fail(ENODATA);
  ZEST_TRY(may_xattr(context, ino, name, false));
  Result<std::string> value;
  if (is_acl(name)) {
    ZEST_ASSIGN(auto rule, meta_.get_acl(context, ino, name == kDefaultAcl));
    value = acl_to_xattr(rule);
  } else {
    value = meta_.getxattr(context, ino, name);
  }
  // Other clients may have stored names that this one would not.
  if (!value && value.error().code == ENODATA && !in_a_namespace(name)) return fail(ENOTSUP);
  if (value && buffer > 0 && value->size() > buffer) return fail(ERANGE);
  return value;
}

Result<std::string> FileSystem::listxattr(const Context& context, Ino ino, size_t buffer) {
  Op op(*this, context, Method::kListxattr);
  auto result = do_listxattr(context, ino, buffer);
  op.end(result, [&] { return fmt::format("({},{}): ({})", raw(ino), buffer, result ? result->size() : 0); });
  return result;
}

Result<std::string> FileSystem::do_listxattr(const Context& context, Ino ino, size_t buffer) {
  if (is_special(ino)) return fail(ENODATA);
  ZEST_ASSIGN(auto names, meta_.listxattr(context, ino));
  std::string out;
  for (auto& name : names) {
    if (name.starts_with(kTrusted) && context.uid != 0) continue;
    out += name;
    out.push_back('\0');
  }
  if (buffer > 0 && out.size() > buffer) return fail(ERANGE);
  return out;
}

Result<void> FileSystem::removexattr(const Context& context, Ino ino, std::string_view name) {
  Op op(*this, context, Method::kRemovexattr);
  auto result = do_removexattr(context, ino, name);
  op.end(result, [&] { return fmt::format("({},{})", raw(ino), log_text(name)); });
  return result;
}

Result<void> FileSystem::do_removexattr(const Context& context, Ino ino, std::string_view name) {
  if (is_special(ino)) return fail(EPERM);
  if (int code = check_xattr(name)) return fail(code);
  ZEST_TRY(may_xattr(context, ino, name, true));
  if (!is_acl(name)) {
    auto removed = meta_.removexattr(context, ino, name);
    if (!removed && removed.error().code == ENODATA && !in_a_namespace(name)) return fail(ENOTSUP);
    return removed;
  }
  auto result = meta_.set_acl(with_groups(context), ino, name == kDefaultAcl, AclRule{});
  if (result) changes_->inode(ino);
  return result;
}

// --- chattr ---

Result<uint32_t> FileSystem::get_flags(const Context& context, Ino ino, uint32_t cmd) {
  Op op(*this, context, Method::kIoctl);
  Result<uint32_t> result = fail(EPERM);
  if (!is_special(ino)) {
    auto attr = meta_.getattr(context, ino);
    if (attr) {
      uint32_t flags = 0;
      if (attr->flags & kFlagImmutable) flags |= FS_IMMUTABLE_FL;
      if (attr->flags & kFlagAppend) flags |= FS_APPEND_FL;
      if (attr->flags & kFlagSkipTrash) flags |= kSecureRemove;
      result = flags;
    } else {
      result = fail(std::move(attr.error()));
    }
  }
  op.end(result, [&] { return fmt::format("({},0x{:X},0x0,[],[{}])", raw(ino), cmd, result.value_or(0)); });
  return result;
}

Result<void> FileSystem::set_flags(const Context& context, Ino ino, uint32_t cmd, uint32_t flags) {
  Op op(*this, context, Method::kIoctl);
  Result<void> result;
  constexpr uint32_t known = FS_IMMUTABLE_FL | FS_APPEND_FL | kSecureRemove;
  if (is_special(ino)) {
    result = fail(EPERM);
  } else if (flags & ~known) {
    result = fail(ENOTSUP);
  } else if (context.check_permission && context.uid != 0) {
    result = fail(EPERM);
  } else if (auto attr = meta_.getattr(context, ino); !attr) {
    result = fail(std::move(attr.error()));
  } else {
    Attr values;
    values.flags = static_cast<uint8_t>(attr->flags & ~(kFlagImmutable | kFlagAppend | kFlagSkipTrash));
    if (flags & FS_IMMUTABLE_FL) values.flags |= kFlagImmutable;
    if (flags & FS_APPEND_FL) values.flags |= kFlagAppend;
    if (flags & kSecureRemove) values.flags |= kFlagSkipTrash;
    if (auto set = meta_.setattr(context, ino, meta::kSetFlags, values); !set) result = fail(std::move(set.error()));
    changes_->inode(ino);
  }
  op.end(result, [&] { return fmt::format("({},0x{:X},0x0,[{}],[])", raw(ino), cmd, flags); });
  return result;
}

}  // namespace zest::fs
