#!/usr/bin/env python3
"""The options of every command beside the list of docs/behaviour/cli.md: names, short forms, defaults. options.py [CASE...]"""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

CLIENT = """
    --backup-meta=1h --backup-skip-trash --heartbeat=12s --read-only --no-bgjob --atime-mode=noatime --skip-dir-nlink=20
    --skip-dir-mtime=100ms --sort-dir --fast-statfs --network-interfaces --subdir
    --attr-cache=1.0s --dir-entry-cache=1.0s --negative-entry-cache --readdir-cache --open-cache=0s --open-cache-limit=10000
    --storage --bucket --storage-class --tag --get-timeout=60s --put-timeout=60s --io-retries=10 --max-uploads=20 --max-downloads=200
    --max-stage-write=1000 --max-deletes=10 --upload-limit --download-limit --check-storage
    --buffer-size=300M --max-readahead --prefetch=1 --writeback --writeback-threshold-size=0 --upload-delay=0s --upload-hours
    --cache-dir --cache-mode=0600 --cache-size=100G --cache-items=0 --free-space-ratio=0.1 --cache-partial-only --cache-large-write
    --verify-cache-checksum=extend --cache-eviction=2-random --cache-scan-interval=1h --cache-expire=0s
    --metrics=127.0.0.1:9567 --custom-labels --consul=127.0.0.1:8500 --no-usage-report"""

# Of the specification, by command: "--name,-short=default". What ours has beyond it is in OURS.
SPEC = {
    "format": """--force --no-update --storage=file --bucket=/var/jfs --access-key --secret-key --session-token --storage-class --tag
        --block-size=4M --compress=none --encrypt-rsa-key --encrypt-algo=aes256gcm-rsa --hash-prefix --shards=0
        --capacity=0 --inodes=0 --trash-days=1 --enable-acl --ranger-rest-url --ranger-service --kerberos-config-file""",
    "config": """--storage --bucket --access-key --secret-key --session-token --storage-class --upload-limit --download-limit --capacity
        --inodes --trash-days --enable-acl --ranger-rest-url --ranger-service --encrypt-secret --min-client-version
        --max-client-version --dir-stats --yes,-y --force --tag --user-group-quota --changelog --changelog-max-age=2h
        --changelog-max-lines=0 --tier --kerberos-config-file""",
    "quota": "--path --create --capacity --inodes --repair --strict --uid --gid",
    "destroy": "--yes,-y --force",
    "gc": "--compact --delete --threads,-p=10",
    "fsck": "--path --repair --recursive,-r --sync-dir-stat --repair-dir-mode=0755",
    "restore": "--put-back --threads=10",
    "dump": "--subdir --keep-secret-key --threads=10 --fast --skip-trash --binary",
    "load": "--encrypt-rsa-key --encrypt-algo=aes256gcm-rsa --binary --stat --offset=0 --threads=10",
    "tier": "--tier --recursive,-r --force,-f --days=3",
    "version": "",
    "status": "--session,-s --more,-m",
    "stats": "--schema=ufmco --interval=1 --verbosity,-l=0 --count,-c=0",
    "profile": "--uid,-u --gid,-g --pid,-p --interval=2",
    "info": "--inode,-i --recursive,-r --strict --raw",
    "summary": "--depth,-d=2 --entries,-e=10 --strict --csv",
    "debug": "--out-dir=debug --limit=5000 --stats-sec=5 --trace-sec=5 --profile-sec=30",
    "mount": """--background,-d --no-syslog --log --force --update-fstab --disable-transparent-hugepage --hide-internal
        --enable-xattr --enable-cap --enable-selinux --enable-ioctl --root-squash --all-squash --prefix-internal
        --umask -o --entry-cache=1.0s""" + CLIENT,
    "umount": "--force,-f --flush",
    "bench": "--block-size=1M --big-file-size=1G --small-file-size=128K --small-file-count=100 --threads,-p=1",
    "objbench": """--storage=file --access-key --secret-key --session-token --shards=0 --block-size=4M --big-object-size=1G
        --small-object-size=128K --small-objects=100 --skip-functional-tests --threads,-p=4 --storage-class,--sc""",
    "mdtest": "--threads=1 --dirs=3 --depth=2 --files=10 --write=0 --access-log --entry-cache=0.0s" + CLIENT,
    "warmup": "--file,-f --threads,-p=50 --background,-b --evict --check",
    "rmr": "--skip-trash --threads,-p=50",
    "clone": "--preserve,-p --threads=4",
    "changelog": "--from=0",
    "compact": "--threads,-p=10",
}
OURS = {
    "changelog": "--json", "stats": "--json", "profile": "--json", "warmup": "--json",
    "gc": "--json --resume --state-dir", "fsck": "--json --resume --state-dir",
    "quota": "--json", "tier": "--json", "info": "--json", "summary": "--json", "bench": "--json", "objbench": "--json", "mdtest": "--json",
    "mount": "--max-fuse-io=1M",  # the reference's default of 128K halves the speed of large reads
    "top": "--interval=2 --count,-c=0 --rows,-n=10 --json", "why": "--read-size=64M --json", "completion": "", "man": "",
}
# Commands that print no table of results: their work shows in what they change, or what they print is JSON or a file anyway.
NO_TABLES = """format config destroy restore dump load version status debug mount umount rmr clone compact completion man""".split()
GROWING = {"mount", "mdtest"}  # clients have options of ours that other parts add and test
GLOBAL = "--verbose,--debug,-v --quiet,-q --trace --log-id --no-agent --pyroscope --no-color --help,-h --version,-V"
# Parts of their own, with their own places in the tracker.
ELSEWHERE = {"gateway", "webdav", "sync"}


