#!/usr/bin/env python3
"""Several processes change the same few names and files at once: only errors that such a race explains may come, the
tree stays consistent, and the mount ends cleanly."""
import errno
import os
import random
import subprocess
import sys

from common import Once, read_file, write_file, zest

main = Once(("--trash-days", "0"))
RACES = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EPERM, errno.ELOOP,
         errno.ESTALE}


def disturb(top, seed, count):
    rng = random.Random(seed)
    fds = []

    def path(depth=3):
        return "/".join([top] + [rng.choice("abc") for _ in range(rng.randrange(1, depth + 1))])

    def create():
        fd = os.open(path(), os.O_CREAT | os.O_RDWR | rng.choice((0, os.O_TRUNC, os.O_EXCL, os.O_APPEND)))
        if len(fds) > 8:
            os.close(fds.pop(rng.randrange(len(fds))))
        fds.append(fd)

    def use():
        if not fds:
            return
        fd = rng.choice(fds)
        what = rng.randrange(5)
        if what == 0:
            os.pwrite(fd, rng.randbytes(rng.randrange(1, 20_000)), rng.randrange(100_000))
        elif what == 1:
            os.pread(fd, 30_000, rng.randrange(100_000))
        elif what == 2:
            os.ftruncate(fd, rng.randrange(100_000))
        elif what == 3:
            os.fsync(fd)
        else:
            os.fstat(fd)

    steps = [create, create, use, use, use, use,
             lambda: os.mkdir(path()), lambda: os.mkdir(path()), lambda: os.rmdir(path()), lambda: os.unlink(path()),
             lambda: os.rename(path(), path()), lambda: os.rename(path(), path()), lambda: os.link(path(), path()),
             lambda: os.symlink("a", path()), lambda: os.stat(path()), lambda: os.listdir(path(2)),
             lambda: [e.stat(follow_symlinks=False) for e in os.scandir(path(2))], lambda: os.truncate(path(), rng.randrange(9999)),
             lambda: os.chmod(path(), rng.choice((0o755, 0o700))), lambda: os.utime(path())]
    for i in range(count):
        step = rng.choice(steps)
        try:
            step()
        except OSError as error:
            if error.errno not in RACES:
                raise
    for fd in fds:
        os.close(fd)


def many_at_once():
    top = main.dir("chaos")
    children = [subprocess.Popen([sys.executable, __file__, "disturb", top, str(seed)]) for seed in range(6)]
    for child in children:
        assert child.wait(zest.PATIENCE * 5) == 0
    # what the kernel shows is what a fresh look shows
    seen = {}
    for folder, dirs, files in os.walk(top):
        for name in dirs + files:
            st = os.lstat(os.path.join(folder, name))
            seen[os.path.relpath(os.path.join(folder, name), top)] = (st.st_ino, st.st_size, st.st_mode, st.st_nlink)
    main.mount.umount()
    zest.zestfs("fsck", main.volume.meta)
    main.mount.start()
    for name, what in seen.items():
        st = os.lstat(os.path.join(top, name))
        assert (st.st_ino, st.st_size, st.st_mode, st.st_nlink) == what, name
        if os.path.isfile(os.path.join(top, name)) and not os.path.islink(os.path.join(top, name)):
            assert len(read_file(os.path.join(top, name))) == what[1]
    subprocess.run(["rm", "-rf", top], check=True)
    main.umount()


def one_file_by_many():
    top = main.dir("one")
    f = write_file(f"{top}/f", bytes(64 * 4096))

    def work(number):
        fd = os.open(f, os.O_RDWR)
        for i in range(100):
            for block in range(number, 64, 6):  # its own blocks
                os.pwrite(fd, bytes([number + 1]) * 4096, block * 4096)
            assert os.pread(fd, 4096, number * 4096) == bytes([number + 1]) * 4096
        os.close(fd)

    zest.Forked(work, range(6)).join()
    data = read_file(f)
    for block in range(64):
        assert data[block * 4096:(block + 1) * 4096] == bytes([block % 6 + 1]) * 4096, block


if len(sys.argv) == 4 and sys.argv[1] == "disturb":
    disturb(sys.argv[2], int(sys.argv[3]), 1500)
    sys.exit(0)
zest.main([one_file_by_many, many_at_once])
