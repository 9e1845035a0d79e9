#!/usr/bin/env python3
"""Long observation: a million operations under `stats`, an open access log and several scrapers at once; nothing grows."""
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import scrape
import zest

OPERATIONS = 1_000_000
SCRAPERS = 4


def resident(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) * 1024


def operate(mount, count):
    """That many operations of the mount, a thousand at a time on one file: open, getattr, read, flush and release."""
    path = mount.path("file")
    done = 0
    while done < count:
        for _ in range(200):
            fd = os.open(path, os.O_RDONLY)
            os.fstat(fd)
            os.pread(fd, 100, 0)
            os.close(fd)
        done = scrape.total(mount, "fuse_ops_total")


def a_million_operations():
    mount = zest.Volume().mount("--metrics", "127.0.0.1:0", "--attr-cache", "0", "--entry-cache", "0")
    with open(mount.path("file"), "wb") as file:
        file.write(bytes(1000))
    table = os.path.join(zest.temp_dir("stats"), "table")
    with open(table, "wb") as into:
        watcher = subprocess.Popen([zest.ZESTFS, "stats", mount.point, "--schema", "tufmcogw", "-l", "1"], stdout=into)
    log = subprocess.Popen(["cat", mount.path(".accesslog")], stdout=subprocess.DEVNULL)
    zest.on_exit(watcher.kill)
    zest.on_exit(log.kill)
    stop, problems, scrapes = threading.Event(), [], [0] * SCRAPERS

    def keep_scraping(index):
        last = 0
        try:
            while not stop.wait(0.05):
                _, samples = scrape.parse(scrape.fetch(mount)[1])
                now = sum(value for name, _, value in samples if name == "juicefs_fuse_ops_total")
                assert now >= last, f"a counter went back from {last} to {now}"
                last = now
                scrapes[index] += 1
        except Exception as problem:
            problems.append(problem)
    scrapers = [threading.Thread(target=keep_scraping, args=(index,)) for index in range(SCRAPERS)]
    for scraper in scrapers:
        scraper.start()
    server = mount.pids()[-1]
    operate(mount, OPERATIONS // 10)
    before = resident(server), resident(watcher.pid)
    operate(mount, OPERATIONS)
    after = resident(server), resident(watcher.pid)
    stop.set()
    for scraper in scrapers:
        scraper.join()
    assert not problems, problems
    assert scrape.total(mount, "fuse_ops_total") >= OPERATIONS and min(scrapes) > 10, scrapes
    _, samples = scrape.parse(scrape.fetch(mount)[1])
    histogram = next(value for name, _, value in samples if name == "juicefs_fuse_ops_durations_histogram_seconds_count")
    assert abs(histogram - sum(value for name, _, value in samples if name == "juicefs_fuse_ops_total")) <= 16, "counts differ"
    assert after[0] - before[0] < 8 << 20 and after[1] - before[1] < 2 << 20, (before, after)
    assert watcher.poll() is None and log.poll() is None
    watcher.kill()
    log.kill()
    watcher.wait()
    log.wait()
    with open(table) as file:
        assert len(file.readlines()) > 10
    mount.umount()


zest.main([a_million_operations])
