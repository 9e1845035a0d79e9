#!/usr/bin/env python3
"""Extended attributes, ACLs, flags and the virtual files of a real mount."""
import array
import ctypes
import errno
import fcntl
import json
import os
import stat
import struct

from common import ALICE, BOB, Once, as_user, expect, libc, read_file, syscall, write_file, zest

main = Once(("--enable-acl",), ("--enable-xattr", "--enable-ioctl"))
plain = Once()


def xattrs():
    f = write_file(main.dir("xattr") + "/f")
    assert os.listxattr(f) == []
    os.setxattr(f, "user.one", b"1")
    os.setxattr(f, "user.empty", b"")
    os.setxattr(f, "user.big", b"v" * 60_000)
    os.setxattr(f, "trusted.t", b"\0\xff")
    assert sorted(os.listxattr(f)) == ["trusted.t", "user.big", "user.empty", "user.one"]
    assert os.getxattr(f, "user.one") == b"1" and os.getxattr(f, "user.empty") == b""
    assert os.getxattr(f, "user.big") == b"v" * 60_000 and os.getxattr(f, "trusted.t") == b"\0\xff"
    expect("EEXIST", os.setxattr, f, "user.one", b"2", os.XATTR_CREATE)
    expect("ENODATA", os.setxattr, f, "user.none", b"2", os.XATTR_REPLACE)
    os.setxattr(f, "user.one", b"2", os.XATTR_REPLACE)
    assert os.getxattr(f, "user.one") == b"2"
    expect("ENODATA", os.getxattr, f, "user.none")
    expect("ENODATA", os.removexattr, f, "user.none")
    os.removexattr(f, "user.one")
    expect("ENODATA", os.getxattr, f, "user.one")
    expect("ERANGE", os.setxattr, f, "user." + "n" * 251, b"x")
    os.setxattr(f, "user." + "n" * 250, b"x")
    os.mkdir(f + "d")
    os.setxattr(f + "d", "user.dir", b"d")
    assert os.getxattr(f + "d", "user.dir") == b"d"
    expect("ENODATA", os.getxattr, f, "security.capability")
    # namespaces: unknown ones, a name without anything behind it, and who sees what is trusted
    expect("EOPNOTSUPP", os.setxattr, f, "nothing.x", b"1")
    expect("EOPNOTSUPP", os.getxattr, f, "nothing.x")
    expect("EOPNOTSUPP", os.removexattr, f, "nothing.x")
    expect("EINVAL", os.setxattr, f, "user.", b"1")
    assert "trusted.t" not in as_user(ALICE, os.listxattr, f) and "user.big" in as_user(ALICE, os.listxattr, f)
    expect("EPERM", as_user, ALICE, os.setxattr, f, "trusted.t", b"1")
    before = os.stat(f).st_ctime_ns
    os.setxattr(f, "user.one", b"3")
    assert os.stat(f).st_ctime_ns > before


def xattrs_turned_off():
    f = write_file(plain.dir("off") + "/f")
    expect("EOPNOTSUPP", os.setxattr, f, "user.one", b"1")


def setfacl(*arguments):
    zest.run("setfacl", *arguments)


def getfacl(path):
    return zest.run("getfacl", "-cpE", path).stdout.split()


def access_acls():
    d = main.dir("acl", 0o777)
    f = write_file(f"{d}/f", b"secret", 0o600)
    expect("EACCES", as_user, ALICE, read_file, f)
    setfacl("-m", f"u:{ALICE}:r", f)
    assert as_user(ALICE, read_file, f) == b"secret"
    expect("EACCES", as_user, BOB, read_file, f)
    expect("EACCES", as_user, ALICE, os.open, f, os.O_WRONLY)
    assert getfacl(f) == ["user::rw-", f"user:{ALICE}:r--", "group::---", "mask::r--", "other::---"]
    assert stat.S_IMODE(os.stat(f).st_mode) == 0o640  # the mask shows as the group's bits
    os.chmod(f, 0o600)
    expect("EACCES", as_user, ALICE, read_file, f)
    os.chmod(f, 0o640)
    assert as_user(ALICE, read_file, f) == b"secret"
    setfacl("-m", "g:20000:rw", f)
    assert as_user(BOB, read_file, f, groups=[20000]) == b"secret"
    setfacl("-b", f)
    assert getfacl(f) == ["user::rw-", "group::---", "other::---"]
    expect("EACCES", as_user, ALICE, read_file, f)
    expect("EPERM", as_user, BOB, os.setxattr, f, "system.posix_acl_access", b"\x02\0\0\0")


