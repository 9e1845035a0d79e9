#!/usr/bin/env python3
"""Content of files on a real mount: long random work against a model, full disks, lost and broken objects. io.py [CASE...]"""
import ctypes
import errno
import mmap
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

libc = ctypes.CDLL(None, use_errno=True)
libc.copy_file_range.restype = ctypes.c_ssize_t
STEPS = int(os.environ.get("ZEST_STEPS", "600"))


def copy_range(source, at, target, to, length):
    off_in, off_out = ctypes.c_int64(at), ctypes.c_int64(to)
    copied = libc.copy_file_range(source, ctypes.byref(off_in), target, ctypes.byref(off_out), ctypes.c_size_t(length), 0)
    if copied < 0:
        raise OSError(ctypes.get_errno(), "copy_file_range")
    return copied


class Model:
    """A file on the mount and what it must hold."""

    def __init__(self, path):
        self.path, self.data = path, bytearray()
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)

    def reopen(self, path=None):
        os.close(self.fd)
        self.path = path or self.path
        self.fd = os.open(self.path, os.O_RDWR)

    def grow(self, end):
        if len(self.data) < end:
            self.data.extend(bytes(end - len(self.data)))

    def write(self, at, data):
        assert os.pwrite(self.fd, data, at) == len(data)
        self.grow(at + len(data))
        self.data[at:at + len(data)] = data

    def map_write(self, at, data):
        self.grow(at + len(data))
        os.ftruncate(self.fd, len(self.data))
        with mmap.mmap(self.fd, len(self.data)) as memory:
            memory[at:at + len(data)] = data
            memory.flush()
        self.data[at:at + len(data)] = data

    def truncate(self, size):
        os.ftruncate(self.fd, size)
        self.grow(size)
        del self.data[size:]

    def punch(self, at, length):
        if libc.fallocate(self.fd, 3, ctypes.c_int64(at), ctypes.c_int64(length)) != 0:
            raise OSError(ctypes.get_errno(), "fallocate")
        end = min(at + length, len(self.data))
        if at < end:
            self.data[at:end] = bytes(end - at)

    def check(self, at=0, length=None):
        length = len(self.data) - at if length is None else length
        found = b""
        while len(found) < length:
            part = os.pread(self.fd, length - len(found), at + len(found))
            if not part:
                break
            found += part
        wanted = bytes(self.data[at:at + length])
        if found != wanted:
            first = next((i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), min(len(found), len(wanted)))
            raise AssertionError(f"{self.path}: differs at {at + first} of {len(self.data)} ({len(found)} bytes read, {len(wanted)} wanted)")


def random_work(*format_options):
    volume = zest.Volume("--trash-days", "0", *format_options)
    seed = int(os.environ.get("ZEST_SEED", "11"))
    rng = random.Random(seed)
    print("seed", seed)
    mount = volume.mount("--buffer-size", "64")
    files = [Model(mount.path(f"file{i}")) for i in range(3)]
    limit = 12 << 20
    for step in range(STEPS):
        file = rng.choice(files)
        at, length = rng.randrange(limit), rng.choice([1, 100, 4096, 70_000, 1_000_000])
        action = rng.random()
        if action < 0.40:
            file.write(at, rng.randbytes(length))
        elif action < 0.47:
            file.map_write(at, rng.randbytes(min(length, 100_000)))
        elif action < 0.55:
            file.truncate(rng.randrange(limit))
        elif action < 0.62:
            file.punch(at, length)
        elif action < 0.70 and file.data:
            other = rng.choice([f for f in files if f is not file])
            start = rng.randrange(len(file.data))
            copied = copy_range(file.fd, start, other.fd, at, length)
            assert copied == min(length, len(file.data) - start), copied
            other.grow(at + copied)
            other.data[at:at + copied] = file.data[start:start + copied]
        elif action < 0.76:
            os.fsync(file.fd)
        elif action < 0.80:
            file.reopen()
        elif action < 0.98:
            start = rng.randrange(len(file.data) + 1)
            file.check(start, min(length, len(file.data) - start))
        else:
            for one in files:
                os.close(one.fd)
            mount.umount()
            mount = volume.mount("--buffer-size", "64")
            for one in files:
                one.fd = os.open(one.path, os.O_RDWR)
                one.check()
    for file in files:
        file.check()
        os.close(file.fd)
    mount.umount()
    zest.zestfs("fsck", volume.meta)


def work_against_a_model():
    random_work()


def work_against_a_model_compressed():
    random_work("--compress", "lz4", "--block-size", "256K")


