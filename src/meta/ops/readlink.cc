// readlink (semantics.md 5.6).
#include "meta/ops/entries.h"

namespace zest::meta {

Result<std::string> Meta::readlink(const Context&, Ino ino_in) {
  Calling calling(engine().stats, Call::kReadLink);
  State& state = *state_;
  const Ino ino = state.map_root(ino_in);
  const AtimeMode atime = state.options.read_only ? AtimeMode::kNoAtime : state.options.atime;
  if (atime == AtimeMode::kNoAtime) {
    if (auto target = state.link_targets.find(ino)) return *target;
  }
  Attr attr;
  std::string target;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(ino)}, {Key::symlink(ino)}}));
    ZEST_ASSIGN(auto found, txn.attr(ino));
    if (!found) return fail(ENOENT);
    if (found->type != FileType::kSymlink) return fail(EINVAL);
    ZEST_ASSIGN(auto stored, txn.symlink(ino));
    if (!stored) return fail(EIO, "symlink " + std::to_string(raw(ino)) + " has no target");
    attr = *found;
    target = *stored;
    return {};
  }));
  if (atime_due(atime, attr, state.clock.now())) touch_atime(state, ino);
  state.link_targets.keep(ino, target);
  return target;
}

}  // namespace zest::meta
