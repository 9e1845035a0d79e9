#!/usr/bin/env python3
"""Locks on a real mount, between processes and between two mounts of one volume."""
import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import time

from common import Once, expect, write_file, zest

main = Once()

# A process that obeys lines on its stdin: what it did goes to stdout.
OBEDIENT = """
import fcntl, os, signal, struct, sys
waiting = False
def on_signal(*ignored):
    if waiting: raise InterruptedError(4, "signal")
signal.signal(signal.SIGUSR1, on_signal)
fds = {}
for line in sys.stdin:
    command, *rest = line.split()
    try:
        waiting = True
        if command == "open": fds[rest[0]] = os.open(rest[1], os.O_RDWR)
        elif command == "close": os.close(fds.pop(rest[0]))
        elif command == "flock": fcntl.flock(fds[rest[0]], int(rest[1]))
        elif command == "lockf": fcntl.lockf(fds[rest[0]], int(rest[1]), int(rest[2]), int(rest[3]))
        waiting = False
        print("ok", flush=True)
    except OSError as error:
        waiting = False
        print(error.errno, flush=True)
"""


class Process:
    def __init__(self):
        self.child = subprocess.Popen([sys.executable, "-c", OBEDIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        zest.on_exit(self.child.kill)

    def send(self, *command):
        self.child.stdin.write(" ".join(map(str, command)) + "\n")
        self.child.stdin.flush()

    def answer(self):
        return self.child.stdout.readline().strip()

    def do(self, *command):
        self.send(*command)
        return self.answer()

    def interrupted(self):
        """Sends a signal; is there an answer?"""
        self.child.send_signal(signal.SIGUSR1)
        return select.select([self.child.stdout], [], [], 0.2)[0]

    def end(self):
        self.child.stdin.close()
        self.child.wait()


EX, SH, UN, NB = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN, fcntl.LOCK_NB
BUSY = (str(errno.EAGAIN), str(errno.EACCES))


def two(path, other=None):
    a, b = Process(), Process()
    assert a.do("open", "f", path) == "ok" and b.do("open", "f", other or path) == "ok"
    return a, b


def posix_locks():
    path = write_file(main.dir("posix") + "/f", b"x" * 100)
    a, b = two(path)
    assert a.do("lockf", "f", EX | NB, 10, 0) == "ok"  # [0, 10)
    assert b.do("lockf", "f", EX | NB, 10, 5) in BUSY
    assert b.do("lockf", "f", SH | NB, 1, 9) in BUSY
    assert b.do("lockf", "f", EX | NB, 10, 10) == "ok"
    assert a.do("lockf", "f", SH | NB, 10, 0) == "ok"  # becomes shared
    assert b.do("lockf", "f", SH | NB, 10, 0) == "ok"
    assert a.do("lockf", "f", EX | NB, 10, 0) in BUSY
    assert b.do("lockf", "f", UN, 0, 0) == "ok"
    assert a.do("lockf", "f", EX | NB, 0, 0) == "ok"  # to the end
    assert b.do("lockf", "f", SH | NB, 1, 1 << 40) in BUSY
    assert a.do("lockf", "f", UN, 10, 20) == "ok"
    assert b.do("lockf", "f", EX | NB, 10, 20) == "ok"
    assert b.do("lockf", "f", EX | NB, 1, 30) in BUSY
    a.end()  # the end of a process frees its locks
    zest.wait_until(lambda: b.do("lockf", "f", EX | NB, 0, 0) == "ok", "locks of an ended process are free")
    b.end()


def who_holds_it():
    path = write_file(main.dir("getlk") + "/f", b"x" * 100)
    a = Process()
    assert a.do("open", "f", path) == "ok" and a.do("lockf", "f", EX | NB, 10, 5) == "ok"
    fd = os.open(path, os.O_RDWR)
    ask = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, start, length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, ask))
    assert (kind, start, length, pid) == (fcntl.F_WRLCK, 5, 10, a.child.pid), (kind, start, length, pid)
    ask = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 50, 5, 0)
    assert struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, ask))[0] == fcntl.F_UNLCK
    os.close(fd)
    a.end()


