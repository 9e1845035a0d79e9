#!/usr/bin/env python3
"""Ctrl-C in the middle of long commands: they end soon with 130, nothing is lost, and running them again completes.
interrupts.py [CASE...]"""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

FILES = 2500


def interrupted(*arguments, after=0.05, env=None):
    """Runs the command, interrupts it, and gives its exit code: 130, or 0 when it was faster."""
    process = subprocess.Popen([zest.ZESTFS, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=dict(os.environ, **(env or {})))
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, err = process.communicate(timeout=zest.PATIENCE)
    assert process.returncode in (0, 130, -signal.SIGINT), (arguments, process.returncode, err)  # -SIGINT: before main looked
    assert time.monotonic() - started < zest.PATIENCE / 2, f"{arguments} did not end soon"
    return process.returncode


def often(*arguments, env=None, like=None):
    """Interrupted after different parts of the time that it, or the command `like`, takes; at least once in the middle."""
    started = time.monotonic()
    zest.zestfs(*(like or arguments), env=env)
    whole = time.monotonic() - started
    codes = [interrupted(*arguments, after=whole * part, env=env) for part in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]
    for part in range(1, 40):  # the first run was slower than these: between the program's start and its end there is little time
        if 130 in codes:
            break
        codes.append(interrupted(*arguments, after=whole * part / 40, env=env))
    assert 130 in codes, f"{arguments} was never interrupted in the middle: {codes}"


def tree_of(meta):
    """What the volume holds, without what differs from dump to dump."""
    dump = json.loads(zest.zestfs("dump", meta).stdout)
    return json.dumps({key: dump[key] for key in ("FSTree", "DelFiles", "Sustained")}, sort_keys=True)


def filled(*options, write="1"):
    volume = zest.Volume("--trash-days", "0", *options)
    zest.zestfs("mdtest", "--dirs", "4", "--depth", "2", "--files", FILES // 21, "--write", write, "--threads", "4", volume.meta, "/d",
                "--cache-dir", f"{volume.folder}/cache")
    return volume


def reading_commands():
    volume = filled()
    before = tree_of(volume.meta)
    for command in (["fsck", volume.meta], ["fsck", "--path", "/", "-r", volume.meta], ["dump", volume.meta, f"{volume.folder}/out"],
                    ["dump", "--binary", volume.meta, f"{volume.folder}/out"], ["gc", volume.meta]):
        often(*command)
        left = [name for name in os.listdir(volume.folder) if name.endswith(".tmp")]
        assert not left, left
        zest.zestfs(*command)
    assert tree_of(volume.meta) == before


def load():
    volume = filled()
    zest.zestfs("dump", volume.meta, f"{volume.folder}/dump.json")
    zest.zestfs("dump", "--binary", volume.meta, f"{volume.folder}/dump.bin")
    for number, (kind, file) in enumerate([([], "dump.json"), (["--binary"], "dump.bin")] * 3):
        target = f"{volume.folder}/copy{number}.db"
        code = interrupted("load", *kind, f"sqlite3://{target}", f"{volume.folder}/{file}", after=0.03 + 0.03 * (number // 2))
        if code != 0:
            # what an interrupted load left is no volume that somebody could take for whole
            assert zest.zestfs("status", f"sqlite3://{target}", check=False).returncode == 1
            for suffix in ("", "-wal", "-shm"):
                if os.path.exists(target + suffix):
                    os.unlink(target + suffix)
            zest.zestfs("load", *kind, f"sqlite3://{target}", f"{volume.folder}/{file}")
        assert tree_of(f"sqlite3://{target}") == tree_of(volume.meta)


def gc_delete():
    volume = filled(write="100")
    chunks = f"{volume.bucket}vol/chunks/0/0"
    real = len(os.listdir(chunks))
    os.makedirs(f"{volume.bucket}vol/chunks/0/100", exist_ok=True)
    for number in range(100_000, 101_000):
        path = f"{volume.bucket}vol/chunks/0/100/{number}_0_10"
        open(path, "w").write("x" * 10)
        os.utime(path, (1, 1))
    before, now = tree_of(volume.meta), {"JFS_GC_SKIPPEDTIME": "0"}
    often("gc", "--delete", "--compact", volume.meta, env=now, like=["gc", volume.meta])
    zest.zestfs("gc", "--delete", volume.meta, env=now)
    assert os.listdir(f"{volume.bucket}vol/chunks/0/100") == [] and len(os.listdir(chunks)) == real
    assert tree_of(volume.meta) == before
    zest.zestfs("fsck", volume.meta)


def on_a_mount():
    volume = filled()
    mount = volume.mount()
    before = tree_of(volume.meta)
    for command in (["summary", "--strict", mount.path("d")], ["info", "-r", "--strict", mount.path("d")], ["warmup", mount.path("d")],
                    ["compact", mount.path("d")]):
        for after in (0.02, 0.05, 0.1):
            interrupted(*command, after=after)
        zest.zestfs(*command)
    assert tree_of(volume.meta) == before
    for after in (0.01, 0.02, 0.03, 0.06, 0.1):
        interrupted("clone", mount.path("d"), mount.path("copy"), after=after)
        if os.path.exists(mount.path("copy")):  # the signal came when all was done
            assert sum(len(files) for _, _, files in os.walk(mount.path("copy"))) == FILES // 21 * 21, "the tree appears when it is complete"
            zest.zestfs("rmr", mount.path("copy"))
    zest.zestfs("clone", mount.path("d"), mount.path("copy"))
    assert sum(len(files) for _, _, files in os.walk(mount.path("copy"))) == FILES // 21 * 21
    interrupted("rmr", mount.path("copy"), after=0.05)
    zest.zestfs("rmr", mount.path("copy"), check=False)  # the interrupted one may have come to its end just then
    assert not os.path.exists(mount.path("copy"))
    zest.zestfs("quota", "set", volume.meta, "--path", "/d", "--inodes", "1000000")
    for after in (0.02, 0.05, 0.1):
        interrupted("quota", "check", "--strict", "--path", "/d", volume.meta, after=after)
    zest.zestfs("quota", "check", "--strict", "--path", "/d", volume.meta)
    mount.umount()
    zest.zestfs("gc", "--delete", volume.meta)
    zest.zestfs("fsck", volume.meta, "--path", "/", "-r", "--sync-dir-stat")
    assert json.loads(tree_of(volume.meta))["FSTree"]["entries"] == json.loads(before)["FSTree"]["entries"]


def restore():
    volume = zest.Volume()
    mount = volume.mount()
    os.mkdir(mount.path("d"))
    for number in range(1500):
        os.close(os.open(mount.path(f"d/{number}"), os.O_CREAT | os.O_WRONLY))
    zest.zestfs("rmr", mount.path("d"))
    hours = os.listdir(mount.path(".trash"))
    mount.umount()  # writes what it counted
    for after in (0.03, 0.06, 0.1):
        interrupted("restore", "--put-back", volume.meta, *hours, after=after)
    zest.zestfs("restore", "--put-back", volume.meta, *hours)
    zest.zestfs("restore", "--put-back", volume.meta, *hours)  # what could not move before its directory was back
    mount = volume.mount()
    assert sorted(os.listdir(mount.path("d")), key=int) == [str(n) for n in range(1500)]
    mount.umount()
    zest.zestfs("fsck", volume.meta, "--path", "/", "-r", "--sync-dir-stat")


zest.main([reading_commands, load, gc_delete, on_a_mount, restore])
