"""Helpers of the POSIX tests: errnos, other users, system calls that Python lacks."""
import ctypes
import errno
import os
import pickle
import sys
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import zest  # noqa: E402

libc = ctypes.CDLL(None, use_errno=True)
ALICE, BOB = 10001, 10002


def expect(code, function, *args, **kwargs):
    """The call must fail with this errno (a name, or several)."""
    names = code if isinstance(code, tuple) else (code,)
    try:
        result = function(*args, **kwargs)
    except OSError as error:
        got = errno.errorcode.get(error.errno, error.errno).replace("ENOTSUP", "EOPNOTSUPP")
        assert got in names, f"{function.__name__}{args}: {got}, expected {code}"
        return
    raise AssertionError(f"{function.__name__}{args}: gave {result!r}, expected {code}")


def syscall(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def renameat2(old, new, flags):
    syscall(libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags))


def link_nameless(fd, path):
    syscall(libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, os.fsencode(path), 0x400))


def fallocate(fd, mode, offset, size):
    syscall(libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(size)))


def as_user(uid, function, *args, groups=(), gid=None):
    """Runs the function in a child with that identity; gives its value or raises what it raised."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            os.setgroups(list(groups))
            os.setgid(uid if gid is None else gid)
            os.setuid(uid)
            reply = (True, function(*args))
        except OSError as error:
            reply = (False, error.errno)
        except BaseException:
            reply = (None, traceback.format_exc())
        os.write(writing, pickle.dumps(reply))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        reply = pipe.read()
    os.waitpid(pid, 0)
    good, value = pickle.loads(reply)
    if good is None:
        raise AssertionError(value)
    if not good:
        raise OSError(value, os.strerror(value))
    return value


def write_file(path, data=b"", mode=0o644):
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)
    return path


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def metadata():
    """The database to test on: ZEST_POSIX_META is redis, postgres, mariadb, or nothing for SQLite."""
    kind = os.environ.get("ZEST_POSIX_META")
    return getattr(zest, kind + "_server")()[0] if kind else None


class Once:
    """One mount for all cases of a program, made when first asked for."""

    def __init__(self, format_options=(), mount_options=()):
        self.format_options, self.mount_options = format_options, mount_options
        self.mount = None

    def dir(self, name, mode=0o755):
        if not self.mount:
            self.volume = zest.Volume(*self.format_options, meta=metadata())
            self.mount = self.volume.mount(*self.mount_options)
        path = self.mount.path(name)
        os.mkdir(path)
        os.chmod(path, mode)
        return path

    def umount(self):
        if self.mount:
            self.mount.umount()
