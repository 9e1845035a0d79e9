// Extended attributes (semantics.md 8.1). Which names a mount allows, and that the two ACL names are views of the ACL
// ids, is for the layer above.
#include "meta/ops/entries.h"

namespace zest::meta {

namespace {

Result<void> check_xattr_name(std::string_view name) {
  if (name.empty()) return fail(EINVAL);
  if (name.size() > kMaxXattrName) return fail(ERANGE);
  return {};
}

// The inode, if its attributes may be changed.
Result<Attr> changeable(Txn& txn, Ino ino) {
  ZEST_ASSIGN(auto attr, txn.attr(ino));
  if (!attr) return fail(ENOENT);
  if (attr->flags & (kFlagImmutable | kFlagAppend)) return fail(EPERM);
  return *attr;
}

void add_acl_names(const Attr& attr, std::vector<std::string>& names) {
  if (attr.access_acl != 0) names.emplace_back("system.posix_acl_access");
  if (attr.default_acl != 0) names.emplace_back("system.posix_acl_default");
}

// Of an inode that lives on in memory.
Result<void> set_removed(Removed::Node& node, std::string_view name, std::string_view value, uint32_t flags, Time now) {
  std::lock_guard lock(node.mutex);
  if (node.attr.flags & (kFlagImmutable | kFlagAppend)) return fail(EPERM);
  auto old = node.xattrs.find(std::string(name));
  if ((flags & kXattrCreate) && old != node.xattrs.end()) return fail(EEXIST);
  if ((flags & kXattrReplace) && old == node.xattrs.end()) return fail(ENODATA);
  node.xattrs[std::string(name)] = value;
  node.attr.ctime = now;
  return {};
}

Result<std::string> get_removed(Removed::Node& node, std::string_view name) {
  std::lock_guard lock(node.mutex);
  auto found = node.xattrs.find(std::string(name));
  if (found == node.xattrs.end()) return fail(ENODATA);
  return found->second;
}

std::vector<std::string> list_removed(Removed::Node& node) {
  std::lock_guard lock(node.mutex);
  std::vector<std::string> names;
  for (auto& [name, value] : node.xattrs) names.push_back(name);
  add_acl_names(node.attr, names);
  return names;
}

Result<void> remove_removed(Removed::Node& node, std::string_view name, Time now) {
  std::lock_guard lock(node.mutex);
  if (node.attr.flags & (kFlagImmutable | kFlagAppend)) return fail(EPERM);
  if (node.xattrs.erase(std::string(name)) == 0) return fail(ENODATA);
  node.attr.ctime = now;
  return {};
}

}  // namespace

Result<void> Meta::setxattr(const Context&, Ino ino, std::string_view name, std::string_view value, uint32_t flags) {
  Calling calling(engine().stats, Call::kSetXattr);
  State& s = *state_;
  ino = s.map_root(ino);
  if (is_special(ino)) return fail(EPERM);
  ZEST_TRY(check_xattr_name(name));
  if (value.size() > kMaxXattrValue) return fail(ERANGE);
  ZEST_TRY(s.writable());
  if (flags & ~(kXattrCreate | kXattrReplace)) return fail(EINVAL);
  if (auto node = s.removed.find(ino)) return set_removed(*node, name, value, flags, s.clock.now());
  auto body = [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(ino)}, {Key::xattr(ino, name)}}));
    ZEST_ASSIGN(Attr attr, changeable(txn, ino));
    ZEST_ASSIGN(auto old, txn.xattr(ino, name));
    if ((flags & kXattrCreate) && old) return fail(EEXIST);
    if ((flags & kXattrReplace) && !old) return fail(ENODATA);
    if (!old || *old != value) txn.put(Key::xattr(ino, name), std::string(value));
    attr.ctime = s.clock.now();
    txn.put_attr(ino, attr);
    s.change_log.add(txn, attr.ctime, "SETXATTR", {ino, name, value, flags});
    return {};
  };
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto now, txn.xattr(ino, name));
    return now && *now == value;
  };
  ZEST_TRY(run_entries(s, {ino}, body, settled));
  s.open_files.forget_attr(ino);
  return {};
}

Result<std::string> Meta::getxattr(const Context&, Ino ino, std::string_view name) {
  Calling calling(engine().stats, Call::kGetXattr);
  State& s = *state_;
  ino = s.map_root(ino);
  if (is_special(ino)) return fail(ENODATA);
  ZEST_TRY(check_xattr_name(name));
  if (auto node = s.removed.find(ino)) return get_removed(*node, name);
  std::optional<std::string> value;
  ZEST_TRY(s.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(value, txn.xattr(ino, name));
    return {};
  }));
  if (!value) return fail(ENODATA);
  return std::move(*value);
}

Result<std::vector<std::string>> Meta::listxattr(const Context&, Ino ino) {
  Calling calling(engine().stats, Call::kListXattr);
  State& s = *state_;
  ino = s.map_root(ino);
  if (is_special(ino)) return fail(ENODATA);
  if (auto node = s.removed.find(ino)) return list_removed(*node);
  std::vector<std::string> names;
  ZEST_TRY(s.read([&](Txn& txn) -> Result<void> {
    names.clear();
    ZEST_TRY(txn.want({{Key::inode(ino)}, {Key::xattrs(ino)}}));
    ZEST_ASSIGN(auto attr, txn.attr(ino));
    if (!attr) return fail(ENOENT);
    ZEST_ASSIGN(auto all, txn.xattrs(ino));
    for (auto& [name, value] : all) names.push_back(name);
    add_acl_names(*attr, names);
    return {};
  }));
  return names;
}

Result<void> Meta::removexattr(const Context&, Ino ino, std::string_view name) {
  Calling calling(engine().stats, Call::kRemoveXattr);
  State& s = *state_;
  ino = s.map_root(ino);
  if (is_special(ino)) return fail(EPERM);
  ZEST_TRY(check_xattr_name(name));
  ZEST_TRY(s.writable());
  if (auto node = s.removed.find(ino)) return remove_removed(*node, name, s.clock.now());
  auto body = [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(ino)}, {Key::xattr(ino, name)}}));
    ZEST_ASSIGN(auto old, txn.xattr(ino, name));
    if (!old) return fail(ENODATA);
    ZEST_ASSIGN(Attr attr, changeable(txn, ino));
    txn.erase(Key::xattr(ino, name));
    attr.ctime = s.clock.now();
    txn.put_attr(ino, attr);
    s.change_log.add(txn, attr.ctime, "REMOVEXATTR", {ino, name});
    return {};
  };
  auto settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto now, txn.xattr(ino, name));
    return !now;
  };
  ZEST_TRY(run_entries(s, {ino}, body, settled));
  s.open_files.forget_attr(ino);
  return {};
}

}  // namespace zest::meta
