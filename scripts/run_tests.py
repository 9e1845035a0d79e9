#!/usr/bin/env python3
"""Runs the tests of a build folder by ctest, fast ones first, and closes with "N passed, M failed".

run_tests.py [--soak] BUILD [LABEL-OR-NAME ...]
"""
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

# in this order; labels not listed come last
ORDER = ["unit", "conformance", "history", "engines", "cli"]
PARALLEL = {"unit", "conformance"}  # the others mount, start servers and load the machine: one at a time
JOBS = max(2, os.cpu_count() or 2)


def tests_of(build):
    out = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1"], capture_output=True, text=True, check=True)
    found = []
    for test in json.loads(out.stdout)["tests"]:
        labels = next((p["value"] for p in test.get("properties", []) if p["name"] == "LABELS"), [])
        found.append((test["name"], labels))
    return found


def run(build, label, names, soak, whole):
    """Tests of one label; gives (passed, names of those that failed). A few failures are run once more, alone: what then
    passes is told as unsteady and counts as passed, what fails twice has failed."""
    passed, failed = run_once(build, label, names, soak, whole)
    if not 0 < len(failed) <= 3:
        return passed, failed
    again, still = run_once(build, label, failed, soak, False, "-again")
    for name in failed:
        if name not in still:
            print(f"UNSTEADY {name}: failed, then passed alone", flush=True)
    return passed + again, still


def run_once(build, label, names, soak, whole, suffix=""):
    log = os.path.join(build, f"test-{label}{suffix}.log")
    report = os.path.abspath(os.path.join(build, f"test-{label}{suffix}.xml"))
    if os.path.exists(report):
        os.unlink(report)
    command = ["ctest", "--test-dir", build, "-j", str(JOBS if label in PARALLEL and not suffix else 1), "--output-on-failure",
               "--no-tests=error", "--output-junit", report, "-L", f"^{label}$"]
    command += ["-L", "^soak$"] if soak else ["-LE", "^soak$"]
    if not whole:
        command += ["-R", "^(" + "|".join(re.escape(n) for n in names) + ")$"]
    started = time.time()
    with open(log, "w") as out:
        subprocess.run(command, stdout=out, stderr=subprocess.STDOUT)
    ended = {}
    if os.path.exists(report):
        for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
            ended[case.get("name")] = case.get("status")
    failed = [n for n in names if ended.get(n) != "run"]
    print(f"  {label:12} {len(names) - len(failed):5} passed {len(failed):4} failed {time.time() - started:6.0f} s", flush=True)
    if failed:
        print(open(log, errors="replace").read()[-20000:], flush=True)
    return len(names) - len(failed), failed


def main():
    arguments = sys.argv[1:]
    soak = "--soak" in arguments
    arguments = [a for a in arguments if a != "--soak"]
    build, wanted = arguments[0], arguments[1:]
    groups = {}
    for name, labels in tests_of(build):
        if ("soak" in labels) != soak:
            continue
        label = next((l for l in labels if l != "soak"), "other")
        groups.setdefault(label, []).append(name)
    everything = {label: len(names) for label, names in groups.items()}
    parts = [w for w in wanted if w not in groups]  # of names
    for label, names in list(groups.items()):
        if wanted and label not in wanted:
            groups[label] = [n for n in names if any(p in n for p in parts)]
            if not groups[label]:
                del groups[label]
    total, failures = 0, []
    for label in sorted(groups, key=lambda l: (ORDER.index(l) if l in ORDER else len(ORDER), l)):
        passed, failed = run(build, label, groups[label], soak, len(groups[label]) == everything[label])
        total += passed
        failures += failed
    if not groups:
        print("no test matches")
        failures.append("none")
    for name in failures:
        print(f"FAILED {name}")
    print(f"{total} passed, {len(failures)} failed")
    return 1 if failures else 0


sys.exit(main())
