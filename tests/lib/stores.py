"""Object stores of a test's own, as servers.py has databases: `storage` is what `zestfs format` needs to use one."""
import json
import os
import subprocess
import uuid

import servers
import zest

ACCESS, SECRET = "zestaccess", "zestsecret"


class S3(servers.Server):
    """An S3 server on `port`."""

    name = "s3"
    order = "keys"  # in which it lists; "folders": as a walk through folders meets them

    def __init__(self):
        super().__init__(self.name)
        self.start()
        self.wait()

    def storage(self, port=None, bucket="bucket"):
        """port: of a proxy in between."""
        return ["--storage", "s3", "--bucket", f"http://{servers.HOST}:{port or self.port}/{bucket}", "--access-key", ACCESS,
                "--secret-key", SECRET]

    def objbench(self, *options, port=None, timeout=zest.PATIENCE * 5, check=True):
        """Runs `zestfs objbench` on it."""
        kind, name, _, bucket, *keys = self.storage(port)
        return zest.zestfs("objbench", kind, name, *keys, *options, bucket, timeout=timeout, check=check)

    def wait(self):
        def ready():
            if self.process.poll() is not None:
                self.ended_early()
            # a server that has just begun may leave a request without an answer: ask anew instead of waiting for it
            try:
                return self.objbench("--skip-functional-tests", "--big-object-size", "4", "--small-objects", "1", "--threads", "1",
                                     timeout=10, check=False).returncode == 0
            except subprocess.TimeoutExpired:
                return False
        zest.wait_until(ready, f"{self.name} answers", 2 * zest.PATIENCE)

    def ended_early(self):
        raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n" + open(f"{self.folder}/log").read()[-2000:])


class Weed(S3):
    """SeaweedFS."""

    name, order = "weed", "folders"

    def start(self):
        config = {"identities": [{"name": "t", "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
                                  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
        with open(f"{self.folder}/s3.json", "w") as file:
            json.dump(config, file)
        master, volume, filer, *grpc = servers.free_ports(7)
        self.launch(zest.tool("weed"), "server", f"-ip={servers.HOST}", f"-ip.bind={servers.HOST}", f"-dir={self.folder}",
                    f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={self.port}",
                    f"-s3.config={self.folder}/s3.json", f"-master.port.grpc={grpc[0]}", f"-volume.port.grpc={grpc[1]}",
                    f"-filer.port.grpc={grpc[2]}", f"-s3.port.grpc={grpc[3]}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=100",
                    "-master.volumeSizeLimitMB=1024")


class Minio(S3):
    """MinIO."""

    name = "minio"

    def start(self):
        os.environ.update(MINIO_ROOT_USER=ACCESS, MINIO_ROOT_PASSWORD=SECRET, MINIO_BROWSER="off", MINIO_UPDATE="off")
        self.launch(zest.tool("minio"), "server", "--address", f"{servers.HOST}:{self.port}", f"{self.folder}/data")


class Versitygw(S3):
    """versitygw, whose objects are files."""

    name, order = "versitygw", "folders"

    def start(self):
        os.environ.update(ROOT_ACCESS_KEY=ACCESS, ROOT_SECRET_KEY=SECRET)
        os.makedirs(f"{self.folder}/data", exist_ok=True)
        self.launch(zest.tool("versitygw"), "--port", f"{servers.HOST}:{self.port}", "posix", f"{self.folder}/data")


class Rgw(S3):
    """Ceph's gateway on a cluster of one monitor and one OSD that stores in memory."""

    name = "rgw"

    def start(self):
        mon, folder = next(p for p in servers.free_ports(2) if p != self.port), self.folder
        ids = [str(uuid.uuid4()) for _ in range(2)]
        with open(f"{folder}/ceph.conf", "w") as conf:
            conf.write(f"""[global]
fsid = {ids[0]}
mon host = v1:{servers.HOST}:{mon}
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
keyring = {folder}/keyring
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms bind msgr2 = false
mon data = {folder}/mon
mon allow pool size one = true
mon warn on pool no redundancy = false
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
public addr = {servers.HOST}
cluster addr = {servers.HOST}
rgw frontends = beast endpoint={servers.HOST}:{self.port}
rgw data = {folder}/rgw
""")
        for name in ("mon", "osd", "rgw"):
            os.makedirs(f"{folder}/{name}")
        conf = ["-c", f"{folder}/ceph.conf"]
        zest.run("monmaptool", "--create", "--addv", "a", f"[v1:{servers.HOST}:{mon}]", "--fsid", ids[0], f"{folder}/monmap")
        zest.run("ceph-mon", *conf, "--mkfs", "-i", "a", "--monmap", f"{folder}/monmap")
        self.processes = [self.beside("ceph-mon", *conf, "-i", "a", "-f")]
        zest.wait_until(lambda: zest.run("ceph", *conf, "--connect-timeout", "5", "status", check=False).returncode == 0, "the monitor answers")
        zest.run("ceph", *conf, "osd", "new", ids[1])
        zest.run("ceph-osd", *conf, "-i", "0", "--mkfs", "--osd-uuid", ids[1])
        self.processes.append(self.beside("ceph-osd", *conf, "-i", "0", "-f"))
        zest.wait_until(lambda: "1 up" in zest.run("ceph", *conf, "osd", "stat", check=False).stdout, "the OSD is up")
        # An OSD that is up may not serve its placement groups yet: what needs them is tried again.
        admin, user = ["radosgw-admin", *conf, "user"], ["--uid", "zest"]
        create = [*admin, "create", *user, "--display-name", "zest", "--access-key", ACCESS, "--secret", SECRET]
        zest.wait_until(lambda: zest.run(*create, check=False).returncode == 0 or zest.run(*admin, "info", *user, check=False).returncode == 0,
                        "the gateway's user is there", 2 * zest.PATIENCE)
        self.gateway, self.starts = ["radosgw", *conf, "-n", "client.admin", "-f"], 1
        self.launch(*self.gateway)

    def ended_early(self):
        if self.starts == 5:
            super().ended_early()
        self.starts += 1
        self.launch(*self.gateway)

    def beside(self, *command):
        with open(f"{self.folder}/log", "ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        zest.on_exit(process.kill)
        return process
