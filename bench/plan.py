#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a fleet of nodes needs of Redis, of processors, disks and the network: arithmetic, from costs that were measured.

    bench/plan.py [--nodes 100] [--listeners 1000000] [--downloads 10000000] [--masters 1] ...

Prints a table in Markdown, each row with its computation, and then which need passes first what a machine has. Nothing
is measured here: bench/listeners.py prints what it has measured as options of this command, bench/keys.py tells what an
account takes, and each default of theirs is of the machine that storage/ledger/README.md names.
"""
import argparse
import sys

DAY_S = 86400
# option, default, meaning
ASKED = (
    ("nodes", 100, "nodes that share the Redis"),
    ("listeners", 1e6, "listeners at once, when they are most"),
    ("average", 0.5, "listeners of the average of a day, as a share of these"),
    ("rate", 16000, "bytes a second that a listener receives"),
    ("downloads", 1e7, "downloads a day"),
    ("download-bytes", 6e6, "bytes of a download"),
    ("peak", 3, "downloads of the busiest time, as a multiple of the day's average"),
    ("accounts", 2e6, "accounts that download something each day"),
)
MEASURED = (
    ("node-commands", 22, "commands of Redis a second, of a node without listeners"),
    ("node-redis-us", 1900, "microseconds of Redis' main thread for these"),
    ("node-redis-bytes", 7800, "bytes to and from Redis for these"),
    ("node-node-us", 3900, "microseconds of the node's processors a second"),
    ("node-records", 0, "records of its journal a second"),
    ("node-journal-bytes", 0, "bytes of its journal a second"),
    ("listener-commands", 0.93, "the same of a listener, for each second"),
    ("listener-redis-us", 8.8, ""),
    ("listener-redis-bytes", 65, ""),
    ("listener-node-us", 110, ""),
    ("listener-records", 1.06, ""),
    ("listener-journal-bytes", 272, ""),
    ("download-commands", 20, "the same of a download of 64 KiB, in all"),
    ("download-redis-us", 227, ""),
    ("download-redis-bytes", 1050, ""),
    ("download-node-us", 390, ""),
    ("download-records", 2, ""),
    ("download-journal-bytes", 512, ""),
    ("gigabyte-node-s", 0.36, "seconds of a node's processors for a GB of downloads (bench/compare.sh, TLS)"),
    ("account-bytes", 129467, "bytes of Redis that a daily account takes after a year (bench/keys.py)"),
    ("load-bytes", 3.9e8, "bytes of Redis' memory that a start of Redis fills in a second (bench/keys.py)"),
)
GIVEN = (
    ("masters", 1, "masters of Redis among which the accounts are divided"),
    ("redis-core", 0.7, "seconds of each second that the main thread of one may work"),
    ("redis-memory", 64, "GiB of one; its machine needs up to twice that while Redis rewrites its file"),
    ("cores", 8, "processors of a node"),
    ("network", 10, "Gbit/s of each machine"),
    ("disk-write", 200, "MB/s that a node's disk takes, with an fdatasync each 50 ms"),
    ("disk", 2, "TB of a node's disk"),
)


class Row:
    """What is needed, how that is computed, and what there is of it: None where it has no bound of its own."""

    def __init__(self, name, unit, terms, scale=1.0, given=None):
        self.name, self.unit, self.given = name, unit, given
        self.need = sum(count * cost for count, cost in terms) * scale
        self.text = " + ".join(f"{show(count)} × {show(cost)}" for count, cost in terms if count and cost)

    def share(self):
        return self.need / self.given if self.given else 0.0


def show(number):
    """At most three digits behind the first one that is not zero; thousands with commas."""
    if number >= 100:
        return f"{number:,.0f}"
    text = f"{number:.3g}"
    return f"{float(text):f}".rstrip("0").rstrip(".") if "e" in text else text


def plan(asked):
    """The rows, from the values of the options."""
    busiest = asked.downloads / DAY_S * asked.peak
    listened = asked.listeners * asked.average * DAY_S

    def second(cost):
        return [(asked.nodes, getattr(asked, f"node_{cost}")), (asked.listeners, getattr(asked, f"listener_{cost}")),
                (busiest, getattr(asked, f"download_{cost}"))]

    def of_node(terms):
        return [(count / asked.nodes, cost) for count, cost in terms]

    delivered = [(asked.listeners, asked.rate), (busiest, asked.download_bytes)]
    masters = asked.masters
    return [
        Row("Redis: commands a second", "", second("commands")),
        Row("Redis: its main threads", "s each second", second("redis_us"), 1e-6, asked.redis_core * masters),
        Row("Redis: memory, after a year", "GiB", [(asked.accounts, asked.account_bytes)], 2 ** -30,
            asked.redis_memory * masters),
        Row("Redis: until it has read its file", "minutes", [(asked.accounts, asked.account_bytes)],
            1 / asked.load_bytes / 60 / masters),
        Row("Redis: network", "Gbit/s", second("redis_bytes"), 8e-9, asked.network * masters),
        Row("a node: network", "Gbit/s", of_node(delivered), 8e-9, asked.network),
        Row("a node: processors", "s each second",
            of_node(second("node_us") + [(busiest, asked.download_bytes * asked.gigabyte_node_s * 1e-3)]), 1e-6, asked.cores),
        Row("a node: journal, records a second", "", of_node(second("records"))),
        Row("a node: journal, written", "MB/s", of_node(second("journal_bytes")), 1e-6, asked.disk_write),
        Row("a node: journal of a day", "GB",
            of_node([(asked.nodes * DAY_S, asked.node_journal_bytes), (listened, asked.listener_journal_bytes),
                     (asked.downloads, asked.download_journal_bytes)]), 1e-9, asked.disk * 1000),
    ]


def table(rows):
    lines = ["| what | computed | needs | there is | share |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        unit = f" {row.unit}" if row.unit else ""
        there = f"{show(row.given)}{unit}" if row.given else ""
        share = f"{row.share():.0%}" if row.given else ""
        lines.append(f"| {row.name} | {row.text} | {show(row.need)}{unit} | {there} | {share} |")
    return lines


def walls(rows, asked):
    """A sentence for each need that is more than there is, the first one to be met first."""
    found = sorted((row for row in rows if row.share() > 1), key=Row.share, reverse=True)
    return [f"{number}. {row.name}: enough for {1 / row.share():.0%} of this load, some {show(asked.listeners / row.share())} "
            f"listeners" for number, row in enumerate(found, 1)] or ["There is enough of all."]


def read(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for title, options in (("what is asked for", ASKED), ("what was measured", MEASURED), ("what there is", GIVEN)):
        group = parser.add_argument_group(title)
        for name, default, meaning in options:
            group.add_argument(f"--{name}", type=float, default=default, metavar="N",
                               help=f"{meaning} ({show(default)})" if meaning else f"({show(default)})")
    asked = parser.parse_args(arguments)
    for name, value in vars(asked).items():
        if not 0 <= value < float("inf"):
            parser.error(f"--{name.replace('_', '-')} is {value}; it must be 0 or more")
    for name in ("nodes", "masters", "load_bytes", *(name.replace("-", "_") for name, _, _ in GIVEN)):
        if getattr(asked, name) == 0:
            parser.error(f"--{name.replace('_', '-')} is 0; it must be more")
    return asked


def main(arguments):
    asked = read(arguments)
    rows = plan(asked)
    print("\n".join(table(rows) + [""] + walls(rows, asked)))


if __name__ == "__main__":
    main(sys.argv[1:])
