#!/usr/bin/env python3
"""The change log: the same calls on a mount of ours and on one of the reference's write the same lines, argument by argument; each reads
the other's.

changelog.py ENGINE [CASE...]: sqlite, redis, postgres, mariadb
"""
import ctypes
import fcntl
import json
import os
import re
import stat
import struct
import subprocess
import time

from pair import ENGINE, FRESH, JUICEFS, ours, reference, volume, zest

libc = ctypes.CDLL(None, use_errno=True)
LINE = re.compile(r"(\d+): (\d+)\.(\d{9})\|([A-Z_]+)\((.*)\)(?::([^|]*))?\|\((\d+),(\d+)\)")
# Lines whose number and moment are each client's own affair; but for the steps that are about them.
OWN = {"INCR_COUNTER", "SET", "DIRSTAT", "NEWSESSION", "CLEANSESSION"}
BACKGROUND = {"COMPACTCHUNK", "DELCHUNK", "DELETESLICE"}
ABOUT_IT = {"compaction", "removed while open"}


def read_log(binary, meta, *options, seconds=None, upto=None):
    """Lines as (version, op, [args], result), the oldest first, until one of version `upto` came."""
    process = subprocess.Popen([binary, "changelog", "--from", "-1", *options, meta], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = []
    try:
        for text in process.stdout:
            if options:
                found.append(json.loads(text))
                version = found[-1]["version"]
            else:
                line = LINE.fullmatch(text.rstrip("\n"))
                assert line, text
                version = int(line[1])
                found.append((version, line[4], line[5].split(",") if line[5] else [], line[6]))
            if version >= upto:
                return found
    finally:
        process.kill()
        process.wait()
    raise AssertionError(f"the log of {meta} ended after {found[-1:]}")


def stored(vol):
    """The number of lines, and the lines themselves, as the database has them."""
    if ENGINE == "redis":
        url = vol.meta.removeprefix("redis://")
        address, db = url.split("/")
        return zest.run("redis-cli", "-p", address.split(":")[1], "-n", db, "lrange", "txnLog", "0", "-1").stdout.splitlines()
    if ENGINE == "sqlite":
        return zest.run("sqlite3", "-readonly", vol.meta.removeprefix("sqlite3://"), "select entry from jfs_change_log order by id").stdout.splitlines()
    raise AssertionError(ENGINE)


def renameat2(old, new, flags):
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


def fallocate(path, mode, offset, size):
    fd = os.open(path, os.O_RDWR)
    done = libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(size))
    os.close(fd)
    assert done == 0


def write(path, data, offset=0, flags=os.O_WRONLY | os.O_CREAT):
    fd = os.open(path, flags, 0o644)
    os.pwrite(fd, data, offset)
    os.fsync(fd)
    os.close(fd)


def touch(path, mode=0o644):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, mode))


def setflags(path, flags):
    fd = os.open(path, os.O_RDONLY)
    fcntl.ioctl(fd, 0x40086602, struct.pack("l", flags))
    os.close(fd)


def truncated_by_handle(path, length):
    fd = os.open(path, os.O_RDWR)
    os.ftruncate(fd, length)
    os.close(fd)


def locked(path):
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_SH)
    fcntl.flock(fd, fcntl.LOCK_EX)
    fcntl.flock(fd, fcntl.LOCK_UN)
    fcntl.lockf(fd, fcntl.LOCK_SH, 100, 10)
    fcntl.lockf(fd, fcntl.LOCK_EX, 0, 0)
    fcntl.lockf(fd, fcntl.LOCK_UN, 50, 20)
    fcntl.lockf(fd, fcntl.LOCK_UN, 0, 0)
    os.close(fd)


def removed_while_open(path):
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    os.write(fd, b"abc")
    os.fsync(fd)
    os.unlink(path)
    os.close(fd)


def copied(source, target):
    a, b = os.open(source, os.O_RDONLY), os.open(target, os.O_CREAT | os.O_RDWR, 0o644)
    assert os.copy_file_range(a, b, 200000, 1000, 5000) == 200000
    os.close(a)
    os.close(b)


