#!/usr/bin/env python3
"""Another server takes the database over while a mount works: what was acknowledged is there, and the work goes on by itself.

failover.py [CASE...]
"""
import time

from work import Exact, with_outage, zest
from proxy import Proxy
import servers


def in_step(master, replica):
    """Holds writes back and waits until the replica has all of them, so that nothing acknowledged can be lost."""
    master.cli("client", "pause", "60000", "write")
    zest.wait_until(lambda: master.info("replication")["master_repl_offset"] == replica.info("replication")["slave_repl_offset"],
                    "the replica has everything")


def redis_sentinel_promotes_when_the_master_dies():
    master, replica = servers.Redis(), servers.Redis()
    replica.follow(master)
    folder, port = zest.temp_dir("sentinel"), zest.free_port()
    with open(f"{folder}/s.conf", "w") as config:
        config.write(f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor zest 127.0.0.1 {master.port} 1\n"
                     "sentinel down-after-milliseconds zest 3000\nsentinel failover-timeout zest 5000\n")
    sentinel = servers.Server("sentinel")
    sentinel.launch(zest.tool("redis-server"), f"{folder}/s.conf", "--sentinel")

    def watched():
        known = zest.run("redis-cli", "-p", port, "sentinel", "replicas", "zest", check=False).stdout.split()
        return str(replica.port) in known
    zest.wait_until(watched, "the sentinel knows the replica")

    def outage():
        in_step(master, replica)
        master.kill()
    with_outage(zest.Volume("--trash-days", "0", meta=f"redis://zest,127.0.0.1:{port}/0"), outage)
    assert replica.info("replication")["role"] == "master"


def redis_replica_is_promoted_by_hand():
    """The URL names both; which one is the master changes twice, and the old one stays, as a replica that refuses writes."""
    one, two = servers.Redis(), servers.Redis()
    two.follow(one)

    def swap(master, replica):
        in_step(master, replica)
        replica.cli("replicaof", "no", "one")
        master.follow(replica)
        master.cli("client", "unpause")

    def outage():
        swap(one, two)
        time.sleep(1)
        swap(two, one)
    with_outage(zest.Volume("--trash-days", "0", meta=f"redis://127.0.0.1:{one.port},127.0.0.1:{two.port}/3"), outage)


def postgres_standby_is_promoted():
    """A commit is acknowledged when the standby has it; the primary dies; the URL names both."""
    primary = servers.Postgres()
    standby = servers.Postgres(standby_of=primary, options=["hot_standby=on"])
    primary.sql("alter system set synchronous_standby_names = '*'", database="postgres")
    primary.sql("select pg_reload_conf()", database="postgres")
    zest.wait_until(lambda: primary.sql("select sync_state from pg_stat_replication", database="postgres") == "sync", "the standby is in step")

    def outage():
        primary.kill()
        time.sleep(1)
        standby.promote()
    url = f"postgres://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/zest?sslmode=disable&target_session_attrs=read-write"
    with_outage(zest.Volume("--trash-days", "0", meta=url), outage)


def mariadb_replica_takes_over_the_address():
    """A URL of MariaDB names one address: it moves to the promoted replica, while the old server is still there, read-only."""
    logged = ["--log-bin", "--gtid-strict-mode=1", "--log-slave-updates"]
    old = servers.Mariadb([*logged, "--server-id=1"])
    new = servers.Mariadb([*logged, "--server-id=2", "--read-only"])
    old.sql("create user client identified by 'secret'; grant all on *.* to client; revoke super, read_only admin on *.* from client;"
            "create user follower identified by 'secret'; grant replication slave on *.* to follower;")
    new.sql("drop database zest; reset master; set global gtid_slave_pos = ''", database="")
    new.sql(f"change master to master_host='127.0.0.1', master_port={old.port}, master_user='follower', master_password='secret', "
            "master_use_gtid=slave_pos; start slave;", database="")
    proxy = Proxy(old.address)
    url = f"mysql://client:secret@(127.0.0.1:{proxy.port})/zest"

    def outage():
        old.sql("set global read_only = 1", database="")
        time.sleep(1)
        position = old.sql("select @@gtid_binlog_pos", database="")
        zest.wait_until(lambda: new.sql("select @@gtid_slave_pos", database="") == position, "the replica has everything")
        new.sql("stop slave; set global read_only = 0", database="")
        proxy.move(new.address)
    volume = zest.Volume("--trash-days", "0", meta=url)
    mount = volume.mount(where="exact")
    work = Exact(mount.path("exact"), 1)
    for _ in range(10):
        work.step()
    mount.umount()
    with_outage(volume, outage)
    mount = volume.mount(where="exact")
    work.verify()
    mount.umount()


zest.main([redis_sentinel_promotes_when_the_master_dies, redis_replica_is_promoted_by_hand, postgres_standby_is_promoted,
           mariadb_replica_takes_over_the_address])
