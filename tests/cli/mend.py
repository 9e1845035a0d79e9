#!/usr/bin/env python3
"""Volumes damaged on purpose: each damage is found and named, mended where it can be, and nothing else is touched.
mend.py [CASE...]"""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

NOW = {"JFS_GC_SKIPPEDTIME": "0"}


class Damaged:
    """A volume with a small tree on SQLite, whose tables the test changes behind its back."""

    def __init__(self):
        self.volume = zest.Volume("--trash-days", "0")
        self.meta = self.volume.meta
        mount = self.volume.mount()
        os.makedirs(mount.path("d/sub"))
        for number in range(4):
            with open(mount.path(f"d/f{number}"), "wb") as file:
                file.write(os.urandom(5000))
        os.symlink("f0", mount.path("d/link"))
        open(mount.path("d/empty"), "w").close()
        self.inodes = {name: os.lstat(mount.path("d", name)).st_ino for name in os.listdir(mount.path("d"))}
        self.inodes["d"] = os.stat(mount.path("d")).st_ino
        self.content = {f"f{n}": open(mount.path(f"d/f{n}"), "rb").read() for n in range(4)}
        mount.umount()
        self.before = self.dump()
        self.objects = f"{self.volume.bucket}vol/chunks/0/0"
        self.blocks = sorted(os.listdir(self.objects))

    def sql(self, text):
        return zest.run("sqlite3", f"{self.volume.folder}/meta.db", text).stdout

    def dump(self):
        """The volume as text, without what every session moves on."""
        dump = json.loads(zest.zestfs("dump", self.meta).stdout)
        for name in ("nextSession", "nextInodes", "nextChunk"):
            dump["Counters"].pop(name)
        return dump

    def fsck(self, *options, code):
        done = zest.zestfs("fsck", self.meta, "--path", "/", "-r", "--sync-dir-stat", *options, check=False)
        assert done.returncode == code, done.stderr
        return done.stderr

    def found_and_mended(self, *texts):
        """All of the texts are told; a look changes nothing; after a repair all is well."""
        damaged = self.dump_or_none()
        text = self.fsck(code=1)
        for wanted in texts:
            assert re.search(wanted, text), f"/{wanted}/ is not in:\n{text}"
        assert self.dump_or_none() == damaged, "looking changes nothing"
        text = self.fsck("--repair", code=0)
        assert text.count("(repaired)") >= len(texts), text
        self.fsck(code=0)
        assert sorted(os.listdir(self.objects)) == self.blocks

    def dump_or_none(self):
        done = zest.zestfs("dump", self.meta, check=False)
        return done.stdout if done.returncode == 0 else None

    def entries(self):
        return self.dump()["FSTree"]["entries"]


def nothing_is_wrong():
    one = Damaged()
    one.fsck(code=0)
    one.fsck("--repair", code=0)
    assert one.dump() == one.before


def a_missing_object():
    one = Damaged()
    lost = one.blocks[1]
    os.rename(f"{one.objects}/{lost}", f"{one.volume.folder}/saved")
    for where in ([], ["--path", "/", "-r"], ["--path", "/d"]):
        done = zest.zestfs("fsck", one.meta, *where, check=False)
        assert done.returncode == 1 and "1 objects are lost (5000 bytes), 1 broken files:" in done.stderr, done.stderr
        assert re.search(rf"can't find block chunks/0/0/{lost} for file /d/f\d", done.stderr), done.stderr
    whole = [name for name in one.content if f"/d/{name}" not in done.stderr]
    assert len(whole) == 3
    zest.zestfs("fsck", one.meta, "--path", f"/d/{whole[0]}")
    os.rename(f"{one.volume.folder}/saved", f"{one.objects}/{lost}")
    zest.zestfs("fsck", one.meta)
    assert one.dump() == one.before


def a_block_of_the_wrong_size_or_place():
    """A block that fits no slice leaked; what does not lie where a block belongs is nobody's."""
    one = Damaged()
    slice_id = one.blocks[0].split("_")[0]
    for name in (f"{slice_id}_0_4999", f"{slice_id}_1_5000"):
        open(f"{one.objects}/{name}", "w").write("x")
        os.utime(f"{one.objects}/{name}", (1, 1))
    os.makedirs(f"{one.volume.bucket}vol/chunks/9/9")
    strange = f"{one.volume.bucket}vol/chunks/9/9/{one.blocks[0]}"
    open(strange, "w").write("x")
    os.utime(strange, (1, 1))
    text = zest.zestfs("gc", one.meta, env=NOW).stderr
    assert "scanned 6 objects, 4 valid" in text and "2 leaked" in text, text
    zest.zestfs("gc", "--delete", one.meta, env=NOW)
    assert sorted(os.listdir(one.objects)) == one.blocks and os.path.exists(strange)
    assert one.dump() == one.before


def leaked_objects():
    one = Damaged()
    for number in range(50):
        path = f"{one.objects}/{900 + number}_0_100"
        open(path, "w").write("x" * 100)
        os.utime(path, (1, 1))
    open(f"{one.objects}/999_0_100", "w").write("x" * 100)  # young: somebody may be about to use it
    text = zest.zestfs("gc", one.meta).stderr
    assert "50 leaked (5000 bytes)" in text and "1 skipped (100 bytes)" in text and "Please add `--delete`" in text, text
    assert len(os.listdir(one.objects)) == 55
    zest.zestfs("gc", "--delete", one.meta)
    assert sorted(os.listdir(one.objects)) == sorted([*one.blocks, "999_0_100"])
    assert one.dump() == one.before


