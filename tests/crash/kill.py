#!/usr/bin/env python3
"""kill -9 of the client at random moments: what fsync acknowledged is there, and metadata and objects agree.

kill.py ENGINE [SEED]: sqlite, redis, postgres. Files are written by appending numbered records; after each fsync the file's
durable length is noted. After the kill and a remount every file holds at least that much, and what it holds is a prefix of
what was written, never zeroes.
"""
import os
import random
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

ENGINE = sys.argv.pop(1)
SEED = int(sys.argv.pop(1)) if len(sys.argv) > 1 else 1
ROUNDS = int(os.environ.get("ZEST_ROUNDS", "4"))

WRITER = r"""
import os, random, sys
folder, seed, notes = sys.argv[1], int(sys.argv[2]), open(sys.argv[3], "a", buffering=1)
rng = random.Random(seed)
written = {}
number = 0
while True:
    name = f"f{rng.randrange(12)}"
    size = rng.choice([10, 500, 4096, 70_000, 3_000_000])
    fd = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    start = written.get(name, os.fstat(fd).st_size)
    data = bytearray()
    while len(data) < size:
        data += b"%s:%010d\n" % (name.encode(), start + len(data))
    at = 0
    while at < len(data):
        at += os.write(fd, data[at:at + 128 * 1024])
    written[name] = start + len(data)
    if rng.random() < 0.5:
        os.fsync(fd)
        notes.write(f"{name} {written[name]}\n")
    os.close(fd)
    notes.write(f"{name} {written[name]}\n")
    number += 1
    if rng.random() < 0.1:
        os.makedirs(os.path.join(folder, f"dir{number}"))
        os.rename(os.path.join(folder, f"dir{number}"), os.path.join(folder, f"moved{number}"))
        notes.write(f"/moved{number} 0\n")
"""


def check(mount, notes):
    acknowledged = {}
    for line in notes.splitlines():
        parts = line.split()
        if len(parts) == 2:
            acknowledged[parts[0]] = max(int(parts[1]), acknowledged.get(parts[0], 0))
    for name, length in acknowledged.items():
        if name.startswith("/"):
            assert os.path.isdir(mount.path("work") + name), f"{name} is lost"
            continue
        with open(mount.path("work", name), "rb") as file:
            data = file.read()
        assert len(data) >= length, f"{name}: {len(data)} bytes, {length} were acknowledged"
        lines = data.split(b"\n")
        at = 0
        for line in lines[:-1]:
            assert line == b"%s:%010d" % (name.encode(), at), f"{name}: {line[:40]!r} at {at}"
            at += len(line) + 1
        assert (b"%s:%010d" % (name.encode(), at)).startswith(lines[-1]), f"{name}: a torn end {lines[-1][:40]!r}"


def agree(volume):
    """Our fsck and the reference's find nothing wrong with the objects."""
    for binary in (zest.ZESTFS, zest.tool("juicefs")):
        done = zest.run(binary, "fsck", volume.meta, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def kill_nine():
    meta = {"sqlite": lambda: None, "redis": lambda: zest.redis_server()[0], "postgres": lambda: zest.postgres_server()[0]}[ENGINE]()
    volume = zest.Volume("--trash-days", "0", meta=meta)
    rng = random.Random(SEED)
    script = os.path.join(volume.folder, "writer.py")
    open(script, "w").write(WRITER)
    notes = os.path.join(volume.folder, "notes")
    open(notes, "w").close()
    for round_number in range(ROUNDS):
        mount = volume.mount("--heartbeat", "2")
        os.makedirs(mount.path("work"), exist_ok=True)
        check(mount, open(notes).read())
        for name in os.listdir(mount.path("work")):
            path = mount.path("work", name)
            if os.path.isfile(path):
                os.unlink(path)
        lines = [l for l in open(notes).read().splitlines() if l.startswith("/")]
        open(notes, "w").write("".join(l + "\n" for l in lines))
        writer = subprocess.Popen([sys.executable, script, mount.path("work"), str(SEED * 100 + round_number), notes],
                                  stderr=subprocess.DEVNULL)
        zest.wait_until(lambda: len(open(notes).read().splitlines()) > 10 + len(lines), "the writer is under way")
        time.sleep(rng.uniform(0, 3))
        mount.kill()
        writer.wait(zest.PATIENCE)
    mount = volume.mount("--heartbeat", "2")
    check(mount, open(notes).read())
    mount.umount()
    agree(volume)


zest.main([kill_nine])
