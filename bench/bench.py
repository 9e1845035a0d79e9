#!/usr/bin/env python3
"""Measures zestfs beside the reference's client and a plain local folder; prints a table, and JSON with --json.

bench.py [--quick] [--meta sqlite|redis|postgres|mariadb] [--delay MS] [--operations N] [--only meta|data]
         [--peers zestfs,reference,local] [--json FILE]

Each figure is taken on a fresh volume with its objects in a local folder. CPU is that of the client's processes (user and system);
server CPU is the database's. Times are wall clock of the calling program, so they hold the kernel's share, too. Round trips are
those to the database, counted on the wire in a run of their own, one thread.
"""
import argparse
import contextlib
import json
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "lib"))
import servers
import zest
from measure import MiB, create, drop_caches, each, in_processes, measure, memory, read_file
from proxy import Proxy

DATABASES = {"redis": servers.Redis, "postgres": servers.Postgres, "mariadb": servers.Mariadb}
COUNTED = 60  # operations of a kind in the run that counts round trips


class Target:
    """Something to measure: a mount, or a plain folder. counted: its database is behind a proxy, if it is a server, which
    then does not delay what it counts."""

    def __init__(self, kind, options, counted=False):
        self.kind, self.server, self.mount, self.proxy = kind, None, None, None
        if kind == "local":
            self.point = zest.temp_dir("bench-local")
            return
        meta = None
        if options.meta != "sqlite":
            self.server = DATABASES[options.meta]()
            meta = self.server.url
            if options.delay or counted:
                self.proxy = Proxy(self.server.address, 0 if counted else options.delay)
                meta = self.server.through(self.proxy)
        self.volume = zest.Volume("--trash-days", "0", meta=meta)
        self.binary = zest.tool("juicefs") if kind == "reference" else zest.ZESTFS
        self.start()

    def start(self):
        self.mount = self.volume.mount("--enable-xattr", "--max-fuse-io", "1M", binary=self.binary)
        self.point = self.mount.point

    def pids(self):
        return self.mount.pids() if self.mount else []

    def server_pids(self):
        if not self.server:
            return []
        pid = self.server.process.pid
        out = [pid]
        with contextlib.suppress(OSError):
            out += [int(p) for p in open(f"/proc/{pid}/task/{pid}/children").read().split()]
        return out

    def cold(self):
        """Nothing in caches of the kernel or of the client."""
        if self.mount:
            self.mount.umount()
            subprocess.run(["rm", "-rf", *[os.path.join(self.volume.folder, n) for n in os.listdir(self.volume.folder) if n.startswith("cache-")]])
        drop_caches()
        if self.mount:
            self.start()

    def close(self):
        if self.mount:
            self.mount.umount()
        if self.proxy:
            self.proxy.close()
        if self.server:
            self.server.kill()


