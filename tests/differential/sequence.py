"""Random sequences of system calls, the same for the same seed: [(actor, (name, arguments...)), ...]."""
import errno
import fcntl
import os
import random
import stat
import struct

from actor import GETLK, NOW, OFD_GETLK, OFD_SETLK, OMIT, SETLK

O_TMPFILE = os.O_TMPFILE
ALICE, BOB, TEAM = 10001, 10002, 20000
# (uid, gid, groups); the last two are one user twice, for locks
IDENTITIES = [(0, 0, [0]), (ALICE, ALICE, [ALICE, TEAM]), (BOB, BOB, [BOB]), (BOB, BOB, [BOB])]
NAMES = ["a", "b", "c", "d"]
FOLDERS = ["plain", "team", "sticky"]  # mode 0777, setgid of TEAM, sticky
MODES = [0o644, 0o600, 0o755, 0o777, 0o000, 0o4755, 0o2755, 0o6777, 0o2644, 0o1777, 0o2775, 0o070, 0o007]
CHUNK = 64 << 20


def acl(*entries):
    """The bytes of an ACL: entries (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", t, p, i & 0xFFFFFFFF) for t, p, i in entries)


ACLS = [
    acl((1, 6, -1), (4, 4, -1), (32, 4, -1)),
    acl((1, 7, -1), (2, 7, ALICE), (4, 5, -1), (16, 7, -1), (32, 0, -1)),
    acl((1, 6, -1), (2, 4, BOB), (4, 0, -1), (8, 6, TEAM), (16, 6, -1), (32, 4, -1)),
    acl((1, 7, -1), (4, 7, -1), (8, 5, ALICE), (16, 4, -1), (32, 7, -1)),
    acl((1, 7, -1), (2, 7, ALICE), (4, 5, -1), (32, 0, -1)),  # no mask
    acl((1, 7, -1), (4, 5, -1), (4, 5, -1), (32, 0, -1)),     # a group twice
    b"\2\0\0\0", b"\1\0\0\0", b"",
]


class Generator:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def path(self, depth=3):
        parts = [self.rng.choice(FOLDERS)] + [self.rng.choice(NAMES) for _ in range(self.rng.choice((1, 1, 1, 2, 2, depth)))]
        path = "/".join(parts)
        return path + self.rng.choice(("",) * 30 + ("/", "/.", "/.."))

    def target(self):
        return self.rng.choice((self.path(1), "a", "b", "../plain/a", "../team/b", ".", "nowhere", "c/d", "x" * 4095 if self.rng.random() < .1 else "d"))

    def slot(self):
        return self.rng.randrange(4)

    def data(self):
        return self.rng.randbytes(self.rng.choice((1, 7, 100, 4096, 5000, 20_000, 70_000)))

    def offset(self):
        around = self.rng.choice((0, 0, 0, 4096, 10_000, 65_536, 100_000, 1 << 20, 4 << 20, CHUNK))
        return max(0, around + self.rng.choice((0, 0, -1, 1, -100, 4096)))

    def time(self):
        return self.rng.choice(((0, NOW), (0, OMIT), (0, 0), (1_700_000_000, 123_456_789), (-1, 999_999_999), (-86_400 * 3650, 1),
                                (4_102_444_800, 1), (1, 1_000_000_000)))

    def open_flags(self):
        flags = os.O_NONBLOCK | self.rng.choice((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR))  # fifos do not wait
        for flag, chance in ((os.O_CREAT, .6), (os.O_EXCL, .15), (os.O_TRUNC, .2), (os.O_APPEND, .2), (os.O_NOFOLLOW, .15),
                             (os.O_DIRECTORY, .08), (os.O_NOATIME, .05), (os.O_SYNC, .05), (os.O_PATH, .05)):
            if self.rng.random() < chance:
                flags |= flag
        return flags

    def device(self):
        return self.rng.choice((stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR))

    def xattr_name(self):
        return self.rng.choice(("user.a", "user.b", "user.a", "trusted.t", "security.s", "user." + "n" * 250, "user.",
                                "user." + "n" * 251, "nothing.x", "system.posix_acl_access", "system.posix_acl_default"))

    def xattr_value(self, name):
        if name.startswith("system."):
            return self.rng.choice(ACLS)
        return self.rng.choice((b"", b"1", b"\0binary\xff", b"v" * 1000))

    def call(self):
        r = self.rng
        path, slot = self.path, self.slot
        name = r.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if name == "open":
            return name, slot(), path(), self.open_flags(), r.choice(MODES)
        if name == "tmpfile":
            flags = O_TMPFILE | r.choice((os.O_RDWR, os.O_WRONLY, os.O_RDONLY, os.O_RDWR | os.O_EXCL))
            return "open", slot(), r.choice(FOLDERS), flags, r.choice(MODES)
        if name == "openat":
            return name, slot(), slot(), r.choice(NAMES + [".", ".."]), self.open_flags(), r.choice(MODES)
        if name == "reopen":
            return name, slot(), slot(), os.O_NONBLOCK | r.choice((os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_APPEND))
        if name in ("close", "fsync", "fstat", "flistxattr", "segments"):
            return name, slot()
        if name in ("mkdir", "chmod"):
            return name, path(), r.choice(MODES)
        if name == "mknod":
            return name, path(), self.device() | r.choice(MODES), os.makedev(1, 3)
        if name == "link":
            return name, path(), path(), r.random() < .3
        if name == "link_fd":
            return name, slot(), path(), r.random() < .6
        if name == "symlink":
            return name, self.target(), path()
        if name in ("readlink", "unlink", "rmdir", "readdir"):
            return name, path() if r.random() < .9 else r.choice(FOLDERS)
        if name == "rename":
            return name, path(), path(), r.choice((0, 0, 0, 0, 1, 2, 2, 3, 4, 5, 8))
        if name == "fchmod":
            return name, slot(), r.choice(MODES)
        if name in ("chown", "fchown"):
            owner = r.choice(((-1, TEAM), (-1, ALICE), (-1, 0), (0, -1), (ALICE, -1), (BOB, BOB), (ALICE, TEAM)))  # (-1, -1): file systems differ
            return (name, path(), *owner, r.random() < .7) if name == "chown" else (name, slot(), *owner)
        if name == "utimens":
            return name, path(), self.time(), self.time(), r.random() < .7
        if name == "futimens":
            return name, slot(), self.time(), self.time()
        return self.call_on_content(name)

    def call_on_content(self, name):
        r = self.rng
        path, slot = self.path, self.slot
        if name == "umask":
            return name, r.choice((0o022, 0o077, 0, 0o027, 0o777))
        if name in ("setxattr", "fsetxattr", "getxattr", "fgetxattr", "removexattr", "fremovexattr"):
            attribute = self.xattr_name()
            if name == "setxattr":
                return name, path(), attribute, self.xattr_value(attribute), r.choice((0, 0, 0, 1, 2)), r.random() < .8
            if name == "fsetxattr":
                return name, slot(), attribute, self.xattr_value(attribute), r.choice((0, 0, 1, 2))
            return name, slot() if name.startswith("f") else path(), attribute
        if name == "acl":
            attribute = r.choice(("system.posix_acl_access", "system.posix_acl_default"))
            return "setxattr", r.choice((path(), path(1), r.choice(FOLDERS))), attribute, r.choice(ACLS[:4]), 0, True
        if name in ("listxattr", "stat"):
            return name, path(), r.random() < .5
        if name == "access":
            return name, path(), r.randrange(8)
        if name == "truncate":
            return name, path(), max(1, self.offset()) if r.random() < .95 else -1  # to 0 it looks like O_TRUNC
        if name == "ftruncate":
            return name, slot(), self.offset() if r.random() < .95 else -1
        if name == "fallocate":
            mode = r.choice((0, 1, 3, 3, 0x10, 0x11, 2, 4, 8, 0x20, 0x40, 9))
            return name, slot(), mode, self.offset(), r.choice((0, 1, 4096, 10_000, 100_000, -1))
        if name == "read":
            return name, slot(), r.choice((0, 1, 4096, 100_000))
        if name == "pread":
            return name, slot(), r.choice((1, 4096, 100_000)), r.choice((-1, self.offset(), self.offset(), self.offset()))
        if name == "write":
            return name, slot(), self.data()
        if name == "pwrite":
            return name, slot(), self.data(), self.offset() if r.random() < .97 else -1
        if name == "seek":
            return name, slot(), self.offset(), r.choice((os.SEEK_SET, os.SEEK_CUR, os.SEEK_END))
        if name == "seek_end":
            return name, slot(), r.choice((os.SEEK_DATA, os.SEEK_HOLE))
        if name == "copy":
            return name, slot(), self.offset(), slot(), self.offset(), r.choice((0, 1, 4096, 50_000, 1 << 20))
        if name == "flock":
            return name, slot(), r.choice((fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN))
        assert name == "lock"
        return (name, slot(), r.choice((GETLK, SETLK, SETLK, OFD_GETLK, OFD_SETLK, OFD_SETLK)),
                r.choice((fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK)), r.choice((0, 10, 50, 100)), r.choice((0, 10, 50, 1000)))


WEIGHTS = dict(open=14, tmpfile=1, openat=2, reopen=2, close=3, mkdir=6, mknod=3, link=4, link_fd=1.5, symlink=3, readlink=1,
               rename=7, unlink=5, rmdir=4, chmod=5, fchmod=1, chown=5, fchown=1, utimens=4, futimens=1, umask=1, setxattr=3,
               fsetxattr=2, getxattr=1, fgetxattr=1, listxattr=1, flistxattr=1, removexattr=1, fremovexattr=.5, acl=2, truncate=3,
               ftruncate=3, fallocate=4, read=2, pread=3,
               write=4, pwrite=5, seek=2, seek_end=1, segments=2, copy=3, fsync=1, stat=2, fstat=2, readdir=2, access=2, flock=2,
               lock=4)


def sequence(seed, count):
    generator = Generator(seed)
    return [(generator.rng.randrange(len(IDENTITIES)), generator.call()) for _ in range(count)]
