#!/usr/bin/env python3
"""Our client and the reference's on one volume: one after the other, and both at once; its fsck and gc judge.

both.py ENGINE [CASE...]: sqlite, redis, postgres, mariadb
"""
import contextlib
import errno
import fcntl
import os
import random
import struct
import sys

from pair import at_once, judge, meta_url, names, ours, reference, two, volume, zest


def golden(action, point, manifest):
    done = zest.run(sys.executable, zest.GOLDEN / "golden.py", action, point, *([manifest] if action == "verify" else ["--size", "lite"]),
                    check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if action == "populate":
        open(manifest, "w").write(done.stdout)


def one_writes_the_other_reads():
    for writer, reader in ((ours, reference), (reference, ours)):
        vol = volume("--enable-acl")
        manifest = os.path.join(vol.folder, "manifest.json")
        mount = writer(vol)
        golden("populate", mount.point, manifest)
        mount.umount()
        mount = reader(vol, "other")
        golden("verify", mount.point, manifest)
        mount.umount()
        judge(vol)


def churn():
    """Created, overwritten, truncated, renamed, linked and deleted for a while by us: nothing for fsck and gc to find."""
    vol = volume()
    mount = ours(vol)
    rng = random.Random(7)
    files = {}
    for step in range(1500):
        name = f"d{rng.randrange(5)}/f{rng.randrange(40)}"
        path = mount.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        action = rng.random()
        if action < 0.45:
            data, at = rng.randbytes(rng.randrange(1, 100_000)), rng.randrange(0, 200_000)
            fd = os.open(path, os.O_RDWR | os.O_CREAT)
            os.pwrite(fd, data, at)
            if rng.random() < 0.2:
                os.fsync(fd)
            os.close(fd)
            old = files.get(name, b"")
            files[name] = (old.ljust(at, b"\0")[:at] + data + old[at + len(data):])
        elif name in files and action < 0.6:
            size = rng.randrange(0, 300_000)
            os.truncate(path, size)
            files[name] = files[name][:size].ljust(size, b"\0")
        elif name in files and action < 0.75:
            target = f"d{rng.randrange(5)}/f{rng.randrange(40)}"
            os.makedirs(os.path.dirname(mount.path(target)), exist_ok=True)
            os.rename(path, mount.path(target))
            files[target] = files[name]
            if target != name:
                del files[name]
        elif name in files:
            os.unlink(path)
            del files[name]
    for name, data in files.items():
        with open(mount.path(name), "rb") as file:
            assert file.read() == data, name
    mount.umount()
    judge(vol)  # before a mount of the reference adds what it misses
    theirs = reference(vol)
    for name, data in files.items():
        with open(theirs.path(name), "rb") as file:
            assert file.read() == data, f"the reference reads another {name}"
    theirs.umount()
    judge(vol)


def exclusive_creates():
    """Of two clients that create one name exclusively, one wins."""
    with two(volume()) as (a, b):
        for number in range(60):
            def create(_, mount):
                try:
                    os.close(os.open(mount.path(f"x{number}"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                    return True
                except FileExistsError:
                    return False
            results = at_once(create, a, b)
            assert sorted(results) == [False, True], (number, results)
        assert names(a) == names(b) and len(names(a)) == 60


def renames_of_one_name():
    with two(volume()) as (a, b):
        for number in range(40):
            open(a.path("start"), "w").close()

            def rename(index, mount):
                try:
                    os.rename(mount.path("start"), mount.path(f"by{index}-{number}"))
                    return True
                except FileNotFoundError:
                    return False
            results = at_once(rename, a, b)
            assert sorted(results) == [False, True], (number, results)
        assert names(a) == names(b) and len(names(a)) == 40, names(a)


def creates_and_deletes_in_one_directory():
    with two(volume()) as (a, b):
        os.mkdir(a.path("shared"))

        def work(index, mount):
            rng = random.Random(index)
            for number in range(150):
                path = mount.path("shared", f"{index}-{number}")
                with open(path, "wb") as file:
                    file.write(bytes([index]) * rng.randrange(1, 5000))
                if number % 3 == 0:
                    os.unlink(path)
                elif number % 3 == 1:
                    os.rename(path, path + "-r")
        at_once(work, a, b)
        expected = {f"{i}-{n}" + ("-r" if n % 3 == 1 else "") for i in (0, 1) for n in range(150) if n % 3}
        for mount in (a, b):
            assert set(os.listdir(mount.path("shared"))) == expected
        for name in sorted(expected):
            with open(a.path("shared", name), "rb") as one, open(b.path("shared", name), "rb") as other:
                data = one.read()
                assert data == other.read() and data == bytes([int(name[0])]) * len(data) and data, name


def appends_under_a_lock():
    """Appends of both clients, taken in turns by a lock, lose nothing."""
    with two(volume()) as (a, b):
        open(a.path("log"), "w").close()

        def work(index, mount):
            for number in range(40):
                with open(mount.path("lock"), "a") as lock:
                    fcntl.lockf(lock, fcntl.LOCK_EX)
                    with open(mount.path("log"), "ab", buffering=0) as log:
                        log.write(f"{index}:{number}\n".encode())
        at_once(work, a, b)
        for mount in (a, b):
            with open(mount.path("log")) as log:
                lines = log.read().split()
            assert sorted(lines) == sorted(f"{i}:{n}" for i in (0, 1) for n in range(40)), len(lines)


def locks_are_seen():
    with two(volume()) as (a, b):
        for mount in (a, b):
            with contextlib.suppress(FileExistsError):
                os.close(os.open(mount.path("file"), os.O_CREAT | os.O_RDWR))
        for holder, asker in ((a, b), (b, a)):
            with open(holder.path("file"), "r+") as held, open(asker.path("file"), "r+") as other:
                fcntl.flock(held, fcntl.LOCK_EX)
                try:
                    fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    raise AssertionError("flock is not seen by the other client")
                except BlockingIOError:
                    pass
                fcntl.flock(held, fcntl.LOCK_UN)
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(other, fcntl.LOCK_UN)
                fcntl.lockf(held, fcntl.LOCK_EX, 100, 50)
                found = fcntl.fcntl(other, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
                kind, _, start, length, _ = struct.unpack("hhqqi4x", found)
                assert (kind, start, length) == (fcntl.F_WRLCK, 50, 100), (kind, start, length)
                try:
                    fcntl.lockf(other, fcntl.LOCK_SH | fcntl.LOCK_NB, 10, 60)
                    raise AssertionError("a POSIX lock is not seen by the other client")
                except OSError as error:
                    assert error.errno in (errno.EAGAIN, errno.EACCES), error
                fcntl.lockf(other, fcntl.LOCK_SH | fcntl.LOCK_NB, 10, 200)


def unlinked_but_open():
    """A file that the client which has it open unlinks lives on until it is closed."""
    with two(volume()) as (a, b):
        for holder, other in ((a, b), (b, a)):
            file = open(holder.path("gone"), "w+b")
            file.write(b"x" * 100_000)
            file.flush()
            os.fsync(file.fileno())
            os.unlink(holder.path("gone"))
            assert "gone" not in os.listdir(other.point)
            file.seek(0)
            assert file.read() == b"x" * 100_000
            file.close()


def trash_of_both():
    vol = zest.Volume(meta=meta_url())
    a, b = ours(vol), reference(vol)
    for index, mount in enumerate((a, b)):
        with open(mount.path(f"t{index}"), "w") as file:
            file.write("content")
        os.unlink(mount.path(f"t{index}"))
    for mount in (a, b):
        found = {}
        for hour in os.listdir(mount.path(".trash")):
            for name in os.listdir(mount.path(".trash", hour)):
                with open(mount.path(".trash", hour, name)) as file:
                    found[name.split("-")[-1]] = file.read()
        assert found == {"t0": "content", "t1": "content"}, found
    a.umount()
    b.umount()
    judge(vol)


zest.main([one_writes_the_other_reads, churn, exclusive_creates, renames_of_one_name,
           creates_and_deletes_in_one_directory, appends_under_a_lock, locks_are_seen, unlinked_but_open, trash_of_both])
