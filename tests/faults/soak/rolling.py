"""A rolling upgrade: three nodes under load go to the next version, one after another, and what must hold meanwhile and
at the end. See tests/versions/rolling.sh for how to run it.

A node that is drained, stopped and started again may refuse and cut; the others may not. Then an old node comes beside
the new ones, and programs that may not run together are started, which must say so.
"""
import argparse
import os
import random
import subprocess
import sys
import time

import clients
import place
from load import Load, Row
from shop import Shop

NODES = ("one", "two", "three")
PREPAID_BYTES = 10**12
CLIENT_RATE = 2e6
VALIDITY_MS = 5000
ROW = "upgrade"
SHOPS = ("shop-1", "shop-2")
PLANS = {"prepaid": PREPAID_BYTES, "postpaid": 0, "purse": 10**9} | dict.fromkeys(SHOPS, 0)
WAYS = ("whole", "prepaid", "again", "seek", "once", "rated", "bounded", "album", "tls-1.3")
UNTRUE = (402, 403, 404, 410)
DRAINED_S, STOPPED_S, SETTLED_S, PATIENCE_S = 30.0, 15.0, 20.0, 30.0


def moving(way):
    """The client goes to another node while its own is away, as a balancer has it do."""
    def go(client):
        soak = client.soak
        if client.node in soak.away:
            client.node = client.random.choice([node for node in soak.nodes if node not in soak.away])
        way(client)
    return go


