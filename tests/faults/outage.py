#!/usr/bin/env python3
"""Servers that die, sleep and come back under a mount that works: nothing acknowledged is lost, nothing hangs, work goes on.

outage.py [CASE...]
"""
import errno
import os
import re
import signal
import threading
import time

from work import with_outage, zest
import servers
import stores

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


def the_object_store_sleeps():
    server = stores.Weed()
    with_outage(zest.Volume("--trash-days", "0", storage=server.storage()), asleep(server.process))


def staged_blocks_survive_a_kill():
    """Write-back while the store is away: fsync returns, kill -9, and another mount finishes the upload."""
    server = stores.Weed()
    volume = zest.Volume("--trash-days", "0", storage=server.storage())
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


def the_log_says_what_is_wrong():
    """Applications learn a number only: what failed, of what, and what is waited for stands in the log."""
    server = servers.Redis(durable=True)
    volume = zest.Volume("--trash-days", "0", meta=server.url)
    mount = volume.mount()
    server.cli("acl", "setuser", "default", "-evalsha")
    try:
        os.mkdir(mount.path("refused"))
        raise AssertionError("the server refuses this")
    except OSError as error:
        assert error.errno == errno.EIO, error
    server.cli("acl", "setuser", "default", "+evalsha")
    assert re.search(r"<ERROR>: \w+ \(1,refused\S* failed: Redis: NOPERM .*evalsha", mount.log_text()), mount.log_text()

    server.kill()
    restart = threading.Timer(2.5, server.start)
    restart.start()
    os.mkdir(mount.path("waited"))
    restart.join()
    assert re.search(r"<WARNING>: the database has been away for 1 s, operations wait for it: Redis: ", mount.log_text()), mount.log_text()
    zest.wait_until(lambda: re.search(r"<WARNING>: the database is back after [2-9] s", mount.log_text()), "the log says that it is back")
    assert not re.search(r"\(1,waited.* failed", mount.log_text()), mount.log_text()
    mount.umount()


zest.main([redis_is_killed_and_restarted, redis_sleeps, postgres_is_killed_and_restarted, mariadb_sleeps, the_object_store_sleeps,
           staged_blocks_survive_a_kill, the_log_says_what_is_wrong])
