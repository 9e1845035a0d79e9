#!/usr/bin/env python3
"""Why is it slow: where the time of operations goes, what they ask of the database and the object storage, and the log of slow ones."""
import fcntl
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import scrape
import servers
import zest
from proxy import Proxy

PARTS = {"queue", "cpu", "lock", "memory", "meta", "object", "cache", "other"}


def stats(mount):
    """.stats as a dict; asking for it costs no round trip."""
    out = {}
    with open(mount.path(".stats")) as file:
        for line in file:
            name, value = line.split(" ")
            out[name] = out.get(name, 0) + float(value)
    return out


def write_file(path, size):
    with open(path, "wb") as file:
        file.write(os.urandom(size))
        file.flush()
        os.fsync(file.fileno())


def cold_volume(*options):
    """A mount that has to fetch what it reads: the file `big` of 8 MiB was written by another."""
    vol = zest.Volume()
    mount = vol.mount()
    write_file(mount.path("big"), 8 << 20)
    mount.umount()
    return vol.mount(*options, where="cold")


def the_parts_add_up():
    mount = zest.Volume().mount("--metrics", "127.0.0.1:0")
    for number in range(20):
        write_file(mount.path(f"f{number}"), 100_000)
        os.rename(mount.path(f"f{number}"), mount.path(f"g{number}"))
        with open(mount.path(f"g{number}"), "rb") as file:
            file.read()
    _, samples = scrape.parse(scrape.fetch(mount)[1])
    whole = {labels["method"]: value for name, labels, value in samples if name == "juicefs_fuse_ops_durations_seconds"}
    parts = {}
    for name, labels, value in samples:
        if name == "juicefs_fuse_ops_part_seconds":
            parts.setdefault(labels["method"], {})[labels["part"]] = value
    assert {"create", "write", "read", "rename", "fsync", "lookup"} <= set(whole), whole
    for method, seconds in whole.items():
        assert set(parts[method]) == PARTS, parts[method]
        assert abs(sum(parts[method].values()) - parts[method]["queue"] - seconds) < 1e-6, (method, parts[method], seconds)
    assert parts["rename"]["meta"] > 0 and parts["fsync"]["object"] > 0, parts
    mount.umount()


def round_trips_are_those_of_the_wire():
    server = servers.Redis()
    proxy = Proxy(server.address)
    mount = zest.Volume(meta=server.through(proxy)).mount()

    def counted(work):
        """Round trips by the proxy's count and by ours, whose difference is what came in between the two looks."""
        before, ours = proxy.trips(), stats(mount)["juicefs_meta_round_trips"]
        start = proxy.trips()
        work()
        end = proxy.trips()
        ours, after = stats(mount)["juicefs_meta_round_trips"] - ours, proxy.trips()
        assert end - start <= ours <= after - before, (end - start, ours, after - before)
        return ours

    def creates():
        for number in range(100):
            os.close(os.open(mount.path(f"f{number}"), os.O_CREAT | os.O_WRONLY))
    assert counted(creates) >= 100
    now = stats(mount)
    # each of them asks at least once, and background work does not count as theirs
    assert now["juicefs_fuse_ops_round_trips_create"] >= now["juicefs_fuse_ops_total_create"] == 100
    of_operations = sum(value for name, value in now.items() if name.startswith("juicefs_fuse_ops_round_trips_"))
    assert of_operations <= now["juicefs_meta_round_trips"], now
    mount.umount()


