// mknod, mkdir, symlink (semantics.md 6.1).
#include "meta/ops/make_node.h"

namespace zest::meta {

Result<EntryAttr> Meta::mknod(const Context& ctx, Ino parent, std::string_view name, FileType type, uint16_t mode,
                              uint16_t umask, uint32_t rdev, std::string_view symlink_target) {
  Calling calling(engine().stats, Call::kMknod);
  if (type < FileType::kFile || type > FileType::kSocket) return fail(EINVAL);
  if (type == FileType::kSymlink) {
    const bool has_nul = symlink_target.find('\0') != std::string_view::npos;
    if (symlink_target.empty() || symlink_target.size() > kMaxSymlink || has_nul) return fail(EINVAL);
  }
  NewNode node{state_->map_root(parent), name, type, mode, umask, rdev, symlink_target, false};
  ZEST_ASSIGN(auto made, make_node(*state_, ctx, node));
  return made.entry;
}

Result<EntryAttr> Meta::mkdir(const Context& ctx, Ino parent, std::string_view name, uint16_t mode, uint16_t umask) {
  return mknod(ctx, parent, name, FileType::kDirectory, mode, umask, 0);
}

Result<EntryAttr> Meta::symlink(const Context& ctx, Ino parent, std::string_view name, std::string_view target) {
  return mknod(ctx, parent, name, FileType::kSymlink, 0777, 0, 0, target);
}

}  // namespace zest::meta