def nameless(folder):
    os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o644))


def tree(path):
    os.makedirs(f"{path}/x/y")
    touch(f"{path}/f")
    touch(f"{path}/x/g")
    os.symlink("f", f"{path}/l")
    os.link(f"{path}/f", f"{path}/x/h")


def calls(mount, binary):
    """(what is done, how), in order."""
    p = mount.path

    def run(*command):
        return lambda: zest.run(binary, *command)

    def setfacl(*arguments):
        return lambda: zest.run("setfacl", *arguments)
    meta = mount.meta
    return [
        ("mkdir", lambda: os.mkdir(p("d"))),
        ("mkdir with a mode", lambda: os.mkdir(p("d2"), 0o2750)),
        ("create", lambda: touch(p("a"), 0o640)),
        ("fifo", lambda: os.mkfifo(p("fifo"), 0o600)),
        ("device", lambda: os.mknod(p("chr"), 0o600 | stat.S_IFCHR, os.makedev(1, 3))),
        ("socket", lambda: os.mknod(p("sock"), 0o600 | stat.S_IFSOCK)),
        ("symlink", lambda: os.symlink("some/targ,et%\xe9", p("ln"))),
        ("odd name", lambda: touch(p("o dd,(n)%\"\\\t\xe9\x7f~!"))),
        ("link", lambda: os.link(p("a"), p("d/a2"))),
        ("write", lambda: write(p("a"), b"0123456789")),
        ("write again", lambda: write(p("a"), b"abc", 3)),
        ("write far", lambda: write(p("a"), b"abc", 70 << 20)),
        ("chmod", lambda: os.chmod(p("a"), 0o600)),
        ("chmod with suid", lambda: os.chmod(p("a"), 0o4755)),
        ("chown", lambda: os.chown(p("a"), 1000, 1001)),
        ("chown of the user", lambda: os.chown(p("a"), 0, -1)),
        ("utimes", lambda: os.utime(p("a"), ns=(1500000000123456789, 1600000000987654321))),
        ("utimes now", lambda: os.utime(p("a"))),
        ("chattr +a", lambda: setflags(p("a"), 0x20)),
        ("chattr -a", lambda: setflags(p("a"), 0)),
        ("truncate up", lambda: os.truncate(p("a"), 80 << 20)),
        ("truncate down", lambda: os.truncate(p("a"), 5)),
        ("ftruncate", lambda: truncated_by_handle(p("a"), 3)),
        ("O_TRUNC", lambda: os.close(os.open(p("a"), os.O_WRONLY | os.O_TRUNC))),
        ("fallocate", lambda: fallocate(p("a"), 0, 0, 10000)),
        ("fallocate keep", lambda: fallocate(p("a"), 1, 0, 20000)),
        ("punch", lambda: fallocate(p("a"), 3, 100, 2000)),
        ("zero", lambda: fallocate(p("a"), 16, 200, 20000)),
        ("setxattr", lambda: os.setxattr(p("a"), "user.k\xe9y", b"va,l\x00ue%\xff")),
        ("setxattr create", lambda: os.setxattr(p("a"), "user.c", b"1", os.XATTR_CREATE)),
        ("setxattr replace", lambda: os.setxattr(p("a"), "user.c", b"2", os.XATTR_REPLACE)),
        ("setxattr empty", lambda: os.setxattr(p("a"), "user.e", b"")),
        ("removexattr", lambda: os.removexattr(p("a"), "user.c")),
        ("setfacl", setfacl("-m", "u:1000:rw,g:1001:r,m:rw", p("a"))),
        ("setfacl default", setfacl("-d", "-m", "u:1000:rwx", p("d"))),
        ("create under a default ACL", lambda: touch(p("d/ch"), 0o666)),
        ("mkdir under a default ACL", lambda: os.mkdir(p("d/sub"))),
        ("setfacl -b", setfacl("-b", p("a"))),
        ("setfacl -k", setfacl("-k", p("d"))),
        ("locks", lambda: locked(p("a"))),
        ("removed while open", lambda: removed_while_open(p("ou"))),
        ("unlink of one of two names", lambda: os.unlink(p("d/a2"))),
        ("unlink", lambda: os.unlink(p("sock"))),
        ("unlink of a symlink", lambda: os.unlink(p("ln"))),
        ("rmdir", lambda: os.rmdir(p("d/sub"))),
        ("rename", lambda: os.rename(p("a"), p("b"))),
        ("rename to another directory", lambda: os.rename(p("b"), p("d/b"))),
        ("rename over a file", lambda: (touch(p("t")), os.rename(p("t"), p("d/b")))),
        ("rename without replacing", lambda: renameat2(p("d/b"), p("nb"), 1)),
        ("exchange", lambda: renameat2(p("nb"), p("d/ch"), 2)),
        ("exchange with a directory", lambda: renameat2(p("nb"), p("d2"), 2)),
        ("rename over a directory", lambda: (os.mkdir(p("e1")), os.mkdir(p("e2")), os.rename(p("e1"), p("e2")))),
        ("copy_file_range", lambda: (write(p("s"), b"q" * 300000), copied(p("s"), p("t2")))),
        ("O_TMPFILE", lambda: nameless(mount.point)),
        ("a tree", lambda: tree(p("tr"))),
        ("clone of a file", run("clone", p("tr/f"), p("fc"))),
        ("clone with times and owner", run("clone", "-p", p("tr/f"), p("fcp"))),
        ("clone of a tree", run("clone", p("tr"), p("trc"))),
        ("compaction", lambda: (write(p("fr"), b"z" * 10), write(p("fr"), b"z" * 10, 5), zest.run(binary, "compact", p("fr")))),
        ("rmr", run("rmr", "-p", "1", p("tr")) if binary != JUICEFS else run("rmr", p("tr"))),
        ("quota of a directory", run("quota", "set", meta, "--path", "/d", "--capacity", "1", "--inodes", "100")),
        ("no quota of a directory", run("quota", "delete", meta, "--path", "/d")),
        ("quota of a user", run("quota", "set", meta, "--uid", "1000", "--capacity", "1")),
        ("quota of a group", run("quota", "set", meta, "--gid", "1000", "--inodes", "10")),
        ("no quota of a user", run("quota", "delete", meta, "--uid", "1000")),
    ]


