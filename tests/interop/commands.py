#!/usr/bin/env python3
"""Commands of one client while the other works in the volume: rmr, clone, dump, gc, fsck. Nothing but what was asked for is touched.

commands.py ENGINE [CASE...]: sqlite, redis, postgres, mariadb
"""
import contextlib
import json
import os
import random
import threading

from pair import JUICEFS, judge, ours, reference, two, volume, zest


def fill(folder, files=60, seed=1):
    """A tree of three directories; gives {path below the folder: content}."""
    rng = random.Random(seed)
    made = {}
    for number in range(files):
        name = f"s{number % 3}/f{number}"
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        made[name] = rng.randbytes(rng.randrange(1, 60_000))
        with open(os.path.join(folder, name), "wb") as file:
            file.write(made[name])
    return made


def holds(folder, wanted):
    found = {}
    for base, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(base, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    assert found == wanted, (sorted(found), sorted(wanted))


@contextlib.contextmanager
def working(mount):
    """Writes, renames and removes files of its own through this mount until the block ends; then they must be right."""
    stop, problems, files = threading.Event(), [], {}
    folder = mount.path("busy")
    os.makedirs(folder, exist_ok=True)

    def work():
        rng = random.Random(3)
        try:
            while not stop.is_set() or len(files) < 20:
                name = f"f{rng.randrange(50)}"
                path = os.path.join(folder, name)
                if name in files and rng.random() < 0.3:
                    os.unlink(path)
                    del files[name]
                    continue
                files[name] = rng.randbytes(rng.randrange(1, 80_000))
                with open(path + ".new", "wb") as file:
                    file.write(files[name])
                os.rename(path + ".new", path)
        except Exception as problem:
            problems.append(problem)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not problems, problems
    holds(folder, files)


def sides(a, b):
    """(who commands, its binary, who works)."""
    return ((a, zest.ZESTFS, b), (b, JUICEFS, a))


def rmr_and_clone():
    with two(volume()) as (a, b):
        for number, (commander, binary, worker) in enumerate(sides(a, b)):
            wanted = fill(worker.path(f"tree{number}"))
            with working(worker):
                zest.run(binary, "clone", commander.path(f"tree{number}"), commander.path(f"copy{number}"))
                zest.run(binary, "rmr", commander.path(f"tree{number}"))
            for mount in (commander, worker):
                assert not os.path.exists(mount.path(f"tree{number}"))
                holds(mount.path(f"copy{number}"), wanted)


def removed_under_the_others_hands():
    """rmr of a directory in which the other client goes on making files: what is acknowledged is gone or there, for both alike."""
    with two(volume()) as (a, b):
        for number, (commander, binary, worker) in enumerate(sides(a, b)):
            folder = worker.path(f"contested{number}")
            fill(folder, files=90)
            stop = threading.Event()

            def create():
                count = 0
                while not stop.is_set():
                    with contextlib.suppress(OSError):
                        os.makedirs(os.path.join(folder, "s0"), exist_ok=True)
                        with open(os.path.join(folder, "s0", f"late{count}"), "w") as file:
                            file.write("late")
                    count += 1
            thread = threading.Thread(target=create)
            thread.start()
            zest.run(binary, "rmr", commander.path(f"contested{number}"), check=False)
            stop.set()
            thread.join()
            trees = [sorted(os.path.relpath(os.path.join(base, name), mount.point)
                            for base, _, files in os.walk(mount.path(f"contested{number}")) for name in files)
                     for mount in (commander, worker)]
            assert trees[0] == trees[1], trees
            zest.run(binary, "rmr", commander.path(f"contested{number}"), check=False)
            assert not os.path.exists(worker.path(f"contested{number}"))


def dump_beside_work():
    """A dump taken while the other client works loads, and has all that was there before."""
    vol = volume()
    a, b = ours(vol), reference(vol)
    wanted = fill(a.path("still"))
    for binary, worker in ((zest.ZESTFS, b), (JUICEFS, a)):
        dump = os.path.join(vol.folder, f"dump-{os.path.basename(binary)}.json")
        with working(worker):
            zest.run(binary, "dump", vol.meta, dump)
        with open(dump) as file:
            tree = json.load(file)["FSTree"]["entries"]["still"]["entries"]
        assert {f"{folder}/{name}" for folder, inside in tree.items() for name in inside["entries"]} == set(wanted)
        loaded = f"sqlite3://{vol.folder}/loaded-{os.path.basename(binary)}.db"
        zest.run(zest.ZESTFS if binary == JUICEFS else JUICEFS, "load", loaded, dump)
        again = zest.Mount(loaded, os.path.join(vol.folder, "again"), "--read-only", "--cache-dir", os.path.join(vol.folder, "cache-again"))
        holds(again.path("still"), wanted)
        again.umount()
    a.umount()
    b.umount()
    judge(vol)


def gc_and_fsck_beside_work():
    """gc that deletes leaves everything of a client that is writing; leaked objects go. fsck finds nothing. That of the reference
    takes a file that is deleted while it looks for a broken one: it judges at the end."""
    vol = volume()
    a, b = ours(vol), reference(vol)
    wanted = fill(a.path("still"))
    leaked = os.path.join(vol.bucket, vol.name, "chunks", "9", "9999", "9999999_0_1000")
    for binary, worker in ((zest.ZESTFS, b), (JUICEFS, a)):
        os.makedirs(os.path.dirname(leaked), exist_ok=True)
        with open(leaked, "wb") as file:
            file.write(bytes(1000))
        os.utime(leaked, (1_600_000_000, 1_600_000_000))  # older than gc leaves alone
        with working(worker):
            zest.run(binary, "gc", vol.meta, "--delete", "--compact")
            zest.run(zest.ZESTFS, "fsck", vol.meta)
        assert not os.path.exists(leaked), f"{binary} leaves a leaked object"
        for mount in (a, b):
            holds(mount.path("still"), wanted)
    a.umount()
    b.umount()
    judge(vol)


zest.main([rmr_and_clone, removed_under_the_others_hands, dump_beside_work, gc_and_fsck_beside_work])
