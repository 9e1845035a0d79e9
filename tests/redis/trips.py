#!/usr/bin/env python3
"""What calls on a mount cost in round trips to Redis, counted by a proxy between the two, the kernel's own look-ups included."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import proxy
import servers
import zest

REPEATS = 6  # the least counts: a heartbeat or a flush of statistics may come between


class Counted:
    """A warm mount behind a counting proxy."""

    def __init__(self, *options):
        self.server = servers.Redis()
        self.proxy = proxy.Proxy(self.server.address)
        self.volume = zest.Volume("--trash-days", "0", meta=self.server.url)
        self.options = options
        self.start()
        os.mkdir(self.dir)
        write(f"{self.dir}/warm", b"x" * 4096)

    def start(self):
        self.mount = zest.Mount(self.server.through(self.proxy), f"{self.volume.folder}/mnt", "--cache-dir", f"{self.volume.folder}/cache", "--enable-xattr", *self.options)
        self.dir = self.mount.path("dir")

    def costs(self, what, budget, call, prepare=lambda n: None):
        least = None
        for n in range(REPEATS):
            prepare(n)
            before = self.proxy.trips()
            call(n)
            used = self.proxy.trips() - before
            least = used if least is None else min(least, used)
        print(f"  {what}: {least}")
        assert least <= budget, f"{what} takes {least} round trips, not {budget}"


def write(path, data, flags=os.O_CREAT | os.O_EXCL):
    fd = os.open(path, flags | os.O_WRONLY, 0o644)
    if data:
        os.write(fd, data)
    os.close(fd)


def read(path):
    with open(path, "rb", buffering=0) as file:
        assert file.read(8192) == b"x" * 4096


def calls_stay_in_budget():
    c = Counted("--attr-cache", "1", "--entry-cache", "0", "--dir-entry-cache", "3600")
    d = c.dir
    c.costs("create+close", 2, lambda n: write(f"{d}/c{n}", b""))
    c.costs("create+4 KiB+close", 3, lambda n: write(f"{d}/w{n}", b"x" * 4096))
    c.costs("stat", 1, lambda n: os.stat(f"{d}/w{n}"))
    c.costs("mkdir", 2, lambda n: os.mkdir(f"{d}/d{n}"))
    c.costs("rmdir", 2, lambda n: os.rmdir(f"{d}/d{n}"))
    c.costs("rename", 3, lambda n: os.rename(f"{d}/c{n}", f"{d}/r{n}"))  # both names are looked up
    c.costs("unlink", 2, lambda n: os.unlink(f"{d}/r{n}"))
    fd = os.open(f"{d}/log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    c.costs("append+fsync", 2, lambda n: (os.write(fd, b"y" * 100), os.fsync(fd)))
    os.close(fd)
    c.mount.umount()


def files_of_others_cost_a_lookup_and_an_opening():
    c = Counted("--dir-entry-cache", "3600")
    for n in range(REPEATS):
        write(f"{c.dir}/f{n}", b"x" * 4096)
    c.mount.umount()
    c.start()
    os.stat(c.dir)
    c.costs("open+read+close", 2, lambda n: read(f"{c.dir}/f{n}"))
    c.mount.umount()


zest.main([calls_stay_in_budget, files_of_others_cost_a_lookup_and_an_opening])
