#!/usr/bin/env python3
"""Measures the content of files: streams, random reads, small files and a source tree, on a local folder and on S3 (SeaweedFS, which
this starts, as it is and behind a delay). Prints tables, and JSON with --json.

content.py [--quick] [--stores local,s3,s3+20] [--apart] [--peers zestfs,reference] [--only streams,random,small,tree] [--json FILE]

Each store and client gets a fresh volume with its metadata in SQLite. A write is given twice: visible is when the last write()
returned, drained when fsync() did, with everything uploaded and committed. "store" is what 16 parallel requests of 4 MiB to the bare
store reach. CPU is that of the client's processes, user and system. fetched is what the client got from the store for each byte that
was read. Where it says cold, neither the client nor the kernel has anything cached, but a server's files; warm: the client's cache on disk has everything,
the kernel's page cache of the mount nothing, but the files of that cache, unless it says "from disk".
"""
import argparse
import json
import mmap
import os
import random
import re
import subprocess
import sys
import sysconfig
import tarfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "lib"))
import stores
import zest
from delay import Delay
from measure import MiB, cpu_seconds, drop_caches, in_processes, memory

STREAMS = 8
CPUS = sorted(os.sched_getaffinity(0))


class Store:
    """A local folder, or an S3 server behind a delay. An S3 server gets half of the CPUs to itself if it is to be apart."""

    def __init__(self, name, apart):
        self.name, self.port, self.storage = name, None, None
        self.reaches = {}
        if name == "local":
            return
        if apart:
            os.sched_setaffinity(0, CPUS[:len(CPUS) // 2])
        self.server = stores.Weed()
        _, _, delay = name.partition("+")
        if delay:
            self.delay = Delay((stores.servers.HOST, self.server.port), float(delay))
            self.port = self.delay.port
        if apart:
            os.sched_setaffinity(0, CPUS[len(CPUS) // 2:])
        self.storage = self.server.storage(self.port, bucket="volumes")

    def measure(self, size):
        """MiB/s of 16 parallel requests for objects of 4 MiB, without any file system."""
        if not self.storage:
            return
        out = self.server.objbench("--skip-functional-tests", "--big-object-size", str(size), "--small-objects", "16", "--threads", "16",
                                   "--json", port=self.port)
        for item in json.loads(out.stdout)["items"]:
            rate = re.match(r"([\d.]+) MiB/s", item["value"])
            if rate:
                self.reaches[item["item"].split()[0]] = float(rate.group(1))


class Client:
    """A mount of a fresh volume by zestfs or by the reference."""

    def __init__(self, kind, store):
        self.kind, self.store, self.peak, self.results = kind, store, 0, []
        self.volume = zest.Volume("--trash-days", "0", storage=store.storage, name=f"{kind}-{store.name.replace('+', '-')}")
        self.binary = zest.tool("juicefs") if kind == "reference" else zest.ZESTFS
        self.cache = os.path.join(self.volume.folder, "cache-mnt")
        self.start()

    def start(self):
        self.mount = self.volume.mount("--max-fuse-io", "1M", binary=self.binary)

    def stop(self):
        self.peak = max(self.peak, memory(self.mount.pids(), "VmHWM"))
        self.mount.umount()

    def path(self, *names):
        return self.mount.path(*names)

    def cold(self):
        self.stop()
        subprocess.run(["rm", "-rf", self.cache])
        if not self.store.storage:
            drop_caches()  # a server keeps what it has in memory, as when it was measured alone
        self.start()

    def warm_up(self, path):
        """All blocks of it in the client's cache on disk; a stream may run faster than that disk takes them."""
        zest.run(self.binary, "warmup", path)

    def fetched(self):
        """Bytes got from the store so far."""
        with open(self.path(".stats")) as stats:
            return sum(float(line.split()[1]) for line in stats if line.startswith("juicefs_object_request_data_bytes_GET"))

    def measure(self, name, work, count=None, unit="ops/s", size_mib=None):
        """work may give the seconds after which its writes were visible."""
        cpu, fetched, began = cpu_seconds(self.mount.pids()), self.fetched(), time.monotonic()
        visible = work()
        seconds = time.monotonic() - began
        cpu, fetched = cpu_seconds(self.mount.pids()) - cpu, self.fetched() - fetched
        row = {"name": name, "rate": (size_mib or count) / seconds, "unit": "MiB/s" if size_mib else unit, "seconds": seconds,
               "fetched_mib": fetched / MiB}
        if size_mib:
            row["cpu_s_per_GiB"] = cpu / size_mib * 1024
        else:
            row["cpu_us"] = cpu / count * 1e6
        if visible:
            row["visible"] = (size_mib or count) / visible
        self.results.append(row)
        print(f"    {self.kind:10} {name:28} {row['rate']:12,.1f} {row['unit']:7} cpu {cpu:7.2f} s", file=sys.stderr, flush=True)


def write_stream(index, folder, size):
    """Gives the seconds until the last write returned."""
    block, began = random.Random(index).randbytes(MiB), time.monotonic()
    with open(f"{folder}/stream-{index}", "wb", buffering=0) as file:
        for _ in range(size // MiB):
            file.write(block)
        visible = time.monotonic() - began
        os.fsync(file.fileno())
    return visible


def read_stream(index, folder):
    with open(f"{folder}/stream-{index}", "rb", buffering=0) as file:
        buffer = bytearray(MiB)
        while file.readinto(buffer):
            pass


def forget_pages(path):
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def streams(client, options):
    size = options.size * MiB
    for name, folder, count in (("1 stream", "one", 1), (f"{STREAMS} streams", "many", STREAMS)):
        os.mkdir(client.path(folder))
        each, total = size // count // MiB * MiB, size // count // MiB * count
        write = (lambda: write_stream(0, client.path(folder), each)) if count == 1 else (
            lambda: in_processes(count, write_stream, client.path(folder), each))

        def read():
            in_processes(count, read_stream, client.path(folder))
        client.measure(f"write {name}, drained", write, size_mib=total)
        client.cold()
        client.measure(f"read {name} cold", read, size_mib=total)
        client.warm_up(client.path(folder))
        drop_caches()
        client.measure(f"read {name} warm, from disk", read, size_mib=total)
        for index in range(count):
            forget_pages(client.path(folder, f"stream-{index}"))
        client.measure(f"read {name} warm", read, size_mib=total)


def random_reads(path, size, offsets):
    """Past the page cache of the mount, so that each read reaches the client."""
    memory_page = mmap.mmap(-1, size)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    for offset in offsets:
        os.preadv(fd, [memory_page], offset)
    os.close(fd)


def random_access(client, options):
    size = options.size * MiB
    os.makedirs(client.path("random"), exist_ok=True)
    path = client.path("random", "stream-0")
    write_stream(0, client.path("random"), size)
    for read_size, name, cold, warm in ((4096, "4 KiB", 500, 50_000), (128 * 1024, "128 KiB", 250, 5_000)):
        rng = random.Random(read_size)
        client.cold()
        offsets = [rng.randrange(size // read_size) * read_size for _ in range(cold // (5 if options.quick else 1))]
        client.measure(f"random {name} cold", lambda: random_reads(path, read_size, offsets), size_mib=None, count=len(offsets))
        client.results[-1]["fetched_per_byte"] = client.results[-1]["fetched_mib"] * MiB / (len(offsets) * read_size)
        client.warm_up(path)
        read_stream(0, client.path("random"))  # so that the page cache has the cache's files
        forget_pages(path)
        offsets = [rng.randrange(size // read_size) * read_size for _ in range(warm // (5 if options.quick else 1))]
        client.measure(f"random {name} warm", lambda: random_reads(path, read_size, offsets), count=len(offsets))


def write_files(index, folder, count, size):
    data = random.Random(index).randbytes(size)
    for number in range(count):
        with open(f"{folder}/{index}-{number}", "wb", buffering=0) as file:
            file.write(data)


def read_files(index, folder, count, size):
    for number in range(count):
        with open(f"{folder}/{index}-{number}", "rb", buffering=0) as file:
            assert len(file.read()) == size


def small_files(client, options):
    for size, name in ((4096, "4 KiB"), (100 * 1024, "100 KiB")):
        folder, count = client.path(f"small-{size}"), (800 if options.quick else 10_000) // STREAMS
        os.mkdir(folder)
        client.measure(f"write files of {name}", lambda: in_processes(STREAMS, write_files, folder, count, size), count=count * STREAMS, unit="files/s")
        client.cold()
        client.measure(f"read files of {name} cold", lambda: in_processes(STREAMS, read_files, folder, count, size), count=count * STREAMS, unit="files/s")
        drop_caches()
        client.measure(f"read files of {name} warm", lambda: in_processes(STREAMS, read_files, folder, count, size), count=count * STREAMS, unit="files/s")


def source_tree(client, options):
    """Python's library as a tar file: unpacked, compiled, removed."""
    archive, source = f"{zest.temp_dir('tree')}/tree.tar", sysconfig.get_paths()["stdlib"]
    parts = ["email", "json", "asyncio"] if options.quick else sorted(os.listdir(source))
    with tarfile.open(archive, "w") as tar:
        for part in parts:
            tar.add(f"{source}/{part}", f"tree/{part}", filter=lambda entry: None if entry.name.endswith((".pyc", "-packages")) else entry)
    with tarfile.open(archive) as tar:
        files = sum(entry.isfile() for entry in tar)
    tree = client.path("tree")
    client.measure("unpack a source tree", lambda: zest.run("tar", "xf", archive, "-C", client.path(), "--no-same-owner") and None, count=files, unit="files/s")
    client.measure("compile it", lambda: zest.run(sys.executable, "-m", "compileall", "-qq", tree, check=False) and None, count=files, unit="files/s")
    client.measure("remove it", lambda: zest.run("rm", "-rf", tree) and None, count=files, unit="files/s")


PARTS = {"streams": streams, "random": random_access, "small": small_files, "tree": source_tree}


def show(store, clients):
    print(f"\n{store.name:30}" + "".join(f"{c.kind:>46}" for c in clients))
    for action, rate in store.reaches.items():
        print(f"store: {action:23}{rate:>12,.0f} MiB/s")
    for rows in zip(*(c.results for c in clients)):
        line = f"{rows[0]['name']:30}"
        for row in rows:
            cpu = f"{row['cpu_us']:.0f} us" if "cpu_us" in row else f"{row['cpu_s_per_GiB']:.2f} s/GiB"
            more = f"visible {row['visible']:,.0f}" if "visible" in row else ""
            if "fetched_per_byte" in row:
                more = f"fetched x{row['fetched_per_byte']:.1f}"
            action = "upload" if row["name"].startswith("write") else "download"
            if row["unit"] == "MiB/s" and action in store.reaches and "warm" not in row["name"]:
                row["of_store"] = row["rate"] / store.reaches[action]
                more += f" {row['of_store']:.0%} of store"
            line += f"{row['rate']:>10,.0f} {row['unit']:7}{cpu:>11}{more:>25}"
        print(line)
    for client in clients:
        print(f"{client.kind}: peak memory {client.peak / MiB:.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--stores", default="local,s3,s3+20", help="s3+MS: every answer of the store comes so much later")
    parser.add_argument("--apart", action="store_true", help="store and client share no CPU, as if they were two machines")
    parser.add_argument("--peers", default="zestfs,reference")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--size", type=int, help="MiB of the streams")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    options.size = options.size or (256 if options.quick else 1024)
    outs = []
    for name in options.stores.split(","):
        store, clients = Store(name, options.apart), []
        store.measure(options.size)
        for kind in options.peers.split(","):
            client = Client(kind, store)
            for part in options.only.split(","):
                PARTS[part](client, options)
            client.stop()
            clients.append(client)
        show(store, clients)
        outs.append({"store": name, "reaches": store.reaches, "clients": [{"kind": c.kind, "peak_rss": c.peak, "results": c.results} for c in clients]})
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"options": vars(options), "outs": outs}, file, indent=1)


main()
