#!/usr/bin/env python3
"""stats and profile, ours and the reference's, and its info, summary, warmup, clone and rmr work on our mount."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

JUICEFS = zest.tool("juicefs")


def tree(mount):
    """A small tree; gives its path."""
    top = mount.path("tree")
    os.makedirs(os.path.join(top, "sub"))
    for number in range(5):
        with open(os.path.join(top, "sub", f"f{number}"), "wb") as file:
            file.write(os.urandom(100_000))
    return top


def stats():
    mount = zest.Volume().mount()
    tree(mount)
    for binary in (JUICEFS, zest.ZESTFS):
        out = zest.run(binary, "stats", mount.point, "--schema", "ufmcog", "-l", "1", "-c", "2").stdout
        lines = out.splitlines()
        assert any("fuse" in line and "meta" in line and "object" in line for line in lines), out
        values = [line for line in lines if line.count("|") >= 5 and "%" in line]
        assert values, out
    mount.umount()


def profile():
    mount = zest.Volume().mount()
    log = os.path.join(zest.temp_dir("log"), "access.log")
    with open(log, "wb") as into:
        reader = subprocess.Popen(["cat", mount.path(".accesslog")], stdout=into)
    zest.on_exit(reader.kill)

    def logged():
        with open(mount.path("probe"), "w") as file:
            file.write("x")
        os.unlink(mount.path("probe"))
        with open(log) as file:
            return "unlink" in file.read()
    zest.wait_until(logged, "operations appear in the access log")
    reader.kill()
    reader.wait()
    for binary in (JUICEFS, zest.ZESTFS):
        out = zest.run(binary, "profile", "--interval", "0", log, input="").stdout
        for operation in ("create", "write", "unlink"):
            assert any(line.split()[:1] == [operation] for line in out.splitlines()), out
    mount.umount()


def info_and_summary():
    mount = zest.Volume().mount()
    top = tree(mount)

    def counted():  # statistics of directories reach the database a little later
        return "files: 5" in zest.run(JUICEFS, "info", "-r", top).stdout
    zest.wait_until(counted, "info counts the five files")
    out = zest.run(JUICEFS, "info", os.path.join(top, "sub", "f0")).stdout
    assert "objects" in out or "chunks" in out, out
    out = zest.run(JUICEFS, "summary", top, "--csv").stdout
    assert "sub" in out, out
    mount.umount()


def warmup():
    mount = zest.Volume().mount()
    top = tree(mount)
    zest.run(JUICEFS, "warmup", top)
    zest.run(JUICEFS, "warmup", "--check", top)
    zest.run(JUICEFS, "warmup", "--evict", top)
    mount.umount()


def clone_and_rmr():
    mount = zest.Volume().mount()
    top = tree(mount)
    copy = mount.path("copy")
    zest.run(JUICEFS, "clone", top, copy)
    zest.run("diff", "-r", top, copy)
    zest.run(JUICEFS, "rmr", top)
    assert not os.path.exists(top)
    assert len(os.listdir(os.path.join(copy, "sub"))) == 5
    mount.umount()


zest.main([stats, profile, info_and_summary, warmup, clone_and_rmr])
