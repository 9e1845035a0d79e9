#!/usr/bin/env python3
"""The automatic backup of the metadata: it appears in the volume's storage, and a volume comes back from it."""
import base64
import datetime
import glob
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import scrape
import zest

OFTEN = {"SKIP_BACKUP_META_CHECK": "true", "JFS_RSA_PASSPHRASE": "secret"}
NAME = re.compile(r"dump-\d{4}-\d\d-\d\d-\d{6}\.json\.gz")


def backups(vol):
    return sorted(path for path in glob.glob(os.path.join(vol.bucket, vol.name, "meta", "*")) if NAME.fullmatch(os.path.basename(path)))


def fill(mount):
    os.makedirs(mount.path("dir"))
    with open(mount.path("dir", "file"), "wb") as file:
        file.write(os.urandom(3_000_000))
    with open(mount.path("dir", "file"), "rb") as file:
        return file.read()


def comes_back(vol, wanted, *load_options):
    """Loads the newest backup into a fresh database that then serves the volume."""
    newest = backups(vol)[-1]
    vol.meta = f"sqlite3://{vol.folder}/loaded.db"
    zest.zestfs("load", vol.meta, newest, *load_options, env=OFTEN)
    mount = vol.mount("--read-only", where="again", env=OFTEN)
    with open(mount.path("dir", "file"), "rb") as file:
        assert file.read() == wanted, "the file differs"
    mount.umount()


def newer_than_now(vol):
    """Waits for a backup that began after this moment."""
    seen = len(backups(vol))
    # the one after the next: the next may have begun already
    zest.wait_until(lambda: len(backups(vol)) >= seen + 2, "two more backups", 300)


def a_volume_comes_back():
    vol = zest.Volume()
    mount = vol.mount("--backup-meta", "3s", env=OFTEN)
    wanted = fill(mount)
    newer_than_now(vol)
    zest.wait_until(lambda: scrape.total(mount, "last_successful_backup") > 1.5e9, "the metric tells of the backup")
    mount.umount()
    stamp = zest.run("sqlite3", os.path.join(vol.folder, "meta.db"),
                     "select cast(value as text) from jfs_xattr where inode=1 and name='lastBackup'").stdout.strip()
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(re.sub(r"\.\d+Z$|Z$", "+00:00", stamp))
    assert datetime.timedelta(0) <= age < datetime.timedelta(hours=1), stamp
    comes_back(vol, wanted)


def an_encrypted_volume_comes_back():
    key = os.path.join(zest.temp_dir("key"), "key.pem")
    zest.run("openssl", "genrsa", "-aes256", "-passout", "pass:secret", "-out", key, "2048")
    os.environ["JFS_RSA_PASSPHRASE"] = OFTEN["JFS_RSA_PASSPHRASE"]
    vol = zest.Volume("--encrypt-rsa-key", key)
    mount = vol.mount("--backup-meta", "3s", env=OFTEN)
    wanted = fill(mount)
    newer_than_now(vol)
    mount.umount()
    with open(backups(vol)[0], "rb") as file:
        assert file.read(2) != b"\x1f\x8b", "the backup is not encrypted"
    newest = backups(vol)[-1]
    loaded = f"sqlite3://{vol.folder}/loaded.db"
    zest.zestfs("load", loaded, newest, "--encrypt-rsa-key", key, env=OFTEN)
    assert '"file"' in zest.zestfs("dump", loaded, env=OFTEN).stdout, "the loaded volume lacks the file"


