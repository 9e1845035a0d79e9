#!/usr/bin/env python3
"""`zestfs mount` on a mount point that zestfs serves already: the new process takes over while applications go on."""
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from common import Background, config, serving, sessions, zest


def upgrade_in_place():
    volume = zest.Volume()
    mount = Background(volume)
    files = [open(mount.path(f"f{i}"), "w+b", buffering=0) for i in range(20)]
    for file in files:
        file.write(b"not flushed ")
    gone = os.open(mount.path("gone"), os.O_RDWR | os.O_CREAT)
    os.write(gone, b"no name")
    os.unlink(mount.path("gone"))
    before, session = config(mount), sessions(volume)
    newer = shutil.copy(zest.ZESTFS, f"{volume.folder}/zestfs-newer")
    done = mount.mount(binary=newer)
    assert done.returncode == 0 and "is ready at" in done.stderr
    after = config(mount)
    assert after["Pid"] != before["Pid"] and after["PPid"] != before["PPid"]
    assert os.readlink(f"/proc/{after['Pid']}/exe") == newer
    assert sessions(volume) == session, "the session is the same"
    for pid in (before["Pid"], before["PPid"]):
        zest.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the old processes end")
    for file in files:
        file.write(b"goes on")
        file.seek(0)
        assert file.read() == b"not flushed goes on"
        file.close()
    assert os.pread(gone, 10, 0) == b"no name"
    os.close(gone)
    log = mount.log_text()
    assert "the mount is handed over" in log and "going on with the mount: 21 open files" in log, log
    os.kill(after["Pid"], signal.SIGKILL)  # the new supervisor helps as the old one did
    zest.wait_until(lambda: serving(mount) != after["Pid"], "another process serves the mount")
    with open("/proc/self/mountinfo") as mounts:
        assert sum(line.split()[4] == mount.point for line in mounts) == 1, "nothing is stacked"
    mount.umount()
    assert not sessions(volume)
    zest.zestfs("fsck", volume.meta)


