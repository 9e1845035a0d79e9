#!/usr/bin/env python3
"""A mount is killed and upgraded under load: no errors but EIO for writes that were not flushed, nothing acknowledged is
lost, and in the end the tree is what the programs think it is.

load.py ENGINE [SEED]: sqlite, redis. ZEST_KILLS, ZEST_UPGRADES: how often.
"""
import json
import os
import random
import signal
import subprocess
import sys
import time

from common import Background, check, serving, sessions, zest

ENGINE = sys.argv.pop(1)
SEED = int(sys.argv.pop(1)) if len(sys.argv) > 1 else 1
KILLS, UPGRADES = int(os.environ.get("ZEST_KILLS", "2")), int(os.environ.get("ZEST_UPGRADES", "1"))
PROGRAMS = 4
WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")


def record(file, offset):
    return b"%s:%012d\n" % (file.encode(), offset)


def check_tree(mount, reports):
    for number, report in enumerate(reports):
        top = mount.path(f"p{number}")
        found = {}
        for folder, _, names in os.walk(top):
            for name in names:
                found[os.path.relpath(os.path.join(folder, name), top)] = os.path.join(folder, name)
        assert set(found) == set(report["files"]), (number, set(found) ^ set(report["files"]))
        for name, (file, length) in report["files"].items():
            with open(found[name], "rb") as stored:
                data = stored.read()
            assert len(data) == length, (name, len(data), length)
            size = len(record(file, 0))
            for at in range(0, length, size):
                assert data[at:at + size] == record(file, at), (name, at, data[at:at + size])
    with open(mount.path("counter"), "rb") as counter:
        total = int(counter.read())
    sure = sum(r["increments"] for r in reports)
    unsure = sum(r["unsure"] for r in reports)
    assert sure <= total <= sure + unsure, (sure, total, unsure)


def disturb(mount, rng):
    acts = ["kill"] * KILLS + ["upgrade"] * UPGRADES
    rng.shuffle(acts)
    slowest = 0
    for act in acts:
        time.sleep(2.2 + rng.uniform(0, 1))  # a process that lived that long did not die at once
        pid = serving(mount)
        started = time.monotonic()
        if act == "kill":
            os.kill(pid, signal.SIGKILL)
        else:
            mount.mount()
        zest.wait_until(lambda: serving(mount) != pid, "another process serves the mount")
        slowest = max(slowest, time.monotonic() - started)
    return slowest


def kills_and_upgrades():
    volume = zest.Volume("--trash-days", "0", meta=zest.redis_server()[0] if ENGINE == "redis" else None)
    mount = Background(volume)
    with open(mount.path("counter"), "w") as counter:
        counter.write("0")
    session = sessions(volume)
    stop = os.path.join(volume.folder, "stop")
    programs = []
    for number in range(PROGRAMS):
        os.mkdir(mount.path(f"p{number}"))
        programs.append(subprocess.Popen([sys.executable, WORKER, mount.point, f"p{number}", str(SEED * 100 + number), stop],
                                         stdout=subprocess.PIPE, text=True))
    slowest = disturb(mount, random.Random(SEED))
    open(stop, "w").close()
    reports = [json.loads(p.communicate(timeout=zest.PATIENCE)[0] or "{}") for p in programs]
    for program, report in zip(programs, reports):
        assert program.returncode == 0, report
    print(f"     {sum(r['operations'] for r in reports)} operations, {sum(r['errors'] for r in reports)} EIO, "
          f"{KILLS} kills, {UPGRADES} upgrades, longest {slowest:.1f} s")
    assert sessions(volume) == session, "one session all the time"
    check_tree(mount, reports)
    mount.umount()
    again = volume.mount()
    check_tree(again, reports)
    again.umount()
    assert not sessions(volume)
    check(volume)


zest.main([kills_and_upgrades])
