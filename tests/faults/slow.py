#!/usr/bin/env python3
"""A network to the database that is slow, or stands still for a while: the same results, only later.

slow.py [CASE...]
"""
import os
import subprocess
import time

from work import Exact, check_volume, with_outage, zest
from proxy import Proxy
import servers

STALL = float(os.environ.get("ZEST_STALL", "3"))
STEPS = int(os.environ.get("ZEST_STEPS", "12"))


class Distant(zest.Volume):
    """A volume whose mounts reach the database by way of a proxy."""

    def __init__(self, server):
        super().__init__("--trash-days", "0", meta=server.url)
        self.proxy, self.direct = Proxy(server.address), self.meta
        self.meta = server.through(self.proxy)


def at_a_distance(server):
    volume = Distant(server)
    for ms in (1, 20):
        volume.proxy.delay(ms)
        mount = volume.mount(where=f"mnt{ms}")
        work = Exact(mount.path(f"work{ms}"), ms)
        for _ in range(STEPS):
            work.step()
        work.verify()
        mount.umount()
    check_volume(volume.direct)


def through_a_stall(server):
    volume = Distant(server)

    def stall():
        volume.proxy.stall()
        time.sleep(STALL)
        volume.proxy.go()
    worker = with_outage(volume, stall)
    assert not worker.errors, worker.errors
    # no longer than the stall, and what a loaded machine takes
    assert worker.longest < STALL + 30, worker.longest


def names_of_one_directory_are_looked_up_side_by_side():
    volume = Distant(servers.Redis())
    names = [str(i) for i in range(8)]
    mount = volume.mount()
    for name in names:
        open(mount.path(name), "w").close()
    mount.umount()
    mount = volume.mount()
    volume.proxy.stall()
    looking = [subprocess.Popen(["stat", mount.path(name)], stdout=subprocess.DEVNULL) for name in names]

    def listeners():
        return sum(open(f"/proc/{pid}/task/{task}/comm").read() == "fuse\n" for pid in mount.pids()
                   for task in os.listdir(f"/proc/{pid}/task"))
    # each lookup that waits for its answer holds one
    zest.wait_until(lambda: listeners() >= len(names), "all lookups are under way", 30)
    volume.proxy.go()
    assert [process.wait(zest.PATIENCE) for process in looking] == [0] * len(names)
    mount.umount()


def redis_at_a_distance():
    at_a_distance(servers.Redis())


def postgres_at_a_distance():
    at_a_distance(servers.Postgres())


def mariadb_at_a_distance():
    at_a_distance(servers.Mariadb())


def redis_through_a_stall():
    through_a_stall(servers.Redis())


def postgres_through_a_stall():
    through_a_stall(servers.Postgres())


def mariadb_through_a_stall():
    through_a_stall(servers.Mariadb())


zest.main([names_of_one_directory_are_looked_up_side_by_side, redis_at_a_distance, postgres_at_a_distance, mariadb_at_a_distance,
           redis_through_a_stall, postgres_through_a_stall, mariadb_through_a_stall])
