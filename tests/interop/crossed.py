#!/usr/bin/env python3
"""The commands of both clients on the mounts of both: what they print and do is the same. crossed.py [CASE...]"""
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

CLIENTS = {"zestfs": zest.ZESTFS, "juicefs": zest.tool("juicefs")}
FRESH = ["--attr-cache", "0", "--entry-cache", "0", "--dir-entry-cache", "0"]


class Mounted:
    """One volume on a mount of each client, with a small tree."""
    _one = None

    def __init__(self):
        self.volume = zest.Volume("--trash-days", "0")
        self.mounts = {name: self.volume.mount(*FRESH, "--no-bgjob", where=name, binary=binary) for name, binary in CLIENTS.items()}
        top = self.mounts["zestfs"].path("tree")
        os.makedirs(os.path.join(top, "a/b"))
        for number in range(6):
            with open(os.path.join(top, f"a/f{number}"), "wb") as file:
                file.write(os.urandom(10_000 * (number + 1)))
        with open(os.path.join(top, "many"), "wb", buffering=0) as file:
            for number in range(3):  # few enough that nobody compacts them in the background
                file.write(b"%d" % number * 1000)
                os.fsync(file.fileno())
        os.link(os.path.join(top, "a/f0"), os.path.join(top, "a/b/hard"))
        os.symlink("a", os.path.join(top, "link"))
        time.sleep(3)  # the statistics of directories are written

    @classmethod
    def get(cls):
        cls._one = cls._one or cls()
        return cls._one


def on_both(check):
    """check(binary, mount) for each client on each mount; gives what it gave by (client, mount)."""
    both = Mounted.get()
    return {(client, where): check(binary, mount) for client, binary in CLIENTS.items() for where, mount in both.mounts.items()}


def all_equal(results):
    first = next(iter(results.values()))
    assert all(one == first for one in results.values()), "\n\n".join(f"{who}:\n{text}" for who, text in results.items())
    return first


def info():
    def tree(binary, mount):
        text = zest.run(binary, "info", "-r", "--strict", mount.path("tree")).stdout
        return re.sub(r"   tier: .*\n", "", text.replace(mount.point, "MOUNT"))  # of the reference only
    text = all_equal(on_both(tree))
    assert "files: 9" in text and "dirs: 3" in text, text

    def file(binary, mount):
        text = zest.run(binary, "info", mount.path("tree/a/f0")).stdout.replace(mount.point, "MOUNT")
        return sorted(re.sub(r"   tier: .*\n", "", text).splitlines())  # names of a file come in any order
    lines = all_equal(on_both(file))
    assert "\t/tree/a/b/hard" in lines and " objects:" in lines, lines

    def slices(binary, mount):
        return re.sub(r"   tier: .*\n", "", zest.run(binary, "info", "--raw", mount.path("tree/many")).stdout.replace(mount.point, "MOUNT"))
    assert len(re.findall(r" 1000 \|$", all_equal(on_both(slices)), re.M)) == 3

    def missing(binary, mount):
        return zest.run(binary, "info", mount.path("none"), check=False).returncode
    assert all_equal(on_both(missing)) == 0


def summary():
    for options in (["--csv"], ["--csv", "--strict", "-d", "3"], ["-e", "2"]):
        text = all_equal(on_both(lambda binary, mount: zest.run(binary, "summary", *options, mount.path("tree")).stdout))
        assert "PATH" in text, text


def warmup():
    def fill(binary, mount):
        zest.run(binary, "warmup", mount.path("tree"))
        done = zest.run(binary, "warmup", "--check", mount.path("tree"))
        full = re.search(r"check cache: (\d+) files checked, (.*) of (.*) \(100.0%\) cached", done.stdout + done.stderr)
        assert full, done.stdout + done.stderr
        zest.run(binary, "warmup", "--evict", mount.path("tree"))
        done = zest.run(binary, "warmup", "--check", mount.path("tree"))
        assert "(0.0%) cached" in done.stdout + done.stderr, done.stdout + done.stderr
        return full[1], full[3]
    all_equal(on_both(fill))


def clone_and_rmr():
    def copy(binary, mount):
        target = mount.path("copy")
        zest.run(binary, "clone", mount.path("tree"), target)
        names = sorted(os.path.join(d, n)[len(target):] for d, a, b in os.walk(target) for n in a + b)
        content = [open(os.path.join(target, f"a/f{n}"), "rb").read() == open(mount.path(f"tree/a/f{n}"), "rb").read() for n in range(6)]
        assert all(content)
        again = zest.run(binary, "clone", mount.path("tree"), target, check=False)
        assert again.returncode == 1 and "already exists" in again.stdout + again.stderr
        zest.run(binary, "rmr", target)
        assert not os.path.exists(target)
        assert zest.run(binary, "rmr", target, check=False).returncode == 1
        return names
    assert len(all_equal(on_both(copy))) == 11


def compact():
    def merge(binary, mount):
        path = mount.path(f"compact-{os.path.basename(binary)}")
        with open(path, "wb", buffering=0) as file:
            for number in range(4):
                file.write(b"%d" % number * 1000)
                os.fsync(file.fileno())
        zest.run(binary, "compact", path)
        zest.wait_until(lambda: len(re.findall(r"^\| +0 \|", zest.run(binary, "info", "--raw", path).stdout, re.M)) == 1, "it is one slice")
        content = open(path, "rb").read()
        os.unlink(path)
        return content
    assert len(all_equal(on_both(merge))) == 4000


def stats_and_profile():
    """The live ones: they run, and see what is done on the mount."""
    def watch(binary, mount):
        process = subprocess.Popen([binary, "profile", "--interval", "1", mount.point], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            os.listdir(mount.path("tree"))
            open(mount.path("tree/a/f0"), "rb").read(10)
            time.sleep(0.05)
        process.terminate()
        text = process.communicate(timeout=zest.PATIENCE)[0]
        assert re.search(r"^open +\d+ ", text, re.M) and "Average(us)" in text, text
        process = subprocess.Popen([binary, "stats", mount.point], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(2.5)
        process.terminate()
        lines = process.communicate(timeout=zest.PATIENCE)[0].splitlines()
        assert len(lines) >= 3, lines
        return lines[:2]
    all_equal(on_both(watch))


def what_is_left_is_sound():
    both = Mounted.get()
    for mount in both.mounts.values():
        mount.umount()
    for binary in CLIENTS.values():
        zest.run(binary, "fsck", both.volume.meta)
        zest.run(binary, "fsck", "--path", "/", "-r", both.volume.meta)


zest.main([info, summary, warmup, clone_and_rmr, compact, stats_and_profile, what_is_left_is_sound])
