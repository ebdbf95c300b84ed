#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an account takes of Redis' memory: each of its keys, for a month and for a year.

    bench/keys.py [--accounts 100] [--downloads 5] [--files 40] [--nodes 2] [--scale 100000]

Starts a redis-server with the function library of this checkout, and posts the last whole month of daily listeners to
it, as nodes would: each day --downloads downloads by links with terms, of --files files that the account comes back to, half of
them at each node; and one top-up each month. It asks MEMORY USAGE for each kind of key, and INFO memory for what all of
them take. From that it computes a year of --scale such accounts: what ends is kept for as long as
storage/ledger/redis_table.h says. At last it posts a whole year of the same accounts, to hold the computed figure
against what Redis takes. It also tells how much of a processor Redis takes for a post, for an admission, and to read its
file again, as at its start; these depend on the machine.
"""
import argparse
import datetime
import hashlib
import pathlib
import random
import re
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
LEDGER = ROOT / "storage/ledger"
LINK_DAYS = 7  # link_lifetime_max_s, for which a link's state is kept
TODAY = datetime.datetime.now(datetime.timezone.utc).date()
PIPELINE = 500
OF_MONTH = 30  # bytes of "m:YYYYMM" and its totals in a list


def number(name):
    return int(re.search(rf"#define {name}\s+(\d+)", (LEDGER / "redis_table.h").read_text()).group(1))


def library():
    """The library's text, joined as storage/ledger/CMakeLists.txt joins it."""
    parts = re.search(r"foreach\(part ([a-z_ ]+)\)", (LEDGER / "CMakeLists.txt").read_text()).group(1).split()
    constants = subprocess.run(["cc", "-E", "-P", "-x", "c", f"-I{ROOT}", LEDGER / "functions/constants.lua.in"],
                               check=True, capture_output=True, text=True).stdout
    read = [(LEDGER / f"functions/{part}.lua").read_text() for part in parts]
    return (LEDGER / "functions/library.lua").read_text() + constants + "".join(read)


class Redis:
    def __init__(self, directory):
        path = f"{directory}/redis.sock"
        self.process = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir",
                                         directory, "--enable-debug-command", "yes"], stdout=subprocess.DEVNULL)
        self.socket = socket.socket(socket.AF_UNIX)
        for _ in range(200):
            try:
                self.socket.connect(path)
                break
            except OSError:
                time.sleep(0.05)
        self.file = self.socket.makefile("rb")
        self.queued = []
        self.ask("FUNCTION", "LOAD", "REPLACE", library())

    @staticmethod
    def command(words):
        text = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        return b"*%d\r\n" % len(text) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in text)

    def queue(self, *words):
        self.queued.append(self.command(words))
        if len(self.queued) == PIPELINE:
            self.flush()

    def flush(self):
        self.socket.sendall(b"".join(self.queued))
        replies = [self.read() for _ in self.queued]
        self.queued = []
        for reply in replies:
            if isinstance(reply, list) and reply and reply[0] not in (0, b"0"):
                raise SystemExit(f"Redis refuses a post: {reply}")
        return replies

    def ask(self, *words):
        self.queue(*words)
        return self.flush()[-1]

    def read(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise SystemExit(f"Redis says {rest.decode()}")
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        if kind != b"$":
            return int(rest) if kind == b":" else rest
        return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]

    def names(self):
        names, cursor = set(), b"0"
        while cursor != b"0" or not names:
            self.socket.sendall(self.command(["SCAN", cursor, "COUNT", 1000]))
            cursor, some = self.read()
            names.update(some)
        return sorted(names)

    def cpu_s(self):
        """What its main thread has taken of a processor."""
        return sum(float(seconds) for seconds in
                   re.findall(rb"used_cpu_(?:user|sys)_main_thread:([0-9.]+)", self.ask("INFO", "cpu")))

    def used(self):
        return int(re.search(rb"used_memory:(\d+)", self.ask("INFO", "memory")).group(1))

    def end(self):
        self.process.kill()
        self.process.wait()