def leaked_slices():
    """A reference that is used up, and a slice that a compaction put away: gc --delete ends both."""
    one = Damaged()
    for number in (801, 802):
        open(f"{one.objects}/{number}_0_100", "w").write("x" * 100)
        os.utime(f"{one.objects}/{number}_0_100", (1, 1))
    one.sql("insert into jfs_chunk_ref (chunkid, size, refs) values (801, 100, 0), (802, 100, 1)")
    record = (802).to_bytes(8, "big").hex() + (100).to_bytes(4, "big").hex()
    one.sql(f"insert into jfs_delslices (chunkid, deleted, slices) values (803, 1, x'{record}')")
    text = zest.zestfs("gc", one.meta, env=NOW).stderr
    assert "1 pending delete (100 bytes), 1 compacted (100 bytes), 0 leaked" in text, text
    assert len(os.listdir(one.objects)) == 6
    zest.zestfs("gc", "--delete", one.meta, env=NOW)
    assert sorted(os.listdir(one.objects)) == one.blocks
    assert one.sql("select count(*) from jfs_delslices") == "0\n" and one.sql("select count(*) from jfs_chunk_ref where chunkid in (801, 802)") == "0\n"
    assert one.dump() == one.before


def a_wrong_nlink():
    one = Damaged()
    one.sql(f"update jfs_node set nlink = 9 where inode = {one.inodes['d']}")
    one.found_and_mended(r"nlink of directory \d+ should be 3, but is 9")
    assert one.dump() == one.before


def wrong_counters():
    one = Damaged()
    one.sql("update jfs_dir_stats set used_inodes = 77, used_space = 1; update jfs_counter set value = 5 where name in ('usedSpace', 'totalInodes')")
    one.found_and_mended("statistics of directory 1 do not match", "the volume's counters say 5 bytes and 5 inodes")
    assert one.dump() == one.before
    status = json.loads(zest.zestfs("status", one.meta).stdout)["Stat"]
    assert (status["UsedInodes"], status["UsedSpace"]) == (8, 4 * 4096 + 4 * 8192), status


def entries_without_inodes():
    """With content or target left they are made anew; without anything left the name goes."""
    one = Damaged()
    lost = [one.inodes[name] for name in ("f1", "link", "empty")]
    one.sql(f"delete from jfs_node where inode in ({','.join(map(str, lost))})")
    one.found_and_mended(r"/d/f1: the entry's inode \d+ is missing", r"/d/link: ", r"/d/empty: ")
    entries = one.entries()["d"]["entries"]
    assert set(entries) == {"f0", "f1", "f2", "f3", "link", "sub"}, set(entries)
    wanted = one.before["FSTree"]["entries"]["d"]["entries"]
    for name in ("f0", "f2", "f3", "sub"):
        assert entries[name] == wanted[name], name
    assert entries["link"]["symlink"] == "f0" and entries["f1"]["chunks"] == wanted["f1"]["chunks"]
    mount = one.volume.mount()
    for name, content in one.content.items():
        assert open(mount.path("d", name), "rb").read() == content, name
    mount.umount()


def a_directory_without_attributes():
    one = Damaged()
    one.sql(f"delete from jfs_node where inode = {one.inodes['d']}")
    text = one.fsck("--repair", "--repair-dir-mode", "0700", code=0)
    assert f"the attributes of directory {one.inodes['d']} are missing (repaired)" in text, text
    one.fsck(code=0)
    made = one.entries()["d"]
    assert made["attr"]["mode"] == 0o700 and made["entries"] == one.before["FSTree"]["entries"]["d"]["entries"]


def inodes_without_entries():
    """They get a name in /lost+found, with all that is below."""
    one = Damaged()
    one.sql(f"delete from jfs_edge where inode in ({one.inodes['f2']}, {one.inodes['sub']})")
    one.found_and_mended(f"inode {one.inodes['f2']} has no entry", f"inode {one.inodes['sub']} has no entry")
    entries = one.entries()
    assert set(entries["lost+found"]["entries"]) == {str(one.inodes["f2"]), str(one.inodes["sub"])}
    mount = one.volume.mount()
    assert open(mount.path("lost+found", str(one.inodes["f2"])), "rb").read() == one.content["f2"]
    os.rename(mount.path("lost+found", str(one.inodes["f2"])), mount.path("d/f2"))
    mount.umount()
    one.fsck(code=0)


def a_volume_in_use():
    """Files held open without a name, and what changes meanwhile, are no damage."""
    one = Damaged()
    mount = one.volume.mount()
    held = open(mount.path("d/f3"), "rb")
    os.unlink(mount.path("d/f3"))
    for number in range(200):
        open(mount.path(f"new{number}"), "w").write("x")
        if number % 40 == 0:
            zest.wait_until(lambda: zest.zestfs("fsck", one.meta, "--path", "/", "-r", check=False).returncode == 0, "fsck finds nothing wrong")
            zest.zestfs("gc", "--delete", one.meta, env=NOW)
    assert held.read() == one.content["f3"], "gc leaves what is open"
    held.close()
    mount.umount()
    one.fsck(code=0)
    zest.zestfs("fsck", one.meta)


zest.main([nothing_is_wrong, a_missing_object, a_block_of_the_wrong_size_or_place, leaked_objects, leaked_slices, a_wrong_nlink, wrong_counters,
           entries_without_inodes, a_directory_without_attributes, inodes_without_entries, a_volume_in_use])
