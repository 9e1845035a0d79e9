#!/usr/bin/env python3
"""A client that sleeps through its heartbeats: another one cleans up after it, and when it wakes it must not go on as if
nothing had happened.

The application on the sleeping mount is a process of its own, sleeper.py application DIR, so that this one holds nothing
there: it would hang with the mount.
"""
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

from work import check_volume, zest
import servers

EXPIRY = 5  # seconds: of a session with a heartbeat of one


def application(folder):
    """Holds a lock and an unlinked file; then does what it is told, and says how it went."""
    counter = os.open(f"{folder}/counter", os.O_RDWR)
    fcntl.flock(counter, fcntl.LOCK_EX)
    number = int(os.pread(counter, 20, 0))
    unlinked = os.open(f"{folder}/unlinked", os.O_RDWR | os.O_CREAT)
    os.write(unlinked, b"still open")
    os.fsync(unlinked)
    os.unlink(f"{folder}/unlinked")

    def write_counter():
        os.pwrite(counter, b"%8d\n" % (number + 1), 0)
        os.fsync(counter)

    def truncate_counter():
        os.ftruncate(counter, 3)

    def write_unlinked():
        os.pwrite(unlinked, b"more", 0)
        os.fsync(unlinked)

    def create():
        with open(f"{folder}/new", "w") as file:
            file.write("new")

    def unlock():
        fcntl.flock(counter, fcntl.LOCK_UN)
        os.close(counter)

    def lock_again():
        nonlocal counter, number
        counter = os.open(f"{folder}/counter", os.O_RDWR)
        fcntl.flock(counter, fcntl.LOCK_EX)
        number = int(os.pread(counter, 20, 0))
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            locals()[line.strip()]()
            print(0, flush=True)
        except OSError as error:
            print(error.errno, flush=True)


class Application:
    def __init__(self, folder):
        self.process = subprocess.Popen([sys.executable, __file__, "application", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        zest.on_exit(self.process.kill)
        assert self.process.stdout.readline() == "ready\n"

    def order(self, what):
        print(what, file=self.process.stdin, flush=True)

    def outcome(self):
        return int(self.process.stdout.readline())

    def do(self, what):
        self.order(what)
        return self.outcome()

    def end(self):
        self.process.stdin.close()
        self.process.wait(zest.PATIENCE)


def stands_still(pid):
    states = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat") as stat:
            states.append(stat.read().rsplit(")", 1)[1].split()[0])
    return set(states) == {"T"}


def sleeps(meta):
    volume = zest.Volume("--trash-days", "0", meta=meta)
    options = ("--heartbeat", "1s", "--no-bgjob")
    sleeper, waking = volume.mount(*options, where="sleeper"), volume.mount("--heartbeat", "1s", where="waking")
    with open(waking.path("counter"), "w") as file:
        file.write("%8d\n" % 1)
    app = Application(sleeper.path())
    assert app.do("create") == 0
    pids = sleeper.pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    zest.wait_until(lambda: all(stands_still(pid) for pid in pids), "all threads of the mount stand still")
    started = time.monotonic()
    # What was asked of the mount just then must not be done later either.
    app.order("write_counter")
    counter = os.open(waking.path("counter"), os.O_RDWR)
    fcntl.flock(counter, fcntl.LOCK_EX)  # waits until the sleeper is cleaned up after
    slept = time.monotonic() - started
    assert EXPIRY - 2 < slept < 60, slept
    os.pwrite(counter, b"%8d\n" % (int(os.pread(counter, 20, 0)) + 1), 0)
    os.fsync(counter)
    time.sleep(1)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    assert app.outcome() == errno.EIO
    for change in ("write_counter", "truncate_counter"):
        assert app.do(change) == errno.EIO, change
    assert app.do("write_unlinked") in (errno.EIO, errno.EBADF, errno.ENOENT)
    assert os.pread(counter, 20, 0) == b"%8d\n" % 2
    fcntl.flock(counter, fcntl.LOCK_UN)
    # It goes on by itself, and whoever lost a lock has to take it again.
    assert app.do("create") == 0
    app.do("unlock")
    assert app.do("lock_again") == 0
    assert app.do("write_counter") == 0
    os.close(counter)
    app.end()
    with open(waking.path("counter")) as file:
        assert int(file.read()) == 3
    for mount in (sleeper, waking):
        mount.umount()
    check_volume(meta)


def on_redis():
    sleeps(servers.Redis().url)


def on_postgres():
    sleeps(servers.Postgres().url)


def on_mariadb():
    sleeps(servers.Mariadb().url)


if sys.argv[1:2] == ["application"]:
    application(sys.argv[2])
else:
    zest.main([on_redis, on_postgres, on_mariadb])
