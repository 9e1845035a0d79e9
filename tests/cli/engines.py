#!/usr/bin/env python3
"""Every command on a volume that the golden tool filled, on one engine. engines.py ENGINE [CASE...]: sqlite, redis, postgres, mariadb"""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

ENGINE = sys.argv.pop(1)
GOLDEN_TOOL = zest.GOLDEN / "golden.py"


class Filled:
    """A volume of this engine with the golden tree, mounted once for all cases."""
    _one = None

    def __init__(self):
        start = {"sqlite": None, "redis": zest.redis_server, "postgres": zest.postgres_server, "mariadb": zest.mariadb_server}[ENGINE]
        self.volume = zest.Volume(meta=start()[0] if start else None)
        zest.zestfs("config", self.volume.meta, "--enable-acl")
        self.mount = self.volume.mount("--enable-xattr")
        self.top = self.mount.path("tree")
        os.mkdir(self.top)
        made = zest.run(sys.executable, GOLDEN_TOOL, "populate", self.top, "--size", "lite")
        self.manifest = os.path.join(self.volume.folder, "manifest.json")
        open(self.manifest, "w").write(made.stdout)

    @classmethod
    def get(cls):
        cls._one = cls._one or cls()
        return cls._one

    def verify(self, point=None):
        zest.run(sys.executable, GOLDEN_TOOL, "verify", point or self.top, self.manifest)


def looking():
    filled = Filled.get()
    meta, top = filled.volume.meta, filled.top
    def ask():
        return json.loads(zest.zestfs("status", "--more", meta).stdout)
    zest.wait_until(lambda: ask()["Stat"]["UsedInodes"] > 10, "the mount has written its counters")
    status = ask()
    assert len(status["Sessions"]) == 1, status
    sid = status["Sessions"][0]["Sid"]
    assert json.loads(zest.zestfs("status", "-s", sid, meta).stdout)["Sid"] == sid
    inodes = len({os.lstat(os.path.join(d, n)).st_ino for d, a, b in os.walk(os.fsencode(top)) for n in a + b}) + 1
    for strict in ([], ["--strict"]):
        info = json.loads(zest.zestfs("info", "-r", "--json", *strict, top).stdout)["Summary"]
        tree = json.loads(zest.zestfs("summary", "--json", *strict, top).stdout)
        assert info["Files"] + info["Dirs"] >= inodes and tree["Files"] == info["Files"], (info, tree, inodes)
    profile = json.loads(zest.zestfs("top", "--json", "--interval", "1", "-c", "1", filled.mount.point).stdout)
    assert set(profile) >= {"rates", "operations", "files", "slowest"}, profile
    lines = zest.zestfs("stats", "-c", "1", filled.mount.point).stdout.splitlines()
    assert len(lines) == 3 and "blockcache" in lines[0], lines
    out = os.path.join(filled.volume.folder, "debug")
    zest.zestfs("debug", "--out-dir", out, "--stats-sec", "1", "--trace-sec", "1", "--profile-sec", "1", filled.mount.point)
    assert any(name.endswith(".zip") for name in os.listdir(out)), os.listdir(out)


def why_a_file_is_slow():
    filled = Filled.get()
    path = filled.mount.path("many")
    with open(path, "wb", buffering=0) as file:
        for _ in range(4):  # few enough that nobody compacts them in the background
            file.write(os.urandom(10_000))
            os.fsync(file.fileno())
    why = json.loads(zest.zestfs("why", "--json", path).stdout)
    assert (why["length"], why["stored"]["slices"], why["stored"]["objects"]) == (40_000, 4, 4), why
    assert why["cached"]["of"] == 40_000 and why["read"]["bytes"] == 40_000, why
    zest.zestfs("warmup", "--evict", path)
    why = json.loads(zest.zestfs("why", "--json", path).stdout)
    assert why["cached"]["bytes"] == 0 and why["read"]["objectBytes"] >= 40_000, why
    zest.zestfs("compact", path)
    why = json.loads(zest.zestfs("why", "--json", "--read-size", "0", path).stdout)
    assert why["stored"]["slices"] == 1 and "read" not in why, why
    os.unlink(path)
    for bad in (filled.top, filled.mount.path("none"), filled.volume.folder + "/manifest.json"):
        assert zest.zestfs("why", bad, check=False).returncode == 1, bad


def changing():
    filled = Filled.get()
    top, copy = filled.top, filled.mount.path("copy")
    zest.zestfs("clone", "--preserve", top, copy)
    zest.run("diff", "-r", "--no-dereference", "--exclude=special", top, copy)  # special: pipes, devices
    zest.zestfs("warmup", top)
    assert "(100.0%) cached" in zest.zestfs("warmup", "--check", top).stderr
    zest.zestfs("compact", copy)
    zest.zestfs("rmr", copy)
    assert not os.path.exists(copy)
    zest.zestfs("quota", "set", filled.volume.meta, "--path", "/tree", "--inodes", "1000000")
    zest.zestfs("quota", "check", filled.volume.meta, "--path", "/tree", "--strict")
    zest.zestfs("quota", "delete", filled.volume.meta, "--path", "/tree")


