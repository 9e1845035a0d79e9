#!/usr/bin/env python3
"""--sort-dir on Redis, which keeps directories without an order."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import servers
import zest


def listings_are_sorted_on_request():
    volume = zest.Volume("--trash-days", "0", meta=servers.Redis().url)
    mount = volume.mount("--sort-dir")
    os.mkdir(mount.path("d"))
    names = [f"{n * 7919 % 3000:04}" for n in range(3000)]
    for name in names:
        os.mknod(mount.path("d", name))
    assert os.listdir(mount.path("d")) == sorted(names)
    with os.scandir(mount.path("d")) as entries:
        assert [entry.name for entry in entries if entry.is_file()] == sorted(names)
    mount.umount()


zest.main([listings_are_sorted_on_request])
