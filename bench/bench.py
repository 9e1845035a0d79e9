#!/usr/bin/env python3
"""Measures zestfs beside the reference's client and a plain local folder; prints a table, and JSON with --json.

bench.py [--quick] [--meta sqlite|redis|postgres|mariadb] [--delay MS] [--only meta|data] [--peers zestfs,reference,local] [--json FILE]

Each figure is taken on a fresh volume with its objects in a local folder. CPU is that of the client's processes (user and system);
server CPU is the database's. Times are wall clock of the calling program, so they hold the kernel's share, too.
"""
import argparse
import contextlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "lib"))
import zest
from measure import MiB, cpu_seconds, create, drop_caches, each, in_processes, measure, memory, read_file

class Delay:
    """A proxy that holds each byte back for a while, both ways: a distant database."""

    def __init__(self, target, ms):
        self.target, self.seconds = target, ms / 1000
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(self.target)
            for a, b in ((client, server), (server, client)):
                a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    def pump(self, source, sink):
        import queue
        waiting = queue.Queue()

        def send():
            while True:
                due, data = waiting.get()
                time.sleep(max(0, due - time.monotonic()))
                try:
                    sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)
                except OSError:
                    return
                if not data:
                    return
        threading.Thread(target=send, daemon=True).start()
        while True:
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b""
            waiting.put((time.monotonic() + self.seconds / 2, data))
            if not data:
                return


class Target:
    """Something to measure: a mount, or a plain folder."""

    def __init__(self, kind, options):
        self.kind, self.options, self.server, self.mount = kind, options, None, None
        if kind == "local":
            self.point = zest.temp_dir("bench-local")
            return
        meta = None
        if options.meta != "sqlite":
            start = {"redis": zest.redis_server, "postgres": zest.postgres_server, "mariadb": zest.mariadb_server}[options.meta]
            meta, self.server = start()
            if options.delay:
                match = re.search(r"127\.0\.0\.1:(\d+)", meta)
                meta = meta.replace(match.group(0), f"127.0.0.1:{Delay(('127.0.0.1', int(match.group(1))), options.delay).port}")
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
        out = [self.server.pid]
        with contextlib.suppress(OSError):
            out += [int(p) for p in open(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read().split()]
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


def metadata(target, options):
    results, base = [], target.point
    many = 1000 if options.quick else 5000
    if options.delay >= 10:
        many //= 10
    for threads in (1, 8):
        folder, per = f"{base}/m{threads}", many // threads
        count = per * threads
        os.mkdir(folder)
        tag = f" x{threads}"

        def all_of(function, *arguments):
            return lambda: in_processes(threads, function, folder, per, *arguments)
        measure(target, "create+close" + tag, count, all_of(create, b""), results)
        measure(target, "stat warm" + tag, count, all_of(each, os.stat), results)
        if target.mount:
            target.cold()
            base = target.point
        measure(target, "stat cold" + tag, count, all_of(each, os.stat), results)
        measure(target, "rename" + tag, count, all_of(each, lambda p: os.rename(p, p + "r")), results)
        measure(target, "list" + tag, count, lambda: os.listdir(folder), results)
        measure(target, "unlink" + tag, count, all_of(each, lambda p: os.unlink(p + "r")), results)
        measure(target, "mkdir+rmdir" + tag, count, all_of(each, lambda p: (os.mkdir(p), os.rmdir(p))), results)
        measure(target, "create 4K+close" + tag, count, all_of(create, b"x" * 4096), results)
        measure(target, "open+read 4K+close" + tag, count, all_of(each, read_file), results)
        if threads == 1:
            log = os.open(f"{folder}/log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            appends = count // 5
            measure(target, "append 100 B+fsync", appends, lambda: [(os.write(log, b"y" * 100), os.fsync(log)) for _ in range(appends)], results)
            os.close(log)
    return results


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
    target = Target(kind, options)
    out = {"kind": kind, "idle_rss": memory(target.pids(), "RssAnon")}
    out["results"] = []
    if options.only != "data":
        out["results"] += metadata(target, options)
    if options.only != "meta":
        out["results"] += content(target, options)
    out["peak_rss"] = memory(target.pids(), "VmHWM")
    target.close()
    return out


def show(outs):
    names = [r["name"] for r in outs[0]["results"]]
    print(f"{'':30}" + "".join(f"{o['kind']:>30}" for o in outs))
    for name in names:
        line = f"{name:30}"
        for out in outs:
            row = next(r for r in out["results"] if r["name"] == name)
            cpu = f"{row['cpu_us']:.0f} us" if "cpu_us" in row else f"{row['cpu_s_per_GiB']:.2f} s/GiB"
            if row.get("server_us"):
                cpu += f" +{row['server_us']:.0f}"
            line += f"{row['rate']:>12,.0f} {row['unit']:6}{cpu:>11}"
        print(line)
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
    parser.add_argument("--only", choices=["meta", "data"])
    parser.add_argument("--peers", default="zestfs,reference,local")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    outs = [run(kind, options) for kind in options.peers.split(",")]
    show(outs)
    if options.json:
        json.dump({"options": vars(options), "outs": outs}, open(options.json, "w"), indent=1)


main()