def writers_strip_set_ids_despite_acls():
    f = write_file(main.dir("strip", 0o777) + "/f", b"x")
    setfacl("-m", f"u:{ALICE}:rw", f)
    os.chmod(f, 0o6776)
    as_user(ALICE, write_file_by_fd, f)
    assert stat.S_IMODE(os.stat(f).st_mode) == 0o776, oct(os.stat(f).st_mode)
    assert f"user:{ALICE}:rw-" in getfacl(f)


def write_file_by_fd(path):
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"y")
    os.close(fd)


def inherited_acls():
    d = main.dir("inherit", 0o777)
    setfacl("-d", "-m", f"u:{ALICE}:rwx,g::rx,o::-", d)
    old = os.umask(0o077)
    try:
        os.close(os.open(f"{d}/f", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(f"{d}/sub", 0o777)
    finally:
        os.umask(old)
    # no umask where a default ACL decides
    assert getfacl(f"{d}/f") == ["user::rw-", f"user:{ALICE}:rwx", "group::r-x", "mask::rw-", "other::---"]
    sub = getfacl(f"{d}/sub")
    assert f"user:{ALICE}:rwx" in sub and f"default:user:{ALICE}:rwx" in sub and "default:mask::rwx" in sub
    os.mkdir(f"{d}/sub/deeper")
    assert f"default:user:{ALICE}:rwx" in getfacl(f"{d}/sub/deeper")
    setfacl("-k", f"{d}/sub")
    assert not any(line.startswith("default") for line in getfacl(f"{d}/sub"))
    as_user(ALICE, write_file, f"{d}/sub/by-alice", b"x")


def get_flags(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        value = array.array("l", [0])
        fcntl.ioctl(fd, 0x80086601, value)
        return value[0] & 0xFFFFFFFF
    finally:
        os.close(fd)


def set_flags(path, flags):
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0x40086602, struct.pack("l", flags))
    finally:
        os.close(fd)


def utimensat(path, *nanoseconds):
    times = (ctypes.c_long * 4)(0, nanoseconds[0], 0, nanoseconds[1])
    syscall(libc.utimensat(-100, os.fsencode(path), times, 0))


def immutable_and_append_only():
    d = main.dir("flags")
    f = write_file(f"{d}/f", b"fixed")
    assert get_flags(f) == 0
    set_flags(f, 0x10)
    assert get_flags(f) == 0x10
    expect("EPERM", os.unlink, f)
    expect("EPERM", os.rename, f, f"{d}/g")
    expect("EPERM", os.link, f, f"{d}/g")
    expect("EPERM", os.open, f, os.O_WRONLY)
    expect("EPERM", os.truncate, f, 0)
    set_flags(f, 0x20)
    expect("EPERM", os.open, f, os.O_WRONLY)
    expect("EPERM", os.unlink, f)
    fd = os.open(f, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b" and more")
    os.close(fd)
    assert read_file(f) == b"fixed and more"
    os.utime(f)
    expect("EPERM", os.utime, f, (1, 1))
    now, omit = (1 << 30) - 1, (1 << 30) - 2
    expect("EPERM", utimensat, f, now, omit)
    utimensat(f, omit, omit)
    set_flags(f, 0)
    os.unlink(f)
    expect("EOPNOTSUPP", set_flags, write_file(f"{d}/h"), 0x8)
    os.mkdir(f"{d}/full")
    write_file(f"{d}/full/f")
    set_flags(f"{d}/full", 0x10)
    expect("EPERM", os.rmdir, f"{d}/full")
    set_flags(f"{d}/full", 0)


def virtual_files():
    plain.dir("virtual")
    root = plain.mount.point
    names = os.listdir(root)
    assert {".accesslog", ".stats", ".config", ".trash"} <= set(names) and ".control" not in names
    assert os.stat(f"{root}/.stats").st_ino == 0x7FFFFFFF00000003 and os.stat(f"{root}/.trash").st_ino == 0x7FFFFFFF10000000
    assert os.stat(f"{root}/virtual/.control").st_ino == 0x7FFFFFFF00000002
    config = json.loads(read_file(f"{root}/.config"))
    assert config["Format"]["Name"] == "vol" and config["Meta"]["Sid"] > 0 and config["AttrTimeout"] == 1_000_000_000
    assert config["Pid"] in plain.mount.pids() and config["Meta"]["MountPoint"] == root
    assert os.stat(f"{root}/.config").st_size > 1000
    stats = dict(line.split() for line in read_file(f"{root}/.stats").decode().splitlines() if line)
    assert float(stats["juicefs_uptime"]) > 0 and int(stats["juicefs_fuse_ops_total_mkdir"]) >= 1
    expect("EACCES", os.open, f"{root}/.stats", os.O_WRONLY)
    expect("EEXIST", os.mkdir, f"{root}/.stats")
    expect("EPERM", os.unlink, f"{root}/.stats")
    expect("EPERM", os.rename, f"{root}/.stats", f"{root}/x")
    expect("EPERM", os.rename, write_file(f"{root}/virtual/f"), f"{root}/.config")
    expect("EPERM", os.mkdir, f"{root}/.trash/x")
    expect("EPERM", os.rmdir, f"{root}/.trash")
    expect("EACCES", as_user, ALICE, os.open, f"{root}/.accesslog", os.O_RDONLY)


def access_log():
    d = plain.dir("log")
    with open(plain.mount.path(".accesslog"), "rb", buffering=0) as log:
        write_file(f"{d}/seen", b"12345")
        text = b""
        while b" flush " not in text:
            text += log.read(65536)
    lines = [line for line in text.decode().splitlines() if line != "#"]
    create = next(line for line in lines if " create " in line)
    assert "[uid:0,gid:0,pid:%d] create (" % os.getpid() in create and ",seen,-rw-" in create and " - OK <0." in create, create
    assert any(" write (" in line and ",5,0," in line for line in lines)


def control(path, op, body, timeout=zest.PATIENCE):
    """Sends one request; gives (errno, JSON or None)."""
    fd = os.open(os.path.join(path, ".control"), os.O_RDWR)
    try:
        os.write(fd, struct.pack(">II", op, len(body)) + body)
        reply = b""

        def complete():
            nonlocal reply
            reply += os.read(fd, 65536)
            rest = reply
            while len(rest) >= 17 and rest[0] == 0xFE:
                rest = rest[17:]
            if rest[:1] == b"\xff" and len(rest) >= 5 and len(rest) >= 5 + struct.unpack(">I", rest[1:5])[0]:
                return 0, json.loads(rest[5:])
            if len(rest) == 1 and rest[0] not in (0xFE, 0xFF):
                return rest[0], None

        return zest.wait_until(complete, f"the reply to {op}", timeout)
    finally:
        os.close(fd)


def control_requests():
    d = plain.dir("ctl")
    root = os.stat(d).st_ino
    for i in range(20):
        write_file(f"{d}/f{i}", b"x" * 5000)
    os.makedirs(f"{d}/tree/a/b")
    write_file(f"{d}/tree/a/b/f", b"deep")
    code, info = control(d, 1005, struct.pack(">QBBB", root, 1, 0, 1))
    assert code == 0 and info["Summary"]["Files"] == 21 and info["Summary"]["Dirs"] == 4 and info["Paths"] == ["/ctl"], info
    code, info = control(d, 1005, struct.pack(">QBB", os.stat(f"{d}/f0").st_ino, 0, 0))
    assert len(info["Objects"]) == 1 and info["Objects"][0]["Size"] == 5000 and info["Objects"][0]["Key"].startswith("vol/chunks/")
    code, info = control(d, 1005, struct.pack(">Q", 1 << 40))
    assert info["Failed"] and info["Reason"]
    code, tree = control(d, 1007, struct.pack(">QBBB", root, 2, 5, 1))
    assert tree["Errno"] == 0 and tree["Tree"]["Files"] == 21 and len(tree["Tree"]["Children"]) == 6
    assert tree["Tree"]["Dirs"] == 4 and sorted(c["Dirs"] for c in tree["Tree"]["Children"])[-1] == 3
    code, _ = control(d, 1006, struct.pack(">QQQB", os.stat(f"{d}/tree").st_ino, root, root, 4) + b"copy" + struct.pack(">HB", 0o022, 2))
    assert code == 0 and read_file(f"{d}/copy/a/b/f") == b"deep"
    code, found = control(d, 1004, struct.pack(">I", 4) + b"/ctl" + struct.pack(">HBB", 4, 0, 0))
    assert code == 0 and found["FileCount"] == 22 and found["TotalBytes"] >= 20 * 5000
    code, _ = control(d, 1002, struct.pack(">QB", root, 4) + b"tree" + b"\0")
    assert code == 0 and not os.path.exists(f"{d}/tree")
    code, _ = control(d, 1002, struct.pack(">QB", root, 4) + b"tree" + b"\0")
    assert code == errno.ENOENT
    assert control(d, 4711, b"")[0] == errno.EINVAL
    # whoever asks needs the rights himself: the control file is open to everybody
    os.makedirs(f"{d}/guarded/x")

    def as_alice():
        return control(d, 1002, struct.pack(">QB", os.stat(f"{d}/guarded").st_ino, 1) + b"x" + b"\0")[0]

    assert as_user(ALICE, as_alice) == errno.EACCES and os.path.isdir(f"{d}/guarded/x")


def trash_of_the_mount():
    d = plain.dir("bin")
    f = write_file(f"{d}/f", b"precious")
    ino, parent = os.stat(f).st_ino, os.stat(d).st_ino
    os.unlink(f)
    root = plain.mount.path(".trash")
    hours = os.listdir(root)
    found = [f"{root}/{h}/{parent}-{ino}-f" for h in hours if os.path.exists(f"{root}/{h}/{parent}-{ino}-f")]
    assert len(found) == 1 and read_file(found[0]) == b"precious"
    expect("EPERM", os.open, found[0], os.O_WRONLY)
    expect(("EACCES", "EPERM"), as_user, ALICE, os.unlink, found[0])
    os.rename(found[0], f"{d}/back")
    assert read_file(f"{d}/back") == b"precious"


def links_are_counted_outside_the_trash():
    d = plain.dir("counted")
    f = write_file(f"{d}/f", b"data")
    for name in "gh":
        os.link(f, f"{d}/{name}")
    fd = os.open(f, os.O_RDONLY)
    os.unlink(f"{d}/g")
    assert os.stat(f).st_nlink == 2 and os.fstat(fd).st_nlink == 2
    os.rename(write_file(f"{d}/new"), f"{d}/h")
    assert os.stat(f).st_nlink == 1 and {e.name: e.stat().st_nlink for e in os.scandir(d)} == {"f": 1, "h": 1}
    os.unlink(f)
    assert os.fstat(fd).st_nlink == 0 and os.pread(fd, 4, 0) == b"data"
    os.close(fd)


def squashed_users():
    volume = zest.Volume()
    mount = volume.mount()
    os.mkdir(mount.path("open"))
    os.chmod(mount.path("open"), 0o777)
    write_file(mount.path("private"), b"x", 0o600)
    mount.umount()
    mount = volume.mount("--all-squash", f"{ALICE}:{BOB}")
    st = os.stat(write_file(mount.path("open", "f")))
    assert (st.st_uid, st.st_gid) == (ALICE, BOB)
    expect("EACCES", os.open, mount.path("private"), os.O_RDONLY)
    mount.umount()
    mount = volume.mount("--root-squash", f"{ALICE}:{BOB}")
    st = os.stat(write_file(mount.path("open", "g")))
    assert (st.st_uid, st.st_gid) == (ALICE, BOB)
    expect("EACCES", os.open, mount.path("private"), os.O_RDONLY)
    mount.umount()


def unmount_leaves_all_clean():
    main.umount()
    plain.umount()


zest.main([xattrs, xattrs_turned_off, access_acls, writers_strip_set_ids_despite_acls, inherited_acls,
           immutable_and_append_only, virtual_files, access_log, control_requests, trash_of_the_mount,
           links_are_counted_outside_the_trash, squashed_users, unmount_leaves_all_clean])
