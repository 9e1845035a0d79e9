#!/usr/bin/env python3
"""pjdfstest and fsx on a real mount. posix_suites.py pjdfstest|pjdfstest-default|fsx"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

FEATURES = """
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}
[settings]
naptime = 0.01
allow_remount = false
[dummy_auth]
entries = [ ["nobody", "nogroup"], ["daemon", "daemon"] ]
"""


def pjdfstest(*format_options):
    volume = zest.Volume(*format_options)
    mount = volume.mount()
    config = os.path.join(volume.folder, "pjdfstest.toml")
    open(config, "w").write(FEATURES)
    os.mkdir(mount.path("work"))
    os.chmod(mount.path("work"), 0o777)
    done = zest.run(zest.tool("pjdfstest"), "-c", config, "-p", mount.path("work"), check=False)
    text = done.stdout + done.stderr
    summary = re.search(r"(\d+) failed, (\d+) skipped, (\d+) passed", text)
    failures = [line for line in text.splitlines() if "FAILED" in line.upper() and "0 failed" not in line]
    assert summary and int(summary.group(1)) == 0, "\n".join(failures) + text[-6000:]
    assert int(summary.group(3)) >= 370, f"fewer cases ran than on a local file system: {summary.group(0)}"
    print(text.splitlines()[-1])
    mount.umount()


def fsx():
    volume = zest.Volume()
    mount = volume.mount()
    for seed in (1, 2, 3):
        done = zest.run(zest.tool("fsx"), "-N", "2000", "-S", seed, mount.path(f"fsx-{seed}"), check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    mount.umount()


def pjdfstest_no_trash():
    pjdfstest("--trash-days", "0")


def pjdfstest_default():
    pjdfstest()


which = sys.argv.pop(1)
zest.main([{"pjdfstest": pjdfstest_no_trash, "pjdfstest-default": pjdfstest_default, "fsx": fsx}[which]])
