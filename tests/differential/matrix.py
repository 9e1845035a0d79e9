#!/usr/bin/env python3
"""Every combination of call, kind of file, owner, identity and mode, on a mount and on tmpfs: what the call gives, what the
inodes it names look like afterwards, and which of their times moved must be equal.

matrix.py [--acl] [--user] [--unchecked] [--squash all|root] [--only TOPIC]; --user mounts as a plain user with allow_other,
--unchecked without the kernel's own checks of permissions; with --squash the cases of one user are carried out by another one,
or by root, whom the mount takes for that user.
"""
import argparse
import itertools
import os
import pwd
import shutil
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import zest  # noqa: E402
from actor import NOW, OMIT, Actor  # noqa: E402

TICK = 0.01  # seconds; longer than the clock of files is coarse
BATCH = 200  # cases that are set up together
ROOT, ALICE, BOB, TEAM = 0, 10001, 10002, 20000
WHO = {ROOT: 0, ALICE: 1, BOB: 2}  # actors
IDENTITIES = [(ROOT, 0, [0]), (ALICE, ALICE, [ALICE, TEAM]), (BOB, BOB, [BOB])]
KINDS = ["file", "dir", "fifo", "block", "char", "socket", "symlink"]
MODES = [0o000, 0o644, 0o755, 0o777, 0o6555, 0o4755, 0o2755, 0o2644, 0o1777]


def make(kind, path, owner=ROOT, group=None, mode=0o644):
    """Calls of root that make a node of this kind."""
    if kind == "none":
        return []
    if kind == "symlink":
        calls = [("symlink", "target", path)]
    elif kind == "dir":
        calls = [("mkdir", path, 0o755)]
    else:
        number = {"file": stat.S_IFREG, "fifo": stat.S_IFIFO, "block": stat.S_IFBLK, "char": stat.S_IFCHR, "socket": stat.S_IFSOCK}[kind]
        calls = [("mknod", path, number | 0o644, os.makedev(1, 3))]
    if owner != ROOT or group is not None:
        calls.append(("chown", path, owner, owner if group is None else group, False))
    if kind != "symlink" and mode != (0o755 if kind == "dir" else 0o644):
        calls.append(("chmod", path, mode))
    return calls