def a_large_encrypted_backup():
    """Larger than what is sealed in memory: the mount stays small, and the backup comes back whole."""
    key = os.path.join(zest.temp_dir("key"), "key.pem")
    zest.run("openssl", "genrsa", "-aes256", "-passout", "pass:secret", "-out", key, "2048")
    os.environ["JFS_RSA_PASSPHRASE"] = OFTEN["JFS_RSA_PASSPHRASE"]
    small = zest.Volume("--encrypt-rsa-key", key)
    dump = json.loads(zest.zestfs("dump", "--keep-secret-key", small.meta).stdout)
    attr = dump["FSTree"]["attr"]
    count = 200_000  # names that do not compress
    for number in range(count):
        name = base64.urlsafe_b64encode(os.urandom(180)).decode()
        dump["FSTree"]["entries"][name] = {"attr": {**attr, "inode": 100 + number, "type": "regular", "mode": 420, "nlink": 1, "length": 0}}
    dump["Counters"].update(nextInodes=100 + count, usedInodes=count, usedSpace=4096 * count)
    with open(f"{small.folder}/large.json", "w") as file:
        json.dump(dump, file)
    wanted = sorted(dump["FSTree"]["entries"])
    del dump
    small.meta = f"sqlite3://{small.folder}/large.db"
    zest.zestfs("load", small.meta, f"{small.folder}/large.json", env=OFTEN)
    mount = small.mount("--backup-meta", "3s", env=OFTEN)
    zest.wait_until(lambda: backups(small), "a backup", 300)
    peak = max(int(open(f"/proc/{pid}/status").read().split("VmHWM:")[1].split()[0]) for pid in mount.pids()) // 1024
    mount.umount()
    newest = backups(small)[-1]
    assert os.path.getsize(newest) > 33 << 20, os.path.getsize(newest)
    assert peak < 250, f"{peak} MiB"
    loaded = f"sqlite3://{small.folder}/loaded.db"
    zest.zestfs("load", loaded, newest, "--encrypt-rsa-key", key, env=OFTEN)
    back = json.loads(zest.zestfs("dump", loaded, env=OFTEN).stdout)["FSTree"]["entries"]
    assert sorted(back) == wanted


def only_who_may_makes_one():
    """Not a mount that changes nothing, has no background jobs, or was told not to."""
    vol = zest.Volume()
    for options in (["--read-only"], ["--no-bgjob"], ["--backup-meta", "0"]):
        mount = vol.mount(*options)
        assert "last_successful_backup" not in open(mount.path(".stats")).read(), options
        mount.umount()
    mount = vol.mount()
    assert "juicefs_last_successful_backup 0\n" in open(mount.path(".stats")).read()
    mount.umount()
    done = zest.run(zest.ZESTFS, "mount", vol.meta, os.path.join(vol.folder, "mnt"), "--backup-meta", "10s", check=False, timeout=60)
    assert done.returncode != 0 and "5 minutes" in done.stdout + done.stderr, done


def moment(path):
    return datetime.datetime.strptime(os.path.basename(path), "dump-%Y-%m-%d-%H%M%S.json.gz")


def two_clients_make_one():
    """Of two mounts that both find a backup due, one makes it."""
    vol = zest.Volume()
    mounts = [vol.mount("--backup-meta", "3s", where=where, env=OFTEN) for where in ("one", "other")]
    fill(mounts[0])
    zest.wait_until(lambda: len(backups(vol)) >= 5, "five backups", 120)
    for mount in mounts:
        mount.umount()
    told = [re.findall(r"backup of the metadata: meta/(dump-\S+)", mount.log_text()) for mount in mounts]
    assert sorted(told[0] + told[1]) == [os.path.basename(path) for path in backups(vol)], (told, backups(vol))
    times = [moment(path) for path in backups(vol)]
    assert all(later - earlier >= datetime.timedelta(seconds=2) for earlier, later in zip(times, times[1:])), times


def old_ones_are_thinned_out():
    """All of two days; then one a day, of two months one a week, then one a month. What is no backup stays."""
    vol = zest.Volume()
    folder = os.path.join(vol.bucket, vol.name, "meta")
    os.makedirs(folder)
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    made = [now - datetime.timedelta(hours=hours) for hours in range(1, 200 * 24, 6)]
    for time in made:
        with open(os.path.join(folder, time.strftime("dump-%Y-%m-%d-%H%M%S.json.gz")), "wb") as file:
            file.write(b"old")
    with open(os.path.join(folder, "dump-by-hand.json"), "wb") as file:
        file.write(b"mine")
    mount = vol.mount("--backup-meta", "10s", env=OFTEN)
    zest.wait_until(lambda: len(backups(vol)) < 100, "old ones go", 120)
    zest.wait_until(lambda: scrape.total(mount, "last_successful_backup") > 1.5e9, "it is done", 60)
    mount.umount()
    assert os.path.exists(os.path.join(folder, "dump-by-hand.json"))
    ages = [(now - moment(path)).total_seconds() / 86400 for path in backups(vol)]
    young = [age for age in ages if 0 < age < 2]
    assert len(young) == len([time for time in made if now - time < datetime.timedelta(days=2)]), ages
    assert 11 <= len([age for age in ages if 2 <= age < 14]) <= 13, ages
    assert 6 <= len([age for age in ages if 14 <= age < 60]) <= 8, ages
    assert 4 <= len([age for age in ages if age >= 60]) <= 6, ages


zest.main([a_volume_comes_back, an_encrypted_volume_comes_back, a_large_encrypted_backup, only_who_may_makes_one, two_clients_make_one, old_ones_are_thinned_out])
