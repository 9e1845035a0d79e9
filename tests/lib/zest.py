"""What the tests on real mounts share: volumes, mounts, servers, the reference's client.

A test is a program: `main(...)` runs its cases, prints what went wrong and exits 1 if anything did. ZESTFS names the binary.
"""
import atexit
import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
ZESTFS = os.environ.get("ZESTFS", str(TOP / "build" / "zestfs"))
GOLDEN = TOP / "tests" / "golden"
# Seconds that anything may take on a loaded machine before it counts as hung; sanitized programs are slower.
PATIENCE = 120 * int(os.environ.get("ZEST_SLOWDOWN", "1"))

_cleanups = []


def tool(name):
    """The path of a program that a test needs; failing, not skipping, without it."""
    for folder in [str(TOP / "build-tools" / "bin"), *os.environ["PATH"].split(":"), os.path.expanduser("~/.cargo/bin")]:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    raise SystemExit(f"{name} is not installed: run ./dev setup")


def on_exit(function, *args):
    _cleanups.append((function, args))


@atexit.register
def _clean():
    for function, args in reversed(_cleanups):
        with contextlib.suppress(Exception):
            function(*args)


def temp_dir(name="zest"):
    path = tempfile.mkdtemp(prefix=f"{name}-")
    os.chmod(path, 0o755)
    if not os.environ.get("ZEST_KEEP"):
        on_exit(shutil.rmtree, path, True)
    return path


def run(*command, check=True, env=None, timeout=PATIENCE * 5, input=None, cwd=None):
    """Runs a program to its end; gives the CompletedProcess, both outputs as text."""
    command = [str(c) for c in command]
    full = dict(os.environ, **(env or {}))
    done = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", timeout=timeout, env=full,
                          input=input, cwd=cwd)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def zestfs(*arguments, **options):
    return run(ZESTFS, *arguments, **options)


