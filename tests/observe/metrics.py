#!/usr/bin/env python3
"""The metrics of a mount: their format, names, labels and buckets, where they are, and that they move with the work."""
import contextlib
import os
import re
import socket
import sys
import urllib.error

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import scrape
import zest

TYPES = {"C": "counter", "G": "gauge", "H": "histogram", "H(K)": "histogram"}
OTHER_PROGRAMS = ("SDK / gateway / WebDAV", "sync command")
# These come into being with their first event, which the test does not bring about.
RARE = {"transaction_restart"}


def table_rows(section):
    """The cells of the tables' rows that have a type in their second column."""
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) > 2 and (cells[1].split(" ")[0] in TYPES or cells[0] == "process_*"):
            yield cells


def names_of(cell):
    if cell.startswith("{dir,user,group}"):
        return [f"{kind}_quota_{what}" for kind in ("dir", "user", "group")
                for what in ("max_space_bytes", "max_inodes", "used_space_bytes", "used_inodes")]
    return [name.strip() for name in re.split("[/,]", cell)]


def documented():
    """Type by name of everything that the specification has for a mount."""
    text = (zest.TOP / "docs" / "behaviour" / "metrics.md").read_text()
    found = {"go_" + name: "gauge" for name in (  # of the Go collector, what has a like here
        "goroutines threads memstats_alloc_bytes memstats_sys_bytes memstats_heap_alloc_bytes memstats_heap_inuse_bytes "
        "memstats_heap_idle_bytes memstats_heap_sys_bytes sched_gomaxprocs_threads build_info").split()}
    for section in re.split(r"^##+ ", text, flags=re.M):
        if section.startswith(OTHER_PROGRAMS):
            continue
        for cells in table_rows(section):
            if cells[0] == "process_*":
                for name in re.findall(r"[a-z_]{6,}", cells[3].split(":")[1]):
                    found["process_" + name] = "counter" if name.endswith("_total") else "gauge"
                continue
            for name in names_of(cells[0]):
                found[name] = TYPES[cells[1].split(" ")[0]]
    return found


def buckets(first, factor, count):
    out = [first]
    while len(out) < count:
        out.append(out[-1] * factor)
    return out


BUCKETS = {
    "fuse_ops_durations_histogram_seconds": buckets(0.00001, 1.8, 29),
    "meta_ops_durations_histogram_seconds": buckets(0.0001, 1.5, 30),
    "transaction_durations_histogram_seconds": buckets(0.0001, 1.5, 30),
    "fuse_read_size_bytes": [4096.0 * i for i in range(1, 33)],
    "fuse_written_size_bytes": [4096.0 * i for i in range(1, 33)],
    "blockcache_read_hist_seconds": buckets(0.00001, 2, 20),
    "blockcache_write_hist_seconds": buckets(0.00001, 2, 20),
    "object_request_durations_histogram_seconds": buckets(0.01, 1.5, 25),
    "compact_size_histogram_bytes": buckets(1024.0, 2, 16),
}
def put_file(path, size):
    with open(path, "wb") as file:
        file.write(os.urandom(size))


