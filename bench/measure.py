"""What the benchmarks share: time, CPU and memory of a client while some work runs."""
import contextlib
import multiprocessing
import os
import re
import sys
import time

TICK = os.sysconf("SC_CLK_TCK")
MiB = 1 << 20


def cpu_seconds(pids):
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            total += sum(int(field) for field in fields[11:15]) / TICK  # with the children that ended
    return total


def memory(pids, field):
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            match = re.search(field + r":\s+(\d+) kB", open(f"/proc/{pid}/status").read())
            total += int(match.group(1)) * 1024 if match else 0
    return total


def drop_caches():
    os.sync()
    with contextlib.suppress(OSError):
        open("/proc/sys/vm/drop_caches", "w").write("3")


def measure(target, name, count, work, results, unit="ops/s", amount=None):
    before, server_before, started = cpu_seconds(target.pids()), cpu_seconds(target.server_pids()), time.monotonic()
    work()
    seconds = time.monotonic() - started
    cpu, server = cpu_seconds(target.pids()) - before, cpu_seconds(target.server_pids()) - server_before
    row = {"name": name, "rate": (amount or count) / seconds, "unit": unit, "seconds": seconds}
    if amount is None:
        row["cpu_us"], row["server_us"] = cpu / count * 1e6, server / count * 1e6
    else:
        row["cpu_s_per_GiB"] = cpu / (amount / 1024)
    results.append(row)
    print(f"    {target.kind:10} {name:28} {row['rate']:12,.1f} {unit:7} cpu {cpu:7.2f} s", file=sys.stderr, flush=True)


def in_processes(number, function, *arguments):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=function, args=(index, *arguments)) for index in range(number)]
    [w.start() for w in workers]
    [w.join() for w in workers]
    if any(w.exitcode for w in workers):
        raise SystemExit("a worker of the benchmark failed")


def create(index, folder, count, data, fsync=False):
    for number in range(count):
        fd = os.open(f"{folder}/{index}-{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        if data:
            os.write(fd, data)
        if fsync:
            os.fsync(fd)
        os.close(fd)


def each(index, folder, count, call):
    for number in range(count):
        call(f"{folder}/{index}-{number}")


def read_file(path):
    fd = os.open(path, os.O_RDONLY)
    os.read(fd, 1 << 20)
    os.close(fd)
