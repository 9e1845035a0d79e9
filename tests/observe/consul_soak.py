#!/usr/bin/env python3
"""Registration at a real Consul agent: it lists the mounts, its own health checks find them well, and it forgets one that died."""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import collectors
import scrape
import zest


def mounts_are_listed_while_they_live():
    consul = collectors.Consul()
    volume = zest.Volume()
    mounts = [volume.mount("--consul", consul.address, where=where) for where in ("one", "two with blanks")]
    ids = {f"127.0.0.1:{mount.point}": mount for mount in mounts}
    zest.wait_until(lambda: set(consul.juicefs(passing=True)) == set(ids), f"both pass their checks; log:\n{mounts[0].log_text()}", 60)
    for identity, service in consul.juicefs().items():
        mount = ids[identity]
        assert service["Meta"] == {"mountPoint": mount.point, "hostName": socket.gethostname()}, service
        assert f"{service['Address']}:{service['Port']}" == scrape.address(mount), service
    assert "juicefs" in consul.get("/v1/catalog/services")
    check = consul.get("/v1/health/checks/juicefs")[0]
    assert "200 OK" in check["Output"] and "juicefs_uptime" in check["Output"] or check["Output"].startswith("HTTP GET"), check
    # One ends without a word: its check fails, and after a while the agent takes it off the list.
    mounts[0].kill()
    left = {f"127.0.0.1:{mounts[1].point}"}
    zest.wait_until(lambda: set(consul.juicefs(passing=True)) == left, "the dead one fails its check", 60)
    zest.wait_until(lambda: set(consul.juicefs()) == left, "the dead one is forgotten", 240)
    # Mounted again it is back under the same name.
    again = volume.mount("--consul", consul.address, where="one")
    zest.wait_until(lambda: set(consul.juicefs(passing=True)) == set(ids), "it is back", 60)
    again.umount()
    mounts[1].umount()


zest.main([mounts_are_listed_while_they_live])