class Account:
    """What one listener brings. Names are as long as real ones are."""

    def __init__(self, index, options):
        self.index, self.options = index, options
        self.random = random.Random(index)
        self.tag = f"shop/listener-{index:06}"
        self.sequences = [0] * options.nodes
        self.files = [f"/artist-{index % 97:03}/album-{n // 10:02}/{n % 10 + 1:02}-track-title.mp3"
                      for n in range(options.files)]

    def key(self, what):
        return f"tg:{{{self.tag}}}:{what}"

    def head(self, node, kind):
        self.sequences[node] += 1
        sequence = self.sequences[node]
        return [hashlib.md5(f"node-{node}".encode()).hexdigest(), 1, sequence, sequence, kind]

    def money(self, redis, operation, amount, plan, transaction):
        ring = [self.key(f"transactions:{slot}") for slot in range(5)]
        redis.queue("FCALL", "tollgate_post", 7, self.key("account"), self.key("grants"), *ring,
                    *self.head(0, "money"), operation, amount, plan, int(time.time() * 1000),
                    f"order-{self.index}-{transaction}", 0, 0, self.sequences[0], "node-a")

    def day(self, redis, date, ago):
        """Downloads by links of their own, of a day so long ago; the state of a link that is over is not kept."""
        now = int(time.time() * 1000) - ago * 86400000
        till = now + LINK_DAYS * 86400000
        for download in range(self.options.downloads):
            file, bytes_ = self.random.choice(self.files), self.random.randrange(3000000, 9000000)
            link = hashlib.sha256(f"{self.tag} {date} {download}".encode()).hexdigest()
            redis.queue("FCALL", "tollgate_post", 6, self.key("account"), self.key("grants"),
                        self.key(f"usage:{date:%Y%m%d}"), self.key(f"usage:{date:%Y%m}"), self.key(f"link:{link}"),
                        self.key(f"link:{link}:grants"), *self.head(download % self.options.nodes, "usage"),
                        f"{date:%Y%m%d}", file, bytes_, 1, f"5 {now} {till} {till} 0")


def post(redis, accounts, first, last):
    """Each day from the first to the last, as if that were today, and a top-up in each month. Returns what they take of
    an account."""
    redis.ask("FLUSHALL")
    empty = redis.used()
    for account in accounts:
        account.sequences = [0] * account.options.nodes
        account.money(redis, "open", 10 ** 12, "prepaid", "open")
        for ago in range((last - first).days, -1, -1):
            date = last - datetime.timedelta(days=ago)
            if date.day == 15:
                account.money(redis, "top_up", 10 ** 9, "-", f"top-up-{date:%Y%m}")
            account.day(redis, date, ago)
    redis.flush()
    return (redis.used() - empty) / len(accounts)


