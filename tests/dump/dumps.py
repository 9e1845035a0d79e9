#!/usr/bin/env python3
"""Dumps of golden volumes equal the reference's own; dumps cross between engines and clients, JSON and binary.

dumps.py [CASE...]
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

JUICEFS = zest.tool("juicefs")


def unpack(kind):
    folder = zest.temp_dir("golden")
    zest.run("tar", "xzf", zest.GOLDEN / f"{kind}.tar.gz", "-C", folder)
    return os.path.join(folder, kind)


def golden_json_is_the_references():
    """Byte for byte, but for counters that the reference's own dump command moved on."""
    folder = unpack("sqlite-plain")
    out = os.path.join(folder, "ours.json")
    zest.zestfs("dump", f"sqlite3://{folder}/meta.db", out)
    ours, theirs = open(out, "rb").read(), open(os.path.join(folder, "dump.json"), "rb").read()
    if ours == theirs:
        return
    for number, (a, b) in enumerate(zip(ours.splitlines(), theirs.splitlines()), 1):
        if a != b and not any(name in a for name in (b"nextSession", b"nextInodes", b"nextChunk", b"usedSpace", b"usedInodes", b"lastBackup")):
            raise AssertionError(f"line {number}:\n ours   {a[:300]!r}\n theirs {b[:300]!r}")
    assert len(ours.splitlines()) == len(theirs.splitlines())


def contents(text):
    """What a JSON dump says, without what a load changes."""
    dump = json.loads(text)
    dump.pop("Counters")
    dump["Setting"].pop("MinClientVersion", None)
    dump["Setting"].pop("Tiers", None)
    return dump


def first_difference(a, b, path=""):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(set(a) | set(b)):
            if a.get(key) != b.get(key):
                return first_difference(a.get(key), b.get(key), f"{path}/{key}")
    return f"{path}: {str(a)[:300]} != {str(b)[:300]}"


def same(a, b):
    a, b = contents(open(a).read()), contents(open(b).read())
    for key in set(a) | set(b):
        if key != "Sustained":
            assert a.get(key) == b.get(key), f"{key} differs: {first_difference(a.get(key), b.get(key))}"


def golden_round_trips():
    """Loaded into each of our engines and dumped again, JSON and binary, plain and compressed, nothing is lost."""
    folder = unpack("sqlite-plain")
    source = os.path.join(folder, "dump.json")
    engines = {"sqlite": f"sqlite3://{folder}/one.db", "redis": zest.redis_server()[0]}
    for name, url in engines.items():
        zest.zestfs("load", url, source)
        again = os.path.join(folder, f"{name}.json")
        zest.zestfs("dump", url, again)
        same(source, again)
        for suffix in ("", ".gz", ".zstd"):
            binary = os.path.join(folder, f"{name}.bin{suffix}")
            zest.zestfs("dump", "--binary", url, binary)
            target = f"sqlite3://{folder}/{name}{suffix}-copy.db"
            zest.zestfs("load", "--binary", target, binary)
            copy = os.path.join(folder, f"{name}{suffix}-copy.json")
            zest.zestfs("dump", target, copy)
            same(again, copy)
    text = zest.zestfs("load", "--binary", "--stat", os.path.join(folder, "redis.bin")).stdout
    assert "chunk" in text and "node" in text, text


def the_references_binary_dump_loads():
    folder = unpack("sqlite-plain")
    zest.zestfs("load", "--binary", f"sqlite3://{folder}/loaded.db", os.path.join(folder, "dump.bin"))
    zest.zestfs("dump", f"sqlite3://{folder}/loaded.db", os.path.join(folder, "loaded.json"))
    same(os.path.join(folder, "loaded.json"), os.path.join(folder, "dump.json"))


def the_reference_loads_ours():
    folder = unpack("sqlite-plain")
    url = f"sqlite3://{folder}/meta.db"
    for extra in ([], ["--binary"]):
        if extra:
            # the reference cannot load an empty value of an extended attribute, not even from its own binary dump
            zest.run("sqlite3", f"{folder}/meta.db", "delete from jfs_xattr where length(value) = 0")
            zest.zestfs("dump", url, os.path.join(folder, "dump.json"))
        ours = os.path.join(folder, "ours" + "".join(extra))
        zest.zestfs("dump", *extra, url, ours)
        target = f"sqlite3://{folder}/theirs{''.join(extra)}.db"
        zest.run(JUICEFS, "load", *extra, target, ours)
        back = os.path.join(folder, "back" + "".join(extra))
        zest.zestfs("dump", target, back)
        same(back, os.path.join(folder, "dump.json"))


