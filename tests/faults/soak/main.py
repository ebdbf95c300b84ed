"""The soak: its schedule of faults, its clients, and what must hold at the end. See ../soak.sh for how to run it."""
import argparse
import collections
import os
import random
import signal
import sys
import time

import clients
import place
from load import GAP_S, READY_S, Load, Row

GRACE_S = 2.0  # after a fault's end nothing is refused for it any more
PREPAID_BYTES = 10**12
ROUND_S = 180  # each fault comes once in this time
NODE_KILLED = "node killed"
CALM = "none"  # the row of what is begun before the first fault
PLANS = ("postpaid", "prepaid")
RESIDENT_GROWTH = 1.1
WARM_S = 60.0  # after the last start, before memory and descriptors are looked at for the first time


class Soak(Load):
    def __init__(self, options):
        super().__init__(options, "soak")
        self.faults = []  # [name, begun, ended or None], in order
        self.row, self.served_at = CALM, None
        self.rows = {name: Row() for name in (CALM, *FAULTS)}
        self.disk = self.add_disk(place.DISK_BYTES)
        self.clock = place.Clock(self.directory)
        self.redis = place.Redis(f"{self.directory}/redis", self.clock.environment)
        self.until(self.redis.answers)
        self.node = place.Node(options.tollgate, self.directory, f"{self.directory}/media", f"127.0.0.1:{self.redis.port}",
                               self.disk, self.clock.environment)
        self.nodes.append(self.node)
        self.signer = place.Signer(self.node.key_file)
        self.until(self.node.is_ready)
        for row in self.rows:
            for plan in PLANS:
                self.open(clients.account(row, plan), plan)

    def row_of(self, row, plan):
        del plan
        return row

    def open(self, account, plan):
        body = {"plan": plan, "bytes": PREPAID_BYTES if plan == "prepaid" else 0, "transaction": f"open-{account}"}
        status, answer = self.node.admin("PUT", f"/v1/accounts/{place.ISSUER}/{account}", body)
        if status not in (200, 201):
            raise RuntimeError(f"account {account} could not be opened: {status} {answer}")

    def now(self):
        last = self.faults[-1] if self.faults else None
        if last is None:
            return "before the first fault"
        return f"during {last[0]}" if last[2] is None else f"{time.monotonic() - last[2]:.1f} s after {last[0]}"

    # ---- what clients tell

    def served(self, node):
        """The probe was answered: the time since the last answer was not served where it is long."""
        now = time.monotonic()
        del node
        with self.lock:
            gap = 0 if self.served_at is None else now - self.served_at
            self.served_at = now
            if gap > GAP_S:
                row = self.rows[self.row]
                row.unserved_s += gap
                row.unserved_longest_s = max(row.unserved_longest_s, gap)

    def complain(self, client, begun, error):
        """An answer that was not the one asked for: excused where a fault, or its grace, touches the request."""
        with self.lock:
            for fault, start, end in self.faults:
                if end is None or (start < time.monotonic() and begun < end + GRACE_S):
                    self.excused += 1
                    return
            self.complaints.append(f"{client.name}: {error}; asked {time.monotonic() - begun:.1f} s ago, said {self.now()}")

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
            place.fill(file)
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
        self.note_kill(self.node)
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

    def line(self):
        with self.lock:
            print(f"{self.elapsed():5.0f} s  {len(self.faults)} faults, {self.line_of_answers()}, "
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
        self.start(60 if total > 60 else 10)
        threads = [clients.Client(self, self.node, name, way, f"{self.seed}-{name}") for name, way in clients.WAYS.items()]
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
        self.print_checks(checks)


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
        soak.end([soak.redis])
    return 1 if soak.failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    sys.exit(main())