def a_full_disk_is_told_and_healed():
    """The folder of the objects fills up: writes or closes fail, nothing that was acknowledged is lost, and it works again."""
    disk = zest.temp_dir("disk")
    zest.run("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk)
    zest.on_exit(subprocess.run, ["umount", "-l", disk])
    volume = zest.Volume("--trash-days", "0", storage=["--storage", "file", "--bucket", f"{disk}/data/"])
    mount = volume.mount("--io-retries", "1")
    kept = os.urandom(8 << 20)
    with open(mount.path("kept"), "wb") as file:
        file.write(kept)
        file.flush()
        os.fsync(file.fileno())
    failed = None
    try:
        fd = os.open(mount.path("big"), os.O_CREAT | os.O_WRONLY)
        try:
            for _ in range(40):
                os.write(fd, os.urandom(1 << 20))
            os.fsync(fd)
        finally:
            try:
                os.close(fd)
            except OSError as error:
                failed = error
    except OSError as error:
        failed = error
    assert failed and failed.errno in (errno.EIO, errno.ENOSPC), failed
    with open(mount.path("kept"), "rb") as file:
        assert file.read() == kept
    os.unlink(mount.path("big"))
    zest.run("mount", "-o", "remount,size=80m", disk)
    with open(mount.path("after"), "wb") as file:
        file.write(kept)
        file.flush()
        os.fsync(file.fileno())
    mount.umount()
    mount = volume.mount()
    for name in ("kept", "after"):
        with open(mount.path(name), "rb") as file:
            assert file.read() == kept, name
    mount.umount()


def objects_of(volume):
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(volume.bucket + "vol/chunks") for name in names)


def must_fail(path):
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        assert error.errno == errno.EIO, error
        return
    raise AssertionError(f"{path}: {len(data)} bytes were read, {data.count(0)} of them zero")


def a_lost_object_is_an_error():
    """EIO with the key in the log, never zeroes; good again when the object is back."""
    volume = zest.Volume()
    mount = volume.mount()
    data = os.urandom(9 << 20)
    with open(mount.path("f"), "wb") as file:
        file.write(data)
    mount.umount()
    lost = objects_of(volume)[1]
    os.rename(lost, volume.folder + "/saved")
    mount = volume.mount("--cache-size", "0", "--io-retries", "1")
    must_fail(mount.path("f"))
    key = "chunks/" + lost.split("/chunks/")[1]
    assert key in open(mount.log).read(), mount.log_text()
    with open(mount.path("f"), "rb") as file:
        assert file.read(1 << 20) == data[:1 << 20], "the blocks that are there can be read"
    os.rename(volume.folder + "/saved", lost)
    with open(mount.path("f"), "rb") as file:
        assert file.read() == data
    mount.umount()


def a_broken_object_is_an_error():
    """Cut short, and of compressed and encrypted volumes also with changed bytes."""
    key = zest.temp_dir() + "/key.pem"
    zest.run("openssl", "genrsa", "-traditional", "-out", key, "2048")
    for options in ([], ["--compress", "lz4"], ["--compress", "zstd"], ["--encrypt-rsa-key", key]):
        volume = zest.Volume(*options)
        mount = volume.mount()
        data = b"some text that compresses well. " * 100_000
        with open(mount.path("f"), "wb") as file:
            file.write(data)
        mount.umount()
        path = objects_of(volume)[0]
        whole = open(path, "rb").read()
        mount = volume.mount("--cache-size", "0", "--io-retries", "1")
        open(path, "wb").write(whole[:len(whole) // 2])
        must_fail(mount.path("f"))
        if options and "lz4" not in options:
            open(path, "wb").write(whole[:100] + bytes(b ^ 0x55 for b in whole[100:400]) + whole[400:])
            must_fail(mount.path("f"))
        open(path, "wb").write(whole)
        with open(mount.path("f"), "rb") as file:
            assert file.read() == data, options
        mount.umount()


def a_directory_of_100000_entries():
    volume = zest.Volume("--trash-days", "0")
    mount = volume.mount()
    os.mkdir(mount.path("many"))
    for number in range(100_000):
        os.mknod(mount.path(f"many/{number:06}"))
    assert os.listdir(mount.path("many")).__len__() == 100_000
    os.unlink(mount.path("many/050000"))
    assert len(set(os.listdir(mount.path("many")))) == 99_999
    mount.umount()
    mount = volume.mount()
    assert sorted(os.listdir(mount.path("many"))) == [f"{n:06}" for n in range(100_000) if n != 50_000]
    zest.zestfs("rmr", mount.path("many"))
    assert "many" not in os.listdir(mount.point)
    mount.umount()
    zest.zestfs("fsck", volume.meta, "--path", "/", "-r", "--sync-dir-stat")


zest.main([work_against_a_model, work_against_a_model_compressed, a_full_disk_is_told_and_healed, a_lost_object_is_an_error,
           a_broken_object_is_an_error, a_directory_of_100000_entries])
