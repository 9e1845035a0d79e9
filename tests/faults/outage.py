#!/usr/bin/env python3
"""Servers that die, sleep and come back under a mount that works: nothing acknowledged is lost, nothing hangs, work goes on.

outage.py [CASE...]
"""
import json
import os
import signal
import subprocess
import time

from work import with_outage, zest
import servers

SLEEP = float(os.environ.get("ZEST_OUTAGE", "4"))


def redis_is_killed_and_restarted():
    server = servers.Redis(durable=True)

    def outage():
        for _ in range(3):
            server.kill()
            time.sleep(1)
            server.start()
    with_outage(zest.Volume("--trash-days", "0", meta=server.url), outage)


def asleep(process):
    def outage():
        process.send_signal(signal.SIGSTOP)
        time.sleep(SLEEP)
        process.send_signal(signal.SIGCONT)
    return outage


def redis_sleeps():
    server = servers.Redis(durable=True)
    with_outage(zest.Volume("--trash-days", "0", meta=server.url), asleep(server.process))


def postgres_is_killed_and_restarted():
    server = servers.Postgres()

    def outage():
        for pid in server.backends():
            # a killed backend makes the server drop every connection and recover
            os.kill(pid, signal.SIGKILL)
        time.sleep(1)
    with_outage(zest.Volume("--trash-days", "0", meta=server.url), outage)


def mariadb_sleeps():
    server = servers.Mariadb()
    with_outage(zest.Volume("--trash-days", "0", meta=server.url), asleep(server.process))


class Weed:
    """An S3 server of the test's own."""

    def __init__(self):
        folder = zest.temp_dir("weed")
        config = {"identities": [{"name": "t", "credentials": [{"accessKey": "zest", "secretKey": "zestsecret"}],
                                  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
        json.dump(config, open(f"{folder}/s3.json", "w"))
        ports = servers.free_ports(8)
        self.process = subprocess.Popen(
            [zest.tool("weed"), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", f"-master.port={ports[0]}",
             f"-volume.port={ports[1]}", "-filer", f"-filer.port={ports[2]}", "-s3", f"-s3.port={ports[3]}", f"-s3.config={folder}/s3.json",
             f"-master.port.grpc={ports[4]}", f"-volume.port.grpc={ports[5]}", f"-filer.port.grpc={ports[6]}", f"-s3.port.grpc={ports[7]}",
             "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=100", "-master.volumeSizeLimitMB=64"], stdout=open(f"{folder}/log", "w"), stderr=subprocess.STDOUT)
        zest.on_exit(self.process.kill)
        self.storage = ["--storage", "s3", "--bucket", f"http://127.0.0.1:{ports[3]}/bucket", "--access-key", "zest", "--secret-key", "zestsecret"]

        def ready():
            assert self.process.poll() is None, open(f"{folder}/log").read()[-2000:]
            # a server that has just begun may leave a request without an answer: ask anew instead of waiting for it
            probe = ["objbench", *self.storage[:2], *self.storage[4:], "--skip-functional-tests", "--big-object-size", "4", "--small-objects", "1",
                     "--threads", "1", self.storage[3]]
            try:
                return zest.zestfs(*probe, check=False, timeout=10).returncode == 0
            except subprocess.TimeoutExpired:
                return False
        zest.wait_until(ready, "the S3 server answers", 2 * zest.PATIENCE)


def the_object_store_sleeps():
    server = Weed()
    with_outage(zest.Volume("--trash-days", "0", storage=server.storage), asleep(server.process))


def staged_blocks_survive_a_kill():
    """Write-back while the store is away: fsync returns, kill -9, and another mount finishes the upload."""
    server = Weed()
    volume = zest.Volume("--trash-days", "0", storage=server.storage)
    mount = volume.mount("--writeback")
    server.process.send_signal(signal.SIGSTOP)
    data = os.urandom(9 << 20)
    with open(mount.path("f"), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    mount.kill()
    server.process.send_signal(signal.SIGCONT)
    mount = volume.mount("--writeback")
    with open(mount.path("f"), "rb") as file:
        assert file.read() == data
    zest.wait_until(lambda: zest.zestfs("fsck", volume.meta, check=False).returncode == 0, "the staged blocks are uploaded")
    mount.umount()
    plain = volume.mount("--cache-size", "0", where="other")
    with open(plain.path("f"), "rb") as file:
        assert file.read() == data
    plain.umount()


zest.main([redis_is_killed_and_restarted, redis_sleeps, postgres_is_killed_and_restarted, mariadb_sleeps, the_object_store_sleeps,
           staged_blocks_survive_a_kill])