def metadata(target, take, many, all_threads=(1, 8)):
    """Operations on names and small files; take(name, count, work) does the work and notes what it took."""
    for threads in all_threads:
        folder, per = f"{target.point}/m{threads}", many // threads
        count = per * threads
        os.mkdir(folder)
        tag = f" x{threads}"

        def all_of(function, *arguments):
            return lambda: in_processes(threads, function, folder, per, *arguments)
        take("create+close" + tag, count, all_of(create, b""))
        take("stat warm" + tag, count, all_of(each, os.stat))
        target.cold()
        take("stat cold" + tag, count, all_of(each, os.stat))
        take("rename" + tag, count, all_of(each, lambda p: os.rename(p, p + "r")))
        take("list" + tag, count, lambda: os.listdir(folder))
        take("unlink" + tag, count, all_of(each, lambda p: os.unlink(p + "r")))
        take("mkdir+rmdir" + tag, count, all_of(each, lambda p: (os.mkdir(p), os.rmdir(p))))
        take("create 4K+close" + tag, count, all_of(create, b"x" * 4096))
        take("open+read 4K+close" + tag, count, all_of(each, read_file))
        if threads == 1:
            log = os.open(f"{folder}/log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            appends = count // 5
            take("append 100 B+fsync", appends, lambda: [(os.write(log, b"y" * 100), os.fsync(log)) for _ in range(appends)])
            os.close(log)


def round_trips(kind, options):
    """How often each operation goes to the database; nothing where there is no server."""
    if kind == "local" or options.meta == "sqlite":
        return {}
    trips, target = {}, Target(kind, options, counted=True)

    def take(name, count, work):
        before = target.proxy.trips()
        work()
        trips[name] = (target.proxy.trips() - before) / count
    metadata(target, take, COUNTED, (1,))
    target.close()
    return trips


def content(target, options):
    results = []
    size = (256 if options.quick else 1024) * MiB
    path = f"{target.point}/big"
    block = random.Random(1).randbytes(MiB)

    def write():
        with open(path, "wb", buffering=0) as file:
            for _ in range(size // MiB):
                file.write(block)
            os.fsync(file.fileno())

    def read():
        with open(f"{target.point}/big", "rb", buffering=0) as file:
            buffer = bytearray(MiB)
            while file.readinto(buffer):
                pass
    measure(target, "sequential write (drained)", 0, write, results, "MiB/s", size / MiB)
    target.cold()
    measure(target, "sequential read cold", 0, read, results, "MiB/s", size / MiB)
    drop_caches()
    measure(target, "sequential read warm", 0, read, results, "MiB/s", size / MiB)
    for size_of_read, name in ((4096, "4 KiB"), (128 * 1024, "128 KiB")):
        count = (5000 if options.quick else 20000) // (1 if size_of_read == 4096 else 8)
        rng = random.Random(2)
        # each block once, so that the kernel's page cache does not answer
        offsets = rng.sample(range(size // size_of_read), min(count, size // size_of_read))

        def random_reads():
            fd = os.open(f"{target.point}/big", os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            for offset in offsets:
                os.pread(fd, size_of_read, offset * size_of_read)
            os.close(fd)
        drop_caches()
        measure(target, f"random read {name} warm", len(offsets), random_reads, results)
    return results


def run(kind, options):
    trips = round_trips(kind, options) if options.only != "data" else {}
    target = Target(kind, options)
    out = {"kind": kind, "idle_rss": memory(target.pids(), "RssAnon"), "results": []}
    if options.only != "data":
        many = 1000 if options.quick else 5000
        if options.delay:
            many //= 10 if options.delay >= 10 else 2
        many = options.operations or many
        metadata(target, lambda name, count, work: measure(target, name, count, work, out["results"]), many)
    if options.only != "meta":
        out["results"] += content(target, options)
    for row in out["results"]:
        if row["name"] in trips:
            row["trips"] = trips[row["name"]]
    out["peak_rss"] = memory(target.pids(), "VmHWM")
    target.close()
    return out


def show(outs):
    names = [r["name"] for r in outs[0]["results"]]
    print(f"{'':30}" + "".join(f"{o['kind']:>36}" for o in outs))
    for name in names:
        line = f"{name:30}"
        for out in outs:
            row = next(r for r in out["results"] if r["name"] == name)
            cpu = f"{row['cpu_us']:.0f} us" if "cpu_us" in row else f"{row['cpu_s_per_GiB']:.2f} s/GiB"
            if row.get("server_us"):
                cpu += f" +{row['server_us']:.0f}"
            trips = f"{row['trips']:.1f} t" if "trips" in row else ""
            line += f"{row['rate']:>12,.0f} {row['unit']:6}{cpu:>11}{trips:>6}"
        print(line)
    print("CPU: of the client + of the database, for one operation; t: round trips to the database")
    for out in outs:
        if out["kind"] != "local":
            print(f"{out['kind']}: idle memory {out['idle_rss'] / MiB:.1f} MiB, peak {out['peak_rss'] / MiB:.0f} MiB")
    by = {o["kind"]: {r["name"]: r["rate"] for r in o["results"]} for o in outs}
    if "zestfs" in by and "reference" in by:
        product, number = 1.0, 0
        for name, rate in by["zestfs"].items():
            product, number = product * rate / by["reference"][name], number + 1
        print(f"geometric mean of zestfs / reference: {product ** (1 / number):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--meta", default="sqlite", choices=["sqlite", "redis", "postgres", "mariadb"])
    parser.add_argument("--delay", type=float, default=0, help="milliseconds of round trip added to the database")
    parser.add_argument("--operations", type=int, help="metadata operations of each kind, instead of 1000 to 5000, fewer with a delay")
    parser.add_argument("--only", choices=["meta", "data"])
    parser.add_argument("--peers", default="zestfs,reference,local")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    outs = [run(kind, options) for kind in options.peers.split(",")]
    show(outs)
    if options.json:
        json.dump({"options": vars(options), "outs": outs}, open(options.json, "w"), indent=1)


main()
