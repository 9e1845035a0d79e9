// The operations of the low-level interface, one short function each.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/statvfs.h>

#include <cstring>
#include <string>

#include "front/fuse/request.h"

namespace zest::fuse {
namespace {

using Cancel = Request::Cancel;

Ino node(fuse_ino_t number) { return Ino{number}; }

// A buffer of this thread; threads that are not needed end, and their buffers with them.
std::span<char> scratch(size_t size) {
  static thread_local std::unique_ptr<char[]> buffer;
  static thread_local size_t capacity = 0;
  if (capacity < size) {
    buffer.reset(new char[size]);
    capacity = size;
  }
  return {buffer.get(), size};
}

// --- names ---

void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Request r(req, Cancel::kNever);
  auto entry = r.fs().lookup(r.context(), node(parent), name);
  if (!entry && entry.error().code == ENOENT) return r.no_entry();
  if (!r.failed(entry)) r.entry(*entry);
}

// The kernel lets go of an inode at once, whatever the count.
void forget(fuse_req_t req, fuse_ino_t ino, uint64_t) {
  static_cast<Session*>(fuse_req_userdata(req))->fs().forget(node(ino));
  fuse_reply_none(req);
}
void forget_multi(fuse_req_t req, size_t count, fuse_forget_data* forgets) {
  auto& fs = static_cast<Session*>(fuse_req_userdata(req))->fs();
  for (auto& forgotten : std::span(forgets, count)) fs.forget(node(forgotten.ino));
  fuse_reply_none(req);
}

void getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info*) {
  Request r(req, Cancel::kNever);
  auto attr = r.fs().getattr(r.context(), node(ino));
  if (!r.failed(attr)) r.attr(node(ino), *attr);
}

void setattr(fuse_req_t req, fuse_ino_t ino, struct stat* st, int to_set, fuse_file_info* fi) {
  Request r(req, Cancel::kLate);
  fs::Change change;
  change.set = static_cast<uint32_t>(to_set);
  change.values.mode = st->st_mode & 07777;
  change.values.type = from_st_mode(st->st_mode);
  change.values.uid = st->st_uid;
  change.values.gid = st->st_gid;
  change.values.atime = {st->st_atim.tv_sec, static_cast<uint32_t>(st->st_atim.tv_nsec)};
  change.values.mtime = {st->st_mtim.tv_sec, static_cast<uint32_t>(st->st_mtim.tv_nsec)};
  change.size = static_cast<uint64_t>(st->st_size);
  std::optional<uint64_t> fh;
  if (fi) fh = fi->fh;
  auto attr = r.fs().setattr(r.context(), node(ino), fh, change);
  if (!r.failed(attr)) r.attr(node(ino), *attr);
}

// Asked for access(2) and chdir(2), by a kernel that does not check permissions itself.
void access(fuse_req_t req, fuse_ino_t ino, int mask) {
  Request r(req, Cancel::kNever);
  r.error(code_of(r.fs().access(r.context(), node(ino), static_cast<uint8_t>(mask))));
}

void readlink(fuse_req_t req, fuse_ino_t ino) {
  Request r(req, Cancel::kNever);
  auto target = r.fs().readlink(r.context(), node(ino));
  if (!r.failed(target)) r.link_target(*target);
}

void mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  Request r(req, Cancel::kNever);
  auto entry = r.fs().mknod(r.context(), node(parent), name, from_st_mode(mode), mode & 07777, r.umask(),
                            static_cast<uint32_t>(rdev));
  if (!r.failed(entry)) r.entry(*entry);
}

void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  Request r(req, Cancel::kNever);
  auto entry = r.fs().mkdir(r.context(), node(parent), name, mode & 07777, r.umask());
  if (!r.failed(entry)) r.entry(*entry);
}

void symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  Request r(req, Cancel::kNever);
  auto entry = r.fs().symlink(r.context(), node(parent), name, target);
  if (!r.failed(entry)) r.entry(*entry);
}

void unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Request r(req, Cancel::kNever);
  r.error(code_of(r.fs().unlink(r.context(), node(parent), name)));
}

void rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Request r(req, Cancel::kNever);
  r.error(code_of(r.fs().rmdir(r.context(), node(parent), name)));
}

void rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent, const char* new_name,
            unsigned int flags) {
  Request r(req, Cancel::kNever);
  r.error(code_of(r.fs().rename(r.context(), node(parent), name, node(new_parent), new_name, flags)));
}

void link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char* new_name) {
  Request r(req, Cancel::kNever);
  auto entry = r.fs().link(r.context(), node(ino), node(new_parent), new_name);
  if (!r.failed(entry)) r.entry(*entry);
}