def closing_any_descriptor_frees_posix_locks():
    path = write_file(main.dir("anyfd") + "/f", b"x")
    a, b = two(path)
    assert a.do("lockf", "f", EX | NB, 0, 0) == "ok"
    assert a.do("open", "second", path) == "ok" and b.do("lockf", "f", EX | NB, 0, 0) in BUSY
    assert a.do("close", "second") == "ok"
    assert b.do("lockf", "f", EX | NB, 0, 0) == "ok"
    a.end(), b.end()


def locks_of_open_descriptions():
    path = write_file(main.dir("ofd") + "/f", b"x" * 10)
    setlk = 37  # F_OFD_SETLK
    one, two_ = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    want = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    fcntl.fcntl(one, setlk, want)
    expect("EAGAIN", fcntl.fcntl, two_, setlk, want)
    own = struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, 3, 2, 0)
    held = [struct.unpack("hhqqi4x", fcntl.fcntl(fd, setlk - 1, own))[0] for fd in (one, two_)]  # F_OFD_GETLK
    assert held == [fcntl.F_WRLCK, fcntl.F_UNLCK], held
    third = os.open(path, os.O_RDWR)
    os.close(third)  # another description: frees nothing
    expect("EAGAIN", fcntl.fcntl, two_, setlk, want)
    os.close(one)
    fcntl.fcntl(two_, setlk, want)
    os.close(two_)


def deadlocks():
    path = write_file(main.dir("deadlock") + "/f", b"x" * 10)
    for count in (2, 3):
        all_ = [Process() for _ in range(count)]
        for at, process in enumerate(all_):
            assert process.do("open", "f", path) == "ok" and process.do("lockf", "f", EX | NB, 1, at) == "ok"
        for at, process in enumerate(all_[:-1]):
            process.send("lockf", "f", EX, 1, at + 1)
            time.sleep(0.1)
        assert all_[-1].do("lockf", "f", EX, 1, 0) == str(errno.EDEADLK)
        for at, process in reversed(list(enumerate(all_))):
            assert at == count - 1 or process.answer() == "ok"
            assert process.do("lockf", "f", UN, 0, 0) == "ok"
        for process in all_:
            process.end()


def passing_a_lock_around_is_no_deadlock():
    path = write_file(main.dir("around") + "/f", b"x" * 10)

    def work(_):
        fd = os.open(path, os.O_RDWR)
        for i in range(60):
            for at in (0, 1, 2):
                fcntl.lockf(fd, EX, 1, at)
            for at in (i % 3, (i + 1) % 3, (i + 2) % 3):
                fcntl.lockf(fd, UN, 1, at)

    zest.Forked(work, range(4)).join()


def closing_frees_at_once():
    path = write_file(main.dir("closing") + "/f", b"x" * 10)
    other = os.open(path, os.O_RDWR)
    want = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    for lock in (lambda fd: fcntl.flock(fd, EX | NB), lambda fd: fcntl.fcntl(fd, 37, want)):
        for i in range(200):
            fd = os.open(path, os.O_RDWR)
            lock(fd)
            os.close(fd)
            assert struct.unpack("hhqqi4x", fcntl.fcntl(other, fcntl.F_GETLK, want))[0] == fcntl.F_UNLCK, i
    os.close(other)


def flocks():
    path = write_file(main.dir("flock") + "/f")
    a, b = two(path)
    assert a.do("flock", "f", SH | NB) == "ok" and b.do("flock", "f", SH | NB) == "ok"
    assert a.do("flock", "f", EX | NB) in BUSY
    assert b.do("flock", "f", UN) == "ok" and a.do("flock", "f", EX | NB) == "ok"
    assert b.do("flock", "f", SH | NB) in BUSY
    # two descriptors of one process are two owners
    assert a.do("open", "second", path) == "ok" and a.do("flock", "second", SH | NB) in BUSY
    assert a.do("close", "f") == "ok"
    assert b.do("flock", "f", EX | NB) == "ok"
    a.end(), b.end()


