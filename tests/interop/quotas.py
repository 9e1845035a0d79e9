#!/usr/bin/env python3
"""Quotas of directories, users and groups while our client and the reference have the volume at once: both keep to them, and both count
alike; `quota check` of both finds nothing wrong.

quotas.py ENGINE [CASE...]: sqlite, redis, postgres, mariadb
"""
import ctypes
import errno
import os
import random
import re

from pair import JUICEFS, at_once, judge, ours, reference, volume, zest

ALICE, BOB, TEAM = 1001, 1002, 2000
GIB = 1 << 30
BEAT = ["--heartbeat", "1"]
LIBC = ctypes.CDLL(None)


def take(what, path, size=0):
    if what == "make":
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    elif what == "mkdir":
        os.mkdir(path)
    elif what == "grow":
        os.truncate(path, int(size))
    else:
        assert what == "write"
        with open(path, "ab") as file:
            file.write(bytes(int(size)))
            file.flush()
            os.fsync(file.fileno())


def act(uid, gid, *steps):
    """Takes the steps "what:path:size" as this user; gives an errno for each, 0 for success. Only this thread changes its user."""
    codes = []
    LIBC.setfsgid(gid)
    LIBC.setfsuid(uid)
    try:
        for step in steps:
            try:
                take(*step.split(":"))
                codes.append(0)
            except OSError as error:
                codes.append(error.errno)
    finally:
        LIBC.setfsuid(0)
        LIBC.setfsgid(0)
    return codes


def usage(binary, vol, *whose):
    """(bytes used as shown, inodes used) by `quota get`."""
    text = zest.run(binary, "quota", "get", vol.meta, *whose).stdout
    row = [cell.strip() for cell in text.splitlines()[3].split("|")][1:-1]
    return row[2], int(row[5].replace(",", ""))


def consistent(vol, *whose):
    for binary in (JUICEFS, zest.ZESTFS):
        done = zest.run(binary, "quota", "check", vol.meta, *whose, check=False)
        assert done.returncode == 0 and "inconsistent" not in done.stdout + done.stderr, (binary, done.stdout + done.stderr)


def agree(vol, *whose):
    """Both clients show the same use; gives it."""
    shown = [usage(binary, vol, *whose) for binary in (JUICEFS, zest.ZESTFS)]
    assert shown[0] == shown[1], (whose, shown)
    consistent(vol, *whose)
    return shown[0]


def pair_of(vol):
    return ours(vol, "mnt", *BEAT), reference(vol, "ref", *BEAT)


def open_dir(mount, name="d"):
    os.mkdir(mount.path(name))
    os.chmod(mount.path(name), 0o777)


def full_in_the_end(mount, uid, gid, path):
    """Other clients hear of the use with their next heartbeat."""
    def refused():
        name = mount.path(path, f"n{random.random()}")
        code = act(uid, gid, f"make:{name}")[0]
        assert code in (0, errno.EDQUOT), errno.errorcode[code]
        return code == errno.EDQUOT
    zest.wait_until(refused, f"no room for {uid}:{gid} on {mount.point}")


def room_in_the_end(mount, uid, gid, path):
    zest.wait_until(lambda: act(uid, gid, f"make:{mount.path(path, str(random.random()))}") == [0], f"room for {uid}:{gid} on {mount.point}")


def limits_reach_living_clients():
    """A quota that is set while both are mounted holds for both from their next heartbeat on."""
    for setter in (JUICEFS, zest.ZESTFS):
        vol = volume()
        a, b = pair_of(vol)
        open_dir(a)
        open_dir(a, "e")
        zest.run(setter, "quota", "set", vol.meta, "--path", "/d", "--inodes", "10")
        zest.run(setter, "quota", "set", vol.meta, "--uid", ALICE, "--inodes", "30")
        for mount in (a, b):
            full_in_the_end(mount, BOB, BOB, "d")
            full_in_the_end(mount, ALICE, ALICE, "e")
        for name in os.listdir(b.path("d")):
            os.unlink(b.path("d", name))
        room_in_the_end(a, BOB, BOB, "d")
        a.umount()
        b.umount()
        judge(vol)


def inodes_of_all_kinds():
    """Set before anybody is there, so that nothing is missed: all use is counted."""
    for setter in (JUICEFS, zest.ZESTFS):
        vol = volume()
        mount = reference(vol)  # its commands need columns in SQL tables that only its mount adds
        for folder in ("q", "d"):
            open_dir(mount, folder)
        mount.umount()
        zest.run(setter, "quota", "set", vol.meta, "--path", "/q", "--inodes", "7")
        zest.run(setter, "quota", "set", vol.meta, "--uid", ALICE, "--inodes", "8")
        zest.run(setter, "quota", "set", vol.meta, "--gid", TEAM, "--inodes", "6")
        a, b = pair_of(vol)
        limited = ((0, 0, "q"), (ALICE, ALICE, "d"), (BOB, TEAM, "d"))
        for mount in (a, b):
            for who in limited:
                full_in_the_end(mount, *who)
        # another user and group have room
        for index, mount in enumerate((a, b)):
            assert act(BOB, BOB, f"make:{mount.path('d', f'bob{index}')}") == [0]
        for folder in ("d", "q"):
            for name in os.listdir(a.path(folder)):
                os.unlink(a.path(folder, name))
        for mount in (a, b):
            for who in limited:
                room_in_the_end(mount, *who)
        a.umount()
        b.umount()
        assert agree(vol, "--path", "/q")[1] == agree(vol, "--uid", ALICE)[1] == agree(vol, "--gid", TEAM)[1] == 2
        judge(vol)


