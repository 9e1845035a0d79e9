#!/usr/bin/env python3
"""client-cache: a mount whose kernel may keep everything for an hour sees what others change, because Redis tells it."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import proxy
import servers
import zest

HOUR = ["--attr-cache", "3600", "--entry-cache", "3600", "--dir-entry-cache", "3600", "--negative-entry-cache", "3600"]
FRESH = ["--attr-cache", "0", "--entry-cache", "0", "--dir-entry-cache", "0"]


class Pair:
    """A reader that caches for an hour, behind a proxy, and a writer."""

    def __init__(self, writer=zest.ZESTFS, reader_options=HOUR):
        self.server = servers.Redis()
        self.proxy = proxy.Proxy(self.server.address)
        self.volume = zest.Volume("--trash-days", "0", meta=self.server.url)
        self.writer = self.volume.mount(*FRESH, where="writer", binary=writer)
        self.reader = zest.Mount(self.server.through(self.proxy) + "?client-cache=true", f"{self.volume.folder}/reader",
                                 "--cache-dir", f"{self.volume.folder}/cache-reader", *reader_options)
        # until Redis tells, nothing is kept
        zest.wait_until(lambda: "flags=t" in self.clients() or "flags=B" in self.clients() or "resp=3" in self.clients(), "tracking is on")

    def clients(self):
        return self.server.cli("client", "list")

    def write(self, name, data):
        with open(self.writer.path(name), "wb") as file:
            file.write(data)

    def read(self, name):
        with open(self.reader.path(name), "rb") as file:
            return file.read()

    def stat(self, name):
        try:
            return os.stat(self.reader.path(name))
        except FileNotFoundError:
            return None

    def is_kept(self, name):
        """stat() goes on without asking the database, or soon will."""
        def asks_nothing():
            self.stat(name)
            before = self.proxy.trips()
            for _ in range(3):
                self.stat(name)
            return self.proxy.trips() == before
        zest.wait_until(asks_nothing, f"{name} is kept")

    def close(self):
        self.reader.umount()
        self.writer.umount()


def sees_everything(pair):
    os.mkdir(pair.writer.path("d"))
    pair.write("d/a", b"one")
    for name in ("d/a", "d/absent", "d"):
        pair.is_kept(name)
    assert pair.read("d/a") == b"one"

    os.chmod(pair.writer.path("d/a"), 0o600)
    zest.wait_until(lambda: pair.stat("d/a").st_mode & 0o777 == 0o600, "the mode is seen")
    pair.write("d/a", b"two, longer")
    zest.wait_until(lambda: pair.stat("d/a").st_size == 11, "the size is seen")
    zest.wait_until(lambda: pair.read("d/a") == b"two, longer", "the content is seen")
    pair.write("d/a", b"2")
    zest.wait_until(lambda: pair.stat("d/a").st_size == 1 and pair.read("d/a") == b"2", "the shorter content is seen")

    pair.write("d/absent", b"")
    zest.wait_until(lambda: pair.stat("d/absent"), "a new name is seen")
    os.rename(pair.writer.path("d/a"), pair.writer.path("d/b"))
    zest.wait_until(lambda: pair.stat("d/b") and not pair.stat("d/a"), "the rename is seen")
    number = pair.stat("d/b").st_ino
    pair.write("d/c", b"another")
    os.rename(pair.writer.path("d/c"), pair.writer.path("d/b"))
    zest.wait_until(lambda: pair.stat("d/b").st_ino != number and pair.read("d/b") == b"another", "the file in its place is seen")
    os.unlink(pair.writer.path("d/b"))
    zest.wait_until(lambda: not pair.stat("d/b"), "the removal is seen")
    os.unlink(pair.writer.path("d/absent"))
    os.rmdir(pair.writer.path("d"))
    zest.wait_until(lambda: not pair.stat("d"), "the removal of the directory is seen")


def changes_by_our_client_are_seen():
    pair = Pair()
    sees_everything(pair)
    pair.close()


def changes_by_the_reference_are_seen():
    pair = Pair(writer=zest.tool("juicefs"))
    sees_everything(pair)
    pair.close()


def an_open_file_that_grows_is_read_to_its_end():
    pair = Pair()
    pair.write("log", b"a" * 100)
    with open(pair.reader.path("log"), "rb", buffering=0) as reading, open(pair.writer.path("log"), "ab", buffering=0) as writing:
        assert len(reading.read(1000)) == 100
        for n in range(5):
            writing.write(b"b" * 100)
            os.fsync(writing.fileno())
            got = []
            zest.wait_until(lambda: got.append(reading.read(1000)) or got[-1], "what was added is read")
            assert b"".join(got) == b"b" * 100, got
    pair.close()


def own_changes_are_seen_at_once():
    pair = Pair()
    base = pair.reader.path("own")
    os.mkdir(base)
    for n in range(200):
        path = f"{base}/{n}"
        assert not os.path.exists(path)
        with open(path, "wb") as file:
            file.write(b"x" * n)
        assert os.stat(path).st_size == n
        os.rename(path, path + "r")
        assert not os.path.exists(path) and os.path.exists(path + "r")
        os.chmod(path + "r", 0o600)
        assert os.stat(path + "r").st_mode & 0o777 == 0o600
        if n % 2:
            os.unlink(path + "r")
            assert not os.path.exists(path + "r")
    assert len(os.listdir(base)) == 100
    pair.close()


def without_kernel_caches_the_client_answers():
    pair = Pair(reader_options=FRESH)
    pair.write("a", b"12345")
    pair.is_kept("a")
    pair.write("a", b"1234567")
    zest.wait_until(lambda: pair.stat("a").st_size == 7, "the size is seen")
    os.chmod(pair.writer.path("a"), 0o600)
    zest.wait_until(lambda: pair.stat("a").st_mode & 0o777 == 0o600, "attributes through lookup are correct")
    pair.close()


def a_lost_connection_drops_the_cache():
    pair = Pair()
    pair.write("a", b"1")
    pair.write("gone", b"1")
    for name in ("a", "gone", "absent"):
        pair.is_kept(name)
    pair.proxy.stall()  # no message comes through
    pair.write("a", b"22")
    os.unlink(pair.writer.path("gone"))
    pair.write("absent", b"")
    pair.proxy.cut()
    pair.proxy.go()
    zest.wait_until(lambda: pair.stat("a").st_size == 2 and not pair.stat("gone") and pair.stat("absent"), "the truth is seen")
    pair.is_kept("a")
    pair.write("a", b"333")
    zest.wait_until(lambda: pair.stat("a").st_size == 3, "Redis tells again")
    pair.close()


def many_names_stay_coherent():
    """More names than the client keeps: what it drops, the kernel drops, too."""
    pair = Pair()
    pair.reader.umount()
    pair.reader = zest.Mount(pair.server.through(pair.proxy) + "?client-cache=1&client-cache-size=100", f"{pair.volume.folder}/reader",
                             "--cache-dir", f"{pair.volume.folder}/cache-reader", *HOUR)
    names = [f"f{n}" for n in range(600)]
    for name in names:
        pair.write(name, b"1")
    for name in names:
        assert pair.stat(name).st_size == 1
    for name in names:
        os.truncate(pair.writer.path(name), 2)
    zest.wait_until(lambda: all(pair.stat(name).st_size == 2 for name in names), "all sizes are seen")
    for name in names[::2]:
        os.unlink(pair.writer.path(name))
    zest.wait_until(lambda: sum(pair.stat(name) is not None for name in names) == 300, "all removals are seen")
    pair.close()


zest.main([changes_by_our_client_are_seen, changes_by_the_reference_are_seen, an_open_file_that_grows_is_read_to_its_end,
           own_changes_are_seen_at_once, without_kernel_caches_the_client_answers, a_lost_connection_drops_the_cache,
           many_names_stay_coherent])