def two_readers_become_writers():
    a, b = two(write_file(main.dir("convert") + "/f"))
    assert a.do("flock", "f", SH) == "ok" and b.do("flock", "f", SH) == "ok"
    a.send("flock", "f", EX)  # gives its shared lock up to wait
    time.sleep(0.1)
    assert b.do("flock", "f", EX) == "ok" and b.do("flock", "f", UN) == "ok" and a.answer() == "ok"
    assert a.do("flock", "f", SH) == "ok" and b.do("flock", "f", SH) == "ok"
    assert a.do("flock", "f", EX | NB) in BUSY and b.do("flock", "f", EX | NB) == "ok"
    a.end(), b.end()


def waiting_for_a_lock():
    path = write_file(main.dir("wait") + "/f", b"x")
    a, b = two(path)
    for kind, command in (("flock", ("flock", "f")), ("lockf", ("lockf", "f"))):
        more = () if kind == "flock" else (0, 0)
        assert a.do(*command, EX | NB, *more) == "ok"
        b.send(*command, EX, *more)
        time.sleep(0.2)
        assert a.do(*command, UN, *more) == "ok"
        assert b.answer() == "ok", kind
        # a signal ends the waiting
        a.send(*command, EX, *more)
        zest.wait_until(lambda: a.interrupted(), "a signal ends the waiting")
        assert a.answer() == "4", kind
        assert b.do(*command, UN, *more) == "ok"
        assert a.do(*command, EX | NB, *more) == "ok", "what was given up is not held"
        assert a.do(*command, UN, *more) == "ok"
    a.end(), b.end()


def a_killed_waiter():
    path = write_file(main.dir("killed") + "/f", b"x")
    a, b = two(path)
    assert a.do("lockf", "f", EX | NB, 0, 0) == "ok"
    b.send("lockf", "f", EX, 0, 0)
    time.sleep(0.3)
    b.child.kill()
    b.child.wait()
    assert a.do("lockf", "f", UN, 0, 0) == "ok" and a.do("lockf", "f", EX | NB, 0, 0) == "ok"
    a.end()


def many_waiters_do_not_stop_the_mount():
    d = main.dir("many")
    path = write_file(d + "/f", b"x")
    holder = Process()
    assert holder.do("open", "f", path) == "ok" and holder.do("flock", "f", EX | NB) == "ok"
    waiters = zest.Forked(lambda _: fcntl.flock(os.open(path, os.O_RDWR), EX), range(40))
    time.sleep(0.5)
    for i in range(50):
        write_file(f"{d}/{i}", b"still served")
    assert len(os.listdir(d)) == 51
    assert holder.do("flock", "f", UN) == "ok"
    waiters.join()
    holder.end()


def locks_between_mounts():
    d = main.dir("mounts")
    path = write_file(d + "/f", b"x")
    other = main.volume.mount(where="second")
    a, b = two(path, other.path("mounts", "f"))
    assert a.do("lockf", "f", EX | NB, 0, 0) == "ok" and b.do("lockf", "f", EX | NB, 0, 0) in BUSY
    assert a.do("flock", "f", EX | NB) == "ok" and b.do("flock", "f", SH | NB) in BUSY
    b.send("flock", "f", SH)
    assert a.do("flock", "f", UN) == "ok" and b.answer() == "ok"
    assert a.do("lockf", "f", UN, 0, 0) == "ok" and b.do("lockf", "f", EX | NB, 0, 0) == "ok"
    a.end(), b.end()
    other.umount()


def unmount_leaves_all_clean():
    main.umount()


zest.main([posix_locks, who_holds_it, closing_any_descriptor_frees_posix_locks, locks_of_open_descriptions, deadlocks,
           passing_a_lock_around_is_no_deadlock, closing_frees_at_once, flocks, two_readers_become_writers,
           waiting_for_a_lock, a_killed_waiter, many_waiters_do_not_stop_the_mount, locks_between_mounts,
           unmount_leaves_all_clean])