def listed(text):
    """{"--threads": ({"-p"}, "10")} of "--threads,-p=10"; the name is the first one."""
    out = {}
    for word in text.split():
        names, _, default = word.partition("=")
        first, *others = names.split(",")
        out[first] = (set(others), default)
    return out


def shown(text):
    """The same from a help text."""
    out = {}
    for line in text[text.index("OPTIONS:"):].splitlines() if "OPTIONS:" in text else []:
        found = re.match(r"   (-\S+(?: value)?(?:, -\S+(?: value)?)*)  ", line)
        if not found:
            continue
        names = [name.removesuffix(" value") for name in found[1].split(", ")]
        default = re.search(r"\(default: (.*)\)$", line)
        for first in names:
            out[first] = (set(names) - {first}, default[1] if default else "")
    return out


def every_command():
    in_help = set(re.findall(r"^     (\w+) ", zest.zestfs("--help").stdout, re.M))
    hidden = {"mdtest"}
    wanted = (set(SPEC) | set(OURS)) - hidden
    assert in_help == wanted, in_help ^ wanted
    in_spec = set(re.findall(r"`(\w+)`", re.search(r"Command groups shown by help:.*", open(zest.TOP / "docs/behaviour/cli.md").read())[0]))
    named = set(" ".join(re.findall(r"`([a-z ]+)`", re.search(r"Command groups shown by help:.*", open(zest.TOP / "docs/behaviour/cli.md").read())[0])).split())
    missing = named - set(SPEC) - ELSEWHERE - {"printsid"}
    assert not missing and in_spec, missing


def options_as_specified():
    wrong = []
    for command in sorted(set(SPEC) | set(OURS)):
        found = shown(zest.zestfs(command, "--help").stdout)
        wanted = listed(SPEC.get(command, "")) | listed(OURS.get(command, ""))
        known = set(wanted) | {other for others, _ in wanted.values() for other in others}
        for name, (others, default) in wanted.items():
            if name not in found:
                wrong.append(f"{command}: {name} is missing")
                continue
            if found[name][0] != others:
                wrong.append(f"{command} {name}: other forms {found[name][0]}, not {others}")
            if default and found[name][1] != default:
                wrong.append(f"{command} {name}: default {found[name][1]!r}, not {default!r}")
        if command not in GROWING:
            wrong += [f"{command}: {name} is in no list" for name in set(found) - known]
    assert not wrong, "\n" + "\n".join(wrong)
    assert {name for name in shown(zest.zestfs("--help").stdout)} == set(GLOBAL.replace(",", " ").split())


