#!/usr/bin/env python3
"""How commands look on a terminal and elsewhere: bars, colours, questions, exit codes. terminal.py [CASE...]"""
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

_made = []


def volume():
    """One volume with 30,000 empty files, made without a mount."""
    if not _made:
        one = zest.Volume("--trash-days", "0")
        zest.zestfs("mdtest", "--dirs", "10", "--depth", "2", "--files", "60", one.meta, "/d", "--cache-dir", f"{one.folder}/cache")
        _made.append(one)
    return _made[0]


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *command, env=None):
        self.screen = b""
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([str(c) for c in command], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env=dict(os.environ, **(env or {})))
        os.close(slave)

    def read(self, until=None, seconds=zest.PATIENCE):
        """All output to the end, or until the pattern is there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if until and re.search(until, self.screen.decode(errors="replace")):
                break
            ready, _, _ = select.select([self.master], [], [], 0.1)
            if not ready:
                continue
            try:
                data = os.read(self.master, 65536)
            except OSError:  # the program's end of it is closed
                data = b""
            if not data:
                break
            self.screen += data
        else:
            raise AssertionError(f"not seen in time: {until}; on the screen: {self.screen!r}")
        return self.screen.decode(errors="replace")

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        text = self.read()
        return self.process.wait(zest.PATIENCE), text


def bars():
    """Drawn on a terminal with rate and time; not with -q, not when told so, not elsewhere."""
    one = volume()
    code, text = Terminal(zest.ZESTFS, "dump", one.meta, f"{one.folder}/out").end()
    assert code == 0 and re.search(r"\r\x1b\[KDumped entries: \d+ +[\d.]+/s", text), text
    code, text = Terminal(zest.ZESTFS, "mdtest", "--dirs", "2", "--depth", "1", "--files", "2000", one.meta, "/bar", "--cache-dir",
                          f"{one.folder}/cache").end()
    assert code == 0 and re.search(r"Created files: \d+/6000 \[[=>-]+\]  [\d.]+/s (ETA|used): \d+s", text), text
    assert re.search(r"Created files: 6000/6000 \[=+\]  [\d.]+/s used: \d+s", text), text
    for quiet in (["-q"], []):
        code, text = Terminal(zest.ZESTFS, *quiet, "dump", one.meta, f"{one.folder}/out", env=None if quiet else {"DISPLAY_PROGRESSBAR": "false"}).end()
        assert code == 0 and "Dumped entries" not in text, text
    done = zest.zestfs("dump", one.meta, f"{one.folder}/out")
    assert "Dumped entries" not in done.stdout and "\r" not in done.stdout + done.stderr and "\x1b" not in done.stdout + done.stderr
    assert zest.zestfs("-q", "dump", one.meta, f"{one.folder}/out").stderr == ""


def colours():
    one = volume()
    wrong = ["fsck", "--repair", one.meta]
    _, text = Terminal(zest.ZESTFS, *wrong).end()
    assert "\x1b[" in text, text
    for plain in (Terminal(zest.ZESTFS, "--no-color", *wrong).end()[1], Terminal(zest.ZESTFS, *wrong, env={"NO_COLOR": "1"}).end()[1],
                  zest.zestfs(*wrong, check=False).stderr):
        assert "\x1b" not in plain and "ERROR" in plain, plain


def questions():
    one = zest.Volume()
    for answer, code in (("what\rno\r", 1), ("y\r", 0)):
        terminal = Terminal(zest.ZESTFS, "config", one.meta, "--trash-days", "0")
        terminal.read(r"Proceed anyway\? \[y/N\]: ")
        terminal.type(answer)
        got, text = terminal.end()
        assert got == code, text
        assert ("Please input y(yes) or n(no): " in text and "Aborted." in text) == (code == 1), text
    # nobody to ask: no
    zest.zestfs("config", one.meta, "--trash-days", "1")
    done = zest.run(zest.ZESTFS, "config", one.meta, "--trash-days", "0", input="", check=False)
    assert done.returncode == 1 and "Aborted." in done.stderr
    zest.zestfs("config", one.meta, "--trash-days", "0", "--yes")


def live_tables():
    """top and stats redraw on a terminal and end well by Ctrl-C."""
    one = zest.Volume()
    mount = one.mount()
    for command, seen in ((["top", "--interval", "0.5"], r"\x1b\[2J.*OPERATION"), (["stats", "--interval", "2"], r"usage.*\r\x1b\[2m"), (["profile", "--interval", "1"], r"\x1b\[2J.*Profiling")):
        terminal = Terminal(zest.ZESTFS, *command, mount.point)
        os.listdir(mount.point)
        terminal.read("(?s)" + seen)
        terminal.process.send_signal(signal.SIGINT)
        code, text = terminal.end()
        assert code == 0, (command, code, text)
    plain = zest.zestfs("top", "-c", "1", "--interval", "0.5", mount.point).stdout
    assert "\x1b" not in plain and "| OPERATION |" in plain, plain
    mount.umount()


zest.main([bars, colours, questions, live_tables])
