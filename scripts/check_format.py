#!/usr/bin/env python3
"""Every source file is as clang-format writes it."""
import pathlib
import subprocess
import sys

top = pathlib.Path(__file__).resolve().parent.parent
files = [str(p) for folder in ("src", "tests", "bench") for p in (top / folder).rglob("*") if p.suffix in (".h", ".cc")]
result = subprocess.run(["clang-format-14", "--dry-run", "-Werror", *files], cwd=top, capture_output=True, text=True)
if result.returncode:
    bad = sorted({line.split(":")[0] for line in result.stderr.splitlines() if ": error:" in line})
    print("not formatted, run clang-format-14 -i on:\n  " + "\n  ".join(bad))
    sys.exit(1)
print(f"format: good ({len(files)} files)")
