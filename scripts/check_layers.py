#!/usr/bin/env python3
"""A folder below src/ is a layer and includes only itself and what stands below it (DESIGN.md, "Layers")."""
import pathlib
import re
import sys

# each layer: what it may include
ALLOWED = {
    "base": [],
    "volume": ["base"],
    "meta": ["volume", "base"],
    "object": ["volume", "base"],
    "data": ["meta", "object", "volume", "base"],
    "fs": ["data", "meta", "object", "volume", "base"],
    "front": ["fs", "data", "meta", "object", "volume", "base"],
    "dump": ["meta", "volume", "base"],
    "cli": ["dump", "front", "fs", "data", "meta", "object", "volume", "base"],
    "main": ["cli"],
}
# inside meta/: the engines know only the seam
ENGINE_MAY = {"meta/txn.h"}


def main():
    top = pathlib.Path(__file__).resolve().parent.parent / "src"
    problems = []
    for path in sorted(top.rglob("*")):
        if path.suffix not in (".h", ".cc"):
            continue
        inside = path.relative_to(top)
        layer = inside.parts[0]
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'#include "([^"]+)"', line)
            if not match:
                continue
            target = match.group(1)
            where = target.split("/")[0]
            if where not in ALLOWED:
                problems.append(f"src/{inside}:{number}: include of {target}: name it from src/")
            elif where != layer and where not in ALLOWED[layer]:
                problems.append(f"src/{inside}:{number}: {layer} must not know {where} ({target})")
            engine = re.match(r"meta/engine/(\w+)/", str(inside))
            if engine and where == "meta" and target not in ENGINE_MAY and not path.stem.endswith("_test"):
                if not target.startswith(f"meta/engine/{engine.group(1)}/"):
                    problems.append(f"src/{inside}:{number}: an engine must not know {target}")
    print("\n".join(problems) if problems else "layers: good")
    return 1 if problems else 0


sys.exit(main())
