#!/usr/bin/env python3
"""fsck and gc interrupted in the middle: --resume goes on there, finds what a whole run finds, and asks the storage for hardly
anything twice. The storage is an S3 server of this test's own that counts, and stands still when told.  resume.py [CASE...]"""
import json
import os
import signal
import stat
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import s3stub
import zest
from s3stub import PAGE

FILES, DIRS = 1000, 21
SLACK = 30  # requests of threads that were at work when the signal came


def env():
    return dict(os.environ, JFS_GC_SKIPPEDTIME="0")


class Scan:
    """A volume on such a store with damage of both kinds, and a command that scans it."""

    def __init__(self, *command):
        self.store = s3stub.Store()
        self.volume = zest.Volume("--trash-days", "0", storage=self.store.storage())
        self.state = f"{self.volume.folder}/state"
        self.command = [zest.ZESTFS, *command, "--state-dir", self.state, "--json", self.volume.meta]
        zest.zestfs("mdtest", "--dirs", "4", "--depth", "2", "--files", FILES // DIRS, "--write", "10", "--threads", "4", self.volume.meta,
                    "/d", "--cache-dir", f"{self.volume.folder}/cache")
        blocks = sorted(key for key in self.store.objects if "/chunks/" in key)
        self.damage(blocks)
        self.blocks = [key for key in self.store.objects if "/chunks/" in key]
        self.store.forget()
        self.whole = self.run()
        self.asked = (self.store.listed, self.store.heads)
        self.store.forget()

    def damage(self, blocks):
        for at in (20, len(blocks) // 2, len(blocks) - 20):
            del self.store.objects[blocks[at]]
            self.store.objects[blocks[at].replace("_0_10", "_7_10")] = b"leaked...."
        zest.run("sqlite3", f"{self.volume.folder}/meta.db",
                 "update jfs_node set nlink = nlink + 3 where inode in (select inode from jfs_edge where type = 2 order by inode limit 3)")

    def start(self, *options):
        return subprocess.Popen([*self.command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env())

    def run(self, *options):
        """What was found, without how much was looked at; and the log."""
        process = self.start(*options)
        out, self.log = process.communicate(timeout=zest.PATIENCE)
        assert process.returncode in (0, 1), (process.returncode, self.log)
        found = json.loads(out)
        for name in ("checkedDirs", "checkedBlocks"):
            found.pop(name, None)
        for problem in (problems := found.get("problems", [])):
            problem["what"] = problem["what"].replace("9999", "")
        problems.sort(key=lambda problem: problem["path"])
        return found

    def interrupt(self, kind, count, *options, with_signal=signal.SIGINT):
        """Stops it while it waits for the answer to a request; gives how much it had asked for."""
        self.store.hold(kind, count)
        process = self.start(*options)
        assert self.store.held.wait(zest.PATIENCE), process.communicate(timeout=5)
        process.send_signal(with_signal)
        self.store.free.set()
        _, self.log = process.communicate(timeout=zest.PATIENCE)
        assert process.returncode == (-9 if with_signal == signal.SIGKILL else 128 + with_signal), (process.returncode, self.log)
        asked = (self.store.listed, self.store.heads)
        self.store.forget()
        return asked

    def file(self):
        names = os.listdir(self.state)
        assert len(names) == 1, names
        return f"{self.state}/{names[0]}"


def fsck_lists_on():
    scan = Scan("fsck")
    assert scan.whole["lostBlocks"] == 3 and scan.asked[0] == len(scan.blocks)
    first, _ = scan.interrupt("listed", scan.asked[0] // 3)
    assert "--resume" in scan.log and first < scan.asked[0] / 2
    assert stat.S_IMODE(os.stat(scan.state).st_mode) == 0o700 and stat.S_IMODE(os.stat(scan.file()).st_mode) == 0o600
    second, _ = scan.interrupt("listed", scan.asked[0] // 3, "--resume", with_signal=signal.SIGTERM)
    assert scan.run("--resume") == scan.whole
    assert first + second + scan.store.listed <= scan.asked[0] + 2 * PAGE, (first, second, scan.store.listed)
    assert not os.listdir(scan.state), "nothing stays of what came to its end"

    # Interrupted behind the listing: nothing is listed again.
    scan.interrupt("heads", 2)
    assert scan.run("--resume") == scan.whole and scan.store.listed == 0


def fsck_of_a_path_goes_on():
    scan = Scan("fsck", "--path", "/", "-r")
    assert scan.whole["lostBlocks"] == 3 and len(scan.whole["problems"]) == 3 and scan.asked[1] == len(scan.blocks)
    _, first = scan.interrupt("heads", scan.asked[1] // 3)
    assert "--resume" in scan.log
    _, second = scan.interrupt("heads", scan.asked[1] // 3, "--resume")
    assert scan.run("--resume") == scan.whole
    assert first + second + scan.store.heads <= scan.asked[1] + 2 * SLACK, (first, second, scan.store.heads)
    assert not os.listdir(scan.state)


def gc_goes_on():
    scan = Scan("gc")
    assert scan.whole["leaked"] == {"count": 3, "bytes": 30}
    first, _ = scan.interrupt("listed", scan.asked[0] // 2)
    assert scan.run("--resume") == scan.whole
    assert first + scan.store.listed <= scan.asked[0] + PAGE

    # What was listed before is judged by the metadata of now: a file that is gone since leaves blocks behind.
    scan.interrupt("listed", scan.asked[0] - PAGE, "--delete")
    slices = [key.split("/")[-1].split("_")[0] for key in scan.blocks if key.endswith("_0_10")][10]
    zest.run("sqlite3", f"{scan.volume.folder}/meta.db", f"delete from jfs_chunk_ref where chunkid = {slices};"
             f"delete from jfs_chunk where hex(slices) like '00000000' || printf('%016X', {slices}) || '%'")
    deleted = scan.run("--resume", "--delete")
    assert deleted["leaked"] == {"count": 4, "bytes": 40}, deleted
    left = {key for key in scan.store.objects if "/chunks/" in key}
    assert left == {key for key in scan.blocks if key.endswith("_0_10") and f"/{slices}_0_10" not in key}
    assert scan.run()["leaked"]["count"] == 0


def what_cannot_be_gone_on_with():
    """Each starts over, says so, and finds what a whole run finds."""
    scan = Scan("fsck")

    def starts_over(reason):
        assert scan.run("--resume") == scan.whole and reason in scan.log and "starting over" in scan.log, scan.log
        assert scan.store.listed == scan.asked[0], "everything is listed"
        scan.store.forget()
    starts_over("no interrupted run is known")
    scan.interrupt("listed", scan.asked[0] // 2)
    os.utime(scan.file(), (1e9, 1e9))
    starts_over("older than a week")
    scan.interrupt("listed", scan.asked[0] // 2)
    text = open(scan.file()).read()
    open(scan.file(), "w").write(text.replace("scan 1", "scan 9", 1))
    starts_over("had other options")
    scan.interrupt("listed", scan.asked[0] // 2)
    assert scan.run() == scan.whole and scan.store.listed == scan.asked[0], "without --resume"

    # Half of a file is as good as its good lines.
    for damage in ("block 1 2", "nonsense\nblock 5 0 10 1\n", "\0" * 1000):
        scan.interrupt("listed", scan.asked[0] // 2)
        with open(scan.file(), "a") as file:
            file.write(damage)
        assert scan.run("--resume") == scan.whole and "damaged" in scan.log, (damage, scan.log)
        assert scan.store.listed < scan.asked[0] * 2 / 3
        scan.store.forget()

    scan.interrupt("listed", scan.asked[0] // 2, with_signal=signal.SIGKILL)
    assert scan.run("--resume") == scan.whole, "a crash loses no more than what it had not written"

    # Somebody else's link is not followed; a folder that cannot be made is no reason to fail.
    os.symlink(f"{scan.volume.folder}/elsewhere", f"{scan.state}/{os.path.basename(first_name(scan))}")
    assert scan.run() == scan.whole and not os.path.exists(f"{scan.volume.folder}/elsewhere")
    scan.command[scan.command.index(scan.state)] = "/proc/nowhere"
    scan.interrupt("listed", scan.asked[0] // 2)
    assert "cannot be resumed" in scan.log


def first_name(scan):
    scan.interrupt("listed", 1)
    name = scan.file()
    os.unlink(name)
    return name


def two_at_once():
    scan = Scan("fsck")
    scan.store.hold("listed", scan.asked[0] // 2)
    process = scan.start()
    assert scan.store.held.wait(zest.PATIENCE)
    scan.store.when = None
    assert scan.run("--resume") == scan.whole and "another scan of this volume is at work" in scan.log
    scan.store.free.set()
    out, log = process.communicate(timeout=zest.PATIENCE)
    assert json.loads(out) == scan.whole, log


zest.main([fsck_lists_on, fsck_of_a_path_goes_on, gc_goes_on, what_cannot_be_gone_on_with, two_at_once])
