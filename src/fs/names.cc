// Names: lookup, creation, removal, rename, links.
#include <fcntl.h>
#include <fmt/format.h>

#include <fstream>

#include "fs/changes.h"
#include "fs/filesystem.h"
#include "fs/handles.h"
#include "fs/op.h"
#include "fs/virtual_files.h"

namespace zest::fs {
namespace {

// A setting of this machine (proc_sys_fs(5)).
bool links_are_protected() {
  int level = 0;
  std::ifstream("/proc/sys/fs/protected_hardlinks") >> level;
  return level > 0;
}

std::string mode_text(uint32_t st_mode) { return fmt::format("{}:0{:04o}", log_mode(st_mode), st_mode); }

}  // namespace

int FileSystem::check_reserved(Ino parent, std::string_view name, int code) const {
  if (virtual_->reserved(parent, name)) return code;
  return name.size() > kMaxName ? ENAMETOOLONG : 0;
}

Result<EntryAttr> FileSystem::lookup(const Context& context, Ino parent, std::string_view name) {
  if (auto* node = virtual_->by_name(parent, name)) return *node;
  Op op(*this, context, Method::kLookup);
  auto result = do_lookup(context, parent, name);
  op.end(result, [&] { return fmt::format("({},{}):{}", raw(parent), log_text(name), log_entry(result)); });
  return result;
}

Result<EntryAttr> FileSystem::do_lookup(const Context& context, Ino parent, std::string_view name) {
  if (name.size() > kMaxName) return fail(ENAMETOOLONG);
  auto entry = meta_.lookup(context, parent, name);
  if (!entry || entry->attr.is_dir()) return entry;
  auto open = entry->attr.is_file() ? handles_->inode(entry->ino) : nullptr;
  if (open && open->writers > 0) {
    // what is buffered here is newer than what the database said
    if (auto attr = read_attr(context, entry->ino)) entry->attr = *attr;
  } else {
    correct(entry->ino, entry->attr);
  }
  return entry;
}

Result<EntryAttr> FileSystem::mknod(const Context& context, Ino parent, std::string_view name, FileType type,
                                    uint16_t mode, uint16_t umask, uint32_t rdev) {
  Op op(*this, context, Method::kMknod);
  Result<EntryAttr> result = fail(check_reserved(parent, name, EEXIST));
  if (result.error().code == 0) {
    if (auto made = made_before(context, parent, name))
      result = std::move(*made);
    else
      result = meta_.mknod(context, parent, name, type, mode, umask, rdev);
  }
  if (result) changes_->name(parent, name, true);
  op.end(result, [&] {
    return fmt::format("({},{},{},0x{:08X}):{}", raw(parent), log_text(name), mode_text(to_st_mode(type, mode)), rdev,
                       log_entry(result));
  });
  return result;
}

Result<EntryAttr> FileSystem::mkdir(const Context& context, Ino parent, std::string_view name, uint16_t mode,
                                    uint16_t umask) {
  Op op(*this, context, Method::kMkdir);
  Result<EntryAttr> result = fail(check_reserved(parent, name, EEXIST));
  if (result.error().code == 0) {
    if (auto made = made_before(context, parent, name))
      result = std::move(*made);
    else
      result = meta_.mkdir(context, parent, name, mode, umask);
  }
  if (result) changes_->name(parent, name, true);
  op.end(result,
         [&] { return fmt::format("({},{},{}):{}", raw(parent), log_text(name), mode_text(mode), log_entry(result)); });
  return result;
}

Result<EntryAttr> FileSystem::symlink(const Context& context, Ino parent, std::string_view name,
                                      std::string_view target) {
  Op op(*this, context, Method::kSymlink);
  Result<EntryAttr> result = fail(check_reserved(parent, name, EEXIST));
  if (result.error().code == 0) {
    if (target.size() >= kMaxSymlink)
      result = fail(ENAMETOOLONG);
    else if (auto made = made_before(context, parent, name))
      result = std::move(*made);
    else
      result = meta_.symlink(context, parent, name, target);
  }
  if (result) changes_->name(parent, name, true);
  op.end(result, [&] {
    return fmt::format("({},{},{}):{}", raw(parent), log_text(name), log_text(target), log_entry(result));
  });
  return result;
}

Result<std::string> FileSystem::readlink(const Context& context, Ino ino) {
  Op op(*this, context, Method::kReadlink);
  auto result = meta_.readlink(context, ino);
  op.end(result, [&] { return fmt::format("({}): ({})", raw(ino), result ? log_text(*result) : std::string()); });
  return result;
}

Result<void> FileSystem::unlink(const Context& context, Ino parent, std::string_view name) {
  Op op(*this, context, Method::kUnlink);
  Result<void> result;
  if (int code = check_reserved(parent, name, EPERM))
    result = fail(code);
  else if (!removed_before(context, parent, name))
    result = meta_.unlink(context, parent, name);
  if (result) changes_->name(parent, name, false);
  op.end(result, [&] { return fmt::format("({},{})", raw(parent), log_text(name)); });
  return result;
}

Result<void> FileSystem::rmdir(const Context& context, Ino parent, std::string_view name) {
  Op op(*this, context, Method::kRmdir);
  Result<void> result;
  if (int code = check_reserved(parent, name, EPERM))
    result = fail(code);
  else if (!removed_before(context, parent, name))
    result = meta_.rmdir(context, parent, name);
  if (result) changes_->name(parent, name, false);
  op.end(result, [&] { return fmt::format("({},{})", raw(parent), log_text(name)); });
  return result;
}

Result<void> FileSystem::rename(const Context& context, Ino parent, std::string_view name, Ino new_parent,
                                std::string_view new_name, uint32_t flags) {
  Op op(*this, context, Method::kRename);
  Result<void> result;
  int code = check_reserved(parent, name, EPERM);
  if (code == 0) code = check_reserved(new_parent, new_name, EPERM);
  if (code == 0 && (flags & meta::kRenameWhiteout) && !options_.enable_whiteout)
    code = flags & ~(meta::kRenameWhiteout | meta::kRenameNoReplace) ? EINVAL : ENOTSUP;
  if (code != 0) {
    result = fail(code);
  } else if (renamed_before(context, parent, name, new_parent, new_name)) {
    result = {};
  } else if (auto moved = meta_.rename(context, parent, name, new_parent, new_name, flags); !moved) {
    result = fail(std::move(moved.error()));
  } else {
    changes_->name(parent, name, (flags & (meta::kRenameExchange | meta::kRenameWhiteout)) != 0);
    changes_->name(new_parent, new_name, true);
  }
  op.end(result, [&] {
    return fmt::format("({},{},{},{},{})", raw(parent), log_text(name), raw(new_parent), log_text(new_name), flags);
  });
  return result;
}

// Where links are protected, a file of somebody else gets another name only from who may read and write it.
Result<void> FileSystem::may_link(const Context& context, Ino ino) {
  if (!context.check_permission || context.uid == 0 || !links_are_protected()) return {};
  ZEST_ASSIGN(auto attr, meta_.getattr(context, ino));
  if (context.uid == attr.uid) return {};
  const bool runs_as_other = (attr.mode & 04000) != 0 || (attr.mode & 02010) == 02010;
  if (!attr.is_file() || runs_as_other) return fail(EPERM);
  if (!meta_.access(context, ino, meta::kMayRead | meta::kMayWrite, &attr)) return fail(EPERM);
  return {};
}

Result<EntryAttr> FileSystem::link(const Context& context, Ino ino, Ino new_parent, std::string_view new_name) {
  Op op(*this, context, Method::kLink);
  int code = is_special(ino) ? EPERM : check_reserved(new_parent, new_name, EPERM);
  Result<EntryAttr> result = fail(code);
  if (code == 0) {
    auto made = made_before(context, new_parent, new_name);
    auto allowed = made ? Result<void>() : may_link(context, ino);
    Result<Attr> attr = fail(code_of(allowed));
    if (made)
      attr = made->attr;
    else if (allowed)
      attr = meta_.link(context, ino, new_parent, new_name);
    if (attr) {
      correct(ino, *attr);
      result = EntryAttr{ino, *attr, true};
      changes_->name(new_parent, new_name, true);
      changes_->inode(ino);
    } else {
      result = fail(std::move(attr.error()));
    }
  }
  op.end(result, [&] {
    return fmt::format("({},{},{}):{}", raw(ino), raw(new_parent), log_text(new_name), log_entry(result));
  });
  return result;
}

Result<FileSystem::Created> FileSystem::create(const Context& context, Ino parent, std::string_view name, uint16_t mode,
                                               uint16_t umask, uint32_t flags) {
  Op op(*this, context, Method::kCreate);
  Result<Created> result = fail(check_reserved(parent, name, EEXIST));
  if (auto made = result.error().code == 0 ? made_before(context, parent, name) : std::nullopt) {
    result = reopen_created(context, *made, flags);
  } else if (result.error().code == 0) {
    auto made = meta_.create(context, parent, name, mode, umask, (flags & O_EXCL) != 0, flags);
    if (!made) {
      result = fail(std::move(made.error()));
    } else {
      changes_->name(parent, name, true);
      auto handle = add_file(context, made->entry.ino, flags);
      correct(made->entry.ino, made->entry.attr);
      set_length(*handle->inode, made->entry.attr.length, made->entry.attr);
      handle->inode->set_named();
      result = Created{std::move(made->entry), handle->id};
      // another client was faster: the kernel asked for a new file and does not truncate what it gets
      if (made->existed && (flags & O_TRUNC) && result->entry.attr.length > 0)
        if (auto attr = do_truncate(context, result->entry.ino, handle->id, 0)) result->entry.attr = *attr;
    }
  }
  op.end(result, [&] {
    return fmt::format("({},{},{}):{}", raw(parent), log_text(name), mode_text(to_st_mode(FileType::kFile, mode)),
                       result ? fmt::format("{} [fh:{}]", log_entry(result->entry.ino, result->entry.attr), result->fh)
                              : std::string());
  });
  return result;
}

Result<FileSystem::Created> FileSystem::tmpfile(const Context& context, Ino parent, uint16_t mode, uint16_t umask,
                                                uint32_t flags) {
  Op op(*this, context, Method::kTmpfile);
  Result<Created> result = fail(EPERM);
  if (!is_special(parent)) {
    if (auto made = meta_.tmpfile(context, parent, mode, umask)) {
      auto handle = add_file(context, made->ino, flags);
      set_length(*handle->inode, made->attr.length, made->attr);
      handle->inode->set_named();
      result = Created{std::move(*made), handle->id};
    } else {
      result = fail(std::move(made.error()));
    }
  }
  op.end(result, [&] {
    return fmt::format("({},{}):{}", raw(parent), mode_text(to_st_mode(FileType::kFile, mode)),
                       result ? fmt::format("{} [fh:{}]", log_entry(result->entry.ino, result->entry.attr), result->fh)
                              : std::string());
  });
  return result;
}

}  // namespace zest::fs
