"""The soak: its schedule of faults, its clients, and what must hold at the end. See ../soak.sh for how to run it."""
import argparse
import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import clients
import place

GRACE_S = 2.0  # after a fault's end nothing is refused for it any more
READY_S = 60.0  # longer than this no fault may keep the node from being ready
PREPAID_BYTES = 10**12
COMPLAINTS_SHOWN = 20
BROKEN_MAX = 5  # after so many of what must not happen at all, the run ends
GAP_S = 0.5  # between two answers to the probe, beyond which the node counts as not serving
ROUND_S = 180  # each fault comes once in this time
NODE_KILLED = "node killed"
CALM = "none"  # the row of what is begun before the first fault
PLANS = ("postpaid", "prepaid")
RESIDENT_GROWTH = 1.1
WARM_S = 60.0  # after the last start, before memory and descriptors are looked at for the first time


class Row:
    """A line of the table: what happened while one kind of fault was the last that had begun."""

    def __init__(self):
        self.times, self.unserved_s, self.unserved_longest_s = 0, 0.0, 0.0
        self.received, self.least, self.most, self.responses = 0, 0, 0, 0


class Soak:
    def __init__(self, options):
        self.options, self.seed = options, options.seed
        self.random = random.Random(options.seed)
        self.over, self.paused, self.idle = threading.Event(), threading.Event(), set()
        self.lock = threading.Lock()
        self.responses, self.statuses, self.kills = [], {}, []
        self.faults = []  # [name, begun, ended or None], in order
        self.complaints, self.excused = [], 0
        self.row, self.served_at, self.broken = CALM, None, []
        self.rows = {name: Row() for name in (CALM, *FAULTS)}
        self.directory = tempfile.mkdtemp(prefix="tollgate-soak-")
        self.disk = f"{self.directory}/disk"
        os.makedirs(self.disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={place.DISK_BYTES},mode=0700", "tmpfs", self.disk], check=True)
        self.media()
        self.clock = place.Clock(self.directory)
        self.node = None
        self.redis = place.Redis(f"{self.directory}/redis", self.clock.environment)
        self.until(self.redis.answers)
        self.node = place.Node(options.tollgate, self.directory, f"{self.directory}/media", self.redis, self.disk,
                               self.clock.environment)
        self.signer = place.Signer(self.node.key_file)
        self.until(self.node.is_ready)
        for row in self.rows:
            for plan in PLANS:
                self.open(clients.account(row, plan), plan)

    def media(self):
        """Real MP3s. Frames may follow each other, so that several of the catalogue's are one again."""
        catalogue, media = self.options.catalogue, f"{self.directory}/media"
        os.makedirs(media)
        long = f"{catalogue}/albums/Night Train/02 Long Way Home.mp3"
        parts = {"/tiny.mp3": [f"{catalogue}/jingle.mp3"], "/song.mp3": [f"{catalogue}/Café/01 – 100% #1.mp3"],
                 "/track.mp3": [f"{catalogue}/albums/Night Train/01 First Light.mp3"], "/hour.mp3": [long] * 2,
                 "/day.mp3": [long] * 4}
        for path, sources in parts.items():
            with open(media + path, "wb") as out:
                for source in sources:
                    with open(source, "rb") as file:
                        shutil.copyfileobj(file, out)
        self.sizes = {path: os.path.getsize(media + path) for path in parts}
        self.tiny, self.small, self.large = "/tiny.mp3", ["/song.mp3", "/track.mp3"], ["/hour.mp3", "/day.mp3"]

    def open(self, account, plan):
        body = {"plan": plan, "bytes": PREPAID_BYTES if plan == "prepaid" else 0, "transaction": f"open-{account}"}
        status, answer = self.node.admin("PUT", f"/v1/accounts/{place.ISSUER}/{account}", body)
        if status not in (200, 201):
            raise RuntimeError(f"account {account} could not be opened: {status} {answer}")

    def until(self, condition, within=READY_S):
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if condition():
                return True
            self.revive()
            time.sleep(0.02)
        self.broken.append(f"after {within:.0f} s still not: {condition.__name__.replace('_', ' ')}")
        return False

    def revive(self):
        """A node that ended without being killed: that is said at the end, and the run goes on with another."""
        if self.node is None or self.node.killed or self.node.process.poll() is None:
            return
        self.broken.append(f"the node ended by itself with {self.node.process.returncode}, {self.now()}; see {self.node.log}")
        if len(self.broken) > BROKEN_MAX:
            raise RuntimeError("; ".join(self.broken))
        with self.lock:
            self.kills.append(time.monotonic())
        self.node.start()

    def now(self):
        last = self.faults[-1] if self.faults else None
        if last is None:
            return "before the first fault"
        return f"during {last[0]}" if last[2] is None else f"{time.monotonic() - last[2]:.1f} s after {last[0]}"

    # ---- what clients tell

    def count(self, status):
        with self.lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def served(self):
        """The probe was answered: the time since the last answer was not served where it is long."""
        now = time.monotonic()
        with self.lock:
            gap = 0 if self.served_at is None else now - self.served_at
            self.served_at = now
            if gap > GAP_S:
                row = self.rows[self.row]
                row.unserved_s += gap
                row.unserved_longest_s = max(row.unserved_longest_s, gap)

    def complain(self, name, begun, error):
        """An answer that was not the one asked for: excused where a fault, or its grace, touches the request."""
        with self.lock:
            for fault, start, end in self.faults:
                if end is None or (start < time.monotonic() and begun < end + GRACE_S):
                    self.excused += 1
                    return
            self.complaints.append(f"{name}: {error}; asked {time.monotonic() - begun:.1f} s ago, said {self.now()}")

    def fold(self, all_of_them=False):
        """Adds responses that no kill can touch any more to their rows."""
        with self.lock:
            old = time.monotonic() - 3 * clients.MARK_S
            ended = [r for r in self.responses if r.ended is not None and (all_of_them or r.ended < old)]
            self.responses = [r for r in self.responses if r not in set(ended)]
            for response in ended:
                row = self.rows[response.row]
                row.responses += 1
                row.received += response.read
                row.least += response.least(self.kills)
                row.most += response.acknowledged

    # ---- faults

    def stall(self, hold):
        self.redis.signal(signal.SIGSTOP)
        self.sleep(hold)
        self.redis.signal(signal.SIGCONT)

    def kill_redis(self, hold):
        self.redis.kill()
        self.sleep(hold)
        self.redis.start()
        self.until(self.redis.answers)

    def empty_redis(self, hold):
        self.redis.command("FLUSHALL")
        self.sleep(hold)
        self.until(self.everything_is_known)

    def everything_is_known(self):
        """Ready, and each account is in Redis again."""
        return self.node.is_ready() and all(self.node.admin("GET", f"/v1/accounts/{place.ISSUER}/{clients.account(row, plan)}")[0] == 200
                                            for row in self.rows for plan in PLANS)

    def fill_disk(self, hold):
        ballast = f"{self.disk}/ballast"
        with open(ballast, "wb") as file:
            size, step = 0, 64 * 1024 * 1024
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
                except OSError:
                    step //= 2
            self.until(self.the_node_says_full, 30)
            self.sleep(hold)
        os.unlink(ballast)

    def the_node_says_full(self):
        self.watch()
        health = self.node.admin("GET", "/v1/health")[1]
        return isinstance(health, dict) and health["ledger"]["state"] in ("full", "exhausted")

    def step_clock(self, hold):
        """To a minute or two off, ahead or back, and never further than ten minutes from the true time."""
        by = self.random.choice((-1, 1)) * self.random.uniform(10, 120)
        self.clock.set(self.clock.seconds + (by if abs(self.clock.seconds + by) < 600 else -by))
        del hold

    def kill_node(self, hold):
        with self.lock:
            self.kills.append(time.monotonic())
        self.node.kill()
        self.sleep(min(hold, 1.0))
        self.node.start()
        self.until(self.node.is_ready)

    def fault(self, name, hold):
        with self.lock:
            self.row = name
            self.rows[name].times += 1
            entry = [name, time.monotonic(), None]
            self.faults.append(entry)
        if self.options.verbose:
            print(f"  {self.elapsed():6.1f} s  {name}, for {hold:.1f} s", flush=True)
        FAULTS[name](self, hold)
        with self.lock:
            entry[2] = time.monotonic()
        if self.options.verbose:
            print(f"  {self.elapsed():6.1f} s  {name} has ended", flush=True)

    # ---- the run

    def elapsed(self):
        return time.monotonic() - self.begun

    def sleep(self, seconds):
        """Sleeps, and meanwhile does what is due."""
        end = time.monotonic() + seconds
        while True:
            self.watch()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.25))

    def watch(self):
        self.fold()
        self.revive()
        if self.elapsed() >= self.line_due:
            self.line_due += self.line_every
            self.line()

    def line(self):
        with self.lock:
            bad = sum(count for status, count in self.statuses.items() if status >= 500)
            good = sum(count for status, count in self.statuses.items() if status < 400)
            received = sum(row.received for row in self.rows.values())
            print(f"{self.elapsed():5.0f} s  {len(self.faults)} faults, {good} answers, {bad} of 5xx, "
                  f"{received / 1e6:.0f} MB received, {len(self.complaints)} complaints, "
                  f"{self.node.resident_bytes() / 2**20:.1f} MiB, {len(self.node.descriptors())} descriptors", flush=True)

    def schedule(self):
        """Each fault as often as the others. The node's kills come in the first two fifths, so that its last life is a
        long one, in which memory and descriptors are compared."""
        rounds = self.options.rounds or max(1, int(self.options.seconds // ROUND_S))
        others = [name for name in FAULTS if name != NODE_KILLED] * rounds
        self.random.shuffle(others)
        early = len(others) * 2 // 5
        first = others[:early] + [NODE_KILLED] * (rounds - 1)
        self.random.shuffle(first)
        return first + [NODE_KILLED] + others[early:]

    def quiet(self):
        """Descriptors and resident bytes with no client there."""
        self.paused.set()
        self.until(self.all_clients_rest)
        self.sleep(3.0)  # windows end after two seconds
        found = self.node.descriptors(), self.node.resident_bytes()
        self.paused.clear()
        return found

    def all_clients_rest(self):
        return len(self.idle) == len(clients.WAYS)

    def run(self):
        schedule = self.schedule()
        total = self.options.seconds
        self.line_every = 60 if total > 60 else 10
        self.begun, self.line_due = time.monotonic(), self.line_every
        threads = [clients.Client(self, name, way, f"{self.seed}-{name}") for name, way in clients.WAYS.items()]
        for thread in threads:
            thread.start()
        self.warm_s = min(WARM_S, total / 10)
        slot = (total - 2 * self.warm_s - 10) / len(schedule)
        self.sleep(self.warm_s / 2)
        last_kill = len(schedule) - 1 - schedule[::-1].index(NODE_KILLED)
        for i, name in enumerate(schedule):
            end = time.monotonic() + slot
            self.fault(name, self.random.uniform(0.2, 0.4) * min(slot, 15))
            self.sleep(max(GRACE_S + 0.5, end - time.monotonic()))
            if i == last_kill:
                self.sleep(self.warm_s)
                baseline = self.quiet()
                self.served_at = None
        self.over.set()
        for thread in threads:
            thread.join(clients.TIMEOUT_S + 5)
        final = self.quiet()
        self.fold(all_of_them=True)
        self.report(baseline, final, [thread.name for thread in threads if thread.is_alive()])

    def report(self, baseline, final, hung):
        checks = []

        def hold(text, good):
            checks.append((good, text))
        width = max(map(len, self.rows))
        print(f"\n{'fault':{width}}  times  seconds not served (longest)  responses        received          billed"
              "   at least     at most")
        for name, row in self.rows.items():
            billed = sum(self.node.billed(clients.account(name, plan)) for plan in PLANS)
            print(f"{name:{width}}  {row.times:5}  {row.unserved_s:17.1f} ({row.unserved_longest_s:7.1f})"
                  f"  {row.responses:9}  {row.received:14}  {billed:14}  {billed - row.least:+10}  {billed - row.most:+10}")
            hold(f"{name}: billed {billed}, between {row.least} and {row.most}", row.least <= billed <= row.most)
        hold(f"nothing refused or cut from {GRACE_S:.0f} s after a fault's end on: {len(self.complaints)} were "
             f"({self.excused} in a fault or its grace)", not self.complaints)
        more = ", ".join((collections.Counter(final[0]) - collections.Counter(baseline[0])).elements())
        hold(f"descriptors: {len(baseline[0])} at first, {len(final[0])} at the end{' with ' if more else ''}{more}",
             len(final[0]) <= len(baseline[0]))
        memory = f"memory: {baseline[1] / 2**20:.1f} MiB at first, {final[1] / 2**20:.1f} MiB at the end"
        if self.warm_s >= WARM_S:
            hold(memory, final[1] <= RESIDENT_GROWTH * baseline[1])
        else:
            print(f"\n{memory}; not judged, for in {self.warm_s:.0f} s its caches have not filled")
        hold(f"no fault ends the node or keeps it: {'; '.join(self.broken) or 'none did'}", not self.broken)
        hold(f"each client came to an end: {', '.join(hung) or 'all did'}", not hung)
        code = self.node.stop(40)
        hold(f"the node ends by SIGTERM: exit code {code}", code == 0)
        with open(self.node.log, encoding="utf-8", errors="replace") as log:
            errors = [line.strip() for line in log if " error " in line or "Sanitizer" in line or "check failed" in line]
        print()
        for good, text in checks:
            print("held  " if good else "BROKEN", text)
        for complaint in self.complaints[:COMPLAINTS_SHOWN]:
            print("       ", complaint)
        for line in errors[:COMPLAINTS_SHOWN]:
            print("        the node's log:", line[:300])
        self.failed = not all(good for good, _ in checks)

    def end(self):
        """Ends what was started and unmounts the disk; the directory goes, unless it is to be kept."""
        self.over.set()
        for owner in (self.node, self.redis):
            if owner is not None and owner.process.poll() is None:
                owner.process.send_signal(signal.SIGCONT)
                owner.kill()
        if self.options.keep:
            shutil.copytree(f"{self.disk}/state", f"{self.directory}/state", dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("*.sock"))
        subprocess.run(["umount", "--lazy", self.disk], check=False)
        if self.options.keep:
            print(f"kept: {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)


FAULTS = {
    "Redis stalled": Soak.stall, "Redis killed": Soak.kill_redis, "Redis emptied": Soak.empty_redis,
    "disk full": Soak.fill_disk, "clock stepped": Soak.step_clock, NODE_KILLED: Soak.kill_node,
}


def main():
    parser = argparse.ArgumentParser(prog="soak.sh")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--tollgate", required=True)
    parser.add_argument("--catalogue", required=True)
    options = parser.parse_args()
    options.seconds = options.seconds or options.minutes * 60
    if not 45 <= options.seconds <= 86400:
        parser.error("45 seconds to 1440 minutes")
    print(f"soak of {options.seconds:.0f} s, seed {options.seed}", flush=True)
    soak = Soak(options)
    try:
        soak.run()
        if soak.failed:
            print(f"the same again: sh tests/faults/soak.sh --seconds {options.seconds:.0f} --seed {options.seed} --keep")
    finally:
        soak.end()
    return 1 if soak.failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    sys.exit(main())
