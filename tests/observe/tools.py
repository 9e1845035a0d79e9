#!/usr/bin/env python3
"""stats and profile, ours and the reference's, and its info, summary, warmup, clone and rmr work on our mount."""
import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time

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


def plain(text):
    """Without colours and what clears a line."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def on_a_terminal(seconds, *command):
    """What a program draws on a terminal in this time, or until it ends."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(command[0], [str(c) for c in command])
    deadline, out = time.monotonic() + seconds, b""
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # it ended
            break
        out += chunk
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    os.waitpid(pid, 0)
    os.close(terminal)
    return out.decode().replace("\r\n", "\n")


def both_mounts():
    """A mount of ours and one of the reference's."""
    return zest.Volume().mount(), zest.Volume().mount(binary=JUICEFS)


def stats_tables_are_alike():
    """Titles and widths are the reference's, of every section at each verbosity, on its mount and on ours."""
    for mount in both_mounts():
        tree(mount)
        for schema in ("ufmco", "tufmcog", "c"):
            for verbosity in "01":
                theirs, mine = (zest.run(binary, "stats", mount.point, "--schema", schema, "-l", verbosity, "-c", "1").stdout.splitlines()
                                for binary in (JUICEFS, zest.ZESTFS))
                assert theirs[:2] == mine[:2], (schema, verbosity, theirs[:2], mine[:2])
                assert [len(line) for line in theirs] == [len(line) for line in mine] and len(mine) == 3, (theirs, mine)
        mount.umount()


def stats_count_the_work():
    """The differences in the table are what was done between two of its lines."""
    for mount in both_mounts():
        for binary in (JUICEFS, zest.ZESTFS):
            process = subprocess.Popen([binary, "stats", mount.point, "--schema", "fo", "--interval", "2", "-c", "2"],
                                       stdout=subprocess.PIPE, text=True)
            head = [process.stdout.readline() for _ in range(3)]
            assert head[2].split("|")[0].split() == ["0", "0", "0", "0"], head
            path = mount.path(f"made-by-{os.path.basename(binary)}")
            with open(path, "wb") as file:
                file.write(os.urandom(20_000_000))
            row = process.communicate(timeout=zest.PATIENCE)[0].split("|")[0].split()
            # 10,000,000 bytes a second; the interval may come out longer
            assert row[3].endswith("K") and 4_000 < int(row[3][:-1]) < 9_800, row
            os.unlink(path)
        mount.umount()


def why_is_told():
    mount = zest.Volume().mount()
    process = subprocess.Popen([zest.ZESTFS, "stats", mount.point, "--schema", "w", "--interval", "2", "-c", "2"], stdout=subprocess.PIPE,
                               text=True)
    head = [process.stdout.readline() for _ in range(3)]
    assert head[1].split() == ["queue", "cpu", "lock", "mem", "meta", "obj", "cache", "other", "trips"], head
    tree(mount)
    row = dict(zip(head[1].split(), map(float, process.communicate(timeout=zest.PATIENCE)[0].split())))
    assert row["meta"] > 0 and row["obj"] > 0 and row["trips"] > 0, row
    mount.umount()


def stats_on_a_terminal():
    mount = zest.Volume().mount()
    tree(mount)
    shown = on_a_terminal(60, zest.ZESTFS, "stats", mount.point, "--interval", "2", "-c", "3")
    piped = zest.run(zest.ZESTFS, "stats", mount.point, "-c", "1").stdout.splitlines()
    lines = shown.split("\n")
    assert lines[0].startswith("\x1b[34m") and [plain(line) for line in lines[:2]] == piped[:2], lines[:2]
    rows = [line for line in lines[2:] if line]
    assert len(rows) == 3, rows
    # between two lines a dim one is drawn, and then over it
    assert rows[1].startswith("\r\x1b[2m") and "\r\x1b[K" in rows[1], rows[1]
    assert re.search(r"\x1b\[3[1-6]m", rows[0]), rows[0]
    assert all(len(plain(row).split("\r")[-1]) == len(piped[2]) for row in rows), rows
    mount.umount()


def access_log(mount):
    """A file with the lines of some work."""
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
    return log


def profile_rows(text):
    """{operation: (count, total)} of the last table."""
    table = plain(text).split("> JuiceFS Profiling")[-1].splitlines()[1:]
    if not table[0].strip():  # a terminal shows a hint between
        del table[0]
    assert table[0].split() == ["Operation", "Count", "Average(us)", "Total(us)", "Percent(%)"], text
    rows = [line.split() for line in table[1:] if len(line.split()) == 5]
    assert [int(row[3]) for row in rows] == sorted((int(row[3]) for row in rows), reverse=True), text
    return {row[0]: (int(row[1]), int(row[3])) for row in rows}


def profiles_are_alike():
    for mount in both_mounts():
        log = access_log(mount)
        tables = [zest.run(binary, "profile", "--interval", "0", log, input="").stdout for binary in (JUICEFS, zest.ZESTFS)]
        assert tables[0].splitlines()[:2] == tables[1].splitlines()[:2], tables
        theirs, mine = map(profile_rows, tables)
        assert set(theirs) == set(mine) and "unlink" in mine, tables
        for operation, (count, total) in mine.items():
            assert theirs[operation][0] == count and abs(theirs[operation][1] - total) <= count, (operation, tables)
        nobody = zest.run(zest.ZESTFS, "profile", "--interval", "0", "-u", "4711", log, input="").stdout
        assert profile_rows(nobody) == {}, nobody
        mount.umount()


def profile_lives():
    """Tables of a mount at work, in a pipe and on a terminal, of both clients on both mounts."""
    for mount in both_mounts():
        stop = threading.Event()

        def work():
            while not stop.is_set():
                with open(mount.path("probe"), "w") as file:
                    file.write("x")
                os.unlink(mount.path("probe"))
                time.sleep(0.02)
        worker = threading.Thread(target=work)
        worker.start()
        try:
            for binary in (JUICEFS, zest.ZESTFS):
                shown = on_a_terminal(3, binary, "profile", "--interval", "1", mount.point)
                assert "\x1b[2J" in shown or "\x1b[H" in shown, shown
                complete = shown.rsplit("> JuiceFS Profiling", 1)[0]  # the last table may be cut
                assert {"create", "unlink"} <= set(profile_rows(complete)), shown
        finally:
            stop.set()
            worker.join()
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


zest.main([stats_tables_are_alike, stats_count_the_work, why_is_told, stats_on_a_terminal, profiles_are_alike, profile_lives, info_and_summary, warmup, clone_and_rmr])
