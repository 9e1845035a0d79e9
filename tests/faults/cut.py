#!/usr/bin/env python3
"""Connections to the database that break while a change is under way: before it arrived, or after it was done and before the
answer came. Every call of the application must still do what it says, once.

cut.py [CASE...]
"""
import os

from work import Exact, check_volume, zest
from proxy import Proxy
import servers

ROUNDS = int(os.environ.get("ZEST_CUTS", "40"))


def work_through_cuts(server, seed):
    proxy = Proxy(server.address)
    volume = zest.Volume("--trash-days", "0", meta=server.url)
    mount = zest.Mount(server.through(proxy), os.path.join(volume.folder, "mnt"), "--cache-dir", os.path.join(volume.folder, "cache"))
    work = Exact(mount.path("work"), seed)
    for _ in range(20):
        work.step()
    # Losses come one at a time, as the number of the answer or request that is lost moves over all that an operation sends.
    for round in range(ROUNDS):
        before, after = proxy.lost(), round // 2 % 4
        proxy.lose_answer(after) if round % 2 else proxy.lose_request(after)
        steps = 0
        while proxy.lost() == before:
            work.step()
            steps += 1
            assert steps < 100, "nothing was lost"
    work.verify()
    mount.umount()
    mount = volume.mount(where="other")
    work.verify(mount.path("work"))
    mount.umount()
    check_volume(server.url)
    proxy.close()


def redis():
    work_through_cuts(servers.Redis(), 1)


def postgres():
    work_through_cuts(servers.Postgres(), 2)


def mariadb():
    work_through_cuts(servers.Mariadb(), 3)


zest.main([redis, postgres, mariadb])
