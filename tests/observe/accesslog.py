#!/usr/bin/env python3
"""The access log: the same operations give the same lines on our mount and on the reference's, but for times and handles."""
import contextlib
import fcntl
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

JUICEFS = zest.tool("juicefs")
LINE = re.compile(r"\d{4}\.\d\d\.\d\d \d\d:\d\d:\d\d\.\d{6} \[uid:(\d+),gid:(\d+),pid:(\d+)\] (\w+) (.*) <\d+\.\d{6}>")


def operations(mount):
    """Every kind of operation that a mount logs, with results of every kind."""
    top = mount.path("top")
    os.mkdir(top)
    os.mkdir(os.path.join(top, "sub"), 0o750)
    path = os.path.join(top, "file")
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o640)
    os.write(fd, b"x" * 10_000)
    os.fsync(fd)
    os.fdatasync(fd)
    os.pread(fd, 4096, 0)
    os.ftruncate(fd, 5000)
    os.posix_fallocate(fd, 0, 20_000)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 5)
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_GETLK, bytes(32))
    fcntl.lockf(fd, fcntl.LOCK_UN)
    fcntl.flock(fd, fcntl.LOCK_SH)
    fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)
    os.chmod(path, 0o600)
    os.chmod(path, 0o4755)
    os.chmod(os.path.join(top, "sub"), 0o1777)
    os.chown(path, 1, 2)
    os.utime(path, (1_000_000_000, 1_100_000_000))
    os.utime(path)
    os.truncate(path, 100)
    os.setxattr(path, "user.name", b"value")
    os.setxattr(path, "user.name", b"other", os.XATTR_REPLACE)
    os.getxattr(path, "user.name")
    os.listxattr(path)
    os.removexattr(path, "user.name")
    os.symlink("target/of it", os.path.join(top, "symbolic"))
    os.readlink(os.path.join(top, "symbolic"))
    os.link(path, os.path.join(top, "hard"))
    os.mkfifo(os.path.join(top, "fifo"), 0o644)
    os.mknod(os.path.join(top, "device"), 0o600 | 0o20000, os.makedev(1, 3))
    os.rename(os.path.join(top, "hard"), os.path.join(top, "sub", "renamed"))
    source, into = os.open(path, os.O_RDONLY), os.open(os.path.join(top, "copy"), os.O_CREAT | os.O_WRONLY, 0o644)
    os.copy_file_range(source, into, 100)
    os.close(source)
    os.close(into)
    for name in ("with\nnewline", "with\ttab", "quote\"and\\slash", "grüße", "back`tick", b"not\xffutf8", "  blanks "):
        made = os.path.join(top.encode(), name if isinstance(name, bytes) else name.encode())
        os.close(os.open(made, os.O_CREAT | os.O_WRONLY, 0o644))
        os.unlink(made)
    for fails in (lambda: os.rmdir(top), lambda: os.mkdir(top), lambda: os.unlink(os.path.join(top, "none")),
                  lambda: os.getxattr(path, "user.none"), lambda: os.rename(os.path.join(top, "none"), os.path.join(top, "x")),
                  lambda: os.open(os.path.join(top, "n" * 300), os.O_RDONLY), lambda: os.rmdir(path),
                  lambda: os.link(top, os.path.join(top, "y"))):
        with contextlib.suppress(OSError):
            fails()
    sorted(os.listdir(top))
    os.statvfs(top)
    with open(os.path.join(top, "sub", "renamed"), "rb") as file:
        file.read()
    os.unlink(path)


def lines_of(binary):
    """What the operations log: (method, the rest without times and handles), by this process or by the kernel for it."""
    mount = zest.Volume("--trash-days", "0").mount("--enable-xattr", "--attr-cache", "0", "--entry-cache", "0", "--dir-entry-cache", "0",
                                                   binary=binary)
    log = os.path.join(zest.temp_dir("log"), "log")
    with open(log, "wb") as into:
        reader = subprocess.Popen(["cat", mount.path(".accesslog")], stdout=into)
    zest.on_exit(reader.kill)

    def text():
        with open(log, errors="surrogateescape") as file:
            return file.read()

    def probed():
        with contextlib.suppress(OSError):
            os.stat(mount.path("probe"))
        return "probe" in text()
    zest.wait_until(probed, "the log tells of a probe")
    operations(mount)
    with contextlib.suppress(OSError):
        os.stat(mount.path("the-end"))
    zest.wait_until(lambda: "the-end" in text(), "the log tells of the end")
    reader.kill()
    reader.wait()
    found = {}
    for line in text().splitlines():
        if line == "#":
            continue
        parsed = LINE.fullmatch(line)
        assert parsed, f"no line of the log: {line}"
        uid, gid, pid, method, rest = parsed.groups()
        # contents of virtual files differ in size, and what the kernel asks for on its own differs by what a mount tells it
        if "(92233720325598085" in rest or "security.capability" in rest:
            continue
        if "probe" in rest or "the-end" in rest or int(pid) not in (0, os.getpid()):  # a client looks at itself, too
            continue
        assert (uid, gid) == ("0", "0"), line
        found.setdefault(method, [])
        plain = normal(method, rest)
        if plain not in found[method]:
            found[method].append(plain)
    mount.umount()
    return found


def normal(method, rest):
    rest = re.sub(r"fh:\d+", "fh:N", rest)
    rest = re.sub(r"\[[1-9]\d*\],0x", "[N],0x", rest)
    rest = re.sub(r"\b1[789]\d{8}\b", "TIME", rest)
    if method in ("read", "write", "release", "flush", "fsync", "getlk", "setlk", "flock"):
        # the handle: a number of its own
        place = {"read": 3, "write": 3}.get(method, 1)
        head, _, tail = rest.partition(")")
        cells = head.split(",")
        if method != "fsync":
            cells[place] = "FH"
        rest = ",".join(cells) + ")" + tail
    rest = re.sub(r"\b[0-9A-F]{16}\b", "OWNER", rest)
    return re.sub(r",\d{2,7}(,\w+\)|\)) - ", r",PID\1 - ", rest) if method in ("setlk", "getlk") else rest


def same_lines():
    theirs, mine = lines_of(JUICEFS), lines_of(zest.ZESTFS)
    different = []
    for method in sorted(set(theirs) | set(mine)):
        only = [f"  theirs: {line}" for line in theirs.get(method, []) if line not in mine.get(method, [])]
        only += [f"  ours:   {line}" for line in mine.get(method, []) if line not in theirs.get(method, [])]
        if only:
            different.append(method + "\n" + "\n".join(only))
    assert not different, "\n".join(different)


zest.main([same_lines])