def locks_are_handed_over():
    volume = zest.Volume()
    mount = Background(volume)
    holder = os.open(mount.path("f"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    waiter = subprocess.Popen([sys.executable, "-c",
                               "import fcntl, os, sys\nfd = os.open(sys.argv[1], os.O_RDWR)\nprint('waits', flush=True)\n"
                               "fcntl.flock(fd, fcntl.LOCK_EX)\nprint('has it', flush=True)", mount.path("f")],
                              stdout=subprocess.PIPE, text=True)
    assert waiter.stdout.readline() == "waits\n"
    time.sleep(0.5)
    mount.mount()
    assert waiter.poll() is None
    os.close(holder)
    assert waiter.stdout.readline() == "has it\n"
    assert waiter.wait(zest.PATIENCE) == 0
    mount.umount()


def refused_takeovers_leave_the_old_one():
    volume, other = zest.Volume(), zest.Volume()
    mount = Background(volume)
    held = open(mount.path("f"), "w")
    pid = serving(mount)

    def refused(text, meta, *options):
        done = zest.zestfs("mount", "-d", meta, mount.point, "--log", f"{volume.folder}/other.log", "--no-syslog", *options, check=False)
        assert done.returncode == 1 and "already mounted" in done.stderr and text in done.stderr, done.stderr
        assert serving(mount) == pid and held.write("x") == 1
        held.flush()

    refused("another volume", other.meta)
    refused("other options", volume.meta, "-o", "writeback_cache")
    refused("other options", volume.meta, "--subdir", "/d")
    held.close()
    mount.umount()


def state_of_another_layout():
    """Two builds that keep what is open in different ways: the newer one is refused before anything is stopped."""
    volume = zest.Volume()
    mount = Background(volume)
    held, pid, supervisor = open(mount.path("f"), "w"), serving(mount), config(mount)["PPid"]
    table = next(fd for fd in (f"/proc/{supervisor}/fd/{n}" for n in os.listdir(f"/proc/{supervisor}/fd"))
                 if "zestfs-state" in os.readlink(fd))
    with open(table, "r+b") as file:  # its header: magic, layout, size of a record
        file.seek(8)
        layout = file.read(4)
        for other in (b"\x63\0\0\0", b"\x01\0\0\0"):
            file.seek(8)
            file.write(other)
            file.flush()
            done = mount.mount(check=False)
            number = int.from_bytes(other, "little")
            assert done.returncode == 1 and f"layout {number}/64, the new program in {layout[0]}/64" in done.stderr, done.stderr
            assert serving(mount) == pid and held.write("x") == 1
        file.seek(8)
        file.write(layout)
    # A program that speaks another version of the protocol, and one that says nonsense.
    for text in (b"take over 1\n{}", b"take over 2\n", b"take over 2\n2/64", b"nonsense"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
            other.connect(f"\0zestfs/supervisor/{supervisor}")
            other.send(text)
            assert other.recv(4096).startswith(b"refused\n"), text
    assert serving(mount) == pid
    mount.mount()
    assert serving(mount) != pid
    held.close()
    mount.umount()


def acls_switched_on_meanwhile():
    """The kernel learns of ACLs when a volume is mounted. What they forbid is refused all the same, after a crash and an upgrade, too."""
    volume = zest.Volume()
    mount = Background(volume, "--heartbeat", "1s", "-o", "allow_other")
    os.chmod(mount.point, 0o777)
    with open(mount.path("f"), "w") as file:
        file.write("secret")
    os.chown(mount.path("f"), 0, 4242)
    os.chmod(mount.path("f"), 0o660)
    zest.zestfs("config", volume.meta, "--enable-acl", "--yes")
    zest.wait_until(lambda: "ACLs are in use now" in mount.log_text(), "the mount learns it")
    second = volume.mount(where="second")
    zest.run("setfacl", "-m", "u:4243:rw,g::-,m::rw", second.path("f"))
    assert os.stat(second.path("f")).st_mode & 0o777 == 0o660
    time.sleep(1.5)  # attributes in the kernel's cache

    def reads(where, uid, gid):
        done = subprocess.run([sys.executable, "-c", f"import os; os.setgroups([]); os.setgid({gid}); os.setuid({uid}); open({str(where.path('f'))!r}).read()"],
                              capture_output=True, text=True)
        assert done.returncode == 0 or "PermissionError" in done.stderr, done.stderr
        return done.returncode == 0

    def checked(where, knows):
        assert not reads(where, 4244, 4242), "the ACL forbids its group"
        assert reads(where, 4243, 4243) == knows, "and allows this user, where the kernel knows"
        done = zest.run("getfacl", "-cp", where.path("f"), check=False)
        assert ("user:4243:rw-" in done.stdout) == knows, done.stdout + done.stderr
    checked(second, True)
    checked(mount, False)
    pid = serving(mount)
    os.kill(pid, signal.SIGKILL)
    zest.wait_until(lambda: serving(mount) != pid, "another process serves the mount")
    checked(mount, False)
    mount.mount()
    checked(mount, False)
    with open(mount.path("new"), "w") as file:
        file.write("made without ACLs")
    mount.umount()
    mount.mount()
    checked(mount, True)
    mount.umount()
    second.umount()


def one_after_the_other():
    """Several upgrades while files are made, read and removed: nobody sees an error."""
    volume = zest.Volume()
    mount = Background(volume)
    stop, problems, done = threading.Event(), [], [0]

    def work(folder):
        os.mkdir(mount.path(folder))
        number = 0
        while not stop.is_set():
            number += 1
            path = mount.path(folder, f"f{number % 7}")
            try:
                with open(path, "wb") as file:
                    file.write(b"%d" % number * 1000)
                with open(path, "rb") as file:
                    assert file.read() == b"%d" % number * 1000
                os.rename(path, path + "x")
                os.listdir(mount.path(folder))
                os.unlink(path + "x")
            except (OSError, AssertionError) as error:
                problems.append((folder, number, repr(error)))
                return
            done[0] += 1

    threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        mount.mount()
    stop.set()
    for thread in threads:
        thread.join()
    assert not problems and done[0] > 0, problems
    mount.umount()
    zest.zestfs("fsck", volume.meta)


zest.main([upgrade_in_place, locks_are_handed_over, refused_takeovers_leave_the_old_one, state_of_another_layout,
           acls_switched_on_meanwhile, one_after_the_other])