def space_of_users():
    """The file's owner pays for its growth, whoever writes, through whichever client."""
    vol = volume()
    zest.run(JUICEFS, "quota", "set", vol.meta, "--uid", ALICE, "--capacity", "1")
    a, b = pair_of(vol)
    open_dir(a)
    for index, mount in enumerate((a, b)):
        path = mount.path("d", f"large{index}")
        # a hole costs what it is long
        assert act(ALICE, ALICE, f"make:{path}", f"grow:{path}:{2 * GIB}", f"grow:{path}:{GIB // 2 - 4096}") == [0, errno.EDQUOT, 0]
        assert act(0, 0, f"grow:{path}:{2 * GIB}") == [errno.EDQUOT], "root writes at the owner's expense"
    for index, mount in enumerate((a, b)):
        path = mount.path("d", f"large{index}")
        # until a client hears what the other used, it may go a little further
        zest.wait_until(lambda: act(ALICE, ALICE, f"grow:{path}:{os.stat(path).st_size + 1_000_000}") == [errno.EDQUOT], "no room is left")
        assert act(BOB, BOB, f"make:{path}-bob", f"write:{path}-bob:1000000") == [0, 0]
    a.umount()
    b.umount()
    assert agree(vol, "--uid", ALICE)[1] == 2
    judge(vol)


def owners_change():
    """chown, hard links, removal and renames through either client move the use alike."""
    vol = volume()
    zest.run(JUICEFS, "quota", "set", vol.meta, "--uid", ALICE, "--inodes", "1000")
    zest.run(JUICEFS, "quota", "set", vol.meta, "--uid", BOB, "--inodes", "1000")
    zest.run(JUICEFS, "quota", "set", vol.meta, "--gid", TEAM, "--capacity", "1")
    a, b = pair_of(vol)
    open_dir(a, "d0")
    open_dir(b, "d1")

    def work(index, mount):
        rng = random.Random(index)
        folder = mount.path(f"d{index}")
        for number in range(60):
            path = os.path.join(folder, f"f{number}")
            uid, gid = rng.choice([(ALICE, ALICE), (BOB, TEAM)])
            assert act(uid, gid, f"make:{path}", f"write:{path}:{rng.randrange(1, 50_000)}") == [0, 0]
            action = number % 5
            if action == 0:
                os.unlink(path)
            elif action == 1:
                os.chown(path, BOB, TEAM)
            elif action == 2:
                os.chown(path, ALICE, ALICE)
                os.truncate(path, rng.randrange(100_000))
            elif action == 3:
                os.rename(path, path + "-moved")
            else:
                assert act(uid, gid, f"mkdir:{path}-dir") == [0]
    at_once(work, a, b)
    a.umount()
    b.umount()
    seen = {}
    for uid in (ALICE, BOB):
        seen[uid] = agree(vol, "--uid", uid)
    seen["team"] = agree(vol, "--gid", TEAM)
    # and by looking at the files
    mount = ours(vol, "look")
    counted = {}
    for folder in ("d0", "d1"):
        for entry in os.scandir(mount.path(folder)):
            counted[entry.stat().st_uid] = counted.get(entry.stat().st_uid, 0) + 1
    mount.umount()
    assert {uid: seen[uid][1] for uid in (ALICE, BOB)} == counted, (seen, counted)
    judge(vol)


def numbers_of_both_commands():
    """list and get of both show the same rows."""
    vol = volume()
    zest.run(zest.ZESTFS, "quota", "set", vol.meta, "--uid", ALICE, "--inodes", "5", "--capacity", "2")
    zest.run(JUICEFS, "quota", "set", vol.meta, "--gid", TEAM, "--capacity", "3")
    rows = []
    for binary in (JUICEFS, zest.ZESTFS):
        text = zest.run(binary, "quota", "list", vol.meta).stdout
        rows.append(sorted(re.sub("unchanged|unlimited", "none", "|".join(cell.strip() for cell in line.split("|")))
                           for line in text.splitlines() if "id:" in line))
    assert rows[0] == rows[1] and len(rows[0]) == 2, rows


zest.main([limits_reach_living_clients, inodes_of_all_kinds, space_of_users, owners_change, numbers_of_both_commands])
