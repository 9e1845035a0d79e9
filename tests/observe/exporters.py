#!/usr/bin/env python3
"""Metrics on their way to Prometheus, a push gateway, Graphite and Consul: real servers take what we send."""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import collectors
import scrape
import servers
import zest


def some_work(mount):
    with open(mount.path("file"), "wb") as file:
        file.write(os.urandom(1_000_000))
    with open(mount.path("file"), "rb") as file:
        file.read()


def prometheus_scrapes_us():
    vol = zest.Volume(name="scraped")
    mount = vol.mount("--metrics", "127.0.0.1:0", "--custom-labels", "team:blue")
    some_work(mount)
    text = scrape.fetch(mount)[1]
    lint = zest.run(zest.tool("promtool"), "check", "metrics", input=text, check=False)
    # 3: it parsed, and there is advice about names, which are not ours to choose
    assert lint.returncode in (0, 3), lint
    prometheus = collectors.Prometheus(scrape.address(mount))
    zest.wait_until(lambda: prometheus.query("juicefs_uptime"), "the first scrape", 60)
    target = prometheus.targets()[0]
    assert target["health"] == "up" and target["lastError"] == "", target
    series = prometheus.query("juicefs_fuse_ops_total{method='write'}")
    assert len(series) == 1 and float(series[0]["value"][1]) >= 1, series
    labels = series[0]["metric"]
    # honor_labels: ours stay as they are
    assert labels["instance"] == socket.gethostname() and labels["mp"] == mount.point and labels["vol_name"] == "scraped", labels
    assert labels["team"] == "blue", labels
    stored = {entry["metric"]["__name__"] for entry in prometheus.query('{__name__=~"juicefs_.*"}')}
    assert {name for name, _, _ in scrape.parse(text)[1]} <= stored
    mount.umount()


def a_push_gateway_takes_what_we_push():
    gateway = collectors.PushGateway()
    vol = zest.Volume(name="pushed")
    mount = vol.mount("--push-gateway", gateway.url, "--push-interval", "1s", "--push-labels", "rack:7", "--push-auth", "me:secret")
    some_work(mount)

    def group():
        return next((g for g in gateway.groups() if "juicefs_fuse_ops_total" in g), None)
    zest.wait_until(group, "the group is there", 60)
    labels = group()["labels"]
    assert labels == {"job": "juicefs", "vol_name": "pushed", "mp": mount.point, "instance": socket.gethostname(), "rack": "7"}, labels
    assert group()["last_push_successful"], group()

    def pushed():
        return {m["labels"]["method"]: float(m["value"]) for m in group()["juicefs_fuse_ops_total"]["metrics"]}
    before = pushed().get("mkdir", 0)
    os.mkdir(mount.path("dir"))
    zest.wait_until(lambda: pushed().get("mkdir", 0) == before + 1, "the next push tells of it", 30)
    assert "secret" not in mount.log_text()
    with open(f"/proc/{mount.pids()[-1]}/cmdline", "rb") as file:
        assert b"secret" not in file.read()
    gateway.kill()
    zest.wait_until(lambda: "metrics are not sent to the push gateway" in mount.log_text(), "the failure is logged", 30)
    os.mkdir(mount.path("works"))
    mount.umount()


def carbon_takes_what_we_send():
    carbon = collectors.Carbon()
    vol = zest.Volume(name="graphed")
    mount = vol.mount("--push-graphite", f"{servers.HOST}:{carbon.port}", "--push-interval", "1s", "--custom-labels", "odd:a b")
    some_work(mount)

    def series():
        return carbon.series("juicefs_fuse_ops_total")
    zest.wait_until(lambda: any(tags["method"] == "write" for tags, _ in series()), "carbon keeps the series", 60)
    tags, path = next(one for one in series() if one[0]["method"] == "write")
    assert tags == {"vol_name": "graphed", "mp": mount.point, "instance": socket.gethostname(), "method": "write", "odd": "a_b",
                    "juicefs_version": tags["juicefs_version"]}, tags
    values = [line.split()[1] for line in zest.run(zest.tool("whisper-fetch"), path).stdout.splitlines()]
    kept = [float(value) for value in values if value != "None"]
    assert kept and kept[-1] == scrape.total(mount, "fuse_ops_total", method="write"), values
    mount.umount()


def consul_is_told_where_we_are():
    agent = collectors.ConsulAgent()
    vol = zest.Volume()
    mount = vol.mount("--consul", agent.address)
    zest.wait_until(lambda: agent.services or agent.problems, "the registration", 30)
    assert not agent.problems, agent.problems
    service = agent.services[f"127.0.0.1:{mount.point}"]
    assert service["Name"] == "juicefs" and service["Meta"] == {"mountPoint": mount.point, "hostName": socket.gethostname()}, service
    assert f"{service['Address']}:{service['Port']}" == scrape.address(mount), (service, scrape.address(mount))
    assert "juicefs_uptime" in agent.check(service["ID"])
    with open(mount.path(".config")) as file:
        assert f'"ConsulAddr": "{agent.address}"' in file.read()
    mount.umount()
    # nobody there: the mount works all the same
    mount = vol.mount("--consul", f"127.0.0.1:{zest.free_port()}")
    some_work(mount)
    assert "consul: " in mount.log_text(), mount.log_text()
    mount.umount()


zest.main([prometheus_scrapes_us, a_push_gateway_takes_what_we_push, carbon_takes_what_we_send, consul_is_told_where_we_are])