def measure(redis, accounts):
    """Of each kind of key: how many an account has, and what one takes, on the average."""
    kinds = {"account": [], "grants": [], "day": [], "month": [], "transactions": [], "link": [], "link grants": []}
    for name in redis.names():
        what = name.decode().split("}:")[1]
        kind = "link grants" if what.startswith("link:") and what.endswith(":grants") else what.split(":")[0]
        kind = {8: "day", 6: "month"}[len(what) - 6] if kind == "usage" else kind
        kinds[kind].append(redis.ask("MEMORY", "USAGE", name, "SAMPLES", "0"))
    return {kind: (len(sizes) / len(accounts), sum(sizes) / max(1, len(sizes))) for kind, sizes in kinds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--downloads", type=int, default=5, help="of an account on a day")
    parser.add_argument("--files", type=int, default=40, help="that an account comes back to")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--scale", type=int, default=100000, help="accounts to compute for")
    options = parser.parse_args()
    accounts = [Account(index, options) for index in range(options.accounts)]
    with tempfile.TemporaryDirectory(prefix="tollgate-keys-") as directory:
        redis = Redis(directory)
        try:
            report(redis, accounts, options)
        finally:
            redis.end()


def admission_us(redis, account, pools):
    """What Redis' main thread takes for a question about funds, of an account that so many nodes have served."""
    now, count = int(time.time() * 1000), 20000
    instances = [hashlib.md5(f"node-{node}".encode()).hexdigest() for node in range(pools)]
    for instance in instances:
        redis.queue("HSETNX", account.key("grants"), f"p:{instance}", 0)
        redis.queue("HSETNX", account.key("grants"), instance, f"1 0 0 0 {now}")
    redis.flush()
    before_s = redis.cpu_s()
    for number in range(count):
        redis.queue("FCALL", "tollgate_admit", 4, account.key("account"), account.key("grants"), account.key("link:0"),
                    account.key("link:0:grants"), instances[0], 2, 30000, now // 1000, 65536,
                    (pools << 20) + number + 1, 10 ** 9, 0, 10 ** 9 + 65536, 0)
    redis.flush()
    return (redis.cpu_s() - before_s) / count * 1e6


def report(redis, accounts, options):
    last = TODAY.replace(day=1) - datetime.timedelta(days=1)
    month = post(redis, accounts, last.replace(day=1), last)
    kinds = measure(redis, accounts)
    # Redis' tables of keys and of expiries, and what its allocator rounds up.
    beyond = (month - sum(count * size for count, size in kinds.values())) / sum(count for count, _ in kinds.values())
    print(f"{len(accounts)} accounts, {options.downloads} downloads a day of {options.files} files, {options.nodes} nodes, "
          f"{last:%Y-%m}; {beyond:.0f} bytes of each key beside its own")
    print(f"{'key':14}{'of an account':>14}{'bytes each':>12}{'in a year':>11}{'bytes':>10}")
    # The account's own hash gets a field each month; a transaction takes the same in whichever hash of the ring.
    year = {"account": (1, kinds["account"][1] + 11 * OF_MONTH), "day": (number("LEDGER_DAYS_KEPT") + 1, kinds["day"][1]),
            "month": (12, kinds["month"][1]), "transactions": (4, kinds["transactions"][1] * 13 / 2 / 4)}
    computed = 0
    for kind, (count, size) in kinds.items():
        in_year, each = year.get(kind, (count, size))
        computed += in_year * (each + beyond)
        print(f"{kind:14}{count:14.1f}{size:12.0f}{in_year:11.1f}{in_year * each:10.0f}")
    print(f"an account takes {month:.0f} bytes after the month, and is computed to take {computed:.0f} after a year; "
          f"{options.scale} of them {month * options.scale / 2 ** 30:.1f} and {computed * options.scale / 2 ** 30:.1f} GiB")
    before_s = redis.cpu_s()
    measured = post(redis, accounts, TODAY - datetime.timedelta(days=364), TODAY)
    posts = sum(sum(account.sequences) for account in accounts)
    print(f"Redis took {(redis.cpu_s() - before_s) / posts * 1e6:.1f} us of its processor for each of {posts} posts")
    print(f"a year of them that was posted takes {measured:.0f} bytes of an account, {measured / computed - 1:+.0%}:")
    for kind, (count, size) in measure(redis, accounts).items():
        print(f"{kind:14}{count:14.1f}{size:12.0f}{'':11}{count * size:10.0f}")
    for pools in (options.nodes, 100):
        print(f"an admission takes {admission_us(redis, accounts[0], pools):.0f} us where {pools} nodes had something of the account")
    redis.ask("SAVE")
    seconds = []
    for _ in range(5):
        before_s = redis.cpu_s()
        redis.ask("DEBUG", "RELOAD", "NOSAVE")
        seconds.append(redis.cpu_s() - before_s)
    print(f"Redis takes {min(seconds):.2f} s of its processor to read its file: {redis.used() / min(seconds) / 1e6:.0f} MB of "
          "its memory in a second")


if __name__ == "__main__":
    main()
