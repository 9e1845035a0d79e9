#!/usr/bin/env python3
"""Volumes that the reference wrote mount read-write and read back without a difference.

volumes.py KIND: sqlite-plain, sqlite-lz4, ... Those of database servers are loaded into real ones.
"""
import json
import os
import pathlib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import servers
import zest

PASSPHRASE = {"JFS_RSA_PASSPHRASE": "golden-pass"}


def unpack(kind):
    folder = zest.temp_dir("golden")
    zest.run("tar", "xzf", zest.GOLDEN / f"{kind}.tar.gz", "-C", folder)
    return os.path.join(folder, kind)


def redis_from(folder):
    server = servers.Redis(options=["--dir", folder, "--dbfilename", "dump.rdb"])
    return f"redis://{servers.HOST}:{server.port}/3"


def postgres_from(folder):
    url, _ = zest.postgres_server()
    port = url.split("127.0.0.1:")[1].split("/")[0]
    psql = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/psql"))[-1]
    zest.run(psql, "-q", "-h", "127.0.0.1", "-p", port, "-U", "postgres", "-d", "zest", "-f", f"{folder}/dump.sql")
    return url


def meta_of(kind, folder):
    if kind.startswith("sqlite"):
        return f"sqlite3://{folder}/meta.db"
    return redis_from(folder) if kind.startswith("redis") else postgres_from(folder)


def mount(meta, folder, *options):
    bucket = os.path.join(folder, "bucket") + "/"
    zest.zestfs("config", meta, "--bucket", bucket, "--yes", env=PASSPHRASE)
    return zest.Mount(meta, os.path.join(folder, "mnt"), "--cache-dir", os.path.join(folder, "cache"), "--enable-xattr", *options,
                      env=PASSPHRASE)


def verify(point, manifest):
    done = zest.run(sys.executable, zest.GOLDEN / "golden.py", "verify", point, manifest, check=False)
    assert done.returncode == 0, f"differences:\n{done.stdout}{done.stderr}"


def plain(kind):
    folder = unpack(kind)
    meta = meta_of(kind, folder)
    manifest = os.path.join(folder, "manifest.json")
    mounted = mount(meta, folder)
    verify(mounted.point, manifest)
    # read-write: what is added works and goes again, the tree is still what it was
    probe = mounted.path("zest-probe")
    os.mkdir(probe)
    with open(os.path.join(probe, "file"), "wb") as file:
        file.write(os.urandom(5_000_000))
    os.rename(os.path.join(probe, "file"), os.path.join(probe, "renamed"))
    os.unlink(os.path.join(probe, "renamed"))
    os.rmdir(probe)
    mounted.umount()
    again = mount(meta, folder)
    found = json.loads(zest.run(sys.executable, zest.GOLDEN / "golden.py", "manifest", again.point).stdout)
    wanted = json.load(open(manifest))
    for entries in (found, wanted):  # the root's times are those of the probe now
        for name in ("mtime", "ctime"):
            entries[""].pop(name, None)
    assert found == wanted, [path for path in set(found) | set(wanted) if found.get(path) != wanted.get(path)]
    again.umount()


def trash(kind):
    """The trash is as the reference left it, and the quotas hold."""
    folder = unpack(kind)
    mounted = mount(meta_of(kind, folder), folder)
    verify(mounted.point, os.path.join(folder, "manifest.json"))
    for line in open(os.path.join(folder, "trash.tsv")):
        path, type_, size = line.rstrip("\n").split("\t")
        found = os.lstat(mounted.path(".trash", path))
        assert (found.st_mode >> 12 == 4) == (type_ == "d"), path
        if type_ == "f":
            assert found.st_size == int(size), (path, found.st_size)
    df = open(os.path.join(folder, "df.txt")).read().split()
    stat = os.statvfs(mounted.point)
    assert stat.f_files == int(df[-2]) and stat.f_blocks * stat.f_frsize == int(df[-4]), (df, stat)
    # the quota on /q/nested is five inodes, none of them used
    for number in range(5):
        open(mounted.path("q", "nested", f"f{number}"), "w").close()
    try:
        open(mounted.path("q", "nested", "one-too-many"), "w").close()
    except OSError as error:
        assert error.errno == 122, error
    else:
        raise AssertionError("a directory quota is not kept")
    mounted.umount()


def crashed(kind):
    """A session that died: its locks and its open unlinked file go when its time has passed."""
    folder = unpack(kind)
    meta = meta_of(kind, folder)
    mounted = mount(meta, folder, "--heartbeat", "1")
    assert open(mounted.path("keep")).read(), "the kept file is there"
    database = os.path.join(folder, "meta.db")

    def left():
        out = zest.run("sqlite3", "-cmd", ".timeout 10000", database,
                       "select count(*) from jfs_session2 where sid=1; select count(*) from jfs_flock; select count(*) from jfs_plock;"
                       "select count(*) from jfs_sustained; select count(*) from jfs_node where inode=3").stdout.split()
        return [int(n) for n in out]
    zest.wait_until(lambda: left() == [0, 0, 0, 0, 0], "the dead session is cleaned up")
    zest.wait_until(lambda: not os.path.exists(f"{folder}/bucket/golden-sqlite-crashed/chunks/0/0/3_0_500000"),
                    "the data of the unlinked file is deleted")
    mounted.umount()


def etcd(kind):
    """The keys of an etcd volume, in the memory of one mount."""
    folder = unpack(kind)
    mounted = zest.Mount(f"memkv://golden?load={folder}/kvs.json", os.path.join(folder, "mnt"), "--bucket", f"{folder}/bucket/",
                         "--cache-dir", os.path.join(folder, "cache"), "--enable-xattr")
    verify(mounted.point, os.path.join(folder, "manifest.json"))
    with open(mounted.path("zest-probe"), "wb") as file:
        file.write(b"x" * 5_000_000)
    os.unlink(mounted.path("zest-probe"))
    mounted.umount()


def main():
    kind = sys.argv.pop(1)
    special = {"sqlite-trash": trash, "sqlite-crashed": crashed, "etcd-plain": etcd}.get(kind, plain)

    def case():
        special(kind)
    case.__name__ = kind
    zest.main([case])


main()
