"""What the tests share that have our client and the reference's on one volume. The engine is the program's first argument: sqlite, redis,
postgres or mariadb."""
import contextlib
import os
import pathlib
import re
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import zest

JUICEFS = zest.tool("juicefs")
FRESH = ["--attr-cache", "0", "--entry-cache", "0", "--dir-entry-cache", "0", "--enable-xattr"]
ENGINE = sys.argv.pop(1)
_server = []
_number = [0]


def meta_url():
    """A database of its own for each volume of the test."""
    _number[0] += 1
    if ENGINE == "sqlite":
        return None
    if not _server:
        _server.extend({"redis": zest.redis_server, "postgres": zest.postgres_server, "mariadb": zest.mariadb_server}[ENGINE]())
    url = _server[0]
    if ENGINE == "redis":
        return url[:-1] + str(_number[0])
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}table_prefix=v{_number[0]}_"


def volume(*options):
    return zest.Volume("--trash-days", "0", *options, meta=meta_url())


def reference(vol, where="ref", *options):
    return vol.mount(*FRESH, "--no-bgjob", *options, where=where, binary=JUICEFS)


def ours(vol, where="mnt", *options):
    return vol.mount(*FRESH, *options, where=where)


def judge(vol):
    """The reference's fsck and gc find nothing wrong."""
    fsck = zest.run(JUICEFS, "fsck", vol.meta, check=False)
    assert fsck.returncode == 0, fsck.stdout + fsck.stderr
    tree = zest.run(JUICEFS, "fsck", vol.meta, "--path", "/", "-r", check=False)
    assert tree.returncode == 0, tree.stdout + tree.stderr
    gc = zest.run(JUICEFS, "gc", vol.meta, check=False, env={"JFS_GC_SKIPPEDTIME": "0"})
    text = gc.stdout + gc.stderr
    assert gc.returncode == 0, text
    leaked = re.search(r"(\d+) leaked", text)
    assert leaked and leaked.group(1) == "0", text[-3000:]


@contextlib.contextmanager
def two(vol, *options):
    """One volume mounted by both at once; judged when they are gone."""
    a, b = ours(vol, "mnt", *options), reference(vol, "ref", *options)
    yield a, b
    a.umount()
    b.umount()
    judge(vol)


def at_once(work, *mounts):
    """work(index, mount) for each mount, all at the same time; gives what they gave."""
    results, problems = [None] * len(mounts), []
    barrier = threading.Barrier(len(mounts))

    def run(index, mount):
        try:
            barrier.wait()
            results[index] = work(index, mount)
        except Exception as problem:
            problems.append(problem)
    threads = [threading.Thread(target=run, args=one) for one in enumerate(mounts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return results


def names(mount):
    return {name for name in os.listdir(mount.point) if not name.startswith(".")}  # without the virtual files