def json_wherever_a_table_is_printed():
    """Every command either prints no results, or takes --json and prints nothing else then."""
    for command in sorted(set(SPEC) | set(OURS)):
        takes = "--json" in shown(zest.zestfs(command, "--help").stdout)
        assert takes != (command in NO_TABLES), f"{command}: --json, or a word why not"
    volume = zest.Volume("--trash-days", "0")
    meta = volume.meta
    zest.zestfs("config", meta, "--tier", "1", "--storage-class", "IA", "--yes")
    mount = volume.mount()
    os.makedirs(mount.path("d"))
    open(mount.path("d/f"), "w").write("some text")
    log = f"{volume.folder}/access.log"
    open(log, "w").write("2026.01.01 00:00:00.000001 [uid:0,gid:0,pid:1] getattr (1): OK <0.000010>\n")
    zest.zestfs("quota", "set", meta, "--path", "/d", "--inodes", "100")
    runs = {"fsck": [meta], "gc": [meta], "quota": ["list", meta], "tier": ["list", meta], "info": [mount.path("d/f")],
            "summary": [mount.path("d")], "stats": ["--count", "2", "-l", "1", "--schema", "tufmcogw", mount.point],
            "top": ["--count", "2", "--interval", "1", mount.point], "profile": ["--interval", "0", log], "why": [mount.path("d/f")],
            "warmup": ["--check", mount.path("d")],
            "bench": ["--big-file-size", "1M", "--small-file-size", "1K", "--small-file-count", "2", mount.path("d")],
            "objbench": ["--big-object-size", "1M", "--small-objects", "2", f"{volume.folder}/bench/"],
            "mdtest": ["--dirs", "1", "--depth", "1", "--files", "2", "--cache-dir", f"{volume.folder}/cache", meta, "/mdtest"]}
    assert set(runs) == (set(SPEC) | set(OURS)) - set(NO_TABLES) - {"changelog"}  # has no end: changelog.py
    for command, arguments in runs.items():
        text = zest.zestfs(command, "--json", *arguments).stdout
        lines = text.splitlines() if command in ("stats", "top") else [text]
        assert lines, command
        for line in lines:
            assert json.loads(line), (command, text)
    assert json.loads(zest.zestfs("status", meta).stdout)
    stats = [json.loads(line) for line in zest.zestfs("stats", "--json", *runs["stats"]).stdout.splitlines()]
    assert len(stats) == 2 and stats[1]["meta"].keys() == {"ops", "lat", "txn", "txn_lat", "retry"} and stats[1]["usage"]["mem"] > 1e6, stats
    checked = json.loads(zest.zestfs("warmup", "--check", "--json", mount.path("d")).stdout)
    assert checked["files"] == 1 and checked["bytes"] == sum(checked["locations"].values()) == 9, checked
    profile = json.loads(zest.zestfs("profile", "--json", *runs["profile"]).stdout)
    assert profile["operations"] == {"getattr": {"count": 1, "totalUs": 10.0}}, profile
    mount.umount()


def options_are_taken():
    """A command refuses what is in no list, and takes one dash or two, values behind '=' or a space."""
    for command in sorted(set(SPEC) | set(OURS)):
        done = zest.zestfs(command, "--nonsense", check=False)
        assert done.returncode == 1 and "unknown option: --nonsense" in done.stderr, (command, done.stderr)
    folder = zest.temp_dir()
    for spelled in (["-threads", "3"], ["--threads=3"], ["-threads=3"], ["-p", "3"], ["--p=3"]):
        done = zest.zestfs("gc", *spelled, f"sqlite3://{folder}/none.db", check=False)
        assert "not formatted" in done.stderr, (spelled, done.stderr)
    done = zest.zestfs("gc", "--threads", "many", f"sqlite3://{folder}/none.db", check=False)
    assert done.returncode == 1 and "threads" in done.stderr, done.stderr


