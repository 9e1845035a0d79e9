#!/usr/bin/env python3
"""route-read=latency: a read-only mount behind a sentinel asks whichever of master and replica answers sooner."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import proxy
import servers
import zest

NOWHERE = (servers.HOST, 1)
FAR_MS = 30


class Sentinel(servers.Server):
    def __init__(self, master_port):
        super().__init__("sentinel")
        config = f"{self.folder}/sentinel.conf"
        with open(config, "w") as file:
            file.write(f"sentinel monitor thevolume {servers.HOST} {master_port} 1\n")
        self.url = f"redis://thevolume,{servers.HOST}:{self.port}/0"
        self.launch(zest.tool("redis-server"), config, "--sentinel", "--port", self.port, "--bind", servers.HOST)
        zest.wait_until(lambda: "master-link-status\nok" in self.replicas(), "the sentinel knows the replica")

    def replicas(self):
        return zest.run("redis-cli", "-p", self.port, "sentinel", "replicas", "thevolume", check=False).stdout


def asked(server):
    stats = server.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", "calls=0").split(",")[0].split("=")[1]) for name in ("get", "hget"))


class Site:
    """A master and its replica, each behind a proxy that makes it far away, and a volume with files."""

    def __init__(self):
        self.to_master, self.to_replica = proxy.Proxy(NOWHERE), proxy.Proxy(NOWHERE)
        self.master = servers.Redis()
        self.to_master.move(self.master.address)
        self.replica = servers.Redis(options=["--replica-announce-ip", servers.HOST, "--replica-announce-port", self.to_replica.port])
        self.to_replica.move(self.replica.address)
        self.replica.cli("replicaof", servers.HOST, self.to_master.port)
        zest.wait_until(lambda: self.replica.info("replication").get("master_link_status") == "up", "the replica is in step")
        self.sentinel = Sentinel(self.to_master.port)
        self.volume = zest.Volume(meta=self.sentinel.url)
        mount = self.volume.mount()
        for n in range(20):
            open(mount.path(f"f{n}"), "w").close()
        mount.umount()
        self.written = self.master.info("replication")["master_repl_offset"]
        zest.wait_until(lambda: int(self.replica.info("replication")["slave_repl_offset"]) >= int(self.written), "the replica has it all")

    def reads(self, number):
        """How often a fresh mount asks the master and the replica while it looks at files."""
        mount = zest.Mount(self.sentinel.url + "?route-read=latency", f"{self.volume.folder}/reader{number}", "--read-only",
                           "--cache-dir", f"{self.volume.folder}/cache{number}")
        before = asked(self.master), asked(self.replica)
        for n in range(20):
            os.stat(mount.path(f"f{n}"))
        after = asked(self.master), asked(self.replica)
        mount.umount()
        return after[0] - before[0], after[1] - before[1]


def the_nearer_server_is_read_from():
    site = Site()
    site.to_master.delay(FAR_MS)
    master, replica = site.reads(1)
    assert replica >= 20 and master == 0, f"a far master was asked {master} times, the replica {replica} times"
    site.to_master.delay(0)
    site.to_replica.delay(FAR_MS)
    master, replica = site.reads(2)
    assert master >= 20 and replica == 0, f"a far replica was asked {replica} times, the master {master} times"


zest.main([the_nearer_server_is_read_from])
