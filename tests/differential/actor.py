"""A process with an identity of its own that carries out system calls in a folder and says what came of them.

A call is (name, arguments...); paths are relative to the folder, descriptors are named by slots. What a call gives is a
value that has to be the same on every file system, or an errno by name.
"""
import ctypes
import errno
import fcntl
import os
import pickle
import select
import stat
import struct
import time
import traceback
import zlib

libc = ctypes.CDLL(None, use_errno=True)
DAY = 86_400 * 10**9
HERE, NOW, OMIT = -100, (1 << 30) - 1, (1 << 30) - 2
PATIENCE = 120  # seconds for one call
GETLK, SETLK, OFD_GETLK, OFD_SETLK = 5, 6, 36, 37


class Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def describe(st):
    """What must be equal of an inode; sizes of directories and times are not."""
    size = st.st_size if not stat.S_ISDIR(st.st_mode) else None
    mode = st.st_mode
    if stat.S_ISREG(mode) and not mode & stat.S_IXGRP:
        mode &= ~stat.S_ISGID  # a FUSE kernel does not clear it on writes by others when the group may not execute
    rdev = st.st_rdev if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode) else 0
    return (oct(mode), st.st_nlink, st.st_uid, st.st_gid, size, rdev)


class Calls:
    """The methods are the calls."""

    def __init__(self):
        self.fds = {}
        self.now = time.time_ns()

    def fd(self, slot):
        if slot not in self.fds:
            raise OSError(errno.EBADF, "")
        return self.fds[slot]

    def keep(self, slot, fd):
        if slot in self.fds:
            os.close(self.fds[slot])
        self.fds[slot] = fd
        return describe(os.fstat(fd))

    def open(self, slot, path, flags, mode):
        return self.keep(slot, os.open(path, flags, mode))

    def openat(self, slot, directory, path, flags, mode):
        return self.keep(slot, os.open(path, flags, mode, dir_fd=self.fd(directory)))

    def reopen(self, slot, source, flags):
        return self.keep(slot, os.open(f"/proc/self/fd/{self.fd(source)}", flags))

    def close(self, slot):
        fd = self.fd(slot)
        del self.fds[slot]
        os.close(fd)

    def mkdir(self, path, mode):
        os.mkdir(path, mode)

    def mknod(self, path, mode, device):
        os.mknod(path, mode, device)

    def link(self, source, target, follow):
        checked(libc.linkat(HERE, os.fsencode(source), HERE, os.fsencode(target), 0x400 if follow else 0))

    def link_fd(self, slot, target, through_proc):
        if through_proc:
            checked(libc.linkat(HERE, b"/proc/self/fd/%d" % self.fd(slot), HERE, os.fsencode(target), 0x400))
        else:
            checked(libc.linkat(self.fd(slot), b"", HERE, os.fsencode(target), 0x1000))

    def symlink(self, target, path):
        os.symlink(target, path)

    def readlink(self, path):
        return os.readlink(path)

    def rename(self, source, target, flags):
        checked(libc.renameat2(HERE, os.fsencode(source), HERE, os.fsencode(target), flags))

    def unlink(self, path):
        os.unlink(path)

    def rmdir(self, path):
        os.rmdir(path)

    def chmod(self, path, mode):
        os.chmod(path, mode)

    def fchmod(self, slot, mode):
        os.fchmod(self.fd(slot), mode)

    def chown(self, path, uid, gid, follow):
        os.chown(path, uid, gid, follow_symlinks=follow)

    def fchown(self, slot, uid, gid):
        os.fchown(self.fd(slot), uid, gid)

    def utimens(self, path, atime, mtime, follow):
        times = (Timespec * 2)(Timespec(*atime), Timespec(*mtime))
        checked(libc.utimensat(HERE, os.fsencode(path), times, 0 if follow else 0x100))

    def futimens(self, slot, atime, mtime):
        checked(libc.futimens(self.fd(slot), (Timespec * 2)(Timespec(*atime), Timespec(*mtime))))

    def umask(self, mask):
        return os.umask(mask)

    def setxattr(self, path, name, value, flags, follow):
        os.setxattr(path, name, value, flags, follow_symlinks=follow)

    def fsetxattr(self, slot, name, value, flags):
        os.setxattr(self.fd(slot), name, value, flags)

    def fgetxattr(self, slot, name):
        return os.getxattr(self.fd(slot), name)

    def flistxattr(self, slot):
        return sorted(os.listxattr(self.fd(slot)))

    def fremovexattr(self, slot, name):
        os.removexattr(self.fd(slot), name)

    def getxattr(self, path, name):
        return os.getxattr(path, name)

    def listxattr(self, path, follow):
        return sorted(os.listxattr(path, follow_symlinks=follow))

    def removexattr(self, path, name):
        os.removexattr(path, name)

    def truncate(self, path, size):
        os.truncate(path, size)

    def ftruncate(self, slot, size):
        os.ftruncate(self.fd(slot), size)

    def fallocate(self, slot, mode, offset, size):
        fd = self.fd(slot)
        done = libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(size))
        if done < 0 and ctypes.get_errno() == errno.EOPNOTSUPP and mode & ~1 == 0x10:
            return self.zero_range(fd, mode, offset, size)
        checked(done)

    def zero_range(self, fd, mode, offset, size):
        """FALLOC_FL_ZERO_RANGE of a file system that lacks it, by the modes that all have."""
        checked(libc.fallocate(fd, mode & 1, ctypes.c_long(offset), ctypes.c_long(size)))
        checked(libc.fallocate(fd, 3, ctypes.c_long(offset), ctypes.c_long(size)))

    def read(self, slot, size):
        return os.read(self.fd(slot), size)

    def pread(self, slot, size, offset):
        return os.pread(self.fd(slot), size, offset)

    def write(self, slot, data):
        return os.write(self.fd(slot), data)

    def pwrite(self, slot, data, offset):
        return os.pwrite(self.fd(slot), data, offset)

    def seek(self, slot, offset, whence):
        fd = self.fd(slot)
        if whence == os.SEEK_END and stat.S_ISDIR(os.fstat(fd).st_mode):
            return None  # local file systems differ: tmpfs refuses, ext4 counts from a size
        return os.lseek(fd, offset, whence)

    def seek_end(self, slot, whence):
        """SEEK_DATA or SEEK_HOLE at the end of the file and behind it."""
        fd = self.fd(slot)
        st = os.fstat(fd)
        return os.lseek(fd, st.st_size, whence) if stat.S_ISREG(st.st_mode) else None

    def segments(self, slot):
        """Looks whether SEEK_DATA and SEEK_HOLE agree and skip zeroes only; the offset of the descriptor is put back."""
        fd = self.fd(slot)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return
        was, size, at, end = os.lseek(fd, 0, os.SEEK_CUR), os.fstat(fd).st_size, 0, 0
        while at < size:
            try:
                start = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                start = size
            self.check_zeroes(fd, end, start)
            if start == size:
                break
            if end > 0 and os.lseek(fd, end, os.SEEK_HOLE) != end:  # compaction may have filled it with zeroes meanwhile
                assert os.lseek(fd, end, os.SEEK_DATA) == end, f"a hole at {end} begins elsewhere"
            at = end = os.lseek(fd, start, os.SEEK_HOLE)
            assert start < end <= size, (start, end, size)
        os.lseek(fd, was, os.SEEK_SET)

    def check_zeroes(self, fd, start, end):
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
            return
        for at in range(start, end, 1 << 20):
            part = os.pread(fd, min(1 << 20, end - at), at)
            assert part.count(0) == len(part), f"a hole at {at} is none"

    def copy(self, source, off_in, target, off_out, size):
        return os.copy_file_range(self.fd(source), self.fd(target), size, off_in, off_out)

    def fsync(self, slot):
        os.fsync(self.fd(slot))

    def stat(self, path, follow):
        return describe(os.stat(path, follow_symlinks=follow))

    def fstat(self, slot):
        return describe(os.fstat(self.fd(slot)))

    def readdir(self, path):
        with os.scandir(path) as entries:
            return sorted((e.name, e.is_dir(follow_symlinks=False), e.is_symlink()) for e in entries)

    def access(self, path, mode):
        return os.access(path, mode)

    def flock(self, slot, how):
        fcntl.flock(self.fd(slot), how | fcntl.LOCK_NB)

    def lock(self, slot, command, kind, start, size):
        fd = self.fd(slot)
        wanted = struct.pack("hhqqi4x", kind, 0, start, size, 0)
        got = struct.unpack("hhqqi4x", fcntl.fcntl(fd, command, wanted))
        if command in (GETLK, OFD_GETLK):
            return got[0] if got[0] == fcntl.F_UNLCK else (got[0], got[2], got[3])
        return None

    def times(self, paths, slots):
        """(inode, atime, mtime, ctime) of each path and descriptor, None where there is nothing."""
        found = []
        for thing in [*paths, *(self.fds.get(slot, "") for slot in slots)]:
            try:
                st = os.stat(thing, follow_symlinks=not isinstance(thing, str))
                # a FUSE kernel does not tell of what goes through a fifo
                found.append(None if stat.S_ISFIFO(st.st_mode) else (st.st_ino, st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns))
            except OSError:
                found.append(None)
        return found

    def append(self, path, data):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            return os.write(fd, data)
        finally:
            os.close(fd)

    def stats(self, paths):
        """Of each path, None where there is nothing."""
        return [describe(os.lstat(path)) if os.path.lexists(path) else None for path in paths]

    def many(self, calls):
        """Several calls; what came of each."""
        return [answer(self, *call) for call in calls]

    def tree(self):
        """Everything below the folder: {path: what must be equal}. Inodes are named by their first path."""
        found, first = {}, {}
        paths = ["."] + sorted(os.path.join(at, name) for at, folders, files in os.walk(".") for name in folders + files)
        for path in paths:
            st = os.lstat(path)
            xattrs = {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}
            content = os.readlink(path) if stat.S_ISLNK(st.st_mode) else digest(path) if stat.S_ISREG(st.st_mode) else None
            times = ["recent" if abs(t - self.now) < DAY else t for t in (st.st_atime_ns, st.st_mtime_ns)]
            if stat.S_ISFIFO(st.st_mode):
                times = None  # as in times()
            found[path] = (*describe(st), first.setdefault(st.st_ino, path), times, xattrs, content)
        return found