def checking():
    filled = Filled.get()
    meta = filled.volume.meta
    zest.zestfs("fsck", meta)
    zest.zestfs("fsck", meta, "--path", "/tree", "-r", "--sync-dir-stat")
    out = zest.zestfs("gc", meta, env={"JFS_GC_SKIPPEDTIME": "0"}).stderr
    assert re.search(r"scanned \d+ objects, \d+ valid, .* 0 leaked", out), out
    zest.zestfs("gc", "--compact", "--delete", meta, env={"JFS_GC_SKIPPEDTIME": "0"})


def backing_up():
    filled = Filled.get()
    folder, meta = filled.volume.folder, filled.volume.meta
    for kind in ([], ["--binary"]):
        for threads in ("1", "10"):
            file = f"{folder}/dump{len(kind)}{threads}"
            zest.zestfs("dump", *kind, "--threads", threads, meta, file)
            assert os.path.getsize(file) > 1000
        copy = f"sqlite3://{folder}/copy{len(kind)}.db"
        zest.zestfs("load", *kind, copy, f"{folder}/dump{len(kind)}10")
        again = f"{folder}/again{len(kind)}"
        zest.zestfs("dump", copy, again)
        ours, theirs = (json.load(open(file))["FSTree"] for file in (f"{folder}/dump010", again))
        assert ours == theirs, "what was loaded is what was dumped"
        assert zest.zestfs("load", *kind, copy, f"{folder}/dump{len(kind)}10", check=False).returncode == 1, "in use"
    assert open(f"{folder}/dump01").read() == open(f"{folder}/dump010").read()
    mount = zest.Mount(copy, f"{folder}/copy", "--enable-xattr", "--cache-dir", f"{folder}/cache-copy")
    filled.verify(mount.path("tree"))
    mount.umount()
    subdir = json.loads(zest.zestfs("dump", "--subdir", "/tree", meta).stdout)
    assert "Trash" not in subdir and subdir["FSTree"]["attr"]["type"] == "directory"


def tiers():
    filled = Filled.get()
    meta = filled.volume.meta
    assert "| tier | storageClass | tag |" in zest.zestfs("tier", "list", meta).stdout
    assert "not defined" in zest.zestfs("tier", "set", meta, "/tree", "--tier", "1", check=False).stderr
    assert "missing required flag: --tier" in zest.zestfs("tier", "set", meta, "/tree", check=False).stderr
    text = zest.zestfs("config", meta, "--tier", "1", "--storage-class", "IA", "--tag", "a=b").stdout
    assert "set tier 1 storage-class: IA" in text and "min-client-version: 1.2.0-A -> 1.4.0-A" in text, text
    assert json.loads(zest.zestfs("tier", "list", "--json", meta).stdout)[1] == {"tier": 1, "storageClass": "IA", "tag": "a=b"}
    done = zest.zestfs("tier", "set", meta, "/tree", "--tier", "1", "-r")
    assert "not supported" in done.stderr and 'set storage tier of "/tree" from 0(' in done.stderr, done.stderr
    dump = json.loads(zest.zestfs("dump", "--subdir", "/tree", meta).stdout)
    assert dump["FSTree"]["attr"].get("tier") == 1, dump["FSTree"]["attr"]
    refused = zest.zestfs("tier", "restore", meta, "/tree", "-r", check=False)
    assert refused.returncode == 1 and "not supported" in refused.stderr, refused.stderr
    assert zest.zestfs("tier", "nonsense", meta, check=False).returncode == 3


def restoring_and_ending():
    """Last: it unmounts."""
    filled = Filled.get()
    meta = filled.volume.meta
    os.makedirs(filled.mount.path("gone/sub"))
    open(filled.mount.path("gone/sub/file"), "w").write("back")
    zest.zestfs("rmr", filled.mount.path("gone"))
    hours = os.listdir(filled.mount.path(".trash"))
    zest.zestfs("restore", "--put-back", meta, *hours)
    assert open(filled.mount.path("gone/sub/file")).read() == "back"
    filled.mount.umount()
    measured = json.loads(zest.zestfs("mdtest", "--json", "--threads", "3", "--write", "10", "--access-log", f"{filled.volume.folder}/log",
                                      meta, "/md").stdout)
    assert (measured["dirs"]["count"], measured["files"]["count"]) == (13, 130), measured
    log = open(f"{filled.volume.folder}/log").read()
    assert len(re.findall(r" Create \(/md/.*,666\): OK <\d\.\d{6}>\n", log)) == 130 and log.count("Pwrite (") == 130
    zest.zestfs("fsck", meta)
    zest.zestfs("fsck", meta, "--path", "/", "-r", "--sync-dir-stat")
    uuid = json.loads(zest.zestfs("status", meta).stdout)["Setting"]["UUID"]
    zest.zestfs("destroy", "--yes", meta, uuid)
    assert zest.zestfs("status", meta, check=False).returncode == 1


zest.main([looking, why_a_file_is_slow, changing, checking, backing_up, tiers, restoring_and_ending])