def bash_completes():
    """The script is sourced in a real bash, and bash is asked what it would offer."""
    folder = zest.temp_dir()
    open(f"{folder}/script", "w").write(zest.zestfs("completion", "bash").stdout)
    os.symlink(zest.ZESTFS, f"{folder}/zestfs")

    def offered(line):
        words = line.split(" ")
        done = zest.run("bash", "--norc", "-c", 'source "$1/script"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _zestfs; '
                        'printf "%s\\n" "${COMPREPLY[@]}"', "bash", folder, *words, env={"PATH": folder + ":" + os.environ["PATH"]})
        return set(done.stdout.split())
    assert offered("zestfs su") == {"summary"}
    assert offered("zestfs ") >= {"format", "mount", "why", "top", "debug"} and "mdtest" not in offered("zestfs ")
    assert offered("zestfs gc --de") == {"--delete", "--debug"}
    assert offered("zestfs quota ") == {"set", "get", "delete", "del", "list", "ls", "check"}
    assert offered("zestfs quota s") == {"set"}
    assert offered("zestfs --no-c") == {"--no-color"}
    assert offered("zestfs gc --threads ") == set(), "a value: files"
    assert offered("zestfs mount --cache-s") == {"--cache-size", "--cache-scan-interval"}
    # as the loaders of the reference ask
    assert "--delete" in zest.zestfs("gc", "-", "--generate-bash-completion").stdout.split()
    assert "list" in zest.zestfs("quota", "--generate-bash-completion").stdout.split()
    hacked = zest.zestfs("--generate-bash-completion", env={"_CLI_ZSH_AUTOCOMPLETE_HACK": "1"}).stdout
    assert "gc:find and delete" in hacked, hacked
    zest.run("bash", "-n", f"{folder}/script")


def zsh_completes():
    folder = zest.temp_dir()
    open(f"{folder}/_zestfs", "w").write(zest.zestfs("completion", "zsh").stdout)
    zest.run("zsh", "-fn", f"{folder}/_zestfs")
    # the function runs with the list caught where the menu would be shown
    script = f"""compdef() {{ :; }}; _describe() {{ print -l -- "${{(@P)2}}"; }}; _files() {{ print files; }}
        source {folder}/_zestfs
        words=(zestfs gc --de) CURRENT=3; _zestfs; words=(zestfs gc --threads '') CURRENT=4; _zestfs"""
    os.symlink(zest.ZESTFS, f"{folder}/zestfs")
    out = zest.run("zsh", "-fc", script, env={"PATH": folder + ":" + os.environ["PATH"]}).stdout.splitlines()
    assert any(line.startswith("--delete:") for line in out) and out[-1] == "files", out


def the_manual_page():
    folder = zest.temp_dir()
    page = zest.zestfs("man").stdout
    open(f"{folder}/zestfs.1", "w").write(page)
    done = zest.run("groff", "-man", "-ww", "-Tutf8", "-z", f"{folder}/zestfs.1")
    assert done.stderr == "" and done.stdout == "", done.stderr
    done = zest.run("mandoc", "-T", "lint", "-W", "warning", f"{folder}/zestfs.1", check=False)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "missing date" not in line]
    assert not complaints, complaints
    text = zest.run("man", "--warnings", "-P", "cat", "-l", f"{folder}/zestfs.1", env={"MANWIDTH": "200", "LC_ALL": "C.UTF-8"})
    plain = re.sub(".\b", "", text.stdout).replace("\u2010", "-").replace("\u2212", "-")
    for word in ("zestfs gc", "--sync-dir-stat", "--cache-eviction", "EXIT STATUS", "(default: 2-random)"):
        assert word in plain, word
    assert text.stderr == "", text.stderr


zest.main([every_command, options_as_specified, json_wherever_a_table_is_printed, options_are_taken, bash_completes, zsh_completes, the_manual_page])
