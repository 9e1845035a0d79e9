// open(O_CREAT) (semantics.md 6.1).
#include "meta/ops/make_node.h"

namespace zest::meta {

Result<Meta::Created> Meta::create(const Context& ctx, Ino parent, std::string_view name, uint16_t mode, uint16_t umask,
                                   bool exclusive, uint32_t open_flags) {
  Calling calling(engine().stats, Call::kMknod);
  State& state = *state_;
  NewNode node{state.map_root(parent), name, FileType::kFile, mode, umask, 0, {}, !exclusive};
  ZEST_ASSIGN(auto made, make_node(state, ctx, node));
  if (made.existed) {
    // As any open of it: permissions, flags, the trash.
    ZEST_ASSIGN(auto opened, open(ctx, made.entry.ino, open_flags));
    made.entry.attr = opened.attr;
  } else {
    state.open_files.open(made.entry.ino, made.entry.attr, state.clock.monotonic_ms());
  }
  return Created{made.entry, made.existed};
}

}  // namespace zest::meta
