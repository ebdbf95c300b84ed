"""The chaos: two nodes, a Redis with two replicas under three Sentinels, clients and a shop at both nodes, and real
faults in an order by chance; what must hold at the end. See ../chaos.sh for how to run it, kinds.py for the faults.
"""
import argparse
import collections
import random
import signal
import sys
import threading
import time

import clients
import kinds
import place
from load import GAP_S, Load, Row
from purse import PAID_MAX, PAID_MIN, PURSE, Purses, purse
from shop import Shop
from watched import COUNT, DOWN_AFTER_MS, Watched

DATA_LOST_WAIT_S = 15.0  # data_lost_wait_ms
GRACE_S = 1.0  # after a fault's end nothing is refused for it any more
CALM_S = 1.0  # how long all must be well after that, before the next fault
SETTLED_S = 40.0  # within this time after the last client has gone nothing is reserved any more
PREPAID_BYTES = 10**12
CLIENT_RATE = 1.5e6
VALIDITY_MS = 5000
WAYS = {name: clients.WAYS[name] for name in ("whole", "prepaid", "again", "seek", "abort", "once", "rated", "bounded", "album",
                                              "tls-1.2-abort", "tls-1.3", "probe")} | {
    "purse": purse, "purse-2": purse, "witness": clients.witness}
NODES = ("east", "west")
WITNESSES = [f"witness-{node}" for node in NODES]
SHOPS = ("shop-1", "shop-2")
PLANS = {"prepaid": PREPAID_BYTES, "postpaid": 0, PURSE: None} | dict.fromkeys((*SHOPS, *WITNESSES), 0)
FAULT_S_MAX = 30.0  # the run ends after so long for each fault
UNTRUE = (402, 403, 404, 410)  # what no client here deserves, whatever strikes: a node that cannot know says 503


class Fault(Row):
    def __init__(self, seed, number, name):
        super().__init__()
        self.number, self.name = number, name
        self.draw = random.Random(f"{seed}-{number}-{name}")
        self.row = f"{number:03}-{name.replace(' ', '-').lower()}"
        self.begun = self.ended = self.restored = self.node = None
        self.nodes, self.beyond_s, self.late_s = (), 0.0, 0.0
        self.doubled = self.lost = self.billed = self.overspent = 0

    def __str__(self):
        return f"fault {self.number} ({self.name})"

    def touches(self, node, begun, now):
        """Whether it may be why `node` did not answer what was asked at `begun`."""
        return node in self.nodes and self.begun <= now and (self.ended is None or begun < self.ended + GRACE_S)


def outside(begin, end, windows):
    """The seconds between two moments that lie in none of the windows."""
    at, found = begin, 0.0
    for opens, closes in sorted(windows):
        found += max(0.0, min(opens, end) - at)
        at = max(at, min(closes, end))
    return found + max(0.0, end - at)


