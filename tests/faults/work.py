"""Work on a mount that goes on while something is wrong, and knows what must be there afterwards."""
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest


def write_files(folder):
    """The process of a Worker: writes files and syncs them until it is told to end; says of each whether it was acknowledged."""
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    number = 0
    while not stopping:
        name = f"{number:05}"
        number += 1
        started, error = time.monotonic(), None
        try:
            with open(os.path.join(folder, name), "wb") as file:
                file.write(name.encode() * 300)
                file.flush()
                os.fsync(file.fileno())
        except OSError as failure:
            error = str(failure)
        print(json.dumps([name, error, time.monotonic() - started]), flush=True)
        if error:
            time.sleep(0.2)


class Worker:
    """Writes files, again and again; remembers what was acknowledged. Errors are counted, not hidden. It is a process of its
    own: one that holds a file open on a mount without its database cannot start the database, since its child waits for the
    file to be flushed."""

    def __init__(self, folder):
        self.folder, self.acknowledged, self.errors = folder, [], []
        self.longest = 0.0  # seconds that one file took
        self.process = subprocess.Popen([sys.executable, __file__, folder], stdout=subprocess.PIPE, text=True)
        zest.on_exit(self.process.kill)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            name, error, seconds = json.loads(line)
            self.longest = max(self.longest, seconds)
            if error:
                self.errors.append((name, error))
            else:
                self.acknowledged.append(name)

    def progress(self, more=5):
        """Waits until it has finished some more files."""
        goal = len(self.acknowledged) + more
        zest.wait_until(lambda: len(self.acknowledged) >= goal, f"the work goes on; {len(self.acknowledged)} done, errors {self.errors[-3:]}")

    def stop(self):
        self.process.terminate()
        self.process.wait(zest.PATIENCE)
        self.reader.join(zest.PATIENCE)

    def verify(self):
        for name in self.acknowledged:
            with open(os.path.join(self.folder, name), "rb") as file:
                assert file.read() == name.encode() * 300, name


class Exact:
    """Changes names and contents one after another; each must do what it says, once, or it would differ from the model:
    a create repeated blindly says that the file exists, an append repeated blindly appends twice."""

    def __init__(self, folder, seed):
        self.folder, self.random = folder, random.Random(seed)
        self.files, self.links, self.dirs, self.number = {}, {}, set(), 0
        os.mkdir(folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def fresh(self):
        self.number += 1
        return f"n{self.number}"

    def step(self):
        choices = [self.create, self.create, self.mkdir, self.symlink]
        if self.files:
            choices += [self.append, self.append, self.rename, self.link, self.unlink, self.truncate, self.chmod]
        if len(self.files) > 1:
            choices.append(self.replace)
        if self.dirs:
            choices.append(self.rmdir)
        self.random.choice(choices)()

    def some_file(self):
        return self.random.choice(sorted(self.files))

    def create(self):
        name, data = self.fresh(), self.random.randbytes(self.random.randrange(5000))
        fd = os.open(self.path(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        os.write(fd, data)
        os.close(fd)
        self.files[name] = {"data": bytearray(data), "mode": 0o644, "names": 1}

    def mkdir(self):
        name = self.fresh()
        os.mkdir(self.path(name))
        self.dirs.add(name)

    def rmdir(self):
        name = self.random.choice(sorted(self.dirs))
        os.rmdir(self.path(name))
        self.dirs.remove(name)

    def symlink(self):
        name = self.fresh()
        os.symlink("to-" + name, self.path(name))
        self.links[name] = "to-" + name

    def append(self):
        name, data = self.some_file(), self.random.randbytes(self.random.randrange(1, 300))
        fd = os.open(self.path(name), os.O_WRONLY | os.O_APPEND)
        os.write(fd, data)
        os.fsync(fd)
        os.close(fd)
        self.files[name]["data"] += data

    def truncate(self):
        name = self.some_file()
        data = self.files[name]["data"]
        length = self.random.randrange(len(data) + 100)
        os.truncate(self.path(name), length)
        data[:] = data[:length].ljust(length, b"\0")

    def chmod(self):
        name, mode = self.some_file(), self.random.choice((0o600, 0o640, 0o755))
        os.chmod(self.path(name), mode)
        self.files[name]["mode"] = mode

    def rename(self):
        name, new = self.some_file(), self.fresh()
        os.rename(self.path(name), self.path(new))
        self.files[new] = self.files.pop(name)

    def replace(self):
        name, over = self.random.sample(sorted(self.files), 2)
        if self.files[name] is self.files[over]:
            return  # two names of one file: nothing happens
        os.rename(self.path(name), self.path(over))
        self.files[over]["names"] -= 1
        self.files[over] = self.files.pop(name)

    def link(self):
        name, new = self.some_file(), self.fresh()
        os.link(self.path(name), self.path(new))
        self.files[new] = self.files[name]
        self.files[name]["names"] += 1

    def unlink(self):
        name = self.some_file()
        os.unlink(self.path(name))
        self.files.pop(name)["names"] -= 1

    def verify(self, folder=None):
        folder = folder or self.folder
        found = sorted(os.listdir(folder))
        assert found == sorted([*self.files, *self.links, *self.dirs]), set(found) ^ {*self.files, *self.links, *self.dirs}
        for name, file in self.files.items():
            path = os.path.join(folder, name)
            with open(path, "rb") as opened:
                assert opened.read() == file["data"], name
            status = os.stat(path)
            assert (status.st_mode & 0o777, status.st_nlink) == (file["mode"], file["names"]), (name, status, file["names"])
        for name, target in self.links.items():
            assert os.readlink(os.path.join(folder, name)) == target


def check_volume(meta):
    """Objects and metadata are whole, and a second look finds what the first mended."""
    zest.zestfs("fsck", meta)
    zest.zestfs("fsck", meta, "--path", "/", "-r", "--repair", "--sync-dir-stat")
    zest.zestfs("fsck", meta, "--path", "/", "-r", "--sync-dir-stat")


def with_outage(volume, outage, *options):
    """Files are written and synced before, during and after the outage, and must all be there."""
    mount = volume.mount(*options)
    os.mkdir(mount.path("work"))
    worker = Worker(mount.path("work"))
    worker.progress()
    outage()
    worker.progress()
    worker.stop()
    worker.verify()
    mount.umount()
    mount = volume.mount(*options)
    worker.verify()
    mount.umount()
    check_volume(volume.meta)
    return worker


if __name__ == "__main__":
    write_files(sys.argv[1])
