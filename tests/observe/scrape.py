"""Fetching and reading the metrics of a mount."""
import json
import re
import urllib.request

import zest


def address(mount):
    """Where the mount says that its metrics are; None: nowhere."""
    with open(mount.path(".config")) as file:
        return json.load(file)["Port"].get("PrometheusAgent")


def fetch(mount, accept="", path="/metrics"):
    request = urllib.request.Request(f"http://{address(mount)}{path}", headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=zest.PATIENCE) as reply:
        return reply.headers["Content-Type"], reply.read().decode()


LINE = re.compile(r'([a-zA-Z_:][\w:]*)\{(.*)\} (\S+)$')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)')


def parse(text):
    """(types by family, [(name, labels, value)]); fails on a line that is no metric."""
    types, samples = {}, []
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family not in types, f"{family} comes twice"
            types[family] = kind
        elif not line.startswith("#"):
            found = LINE.match(line)
            assert found, f"no metric: {line}"
            labels = dict(LABEL.findall(found.group(2)))
            assert LABEL.sub("", found.group(2)) == "", f"odd labels: {line}"
            samples.append((found.group(1), labels, float(found.group(3))))
    return types, samples


def total(mount, name, **labels):
    """The sum of a metric's samples with these labels."""
    _, samples = parse(fetch(mount)[1])
    return sum(value for found, has, value in samples
               if found == "juicefs_" + name and all(has.get(k) == v for k, v in labels.items()))