// --- files ---

void open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Request r(req, Cancel::kNever);
  auto opened = r.fs().open(r.context(), node(ino), static_cast<uint32_t>(fi->flags));
  if (r.failed(opened)) return;
  fi->fh = opened->fh;
  fi->direct_io = opened->direct_io;
  fi->keep_cache = opened->keep_cache;
  // Changed since this client last had it open: the size that the kernel remembers may be old, too. This notification
  // only marks the attributes, so it waits for nothing.
  if (!opened->keep_cache && !opened->direct_io && !r.session().told().is(node(ino), opened->attr))
    fuse_lowlevel_notify_inval_inode(r.session().raw(), ino, -1, 0);
  r.opened(fi);
}

void create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* fi) {
  Request r(req, Cancel::kNever);
  auto flags = static_cast<uint32_t>(fi->flags);
  // session.cc hands FUSE_TMPFILE on as a creation: libfuse 3.14 does not know it, and the two have one layout
  bool nameless = (flags & O_TMPFILE) == O_TMPFILE;
  auto made = nameless
                  ? r.fs().tmpfile(r.context(), node(parent), mode & 07777, r.umask(), flags & ~uint32_t{O_TMPFILE})
                  : r.fs().create(r.context(), node(parent), name, mode & 07777, r.umask(), flags);
  if (r.failed(made)) return;
  fi->fh = made->fh;
  r.created(made->entry, fi);
}

void read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi) {
  Request r(req, Cancel::kLate);
  auto into = scratch(size);
  data::Lent lent;
  auto got = r.fs().read(r.context(), node(ino), fi->fh, static_cast<uint64_t>(offset), into, &lent);
  if (!r.failed(got)) r.bytes(lent.owner ? lent.bytes.data() : into.data(), *got);
}

void write(fuse_req_t req, fuse_ino_t ino, const char* bytes, size_t size, off_t offset, fuse_file_info* fi) {
  Request r(req, Cancel::kLate);
  auto done = r.fs().write(r.context(), node(ino), fi->fh, static_cast<uint64_t>(offset), {bytes, size}, fi->writepage);
  if (!r.failed(done)) r.written(*done);
}

void flush(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Request r(req, Cancel::kLate);
  r.error(code_of(r.fs().flush(r.context(), node(ino), fi->fh, fi->lock_owner)));
}

void release(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Request r(req, Cancel::kNever);
  r.fs().release(r.context(), node(ino), fi->fh);
  r.error(0);
}

void fsync(fuse_req_t req, fuse_ino_t ino, int data_only, fuse_file_info* fi) {
  Request r(req, Cancel::kLate);
  r.error(code_of(r.fs().fsync(r.context(), node(ino), fi->fh, data_only != 0)));
}

void fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, fuse_file_info* fi) {
  Request r(req, Cancel::kLate);
  r.error(code_of(r.fs().fallocate(r.context(), node(ino), fi->fh, static_cast<uint32_t>(mode), offset, length)));
}

void copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in, fuse_file_info* fi_in, fuse_ino_t out, off_t off_out,
                     fuse_file_info* fi_out, size_t size, int flags) {
  Request r(req, Cancel::kLate);
  auto copied = r.fs().copy_file_range(r.context(), node(in), fi_in->fh, static_cast<uint64_t>(off_in), node(out),
                                       fi_out->fh, static_cast<uint64_t>(off_out), size, static_cast<uint32_t>(flags));
  if (!r.failed(copied)) r.written(*copied);
}

void lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, fuse_file_info* fi) {
  Request r(req, Cancel::kLate);
  // Pages of a mapping that the kernel has not written back would look like a hole: it writes them before it drops
  // them.
  if (r.fs().has_writers(node(ino))) fuse_lowlevel_notify_inval_inode(r.session().raw(), ino, 0, 0);
  auto where = r.fs().lseek(r.context(), node(ino), fi->fh, static_cast<uint64_t>(offset), whence);
  if (!r.failed(where)) r.position(*where);
}

void statfs(fuse_req_t req, fuse_ino_t ino) {
  Request r(req, Cancel::kNever);
  auto fs = r.fs().statfs(r.context(), ino == 0 ? kRootIno : node(ino));
  if (r.failed(fs)) return;
  struct statvfs st {};
  st.f_bsize = st.f_frsize = 4096;
  st.f_blocks = std::max<uint64_t>(1, fs->total_space / 4096);
  st.f_bfree = st.f_bavail = fs->avail_space / 4096;
  st.f_files = fs->used_inodes + fs->avail_inodes;
  st.f_ffree = st.f_favail = fs->avail_inodes;
  st.f_namemax = kMaxName;
  r.statfs(st);
}

