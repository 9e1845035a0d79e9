#!/usr/bin/env python3
"""The same random system calls on a mount and on tmpfs: results, errnos, trees and which times moved must be equal.

differential.py [--trash] [--seeds FROM TO] [--calls N] [--meta redis]; a difference is shown with the shortest sequence of
calls that still shows it.
"""
import argparse
import contextlib
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import zest  # noqa: E402
from actor import Actor  # noqa: E402
from sequence import FOLDERS, IDENTITIES, TEAM, sequence  # noqa: E402

TICK = 0.005  # seconds; longer than the clock of files is coarse
TIMED = 4     # times are compared at every so many calls
TREES = 40    # and whole trees


class Side:
    """A folder on one file system and the actors that work in it."""

    def __init__(self, top, name):
        self.folder = os.path.join(top, name)
        os.mkdir(self.folder)
        os.chmod(self.folder, 0o777)
        for folder, mode, group in zip(FOLDERS, (0o777, 0o2777, 0o1777), (0, TEAM, 0)):
            path = os.path.join(self.folder, folder)
            os.mkdir(path)
            os.chown(path, 0, group)
            os.chmod(path, mode)
        self.actors = [Actor(self.folder, *identity) for identity in IDENTITIES]

    def end(self):
        for actor in self.actors:
            actor.end()
        subprocess.run(["rm", "-rf", self.folder], check=True)


def on_both(sides, actor, *call):
    for side in sides:
        side.actors[actor].send(*call)
    return [side.actors[actor].receive() for side in sides]


def named_by(call):
    """The paths with their folders, and the slots, whose times a call may change."""
    paths = {a.rstrip("/.") for a in call[1:] if isinstance(a, str) and a.split("/")[0] in FOLDERS}
    slots = [a for a in call[1:] if type(a) is int and 0 <= a < 4][:2]
    return sorted(paths | {os.path.dirname(p) or "." for p in paths}), slots


def moved(before, after):
    """Which of atime, mtime and ctime are others now, for each thing that is still the same inode."""
    return [None if not b or not a or b[0] != a[0] else tuple(x != y for x, y in zip(b[1:], a[1:])) for b, a in zip(before, after)]


def all_times(side, actor, paths, slots):
    named = side.actors[0].ask("times", paths, [])[1]
    return named + side.actors[actor].ask("times", [], slots)[1]


def removes_acl(call):
    """Local file systems differ in the times when there is none."""
    return call[0] in ("setxattr", "fsetxattr", "removexattr", "fremovexattr") and call[2].startswith("system.") and call[3:4] in ((), (b"",), (b"\2\0\0\0",))


def first_difference(places, number, calls):
    """Runs the calls on both; None, or (how many calls it took, what differs)."""
    sides = [Side(place, f"run{number}") for place in places]
    try:
        for index, (actor, call) in enumerate(calls):
            look = index % TIMED == 0 and not removes_acl(call)
            if look:
                paths, slots = named_by(call)
                before = [all_times(side, actor, paths, slots) for side in sides]
                time.sleep(TICK)
            ours, theirs = on_both(sides, actor, *call)
            if ours != theirs:
                return index + 1, f"ours: {ours!r:.300}\ntheirs: {theirs!r:.300}"
            if look:
                times = [moved(b, all_times(side, actor, paths, slots)) for b, side in zip(before, sides)]
                if times[0] != times[1]:
                    return index + 1, f"which of atime, mtime, ctime moved, of {paths} and {slots}:\nours {times[0]}\ntheirs {times[1]}"
            if index % TREES == TREES - 1 or index == len(calls) - 1:
                ours, theirs = (side.actors[0].ask("tree")[1] for side in sides)
                if ours != theirs:
                    lines = [f"{path}\n  ours   {ours.get(path)}\n  theirs {theirs.get(path)}" for path in sorted(ours.keys() | theirs.keys())
                             if ours.get(path) != theirs.get(path)]
                    return index + 1, "\n".join(lines)
        return None
    finally:
        for side in sides:
            side.end()


class Places:
    """A mount and a tmpfs."""

    def __init__(self, trash_days, meta):
        url = getattr(zest, f"{meta}_server")()[0] if meta else None
        self.volume = zest.Volume("--enable-acl", "--trash-days", trash_days, meta=url)
        self.mount = self.volume.mount("--enable-xattr", "--enable-whiteout", "-o", "dev,suid")
        self.model = zest.temp_dir("model")
        zest.run("mount", "-t", "tmpfs", "-o", "noatime,size=2g,mode=755", "model", self.model)
        zest.on_exit(lambda: subprocess.run(["umount", "-l", self.model], stderr=subprocess.DEVNULL))
        self.runs = 0

    def compare(self, calls):
        self.runs += 1
        return first_difference((self.mount.point, self.model), self.runs, calls)

    def shortest(self, calls):
        """Leaves out calls as long as there is still a difference."""
        step = len(calls) // 2
        while step:
            at = 0
            while at < len(calls):
                fewer = calls[:at] + calls[at + step:]
                found = fewer and self.compare(fewer)
                if found:
                    calls = fewer[:found[0]]
                else:
                    at += step
            step //= 2
        return calls

    def end(self):
        self.mount.umount()
        zest.run("umount", self.model)
        zest.zestfs("fsck", self.volume.meta)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trash", action="store_true")
    parser.add_argument("--seeds", type=int, nargs=2, default=(1, 6))
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--meta")
    options = parser.parse_args()
    places = Places(1 if options.trash else 0, options.meta)
    bad = 0
    for seed in range(*options.seeds):
        calls = sequence(seed, options.calls)
        found = places.compare(calls)
        if not found:
            continue
        bad += 1
        print(f"seed {seed} differs after {found[0]} calls:\n{found[1]}", flush=True)
        short = places.shortest(calls[:found[0]])
        for actor, call in short:
            print(f"  {actor} {call!r:.200}")
        with contextlib.suppress(TypeError):
            print("  gives", places.compare(short)[1], flush=True)
        if bad == 5:
            break
    places.end()
    print(f"{places.runs} runs, {bad} seeds with a difference")
    sys.exit(1 if bad else 0)


main()