class Chaos(Load):
    STOP_WITHIN_S = 15

    def __init__(self, options):
        super().__init__(options, "chaos")
        self.client_rate, self.client_nice = CLIENT_RATE, 10
        self.faults = []
        self.served_at, self.refused = {}, collections.Counter()  # of each node's probe
        self.whole_at = {}  # by the moment of a switch
        self.watched = Watched(self.directory, [place.Clock(self.directory, f"clock-redis-{i}") for i in range(COUNT)])
        for redis in self.watched.redises:
            self.until(redis.answers)
        self.watched.start(self.directory)
        self.until(self.watched.is_whole)
        self.node_clocks = [place.Clock(self.directory, f"clock-{name}") for name in NODES]
        for name, clock in zip(NODES, self.node_clocks):
            self.nodes.append(place.Node(options.tollgate, self.directory, f"{self.directory}/media", self.watched.address(),
                                         self.add_disk(2 * place.DISK_BYTES), clock.environment, name,
                                         self.nodes[0] if self.nodes else None, stop_timeout_ms=1000, journal_segment_bytes=256 * 1024, windows_max=128,
                                         grant_validity_ms=VALIDITY_MS))
        self.signer = place.Signer(self.nodes[0].key_file)
        for node in self.nodes:
            self.until(node.is_granting)
        threading.Thread(target=self.follow_switches, daemon=True).start()
        self.purses, self.unjudged, self.held_elsewhere, self.lost_orders = Purses(self), 0, 0, []
        self.history = collections.defaultdict(list)
        self.shops = [Shop(self, name, f"{self.seed}-{name}") for name in SHOPS]
        self.paid, self.ordered = collections.Counter(), {}  # of each account: bytes that were acknowledged; its status
        self.fault_now(Fault(self.seed, 0, "none"))
        self.faults[0].ended = time.monotonic()

    def row_of(self, row, plan):
        return clients.account(row, plan)

    def open(self, fault):
        """The accounts of the fault that is next. Nothing strikes now, so that one attempt each does."""
        for plan, content in PLANS.items():
            content = fault.draw.randrange(PAID_MIN, PAID_MAX) if plan == PURSE else content
            self.rows[clients.account(fault.row, plan)] = Row()
            self.shops[0].open(fault.row, plan, content)

    def kill(self, node):
        self.note_kill(node)
        node.kill()

    def folded(self, response, least):
        response.samples = []
        self.history[response.row].append((response, least))

    def tell_responses(self, name):
        """Each response of an account whose bill is another than it should be."""
        print(f"\n{name}: seconds since the run began, bytes")
        for response, least in sorted(self.history[name], key=lambda pair: pair[0].begun):
            if response.read > 0:
                print(f"  {response.begun - self.begun:8.2f} to {response.ended - self.begun:8.2f} at {response.node.name} {response.name}: "
                      f"read {response.read}, acknowledged {response.acknowledged}, at least {least}"
                      f"{', cut' if response.is_cut else ''}")

    def everything_is_known(self):
        """Both nodes have replayed: they grant, and know the accounts."""
        return all(node.is_granting() and
                   all(node.admin("GET", f"/v1/accounts/{place.ISSUER}/{clients.account(self.row, plan)}")[0] == 200
                       for plan in PLANS) for node in self.nodes)

    def now(self):
        if not self.faults:
            return "before the first fault"
        last = self.faults[-1]
        return f"during {last}" if last.ended is None else f"{time.monotonic() - last.ended:.1f} s after {last}"

    # ---- what clients tell

    def served(self, node):
        """A probe was answered: the time since the node's last answer was not served where it is long."""
        now = time.monotonic()
        with self.lock:
            last, refused = self.served_at.get(node, now), self.refused.pop(node, 0)
            self.served_at[node] = now
            if now - last <= GAP_S:
                return
            windows = [(f.begun, (f.ended or now) + GRACE_S) for f in self.faults[-4:] if node in f.nodes]
            windows += [self.around(at) for at, _ in self.watched.switches[-2:]]
            beyond, fault = outside(last, now, windows), self.faults[-1]
            fault.unserved_s += now - last - beyond
            fault.unserved_longest_s = max(fault.unserved_longest_s, now - last - beyond)
            if refused > 0:
                fault.beyond_s += beyond
            else:
                fault.late_s += beyond

    def around(self, switched):
        """When Redis may have been missed around a switch that no fault has asked for."""
        return switched - 3 * DOWN_AFTER_MS / 1000, self.whole_at.get(switched, time.monotonic()) + GRACE_S

    def follow_switches(self):
        """Notes when all was well behind each switch: at once, or, where the new master lacks data, once each node has
        replayed its journal to it. A node that is away then is waited for as long as data_lost_wait_ms says."""
        followed = 0
        while True:
            while followed < len(self.watched.switches):
                switched, at = self.watched.switches[followed][0], None
                time.sleep(max(0.0, switched + GRACE_S - time.monotonic()))  # by when each node has seen a loss
                while not all(node.is_whole() for node in self.nodes) and time.monotonic() < switched + DATA_LOST_WAIT_S:
                    at = time.monotonic()
                    time.sleep(0.05)
                self.whole_at[switched] = at or switched
                followed += 1
            time.sleep(0.05)

    def may_be_lost(self, acknowledged):
        """Whether Redis may lack what was acknowledged then: it was emptied or restored since, or a failover lost it, as
        a master does not wait for its replicas."""
        since = any(KINDS[fault.name].loses_data and (fault.ended is None or acknowledged <= fault.ended + GRACE_S)
                    for fault in self.faults[-3:])
        return since or any(self.around(at)[0] <= acknowledged <= self.around(at)[1] for at, _ in self.watched.switches[-2:])

    def count_lost_order(self, known_s):
        """An order that Redis had lost, which the other node knew again so many seconds after its answer."""
        with self.lock:
            self.lost_orders.append(known_s)

    def complain(self, client, begun, error):
        """An answer that was not the one asked for: excused where a fault, or its grace, touches the request."""
        now = time.monotonic()
        with self.lock:
            if isinstance(error, clients.Refused) and error.status in UNTRUE:
                self.say(client, begun, now, error)
                return
            if any(fault.touches(client.node, begun, now) for fault in self.faults[-4:]):
                self.excused += 1
                return
            if client.name.startswith("probe"):
                self.refused[client.node] += 1
            self.say(client, begun, now, error)

    def complain_untrue(self, client, begun, text):
        with self.lock:
            self.say(client, begun, time.monotonic(), text)

    def complain_unpaid(self, client, begun, text):
        """402 for who can pay. While a node is away the other does not know what of its funds is free."""
        now = time.monotonic()
        with self.lock:
            if any(KINDS[fault.name].node_away and any(fault.touches(node, begun, now) for node in self.nodes)
                   for fault in self.faults[-4:]):
                self.unjudged += 1
            else:
                self.say(client, begun, now, text)

    def complain_held(self, client, begun):
        """503 for who can pay, because what it needs was held idle elsewhere. While a node is away it cannot be given back."""
        now = time.monotonic()
        with self.lock:
            if any(fault.touches(node, begun, now) for node in self.nodes for fault in self.faults[-4:]):
                self.excused += 1
            else:
                self.held_elsewhere += 1

    def say(self, client, begun, now, text):
        if self.options.verbose:
            print(f"  {self.elapsed():6.1f} s  {client.name} at {client.node.name}: {text}", flush=True)
        self.complaints.append((begun, f"{client.name} at {client.node.name}: {text}; asked {now - begun:.2f} s ago, said {self.now()}"))

    # ---- the run

    def fault_now(self, fault):
        self.open(fault)
        with self.lock:
            fault.begun = time.monotonic()
            self.faults.append(fault)
            self.row = fault.row

    def strike(self, number, name):
        kind, fault = KINDS[name], Fault(self.seed, number, name)
        if kind.of_redis:
            self.until(self.watched.is_whole)
            if fault.draw.random() < 0.3:
                self.watched.keep_backup()
        fault.node = fault.draw.choice(self.nodes)
        fault.nodes = {"one": (fault.node,), "both": tuple(self.nodes), "none": ()}[kind.strikes]
        self.fault_now(fault)
        if self.options.verbose:
            print(f"  {self.elapsed():6.1f} s  {fault}{' at ' + fault.node.name if kind.strikes == 'one' else ''}", flush=True)
        kind.strike(self, fault)
        with self.lock:
            fault.ended = fault.ended or time.monotonic()
        if self.options.verbose:
            print(f"  {self.elapsed():6.1f} s  {fault} was over after {fault.ended - fault.begun:.1f} s", flush=True)
        self.sleep(max(0.0, fault.ended + GRACE_S + CALM_S - time.monotonic()))

    def schedule(self):
        """Each kind as often as the others, in the order of the seed; of what is left over, those that it draws."""
        names, count, all_of_them = [], self.options.faults, self.options.kind or list(kinds.KINDS)
        while len(names) < count:
            names += self.random.sample(all_of_them, min(len(all_of_them), count - len(names)))
        self.random.shuffle(names)
        return list(enumerate(names, 1))

    def line(self):
        with self.lock:
            print(f"{self.elapsed():5.0f} s  {len(self.faults) - 1} faults, {self.line_of_answers()}, "
                  f"{sum(shop.orders for shop in self.shops)} orders", flush=True)

    def run(self):
        schedule = self.schedule()
        first, last = self.options.first, self.options.last or len(schedule)
        self.start(60)
        threads = [clients.Client(self, node, f"{way}-{node.name}", WAYS[way], f"{self.seed}-{way}-{node.name}")
                   for node in self.nodes for way in WAYS] + self.shops
        for thread in threads:
            thread.start()
        self.sleep(CALM_S)
        self.watched.keep_backup()
        for number, name in schedule[first - 1:last]:
            if self.elapsed() > FAULT_S_MAX * (last - first + 2):
                self.broken.append(f"{number - first} faults took {self.elapsed():.0f} s, and the run ended")
                break
            self.strike(number, name)
        self.until(self.watched.is_whole)
        self.sleep(CALM_S)
        self.over.set()
        for thread in threads:
            thread.join(clients.TIMEOUT_S + 60)
        self.fold(all_of_them=True)
        self.report([thread.name for thread in threads if thread.is_alive()])

    # ---- the end

    def settle(self):
        """Waits until nothing is reserved: what was, when time is over."""
        deadline = time.monotonic() + SETTLED_S
        while True:
            reserved = {}
            for name in self.rows:
                status, view = self.nodes[0].admin("GET", f"/v1/accounts/{place.ISSUER}/{name}")
                if status != 200 or view["reserved"] != 0:
                    reserved[name] = (status, view)
            if not reserved or time.monotonic() > deadline:
                return reserved
            time.sleep(0.5)

    def bill(self):
        """Compares each account's bill with what its clients know; the differences go to its fault."""
        different, money = [], []
        for fault, after in zip(self.faults, [*self.faults[1:], self.faults[0]]):
            for plan in PLANS:
                name = clients.account(fault.row, plan)
                row, billed = self.rows[name], [node.billed(name) for node in self.nodes[::-1]][-1]
                if self.nodes[1].billed(name) != billed:
                    different.append(f"{name}: the nodes do not tell the same bill")
                doubled, lost = max(0, billed - row.most), max(0, row.least - billed)
                if doubled or lost:
                    self.tell_responses(name)
                    different.append(f"{name}: billed {billed}, between {row.least} and {row.most}, received {row.received}")
                over = max(0, billed - self.paid[name], row.least - self.paid[name]) if plan == PURSE else 0
                may = 0
                if KINDS[fault.name].overspends or KINDS[after.name].overspends:
                    may = 2 * sum(way is purse for way in WAYS.values()) * self.sizes[self.small[-1]] + self.paid[name] // 2
                if over > may:
                    money.append(f"{name}: overspent by {over}, where {may} may be")
                fault.overspent += over
                fault.responses += row.responses
                fault.received += row.received
                fault.billed += billed
                fault.doubled += doubled
                fault.lost += lost
                _, view = self.nodes[0].admin("GET", f"/v1/accounts/{place.ISSUER}/{name}")
                owed = self.paid[name] - billed
                if plan in ("prepaid", PURSE) and view["balance"] != owed:
                    money.append(f"{name}: the balance is {view['balance']}, {view['balance'] - owed:+} of what was paid less the bill")
        return different, money

    def asked_of_purses(self):
        return sum(len(entries) for entries in self.purses.entries.values())

    def orders_hold(self):
        """Asks both nodes for what was revoked and suspended, and for what was activated again."""
        wrong = []
        shop = self.shops[0]
        for name, jti in [pair for one in self.shops for pair in one.revoked]:
            for node in self.nodes:
                found = shop.ask_until_told(node, name, jti)
                if found != 410:
                    wrong.append(f"{node.name}: {found} for the revoked link {jti} of {name}")
        for name in [clients.account(fault.row, PURSE) for fault in self.faults]:
            balance = self.nodes[0].admin("GET", f"/v1/accounts/{place.ISSUER}/{name}")[1]["balance"]
            wanted = 200 if balance >= self.sizes[self.tiny] else 402
            found = shop.ask_until_told(self.nodes[0], name, shop.jti())
            if found != wanted:
                wrong.append(f"{self.nodes[0].name}: {found} of {name}, which has {balance} bytes")
        for name, status in self.ordered.items():
            for node in self.nodes if not name.endswith(PURSE) else ():
                found = shop.ask_until_told(node, name, shop.jti())
                if found != (402 if status == "suspended" else 200):
                    wrong.append(f"{node.name}: {found} of {name}, which is {status}")
        return wrong

    def report(self, hung):
        left = self.settle()
        wrong = self.orders_hold()
        self.fold(all_of_them=True)
        different, money = self.bill()
        self.table()
        expected = {"Redis killed", "Redis hung", "failover ordered", "node and Redis killed"}
        sudden = [at for at, _ in self.watched.switches
                  if not any(f.name in expected and f.begun <= at <= (f.ended or at) + GRACE_S for f in self.faults)]
        complaints = [text for begun, text in self.complaints
                      if not any(self.around(at)[0] <= begun <= self.around(at)[1] for at in sudden)]
        around, self.complaints = len(self.complaints) - len(complaints), complaints
        beyond = sum(fault.beyond_s for fault in self.faults)
        revoked = sum(len(shop.revoked) for shop in self.shops)
        checks = [
            (not different, f"billed as received, within the promise, none twice: {'; '.join(different) or 'each of the accounts'}"),
            (not money, f"each top-up counts once, and no more is delivered than was paid: {'; '.join(money) or 'in each balance'}"),
            (not wrong, f"{revoked} revoked links are refused, and who is suspended: {'; '.join(wrong[:5]) or 'at both nodes'}"),
            (not left, f"nothing stays reserved: {list(left.items())[:5] or 'nothing is'}"),
            (beyond == 0, f"seconds not served beyond a fault's own: {beyond:.1f}"),
            (not self.complaints, f"nothing refused or cut from {GRACE_S:.0f} s after a fault's end on: {len(self.complaints)} were "
             f"({self.excused} in a fault or its grace; {self.unjudged} of 402 while a node was away)"),
            (not self.broken, f"no fault ends a node or keeps it: {'; '.join(self.broken) or 'none did'}"),
            (not hung, f"each client came to an end: {', '.join(hung) or 'all did'}"),
        ]
        codes = [node.stop(40) for node in self.nodes]
        checks.append((codes == [0, 0], f"the nodes end by SIGTERM: exit codes {codes}"))
        print(f"\n{self.held_elsewhere} requests of {self.asked_of_purses()} for a purse were told 503 funds_held_elsewhere with no fault there")
        print(f"{len(self.lost_orders)} orders that Redis lost were not heeded until their node had replayed them, "
              f"{max(self.lost_orders, default=0):.1f} s at most")
        if sudden:
            print(f"the Sentinels switched {len(sudden)} times without being asked to; the {around} refusals around that do not count")
        self.print_checks(checks)

    def table(self):
        print(f"\n{'fault':22}  times  over after (longest)  not served (longest)  beyond  late"
              f"  responses      received        billed  doubled  lost  overspent")
        kinds_of = collections.defaultdict(list)
        for fault in self.faults:
            kinds_of[fault.name].append(fault)
        for name in ("none", *kinds.KINDS, "all"):
            faults = self.faults if name == "all" else kinds_of[name]
            if not faults:
                continue
            over = [fault.ended - fault.begun for fault in faults]

            def total(figure):
                return sum(getattr(fault, figure) for fault in faults)
            print(f"{name:22}  {len(faults):5}  {sum(over) / len(over):8.1f} s ({max(over):5.1f} s)"
                  f"  {total('unserved_s'):8.1f} s ({max(f.unserved_longest_s for f in faults):5.1f} s)"
                  f"  {total('beyond_s'):4.1f} s  {total('late_s'):2.1f} s  {total('responses'):8}  {total('received'):12}"
                  f"  {total('billed'):12}  {total('doubled'):7}  {total('lost'):4}  {total('overspent'):9}")


KINDS = collections.defaultdict(lambda: kinds.Kind(None, "none"), kinds.KINDS)


def main():
    parser = argparse.ArgumentParser(prog="chaos.sh")
    parser.add_argument("--faults", type=int, required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--last", type=int)
    parser.add_argument("--kind", action="append", choices=list(kinds.KINDS), metavar="KIND")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--tollgate", required=True)
    parser.add_argument("--catalogue", required=True)
    options = parser.parse_args()
    if not 1 <= options.faults <= 10000:
        parser.error("1 to 10000 faults")
    print(f"chaos of {options.faults} faults, seed {options.seed}", flush=True)
    chaos = Chaos(options)
    try:
        chaos.run()
        if chaos.failed:
            print(f"the same again: sh tests/faults/chaos.sh --faults {options.faults} --seed {options.seed} --keep; "
                  "--first N --last N strikes one of them alone")
    finally:
        chaos.end(chaos.watched.end())
    return 1 if chaos.failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    sys.exit(main())
