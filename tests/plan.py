#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds bench/plan.py to its arithmetic, and the table and the walls of storage/ledger/README.md to what it prints."""
import contextlib
import io
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "bench"))
import plan  # pylint: disable=wrong-import-position # found by the line above

PAPER = ROOT / "storage/ledger/README.md"


def rows(*arguments):
    return {row.name: row for row in plan.plan(plan.read(arguments))}


def fails():
    before, nodes, masters = rows(), rows("--nodes", "200"), rows("--masters", "2")
    for name, row in before.items():
        if name.startswith("a node: ") and not 0.49 < nodes[name].need / row.need < 0.53:
            yield f"{name}: twice the nodes do not halve it"
        if name in ("Redis: its main threads", "Redis: memory, after a year") and masters[name].share() * 2 != row.share():
            yield f"{name}: two masters do not halve its share"
    threads = rows("--nodes", "1", "--listeners", "1000", "--downloads", "86400", "--peak", "2", "--node-redis-us", "5",
                   "--listener-redis-us", "7", "--download-redis-us", "11")["Redis: its main threads"]
    if round(threads.need * 1e6) != 5 + 1000 * 7 + 2 * 11 or threads.text != "1 × 5 + 1,000 × 7 + 2 × 11":
        yield f"the main thread's time is {threads.need}, by {threads.text}"
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.suppress(SystemExit):
        plan.read(["--nodes", "0"])
    if "--nodes is 0; it must be more" not in errors.getvalue():
        yield "a plan of no nodes is not refused"
    asked = plan.read([])
    paper = PAPER.read_text().splitlines()
    for line in plan.table(plan.plan(asked)) + plan.walls(plan.plan(asked), asked):
        if line not in paper:
            yield f"{PAPER.relative_to(ROOT)} lacks what python3 bench/plan.py prints: {line}"


found = list(fails())
print("\n".join(found), end="\n" if found else "")
sys.exit(1 if found else 0)