def normal(line, names):
    """The arguments that have to agree. Slices, lock owners, processes and files without a name get numbers in their order."""
    _, op, args, result = line

    def number(kind, value):
        of_kind = names.setdefault(kind, {})
        return f"{kind}{of_kind.setdefault(value, len(of_kind))}"
    args = list(args)
    if op == "SETATTR":
        args[7:13] = ["time"] * 6
    if op == "WRITE":
        args[3], args[5:7], result = number("slice", args[3]), ["time", "time"], None
    if op == "COMPACTCHUNK":
        args[5] = "slice"
    if op in ("FLOCK", "SETLK"):
        args[1] = number("owner", args[1])
    if op == "SETLK":
        args[5] = str(int(args[5] != "0"))
    if op == "DELETESLICE":
        args[0] = number("slice", args[0])
    if op in ("CREATE", "LINK", "UNLINK", "UNLINKBATCH"):  # how often a directory's times move is for each client to say
        assert args[-1] in ("true", "false"), line
        args[-1] = "touched"
    args = [number("tmpfile", a) if a.startswith("tmpfile_") else a for a in args]
    args = ["hour" if a.startswith("92233720328") else a for a in args]
    args = [a if not re.fullmatch(r"\d{4}-\d\d-\d\d-\d\d", a) else "hour" for a in args]
    result = "hour" if (result or "").startswith("92233720328") else result
    return f"{op}({','.join(args)}):{result}"


