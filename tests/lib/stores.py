"""Object stores of a test's own, as servers.py has databases: `storage` is what `zestfs format` needs to use one."""
import json
import subprocess

import servers
import zest

ACCESS, SECRET = "zestaccess", "zestsecret"


class S3(servers.Server):
    """An S3 server on `port`."""

    name = "s3"

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
            assert self.process.poll() is None, open(f"{self.folder}/log").read()[-2000:]
            # a server that has just begun may leave a request without an answer: ask anew instead of waiting for it
            try:
                return self.objbench("--skip-functional-tests", "--big-object-size", "4", "--small-objects", "1", "--threads", "1",
                                     timeout=10, check=False).returncode == 0
            except subprocess.TimeoutExpired:
                return False
        zest.wait_until(ready, f"{self.name} answers", 2 * zest.PATIENCE)


class Weed(S3):
    """SeaweedFS."""

    name = "weed"

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