def wait_until(condition, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class Forked:
    """Child processes of this one, each of which calls the function with one of the arguments and ends."""

    def __init__(self, function, arguments):
        self.pids = []
        for argument in arguments:
            pid = os.fork()
            if pid == 0:
                try:
                    function(argument)
                    os._exit(0)
                except BaseException:
                    traceback.print_exc(file=sys.stdout)
                    sys.stdout.flush()
                finally:
                    os._exit(1)  # what the parent cleans up when it ends is not the child's
            self.pids.append(pid)

    def join(self):
        ends = [os.waitpid(pid, 0)[1] for pid in self.pids]
        assert not any(ends), ends


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def is_mount(path):
    with open("/proc/self/mountinfo") as mounts:
        return any(line.split()[4] == path.replace(" ", "\\040") for line in mounts)


class Mount:
    """A mount by `binary`, as a foreground process that this test owns."""

    def __init__(self, meta, point, *options, binary=None, env=None, wait=True):
        self.meta, self.point, self.options = meta, str(point), [str(o) for o in options]
        self.binary = binary or ZESTFS
        self.env = env
        os.makedirs(self.point, exist_ok=True)
        self.log = tempfile.mkstemp(prefix="zestlog-")[1]
        on_exit(self._last_resort)
        self.start(wait)

    def start(self, wait=True):
        log = open(self.log, "ab")
        self.process = subprocess.Popen([self.binary, "mount", self.meta, self.point, "--no-usage-report", *self.options],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(os.environ, **(self.env or {})),
                                        start_new_session=True)
        log.close()
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"mount ended with {self.process.returncode}:\n{self.log_text()}")
            return is_mount(self.point) and os.stat(self.point).st_ino == 1
        wait_until(ready, f"{self.point} is mounted; log:\n{self.log_text()}")

    def log_text(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-8000:]

    def path(self, *parts):
        return os.path.join(self.point, *parts)

    def pids(self):
        """The mount's process and its children."""
        out = [self.process.pid]
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{self.process.pid}/task"):
                with open(f"/proc/{self.process.pid}/task/{task}/children") as children:
                    out += [int(c) for c in children.read().split()]
        return out

    def kill(self):
        """As a power cut would: no flush, no goodbye."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        subprocess.run(["umount", "-l", self.point], capture_output=True)

    def umount(self):
        end = time.monotonic() + PATIENCE
        while True:  # the kernel may still be letting go of a file that was just closed
            done = run(self.binary, "umount", self.point, check=False)
            if done.returncode == 0:
                break
            assert "busy" in done.stderr and time.monotonic() < end, done.stdout + done.stderr
            time.sleep(0.2)
        self.process.wait(PATIENCE)
        assert self.process.returncode == 0, f"mount ended with {self.process.returncode}:\n{self.log_text()}"

    def _last_resort(self):
        if self.process.poll() is None:
            subprocess.run(["umount", "-l", self.point], capture_output=True)
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        elif is_mount(self.point):
            subprocess.run(["umount", "-l", self.point], capture_output=True)
        with contextlib.suppress(OSError):
            os.unlink(self.log)


class Volume:
    """A fresh volume, on SQLite unless a meta URL is given, with its objects in a folder."""

    def __init__(self, *options, meta=None, name="vol", storage=None):
        self.folder = temp_dir("zestvol")
        self.meta = meta or f"sqlite3://{self.folder}/meta.db"
        self.bucket = f"{self.folder}/data/"
        store = storage or ["--storage", "file", "--bucket", self.bucket]
        self.name = name
        zestfs("format", self.meta, name, *store, *options)

    def mount(self, *options, where="mnt", **more):
        return Mount(self.meta, os.path.join(self.folder, where), "--cache-dir", os.path.join(self.folder, "cache-" + where),
                     *options, **more)


class PlainUser:
    """Somebody without privileges, who owns a volume's folder and mounts there."""

    def __init__(self, volume):
        user = pwd.getpwnam("nobody")
        self.binary = shutil.copy(ZESTFS, f"{volume.folder}/zestfs")
        os.chmod(self.binary, 0o755)
        self.home = f"{volume.folder}/home"
        os.mkdir(self.home)
        for folder, names, files in os.walk(volume.folder):
            for path in [folder, *(os.path.join(folder, name) for name in names + files)]:
                shutil.chown(path, user.pw_uid, user.pw_gid)
        self.point = f"{volume.folder}/user"
        on_exit(lambda: subprocess.run(["umount", "-l", self.point], stderr=subprocess.DEVNULL))
        self.prefix = ["setpriv", "--reuid", "nobody", "--regid", str(user.pw_gid), "--clear-groups", "env", f"HOME={self.home}"]
        mode = os.stat("/dev/fuse").st_mode & 0o777
        os.chmod("/dev/fuse", 0o666)  # as udev has it; a container may not
        on_exit(os.chmod, "/dev/fuse", mode)

    def run(self, *command, **options):
        return run(*self.prefix, *command, **options)

    def zestfs(self, *arguments, **options):
        return self.run(self.binary, *arguments, **options)


def redis_server():
    """A Redis of this test's own; gives its URL and its process."""
    import servers
    server = servers.Redis()
    return server.url, server.process


def postgres_server():
    """A PostgreSQL of this test's own with a database `zest`; gives its URL and its process."""
    import servers
    server = servers.Postgres()
    return server.url, server.process


def mariadb_server():
    """A MariaDB of this test's own with a database `zest`; gives its URL and its process."""
    import servers
    server = servers.Mariadb()
    return server.url, server.process


def main(cases):
    """Runs the cases (functions) one after another; exit code 1 if any failed. Arguments name single cases."""
    wanted = sys.argv[1:]
    failed = []
    for case in cases:
        if wanted and case.__name__ not in wanted:
            continue
        started = time.monotonic()
        try:
            case()
            print(f"ok   {case.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
        except Exception:
            failed.append(case.__name__)
            print(f"FAIL {case.__name__}", flush=True)
            traceback.print_exc(file=sys.stdout)
    print(f"{len(failed)} of {len(cases)} cases failed" if failed else "all good", flush=True)
    sys.exit(1 if failed else 0)
