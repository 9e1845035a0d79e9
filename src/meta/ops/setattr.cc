// setattr (semantics.md 5.4): owner, mode, times, flags. The order of the rules is the table's.
#include "meta/ops/make_node.h"

namespace zest::meta {

namespace {

struct Update {
  const Context& ctx;
  const uint32_t set;
  Attr want;         // requested values
  Attr now;          // the inode's, being changed
  bool any = false;  // something changed

  bool asks(uint32_t bits) const { return set & bits; }
  bool is_owner() const { return ctx.uid == 0 || ctx.uid == now.uid; }
  bool checked_user() const { return ctx.check_permission && ctx.uid != 0; }
};

// Linux: owner, mode and times of a protected file are fixed; but one that is append-only may be touched.
Result<void> check_flags(const Update& update) {
  if (update.asks(kSetFlags)) return {};  // lifting the protection, possibly
  constexpr uint32_t kNow = kSetAtimeNow | kSetMtimeNow;
  const bool touch = (update.set & kNow) == kNow && !update.asks(kSetMode | kSetUid | kSetGid);
  const uint8_t fixed = touch ? kFlagImmutable : kFlagImmutable | kFlagAppend;
  if (update.asks(kSetMode | kSetUid | kSetGid | kSetAtime | kSetMtime | kNow) && (update.now.flags & fixed))
    return fail(EPERM);
  return {};
}

// a, b: a change of owner takes set-user-id and set-group-id away, the latter as Linux does: not where the group may
// not execute, unless somebody asks who is not in it.
void drop_set_ids(Update& update) {
  if (!update.asks(kSetUid | kSetGid)) return;
  Attr& now = update.now;
  if (update.asks(kSetMode)) update.want.mode |= now.mode & 06000;
  if (!(now.mode & 06000) || now.is_dir()) return;
  const bool both = (now.mode & 0010) || (update.ctx.uid != 0 && !update.ctx.in_group(now.gid));
  const uint16_t keep = both ? 01777 : 03777;
  now.mode &= keep;
  update.want.mode &= keep;
  update.any = true;
}

// c, d
Result<void> change_owner(Update& update) {
  const Context& ctx = update.ctx;
  Attr& now = update.now;
  update.any |= update.asks(kSetUid | kSetGid);  // as with the mode: ctime moves even to the same owner
  if (update.asks(kSetGid)) {
    if (!update.is_owner()) return fail(EPERM);
    if (update.want.gid != now.gid) {
      if (update.checked_user() && !ctx.in_group(update.want.gid)) return fail(EPERM);
      now.gid = update.want.gid;
    }
  }
  if (update.asks(kSetUid)) {
    if (update.checked_user() && (!update.is_owner() || update.want.uid != now.uid)) return fail(EPERM);
    now.uid = update.want.uid;
  }
  return {};
}

// e. `owner`: the uid before this update.
Result<void> change_mode(State& state, Txn& txn, Update& update, uint32_t owner, std::optional<AclRule>& to_intern) {
  if (!update.asks(kSetMode)) return {};
  const Context& ctx = update.ctx;
  Attr& now = update.now;
  uint16_t mode = update.want.mode & 07777;
  if (update.checked_user() && (mode & 02000) && !ctx.in_group(now.gid)) mode &= ~02000;
  const bool may = ctx.uid == 0 || ctx.uid == owner;
  // Others may only take set-id bits away, as the kernel does for a writer; it keeps set-group-id where the group may
  // not execute, even if the writer is not in it.
  const bool strips = !may && ((mode ^ now.mode) & 01777) == 0 && (mode & ~now.mode & 06000) == 0;
  if (strips && mode != now.mode) {
    now.mode = ctx.in_group(now.gid) ? mode : mode & 05777;
    update.any = true;
    return {};
  }
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
    update.any = true;
    return {};
  }
  if (!may) {
    if (mode != now.mode || ctx.check_permission) return fail(EPERM);
    return {};
  }
  now.mode = mode;
  update.any = true;  // POSIX: ctime moves even when the mode stays
  return {};
}

// Who may write may set both times to now, and nothing else of them. Behind a kernel that checks, a writer may be
// passing on the time of its cached writes.
Result<void> check_times(State& state, Txn& txn, const Update& update) {
  constexpr uint32_t kBothNow = kSetAtimeNow | kSetMtimeNow;
  if (!update.asks(kBothNow | kSetAtime | kSetMtime) || !update.checked_user() || update.is_owner()) return {};
  if ((update.set & kBothNow) != kBothNow) return fail(EPERM);
  return check_access(state, txn, update.ctx, update.now, kMayWrite);
}

// f, g: one of the two times.
void change_time(Update& update, uint32_t now_bit, uint32_t bit, Time requested, Time Attr::*member, Time clock_now) {
  if (!update.asks(now_bit | bit)) return;
  const Time wanted = update.asks(now_bit) ? clock_now : requested;
  update.any |= update.asks(now_bit) || update.now.*member != wanted;
  update.now.*member = wanted;
}

Result<void> apply(State& state, Txn& txn, Update& update, Time clock_now, std::optional<AclRule>& to_intern) {
  ZEST_TRY(check_flags(update));
  const uint32_t owner = update.now.uid;
  const Attr before = update.now;
  drop_set_ids(update);
  ZEST_TRY(change_owner(update));
  ZEST_TRY(change_mode(state, txn, update, owner, to_intern));
  // Permission for times is that of the owner before.
  Update times{update.ctx, update.set, update.want, before, false};
  ZEST_TRY(check_times(state, txn, times));
  change_time(times, kSetAtimeNow, kSetAtime, update.want.atime, &Attr::atime, clock_now);
  change_time(times, kSetMtimeNow, kSetMtime, update.want.mtime, &Attr::mtime, clock_now);
  // Chosen times count as a change even when they are what the inode has.
  update.any |= times.any || update.asks(kSetAtime | kSetMtime);
  update.now.atime = times.now.atime;
  update.now.mtime = times.now.mtime;
  if (update.asks(kSetFlags)) update.now.flags = update.want.flags, update.any = true;
  if (update.asks(kSetTier)) update.now.tier = update.want.tier, update.any = true;
  return {};
}

Result<Attr> change_removed(State& state, const Context& ctx, Removed::Node& node, uint32_t set, const Attr& values) {
  std::lock_guard lock(node.mutex);
  std::optional<AclRule> to_intern;
  auto change = [&] {
    return state.run({}, [&](Txn& txn) -> Result<void> {
      Update update{ctx, set, values, node.attr, false};
      const Time now = state.clock.now();
      ZEST_TRY(apply(state, txn, update, now, to_intern));
      if (update.any) node.attr = update.now, node.attr.ctime = now;
      return {};
    });
  };
  ZEST_TRY(intern_and_run(state, to_intern, change));
  return node.attr;
}

}  // namespace

