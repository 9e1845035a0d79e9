#include "meta/access.h"

#include <algorithm>

#include "base/log.h"
#include "meta/state.h"

namespace zest::meta {

bool Context::in_group(uint32_t group) const {
  return gid == group || std::find(gids.begin(), gids.end(), group) != gids.end();
}

Result<void> check_access(State& state, Txn& txn, const Context& ctx, const Attr& attr, uint8_t mask) {
  if (!ctx.check_permission) return {};
  if (ctx.uid == 0) {  // may all, but run what nobody may run
    if ((mask & kMayExec) && !attr.is_dir() && !(attr.mode & 0111)) return fail(EACCES);
    return {};
  }
  if (attr.access_acl != 0 && (attr.mode & 0070) != 0) {
    ZEST_ASSIGN(const AclRule rule, state.acls.rule(txn, attr.access_acl));
    std::vector<uint32_t> gids = ctx.gids;
    if (std::find(gids.begin(), gids.end(), ctx.gid) == gids.end()) gids.push_back(ctx.gid);
    if (!acl_allows(rule, attr.uid, attr.gid, ctx.uid, gids, mask)) return fail(EACCES);
    return {};
  }
  const int shift = ctx.uid == attr.uid ? 6 : ctx.in_group(attr.gid) ? 3 : 0;
  if (((attr.mode >> shift) & mask) != mask) return fail(EACCES);
  return {};
}

Result<void> check_sticky(const Context& ctx, const Attr& parent, const Attr& node) {
  if ((parent.mode & 01000) != 0 && ctx.uid != 0 && ctx.uid != parent.uid && ctx.uid != node.uid) return fail(EPERM);
  return {};
}

bool touch_parent(const State& state, const Txn& txn, Ino parent, Attr& attr, Time now, bool nlink_changed) {
  if (is_trash(parent)) return false;
  const int64_t age_ms = diff_ms(now, attr.mtime);
  const int64_t skip_ms = state.options.skip_dir_mtime_ms * (txn.attempt() + 1);
  const bool young = age_ms >= 0 && age_ms < skip_ms;
  if (young && !nlink_changed && (txn.attempt() > 0 || state.busy_dirs.busy(parent, state.clock.monotonic_ms())))
    return false;
  attr.mtime = attr.ctime = now;
  return true;
}

bool atime_due(AtimeMode mode, const Attr& attr, Time now) {
  if (mode == AtimeMode::kNoAtime) return false;
  constexpr int64_t kDayMs = 86'400'000, kSecondMs = 1000;
  const int64_t age_ms = diff_ms(now, attr.atime);
  if (attr.mtime > attr.atime || attr.ctime > attr.atime || age_ms > kDayMs) return true;
  return mode == AtimeMode::kStrictAtime && age_ms > kSecondMs;
}

void touch_atime(State& state, Ino ino) {
  if (state.options.atime == AtimeMode::kNoAtime || state.options.read_only) return;
  auto done = state.run({ino}, [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto attr, txn.attr(ino));
    const Time now = state.clock.now();
    if (!attr || !atime_due(state.options.atime, *attr, now)) return {};
    attr->atime = now;
    txn.put_attr(ino, *attr);
    state.change_log.add(txn, now, "ACCESS", {ino});
    return {};
  });
  if (!done) log_warning("atime of inode " + std::to_string(raw(ino)) + ": " + done.error().message());
}

}  // namespace zest::meta
