#!/usr/bin/env python3
"""SQLite's write-ahead log stays while a mount uses it, whoever else opens and leaves the database meanwhile."""
import os
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest


def fsynced(path):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"data")
    os.fsync(fd)
    os.close(fd)


def names(database):
    connection = sqlite3.connect(database)
    try:
        return {row[0] for row in connection.execute("SELECT name FROM jfs_edge")}
    finally:
        connection.close()


def others_come_and_go():
    volume = zest.Volume()
    database = volume.meta.removeprefix("sqlite3://")
    mount = volume.mount()
    fsynced(mount.path("first"))
    log = os.stat(database + "-wal").st_ino
    for round in range(3):
        zest.zestfs("status", volume.meta)
        zest.zestfs("gc", volume.meta)
        assert b"first" in names(database)
        assert os.stat(database + "-wal").st_ino == log, "the log is the one that the mount writes"
        assert os.path.exists(database + "-shm")
        name = f"round{round}"
        fsynced(mount.path(name))
        os.mkdir(mount.path(name + ".d"))
        assert {name.encode(), (name + ".d").encode()} <= names(database), "what is acknowledged is in the database"
    mount.kill()
    assert {b"first", b"round0", b"round1", b"round2", b"round2.d"} <= names(database)
    again = volume.mount()
    with open(again.path("round2"), "rb") as file:
        assert file.read() == b"data"
    again.umount()
    zest.zestfs("fsck", volume.meta)


zest.main([others_come_and_go])