def recorded(vol, mount, binary):
    """[(what was done, its lines)]"""
    seen, out = len(stored(vol)), []
    for what, do in calls(mount, binary):
        names = {}
        do()
        time.sleep(0.15)  # what goes on in the background; and times of directories are due again
        lines = stored(vol)
        parsed = [LINE.fullmatch("1: " + line) for line in lines[seen:]]
        assert all(parsed), lines[seen:]
        seen = len(lines)
        own = OWN if what in ABOUT_IT else OWN | BACKGROUND
        out.append((what, [normal((0, m[4], m[5].split(",") if m[5] else [], m[6]), names) for m in parsed if m[4] not in own]))
    return out


def agree(what, mine, theirs):
    """But for what differs on purpose, or by a defect of the reference."""
    if what == "clone of a tree":  # the reference leaves out what it copies in batches, so the numbers of the others differ too
        names = [[re.sub(r"^CLONE\(\d+,\d+,(\w+),.*", r"CLONE \1", line) for line in lines] for lines in (mine, theirs)]
        return set(names[1]) <= set(names[0]) and {f"CLONE {name}" for name in ("trc", "x", "y", "f", "g", "h", "l")} < set(names[0])
    if what.startswith("quota of"):  # the reference goes on with lines about the usage, which has no place in them
        theirs = list(dict.fromkeys(line for line in theirs if not line.endswith(",-1,-1):None")))
    if what.startswith(("exchange", "rename without")):  # nothing is replaced: where it would go says nothing
        mine, theirs = ([re.sub(r",(hour|0)\):", "):", line) for line in lines] for lines in (mine, theirs))
    return sorted(mine) == sorted(theirs)  # order: of what many threads do


def compared(trash):
    logs = {}
    for who, binary, mounted in (("ours", zest.ZESTFS, ours), ("theirs", JUICEFS, reference)):
        vol = volume("--enable-acl")
        zest.run(binary, "config", vol.meta, "--changelog", "--yes", *(["--trash-days", str(trash)] if trash else []))
        mount = mounted(vol, "mnt", "--enable-ioctl")
        logs[who] = recorded(vol, mount, binary)
        mount.umount()
        lines = stored(vol)
        last = len(lines)
        assert LINE.fullmatch("1: " + lines[-1])[4] == "CLEANSESSION", lines[-1]
        # Each client reads the log as the database has it.
        for reader in (zest.ZESTFS, JUICEFS):
            found = read_log(reader, vol.meta, upto=last)
            assert [version for version, *_ in found] == list(range(1, last + 1))
            again = [LINE.fullmatch(f"{n}: {line}") for n, line in enumerate(lines, 1)]
            assert found == [(int(m[1]), m[4], m[5].split(",") if m[5] else [], m[6]) for m in again]
        as_json = read_log(zest.ZESTFS, vol.meta, "--json", upto=last)
        assert [entry["entry"] for entry in as_json] == lines
    wrong = []
    for (what, mine), (_, theirs) in zip(logs["ours"], logs["theirs"], strict=True):
        if not agree(what, mine, theirs):
            wrong.append(f"{what}\n  ours    {mine}\n  theirs  {theirs}")
    assert not wrong, "\n".join(wrong)


def the_same_lines():
    compared(0)


def the_same_lines_with_trash():
    compared(1)


def both_at_once():
    """Two clients of both kinds on one volume: one log, in the order of the changes."""
    vol = volume()
    zest.zestfs("config", vol.meta, "--changelog", "--changelog-max-lines", "100000")
    a, b = ours(vol, "mnt"), reference(vol, "ref")
    for number in range(20):
        for mount in (a, b):
            os.mkdir(mount.path("x"))
            os.rmdir(mount.path("x"))
    a.umount()
    b.umount()
    last = len(stored(vol))
    for reader in (zest.ZESTFS, JUICEFS):
        ops = [(op, args[1]) for _, op, args, _ in read_log(reader, vol.meta, upto=last) if op in ("CREATE", "RMDIR")]
        assert ops == [("CREATE", "x"), ("RMDIR", "x")] * 40, ops


zest.main([the_same_lines, the_same_lines_with_trash, both_at_once])
