#!/usr/bin/env python3
"""Commands as an administrator uses them: messages, exit codes, and what they leave behind. cli.py [CASE...]"""
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import s3stub
import zest


def refused(*arguments, say, code=1, **options):
    """The command fails with this exit code and text; gives all it printed."""
    done = zest.zestfs(*arguments, check=False, **options)
    text = done.stdout + done.stderr
    assert done.returncode == code, (arguments, done.returncode, text)
    assert re.search(say, text), f"{arguments}: /{say}/ is not in:\n{text}"
    return text


def the_program():
    assert "COMMANDS" in zest.zestfs("--help").stdout and "COMMANDS" in zest.zestfs().stdout
    assert zest.zestfs("version").stdout.startswith("zestfs version ") and zest.zestfs("-V").stdout.startswith("zestfs version ")
    for command in re.findall(r"^     (\w+) ", zest.zestfs("--help").stdout, re.M):
        assert "   zestfs " + command + " " in zest.zestfs(command, "--help").stdout, command
    refused("nonsense", say="No help topic for 'nonsense'", code=3)
    refused("status", say="requires at least 1 arguments")
    refused("status", "a", "b", say=r"at most 1 arguments but got \[a b\]")
    refused("status", "--nonsense", "sqlite3:///x", say="unknown option: --nonsense")
    refused("quota", "nonsense", say="No help topic", code=3)


def formatting():
    folder = zest.temp_dir()
    meta, bucket = f"sqlite3://{folder}/meta.db", f"{folder}/data/"
    store = ["--storage", "file", "--bucket", bucket]
    for name in ("A", "ab", "-abc", "under_score", "x" * 64):
        refused("format", meta, name, *store, say="invalid name" if not name.startswith("-") else ".")
    refused("format", "nonsense://x", "vol", *store, say="nonsense")
    refused("format", meta, "vol", *store, "--compress", "rar", say="Unsupported compress algorithm: rar")
    refused("format", meta, "vol", *store, "--capacity", "10Z", say='Invalid value "10Z" for "capacity"')
    refused("format", meta, "vol", *store, "--shards", "300", say="too many shards")
    refused("format", meta, "vol", "--storage", "nonsense", "--bucket", bucket, say="nonsense")
    assert not os.path.exists(bucket), "nothing is touched by what is refused"
    zest.zestfs("format", meta, "vol", *store, "--capacity", "1", "--inodes", "100", "--trash-days", "3")
    setting = json.loads(zest.zestfs("config", meta).stdout)
    assert (setting["Capacity"], setting["Inodes"], setting["TrashDays"]) == (1 << 30, 100, 3), setting
    refused("format", meta, "other", *store, say="cannot update volume name")
    refused("format", meta, "vol", *store, "--block-size", "1M", say="block size")
    zest.zestfs("format", "--no-update", meta, "other", *store)
    zest.zestfs("format", meta, "vol", *store, "--trash-days", "5")
    again = json.loads(zest.zestfs("config", meta).stdout)
    assert again["TrashDays"] == 5 and again["UUID"] == setting["UUID"], again
    # the same bucket and name for another database: somebody's data lies there
    os.makedirs(f"{bucket}vol/chunks/0/0")
    open(f"{bucket}vol/chunks/0/0/1_0_4", "w").write("data")
    refused("format", f"sqlite3://{folder}/second.db", "vol", *store, say="is not empty")


def what_is_no_volume():
    folder = zest.temp_dir()
    for command in (["status"], ["config"], ["fsck"], ["gc"], ["dump"]):
        refused(*command, f"sqlite3://{folder}/none.db", say="format")
    refused("destroy", f"sqlite3://{folder}/none.db", "uuid", say="format")
    refused("mount", f"sqlite3://{folder}/none.db", f"{folder}/mnt", say="format")
    open(f"{folder}/text", "w").write("no database " * 100)
    refused("status", f"sqlite3://{folder}/text", say=".")
    volume = zest.Volume()
    refused("mount", volume.meta, "/", say="root directory")
    refused("umount", folder, say=".")


