"""One program of load.py: works on files of its own, checks what it reads, and tells in the end what there must be.

worker.py MOUNT FOLDER SEED STOP-FILE. The only error it expects is EIO for writes that were not flushed.
"""
import errno
import fcntl
import json
import mmap
import os
import random
import sys

mount, folder, seed, stop = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
base = os.path.join(mount, folder)
rng = random.Random(seed)
report = {"operations": 0, "errors": 0, "increments": 0, "unsure": 0, "files": {}}
files = {}  # name: File
made = 0


def record(file, offset):
    return b"%s:%012d\n" % (file.encode(), offset)


class File:
    """A file of numbered records: what is safe, and what was written since."""

    def __init__(self, name):
        global made
        made += 1
        self.name, self.id, self.safe, self.written = name, f"{folder}-{made:06}", 0, 0
        self.fd = os.open(os.path.join(base, name), os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def append(self, records):
        data = bytearray()
        size = len(record(self.id, 0))
        for i in range(records):
            data += record(self.id, self.written + i * size)
        at = 0
        while at < len(data):
            at += os.pwrite(self.fd, data[at:], self.written + at)
        self.written += len(data)

    def make_safe(self):
        os.fsync(self.fd)
        self.safe = self.written

    def check(self):
        size = len(record(self.id, 0))
        if self.safe == 0:
            return
        at = rng.randrange(self.safe // size) * size
        count = min(self.safe - at, size * 200)
        data = os.pread(self.fd, count, at)
        expected = b"".join(record(self.id, at + i) for i in range(0, count, size))
        assert data == expected, (self.name, at, count, data[:40], expected[:40])

    def recover(self):
        """After EIO: what was safe is there still; the rest is written again."""
        report["errors"] += 1
        self.check()
        os.ftruncate(self.fd, self.safe)
        self.written = self.safe

    def reopen(self):
        try:
            os.close(self.fd)
            self.safe = self.written
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self.fd = os.open(os.path.join(base, self.name), os.O_RDWR)
            return self.recover()
        self.fd = os.open(os.path.join(base, self.name), os.O_RDWR)


def lost(call):
    """Did the call tell that writes were lost?"""
    try:
        call()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return True
    return False


def write(file):
    if lost(lambda: file.append(rng.choice([1, 20, 400, 20_000]))):
        file.recover()


def sync(file):
    if lost(file.make_safe):
        file.recover()


def through_mapping(file):
    """Writes a record again by a mapping of the last page."""
    sync(file)
    if file.safe == 0:
        return
    size = len(record(file.id, 0))
    at = (file.safe // size - 1) * size
    page = at // mmap.PAGESIZE * mmap.PAGESIZE
    with mmap.mmap(file.fd, file.safe - page, offset=page) as mapping:
        mapping[at - page:at - page + size] = record(file.id, at)
        if lost(mapping.flush):
            report["errors"] += 1
    file.check()


def new_file():
    name = f"f{rng.randrange(1000)}"
    if name not in files and len(files) < 12:
        files[name] = File(name)


def rename(file):
    name = f"f{rng.randrange(1000)}"
    other = files.get(name)
    if other is file:
        return
    os.rename(os.path.join(base, file.name), os.path.join(base, name))
    if other:
        lost(lambda: os.close(other.fd))
    del files[file.name]
    file.name, files[name] = name, file


def exchange(file):
    other = rng.choice(list(files.values()))
    if other is file:
        return
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(-100, os.path.join(base, file.name).encode(), -100, os.path.join(base, other.name).encode(), 2)
    assert done == 0, os.strerror(ctypes.get_errno())
    file.name, other.name = other.name, file.name
    files[file.name], files[other.name] = file, other


def unlink(file):
    os.unlink(os.path.join(base, file.name))
    file.check()  # open still
    lost(lambda: os.close(file.fd))
    del files[file.name]


def folders():
    path = os.path.join(base, f"d{rng.randrange(1000)}")
    os.mkdir(path)
    os.symlink("somewhere", os.path.join(path, "link"))
    assert os.readlink(os.path.join(path, "link")) == "somewhere"
    os.unlink(os.path.join(path, "link"))
    os.rmdir(path)


def listing():
    assert set(os.listdir(base)) == set(files), set(os.listdir(base)) ^ set(files)


def count():
    """Adds one to a number that all programs share, under a lock."""
    fd = os.open(os.path.join(mount, "counter"), os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    value = int(os.pread(fd, 20, 0))
    if lost(lambda: (os.pwrite(fd, b"%d" % (value + 1), 0), os.fsync(fd))):
        report["errors"] += 1
        report["unsure"] += 1
    else:
        report["increments"] += 1
    fcntl.flock(fd, fcntl.LOCK_UN)
    if lost(lambda: os.close(fd)):
        report["errors"] += 1


def step():
    act = rng.choice([write] * 6 + [sync] * 3 + [File.check] * 3 + [File.reopen] * 2 +
                     [through_mapping, rename, exchange, unlink, new_file, new_file, folders, listing, count])
    if act in (new_file, folders, listing, count):
        act()
    elif files:
        act(rng.choice(list(files.values())))
    report["operations"] += 1


problem = None
try:
    while not os.path.exists(stop):
        step()
    for file in files.values():
        sync(file)
        file.check()
    report["files"] = {file.name: [file.id, file.safe] for file in files.values()}
except Exception as error:
    problem = report["problem"] = repr(error)
    import traceback
    traceback.print_exc()
print(json.dumps(report))
sys.exit(1 if problem else 0)
