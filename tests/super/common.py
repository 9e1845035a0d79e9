"""What the tests of mounts that stay up share."""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest


def config(mount):
    with open(mount.path(".config")) as file:
        return json.load(file)


def serving(mount):
    """The process that serves the mount; waits until one does."""
    return config(mount)["Pid"]


def kill_worker(mount, number=signal.SIGKILL, wait=True):
    """Kills the process that serves the mount, not the one that watches over it; gives its pid."""
    pid = serving(mount)
    assert pid != mount.process.pid, "a supervisor watches over the mount"
    os.kill(pid, number)
    if wait:
        zest.wait_until(lambda: serving(mount) != pid, "another process serves the mount")
    return pid


def sessions(volume):
    return [s["Sid"] for s in json.loads(zest.zestfs("status", volume.meta).stdout)["Sessions"]]


def check(volume):
    """Nothing is wrong but statistics, which a crash may leave behind by a second."""
    zest.zestfs("fsck", volume.meta, "--path", "/", "-r", "--sync-dir-stat", "--repair", check=False)
    zest.zestfs("fsck", volume.meta, "--path", "/", "-r", "--sync-dir-stat")
    zest.zestfs("fsck", volume.meta)


def log_has(mount, text):
    with open(mount.log, errors="replace") as log:
        return text in log.read()


class Background:
    """A mount in the background, whose processes come and go."""

    def __init__(self, volume, *options, where="mnt"):
        self.volume, self.point, self.log = volume, os.path.join(volume.folder, where), os.path.join(volume.folder, where + ".log")
        self.options = ["--log", self.log, "--no-syslog", "--cache-dir", os.path.join(volume.folder, "cache"), *options]
        zest.on_exit(zest.run, "umount", "-l", self.point)
        self.mount()

    def mount(self, *more, check=True, binary=None):
        """Mounts; where it is mounted already, a newer process takes over."""
        return zest.run(binary or zest.ZESTFS, "mount", "-d", self.volume.meta, self.point, *self.options, *more, check=check,
                        env={"JFS_MOUNT_TIMEOUT": str(zest.PATIENCE)})

    def path(self, *parts):
        return os.path.join(self.point, *parts)

    def umount(self):
        supervisor = config(self)["PPid"]
        zest.zestfs("umount", self.point)
        zest.wait_until(lambda: not os.path.exists(f"/proc/{supervisor}"), "the supervisor ends with the mount")

    def log_text(self):
        with open(self.log, errors="replace") as log:
            return log.read()
