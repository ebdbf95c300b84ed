#!/usr/bin/env python3
"""Holds calls between folders against the table of rooms in server/README.md, and finds circles between source files,
both from what the object files define and call. tests/rooms.sh does the former for includes.

    tests/circles.py [BUILD]    the build directory; build/tests unless given

Exits 1 where a room calls one that its row does not name, and where there is a circle.
"""
import json
import pathlib
import re
import subprocess
import sys

build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/tests")
defines, needs = {}, {}
for entry in json.loads((build / "compile_commands.json").read_text()):
    source = str(pathlib.Path(entry["file"]).relative_to(pathlib.Path.cwd()))
    thing = build / entry["command"].split(" -o ")[1].split()[0]
    # bench/micro stands in for functions of the C library, and tests call everything; the build has copies with faults.
    if source.startswith(("bench/micro/", "tests/", "build/")) or not thing.exists():
        continue
    needs[source] = set()
    for line in subprocess.run(["nm", thing], capture_output=True, text=True, check=True).stdout.splitlines():
        kind, name = line.split()[-2:]
        if kind == "U":
            needs[source].add(name)
        elif kind in "TDBRVW":
            defines[name] = source
if len(needs) < 100:
    sys.exit(f"{build} has {len(needs)} object files; build it first")
calls = {source: {defines[name] for name in names if defines.get(name, source) != source} for source, names in needs.items()}


def room(source):
    """server/admin/admin.c: admin; storage/media/path.c: media; tokens/jws.c: tokens."""
    folders = source.split("/")[:-1]
    return folders[-1] if folders else ""


rows = re.findall(r"^\| `([a-z_]+)` \| .* \| ([a-z_, ]*) ?\|$", pathlib.Path("server/README.md").read_text(), re.MULTILINE)
allowed = {name: {"base", name, *uses.replace(",", " ").split()} for name, uses in rows}
strangers = [(source, other) for source in calls for other in calls[source] if room(other) not in allowed.get(room(source), {room(other)})]
for source, other in sorted(strangers):
    print(f"{source} calls {other}, which server/README.md does not allow")


def reachable(source):
    seen, todo = set(), list(calls[source])
    while todo:
        at = todo.pop()
        if at not in seen:
            seen.add(at)
            todo += calls.get(at, ())
    return seen


reach = {source: reachable(source) for source in calls}
circles = {frozenset(other for other in reach[source] if source in reach[other]) for source in calls if source in reach[source]}
for circle in circles:
    print("a circle of calls:")
    for source in sorted(circle):
        names = sorted(other for other in calls[source] if other in circle)
        print(f"    {source} calls {', '.join(names)}")
sys.exit(1 if circles or strangers or len(rows) < 15 else 0)
