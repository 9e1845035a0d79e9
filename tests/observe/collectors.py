"""Servers that collect metrics, each of a test's own: Prometheus, its push gateway, Graphite's carbon, and what a Consul agent does."""
import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse
import urllib.request

import servers
import zest


def get(url):
    with urllib.request.urlopen(url, timeout=zest.PATIENCE) as reply:
        return json.load(reply)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


class Prometheus(servers.Server):
    """Scrapes the given addresses every second. rules: a file of rules, or none."""

    def __init__(self, *addresses, rules=None):
        super().__init__("prometheus")
        config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                  "rule_files": [str(rules)] if rules else [],
                  "scrape_configs": [{"job_name": "zestfs", "honor_labels": True, "static_configs": [{"targets": list(addresses)}]}]}
        with open(f"{self.folder}/prometheus.yml", "w") as file:
            json.dump(config, file)  # YAML is a superset
        self.launch(zest.tool("prometheus"), f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
                    f"--web.listen-address={servers.HOST}:{self.port}")
        self.url = f"http://{servers.HOST}:{self.port}"
        zest.wait_until(lambda: answers(self.url + "/-/ready"), "prometheus is ready")

    def query(self, expression, at=None):
        """The resulting series; fails on an expression that is none."""
        question = {"query": expression, **({"time": at} if at else {})}
        reply = get(f"{self.url}/api/v1/query?{urllib.parse.urlencode(question)}")
        assert reply["status"] == "success", reply
        return reply["data"]["result"]

    def targets(self):
        return get(self.url + "/api/v1/targets")["data"]["activeTargets"]


class PushGateway(servers.Server):
    def __init__(self):
        super().__init__("pushgateway")
        self.launch(zest.tool("prometheus-pushgateway"), f"--web.listen-address={servers.HOST}:{self.port}")
        self.url = f"http://{servers.HOST}:{self.port}"
        zest.wait_until(lambda: answers(self.url + "/-/ready"), "the push gateway is ready")

    def groups(self):
        return get(self.url + "/api/v1/metrics")["data"]


class Carbon(servers.Server):
    """Keeps each series in a file."""

    def __init__(self):
        super().__init__("carbon")
        query_port, pickle_port = servers.free_ports(2)
        with open(f"{self.folder}/carbon.conf", "w") as file:
            file.write(f"""[cache]
STORAGE_DIR = {self.folder}
CONF_DIR = {self.folder}
LOG_DIR = {self.folder}
PID_DIR = {self.folder}
LOCAL_DATA_DIR = {self.folder}/whisper
LINE_RECEIVER_INTERFACE = {servers.HOST}
LINE_RECEIVER_PORT = {self.port}
PICKLE_RECEIVER_INTERFACE = {servers.HOST}
PICKLE_RECEIVER_PORT = {pickle_port}
CACHE_QUERY_INTERFACE = {servers.HOST}
CACHE_QUERY_PORT = {query_port}
ENABLE_TAGS = False
MAX_CREATES_PER_MINUTE = inf
LOG_UPDATES = False
""")
        with open(f"{self.folder}/storage-schemas.conf", "w") as file:
            file.write("[all]\npattern = .*\nretentions = 1s:2m\n")
        self.launch(zest.tool("carbon-cache"), "--nodaemon", f"--config={self.folder}/carbon.conf", f"--pidfile={self.folder}/pid", "start")
        zest.wait_until(lambda: f"CarbonReceiverFactory starting on {self.port}" in self.log(), "carbon listens")

    def log(self):
        with open(f"{self.folder}/log", errors="replace") as file:
            return file.read()

    def series(self, name):
        """(tags, file) of each series of this name."""
        out = []
        for found in set(re.findall(rf"creating database metric ({name};\S+)", self.log())):
            digest = hashlib.sha256(found.encode()).hexdigest()
            path = f"{self.folder}/whisper/_tagged/{digest[:3]}/{digest[3:6]}/{digest}.wsp"
            out.append((dict(tag.split("=", 1) for tag in found.split(";")[1:]), path))
        return out


class Consul(servers.Server):
    """A real agent, which is its own server."""

    def __init__(self):
        super().__init__("consul")
        self.address = f"{servers.HOST}:{self.port}"
        self.launch(zest.tool("consul"), "agent", "-dev", f"-bind={servers.HOST}", f"-client={servers.HOST}", f"-http-port={self.port}",
                    f"-serf-lan-port={zest.free_port()}", f"-server-port={zest.free_port()}", "-serf-wan-port=-1", "-dns-port=-1",
                    "-grpc-port=-1", "-grpc-tls-port=-1", "-disable-host-node-id")
        zest.wait_until(lambda: answers(f"http://{self.address}/v1/status/leader"), "consul is ready")
        zest.wait_until(lambda: self.get("/v1/status/leader"), "consul leads itself")

    def get(self, path):
        return get(f"http://{self.address}{path}")

    def juicefs(self, passing=False):
        """{id: the service as the catalogue has it}, of all, or of those whose health check passes."""
        found = self.get("/v1/health/service/juicefs" + ("?passing=true" if passing else ""))
        return {entry["Service"]["ID"]: entry["Service"] for entry in found}


class ConsulAgent:
    """The part of a Consul agent's HTTP API that registers services (consul.io, API, "Agent - Service"): takes only what it takes,
    and then makes the health check that was asked for."""
    SERVICE = {"ID": str, "Name": str, "Address": str, "Port": int, "Meta": dict, "Check": dict}
    CHECK = {"HTTP": str, "Interval": str, "Timeout": str, "DeregisterCriticalServiceAfter": str}

    def __init__(self):
        self.services, self.problems = {}, []
        agent = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    assert self.path == "/v1/agent/service/register", self.path
                    agent.register(json.loads(body))
                    self.send_response(200)
                except Exception as problem:
                    agent.problems.append(repr(problem))
                    self.send_response(400)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer((servers.HOST, 0), Handler)
        self.address = f"{servers.HOST}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        zest.on_exit(self.server.shutdown)

    def register(self, service):
        for given, known in ((service, self.SERVICE), (service["Check"], self.CHECK)):
            assert set(given) == set(known), given
            for key, value in given.items():
                assert isinstance(value, known[key]), (key, value)
        for key in ("Interval", "Timeout", "DeregisterCriticalServiceAfter"):
            assert re.fullmatch(r"\d+(ms|s|m|h)", service["Check"][key]), service
        assert all(isinstance(value, str) for value in service["Meta"].values()), service
        self.services[service["ID"]] = service

    def check(self, identity):
        """The health check as the agent makes it: the body of the answer."""
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(self.services[identity]["Check"]["HTTP"], timeout=5) as reply:
                    assert reply.status // 100 == 2, reply.status
                    return reply.read().decode()
            except OSError:
                assert time.monotonic() < deadline, "the service stays critical"
                time.sleep(0.2)