def the_change_log_is_left_behind():
    """A dump tells how far it went; dumps of the reference's KV engines, which hold it, load all the same."""
    folder = zest.temp_dir("log")
    badger, ours = f"badger://{folder}/badger", f"sqlite3://{folder}/ours.db"
    store = ["--storage", "file", "--bucket", f"{folder}/data/"]
    zest.run(JUICEFS, "format", badger, "vol", *store)
    zest.run(JUICEFS, "config", badger, "--changelog", "--yes")
    zest.run(JUICEFS, "mdtest", badger, "tree", "--depth", "1", "--dirs", "2", "--files", "3")
    for kind in ("json", "bin"):
        dump = f"{folder}/badger.{kind}"
        zest.run(JUICEFS, "dump", badger, dump, *(["--binary"] if kind == "bin" else []))
        assert b"|CREATE(1,tree," in open(dump, "rb").read()
        url = f"sqlite3://{folder}/{kind}.db"
        zest.zestfs("load", url, dump, *(["--binary"] if kind == "bin" else []))
        zest.zestfs("dump", url, f"{folder}/again.json")
        again = json.load(open(f"{folder}/again.json"))
        assert "tree" in again["FSTree"]["entries"] and "lastChangelog" not in again["Counters"], again
    zest.zestfs("format", ours, "ours", *store)
    zest.zestfs("config", ours, "--changelog")
    zest.zestfs("mdtest", ours, "tree", "--depth", "1", "--dirs", "2", "--files", "3")
    lines = int(zest.run("sqlite3", "-readonly", f"{folder}/ours.db", "select max(id) from jfs_change_log").stdout)
    zest.zestfs("dump", ours, f"{folder}/ours.json")
    assert json.load(open(f"{folder}/ours.json"))["Counters"]["lastChangelog"] == lines > 10
    zest.zestfs("dump", ours, f"{folder}/ours.bin", "--binary")
    zest.run(JUICEFS, "load", f"sqlite3://{folder}/theirs.db", "--binary", f"{folder}/ours.bin")
    counter = zest.run("sqlite3", "-readonly", f"{folder}/theirs.db", "select value from jfs_counter where name='lastChangelog'").stdout
    assert int(counter) == lines, counter


def wrong_input_is_refused():
    folder = unpack("sqlite-plain")
    text = open(os.path.join(folder, "dump.json")).read()
    cases = {"cut.json": text[:len(text) // 2], "no-object.json": "[1, 2]", "empty.json": "", "no-tree.json": '{"Setting": {"Name": "x"}}',
             "bad-type.json": text.replace('"type":"symlink"', '"type":"portal"', 1)}
    for name, content in cases.items():
        path = os.path.join(folder, name)
        open(path, "w").write(content)
        target = f"sqlite3://{folder}/{name}.db"
        done = zest.zestfs("load", target, path, check=False)
        assert done.returncode == 1 and "load" in done.stderr, (name, done.stderr)
        # nothing is left: the same database takes a good dump
        zest.zestfs("load", target, os.path.join(folder, "dump.json"))
    binary = open(os.path.join(folder, "dump.bin"), "rb").read()
    for name, content in {"cut.bin": binary[:5000], "noise.bin": os.urandom(1000), "long.bin": binary[:4] + b"\x7f" * 8 + binary[12:]}.items():
        path = os.path.join(folder, name)
        open(path, "wb").write(content)
        done = zest.zestfs("load", "--binary", f"sqlite3://{folder}/{name}.db", path, check=False)
        assert done.returncode == 1, (name, done.stderr)
    done = zest.zestfs("load", f"sqlite3://{folder}/meta.db", os.path.join(folder, "dump.json"), check=False)
    assert done.returncode == 1 and "used by volume" in done.stderr, done.stderr


zest.main([golden_json_is_the_references, golden_round_trips, the_references_binary_dump_loads, the_reference_loads_ours,
           the_change_log_is_left_behind, wrong_input_is_refused])
