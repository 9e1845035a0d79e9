#!/usr/bin/env python3
"""Our client and the reference's on one volume: one after the other, and both at once; its fsck and gc judge.

both.py ENGINE [CASE...]: sqlite, redis, postgres, mariadb
"""
import contextlib
import errno
import fcntl
import os
import random
import re
import struct
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

JUICEFS = zest.tool("juicefs")
FRESH = ["--attr-cache", "0", "--entry-cache", "0", "--dir-entry-cache", "0", "--enable-xattr"]
ENGINE = sys.argv.pop(1)
_server = []
_number = [0]


def meta_url(folder_hint):
    """A database of its own for each volume of the test."""
    _number[0] += 1
    if ENGINE == "sqlite":
        return None
    if not _server:
        _server.extend({"redis": zest.redis_server, "postgres": zest.postgres_server, "mariadb": zest.mariadb_server}[ENGINE]())
    url = _server[0]
    if ENGINE == "redis":
        return url[:-1] + str(_number[0])
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}table_prefix=v{_number[0]}_"


def volume(*options):
    return zest.Volume("--trash-days", "0", *options, meta=meta_url(None))


def reference(vol, where="ref", *options):
    return vol.mount(*FRESH, "--no-bgjob", *options, where=where, binary=JUICEFS)


def ours(vol, where="mnt", *options):
    return vol.mount(*FRESH, *options, where=where)


def judge(vol):
    """The reference's fsck and gc find nothing wrong."""
    fsck = zest.run(JUICEFS, "fsck", vol.meta, check=False)
    assert fsck.returncode == 0, fsck.stdout + fsck.stderr
    tree = zest.run(JUICEFS, "fsck", vol.meta, "--path", "/", "-r", check=False)
    assert tree.returncode == 0, tree.stdout + tree.stderr
    gc = zest.run(JUICEFS, "gc", vol.meta, check=False, env={"JFS_GC_SKIPPEDTIME": "0"})
    text = gc.stdout + gc.stderr
    assert gc.returncode == 0, text
    leaked = re.search(r"(\d+) leaked", text)
    assert leaked and leaked.group(1) == "0", text[-3000:]


def golden(action, point, manifest):
    done = zest.run(sys.executable, zest.GOLDEN / "golden.py", action, point, *([manifest] if action == "verify" else ["--size", "lite"]),
                    check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if action == "populate":
        open(manifest, "w").write(done.stdout)


def we_write_they_read():
    vol = volume("--enable-acl")
    manifest = os.path.join(vol.folder, "manifest.json")
    mount = ours(vol)
    golden("populate", mount.point, manifest)
    mount.umount()
    theirs = reference(vol)
    golden("verify", theirs.point, manifest)
    theirs.umount()
    judge(vol)


def they_write_we_read():
    vol = volume("--enable-acl")
    manifest = os.path.join(vol.folder, "manifest.json")
    theirs = reference(vol)
    golden("populate", theirs.point, manifest)
    theirs.umount()
    mount = ours(vol)
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
    theirs = reference(vol)
    for name, data in files.items():
        with open(theirs.path(name), "rb") as file:
            assert file.read() == data, f"the reference reads another {name}"
    theirs.umount()
    judge(vol)


@contextlib.contextmanager
def two(vol, *options):
    a, b = ours(vol), reference(vol)
    yield a, b
    a.umount()
    b.umount()
    judge(vol)


def names(mount):
    return {name for name in os.listdir(mount.point) if not name.startswith(".")}  # without the virtual files


def exclusive_creates():
    """Of two clients that create one name exclusively, one wins."""
    with two(volume()) as (a, b):
        winners = []
        for number in range(60):
            results, barrier = [None, None], threading.Barrier(2)

            def create(index, mount):
                barrier.wait()
                try:
                    os.close(os.open(mount.path(f"x{number}"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                    results[index] = True
                except FileExistsError:
                    results[index] = False
            threads = [threading.Thread(target=create, args=(i, m)) for i, m in enumerate((a, b))]
            [t.start() for t in threads]
            [t.join() for t in threads]
            assert sorted(results) == [False, True], (number, results)
            winners.append(results[0])
        assert names(a) == names(b) and len(names(a)) == 60


def renames_of_one_name():
    with two(volume()) as (a, b):
        for number in range(40):
            open(a.path("start"), "w").close()
            results, barrier = [None, None], threading.Barrier(2)

            def rename(index, mount):
                barrier.wait()
                try:
                    os.rename(mount.path("start"), mount.path(f"by{index}-{number}"))
                    results[index] = True
                except FileNotFoundError:
                    results[index] = False
            threads = [threading.Thread(target=rename, args=(i, m)) for i, m in enumerate((a, b))]
            [t.start() for t in threads]
            [t.join() for t in threads]
            assert sorted(results) == [False, True], (number, results)
        assert names(a) == names(b) and len(names(a)) == 40, names(a)


def creates_and_deletes_in_one_directory():
    with two(volume()) as (a, b):
        os.mkdir(a.path("shared"))
        problems = []

        def work(index, mount):
            try:
                rng = random.Random(index)
                for number in range(150):
                    path = mount.path("shared", f"{index}-{number}")
                    with open(path, "wb") as file:
                        file.write(bytes([index]) * rng.randrange(1, 5000))
                    if number % 3 == 0:
                        os.unlink(path)
                    elif number % 3 == 1:
                        os.rename(path, path + "-r")
            except Exception as error:
                problems.append(error)
        threads = [threading.Thread(target=work, args=(i, m)) for i, m in enumerate((a, b))]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert not problems, problems
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
        problems = []

        def work(index, mount):
            try:
                for number in range(40):
                    with open(mount.path("lock"), "a") as lock:
                        fcntl.lockf(lock, fcntl.LOCK_EX)
                        with open(mount.path("log"), "ab", buffering=0) as log:
                            log.write(f"{index}:{number}\n".encode())
            except Exception as error:
                problems.append(error)
        threads = [threading.Thread(target=work, args=(i, m)) for i, m in enumerate((a, b))]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert not problems, problems
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
    vol = zest.Volume(meta=meta_url(None))
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


def quotas_of_both():
    vol = volume()
    a, b = ours(vol, "mnt", "--heartbeat", "1"), reference(vol, "ref", "--heartbeat", "1")
    os.mkdir(a.path("q"))
    zest.run(JUICEFS, "quota", "set", vol.meta, "--path", "/q", "--inodes", "10")

    def full(mount):
        path = mount.path("q", f"n{random.random()}")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            return False
        except OSError as error:
            assert error.errno == errno.EDQUOT, error
            return True
    zest.wait_until(lambda: full(a), "our client keeps to the quota")
    zest.wait_until(lambda: full(b), "the reference keeps to the quota")
    for name in os.listdir(b.path("q")):
        os.unlink(b.path("q", name))
    zest.wait_until(lambda: not full(a), "we see that there is room again")
    a.umount()
    b.umount()
    judge(vol)


zest.main([we_write_they_read, they_write_we_read, churn, exclusive_creates, renames_of_one_name,
           creates_and_deletes_in_one_directory, appends_under_a_lock, locks_are_seen, unlinked_but_open, trash_of_both,
           quotas_of_both])
