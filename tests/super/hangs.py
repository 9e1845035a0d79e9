#!/usr/bin/env python3
"""A mount process that hangs is ended and replaced; one that waits for its database, is stopped, or waits for locks is left alone."""
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

from common import Background, log_has, serving, zest

import servers
from proxy import Proxy

# In the process that reads /dev/fuse: once the file named by HANG_FILE is there, nothing is read from it any more.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
ssize_t read(int fd, void* into, size_t size) {
  static ssize_t (*real)(int, void*, size_t);
  if (!real) real = (ssize_t(*)(int, void*, size_t))dlsym(RTLD_NEXT, "read");
  char link[64] = "", name[32] = "/proc/self/fd/";
  int at = 14, digits = 1;
  for (int rest = fd; rest >= 10; rest /= 10) digits++;
  for (int i = digits - 1, rest = fd; i >= 0; i--, rest /= 10) name[at + i] = '0' + rest % 10;
  if (size > 4096 && readlink(name, link, sizeof(link) - 1) > 0 && !strcmp(link, "/dev/fuse")) {
    ssize_t got = real(fd, into, size);
    while (got > 0 && access(getenv("HANG_FILE"), F_OK) == 0) usleep(10000);
    return got;
  }
  return real(fd, into, size);
}
"""
PATIENCE = "2s"


def ask(mount):
    """More requests than threads that listen; none is answered while the process hangs."""
    return [subprocess.Popen(["stat", mount.path(f"nothing{n}")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for n in range(12)]


def shim(folder):
    with open(f"{folder}/shim.c", "w") as file:
        file.write(SHIM)
    zest.run(os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", f"{folder}/shim.so", f"{folder}/shim.c", "-ldl")
    return {"LD_PRELOAD": f"{folder}/shim.so", "HANG_FILE": f"{folder}/hang"}


def a_hung_process_is_replaced():
    volume = zest.Volume()
    env = shim(volume.folder)
    mount = volume.mount("--watchdog", PATIENCE, env=env)
    held = open(mount.path("f"), "w")
    pid = serving(mount)
    open(env["HANG_FILE"], "w").close()
    answers = []
    threads = [threading.Thread(target=lambda name: answers.append(os.path.exists(mount.path(name))), args=(f"nothing{n}",)) for n in range(12)]
    for thread in threads:
        thread.start()
    zest.wait_until(lambda: log_has(mount, f"the mount process {pid} hangs"), "the watchdog barks")
    os.unlink(env["HANG_FILE"])
    for thread in threads:
        thread.join(zest.PATIENCE)
    assert answers == [False] * 12, answers
    assert serving(mount) != pid
    held.write("still open")
    held.close()
    assert open(mount.path("f")).read() == "still open"
    mount.umount()
    zest.zestfs("fsck", volume.meta, "--path", "/", "-r")


def it_hangs_again_and_again():
    """What hangs every process is refused in the end; the mount lives."""
    volume = zest.Volume()
    env = shim(volume.folder)
    mount = volume.mount("--watchdog", PATIENCE, env=env)
    seen = set()
    for _ in range(3):
        pid = serving(mount)
        seen.add(pid)
        open(env["HANG_FILE"], "w").close()
        waiters = ask(mount)
        zest.wait_until(lambda: log_has(mount, f"the mount process {pid} hangs"), "the watchdog barks")
        os.unlink(env["HANG_FILE"])
        for waiter in waiters:
            waiter.wait(zest.PATIENCE)
    assert len(seen) == 3
    open(mount.path("f"), "w").close()
    mount.umount()


def a_dead_database_is_no_hang():
    server = servers.Redis()
    proxy = Proxy((servers.HOST, server.port))
    volume = zest.Volume(meta=server.through(proxy))
    mount = volume.mount("--watchdog", PATIENCE, "--attr-cache", "0", "--entry-cache", "0", "--dir-entry-cache", "0")
    os.mkdir(mount.path("d"))
    pid = serving(mount)
    proxy.stall()
    waiters = [subprocess.Popen(["stat", mount.path(f"d/{n}")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for n in range(40)]
    time.sleep(10)
    assert any(waiter.poll() is None for waiter in waiters), "some wait all the time"
    proxy.go()
    for waiter in waiters:
        waiter.wait(zest.PATIENCE)
    assert serving(mount) == pid and not log_has(mount, "hangs")
    mount.umount()


def neither_is_a_stop_or_a_lock():
    volume = zest.Volume()
    mount = volume.mount("--watchdog", PATIENCE)
    file = os.open(mount.path("f"), os.O_RDWR | os.O_CREAT)
    fcntl.lockf(file, fcntl.LOCK_EX)
    waiter = subprocess.Popen([sys.executable, "-c", "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX)", mount.path("f")])
    pid = serving(mount)
    time.sleep(6)
    os.kill(pid, signal.SIGSTOP)
    # no process is started now: it would close what it inherits, and wait for the answer to that
    threads = [threading.Thread(target=os.path.exists, args=(mount.path(f"nothing{n}"),)) for n in range(12)]
    for thread in threads:
        thread.start()
    time.sleep(6)
    os.kill(pid, signal.SIGCONT)
    for thread in threads:
        thread.join(zest.PATIENCE)
    assert waiter.poll() is None
    assert serving(mount) == pid and not log_has(mount, "hangs")
    os.close(file)
    assert waiter.wait(zest.PATIENCE) == 0
    mount.umount()


def it_can_be_turned_off():
    volume = zest.Volume()
    env = shim(volume.folder)
    mount = volume.mount("--watchdog", "0", env=env)
    pid = serving(mount)
    open(env["HANG_FILE"], "w").close()
    waiters = ask(mount)
    time.sleep(5)
    assert any(waiter.poll() is None for waiter in waiters)
    os.unlink(env["HANG_FILE"])
    for waiter in waiters:
        waiter.wait(zest.PATIENCE)
    assert serving(mount) == pid
    mount.umount()


zest.main([a_hung_process_is_replaced, it_hangs_again_and_again, a_dead_database_is_no_hang, neither_is_a_stop_or_a_lock, it_can_be_turned_off])
