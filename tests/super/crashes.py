#!/usr/bin/env python3
"""The process that serves a mount is killed; the supervisor starts another, and applications go on with what they had open."""
import contextlib
import errno
import fcntl
import mmap
import os
import signal
import subprocess
import sys
import threading
import time

from common import Background, check, config, kill_worker, log_has, serving, sessions, zest


def open_files_go_on():
    volume = zest.Volume()
    mount = volume.mount()
    written = os.open(mount.path("written"), os.O_RDWR | os.O_CREAT)
    os.write(written, b"safe")
    os.fsync(written)
    appended = os.open(mount.path("appended"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(appended, b"one ")
    os.fsync(appended)
    gone = os.open(mount.path("gone"), os.O_RDWR | os.O_CREAT)
    os.write(gone, b"no name")
    os.fsync(gone)
    os.unlink(mount.path("gone"))
    nameless = os.open(mount.point, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(nameless, b"never had one")
    os.fsync(nameless)
    stats = os.open(mount.path(".stats"), os.O_RDONLY)
    before = sessions(volume)
    mapped = mmap.mmap(written, 4)
    kill_worker(mount)
    assert sessions(volume) == before, "the session is the same"
    assert os.pread(written, 10, 0) == b"safe" and mapped[:] == b"safe"
    os.pwrite(written, b"SAFE", 0)
    os.write(appended, b"two")
    assert os.pread(gone, 10, 0) == b"no name" and os.fstat(gone).st_nlink == 0
    assert os.pread(nameless, 20, 0) == b"never had one"
    assert os.pread(stats, 10, 0)
    top = os.open(mount.point, os.O_RDONLY | os.O_DIRECTORY)
    os.link(f"/proc/self/fd/{nameless}", "named", dst_dir_fd=top, follow_symlinks=True)
    os.close(top)
    mapped.close()
    for fd in (written, appended, gone, nameless, stats):
        os.close(fd)
    assert open(mount.path("written"), "rb").read() == b"SAFE"
    assert open(mount.path("appended"), "rb").read() == b"one two"
    assert open(mount.path("named"), "rb").read() == b"never had one"
    assert sorted(n for n in os.listdir(mount.point) if not n.startswith(".")) == ["appended", "named", "written"]
    mount.umount()
    assert not sessions(volume)
    zest.zestfs("fsck", volume.meta)


def lost_writes_are_told_once():
    volume = zest.Volume()
    mount = volume.mount()

    def lose(*more_flags):
        path = mount.path(f"f{len(os.listdir(mount.point))}")
        fds = [os.open(path, os.O_RDWR | os.O_CREAT | flag) for flag in (0, *more_flags)]
        os.write(fds[0], b"a" * 1000)
        os.fsync(fds[0])
        os.pwrite(fds[0], b"b" * 1000, 1000)
        kill_worker(mount)
        time.sleep(2.1)  # a process that lived that long did not die at once
        return path, fds

    def fails(call, *arguments):
        try:
            call(*arguments)
        except OSError as error:
            assert error.errno == errno.EIO, error
            return
        raise AssertionError(f"{call.__name__} told nothing")

    path, (fd, other) = lose(0)
    assert os.pread(fd, 5000, 0) == b"a" * 1000, "what fsync acknowledged, and nothing of what was lost"
    fails(os.pwrite, fd, b"c", 1000)
    os.pwrite(fd, b"c", 1000)
    fails(os.fsync, fd)  # the kernel hides the first from who is in the middle of a large write
    os.fsync(fd)
    os.close(fd)
    fails(os.fsync, other)  # each descriptor is told
    os.fsync(other)
    os.close(other)
    assert open(path, "rb").read() == b"a" * 1000 + b"c"
    _, (fd,) = lose()
    fails(os.close, fd)
    path, (fd,) = lose()
    twin = os.dup(fd)  # one open file
    fails(os.fsync, twin)
    os.close(twin)
    os.close(fd)
    # what became safe by itself is not reported
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"x" * 10)
    objects = lambda: sum(len(files) for _, _, files in os.walk(volume.bucket))
    before = objects()
    zest.wait_until(lambda: objects() > before, "the data is uploaded by itself")
    time.sleep(2.5)
    kill_worker(mount)
    os.fsync(fd)
    os.close(fd)
    assert open(path, "rb").read(10) == b"x" * 10
    mount.umount()


def locks_stay():
    volume = zest.Volume()
    mount = volume.mount()
    holder = os.open(mount.path("f"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    ranges = os.open(mount.path("r"), os.O_RDWR | os.O_CREAT)
    fcntl.lockf(ranges, fcntl.LOCK_EX, 10, 0)

    def other(code):
        return subprocess.run([sys.executable, "-c", "import fcntl, os, sys\n" + code, mount.point], capture_output=True, text=True)

    try_flock = "fd = os.open(sys.argv[1] + '/f', os.O_RDWR)\nfcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    try_range = "fd = os.open(sys.argv[1] + '/r', os.O_RDWR)\nfcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)"
    waiter = subprocess.Popen([sys.executable, "-c",
                               "import fcntl, os, sys\nfd = os.open(sys.argv[1] + '/f', os.O_RDWR)\nprint('waits', flush=True)\n"
                               "fcntl.flock(fd, fcntl.LOCK_EX)\nprint('has it', flush=True)", mount.point],
                              stdout=subprocess.PIPE, text=True)
    assert waiter.stdout.readline() == "waits\n"
    time.sleep(0.5)
    kill_worker(mount)
    for attempt in (try_flock, try_range):
        assert "BlockingIOError" in other(attempt).stderr, "the lock is held still"
    assert waiter.poll() is None
    fcntl.flock(holder, fcntl.LOCK_UN)
    assert waiter.stdout.readline() == "has it\n", "who waited at the crash waits on"
    assert waiter.wait(zest.PATIENCE) == 0
    fcntl.flock(holder, fcntl.LOCK_EX)
    time.sleep(2.1)
    kill_worker(mount)
    os.close(holder)  # releases a lock that an earlier process granted
    os.close(ranges)
    for attempt in (try_flock, try_range):
        done = other(attempt)
        assert done.returncode == 0, done.stderr
    mount.umount()


def listings_go_on():
    """Nothing is left out or given twice, though names go away while the listing goes on."""
    meta = zest.redis_server()[0]
    for volume in (zest.Volume(), zest.Volume(meta=meta)):
        mount = volume.mount()
        os.mkdir(mount.path("d"))
        names = {f"file-with-a-long-name-{i:05}" for i in range(3000)}
        for name in names:
            os.close(os.open(mount.path("d", name), os.O_CREAT | os.O_WRONLY))
        seen = []
        with os.scandir(mount.path("d")) as listing:
            for entry in listing:
                seen.append(entry.name)
                if len(seen) == 500:
                    for name in seen[:400]:
                        os.unlink(mount.path("d", name))
                    kill_worker(mount)
        assert len(seen) == len(set(seen)) and set(seen) == names, (len(seen), len(set(seen)), len(names - set(seen)))
        mount.umount()


def operations_under_way():
    """Requests that the process had begun are carried out once, whatever it had done of them."""
    volume = zest.Volume("--trash-days", "0")
    mount = volume.mount()
    stop = threading.Event()
    problems, done = [], [0]

    def make_and_break(folder):
        base, number = mount.path(folder), 0
        os.mkdir(base)
        while not stop.is_set():
            number += 1
            try:
                os.mkdir(f"{base}/d{number}")
                os.close(os.open(f"{base}/d{number}/new", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                os.link(f"{base}/d{number}/new", f"{base}/link{number}")
                os.symlink("target", f"{base}/sym{number}")
                os.rename(f"{base}/link{number}", f"{base}/d{number}/moved")
                os.unlink(f"{base}/d{number}/new")
                os.unlink(f"{base}/sym{number}")
                os.unlink(f"{base}/d{number}/moved")
                os.rmdir(f"{base}/d{number}")
            except OSError as error:
                problems.append((folder, number, error))
                return
            done[0] += 1

    threads = [threading.Thread(target=make_and_break, args=(f"t{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(2.2)
        kill_worker(mount)
    stop.set()
    for thread in threads:
        thread.join()
    assert not problems, problems
    assert done[0] > 0
    for i in range(4):
        assert os.listdir(mount.path(f"t{i}")) == [], os.listdir(mount.path(f"t{i}"))
    mount.umount()
    check(volume)


def a_crash_loop_ends():
    volume = zest.Volume()
    mount = volume.mount()
    deadline = time.monotonic() + zest.PATIENCE
    killed = set()
    while mount.process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), open(f"/proc/{mount.process.pid}/task/{mount.process.pid}/children") as children:
            for pid in map(int, children.read().split()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
        time.sleep(0.02)
    assert mount.process.wait(zest.PATIENCE) == 2 and len(killed) == 3, (mount.process.returncode, killed)
    assert not zest.is_mount(mount.point) and log_has(mount, "giving up on"), mount.log_text()


def stopping_between_two_processes():
    volume = zest.Volume()
    for act in ("signal", "umount"):
        mount = volume.mount()
        pid = serving(mount)
        os.kill(mount.process.pid, signal.SIGSTOP)  # the supervisor sees both at once
        os.kill(pid, signal.SIGKILL)
        if act == "signal":
            os.kill(mount.process.pid, signal.SIGTERM)
        else:
            zest.run("umount", "-l", mount.point)
        os.kill(mount.process.pid, signal.SIGCONT)
        code = mount.process.wait(zest.PATIENCE)
        assert code == (2 if act == "signal" else 0) and not zest.is_mount(mount.point), (act, code, mount.log_text())


def without_a_supervisor():
    """The supervisor's death leaves the mount working."""
    volume = zest.Volume()
    mount = volume.mount()
    pid = serving(mount)
    os.kill(mount.process.pid, signal.SIGKILL)
    mount.process.wait(zest.PATIENCE)
    with open(mount.path("f"), "w") as file:
        file.write("x")
    zest.wait_until(lambda: log_has(mount, "the supervisor of the mount has gone"), "it is logged")
    again = zest.zestfs("mount", "-d", volume.meta, mount.point, "--log", f"{volume.folder}/log", check=False)
    assert again.returncode == 1 and "already mounted" in again.stderr, again.stderr
    os.kill(pid, signal.SIGTERM)
    zest.wait_until(lambda: not zest.is_mount(mount.point), "it stops on signals")
    zest.wait_until(lambda: not sessions(volume), "it says goodbye")


def in_the_background_and_small():
    volume = zest.Volume()
    bg = Background(volume)
    held = open(bg.path("f"), "w")
    before = config(bg)
    with open(f"/proc/{before['PPid']}/smaps_rollup") as smaps:
        own = sum(int(line.split()[1]) for line in smaps if line.startswith(("Private_Clean", "Private_Dirty")))
    with open(f"/proc/{before['PPid']}/statm") as statm:
        resident = int(statm.read().split()[1]) * 4
    assert resident < 20_000 and own < 20_000, f"the supervisor takes {resident} KiB, {own} of its own"
    os.kill(before["Pid"], signal.SIGSEGV)
    after = zest.wait_until(lambda: (c := config(bg))["Pid"] != before["Pid"] and c, "another process serves")
    assert after["PPid"] == before["PPid"]
    held.write("on")
    held.close()
    log = bg.log_text()
    assert "died by signal 11" in log and "going on with the mount: 1 open files" in log, log
    bg.umount()


def as_a_plain_user():
    volume = zest.Volume()
    user = zest.PlainUser(volume)
    point = user.point
    mount = ["mount", "-d", volume.meta, point, "--log", f"{volume.folder}/log", "--cache-dir", f"{volume.folder}/c"]
    user.zestfs(*mount)
    script = f"""
import json, os, signal, time
pid = lambda: json.load(open('{point}/.config'))['Pid']
file = open('{point}/f', 'w')
file.write('one'); file.flush(); os.fsync(file.fileno())
old = pid()
os.kill(old, signal.SIGKILL)
while pid() == old: time.sleep(0.05)
file.write('two'); file.close()
print(open('{point}/f').read())
"""
    assert user.run("/usr/bin/python3", "-c", script).stdout == "onetwo\n"
    user.zestfs(*mount)  # an upgrade
    assert user.run("cat", f"{point}/f").stdout == "onetwo"
    user.zestfs("umount", point)
    assert not zest.is_mount(point)


zest.main([open_files_go_on, lost_writes_are_told_once, locks_stay, listings_go_on, operations_under_way, a_crash_loop_ends,
           stopping_between_two_processes, without_a_supervisor, in_the_background_and_small, as_a_plain_user])