def configuration():
    volume = zest.Volume()
    meta = volume.meta
    assert "Nothing changed." in zest.zestfs("config", meta, "--trash-days", "1").stdout
    text = zest.zestfs("config", meta, "--capacity", "10", "--inodes", "100000", "--upload-limit", "100", "--trash-days", "7").stdout
    for line in ("  capacity: 0 B -> 10 GiB", "    inodes: 0 -> 100,000", "trash-days: 1 -> 7", "upload-limit: 0.0 Mbps -> 100.0 Mbps"):
        assert line in text, (line, text)
    refused("config", meta, "--trash-days", "0", say="Aborted", input="n\n")
    assert json.loads(zest.zestfs("config", meta).stdout)["TrashDays"] == 7
    zest.zestfs("config", meta, "--trash-days", "0", input="y\n")
    assert json.loads(zest.zestfs("config", meta).stdout)["TrashDays"] == 0
    zest.zestfs("config", meta, "--enable-acl")
    setting = json.loads(zest.zestfs("config", meta).stdout)
    assert setting["EnableACL"] and setting["MinClientVersion"] == "1.2.0-A", setting
    refused("changelog", meta, say="keeps no change log")
    text = zest.zestfs("config", meta, "--changelog").stdout
    assert "changelog: false -> true" in text and "changelog-max-age: 0s -> 2h0m0s (default)" in text, text
    refused("config", meta, "--changelog-max-lines", "-1", say="changelog-max-lines")
    refused("config", meta, "--changelog-max-age", "-1h", say="changelog-max-age")
    text = zest.zestfs("config", meta, "--changelog=false", "--changelog-max-lines", "5", "--changelog-max-age", "30m").stdout
    assert "changelog-max-age: 2h0m0s -> 30m0s" in text and "changelog-max-lines: 0 -> 5" in text, text
    setting = json.loads(zest.zestfs("config", meta).stdout)
    assert "ChangeLog" not in setting and setting["ChangeLogMaxLines"] == 5 and setting["ChangeLogMaxAge"] == 1800, setting
    refused("config", meta, "--enable-acl=false", say="cannot disable acl")
    refused("config", meta, "--min-client-version", "1.0.0", say="cannot lower")
    refused("config", meta, "--bucket", "/proc/nowhere/", say=".")


