#!/usr/bin/env python3
"""Speed of the work on whole trees: rmr, clone, summary, info -r, gc, fsck, dump, load, quota check, beside the reference.

bulk.py [--entries N] [--engine sqlite|redis|postgres|mariadb ...] [--only zestfs|juicefs] [--million] [--json FILE]

For each engine and client: a volume with N files in one directory and N in a deep tree (made by `zestfs mdtest`, so that
both work on the same volume), then each command, timed: entries per second and peak memory of the process that does the
work (the command's own, or the mount's for what a mount does). --million: load and dump of a million inodes instead.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "lib"))
import servers
import zest

DEPTH, FANOUT = 4, 6  # of the deep tree: 1555 directories


def timed(command):
    """Seconds and peak memory (MiB) of a command."""
    started = time.monotonic()
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command}: exit {process.returncode}\n{error.decode()}")
    return time.monotonic() - started, usage.ru_maxrss / 1024


def peak_of(pids):
    out = 0
    for pid in pids:
        try:
            text = open(f"/proc/{pid}/status").read()
        except OSError:
            continue
        out = max(out, int(text.split("VmHWM:")[1].split()[0]) / 1024)
    return out


def fresh_meta(engine):
    if engine == "sqlite":
        return f"sqlite3://{zest.temp_dir('bulk')}/meta.db"
    if engine == "redis":
        return zest.redis_server()[0]
    return {"postgres": servers.Postgres, "mariadb": servers.Mariadb}[engine]().url


def fill(meta, entries):
    """/flat: one directory; /deep: a tree; gives the inodes of each."""
    folder = zest.temp_dir("bulk")
    zest.zestfs("format", meta, "vol", "--storage", "file", "--bucket", f"{folder}/data/", "--trash-days", "0")
    common = ["--threads", "8", "--cache-dir", f"{folder}/cache"]
    zest.zestfs("mdtest", *common, "--dirs", "0", "--depth", "0", "--files", entries, meta, "/flat")
    dirs = sum(FANOUT ** level for level in range(DEPTH + 1))
    zest.zestfs("mdtest", *common, "--dirs", FANOUT, "--depth", DEPTH, "--files", entries // dirs, meta, "/deep")
    return {"flat": entries + 1, "deep": dirs * (entries // dirs + 1)}


class Report:
    def __init__(self):
        self.rows = []

    def add(self, engine, client, what, tree, entries, seconds, memory):
        row = {"engine": engine, "client": client, "what": what, "tree": tree, "entries": entries, "seconds": round(seconds, 3),
               "perSecond": round(entries / seconds), "peakMiB": round(memory)}
        self.rows.append(row)
        print(f"{engine:7} {client:8} {what:12} {tree:5} {entries:8} {seconds:8.2f} s {row['perSecond']:9}/s {row['peakMiB']:6} MiB", flush=True)


def measure_trees(report, engine, client, binary, entries):
    meta = fresh_meta(engine)
    sizes = fill(meta, entries)
    if client == "juicefs":  # brings the tables to its version; else it misses a column
        zest.run(binary, "config", meta, "--inodes", 10**12, "--yes")
    total = sum(sizes.values())
    folder = zest.temp_dir("bulk")
    for what, command in {"fsck": ["fsck", meta], "fsck -r": ["fsck", "--path", "/", "-r", "--sync-dir-stat", meta], "gc": ["gc", meta],
                          "dump": ["dump", meta, f"{folder}/dump"], "dump binary": ["dump", "--binary", meta, f"{folder}/dump.bin"]}.items():
        report.add(engine, client, what, "all", total, *timed([binary, *command]))
    for tree, size in sizes.items():
        zest.zestfs("quota", "set", meta, "--path", f"/{tree}", "--inodes", 10**9)
        report.add(engine, client, "quota check", tree, size, *timed([binary, "quota", "check", "--strict", "--path", f"/{tree}", meta]))
    for tree, size in sizes.items():
        point = f"{folder}/{tree}"
        options = ["--cache-dir", f"{folder}/cache"] + (["--no-usage-report"] if client == "juicefs" else [])
        mount = zest.Mount(meta, point, *options, binary=binary)
        for what, command in {"summary": ["summary", "--strict", f"{point}/{tree}"], "info -r": ["info", "-r", "--strict", f"{point}/{tree}"],
                              "clone": ["clone", f"{point}/{tree}", f"{point}/copy-{tree}"], "rmr": ["rmr", f"{point}/copy-{tree}"]}.items():
            seconds, _ = timed([binary, *command])
            report.add(engine, client, what, tree, size, seconds, peak_of(mount.pids()))
        mount.umount()


def dumps_of_million(entries):
    """A JSON and a binary dump of a volume of so many inodes, made by clones of a small tree."""
    folder = zest.temp_dir("bulk")
    meta = fresh_meta("sqlite")
    sizes = fill(meta, entries // 100)
    mount = zest.Mount(meta, f"{folder}/mnt", "--cache-dir", f"{folder}/cache")
    total = sum(sizes.values())
    while total < entries:
        zest.zestfs("clone", mount.path("deep"), mount.path(f"copy{total}"))
        total += sizes["deep"]
    mount.umount()
    zest.zestfs("dump", meta, f"{folder}/dump.json")
    zest.zestfs("dump", "--binary", meta, f"{folder}/dump.bin")
    return folder, total


def measure_million(report, engine, client, binary, made):
    source, size = made
    folder = zest.temp_dir("bulk")
    for name, kind in {"JSON": [], "binary": ["--binary"]}.items():
        meta = fresh_meta(engine)
        report.add(engine, client, f"load {name}", "all", size, *timed([binary, "load", *kind, meta, f"{source}/dump.{'bin' if kind else 'json'}"]))
        report.add(engine, client, f"dump {name}", "all", size, *timed([binary, "dump", *kind, meta, f"{folder}/dump"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int)
    parser.add_argument("--engine", nargs="+", default=["sqlite", "redis"], choices=["sqlite", "redis", "postgres", "mariadb"])
    parser.add_argument("--only", choices=["zestfs", "juicefs"])
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    clients = {"zestfs": zest.ZESTFS, "juicefs": None if arguments.only == "zestfs" else zest.tool("juicefs")}
    report = Report()
    made = dumps_of_million(arguments.entries or 1_000_000) if arguments.million else None
    for engine in arguments.engine:
        for client, binary in clients.items():
            if arguments.only in (None, client):
                if arguments.million:
                    measure_million(report, engine, client, binary, made)
                else:
                    measure_trees(report, engine, client, binary, arguments.entries or 100_000)
    text = json.dumps(report.rows, indent=2)
    print(text) if not arguments.json else open(arguments.json, "w").write(text + "\n")


main()