class Rolling(Load):
    def __init__(self, options, kills):
        super().__init__(options, "rolling")
        self.kills_nodes, self.client_rate = kills, CLIENT_RATE
        self.row, self.away, self.windows, self.large = ROW, [], [], ["/track.mp3"]  # none that a drain waits long for
        self.paid, self.ordered, self.others = {}, {}, []
        self.redis = place.Redis(f"{self.directory}/redis", None)
        self.until(self.redis.answers)
        for name in NODES:
            self.nodes.append(self.add_node(name, options.old))
        self.signer = place.Signer(self.nodes[0].key_file)
        for node in self.nodes:
            self.until(node.is_granting)
        self.shops = [Shop(self, name, f"{self.seed}-{name}") for name in SHOPS]
        for plan, content in PLANS.items():
            self.rows[clients.account(ROW, plan)] = Row()
            self.shops[0].open(ROW, plan, content)

    def add_node(self, name, program):
        os.makedirs(f"{self.directory}/{name}", mode=0o700)
        return place.Node(program, self.directory, f"{self.directory}/media", f"127.0.0.1:{self.redis.port}",
                          f"{self.directory}/{name}", os.environ, name, self.nodes[0] if self.nodes else None,
                          grant_validity_ms=VALIDITY_MS, stop_timeout_ms=2000)

    # ---- what clients tell

    def row_of(self, _row, plan):
        return clients.account(ROW, plan)

    def now(self):
        return f"{self.elapsed():.1f} s after the begin" if hasattr(self, "begun") else "before the begin"

    def may_be_lost(self, _acknowledged):
        return False

    def touches(self, node, begun):
        return any(gone is node and (back is None or begun < back) for gone, _, back in self.windows)

    def complain(self, client, begun, error):
        with self.lock:
            if self.touches(client.node, begun) and not (isinstance(error, clients.Refused) and error.status in UNTRUE):
                self.excused += 1
                return
        self.complain_untrue(client, begun, error)

    def complain_untrue(self, client, _begun, text):
        with self.lock:
            self.complaints.append(f"{client.name} at {client.node.name}: {text}, {self.now()}")

    def line(self):
        with self.lock:
            print(f"{self.elapsed():5.0f} s  {self.line_of_answers()}, {sum(shop.orders for shop in self.shops)} orders", flush=True)

    # ---- the upgrade

    def leave(self, node):
        """The node ends: drained and stopped, or killed."""
        with self.lock:
            self.windows.append([node, time.monotonic(), None])
            self.away = [node]
        if self.kills_nodes:
            self.note_kill(node)
            node.kill()
            return
        drained = subprocess.run([node.program, "node", "drain", "--timeout", f"{DRAINED_S:.0f}s", "--config", node.configuration],
                                 capture_output=True, text=True, check=False)
        if drained.returncode != 0:
            self.broken.append(f"node drain of {node.name} ended with {drained.returncode}: {drained.stderr.strip()}")
        code = node.stop(STOPPED_S)
        if code != 0:
            self.broken.append(f"{node.name} ended by SIGTERM with {code}")
        node.killed = True  # until it is started again

    def upgrade(self, node, program):
        self.leave(node)
        node.program = program
        node.start()
        self.until(node.is_granting)
        with self.lock:
            self.windows[-1][2] = time.monotonic()
            self.away = []
        print(f"  {self.elapsed():5.1f} s  {node.name} is back with another version after "
              f"{self.windows[-1][2] - self.windows[-1][1]:.1f} s", flush=True)

    def run(self):
        self.start(60)
        threads = [clients.Client(self, node, f"{way}-{node.name}", moving(clients.WAYS[way]), f"{self.seed}-{way}-{node.name}")
                   for node in self.nodes for way in WAYS] + self.shops
        for thread in threads:
            thread.start()
        self.sleep(self.options.pause)
        for node in self.random.sample(self.nodes, len(self.nodes)):
            self.upgrade(node, self.options.new)
            self.sleep(self.options.pause)
        self.over.set()
        for thread in threads:
            thread.join(clients.TIMEOUT_S + 60)
        self.fold(all_of_them=True)
        checks = self.promises([thread.name for thread in threads if thread.is_alive()])
        print(f"  {self.elapsed():5.1f} s  the load has ended, and its bills are compared", flush=True)
        checks += self.mixed()
        print(f"  {self.elapsed():5.1f} s  the versions that may not run together were tried", flush=True)
        self.print_checks(checks)

    # ---- what must hold

    def settle(self):
        deadline = time.monotonic() + SETTLED_S
        while True:
            reserved = [name for name in self.rows if self.view(name)["reserved"] != 0]
            if not reserved or time.monotonic() > deadline:
                return reserved
            time.sleep(0.2)

    def view(self, name):
        return self.nodes[0].admin("GET", f"/v1/accounts/{place.ISSUER}/{name}")[1]

    def bill(self):
        wrong = []
        for name, row in self.rows.items():
            for node in self.nodes:
                node.billed(name)  # once each has posted what it has, all say the same
            billed = {node.billed(name) for node in self.nodes}
            if len(billed) > 1 or not all(row.least <= figure <= row.most for figure in billed):
                wrong.append(f"{name}: billed {billed}, between {row.least} and {row.most}")
            elif self.paid[name] and self.view(name)["balance"] != self.paid[name] - min(billed):
                wrong.append(f"{name}: balance {self.view(name)['balance']}, paid {self.paid[name]}, billed {billed}")
        return wrong

    def orders_hold(self):
        shop, wrong = self.shops[0], []
        asked = [(name, jti, 410) for one in self.shops for name, jti in one.revoked]
        asked += [(name, shop.jti(), 402 if status == "suspended" else 200) for name, status in self.ordered.items()]
        for name, jti, wanted in asked:
            for node in self.nodes:
                found = shop.ask_until_told(node, name, jti)
                if found != wanted:
                    wrong.append(f"{node.name}: {found}, not {wanted}, for {jti} of {name}")
        return wrong

    def promises(self, hung):
        left, wrong = self.settle(), self.orders_hold()
        self.fold(all_of_them=True)
        different = self.bill()
        served = sum(count for status, count in self.statuses.items() if status < 400)
        received = sum(row.received for row in self.rows.values())
        orders, revoked = sum(shop.orders for shop in self.shops), sum(len(shop.revoked) for shop in self.shops)
        return [
            (not different, f"billed as received, {received / 1e6:.0f} MB in {served} answers: {'; '.join(different) or 'each account'}"),
            (not wrong and revoked > 0, f"{orders} orders, {revoked} revoked links: {'; '.join(wrong[:5]) or 'all nodes heed them'}"),
            (not left, f"nothing stays reserved: {left or 'nothing is'}"),
            (not self.complaints, f"nothing is refused or cut but by the node that goes: {len(self.complaints)} were "
             f"({self.excused} by that node)"),
            (not self.broken and not hung, f"each node and client came to its end: {'; '.join(self.broken + hung) or 'all did'}"),
        ]

    # ---- programs that may run together, and such that may not

    def library(self):
        return int(self.redis.command("FCALL", "tollgate_version", "0").lstrip(":"))

    def says(self, node, text):
        with open(node.log, encoding="utf-8", errors="replace") as log:
            return any(text in line for line in log)

    def awaits(self, condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.05)
        return condition()

    def is_listed(self, node):
        """Redis has noted that the node runs, and which functions it calls: a second after it began."""
        told = self.nodes[1].admin("GET", "/v1/nodes")[1]
        return any(one["node"] == node.name and one["lanes"][0]["functions"] == functions_of(node.program) for one in told["nodes"])

    def serves(self, node):
        return self.shops[0].ask(node, clients.account(ROW, "postpaid"), self.shops[0].jti()) == 200

    def mixed(self):
        options, first = self.options, self.nodes[0]
        old = functions_of(options.old)
        checks = [(self.library() == old + 1 and any(self.says(node, f"had version {old} of the function library") for node in self.nodes),
                   f"the first new node has loaded version {old + 1} over {old}, and says so")]
        first.stop(STOPPED_S)
        stale = place.Node(options.old, self.directory, f"{self.directory}/media", f"127.0.0.1:{self.redis.port}",
                           f"{self.directory}/{first.name}", os.environ, "stale", first)
        ended = stale.process.wait(STOPPED_S) != 0
        checks.append((ended and self.says(stale, "written by a newer Tollgate"),
                       "the old program refuses a state directory that the new one has written, and says what to do"))
        first.start()
        self.until(first.is_granting)
        behind = self.add_node("behind", options.old)
        kept = self.awaits(lambda: self.is_listed(behind)) and self.serves(behind) and \
            self.says(behind, "kept, since it takes the calls of both")
        checks.append((kept, "an old node with a directory of its own works beside the new ones, with their functions"))
        self.others.append(behind)
        ahead = self.add_node("ahead", options.after)
        self.others.append(ahead)
        refused = self.awaits(lambda: self.says(ahead, "upgrade that node"))
        checks.append((refused and self.library() == old + 1 and self.serves(behind) and self.serves(self.nodes[1]),
                       "a node two versions on is refused while the old one runs, and disturbs nobody"))
        behind.stop(STOPPED_S)
        checks.append((self.awaits(ahead.is_granting) and self.library() == old + 2 and self.serves(ahead) and self.serves(self.nodes[1]),
                       "it serves once the old one has gone, beside nodes one version behind"))
        behind.start()
        checks.append((self.awaits(lambda: self.says(behind, "start a newer Tollgate on this node")) and not behind.is_granting(),
                       "the old one is then refused, and says what to do"))
        return checks


def functions_of(program):
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(text.split("function library format ")[1].split()[0])


def main():
    parser = argparse.ArgumentParser(prog="rolling.sh")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--pause", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--keep", action="store_true")
    for name in ("--old", "--new", "--after", "--catalogue"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    first_seed, failed = options.seed, False
    for number in range(options.rounds):
        options.seed = first_seed + number
        kills = number % 2 == 1
        print(f"round {number + 1}, seed {options.seed}: each node is {'killed' if kills else 'drained and stopped'}", flush=True)
        rolling = Rolling(options, kills)
        try:
            rolling.run()
            failed |= rolling.failed
        finally:
            rolling.end([rolling.redis, *rolling.others])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