def secrets_stay_secret():
    volume = zest.Volume()
    secret = "Tops3cret-value"
    done = zest.zestfs("config", volume.meta, "--secret-key", secret, "--access-key", "who", "--force", check=False)
    texts = [done.stdout, done.stderr, zest.zestfs("config", volume.meta).stdout, zest.zestfs("status", volume.meta).stdout,
             zest.zestfs("dump", volume.meta).stdout]
    texts.append(open(f"{volume.folder}/meta.db", "rb").read().decode("latin1"))
    for url in (f"redis://user:{secret}@127.0.0.1:1/0", f"postgres://user:{secret}@127.0.0.1:1/db", f"mysql://user:{secret}@(127.0.0.1:1)/db"):
        done = zest.zestfs("status", url, check=False, timeout=30)  # told at once, not when the patience of a mount ends
        assert done.returncode == 1, url
        texts += [done.stdout, done.stderr]
    for text in texts:
        assert secret not in text, text[:2000]
    # the list of processes does not show it either
    process = subprocess.Popen([zest.ZESTFS, "objbench", f"{volume.folder}/bench", "--secret-key", secret, "--big-object-size", "64"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    def masked():
        shown = open(f"/proc/{process.pid}/cmdline", "rb").read()
        return b"objbench" in shown and secret.encode() not in shown
    zest.wait_until(masked, "the arguments are masked")
    process.communicate(timeout=zest.PATIENCE)


def on_a_mount():
    volume = zest.Volume()
    mount = volume.mount()
    os.makedirs(mount.path("a/b/c"))
    for number in range(5):
        with open(mount.path(f"a/b/f{number}"), "wb") as file:
            file.write(os.urandom(10_000))
    os.link(mount.path("a/b/f0"), mount.path("a/hard"))
    info = zest.zestfs("info", mount.path("a/hard")).stdout
    assert "\t/a/b/f0\n" in info and "\t/a/hard\n" in info and "vol/chunks/0/0/1_0_10000" in info, info
    tree = json.loads(zest.zestfs("info", "-r", "--strict", "--json", mount.path("a")).stdout)
    assert (tree["Summary"]["Files"], tree["Summary"]["Dirs"], tree["Summary"]["Length"]) == (6, 3, 60_000), tree
    rows = zest.zestfs("summary", "--csv", mount.path("a")).stdout.split()
    assert rows[0] == "PATH,SIZE,DIRS,FILES" and rows[1] == f"/,{6 * 12288 + 3 * 4096},3,6", rows
    zest.zestfs("clone", mount.path("a"), mount.path("copy"))
    for number in range(5):
        with open(mount.path(f"a/b/f{number}"), "rb") as one, open(mount.path(f"copy/b/f{number}"), "rb") as other:
            assert one.read() == other.read()
    refused("clone", mount.path("a"), mount.path("copy"), say="already exists")
    refused("clone", mount.path("a"), mount.path("a/b/inside"), say="should not be under")
    refused("clone", mount.path("none"), mount.path("x"), say="No such file|no such file")
    zest.zestfs("warmup", mount.path("a"))
    checked = zest.zestfs("warmup", "--check", mount.path("a")).stderr
    assert "(100.0%) cached" in checked, checked
    zest.zestfs("warmup", "--evict", mount.path("a"))
    assert "(0.0%) cached" in zest.zestfs("warmup", "--check", mount.path("a")).stderr
    refused("warmup", "--check", "--evict", mount.path("a"), say="can't be used together")
    with open(mount.path("many"), "wb", buffering=0) as file:
        for number in range(20):
            file.write(b"%d" % number * 100)
            os.fsync(file.fileno())
    zest.zestfs("compact", mount.path("many"))
    zest.wait_until(lambda: len(json.loads(zest.zestfs("info", "--raw", "--json", mount.path("many")).stdout)["Chunks"]) == 1, "the file is compacted")
    zest.zestfs("rmr", mount.path("copy"))
    assert not os.path.exists(mount.path("copy"))
    refused("rmr", mount.path("none"), say="RMR .*none: [Nn]o such file")
    refused("info", volume.folder, say="open control file", code=0)
    bench = zest.zestfs("bench", mount.point, "--big-file-size", "8", "--small-file-count", "5", "--json").stdout
    assert {row["item"] for row in json.loads(bench)} >= {"Write big file", "Read small file", "Stat file"}, bench
    # what was removed comes back
    hour = os.listdir(mount.path(".trash"))[0]
    mount.umount()
    zest.zestfs("restore", "--put-back", volume.meta, hour)
    mount = volume.mount()
    assert sorted(os.listdir(mount.path("copy/b"))) == ["c"] + [f"f{n}" for n in range(5)], os.listdir(mount.path("copy"))
    mount.umount()
    zest.zestfs("fsck", volume.meta, "--path", "/", "-r", "--sync-dir-stat")


def quotas_on_every_engine():
    for start in (None, zest.redis_server, zest.postgres_server, zest.mariadb_server):
        volume = zest.Volume(meta=start()[0] if start else None)
        meta = volume.meta
        text = zest.zestfs("quota", "set", meta, "--path", "/q", "--create", "--capacity", "1", "--inodes", "5").stdout
        assert "| /q   | 1.0 GiB |" in text, text
        assert json.loads(zest.zestfs("quota", "get", meta, "--path", "/q", "--json").stdout)[0]["maxInodes"] == 5
        mount = volume.mount()
        for number in range(5):
            open(mount.path("q", str(number)), "w").close()
        try:
            open(mount.path("q", "more"), "w").close()
        except OSError as error:
            assert error.errno == 122, error
        else:
            raise AssertionError("the quota is not kept")
        mount.umount()
        zest.zestfs("quota", "check", meta, "--path", "/q", "--strict")
        zest.zestfs("quota", "delete", meta, "--path", "/q")
        refused("quota", "get", meta, "--path", "/q", say="no quota for inode")
        refused("quota", "set", meta, "--path", "/none", "--inodes", "1", say="resolve dir /none")
        assert zest.zestfs("quota", "list", meta).stdout == ""
        status = json.loads(zest.zestfs("status", "--more", meta).stdout)
        assert status["Sessions"] == [] and status["Setting"]["Name"] == "vol", status
        zest.zestfs("fsck", meta)
        zest.zestfs("gc", "--compact", "--delete", meta)
        zest.zestfs("fsck", meta, "--path", "/", "-r")
        zest.zestfs("destroy", "--yes", meta, status["Setting"]["UUID"])
        refused("status", meta, say="format")
        assert not os.path.exists(volume.bucket + "vol/chunks"), "the objects are gone"


def damaged():
    """What is broken on purpose is found, named, and mended where it can be; nothing else is touched."""
    volume = zest.Volume("--trash-days", "0")
    mount = volume.mount()
    os.makedirs(mount.path("d/sub"))
    for number in range(3):
        with open(mount.path(f"d/f{number}"), "wb") as file:
            file.write(os.urandom(5000))
    mount.umount()
    objects = f"{volume.bucket}vol/chunks/0/0"
    blocks = sorted(os.listdir(objects))
    os.rename(f"{objects}/{blocks[1]}", f"{volume.folder}/saved")
    text = refused("fsck", volume.meta, say="1 objects are lost")
    assert f"can't find block chunks/0/0/{blocks[1]} for file /d/f" in text, text
    os.rename(f"{volume.folder}/saved", f"{objects}/{blocks[1]}")
    zest.zestfs("fsck", volume.meta)

    leaked = f"{objects}/999_0_100"
    open(leaked, "w").write("x" * 100)
    now = {"JFS_GC_SKIPPEDTIME": "0"}
    os.utime(leaked, (1, 1))
    assert "1 leaked (100 bytes)" in zest.zestfs("gc", volume.meta, env=now).stderr and os.path.exists(leaked)
    zest.zestfs("gc", "--delete", volume.meta, env=now)
    assert not os.path.exists(leaked) and sorted(os.listdir(objects)) == blocks

    def sql(text):
        return zest.run("sqlite3", f"{volume.folder}/meta.db", text).stdout
    before = sql("select * from jfs_edge; select inode, nlink, length from jfs_node")
    sql("update jfs_node set nlink = 9 where inode in (select inode from jfs_edge where name = cast('d' as blob));"
        "update jfs_dir_stats set used_inodes = 77, used_space = 1; update jfs_counter set value = 5 where name in ('usedSpace', 'totalInodes')")
    refused("fsck", volume.meta, "--path", "/", "-r", "--sync-dir-stat", say="some errors occurred")
    zest.zestfs("fsck", volume.meta, "--path", "/", "-r", "--sync-dir-stat", "--repair")
    zest.zestfs("fsck", volume.meta, "--path", "/", "-r", "--sync-dir-stat")
    assert sql("select * from jfs_edge; select inode, nlink, length from jfs_node") == before
    status = json.loads(zest.zestfs("status", volume.meta).stdout)["Stat"]
    assert (status["UsedInodes"], status["UsedSpace"]) == (5, 2 * 4096 + 3 * 8192), status
    refused("fsck", "--repair", volume.meta, say="provide the path")
    assert "--resume" not in refused("fsck", volume.meta, "--path", "/nowhere", say="check /nowhere: No such file"), "there is nothing to resume"
    mount = volume.mount()
    assert sorted(os.listdir(mount.path("d"))) == ["f0", "f1", "f2", "sub"]
    mount.umount()


def an_interrupted_command():
    """Ctrl-C ends a long removal with an error; the volume stays sound."""
    volume = zest.Volume("--trash-days", "0")
    mount = volume.mount()
    for folder in range(20):
        os.mkdir(mount.path(f"d{folder}"))
        for number in range(100):
            os.close(os.open(mount.path(f"d{folder}/{number}"), os.O_CREAT | os.O_WRONLY))
    process = subprocess.Popen([zest.ZESTFS, "rmr", "-p", "1", *[mount.path(f"d{n}") for n in range(20)]], stderr=subprocess.PIPE)

    def left():
        try:
            return len(os.listdir(mount.path("d0")))
        except FileNotFoundError:
            return 0

    zest.wait_until(lambda: process.poll() is not None or left() < 100, "it removes")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=zest.PATIENCE)
    assert process.returncode in (0, 1, 130), process.returncode
    mount.umount()
    zest.zestfs("fsck", volume.meta, "--path", "/", "-r", "--sync-dir-stat")


def a_busy_mount_point():
    volume = zest.Volume()
    mount = volume.mount()
    other = zest.Volume()
    done = zest.zestfs("mount", "-d", other.meta, mount.point, "--log", f"{other.folder}/log", check=False)
    assert done.returncode == 1, done.stderr
    assert os.stat(mount.point).st_ino == 1
    with open(mount.path("f"), "w") as held:
        refused("umount", mount.point, say="busy|Busy")
        held.write("x")
    mount.umount()
    with open(f"{volume.folder}/file", "w"):
        pass
    refused("mount", volume.meta, f"{volume.folder}/file", say=".")


def the_object_bench():
    folder = zest.temp_dir()
    out = json.loads(zest.zestfs("objbench", f"{folder}/b", "--big-object-size", "8", "--small-objects", "5", "--json").stdout)
    assert all(test["result"] in ("pass", "not support") for test in out["tests"]), out
    assert len(out["items"]) == 10, out
    refused("objbench", f"{folder}/b", "--small-object-size", "0", say="should not be zero")


def tiers():
    """Objects get the class and the tag of their file's tier; archived ones are asked for."""
    store = s3stub.Store()
    volume = zest.Volume("--trash-days", "0", "--tag", "team=a b", storage=store.storage())
    zest.zestfs("config", volume.meta, "--tier", "1", "--storage-class", "GLACIER", "--tag", "cold=yes", "--yes")
    mount = volume.mount("--heartbeat", "1s")
    os.makedirs(mount.path("archive/sub"))
    zest.zestfs("tier", "set", volume.meta, "/archive", "-r", "--tier", "1")
    time.sleep(3)  # the mount learns at its next heartbeat that there are tiers in the tables now
    for name in ("warm", "archive/one", "archive/sub/two"):
        with open(mount.path(name), "w") as file:
            file.write(name)
            os.fsync(file.fileno())
    mount.umount()
    placed = {store.objects[key].decode(): (store.classes[key], store.tags[key], key) for key in store.objects if "/chunks/" in key}
    assert {name: where[:2] for name, where in placed.items()} == {
        "warm": ("", "team=a%20b"), "archive/one": ("GLACIER", "cold=yes"), "archive/sub/two": ("GLACIER", "cold=yes")}, placed
    done = zest.zestfs("tier", "restore", volume.meta, "/", "-r", "--days", "5")
    assert "asked for 2 archived objects" in done.stderr and "1 are not archived" in done.stderr, done.stderr
    assert store.restored == {placed[name][2]: 5 for name in ("archive/one", "archive/sub/two")}, store.restored
    zest.zestfs("tier", "restore", volume.meta, "/archive", "--days", "7")
    assert store.restored[placed["archive/one"][2]] == 7 and store.restored[placed["archive/sub/two"][2]] == 5, "not recursive"
    mount = volume.mount("--tag", "host=this")
    open(mount.path("mine"), "w").write("mine")
    mount.umount()
    assert [store.tags[key] for key, body in store.objects.items() if body == b"mine" and "/chunks/" in key] == ["host=this"]
    local = zest.Volume()
    mount = local.mount()
    open(mount.path("f"), "w").write("on a disk")
    mount.umount()
    refused("tier", "restore", local.meta, "/", say="restore of archived objects: not supported by file")
    refused("tier", "restore", volume.meta, "/", "--days", "0", say="days should be greater than 0")


zest.main([the_program, formatting, what_is_no_volume, configuration, secrets_stay_secret, on_a_mount, quotas_on_every_engine,
           damaged, an_interrupted_command, a_busy_mount_point, the_object_bench, tiers])
