// POSIX ACLs of an inode (semantics.md 8.2, encodings.md 9.4).
#include "meta/ops/entries.h"

namespace zest::meta {

namespace {

struct AclChange {
  bool is_default;
  const AclRule& asked;
  AclRule stored;          // what is to be referred to; empty: no ACL
  uint32_t id = 0;         // of `stored`
  bool sets_mode = false;  // an access rule shows in the mode
};

// The rule that results on an inode of this mode: missing parts come from it.
void complete(AclChange& change, uint16_t mode) {
  change.sets_mode = !change.is_default && !change.asked.empty();
  change.stored = change.asked.empty() ? AclRule{} : acl_fill(change.asked, mode);
}

// Removing what is not there; to set what is there is a change, as on local file systems.
bool is_idle(const AclChange& change, const Attr& before, const Attr& after) {
  return change.asked.empty() && after == before;
}

bool is_stored(const AclChange& change) {
  return !change.asked.empty() && (change.is_default || !change.asked.minimal());
}

Result<void> check_set_acl(const Context& ctx, const Attr& attr, const AclChange& change) {
  if (ctx.uid != 0 && ctx.uid != attr.uid) return fail(EPERM);
  if (attr.flags & kFlagImmutable) return fail(EPERM);
  if (change.is_default && !attr.is_dir() && !change.asked.empty()) return fail(EACCES);
  return {};
}

Attr with_acl(const Context& ctx, const Attr& before, const AclChange& change) {
  Attr attr = before;
  if (!change.is_default && ctx.uid != 0 && !ctx.in_group(attr.gid)) attr.mode &= static_cast<uint16_t>(~02000);
  (change.is_default ? attr.default_acl : attr.access_acl) = change.id;
  if (change.sets_mode) attr.mode = static_cast<uint16_t>((attr.mode & 07000) | (acl_mode(change.stored) & 0777));
  return attr;
}

// Of an inode that lives on in memory.
Result<void> set_removed(State& s, const Context& ctx, Removed::Node& node, AclChange& change) {
  std::lock_guard lock(node.mutex);
  ZEST_TRY(check_set_acl(ctx, node.attr, change));
  complete(change, node.attr.mode);
  if (is_stored(change)) {
    ZEST_ASSIGN(change.id, s.acls.intern(s, change.stored));
  }
  Attr after = with_acl(ctx, node.attr, change);
  if (is_idle(change, node.attr, after)) return {};
  after.ctime = s.clock.now();
  node.attr = after;
  return {};
}

}  // namespace

Result<void> Meta::set_acl(const Context& ctx, Ino ino, bool default_acl, const AclRule& rule) {
  Calling calling(engine().stats, Call::kSetFacl);
  State& s = *state_;
  ino = s.map_root(ino);
  if (is_special(ino)) return fail(EPERM);
  if (!s.enable_acl) return fail(ENOTSUP);
  ZEST_TRY(s.writable());
  AclChange change{default_acl, rule, {}, 0, false};
  if (auto node = s.removed.find(ino)) return set_removed(s, ctx, *node, change);
  // The rule gets its id in a transaction of its own, so the inode is looked at before and must not have changed since.
  for (int attempt = 0; attempt < 50; attempt++) {
    Attr seen;
    ZEST_TRY(s.read([&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(auto attr, txn.attr(ino));
      if (!attr) return fail(ENOENT);
      seen = *attr;
      return check_set_acl(ctx, seen, change);
    }));
    complete(change, seen.mode);
    change.id = 0;
    if (is_stored(change)) {
      ZEST_ASSIGN(change.id, s.acls.intern(s, change.stored));
    }
    bool outdated = false;
    Attr after;
    auto body = [&](Txn& txn) -> Result<void> {
      outdated = false;
      ZEST_ASSIGN(auto attr, txn.attr(ino));
      if (!attr) return fail(ENOENT);
      ZEST_TRY(check_set_acl(ctx, *attr, change));
      outdated = attr->mode != seen.mode;
      after = with_acl(ctx, *attr, change);
      if (outdated || is_idle(change, *attr, after)) return {};
      after.ctime = s.clock.now();
      txn.put_attr(ino, after);
      if (s.change_log.on())
        s.change_log.add(txn, after.ctime, "SETFACL", {ino, default_acl ? 2 : 1, encode_acl(rule)});
      return {};
    };
    auto settled = [&](Txn& txn) -> Result<bool> {
      ZEST_ASSIGN(auto attr, txn.attr(ino));
      return attr && attr->ctime == after.ctime;
    };
    ZEST_TRY(run_entries(s, {ino}, body, settled));
    if (outdated) continue;
    s.open_files.forget_attr(ino);
    return {};
  }
  return fail(EAGAIN);
}

Result<AclRule> Meta::get_acl(const Context&, Ino ino, bool default_acl) {
  Calling calling(engine().stats, Call::kGetFacl);
  State& s = *state_;
  ino = s.map_root(ino);
  if (is_special(ino) || !s.enable_acl) return fail(ENODATA);
  std::optional<Attr> cached;
  if (s.options.open_cache_ms > 0) cached = s.open_files.attr(ino, s.clock.monotonic_ms(), s.options.open_cache_ms);
  if (auto node = s.removed.find(ino)) {
    std::lock_guard lock(node->mutex);
    cached = node->attr;
  }
  AclRule rule;
  ZEST_TRY(s.read([&](Txn& txn) -> Result<void> {
    Attr attr;
    if (cached) {
      attr = *cached;
    } else {
      ZEST_ASSIGN(auto found, txn.attr(ino));
      if (!found) return fail(ENOENT);
      attr = *found;
      s.open_files.update(ino, attr, s.clock.monotonic_ms());
    }
    uint32_t id = default_acl ? attr.default_acl : attr.access_acl;
    if (id == 0) return fail(ENODATA);
    ZEST_ASSIGN(rule, s.acls.rule(txn, id));
    return {};
  }));
  return rule;
}

}  // namespace zest::meta