def the_text_is_as_documented():
    vol = zest.Volume(name="obs")
    mount = vol.mount("--metrics", "127.0.0.1:0", "--custom-labels", "team:blue;rack:7")
    put_file(mount.path("a"), 100_000)
    kind, text = scrape.fetch(mount)
    assert kind.startswith("text/plain; version=0.0.4"), kind
    types, samples = scrape.parse(text)
    for name, labels, _ in samples:
        for key, value in {"vol_name": "obs", "mp": mount.point, "instance": socket.gethostname(), "team": "blue", "rack": "7"}.items():
            assert labels.get(key) == value, (name, labels)
        assert labels["juicefs_version"].startswith("1."), labels
    for name, bounds in BUCKETS.items():
        assert types[f"juicefs_{name}"] == "histogram", name
        of = [(labels, value) for found, labels, value in samples if found == f"juicefs_{name}_bucket"]
        for method in {labels.get("method") for labels, _ in of}:
            mine = [(labels["le"], value) for labels, value in of if labels.get("method") == method]
            assert [float(le) for le, _ in mine] == bounds + [float("inf")], (name, mine)
            counts = [value for _, value in mine]
            assert counts == sorted(counts), (name, counts)
    kind, text = scrape.fetch(mount, accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text") and text.endswith("# EOF\n"), kind
    scrape.parse(text)
    try:
        scrape.fetch(mount, path="/")
    except urllib.error.HTTPError as error:
        assert error.code == 404, error
    else:
        raise AssertionError("/ is served")
    mount.umount()


def everything_documented_is_exported():
    """Names and types are those of docs/behaviour/metrics.md, no more and no less."""
    vol = zest.Volume()
    mount = vol.mount("--metrics", "127.0.0.1:0", "--cache-large-write", "--heartbeat", "1")
    os.mkdir(mount.path("dir"))
    put_file(mount.path("dir", "file"), 100_000)
    zest.zestfs("quota", "set", vol.meta, "--path", "/dir", "--inodes", "100")
    zest.zestfs("quota", "set", vol.meta, "--uid", "1000", "--capacity", "1")
    zest.zestfs("quota", "set", vol.meta, "--gid", "1000", "--capacity", "1")
    with open(mount.path("dir", "file"), "rb") as file:
        file.read()
    zest.run(zest.ZESTFS, "warmup", "--evict", mount.path("dir"))
    with open(mount.path("dir", "file"), "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.read()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(mount.path("nothing"))
    wanted = {"juicefs_" + name: kind for name, kind in documented().items() if name not in RARE}
    zest.wait_until(lambda: "juicefs_user_quota_max_inodes" in scrape.parse(scrape.fetch(mount)[1])[0], "the quotas are seen", 60)
    types = {name: kind for name, kind in scrape.parse(scrape.fetch(mount)[1])[0].items() if name.removeprefix("juicefs_") not in RARE}
    assert types == wanted, (sorted(set(types.items()) ^ set(wanted.items())))
    mount.umount()


def counters_move_with_the_work():
    vol = zest.Volume()
    mount = vol.mount("--metrics", "127.0.0.1:0")
    before = {name: scrape.total(mount, name) for name in ("fuse_written_size_bytes_sum", "meta_ops_durations_histogram_seconds_count",
                                                           "transaction_durations_histogram_seconds_count")}
    put_file(mount.path("file"), 5_000_000)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(mount.path("nothing"))
    assert scrape.total(mount, "fuse_written_size_bytes_sum") - before["fuse_written_size_bytes_sum"] == 5_000_000
    assert scrape.total(mount, "fuse_ops_total", method="create") == 1
    assert scrape.total(mount, "fuse_ops_total", method="write") >= 1
    assert scrape.total(mount, "fuse_ops_io_errors", errno="ENOENT") >= 1
    assert scrape.total(mount, "object_request_data_bytes", method="PUT") == 5_000_000
    assert scrape.total(mount, "object_request_durations_histogram_seconds_count", method="PUT", storage_class="STANDARD") >= 2
    for name in ("meta_ops_durations_histogram_seconds_count", "transaction_durations_histogram_seconds_count"):
        assert scrape.total(mount, name) > before[name], name
    with open(mount.path("file")):
        assert scrape.total(mount, "fuse_open_handlers") >= 1
    zest.wait_until(lambda: scrape.total(mount, "used_space") >= 5_000_000 and scrape.total(mount, "used_inodes") >= 1,
                    "the volume's use is told", 60)
    # .stats tells the same
    with open(mount.path(".stats")) as file:
        stats = dict(line.split(" ") for line in file.read().splitlines())
    assert stats["juicefs_fuse_written_size_bytes_sum"] == "5000000", stats
    assert stats["juicefs_object_request_data_bytes_PUT"] == "5000000", stats
    assert int(stats["juicefs_object_request_durations_histogram_seconds_PUT_total"]) >= 2, stats
    mount.umount()


def the_default_port_may_be_taken():
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", 9567))
            taken.listen()
            ours = True
        except OSError:  # by somebody who may end at any time
            ours = False
        mount = zest.Volume().mount()
        assert scrape.address(mount).startswith("127.0.0.1:"), scrape.address(mount)
        assert not ours or scrape.address(mount) != "127.0.0.1:9567"
        assert "juicefs_uptime" in scrape.fetch(mount)[1]
        mount.umount()


def a_port_that_was_asked_for_is_not_replaced():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        mount = zest.Volume().mount("--metrics", f"127.0.0.1:{taken.getsockname()[1]}")
        assert scrape.address(mount) is None, scrape.address(mount)
        put_file(mount.path("works"), 10)
        mount.umount()


def labels_are_checked():
    vol = zest.Volume()
    point = os.path.join(vol.folder, "mnt")
    os.mkdir(point)
    for labels in ("a", "a:b:c", "a:b;c", "a b:c", ":c"):
        done = zest.run(zest.ZESTFS, "mount", vol.meta, point, "--custom-labels", labels, check=False)
        assert done.returncode != 0 and "invalid label" in done.stdout + done.stderr, (labels, done)


zest.main([the_text_is_as_documented, everything_documented_is_exported, counters_move_with_the_work, the_default_port_may_be_taken,
           a_port_that_was_asked_for_is_not_replaced, labels_are_checked])
