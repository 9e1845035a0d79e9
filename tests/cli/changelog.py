#!/usr/bin/env python3
"""`zestfs changelog` beside a mount that works: switched on and off while it runs, followed, read from a version on, trimmed.

changelog.py [CASE...]
"""
import json
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest


class Follower:
    """A running `zestfs changelog`."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([zest.ZESTFS, "changelog", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, text):
        zest.wait_until(lambda: any(text in line for line in self.lines), f"{text} in {self.lines[-5:]}", 30)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(zest.PATIENCE)
        self.thread.join()
        assert code == 0, (code, self.process.stderr.read())
        return self.lines


def redis(vol, *command):
    address, db = vol.meta.removeprefix("redis://").split("/")
    return zest.run("redis-cli", "-p", address.split(":")[1], "-n", db, *command).stdout


def sqlite(vol, statement):
    return zest.run("sqlite3", "-cmd", ".timeout 10000", vol.meta.removeprefix("sqlite3://"), statement).stdout


def check(vol, forget):
    """forget(N): what trimming does to the first N lines."""
    mount = vol.mount("--heartbeat", "1")
    refused = zest.zestfs("changelog", vol.meta, check=False)
    assert refused.returncode == 1 and "keeps no change log" in refused.stderr, refused
    os.mkdir(mount.path("unseen"))
    zest.zestfs("config", vol.meta, "--changelog")
    follower = Follower(vol.meta)

    def heard():
        if not any("|RMDIR(" in line for line in follower.lines):
            os.mkdir(mount.path("probe"))
            os.rmdir(mount.path("probe"))
        return any("|RMDIR(" in line for line in follower.lines)
    zest.wait_until(heard, "the mount learns of the setting", 60)
    with open(mount.path("na,me"), "w") as file:
        file.write("x" * 100)
    os.rename(mount.path("na,me"), mount.path("other"))
    follower.wait_for("|MOVE(1,na%2Cme,1,other,0,0,")
    lines = follower.stop()
    assert not any("unseen" in line for line in lines), lines
    versions = [int(line.split(":")[0]) for line in lines]
    assert versions == list(range(versions[0], versions[0] + len(versions))), versions

    # from a version on, as JSON
    moved = next(line for line in lines if "|MOVE(" in line)
    version = int(moved.split(":")[0])
    follower = Follower("--json", "--from", str(version - 1), vol.meta)
    follower.wait_for("MOVE")
    entry = json.loads(follower.stop()[0])
    assert entry["version"] == version and entry["op"] == "MOVE" and entry["args"][1] == "na,me" and entry["session"] == 1, entry
    assert f"{entry['version']}: {entry['entry']}" == moved, entry

    forget(versions[2] - 1)
    refused = zest.zestfs("changelog", "--from", "1", vol.meta, check=False)
    assert refused.returncode == 1 and f"the oldest line is version {versions[2]} (" in refused.stderr, refused
    for after in (-1, versions[1]):
        follower = Follower("--from", str(after), vol.meta)
        follower.wait_for("MOVE")
        assert follower.stop()[:len(lines) - 2] == lines[2:]

    # nobody listens any more: the command ends
    quiet = subprocess.Popen(f"{zest.ZESTFS} changelog --from {versions[2]} {vol.meta} 2>/dev/null | head -1 >/dev/null", shell=True)
    zest.wait_until(lambda: os.mkdir(mount.path("more")) or os.rmdir(mount.path("more")) or quiet.poll() is not None, "it ends", 30)

    zest.zestfs("config", vol.meta, "--changelog=false")
    zest.wait_until(lambda: "\"ChangeLog\": true" not in open(mount.path(".config")).read(), "the mount learns of it", 60)
    os.mkdir(mount.path("after"))
    mount.umount()
    zest.zestfs("config", vol.meta, "--changelog")
    follower = Follower("--from", "-1", vol.meta)
    follower.wait_for("MOVE")
    assert not any("after" in line for line in follower.stop())


def on_redis():
    vol = zest.Volume("--trash-days", "0", meta=zest.redis_server()[0])
    check(vol, lambda count: redis(vol, "ltrim", "txnLog", str(count), "-1"))


def on_sqlite():
    vol = zest.Volume("--trash-days", "0")
    check(vol, lambda count: sqlite(vol, f"delete from jfs_change_log where id<={count}"))


def wrong_input():
    vol = zest.Volume()
    zest.zestfs("config", vol.meta, "--changelog")
    for arguments in (["--from", "x"], ["--from"], ["--until", "3"]):
        done = zest.zestfs("changelog", *arguments, vol.meta, check=False, timeout=60)
        assert done.returncode == 1 and not done.stdout.startswith("0"), (arguments, done)
    done = zest.zestfs("changelog", "sqlite3:///nowhere/meta.db", check=False)
    assert done.returncode == 1 and "not formatted" in done.stderr, done


zest.main([on_redis, on_sqlite, wrong_input])