Result<Attr> Meta::setattr(const Context& ctx, Ino ino_in, uint32_t set, const Attr& values) {
  Calling calling(engine().stats, Call::kSetAttr);
  State& state = *state_;
  const Ino ino = state.map_root(ino_in);
  if (is_trash(ino)) return fail(EPERM);
  ZEST_TRY(state.writable());

  if (auto node = state.removed.find(ino)) return change_removed(state, ctx, *node, set, values);
  Attr before, after;
  std::optional<AclRule> to_intern;
  auto body = [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto stored, txn.attr(ino));
    if (!stored) return fail(ENOENT);
    // What went to the trash while open here is still the one that its users have.
    if (stored->in_trash() && !state.open_files.is_open(ino) && !state.removed.holds(ino)) return fail(EPERM);
    before = *stored;
    const Time now = state.clock.now();
    Update update{ctx, set, values, before, false};
    ZEST_TRY(apply(state, txn, update, now, to_intern));
    after = update.now;
    if (!update.any) return {};
    if (before.uid != after.uid || before.gid != after.gid)
      ZEST_TRY(state.ledger.check_owner(state, after.uid, after.gid, after.space(), 1));
    after.ctime = now;
    txn.put_attr(ino, after);
    state.change_log.add(txn, now, "SETATTR",
                         {ino, set, 0, after.uid, after.gid, after.mode, after.flags, after.atime.sec, after.mtime.sec,
                          after.atime.nsec, after.mtime.nsec, after.ctime.sec, after.ctime.nsec, after.access_acl});
    return {};
  };
  // Doing it twice does no harm, so a lost answer is no reason to give up.
  auto again = [](Txn&) -> Result<bool> { return false; };
  ZEST_TRY(intern_and_run(state, to_intern, [&] { return run_entries(state, {ino}, body, again); }));

  if (before.uid != after.uid || before.gid != after.gid) {
    state.ledger.owner(state, before.uid, before.gid, -before.space(), -1);
    state.ledger.owner(state, after.uid, after.gid, after.space(), 1);
  }
  state.open_files.forget_attr(ino);
  return after;
}

}  // namespace zest::meta