// --- directories ---

void opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Request r(req, Cancel::kNever);
  auto fh = r.fs().opendir(r.context(), node(ino));
  if (r.failed(fh)) return;
  fi->fh = *fh;
  if (r.session().options().readdir_cache && !is_special(node(ino))) fi->cache_readdir = fi->keep_cache = 1;
  r.opened(fi);
}

void releasedir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Request r(req, Cancel::kNever);
  r.fs().releasedir(r.context(), node(ino), fi->fh);
  r.error(0);
}

void fsyncdir(fuse_req_t req, fuse_ino_t ino, int, fuse_file_info*) {
  Request r(req, Cancel::kLate);
  r.error(code_of(r.fs().fsyncdir(r.context(), node(ino))));
}

void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi, bool plus) {
  Request r(req, Cancel::kLate);
  auto buffer = scratch(size);
  size_t used = 0;
  auto add = [&](const fs::DirItem& item) {
    // names are std::strings or literals: they end with a zero
    const char* name = item.name.data();
    char* at = buffer.data() + used;
    size_t left = buffer.size() - used, need;
    fuse_entry_param param{};
    if (item.attr && plus) {
      to_entry_param(r.session().options(), {item.ino, *item.attr, true}, param);
    } else {
      param.attr.st_ino = raw(item.ino);
      param.attr.st_mode = to_st_mode(item.type, 0);
    }
    auto next = static_cast<off_t>(item.next);
    need = plus ? fuse_add_direntry_plus(req, at, left, name, &param, next)
                : fuse_add_direntry(req, at, left, name, &param.attr, next);
    if (need > left) return false;
    if (item.attr && plus) r.session().told().remember(item.ino, *item.attr);
    used += need;
    return true;
  };
  auto done = r.fs().readdir(r.context(), node(ino), fi->fh, static_cast<uint64_t>(offset), size, plus, add);
  if (!r.failed(done)) r.bytes(buffer.data(), used);
}

void readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi) {
  list(req, ino, size, offset, fi, false);
}
void readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi) {
  list(req, ino, size, offset, fi, true);
}

// --- extended attributes ---

void setxattr(fuse_req_t req, fuse_ino_t ino, const char* name, const char* value, size_t size, int flags) {
  Request r(req, Cancel::kNever);
  r.error(code_of(r.fs().setxattr(r.context(), node(ino), name, {value, size}, static_cast<uint32_t>(flags))));
}

void reply_value(Request& r, const Result<std::string>& value, size_t size) {
  if (r.failed(value)) return;
  if (size == 0) return r.xattr_size(value->size());
  r.bytes(value->data(), value->size());
}

void getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, size_t size) {
  Request r(req, Cancel::kNever);
  reply_value(r, r.fs().getxattr(r.context(), node(ino), name, size), size);
}

void listxattr(fuse_req_t req, fuse_ino_t ino, size_t size) {
  Request r(req, Cancel::kNever);
  reply_value(r, r.fs().listxattr(r.context(), node(ino), size), size);
}

void removexattr(fuse_req_t req, fuse_ino_t ino, const char* name) {
  Request r(req, Cancel::kNever);
  r.error(code_of(r.fs().removexattr(r.context(), node(ino), name)));
}

void ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void*, fuse_file_info*, unsigned flags, const void* in,
           size_t in_size, size_t out_size) {
  Request r(req, Cancel::kNever);
  if (flags & FUSE_IOCTL_COMPAT) return r.error(ENOSYS);
  // the numbers differ with the size of the argument, the argument is an int either way
  constexpr unsigned get32 = _IOR('f', 1, int), set32 = _IOW('f', 2, int);
  if (cmd == FS_IOC_GETFLAGS || cmd == get32) {
    if (out_size < sizeof(uint32_t)) return r.error(EINVAL);
    auto value = r.fs().get_flags(r.context(), node(ino), cmd);
    if (r.failed(value)) return;
    uint64_t wide = *value;
    return r.ioctl(&wide, std::min(out_size, sizeof(wide)));
  }
  if (cmd == FS_IOC_SETFLAGS || cmd == set32) {
    uint32_t value = 0;
    if (in_size < sizeof(value)) return r.error(EINVAL);
    std::memcpy(&value, in, sizeof(value));
    auto done = r.fs().set_flags(r.context(), node(ino), cmd, value);
    if (!r.failed(done)) r.ioctl(nullptr, 0);
    return;
  }
  if (cmd == FS_IOC_FSGETXATTR) {
    if (out_size < sizeof(fsxattr)) return r.error(EINVAL);
    auto value = r.fs().get_flags(r.context(), node(ino), cmd);
    if (r.failed(value)) return;
    fsxattr reply{};
    if (*value & FS_IMMUTABLE_FL) reply.fsx_xflags |= FS_XFLAG_IMMUTABLE;
    if (*value & FS_APPEND_FL) reply.fsx_xflags |= FS_XFLAG_APPEND;
    return r.ioctl(&reply, sizeof(reply));
  }
  r.error(ENOTTY);
}

