#!/usr/bin/env python3
"""The options of mount about content, each by what it changes: files in the cache, objects, counters. flags.py [CASE...]"""
import datetime
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

MiB = 1 << 20


def stat(mount, name):
    with open(mount.path(".stats")) as stats:
        return sum(float(line.split()[1]) for line in stats if line.split()[0] == f"juicefs_{name}")


def files_below(folder, kind="raw"):
    """Sizes of the blocks in cache directories, by name; without what is still being written."""
    out = {}
    for place, _, names in os.walk(folder):
        if f"/{kind}/chunks" in place:
            out.update({name: os.path.getsize(os.path.join(place, name)) for name in names if not name.endswith(".tmp")})
    return out


def cache_of(volume, where="mnt"):
    return os.path.join(volume.folder, "cache-" + where)


def objects(volume):
    return {name for _, _, names in os.walk(volume.bucket) for name in names if name.count("_") == 2}


def write(mount, name, size, seed=1):
    data = random.Random(seed).randbytes(size)
    with open(mount.path(name), "wb") as file:
        file.write(data)
    return data


def read(mount, name):
    with open(mount.path(name), "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()


def volume(*options):
    return zest.Volume("--trash-days", "0", "--block-size", "1M", *options)


def cache_large_write():
    for option, wanted in ([], {524288 + 64}), (["--cache-large-write"], {524288 + 64, MiB + 128}):
        v = volume()
        m = v.mount(*option)
        write(m, "f", 3 * MiB + MiB // 2)
        zest.wait_until(lambda: wanted <= set(files_below(cache_of(v)).values()), f"blocks of {wanted} bytes are cached")
        if not option:
            assert set(files_below(cache_of(v)).values()) == wanted
        m.umount()


def cache_partial_only():
    for option, whole in ([], True), (["--cache-partial-only"], False):
        v = volume()
        m = v.mount()
        data = write(m, "f", 4 * MiB + 1000)
        m.umount()
        m = v.mount(*option, where="second")
        assert read(m, "f") == data
        folder = cache_of(v, "second")
        zest.wait_until(lambda: 1000 + 4 in files_below(folder).values(), "the short block is cached")
        if whole:
            zest.wait_until(lambda: list(files_below(folder).values()).count(MiB + 128) == 4, "whole blocks are cached")
        else:
            assert list(files_below(folder).values()) == [1000 + 4], files_below(folder)
        m.umount()


def cache_size_and_items():
    for options, most in (["--cache-size", "8M"], 8), (["--cache-items", "5"], 5):
        v = volume()
        m = v.mount("--cache-large-write", *options)
        for number in range(30):
            write(m, f"f{number}", MiB, number)
        zest.wait_until(lambda: 0 < len(files_below(cache_of(v))) <= most, f"at most {most} blocks are left")
        assert stat(m, "blockcache_evicts") > 0
        for number in range(30):
            assert read(m, f"f{number}") == random.Random(number).randbytes(MiB)
        m.umount()


def cache_eviction():
    v = volume()
    m = v.mount("--cache-large-write", "--cache-size", "5M", "--cache-eviction", "none")
    for number in range(20):
        write(m, f"f{number}", MiB, number)
    zest.wait_until(lambda: stat(m, "blockcache_drops") >= 10, "what does not fit is not cached")
    assert stat(m, "blockcache_evicts") == 0
    m.umount()
    v = volume()
    m = v.mount("--cache-large-write", "--cache-size", "6M", "--cache-eviction", "lru")
    write(m, "kept", MiB)
    zest.wait_until(lambda: len(files_below(cache_of(v))) == 1, "it is cached")
    kept = set(files_below(cache_of(v)))
    for number in range(15):
        time.sleep(1.1)  # uses are told apart by the second
        read(m, "kept")
        write(m, f"f{number}", MiB, number)
    assert kept <= set(files_below(cache_of(v))), "the block that was used all the time stays"
    assert stat(m, "blockcache_evicts") > 0
    m.umount()


def cache_expire():
    v = volume()
    m = v.mount("--cache-expire", "3s")
    write(m, "f", 1000)
    zest.wait_until(lambda: len(files_below(cache_of(v))) == 1, "it is cached")
    zest.wait_until(lambda: not files_below(cache_of(v)), "it is dropped after a while")
    m.umount()


def verify_cache_checksum():
    for level, checked in ("none", False), ("full", False), ("shrink", False), ("extend", True):
        v = volume()
        m = v.mount("--verify-cache-checksum", level, "--cache-large-write")
        data = write(m, "f", MiB)
        zest.wait_until(lambda: len(files_below(cache_of(v))) == 1, "it is cached")
        m.umount()
        for place, _, names in os.walk(cache_of(v)):
            for name in names:
                if "_" in name:
                    assert os.path.getsize(os.path.join(place, name)) == MiB + (0 if level == "none" else 128)
                    with open(os.path.join(place, name), "r+b") as block:
                        block.seek(5000)
                        block.write(b"broken!")
        m = v.mount("--verify-cache-checksum", level)
        fd = os.open(m.path("f"), os.O_RDONLY | os.O_DIRECT)
        part = os.pread(fd, 4096, 4096)
        assert (part == data[4096:8192]) == checked, level
        if level == "shrink":  # looks at segments that are read as a whole; "full" at whole blocks
            assert os.pread(fd, MiB, 0) == data, level
        os.close(fd)
        m.umount()


def several_cache_dirs():
    v = volume()
    folders = [os.path.join(v.folder, f"disk{number}") for number in range(3)]
    for folder in folders:
        os.mkdir(folder)
    m = zest.Mount(v.meta, f"{v.folder}/mnt", "--cache-dir", f"{v.folder}/disk*", "--cache-large-write")
    for number in range(40):
        write(m, f"f{number}", MiB, number)
    zest.wait_until(lambda: sum(len(files_below(folder)) for folder in folders) >= 30, "the blocks are cached")
    assert all(files_below(folder) for folder in folders), "on all of them"
    m.umount()


def upload_delay():
    v = volume()
    m = v.mount("--writeback", "--upload-delay", "6s")
    began = time.monotonic()
    data = write(m, "f", 3 * MiB)
    assert len(files_below(cache_of(v), "rawstaging")) == 3 and not objects(v)
    assert stat(m, "staging_blocks") == 3
    zest.wait_until(lambda: len(objects(v)) == 3 and not files_below(cache_of(v), "rawstaging"), "the blocks are uploaded")
    assert time.monotonic() - began >= 5, "not before their time"
    assert read(m, "f") == data
    m.umount()


def upload_hours():
    hour = datetime.datetime.now().hour
    v = volume()
    m = v.mount("--writeback", "--upload-hours", f"{(hour + 3) % 24},{(hour + 5) % 24}")
    write(m, "f", 2 * MiB)
    time.sleep(4)
    assert not objects(v) and stat(m, "staging_blocks") == 2
    m.umount()
    m = v.mount("--writeback", "--upload-hours", f"{hour},{(hour + 2) % 24}")
    zest.wait_until(lambda: len(objects(v)) == 2, "within the hours they are uploaded")
    m.umount()


def writeback_threshold():
    v = volume()
    m = v.mount("--writeback", "--upload-delay", "1h", "--writeback-threshold-size", "1000K")
    write(m, "f", 2 * MiB + 5000)
    assert len(objects(v)) == 2 and len(files_below(cache_of(v), "rawstaging")) == 1, "only the short block is staged"
    m.umount()


def free_space_ratio():
    v = volume()
    m = v.mount("--cache-large-write", "--free-space-ratio", "0.9999")
    for number in range(10):
        write(m, f"f{number}", MiB, number)
    zest.wait_until(lambda: len(files_below(cache_of(v))) <= 1, "the disk is to stay free")
    m.umount()


def prefetch_and_readahead():
    for options, most in (["--max-readahead", "0", "--prefetch", "0"], 4096), (["--max-readahead", "0", "--prefetch", "1"], MiB):
        v = volume()
        m = v.mount()
        write(m, "f", 8 * MiB)
        m.umount()
        m = v.mount(*options, where="second")
        fd = os.open(m.path("f"), os.O_RDONLY | os.O_DIRECT)
        before = stat(m, "object_request_data_bytes_GET")
        for number in range(40):  # an eighth of the block and more
            os.pread(fd, 4096, 3 * MiB + number * 8192)
        got = stat(m, "object_request_data_bytes_GET") - before
        if most == 4096:
            assert got == 40 * 4096, got
        else:
            zest.wait_until(lambda: len(files_below(cache_of(v, "second"))) == 1, "a block read densely is fetched whole")
        os.close(fd)
        m.umount()


def limits_follow_the_volume():
    """`config` changes the limit of uploads under a mount."""
    v = volume()
    m = v.mount("--heartbeat", "1")
    write(m, "fast", 2 * MiB)
    zest.zestfs("config", v.meta, "--upload-limit", "8", "--yes")  # about 0.85 MB a second
    time.sleep(3)
    began = time.monotonic()
    write(m, "slow", 4 * MiB)
    assert time.monotonic() - began > 3
    zest.zestfs("config", v.meta, "--upload-limit", "0", "--yes")
    m.umount()


def bucket_follows_the_volume():
    v = volume()
    m = v.mount("--heartbeat", "1")
    first = write(m, "first", MiB)
    other = f"{v.folder}/moved/"
    os.rename(v.bucket, other)
    zest.zestfs("config", v.meta, "--bucket", other, "--yes", "--force")
    zest.wait_until(lambda: os.path.isdir(other) and _readable(m, "first", first), "the moved objects are found")
    write(m, "second", MiB)
    assert not os.path.exists(v.bucket) or not objects(v)
    m.umount()


def _readable(mount, name, data):
    try:
        return read(mount, name) == data
    except OSError:
        return False


zest.main([cache_large_write, cache_partial_only, cache_size_and_items, cache_eviction, cache_expire, verify_cache_checksum,
           several_cache_dirs, upload_delay, upload_hours, writeback_threshold, free_space_ratio, prefetch_and_readahead,
           limits_follow_the_volume, bucket_follows_the_volume])
