// truncate (semantics.md 7.2) and fallocate (7.3).
#include "meta/growth.h"

namespace zest::meta {

Result<Attr> Meta::truncate(const Context& ctx, Ino ino, uint64_t length, bool by_handle) {
  Calling calling(engine().stats, Call::kTruncate);
  State& s = *state_;
  ZEST_TRY(s.may_change(ino));
  if (length >= kMaxFileSize) return fail(EFBIG);
  DataChange change;
  auto done = run_data_change(s, {ino}, ino, change, [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(ino)}}));
    ZEST_ASSIGN(auto found, txn.attr(ino));
    if (!found) return fail(ENOENT);
    change = {*found, *found};
    if (!found->is_file() || (found->flags & (kFlagAppend | kFlagImmutable))) return fail(EPERM);
    if (!by_handle && found->in_trash() && !s.open_files.is_open(ino)) return fail(EPERM);
    if (!by_handle) ZEST_TRY(check_access(s, txn, ctx, *found, kMayWrite));
    // A handle's truncation, and O_TRUNC (which comes without one), move the times even when the length stays.
    if (found->length == length && !by_handle && length > 0) return {};
    change.after.length = length;
    change.after.mtime = change.after.ctime = s.clock.now();
    ZEST_TRY(put_data_change(s, txn, ctx, ino, change));
    s.change_log.add(txn, change.after.ctime, "TRUNCATE", {ino, found->length, length, by_handle ? 1 : 0});
    return append_zeroes(s, txn, ino, std::min(found->length, length), std::max(found->length, length), true);
  });
  if (!done) return fail(std::move(done.error()));
  if (change.after != change.before) data_changed(s, ino, change, {});
  return change.after;
}

namespace {

Result<void> check_fallocate_mode(uint32_t mode, uint64_t offset, uint64_t size) {
  if (mode & (kFallocCollapse | kFallocInsert))
    return fail(mode == kFallocCollapse || mode == kFallocInsert ? ENOTSUP : EINVAL);
  if ((mode & kFallocPunchHole) && !(mode & kFallocKeepSize)) return fail(EINVAL);
  if (size == 0) return fail(EINVAL);
  if (offset >= kMaxFileSize || size >= kMaxFileSize || offset + size >= kMaxFileSize) return fail(EFBIG);
  return {};
}

}  // namespace

Result<Attr> Meta::fallocate(const Context& ctx, Ino ino, uint32_t mode, uint64_t offset, uint64_t size) {
  Calling calling(engine().stats, Call::kFallocate);
  State& s = *state_;
  ZEST_TRY(check_fallocate_mode(mode, offset, size));
  ZEST_TRY(s.may_change(ino));
  DataChange change;
  auto done = run_data_change(s, {ino}, ino, change, [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(ino)}}));
    ZEST_ASSIGN(auto found, txn.attr(ino));
    if (!found) return fail(ENOENT);
    if (found->type == FileType::kFifo) return fail(EPIPE);
    if (!found->is_file() || (found->flags & kFlagImmutable)) return fail(EPERM);
    if ((found->flags & kFlagAppend) && (mode & ~kFallocKeepSize)) return fail(EPERM);
    change = {*found, *found};
    if (!(mode & kFallocKeepSize)) change.after.length = std::max(found->length, offset + size);
    change.after.mtime = change.after.ctime = s.clock.now();
    ZEST_TRY(put_data_change(s, txn, ctx, ino, change));
    s.change_log.add(txn, change.after.ctime, "FALLOCATE", {ino, offset, size, mode});
    if (!(mode & (kFallocPunchHole | kFallocZeroRange))) return {};
    uint64_t end = std::min(offset + size, found->length);
    // Chunks without a list are zeroes already; a few of them get their record all the same, as the reference does it.
    return append_zeroes(s, txn, ino, offset, end, false);
  });
  if (!done) return fail(std::move(done.error()));
  data_changed(s, ino, change, {});
  return change.after;
}

}  // namespace zest::meta