class Topics:
    """Each method yields cases (calls of root before, identity, call, paths to look at); {} in paths is the case's folder."""

    def chmod(self):
        for kind, owner, who, mode in itertools.product(KINDS, (ALICE, BOB), (ROOT, ALICE), MODES):
            for group in (ALICE, TEAM, BOB):
                yield make(kind, "{}/n", owner, group), who, ("chmod", "{}/n", mode), ["{}/n"]

    def chown(self):
        for kind, mode, who, follow in itertools.product(KINDS, (0o644, 0o6755, 0o6644, 0o2755), (ROOT, ALICE, BOB), (True, False)):
            for uid, gid in ((ALICE, -1), (-1, ALICE), (-1, TEAM), (BOB, -1), (-1, BOB), (BOB, BOB), (ALICE, ALICE), (ALICE, TEAM), (ROOT, ROOT)):
                yield make(kind, "{}/n", ALICE, ALICE, mode), who, ("chown", "{}/n", uid, gid, follow), ["{}/n"]

    def link(self):
        for kind, owner, who in itertools.product(KINDS, (ALICE, BOB), (ROOT, ALICE)):
            yield make(kind, "{}/n", owner), who, ("link", "{}/n", "{}/m", False), ["{}/n", "{}/m", "{}"]
            for there in KINDS:
                yield make(kind, "{}/n", owner) + make(there, "{}/m", owner), who, ("link", "{}/n", "{}/m", False), ["{}/n", "{}/m", "{}"]
            for mode, parent in itertools.product((0o555, 0o755, 0o777, 0o666), (ALICE, BOB)):
                yield (make(kind, "{}/n", owner) + make("dir", "{}/d", parent, mode=mode), who, ("link", "{}/n", "{}/d/m", False),
                       ["{}/n", "{}/d"])

    def remove(self):
        for call, kind in itertools.product(("unlink", "rmdir"), KINDS):
            for parent, owner, who, mode in itertools.product((ROOT, ALICE, BOB), (ROOT, ALICE, BOB), (ROOT, ALICE), (0o777, 0o1777, 0o755, 0o555, 0o666)):
                yield make("dir", "{}/d", parent, mode=mode) + make(kind, "{}/d/n", owner), who, (call, "{}/d/n"), ["{}/d", "{}/d/n"]
            if kind not in ("dir",):
                yield make(kind, "{}/n") + [("link", "{}/n", "{}/m", False)], ROOT, (call, "{}/n"), ["{}", "{}/m", "{}/n"]
            for end in ("/", "/.", "/..", "//"):
                yield make(kind, "{}/n"), ROOT, (call, "{}/n" + end), ["{}", "{}/n"]

    def rename(self):
        for source, target in itertools.product(KINDS, ["none"] + KINDS):
            for flags in range(9):
                yield make(source, "{}/n") + make(target, "{}/m"), ROOT, ("rename", "{}/n", "{}/m", flags), ["{}", "{}/n", "{}/m"]
            for end in ("/", "/."):
                yield make(source, "{}/n") + make(target, "{}/m"), ROOT, ("rename", "{}/n" + end, "{}/m", 0), ["{}", "{}/n", "{}/m"]
                yield make(source, "{}/n") + make(target, "{}/m"), ROOT, ("rename", "{}/n", "{}/m" + end, 0), ["{}", "{}/n", "{}/m"]
        users = (ALICE, BOB)
        for source, target in itertools.product(KINDS, ("none", "file", "dir", "symlink")):
            for from_owner, owner, to_owner, other, sticky in itertools.product(users, users, users, users, (0, 1, 2, 3)):
                if target == "none" and other == BOB:
                    continue
                yield (make("dir", "{}/d", from_owner, mode=0o1777 if sticky & 1 else 0o777) + make(source, "{}/d/n", owner) +
                       make("dir", "{}/e", to_owner, mode=0o1777 if sticky & 2 else 0o777) + make(target, "{}/e/m", other),
                       ALICE, ("rename", "{}/d/n", "{}/e/m", 0), ["{}/d", "{}/e", "{}/d/n", "{}/e/m"])
        for source, mode, to_mode in itertools.product(("file", "dir"), (0o777, 0o555, 0o666), (0o777, 0o555, 0o666)):
            for owner, who in itertools.product((ALICE, BOB), (ROOT, ALICE)):
                yield (make("dir", "{}/d", ALICE, mode=0o777) + make(source, "{}/d/n", owner, mode=0o555) + make("dir", "{}/e", ALICE) +
                       [("chmod", "{}/d", mode), ("chmod", "{}/e", to_mode)],
                       who, ("rename", "{}/d/n", "{}/e/m", 0), ["{}/d", "{}/e", "{}/e/m"])

    def create(self):
        calls = [("mkdir", "{}/d/n"), ("mknod", "{}/d/n", stat.S_IFIFO), ("mknod", "{}/d/n", stat.S_IFREG), ("mknod", "{}/d/n", stat.S_IFSOCK),
                 ("mknod", "{}/d/n", stat.S_IFCHR), ("open", 0, "{}/d/n", os.O_CREAT | os.O_WRONLY | os.O_NONBLOCK),
                 ("symlink", "{}/d/n")]

        def complete(call, mode):
            if call[0] == "mknod":
                return call[0], call[1], call[2] | mode, os.makedev(1, 3)
            return ("symlink", "target", call[1]) if call[0] == "symlink" else (*call, mode)

        for call, mode, parent_mode in itertools.product(calls, MODES, (0o777, 0o2777, 0o755, 0o666, 0o1777, 0o2775)):
            for parent, group, who in ((ROOT, ROOT, ALICE), (ALICE, TEAM, ALICE), (BOB, TEAM, ALICE), (ALICE, BOB, ALICE), (BOB, BOB, ROOT)):
                yield make("dir", "{}/d", parent, group, parent_mode), who, complete(call, mode), ["{}/d", "{}/d/n"]
        for call, kind, end in itertools.product(calls, ["none"] + KINDS, ("", "/", "/.", "/..")):
            yield make("dir", "{}/d") + make(kind, "{}/d/n"), ROOT, tuple(
                a + end if a == "{}/d/n" else a for a in complete(call, 0o644)), ["{}/d", "{}/d/n"]

    def open(self):
        extras = [os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_DIRECTORY, os.O_NOFOLLOW, os.O_PATH]
        kinds = [k for k in KINDS if k != "block"]  # the device behind the number differs
        for kind, access in itertools.product(kinds + ["none"], (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)):
            for chosen in itertools.chain.from_iterable(itertools.combinations(extras, n) for n in range(4)):
                flags = os.O_NONBLOCK | access | sum(chosen)
                yield make(kind, "{}/n"), ROOT, ("open", 0, "{}/n", flags, 0o600), ["{}", "{}/n"]
            for owner, mode, more in itertools.product((ALICE, BOB), (0o000, 0o400, 0o200, 0o600, 0o044, 0o066, 0o111), (0, os.O_TRUNC, os.O_CREAT, os.O_NOATIME)):
                yield (make(kind, "{}/n", owner, mode=mode), ALICE, ("open", 0, "{}/n", os.O_NONBLOCK | access | more, 0o600),
                       ["{}/n"])

    def truncate(self):
        for kind, owner, mode, size in itertools.product(KINDS, (ALICE, BOB), (0o644, 0o200, 0o466, 0o444, 0o6777), (1, 5000, -1)):
            yield make(kind, "{}/n", owner, mode=mode), ALICE, ("truncate", "{}/n", size), ["{}/n"]

    def utimens(self):
        times = [(0, NOW), (0, OMIT), (1_500_000_000, 1), (0, 1_000_000_000), (-5, 999_999_999)]
        for kind, owner, mode in itertools.product(KINDS, (ALICE, BOB), (0o644, 0o666, 0o444)):
            for atime, mtime, follow in itertools.product(times, times, (True, False)):
                yield make(kind, "{}/n", owner, mode=mode), ALICE, ("utimens", "{}/n", atime, mtime, follow), ["{}/n"]

    def access(self):
        for kind, owner, mode, who, mask in itertools.product(KINDS, (ALICE, BOB), (0o000, 0o421, 0o124, 0o700, 0o070, 0o007), (ROOT, ALICE), range(8)):
            yield make(kind, "{}/n", owner, TEAM, mode), who, ("access", "{}/n", mask), []

    def xattrs(self):
        for kind, owner, who, mode in itertools.product(KINDS, (ALICE, BOB), (ROOT, ALICE), (0o000, 0o604, 0o602, 0o777, 0o1777)):
            for name in ("user.a", "trusted.a", "security.a"):
                there = [] if kind not in ("file", "dir") and name == "user.a" else [("setxattr", "{}/n", name, b"old", 0, False)]
                for call in (("setxattr", "{}/n", name, b"new", 0, False), ("getxattr", "{}/n", name), ("removexattr", "{}/n", name),
                             ("listxattr", "{}/n", False)):
                    yield make(kind, "{}/n", owner, mode=mode) + there, who, call, ["{}/n"]
            yield make(kind, "{}/n", owner, mode=mode), who, ("removexattr", "{}/n", "user.none"), ["{}/n"]

    def paths(self):
        """What is wrong with a path, for every call that takes one."""
        room = 4095 - len("0000/")  # the longest path, without the case's folder
        long = "/".join(["x" * 250] * 17)
        bad = ["{}/" + "n" * 255, "{}/" + "n" * 256, "{}/none/n", "{}/loop/n", "{}/loop", "{}/" + "d/../" * 700 + "n", "{}/./n", "", "{}/" + long[:room],
               "{}/" + long[:room + 1], "{}/" + "./" * ((room - 1) // 2) + "n", "{}/" + "./" * ((room + 1) // 2) + "n"]
        bad += [f"{{}}/{kind}/n" for kind in KINDS if kind != "dir"] + [f"{{}}/{kind}/" for kind in KINDS] + ["{}/closed/n", "{}/unsearchable/n", "{}/unwritable/new"]
        setup = [call for kind in KINDS for call in make(kind, f"{{}}/{kind}")]
        setup += [("symlink", "loop", "{}/loop"), ("mkdir", "{}/d", 0o755), ("mknod", "{}/good", stat.S_IFREG | 0o666, 0)]
        for name, mode in (("closed", 0o000), ("unsearchable", 0o666), ("unwritable", 0o555)):
            setup += [("mkdir", f"{{}}/{name}", 0o755), ("mknod", f"{{}}/{name}/n", stat.S_IFREG | 0o666, 0), ("chmod", f"{{}}/{name}", mode)]
        for who in (ROOT, ALICE):
            for p in bad:
                for call in (("open", 0, p, os.O_RDONLY | os.O_NONBLOCK, 0), ("open", 0, p, os.O_CREAT | os.O_WRONLY | os.O_NONBLOCK, 0o644),
                             ("mkdir", p, 0o755), ("mknod", p, stat.S_IFIFO | 0o644, 0), ("mknod", p, stat.S_IFREG | 0o644, 0), ("symlink", "t", p),
                             ("link", p, "{}/other", False), ("link", "{}/good", p, False), ("rename", p, "{}/other", 0), ("rename", "{}/good", p, 0),
                             ("unlink", p), ("rmdir", p), ("chmod", p, 0o600), ("chown", p, -1, TEAM, True), ("chown", p, -1, TEAM, False),
                             ("utimens", p, (1, 1), (1, 1), True), ("truncate", p, 100), ("stat", p, True), ("stat", p, False), ("readlink", p),
                             ("access", p, 4), ("readdir", p)):
                    yield setup, who, call, []
        for size in (0, 1, 4094, 4095, 4096):
            yield [], ROOT, ("symlink", "t" * size, "{}/s"), ["{}/s"]

    def suid(self):
        """Bits that go when others write or truncate."""
        for mode, owner, who in itertools.product((0o6777, 0o4777, 0o2777, 0o6766, 0o1777), (ALICE, BOB), (ROOT, ALICE)):
            for what in (("append", "{}/n", b"x"), ("append", "{}/n", b""), ("truncate", "{}/n", 10)):
                yield make("file", "{}/n", owner, mode=mode), who, what, ["{}/n"]


def put(folder, thing):
    return thing.replace("{}", folder) if isinstance(thing, str) else thing


def placed(folder, call):
    return tuple(put(folder, a) for a in call)


class Side:
    def __init__(self, top, identities=IDENTITIES, there=None):
        """The actors but the first, who is root, see the folder below `there`."""
        self.top = os.path.join(top, "matrix")
        os.mkdir(self.top)
        os.chmod(self.top, 0o777)
        theirs = os.path.join(there or top, "matrix")
        self.actors = [Actor(theirs if number else self.top, *identity) for number, identity in enumerate(identities)]

    def clear(self):
        for name in os.listdir(self.top):
            shutil.rmtree(os.path.join(self.top, name))

    def end(self):
        for actor in self.actors:
            actor.end()
        shutil.rmtree(self.top)


def together(sides, actor, *call):
    for side in sides:
        side.actors[actor].send(*call)
    return [side.actors[actor].receive() for side in sides]


def kernel_decides(case, ours, theirs):
    """A kernel that does not check permissions opens what is no file by itself, and refuses some calls before it asks: where a
    call is wrong in two ways it tells the other one."""
    setup, _, call, _ = case
    special = any(c[0] == "mknod" and not stat.S_ISREG(c[2]) for c in setup)
    if call[0] == "open" and special:
        return theirs == ("error", "EACCES")
    if ours[0] == theirs[0] == "error":
        return (ours[1] in ("ENOTDIR", "EISDIR") and theirs[1] in ("EACCES", "EPERM") or
                ours[1] == "EPERM" and theirs[1] == "EACCES" and
                (call[0] in ("link", "mknod") or call[0] == "open" and call[3] & os.O_NOATIME != 0))
    return False


def kernel_knows(case, ours, theirs):
    """What of a user that the mount takes for another one the kernel decides by who it really is."""
    setup, _, call, _ = case
    other = any(c[0] == "mknod" and not stat.S_ISREG(c[2]) for c in setup) or setup[0][0] == "symlink"
    return call[0] == "open" and call[3] & os.O_NOATIME != 0 or call[0] == "link" and other and "EPERM" in (ours[1], theirs[1])


def run_batch(sides, cases, excuses):
    """Differences, as texts."""
    calls = []
    for number, (setup, who, call, look) in enumerate(cases):
        folder = f"{number:04}"
        calls += [("mkdir", folder, 0o755), ("chmod", folder, 0o777), *(placed(folder, c) for c in setup)]
    for reply, other in zip(*(r[1] for r in together(sides, 0, "many", calls))):
        assert reply == other and reply[0] == "ok", (reply, other)
    looks = [[put(f"{n:04}", p) for p in case[3]] for n, case in enumerate(cases)]
    before = together(sides, 0, "many", [("times", paths, []) for paths in looks])
    time.sleep(TICK)
    results = [None] * len(cases)
    for actor in {WHO[case[1]] for case in cases}:
        mine = [n for n, case in enumerate(cases) if WHO[case[1]] == actor]
        ours, theirs = together(sides, actor, "many", [placed(f"{n:04}", cases[n][2]) for n in mine])
        for n, o, t in zip(mine, ours[1], theirs[1]):
            results[n] = (o, t)
    after = together(sides, 0, "many", [("times", paths, []) for paths in looks])
    stats = together(sides, 0, "many", [("stats", paths) for paths in looks])
    found = []
    for n, case in enumerate(cases):
        if results[n][0] != results[n][1] and any(excuse(case, *results[n]) for excuse in excuses):
            continue
        for what, (o, t) in (("result", results[n]), ("inodes", [s[1][n][1] for s in stats]),
                             ("times moved", [moved(b[1][n][1], a[1][n][1]) for b, a in zip(before, after)])):
            if o != t:
                found.append(f"{case[0]} then {case[1]}: {case[2]!r:.300}: {what}\n  ours   {o!r:.300}\n  theirs {t!r:.300}")
                break
    return found


def moved(before, after):
    return [None if not b or not a or b[0] != a[0] else tuple(x != y for x, y in zip(b[1:], a[1:])) for b, a in zip(before, after)]


def compare(sides, name, cases, excuses):
    count, bad, shown = 0, 0, []
    while batch := list(itertools.islice(cases, BATCH)):
        differences = run_batch(sides, batch, excuses)
        count, bad = count + len(batch), bad + len(differences)
        shown += differences[:max(0, 12 - len(shown))]
        for side in sides:
            side.clear()
    print(f"{name:9} {count:6} cases, {bad} differ", flush=True)
    for text in shown:
        print(" ", text)
    return count, bad


def plain_user(volume):
    """A mount by somebody who is not root, for everybody."""
    user = pwd.getpwnam("nobody")
    for folder, names, files in os.walk(volume.folder):
        for name in [".", *names, *files]:
            os.chown(os.path.join(folder, name), user.pw_uid, user.pw_gid)
    binary = shutil.copy(zest.ZESTFS, f"{volume.folder}/zestfs")
    conf = "/etc/fuse.conf"
    before = open(conf).read() if os.path.exists(conf) else None
    with open(conf, "a") as file:
        file.write("\nuser_allow_other\n")

    def restore():
        if before is None:
            os.unlink(conf)
        else:
            with open(conf, "w") as file:
                file.write(before)

    zest.on_exit(restore)
    mode = os.stat("/dev/fuse").st_mode & 0o777
    os.chmod("/dev/fuse", 0o666)
    zest.on_exit(os.chmod, "/dev/fuse", mode)
    point = f"{volume.folder}/user"
    zest.on_exit(lambda: subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL))
    zest.run("setpriv", "--reuid", "nobody", "--regid", str(user.pw_gid), "--clear-groups", "env", f"HOME={volume.folder}", binary, "mount",
             "-d", volume.meta, point, "--enable-xattr", "--enable-whiteout", "-o", "allow_other", "--cache-dir", f"{volume.folder}/cache", env={"JFS_MOUNT_TIMEOUT": str(zest.PATIENCE)})
    return point


FRESH = [word for cache in ("attr", "entry", "dir-entry") for word in (f"--{cache}-cache", "0s")]


def squashed(volume, point, model, who):
    """Our side of the users is a second mount."""
    second = volume.mount("--enable-xattr", "--enable-whiteout", "-o", "dev,suid", f"--{who}-squash", f"{ALICE}:{ALICE}", *FRESH, where="squashed")
    other = (ROOT, 0, [0]) if who == "root" else (BOB, BOB, [BOB])
    return [Side(point, [IDENTITIES[0], other], second.point), Side(model, [IDENTITIES[0], (ALICE, ALICE, [ALICE])])]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--acl", action="store_true")
    parser.add_argument("--user", action="store_true")
    parser.add_argument("--unchecked", action="store_true")
    parser.add_argument("--squash", choices=["all", "root"])
    parser.add_argument("--trash", type=int, default=0)
    parser.add_argument("--only")
    options = parser.parse_args()
    volume = zest.Volume("--trash-days", options.trash, *(["--enable-acl"] if options.acl else []))
    more = ["--non-default-permission"] if options.unchecked else FRESH if options.squash else []
    mount = None if options.user else volume.mount("--enable-xattr", "--enable-whiteout", "-o", "dev,suid", *more)
    point = plain_user(volume) if options.user else mount.point
    model = zest.temp_dir("model")
    flags = "nosuid,nodev," if options.user else ""
    zest.run("mount", "-t", "tmpfs", "-o", f"{flags}noatime,size=1g,mode=755", "model", model)
    zest.on_exit(lambda: subprocess.run(["umount", "-l", model], stderr=subprocess.DEVNULL))
    if options.user:  # its root belongs to root, mode 0777
        os.mkdir(f"{point}/top")
        point = f"{point}/top"
    sides = squashed(volume, point, model, options.squash) if options.squash else [Side(point), Side(model)]
    cases = differences = 0
    topics = [options.only] if options.only else [n for n in dir(Topics) if not n.startswith("_")]
    excuses = [kernel_decides] if options.unchecked or options.squash else []
    if options.squash:
        excuses.append(kernel_knows)
    if options.squash == "root":  # to the kernel it is root, who may all and whose writes leave the set-id bits alone
        topics = [n for n in topics if n not in ("access", "suid", "truncate")]
    for name in topics:
        found = getattr(Topics(), name)()
        if options.squash:
            found = (case for case in found if case[1] == ALICE)
        count, bad = compare(sides, name, found, excuses)
        cases, differences = cases + count, differences + bad
    for side in sides:
        side.end()
    if mount:
        mount.umount()
        zest.zestfs("fsck", volume.meta)
    print(f"{cases} cases, {differences} differences")
    sys.exit(1 if differences else 0)


main()