// --- locks ---

PosixLock from_flock(const struct flock& lock) {
  PosixLock out;
  out.type = lock.l_type == F_RDLCK ? LockType::kRead : lock.l_type == F_WRLCK ? LockType::kWrite : LockType::kUnlock;
  out.pid = static_cast<uint32_t>(lock.l_pid);
  out.start = static_cast<uint64_t>(lock.l_start);
  out.end = lock.l_len == 0 ? kLockEnd : out.start + static_cast<uint64_t>(lock.l_len) - 1;
  return out;
}

void getlk(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi, struct flock* lock) {
  Request r(req, Cancel::kNever);
  auto held = r.fs().getlk(r.context(), node(ino), fi->fh, fi->lock_owner, from_flock(*lock));
  if (r.failed(held)) return;
  struct flock out {};
  out.l_whence = SEEK_SET;
  out.l_type = held->type == LockType::kRead ? F_RDLCK : held->type == LockType::kWrite ? F_WRLCK : F_UNLCK;
  if (held->type != LockType::kUnlock) {
    out.l_start = static_cast<off_t>(held->start);
    out.l_len = held->end >= kLockEnd ? 0 : static_cast<off_t>(held->end - held->start + 1);
    out.l_pid = static_cast<pid_t>(held->pid);
  }
  r.lock(out);
}

// A lock that is taken is waited for on a thread of its own: however many wait, the holder's unlock gets served.
template <class Ask>
void ask_lock(fuse_req_t req, bool wait, Ask ask) {
  auto r = std::make_shared<Request>(req, wait ? Cancel::kAtOnce : Cancel::kNever);
  using fs::LockWait;
  auto result = ask(*r, wait ? LockWait::kFirst : LockWait::kNo);
  if (result || !wait || result.error().code != EAGAIN) return r->error(code_of(result));
  if (!r->session().run_apart(r, [r, ask] { r->error(code_of(ask(*r, LockWait::kYes))); })) r->error(ENOLCK);
}

void setlk(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi, struct flock* lock, int sleep) {
  ask_lock(req, sleep != 0,
           [=, fh = fi->fh, owner = fi->lock_owner, wanted = from_flock(*lock)](Request& r, fs::LockWait wait) {
             return r.fs().setlk(r.context(), node(ino), fh, owner, wanted, wait);
           });
}

void flock(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi, int op) {
  int what = op & ~LOCK_NB;
  auto type = what == LOCK_SH ? LockType::kRead : what == LOCK_EX ? LockType::kWrite : LockType::kUnlock;
  ask_lock(req, !(op & LOCK_NB), [=, fh = fi->fh, owner = fi->lock_owner](Request& r, fs::LockWait wait) {
    return r.fs().flock(r.context(), node(ino), fh, owner, type, wait);
  });
}

}  // namespace

fuse_lowlevel_ops operations(const Options& options) {
  fuse_lowlevel_ops ops{};
  ops.lookup = lookup, ops.forget = forget, ops.forget_multi = forget_multi;
  ops.getattr = getattr, ops.setattr = setattr, ops.access = access, ops.readlink = readlink;
  ops.mknod = mknod, ops.mkdir = mkdir, ops.symlink = symlink, ops.link = link;
  ops.unlink = unlink, ops.rmdir = rmdir, ops.rename = rename;
  ops.open = open, ops.create = create, ops.read = read, ops.write = write;
  ops.flush = flush, ops.release = release, ops.fsync = fsync;
  ops.fallocate = fallocate, ops.copy_file_range = copy_file_range, ops.statfs = statfs;
  ops.opendir = opendir, ops.readdir = readdir, ops.readdirplus = readdirplus;
  ops.releasedir = releasedir, ops.fsyncdir = fsyncdir;
  // Kernels with a cache of their own writes ask without writing it back first; they take whole files for data instead.
  if (!options.writeback_cache) ops.lseek = lseek;
  ops.getlk = getlk, ops.setlk = setlk, ops.flock = flock;
  if (options.serves_xattrs()) {
    ops.setxattr = setxattr, ops.getxattr = getxattr;
    ops.listxattr = listxattr, ops.removexattr = removexattr;
  }
  if (options.enable_ioctl) ops.ioctl = ioctl;
  return ops;
}

}  // namespace zest::fuse
