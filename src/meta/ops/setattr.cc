// setattr (semantics.md 5.4): owner, mode, times, flags. The order of the rules is the table's.
#include "meta/ops/make_node.h"

namespace zest::meta {

namespace {

struct Change {
  const Context& ctx;
  const uint32_t set;
  Attr want;         // requested values
  Attr now;          // the inode's, being changed
  bool any = false;  // something changed

  bool asks(uint32_t bits) const { return set & bits; }
  bool is_owner() const { return ctx.uid == 0 || ctx.uid == now.uid; }
  bool checked_user() const { return ctx.check_permission && ctx.uid != 0; }
};

// Linux: owner, mode and chosen times of a protected file are fixed; "now" may be set on one that is append-only.
Result<void> check_flags(const Change& change) {
  if (change.asks(kSetFlags)) return {};  // lifting the protection, possibly
  constexpr uint32_t kFixed = kSetMode | kSetUid | kSetGid | kSetAtime | kSetMtime;
  const bool fixed = change.asks(kFixed) && (change.now.flags & (kFlagImmutable | kFlagAppend));
  const bool touched = change.asks(kSetAtimeNow | kSetMtimeNow) && (change.now.flags & kFlagImmutable);
  if (fixed || touched) return fail(EPERM);
  return {};
}

// a, b: a change of owner takes set-user-id and set-group-id away.
void drop_set_ids(Change& change) {
  if (!change.asks(kSetUid | kSetGid)) return;
  Attr& now = change.now;
  if (change.asks(kSetMode)) change.want.mode |= now.mode & 06000;
  if (!(now.mode & 06000) || now.is_dir()) return;
  const bool both = change.ctx.uid != 0 || (now.mode & 0010);
  const uint16_t keep = both ? 01777 : 03777;
  now.mode &= keep;
  change.want.mode &= keep;
  change.any = true;
}

// c, d
Result<void> change_owner(Change& change) {
  const Context& ctx = change.ctx;
  Attr& now = change.now;
  if (change.asks(kSetGid)) {
    if (!change.is_owner()) return fail(EPERM);
    if (change.want.gid != now.gid) {
      if (change.checked_user() && !ctx.in_group(change.want.gid)) return fail(EPERM);
      now.gid = change.want.gid;
      change.any = true;
    }
  }
  if (change.asks(kSetUid) && change.want.uid != now.uid) {
    if (change.checked_user()) return fail(EPERM);
    now.uid = change.want.uid;
    change.any = true;
  }
  return {};
}

// e. `owner`: the uid before this change.
Result<void> change_mode(State& state, Txn& txn, Change& change, uint32_t owner, std::optional<AclRule>& to_intern) {
  if (!change.asks(kSetMode)) return {};
  const Context& ctx = change.ctx;
  Attr& now = change.now;
  uint16_t mode = change.want.mode & 07777;
  if (change.checked_user() && (mode & 02000) && !ctx.in_group(now.gid)) mode &= ~02000;
  const bool may = ctx.uid == 0 || ctx.uid == owner;
  if (now.access_acl != 0) {
    if (!may) return fail(EPERM);
    ZEST_ASSIGN(const AclRule rule, state.acls.rule(txn, now.access_acl));
    const AclRule changed = acl_chmod(rule, mode);
    const auto id = state.acls.known(changed);
    if (!id) {
      to_intern = changed;
      return fail(EAGAIN);
    }
    now.access_acl = *id;
    now.mode = static_cast<uint16_t>((mode & 07000) | acl_mode(changed));
    change.any = true;
    return {};
  }
  // Others may only take set-id bits away, as the kernel does for a writer.
  const bool only_strips = ((mode ^ now.mode) & 01777) == 0 && (mode & ~now.mode & 06000) == 0;
  if (!may && !(only_strips && mode != now.mode)) {
    if (mode != now.mode || ctx.check_permission) return fail(EPERM);
    return {};
  }
  now.mode = mode;
  change.any = true;  // POSIX: ctime moves even when the mode stays
  return {};
}

// f, g: one of the two times.
Result<void> change_time(State& state, Txn& txn, Change& change, uint32_t now_bit, uint32_t bit, Time requested,
                         Time Attr::*member, Time clock_now) {
  if (!change.asks(now_bit | bit)) return {};
  Attr& now = change.now;
  if (change.asks(now_bit)) {
    if (!change.is_owner()) ZEST_TRY(check_access(state, txn, change.ctx, now, kMayWrite));
    now.*member = clock_now;
    change.any = true;
    return {};
  }
  // Behind a kernel that checks, a writer may be passing on the time of its cached writes.
  if (change.checked_user() && !change.is_owner()) return fail(EPERM);
  if (now.*member != requested) {
    now.*member = requested;
    change.any = true;
  }
  return {};
}

Result<void> apply(State& state, Txn& txn, Change& change, Time clock_now, std::optional<AclRule>& to_intern) {
  ZEST_TRY(check_flags(change));
  const uint32_t owner = change.now.uid;
  const Attr before = change.now;
  drop_set_ids(change);
  ZEST_TRY(change_owner(change));
  ZEST_TRY(change_mode(state, txn, change, owner, to_intern));
  // Permission for times is that of the owner before.
  Change times{change.ctx, change.set, change.want, before, false};
  ZEST_TRY(change_time(state, txn, times, kSetAtimeNow, kSetAtime, change.want.atime, &Attr::atime, clock_now));
  ZEST_TRY(change_time(state, txn, times, kSetMtimeNow, kSetMtime, change.want.mtime, &Attr::mtime, clock_now));
  // Chosen times count as a change even when they are what the inode has.
  change.any |= times.any || change.asks(kSetAtime | kSetMtime);
  change.now.atime = times.now.atime;
  change.now.mtime = times.now.mtime;
  if (change.asks(kSetFlags)) change.now.flags = change.want.flags, change.any = true;
  if (change.asks(kSetTier)) change.now.tier = change.want.tier, change.any = true;
  return {};
}

}  // namespace

Result<Attr> Meta::setattr(const Context& ctx, Ino ino_in, uint32_t set, const Attr& values) {
  State& state = *state_;
  const Ino ino = state.map_root(ino_in);
  if (is_trash(ino)) return fail(EPERM);
  ZEST_TRY(state.writable());

  Attr before, after;
  std::optional<AclRule> to_intern;
  auto body = [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto stored, txn.attr(ino));
    if (!stored) return fail(ENOENT);
    if (stored->in_trash()) return fail(EPERM);
    before = *stored;
    const Time now = state.clock.now();
    Change change{ctx, set, values, before, false};
    ZEST_TRY(apply(state, txn, change, now, to_intern));
    after = change.now;
    if (!change.any) return {};
    if (before.uid != after.uid || before.gid != after.gid)
      ZEST_TRY(state.ledger.check_owner(state, after.uid, after.gid, after.space(), 1));
    after.ctime = now;
    txn.put_attr(ino, after);
    return {};
  };
  ZEST_TRY(intern_and_run(state, to_intern, [&] { return state.run({ino}, body); }));

  if (before.uid != after.uid || before.gid != after.gid) {
    state.ledger.owner(state, before.uid, before.gid, -before.space(), -1);
    state.ledger.owner(state, after.uid, after.gid, after.space(), 1);
  }
  state.open_files.forget_attr(ino);
  return after;
}

}  // namespace zest::meta
