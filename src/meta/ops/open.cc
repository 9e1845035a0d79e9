// open, close (semantics.md 7.1).
#include <fcntl.h>

#include "meta/ops/view_chunk.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

constexpr uint32_t kExecOpen = 0x20;  // FMODE_EXEC of Linux: the kernel opens a program to run it

uint8_t wanted_access(uint32_t flags) {
  switch (flags & O_ACCMODE) {
    case O_WRONLY: return kMayWrite;
    case O_RDWR: return kMayRead | kMayWrite;
    default: return flags & kExecOpen ? kMayExec : kMayRead;
  }
}

Result<void> check_open(State& state, Txn& txn, const Context& ctx, Ino ino, const Attr& attr, uint32_t flags) {
  ZEST_TRY(check_access(state, txn, ctx, attr, wanted_access(flags)));
  if ((flags & O_NOATIME) && ctx.check_permission && ctx.uid != 0 && ctx.uid != attr.uid) return fail(EPERM);
  bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (writes && (attr.flags & kFlagImmutable)) return fail(EPERM);
  // A file that went to the trash while open here is still the one that its users have: /proc/self/fd opens it again.
  if (writes && attr.in_trash() && !state.open_files.is_open(ino)) return fail(EPERM);
  if ((attr.flags & kFlagAppend) && ((writes && !(flags & O_APPEND)) || (flags & O_TRUNC))) return fail(EPERM);
  return {};
}

}  // namespace

Result<Meta::Opened> Meta::open(const Context& ctx, Ino ino, uint32_t flags) {
  Calling calling(engine().stats, Call::kGetAttr);
  State& s = *state_;
  if (s.options.read_only && ((flags & O_ACCMODE) != O_RDONLY || (flags & (O_TRUNC | O_APPEND)))) return fail(EROFS);
  std::optional<Attr> cached;
  if (s.options.open_cache_ms > 0) cached = s.open_files.attr(ino, s.clock.monotonic_ms(), s.options.open_cache_ms);
  Attr attr;
  // Who opens for reading will ask for the first chunk next: it comes along.
  const bool reads = (flags & O_ACCMODE) != O_WRONLY && !(flags & O_TRUNC);
  const bool with_chunk = !cached && reads && !s.open_files.chunk(ino, 0);
  const uint64_t version = s.open_files.expect(ino);
  std::string records;
  // Close to open: what another client closed before is what this open sees, so no cache is asked.
  TxnOptions options;
  options.write = false;
  options.afresh = true;
  ZEST_TRY(run(*s.engine, s.clock, options, [&](Txn& txn) -> Result<void> {
    if (cached) {
      attr = *cached;
    } else {
      const Want wants[] = {{Key::inode(ino)}, {Key::chunk(ino, 0)}};
      ZEST_TRY(txn.want(std::span(wants, with_chunk ? 2 : 1)));
      ZEST_ASSIGN(auto found, txn.attr(ino));
      if (!found) return fail(ENOENT);
      attr = *found;
      if (with_chunk) {
        ZEST_ASSIGN(records, txn.chunk(ino, 0));
      }
    }
    return check_open(s, txn, ctx, ino, attr, flags);
  }));
  Opened opened;
  opened.attr = attr;
  std::shared_ptr<const ChunkView> first;
  if (with_chunk && attr.is_file())
    if (auto view = view_chunk(s, ino, 0, records)) first = std::move(*view);  // else the read tells
  opened.keep_cache = s.open_files.open(ino, attr, s.clock.monotonic_ms(), cached ? 0 : version, std::move(first));
  if (atime_due(s.options.atime, attr, s.clock.now()) && !s.options.read_only) touch_atime(s, ino);
  return opened;
}

Result<std::vector<std::optional<Attr>>> Meta::reopen(const std::vector<Ino>& inodes) {
  State& s = *state_;
  std::vector<std::optional<Attr>> found;
  ZEST_TRY(s.read([&](Txn& txn) -> Result<void> {
    found.clear();
    std::vector<Want> wants;
    for (Ino ino : inodes) wants.push_back({Key::inode(ino)});
    ZEST_TRY(txn.want(wants));
    for (Ino ino : inodes) {
      ZEST_ASSIGN(auto attr, txn.attr(ino));
      found.push_back(attr);
    }
    return {};
  }));
  for (size_t i = 0; i < inodes.size(); i++) {
    if (!found[i]) continue;
    s.open_files.open(inodes[i], *found[i], s.clock.monotonic_ms());
    if (found[i]->nlink == 0) s.open_files.mark_sustained(inodes[i]);
  }
  return found;
}

Result<void> Meta::close(Ino ino) {
  State& s = *state_;
  bool sustained = false;
  (void)s.open_files.close(ino, &sustained);
  if (!sustained) return {};
  return release_sustained(s, s.sid, ino);
}

bool Meta::is_open(Ino ino) const { return state_->open_files.is_open(ino); }

}  // namespace zest::meta