def a_slow_database_is_named():
    server = servers.Redis()
    proxy = Proxy(server.address)
    vol = zest.Volume(meta=server.through(proxy))
    mount = vol.mount("--slow-op", "300ms")
    proxy.delay(100)
    before = stats(mount)
    os.mkdir(mount.path("slow"))
    now = stats(mount)
    trips = now["juicefs_fuse_ops_round_trips_mkdir"] - before.get("juicefs_fuse_ops_round_trips_mkdir", 0)
    spent = now["juicefs_fuse_ops_part_seconds_mkdir_meta"] - before.get("juicefs_fuse_ops_part_seconds_mkdir_meta", 0)
    assert trips >= 1 and spent >= 0.1 * trips, (trips, spent)
    proxy.delay(400)
    os.mkdir(mount.path("slower"))
    zest.wait_until(lambda: "slow operation: " in mount.log_text() and "mkdir (1,slower," in mount.log_text(), "the slow mkdir is logged", 30)
    line = next(line for line in mount.log_text().splitlines() if "mkdir (1,slower," in line)
    assert stats(mount)["juicefs_fuse_ops_slow"] >= 1
    said = line.split("slow operation: ")[1]
    assert said.startswith(f"[uid:{os.getuid()},gid:{os.getgid()},pid:{os.getpid()}] mkdir "), line
    split = said.rsplit(">: ", 1)[1]
    assert split.startswith("meta 0.") or split.startswith("meta 1."), line
    assert split.split(", ")[-1].endswith("round trips"), line
    proxy.delay(0)
    mount.umount()


def a_slow_storage_is_named():
    mount = zest.Volume().mount("--upload-limit", "16")  # 2 MB a second
    write_file(mount.path("file"), 3_000_000)
    now = stats(mount)
    waited = sum(now.get(f"juicefs_fuse_ops_part_seconds_{method}_object", 0) for method in ("flush", "fsync", "write"))
    assert waited > 0.3, now
    mount.umount()


def waiting_for_memory_is_named():
    mount = zest.Volume().mount("--upload-limit", "160", "--buffer-size", "32")
    with open(mount.path("file"), "wb") as file:
        for _ in range(60):
            file.write(bytes(1 << 20))
    now = stats(mount)
    assert now["juicefs_buffer_waits"] >= 1 and now["juicefs_buffer_wait_seconds"] > 0, now
    assert now["juicefs_fuse_ops_part_seconds_write_memory"] > 0, now
    assert now["juicefs_buffer_limit_bytes"] == 32 << 20 and now["juicefs_used_buffer_size_bytes"] <= 32 << 20, now
    mount.umount()


def waiting_for_a_lock_is_named():
    mount = zest.Volume().mount()
    code = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code, mount.path("lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    zest.on_exit(holder.kill)
    assert holder.stdout.readline() == "held\n"
    waiter = subprocess.Popen(["flock", mount.path("lock"), "true"])
    time.sleep(1)
    holder.communicate()
    assert waiter.wait(zest.PATIENCE) == 0
    zest.wait_until(lambda: stats(mount).get("juicefs_fuse_ops_part_seconds_flock_lock", 0) >= 0.5, "the wait is told", 10)
    mount.umount()


def what_is_fetched_is_told():
    mount = cold_volume("--prefetch", "0")
    with open(mount.path("big"), "rb") as file:
        for at in (5_000_000, 1_000_000, 7_000_000):
            os.pread(file.fileno(), 4096, at)
    now = stats(mount)
    told = {name: value for name, value in now.items() if name.startswith("juicefs_fetched_bytes")}
    # without compression every byte of an answer is a byte of a block
    assert sum(told.values()) == now["juicefs_object_request_data_bytes_GET"], (told, now)
    assert now["juicefs_read_amplification"] >= 1, now
    mount.umount()
    mount = cold_volume()
    for _ in range(2):
        with open(mount.path("big"), "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while file.read(1 << 20):
                pass
    now = stats(mount)
    assert now["juicefs_object_request_data_bytes_GET"] == 8 << 20, now
    assert now["juicefs_fuse_ops_part_seconds_read_object"] > 0 and now["juicefs_fuse_ops_part_seconds_read_cache"] > 0, now
    mount.umount()


zest.main([the_parts_add_up, round_trips_are_those_of_the_wire, a_slow_database_is_named, a_slow_storage_is_named,
           waiting_for_memory_is_named, waiting_for_a_lock_is_named, what_is_fetched_is_told])
