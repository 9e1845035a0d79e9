#!/usr/bin/env python3
"""The Grafana dashboard and the alert rules: every query is one that Prometheus takes, names what a live mount exports, and has an answer."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import collectors
import scrape
import zest

FOLDER = zest.TOP / "dashboards"
DASHBOARD = json.loads((FOLDER / "zestfs.json").read_text())
# They come into being with their first event, which the test does not bring about.
RARE = {"juicefs_transaction_restart"}
NAME = re.compile(r"\bjuicefs_\w+")


def panels():
    for panel in DASHBOARD["panels"]:
        yield panel
        yield from panel.get("panels", [])


def queries():
    """(title, expression) of everything that the dashboard asks, its variables as Grafana would put them."""
    for panel in panels():
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$name", "shown").replace("$mp", ".*").replace("$__rate_interval", "10s")


def metrics_in(expression):
    return set(NAME.findall(re.sub(r"juicefs_version", "", expression)))


def busy_mount():
    """A mount that has done a bit of everything, and goes on doing it."""
    vol = zest.Volume(name="shown")
    mount = vol.mount("--metrics", "127.0.0.1:0", "--writeback", "--heartbeat", "1", "--backup-meta", "10s", env={"SKIP_BACKUP_META_CHECK": "true"})
    os.mkdir(mount.path("dir"))
    zest.zestfs("quota", "set", vol.meta, "--path", "/dir", "--inodes", "1000", "--capacity", "1")
    zest.zestfs("quota", "set", vol.meta, "--uid", "1000", "--inodes", "1000", "--capacity", "1")
    zest.zestfs("quota", "set", vol.meta, "--gid", "1000", "--inodes", "1000", "--capacity", "1")
    return mount


def work(mount, step):
    path = mount.path("dir", f"f{step}")
    with open(path, "wb") as file:
        file.write(os.urandom(300_000))
    zest.run(zest.ZESTFS, "warmup", "--evict", path)
    for _ in range(2):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.read()
    if step:
        os.unlink(mount.path("dir", f"f{step - 1}"))
    try:
        os.unlink(mount.path("nothing"))
    except FileNotFoundError:
        pass


def every_query_has_an_answer():
    mount = busy_mount()
    prometheus = collectors.Prometheus(scrape.address(mount), rules=FOLDER / "alerts.yml")
    asked = [(title, query) for title, query in queries()]
    assert len(asked) > 50, len(asked)
    empty, steps = dict.fromkeys(asked), iter(range(1000))

    def all_answered():
        work(mount, next(steps))
        for one in list(empty):
            if prometheus.query(one[1]):  # fails where Prometheus does not take it
                del empty[one]
        return all(metrics_in(query) & RARE for _, query in empty)
    try:
        zest.wait_until(all_answered, "answers to all queries", 60)
    except AssertionError:
        raise AssertionError("no answer to " + "\n".join(f"{title}: {query}" for title, query in empty))
    rules = collectors.get(prometheus.url + "/api/v1/rules")["data"]["groups"][0]["rules"]
    zest.wait_until(lambda: all(rule["health"] == "ok" for rule in
                                collectors.get(prometheus.url + "/api/v1/rules")["data"]["groups"][0]["rules"]), "the rules are evaluated", 30)
    assert len(rules) >= 5
    mount.umount()


def every_metric_is_exported():
    mount = busy_mount()
    work(mount, 0)
    work(mount, 1)
    zest.wait_until(lambda: "juicefs_user_quota_max_inodes" in scrape.fetch(mount)[1], "the quotas are seen", 60)
    exported = {name for name, _, _ in scrape.parse(scrape.fetch(mount)[1])[1]} | RARE
    for title, query in queries():
        assert metrics_in(query) and metrics_in(query) <= exported, (title, metrics_in(query) - exported)
    rules = (FOLDER / "alerts.yml").read_text()
    for expression in re.findall(r"expr: (.*)", rules):
        assert metrics_in(expression) and metrics_in(expression) <= exported, (expression, metrics_in(expression) - exported)
    mount.umount()


def panels_do_not_overlap():
    taken = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(list(panels()))


def rules_are_rules():
    zest.run(zest.tool("promtool"), "check", "rules", FOLDER / "alerts.yml")


zest.main([panels_do_not_overlap, rules_are_rules, every_metric_is_exported, every_query_has_an_answer])
