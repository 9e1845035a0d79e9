#!/usr/bin/env python3
"""PostgreSQL behind a pooler that gives each transaction another connection: statements that one client prepared are there for
another, or are gone. Two volumes in one database, so that none takes the other's statements for its own.

pooler.py [CASE...]
"""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest
import servers


def work(mount, thread, failures):
    try:
        for i in range(60):
            path = mount.path(f"{thread}-{i}")
            with open(path, "w") as file:
                file.write("x" * i)
            os.rename(path, path + "r")
            assert os.stat(path + "r").st_size == i
            assert f"{thread}-{i}r" in os.listdir(mount.point)
            if i % 2:
                os.unlink(path + "r")
    except Exception as error:
        failures.append(repr(error))


def two_volumes():
    server = servers.Postgres()
    pooler = servers.Pooler(server)
    volumes = [zest.Volume(meta=f"{pooler.url}&table_prefix={name}", name=f"vol{name}") for name in "ab"]
    mounts = [volume.mount() for volume in volumes]
    failures = []
    threads = [threading.Thread(target=work, args=(mount, thread, failures)) for mount in mounts for thread in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    for volume, mount, name in zip(volumes, mounts, "ab"):
        assert sum(entry[0] != "." for entry in os.listdir(mount.point)) == 90
        mount.umount()
        assert "<ERROR>" not in mount.log_text() and "<WARNING>" not in mount.log_text(), mount.log_text()
        assert server.sql(f"select count(*) from jfs_{name}_edge where parent=1") == "90"
        zest.zestfs("fsck", volume.meta, "--path", "/", "-r")
    # the pooler cannot pass on what search_path asks for; it must not be ignored
    refused = zest.zestfs("status", pooler.url + "&search_path=other", check=False)
    assert refused.returncode != 0 and "options" in refused.stderr, refused.stderr


zest.main([two_volumes])
