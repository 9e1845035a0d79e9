#!/usr/bin/env python3
"""Real S3 servers beside the one of the default run: the contract of storages on each, and a volume that is filled, checked and
compacted on it. servers_soak.py [CASE...]; S3_CONTRACT names the program of the contract."""
import filecmp
import os
import sys
import sysconfig

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import stores
import zest


def contract(server):
    env = {"ZEST_S3_BUCKET": server.storage(bucket="contract")[3], "ZEST_S3_ACCESS": stores.ACCESS, "ZEST_S3_SECRET": stores.SECRET,
           "ZEST_S3_ORDER": server.order}
    done = zest.run(os.environ["S3_CONTRACT"], env=env, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr


def fill_and_verify(server):
    volume = zest.Volume("--trash-days", "0", "--compress", "lz4", storage=server.storage(bucket="volume"))
    mount = volume.mount()
    source = os.path.join(sysconfig.get_paths()["stdlib"], "asyncio")
    zest.run("cp", "-r", source, mount.path("tree"))
    large = os.urandom(40 << 20)
    with open(mount.path("large"), "wb") as file:
        file.write(large)
    for number in range(150):  # slices to compact
        with open(mount.path("log"), "ab") as file:
            file.write(b"%d\n" % number)
    mount.umount()
    mount = volume.mount("--cache-size", "0", where="second")
    with open(mount.path("large"), "rb") as file:
        assert file.read() == large
        assert os.pread(file.fileno(), 1000, 23 << 20) == large[23 << 20:(23 << 20) + 1000]
    with open(mount.path("log")) as file:
        assert file.read() == "".join(f"{number}\n" for number in range(150))
    same = filecmp.dircmp(source, mount.path("tree"))
    assert not (same.left_only or same.right_only or same.diff_files), same.report()
    mount.umount()
    zest.zestfs("fsck", volume.meta)
    zest.zestfs("gc", "--compact", "--delete", volume.meta)
    mount = volume.mount("--cache-size", "0", where="third")
    with open(mount.path("log")) as file:
        assert len(file.readlines()) == 150
    zest.run("rm", "-rf", mount.path("tree"), mount.path("large"), mount.path("log"))
    mount.umount()
    zest.zestfs("gc", "--delete", volume.meta)


def on(kind):
    def case():
        server = kind()
        contract(server)
        fill_and_verify(server)
    case.__name__ = kind.name
    return case


zest.main([on(stores.Weed), on(stores.Minio), on(stores.Versitygw), on(stores.Rgw)])
