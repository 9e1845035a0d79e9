#!/usr/bin/env python3
"""Names on a real mount: creation, removal, rename, links, listings, permissions, times."""
import os
import stat
import time

from common import ALICE, BOB, Once, as_user, expect, read_file, renameat2, write_file, libc, zest

main = Once(("--trash-days", "0"))


def errors_of_open():
    d = main.dir("open")
    f = write_file(f"{d}/f", b"x")
    os.symlink("f", f"{d}/link")
    os.symlink("loop", f"{d}/loop")
    expect("ENOENT", os.open, f"{d}/missing", os.O_RDONLY)
    expect("EEXIST", os.open, f, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    expect("EEXIST", os.open, f"{d}/link", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    expect("ENOTDIR", os.open, f"{f}/x", os.O_RDONLY)
    expect("ENOTDIR", os.open, f, os.O_RDONLY | os.O_DIRECTORY)
    expect("EISDIR", os.open, d, os.O_RDWR)
    expect("ELOOP", os.open, f"{d}/link", os.O_RDONLY | os.O_NOFOLLOW)
    expect("ELOOP", os.open, f"{d}/loop", os.O_RDONLY)
    expect("ENAMETOOLONG", os.open, f"{d}/{'n' * 256}", os.O_CREAT | os.O_RDWR)
    expect("ENOENT", os.open, f"{d}/missing/x", os.O_CREAT | os.O_RDWR)


def errors_of_unlink_and_rmdir():
    d = main.dir("unlink")
    write_file(f"{d}/f")
    os.makedirs(f"{d}/sub/inner")
    expect("ENOENT", os.unlink, f"{d}/missing")
    expect("EISDIR", os.unlink, f"{d}/sub")
    expect("ENOTDIR", os.unlink, f"{d}/f/x")
    expect("ENOTDIR", os.rmdir, f"{d}/f")
    expect("ENOTEMPTY", os.rmdir, f"{d}/sub")
    expect("ENOENT", os.rmdir, f"{d}/missing")
    expect("EINVAL", os.rmdir, f"{d}/sub/inner/.")
    expect("ENOTEMPTY", os.rmdir, f"{d}/sub/inner/..")
    os.rmdir(f"{d}/sub/inner")
    os.rmdir(f"{d}/sub")
    os.unlink(f"{d}/f")
    assert os.listdir(d) == []


def errors_of_rename():
    d = main.dir("rename")
    write_file(f"{d}/f", b"f")
    write_file(f"{d}/g", b"g")
    os.makedirs(f"{d}/a/b")
    os.mkdir(f"{d}/empty")
    expect("ENOENT", os.rename, f"{d}/missing", f"{d}/x")
    expect("EISDIR", os.rename, f"{d}/f", f"{d}/a")
    expect("ENOTDIR", os.rename, f"{d}/a", f"{d}/f")
    expect("ENOTEMPTY", os.rename, f"{d}/empty", f"{d}/a")
    expect("EINVAL", os.rename, f"{d}/a", f"{d}/a/b/c")
    expect("ENOTDIR", os.rename, f"{d}/f", f"{d}/g/x")
    expect("ENAMETOOLONG", os.rename, f"{d}/f", f"{d}/{'n' * 256}")
    expect("EEXIST", renameat2, f"{d}/f", f"{d}/g", 1)
    expect("ENOENT", renameat2, f"{d}/f", f"{d}/missing", 2)
    expect("EINVAL", renameat2, f"{d}/f", f"{d}/g", 3)
    os.rename(f"{d}/f", f"{d}/f")
    os.rename(f"{d}/f", f"{d}/g")
    assert read_file(f"{d}/g") == b"f" and not os.path.exists(f"{d}/f")
    os.link(f"{d}/g", f"{d}/same")
    os.rename(f"{d}/g", f"{d}/same")  # two names of one inode: nothing happens
    assert os.path.exists(f"{d}/g") and os.path.exists(f"{d}/same")


def rename_moves_and_exchanges():
    d = main.dir("move")
    os.makedirs(f"{d}/a/inner")
    os.mkdir(f"{d}/b")
    write_file(f"{d}/b/f", b"file")
    ino_dir, ino_file = os.stat(f"{d}/a/inner").st_ino, os.stat(f"{d}/b/f").st_ino
    renameat2(f"{d}/a/inner", f"{d}/b/f", 2)
    assert os.stat(f"{d}/b/f").st_ino == ino_dir and os.stat(f"{d}/a/inner").st_ino == ino_file
    assert os.stat(f"{d}/a").st_nlink == 2 and os.stat(f"{d}/b").st_nlink == 3
    assert os.stat(f"{d}/b/f/..").st_ino == os.stat(f"{d}/b").st_ino
    os.rename(f"{d}/b/f", f"{d}/a/moved")
    assert os.stat(f"{d}/a").st_nlink == 3 and os.stat(f"{d}/b").st_nlink == 2
    for flags, refusal in ((4, "EOPNOTSUPP"), (5, "EOPNOTSUPP"), (6, "EINVAL")):  # RENAME_WHITEOUT: mounts.py
        expect(refusal, renameat2, f"{d}/a/inner", f"{d}/b/f", flags)
    os.rename(f"{d}/a/inner", f"{d}/b/f")
    assert sorted(os.listdir(f"{d}/a")) == ["moved"] and os.listdir(f"{d}/b") == ["f"]


def hard_links():
    d = main.dir("links")
    f = write_file(f"{d}/f", b"data")
    os.mkdir(f"{d}/sub")
    before = os.stat(f)
    os.link(f, f"{d}/sub/g")
    after = os.stat(f"{d}/sub/g")
    assert after.st_ino == before.st_ino and after.st_nlink == 2 and after.st_ctime_ns >= before.st_ctime_ns
    expect("EEXIST", os.link, f, f"{d}/sub/g")
    expect("ENOENT", os.link, f"{d}/missing", f"{d}/x")
    expect("EPERM", os.link, f"{d}/sub", f"{d}/x")
    expect("ENOTDIR", os.link, f, f"{f}/x")
    os.unlink(f)
    assert os.stat(f"{d}/sub/g").st_nlink == 1 and read_file(f"{d}/sub/g") == b"data"
    os.symlink("t" * 4000, f"{d}/long")
    assert os.readlink(f"{d}/long") == "t" * 4000 and os.lstat(f"{d}/long").st_size == 4000
    os.link(f"{d}/long", f"{d}/long2", follow_symlinks=False)
    assert os.lstat(f"{d}/long2").st_nlink == 2


def names_of_any_bytes():
    d = os.fsencode(main.dir("bytes"))
    names = [b"\xff\xfe\x01", b"n" * 255, "naïve ☃".encode(), b"new\nline", b"\xe4" * 255, b" ", b"...", b"%s", b"a\\b"]
    for name in names:
        with open(d + b"/" + name, "wb") as file:
            file.write(name)
    assert sorted(os.listdir(d)) == sorted(names)
    for name in names:
        assert read_file(d + b"/" + name) == name
        os.rename(d + b"/" + name, d + b"/tmp")
        os.rename(d + b"/tmp", d + b"/" + name)
    expect("ENAMETOOLONG", open, d + b"/" + b"n" * 256, "wb")
    for name in names:
        os.unlink(d + b"/" + name)
    assert os.listdir(d) == []


def special_nodes():
    d = main.dir("nodes")
    os.mkfifo(f"{d}/fifo", 0o640)
    os.mknod(f"{d}/null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(f"{d}/block", 0o600 | stat.S_IFBLK, os.makedev(7, 200))
    os.mknod(f"{d}/sock", 0o600 | stat.S_IFSOCK)
    assert stat.S_ISFIFO(os.stat(f"{d}/fifo").st_mode) and stat.S_IMODE(os.stat(f"{d}/fifo").st_mode) == 0o640
    st = os.stat(f"{d}/null")
    assert stat.S_ISCHR(st.st_mode) and (os.major(st.st_rdev), os.minor(st.st_rdev)) == (1, 3)
    st = os.stat(f"{d}/block")
    assert stat.S_ISBLK(st.st_mode) and (os.major(st.st_rdev), os.minor(st.st_rdev)) == (7, 200)
    assert stat.S_ISSOCK(os.stat(f"{d}/sock").st_mode)


def permissions_of_users():
    d = main.dir("perm", 0o777)
    write_file(f"{d}/private", b"secret", 0o600)
    write_file(f"{d}/group", b"group", 0o640)
    os.chown(f"{d}/group", 0, 20000)
    expect("EACCES", as_user, ALICE, os.open, f"{d}/private", os.O_RDONLY)
    expect("EACCES", as_user, ALICE, os.open, f"{d}/group", os.O_RDONLY)
    assert as_user(ALICE, read_file, f"{d}/group", groups=[20000]) == b"group"
    expect("EACCES", as_user, ALICE, os.open, f"{d}/group", os.O_WRONLY, groups=[20000])
    as_user(ALICE, os.mkdir, f"{d}/alice", 0o700)
    expect("EACCES", as_user, BOB, os.listdir, f"{d}/alice")
    expect("EACCES", as_user, BOB, os.mkdir, f"{d}/alice/x")
    expect("EPERM", as_user, BOB, os.chmod, f"{d}/alice", 0o777)
    expect("EPERM", as_user, BOB, os.chown, f"{d}/alice", BOB, BOB)
    expect("EPERM", as_user, ALICE, os.chown, f"{d}/alice", BOB, -1)
    expect("EPERM", as_user, ALICE, os.chown, f"{d}/alice", -1, 20000)
    as_user(ALICE, os.chown, f"{d}/alice", -1, 20000, groups=[20000])
    assert os.stat(f"{d}/alice").st_gid == 20000
    st = os.stat(as_user(ALICE, write_file, f"{d}/alice/f", b"1"))
    assert (st.st_uid, st.st_gid) == (ALICE, ALICE)
    expect("EPERM", as_user, BOB, os.utime, f"{d}/group", (1, 1))
    expect("EACCES", as_user, BOB, os.utime, f"{d}/group")


def sticky_directory():
    d = main.dir("sticky", 0o1777)
    as_user(ALICE, write_file, f"{d}/a", b"")
    as_user(ALICE, os.mkdir, f"{d}/ad")
    expect("EPERM", as_user, BOB, os.unlink, f"{d}/a")
    expect("EPERM", as_user, BOB, os.rmdir, f"{d}/ad")
    expect("EPERM", as_user, BOB, os.rename, f"{d}/a", f"{d}/b")
    as_user(BOB, write_file, f"{d}/b", b"")
    expect("EPERM", as_user, BOB, os.rename, f"{d}/b", f"{d}/a")
    as_user(ALICE, os.unlink, f"{d}/a")
    as_user(ALICE, os.rmdir, f"{d}/ad")


def setgid_directory():
    d = main.dir("setgid")
    os.chown(d, 0, 20000)
    os.chmod(d, 0o2777)
    as_user(ALICE, write_file, f"{d}/f", b"")
    assert os.stat(f"{d}/f").st_gid == 20000
    as_user(ALICE, os.mkdir, f"{d}/sub")
    st = os.stat(f"{d}/sub")
    assert st.st_gid == 20000 and st.st_mode & stat.S_ISGID


def setuid_bits_are_cleared():
    d = main.dir("suid", 0o777)

    def append(path):
        with open(path, "ab") as file:
            file.write(b"more")

    f = write_file(f"{d}/f", b"data", 0o6777)
    as_user(ALICE, append, f)
    assert stat.S_IMODE(os.stat(f).st_mode) == 0o777, oct(os.stat(f).st_mode)
    os.chmod(f, 0o6777)
    as_user(ALICE, os.truncate, f, 1)
    assert stat.S_IMODE(os.stat(f).st_mode) == 0o777, oct(os.stat(f).st_mode)
    os.chmod(f, 0o6766)  # the kernel asks for set-user-id alone to be taken away
    as_user(ALICE, append, f)
    assert stat.S_IMODE(os.stat(f).st_mode) == 0o766, oct(os.stat(f).st_mode)
    os.chmod(f, 0o6766)
    as_user(ALICE, append, f, groups=[0])
    assert stat.S_IMODE(os.stat(f).st_mode) == 0o2766, oct(os.stat(f).st_mode)
    os.chown(f, ALICE, ALICE)
    os.chmod(f, 0o6777)
    as_user(ALICE, os.chown, f, ALICE, ALICE)
    assert stat.S_IMODE(os.stat(f).st_mode) == 0o777, oct(os.stat(f).st_mode)


def umask_applies():
    d = main.dir("umask")
    old = os.umask(0o027)
    try:
        os.close(os.open(f"{d}/f", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(f"{d}/sub", 0o777)
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(f"{d}/f").st_mode) == 0o640
    assert stat.S_IMODE(os.stat(f"{d}/sub").st_mode) == 0o750


def times_to_the_nanosecond():
    d = main.dir("times")
    f = write_file(f"{d}/f", b"x")
    for ns in (1, 1_700_000_000_123_456_789, 999_999_999, 4_102_444_800_000_000_001):
        os.utime(f, ns=(ns, ns + 1))
        st = os.stat(f)
        assert (st.st_atime_ns, st.st_mtime_ns) == (ns, ns + 1), (st.st_atime_ns, st.st_mtime_ns, ns)
    os.utime(f, ns=(-1_500_000_000, -1))
    assert os.stat(f).st_mtime_ns == -1 and os.stat(f).st_atime_ns == -1_500_000_000
    before = time.time_ns()
    os.utime(f)
    after = os.stat(f).st_mtime_ns
    assert before - 1_000_000_000 <= after <= time.time_ns() + 1_000_000_000
    st = os.stat(f)
    time.sleep(0.02)
    os.chmod(f, 0o600)
    assert os.stat(f).st_ctime_ns > st.st_ctime_ns and os.stat(f).st_mtime_ns == st.st_mtime_ns
    st = os.stat(d)
    time.sleep(0.15)
    write_file(f"{d}/g")
    assert os.stat(d).st_mtime_ns > st.st_mtime_ns and os.stat(d).st_ctime_ns > st.st_ctime_ns


def times_of_data():
    d = main.dir("datatimes")
    f = write_file(f"{d}/f", b"x")
    os.utime(f, ns=(1000, 1000))
    with open(f, "r+b") as file:
        file.write(b"y")
        file.flush()
        assert os.stat(f).st_mtime_ns > 1000, "a write that is not committed yet shows in mtime"
        os.utime(f, ns=(5000, 7000))  # tar, cp -p and rsync do this before they close
        assert os.stat(f).st_mtime_ns == 7000
    assert os.stat(f).st_mtime_ns == 7000, "close must not replace the time that was set"
    m = os.stat(f).st_mtime_ns
    time.sleep(0.02)
    os.truncate(f, 100)
    assert os.stat(f).st_mtime_ns > m


def nlink_of_directories():
    d = main.dir("nlink")
    assert os.stat(d).st_nlink == 2
    for i in range(5):
        os.mkdir(f"{d}/{i}")
    assert os.stat(d).st_nlink == 7
    os.rmdir(f"{d}/0")
    os.rename(f"{d}/1", f"{d}/2/1")
    assert os.stat(d).st_nlink == 5 and os.stat(f"{d}/2").st_nlink == 3


def big_directory():
    d = main.dir("big")
    count = 20_000
    for i in range(count):
        os.close(os.open(f"{d}/file-{i:06}", os.O_CREAT | os.O_WRONLY, 0o644))
    names = os.listdir(d)
    assert len(names) == count and len(set(names)) == count
    seen = {entry.name: entry.stat().st_size for entry in os.scandir(d)}
    assert len(seen) == count
    # removing while listing gives every name once
    removed = 0
    with os.scandir(d) as entries:
        for entry in entries:
            os.unlink(entry.path)
            removed += 1
    assert removed == count, removed
    assert os.listdir(d) == []


def listing_positions():
    d = main.dir("seek")
    for i in range(500):
        write_file(f"{d}/{i}")
    libc.opendir.restype = libc.readdir.restype = __import__("ctypes").c_void_p
    import ctypes

    class Dirent(ctypes.Structure):
        _fields_ = [("ino", ctypes.c_ulong), ("off", ctypes.c_long), ("len", ctypes.c_ushort), ("type", ctypes.c_ubyte),
                    ("name", ctypes.c_char * 256)]

    libc.telldir.restype = ctypes.c_long
    stream = ctypes.c_void_p(libc.opendir(os.fsencode(d)))

    def read():
        entry = libc.readdir(stream)
        return ctypes.cast(entry, ctypes.POINTER(Dirent)).contents.name if entry else None

    order, places = [], []
    while True:
        places.append(libc.telldir(stream))
        name = read()
        if name is None:
            break
        order.append(name)
    assert len(order) == 502 and len(set(order)) == 502 and {b".", b".."} <= set(order)
    for at in (0, 250, 10, 499, 100):
        libc.seekdir(stream, ctypes.c_long(places[at]))
        assert read() == order[at], at
    for name in order[50:150]:
        if not name.startswith(b"."):
            os.unlink(os.fsencode(d) + b"/" + name)
    write_file(f"{d}/0-new")  # the first by name
    for at in (200, 300, 160, 501, 20):
        libc.seekdir(stream, ctypes.c_long(places[at]))
        assert read() == order[at], at
    libc.seekdir(stream, ctypes.c_long(places[40]))
    rest = list(iter(read, None))
    assert [name for name in rest if name != b"0-new"] == order[40:50] + \
        [n for n in order[50:150] if n.startswith(b".")] + order[150:], rest
    libc.rewinddir(stream)
    assert set(iter(read, None)) == {os.fsencode(n) for n in os.listdir(d)} | {b".", b".."}
    libc.closedir(stream)


def listing_does_not_revive_what_is_gone():
    d = main.dir("stale")
    for i in range(3000):
        write_file(f"{d}/{i}")
    entries = os.scandir(d)
    first = next(entries).name
    others = [str(i) for i in range(3000) if str(i) != first]
    for name in others:
        os.unlink(f"{d}/{name}")
    for entry in entries:
        pass
    for name in others[::97]:
        assert not os.path.exists(f"{d}/{name}"), name
    assert os.listdir(d) == [first]


def deep_paths():
    d = main.dir("deep")
    at = d
    for i in range(100):
        at += f"/level{i}"
        os.mkdir(at)
    write_file(f"{at}/f", b"deep")
    assert read_file(f"{at}/f") == b"deep"
    expect("ENAMETOOLONG", os.stat, d + "/x" * 2100)


def removed_directory_in_use():
    d = main.dir("gone")
    os.mkdir(f"{d}/sub")
    fd = os.open(f"{d}/sub", os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir(f"{d}/sub")
    expect("ENOENT", os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.close(fd)


def use_without_a_name(fd, kind):
    """What Linux allows with a descriptor of an inode that lost its last name."""
    time.sleep(1.1)  # the kernel asks again
    st = os.fstat(fd)
    assert stat.S_IFMT(st.st_mode) == kind and st.st_nlink == 0, (oct(st.st_mode), st.st_nlink)
    os.fchmod(fd, 0o751)
    os.fchown(fd, ALICE, BOB)
    os.utime(fd, ns=(1_000_000_001, 2_000_000_002))
    time.sleep(1.1)
    after = os.fstat(fd)
    assert stat.S_IMODE(after.st_mode) == 0o751 and (after.st_uid, after.st_gid) == (ALICE, BOB)
    assert (after.st_atime_ns, after.st_mtime_ns) == (1_000_000_001, 2_000_000_002) and after.st_ctime_ns > st.st_ctime_ns
    assert after.st_ino == st.st_ino and after.st_nlink == 0
    assert os.listxattr(fd) == ["trusted.before"] and os.getxattr(fd, "trusted.before") == b"0"
    os.setxattr(fd, "trusted.before", b"1", os.XATTR_REPLACE)
    os.removexattr(fd, "trusted.before")
    os.setxattr(fd, "trusted.x", b"1")
    expect("EEXIST", os.setxattr, fd, "trusted.x", b"2", os.XATTR_CREATE)
    assert os.getxattr(fd, "trusted.x") == b"1" and os.listxattr(fd) == ["trusted.x"]
    os.removexattr(fd, "trusted.x")
    expect("ENODATA", os.getxattr, fd, "trusted.x")


def opened_nodes(d):
    """Descriptors of a directory and of special files, by their kinds; and the names."""
    os.mkdir(f"{d}/dir")
    os.mkfifo(f"{d}/fifo")
    os.mknod(f"{d}/null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(f"{d}/sock", 0o600 | stat.S_IFSOCK)
    return {stat.S_IFDIR: os.open(f"{d}/dir", os.O_RDONLY), stat.S_IFIFO: os.open(f"{d}/fifo", os.O_RDWR),
            stat.S_IFCHR: os.open(f"{d}/null", os.O_RDWR), stat.S_IFSOCK: os.open(f"{d}/sock", os.O_PATH)}


def removed_nodes_in_use():
    for days in (0, 1):
        volume = zest.Volume("--trash-days", days)
        mount = volume.mount("--enable-xattr", "-o", "dev")
        os.mkdir(mount.path("d"))
        fds = opened_nodes(mount.path("d"))
        os.mkdir(mount.path("d", "over"))
        for name in ("dir", "fifo", "null"):
            os.setxattr(mount.path("d", name), "trusted.before", b"0")
        os.rename(mount.path("d", "over"), mount.path("d", "dir"))  # replaced, not removed
        for name in ("fifo", "null", "sock"):
            os.unlink(mount.path("d", name))
        for kind, fd in fds.items():
            if kind == stat.S_IFSOCK:  # a socket's inode is only opened as a path
                time.sleep(1.1)
                assert os.fstat(fd).st_nlink == 0
                os.chmod(f"/proc/self/fd/{fd}", 0o751)
                assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o751
            else:
                use_without_a_name(fd, kind)
        expect("ENOENT", os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fds[stat.S_IFDIR])
        assert os.listdir(fds[stat.S_IFDIR]) == []
        again = os.open(f"/proc/self/fd/{fds[stat.S_IFDIR]}", os.O_RDONLY)
        assert os.fstat(again).st_nlink == 0
        os.close(again)
        os.write(fds[stat.S_IFIFO], b"through")
        assert os.read(fds[stat.S_IFIFO], 10) == b"through"
        for fd in fds.values():
            os.close(fd)
        # a working directory that is gone
        os.mkdir(mount.path("d", "cwd"))
        back = os.open(".", os.O_RDONLY)
        os.chdir(mount.path("d", "cwd"))
        os.rmdir(mount.path("d", "cwd"))
        time.sleep(1.1)
        assert os.stat(".").st_nlink == 0
        expect("ENOENT", os.mkdir, "x")
        os.fchdir(back)
        os.close(back)
        mount.umount()
        zest.zestfs("fsck", volume.meta)


def root_of_the_mount():
    main.dir("root")
    root = main.mount.point
    st = os.stat(root)
    assert st.st_ino == 1 and stat.S_ISDIR(st.st_mode)
    fs = os.statvfs(root)
    assert fs.f_namemax == 255 and fs.f_bsize == 4096 and fs.f_bavail > 0 and fs.f_ffree > 0
    used = fs.f_files - fs.f_ffree
    write_file(f"{root}/root/f", b"x" * 10_000)
    after = zest.wait_until(lambda: (lambda s: s if s.f_files - s.f_ffree > used else None)(os.statvfs(root)), "df grows")
    assert after.f_blocks == fs.f_blocks


def unmount_leaves_all_clean():
    main.umount()


zest.main([errors_of_open, errors_of_unlink_and_rmdir, errors_of_rename, rename_moves_and_exchanges, hard_links,
           names_of_any_bytes, special_nodes, permissions_of_users, sticky_directory, setgid_directory,
           setuid_bits_are_cleared, umask_applies, times_to_the_nanosecond, times_of_data, nlink_of_directories,
           big_directory, listing_positions, listing_does_not_revive_what_is_gone, deep_paths, removed_directory_in_use, removed_nodes_in_use,
           root_of_the_mount, unmount_leaves_all_clean])