def digest(path):
    """Length and checksum of a file's content."""
    size = checksum = 0
    with open(path, "rb", buffering=0) as file:
        while part := file.read(1 << 20):
            size, checksum = size + len(part), zlib.crc32(part, checksum)
    return size, checksum


class Actor:
    """The process, seen from the one that gives it calls."""

    def __init__(self, folder, uid, gid, groups):
        asked, self.asks = os.pipe()
        self.answers, answered = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.asks)
                os.close(self.answers)
                os.chdir(folder)
                os.setgroups(groups)
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
                libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self belongs to the identity
                serve(asked, answered)
            finally:
                os._exit(0)
        os.close(asked)
        os.close(answered)

    def ask(self, *call):
        self.send(*call)
        return self.receive()

    def send(self, *call):
        message = pickle.dumps(call)
        os.write(self.asks, struct.pack("I", len(message)) + message)

    def receive(self):
        if not select.select([self.answers], [], [], PATIENCE)[0]:
            raise AssertionError(f"process {self.pid} does not come back from its call")
        kind, value = read_message(self.answers)
        if kind == "broken":
            raise AssertionError(value)
        return kind, value

    def end(self):
        self.send("end")
        os.close(self.asks)
        os.close(self.answers)
        os.waitpid(self.pid, 0)


def read_exactly(fd, size):
    parts = []
    while size > 0:
        part = os.read(fd, size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_message(fd):
    return pickle.loads(read_exactly(fd, struct.unpack("I", read_exactly(fd, 4))[0]))


def answer(calls, name, *arguments):
    try:
        return "ok", getattr(calls, name)(*arguments)
    except OSError as error:
        return "error", errno.errorcode.get(error.errno, error.errno)


def serve(asked, answered):
    calls = Calls()
    os.umask(0o022)
    while True:
        name, *arguments = read_message(asked)
        if name == "end":
            return
        try:
            reply = answer(calls, name, *arguments)
        except BaseException:
            reply = ("broken", traceback.format_exc())
        message = pickle.dumps(reply)
        message = struct.pack("I", len(message)) + message
        while message:
            message = message[os.write(answered, message):]
