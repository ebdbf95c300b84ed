"""The chaos's shop: orders on the accounts of the fault that is now, each given to one node or to both, and repeated
until it is acknowledged. What was acknowledged is asked for at both nodes: a suspended account and a revoked link are
refused from half a second on.
"""
import threading
import time

import clients
import place
from purse import PURSE

GIVE_UP_S = 60.0
TOLD_S = 10.0
REPLAYED_S = 5.0  # what Redis lost both nodes know again within this time, unless the one that has it is away
KNOWN_S = 0.5  # a push beats four times a second; what it has not reached yet starts a beat late at most
PAUSE_S = 0.15
TOP_UP_MAX = 500_000
ACKNOWLEDGED = (200, 201, 202)


class Shop(clients.Client):
    def __init__(self, load, name, seed):
        super().__init__(load, load.nodes[0], name, Shop.round, seed)
        self.revoked, self.orders = [], 0

    def round(self):
        self.random.choice((self.top_up, self.top_up, self.revoke, self.suspend))(self.soak.row)
        time.sleep(PAUSE_S)

    # ---- orders

    def attempt(self, node, method, path, body):
        """The status of one order at one node, with what was refused told."""
        begun = time.monotonic()
        status, answer = node.admin(method, f"/v1/accounts/{place.ISSUER}/{path}", body)
        if status not in ACKNOWLEDGED:
            self.node = node
            self.soak.complain(self, begun, clients.Refused(status, f"to {method} {path}: {answer}"))
        return status

    def order(self, method, path, body, nodes=None):
        """Gives an order until it is acknowledged: its status, or None where that does not come."""
        deadline = time.monotonic() + GIVE_UP_S
        self.orders += 1
        while time.monotonic() < deadline:
            status = self.attempt(self.random.choice(nodes or self.soak.nodes), method, path, body)
            if status in ACKNOWLEDGED:
                return status
            time.sleep(0.1)
        self.soak.broken.append(f"{method} {path} was not acknowledged within {GIVE_UP_S:.0f} s")
        return None

    def open(self, row, plan, content):
        name = clients.account(row, plan)
        if self.order("PUT", name, {"plan": "prepaid" if content else "postpaid", "bytes": content,
                                    "transaction": f"open-{name}"}) is not None:
            self.soak.paid[name], self.soak.ordered[name] = content, "active"

    def top_up(self, row):
        """The same transaction at one node, at one after the other, or at both at once: it counts once."""
        name, content = clients.account(row, self.random.choice(("prepaid", PURSE))), self.random.randrange(1, TOP_UP_MAX)
        body = {"bytes": content, "transaction": self.jti()}
        way = self.random.choice(("once", "twice", "at once"))
        if way == "at once":
            threads = [threading.Thread(target=self.order, args=("POST", f"{name}/top-up", body, [node]))
                       for node in self.soak.nodes]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            for _ in range(2 if way == "twice" else 1):
                self.order("POST", f"{name}/top-up", body)
        with self.soak.lock:
            self.soak.paid[name] += content

    def revoke(self, row):
        name, jti = clients.account(row, self.name), self.jti()
        if self.random.random() < 0.5:
            for node in self.soak.nodes:
                self.ask(node, name, jti)
        status = self.order("POST", f"{name}/revoke", {"jti": jti})
        if status is not None:
            self.revoked.append((name, jti))
        self.refuses(status, name, jti, 410, "revoked")

    def suspend(self, row):
        name = clients.account(row, self.name)
        status = self.order("POST", f"{name}/suspend", {})
        if status is None:
            return
        self.soak.ordered[name] = "suspended"
        self.refuses(status, name, self.jti(), 402, "suspended")
        if self.random.random() < 0.8 and self.order("POST", f"{name}/activate", {}) is not None:
            self.soak.ordered[name] = "active"

    # ---- what nodes answer

    def ask(self, node, name, jti):
        """The status of a small download; 0 where there was no answer."""
        self.node, self.row = node, name
        try:
            connection = self.connect()
            self.fetch(connection, self.signer.target(name, self.soak.tiny, jti=jti))
            connection.close()
            return 200
        except clients.Refused as error:
            return error.status
        except clients.Lost:
            return 0

    def ask_until_told(self, node, name, jti):
        """The same from a node that is well, which a failover may still keep from answering."""
        deadline = time.monotonic() + TOLD_S
        while True:
            found = self.ask(node, name, jti)
            if found not in (0, 503) or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def refuses(self, status, name, jti, wanted, what):
        """Where the order was posted, both nodes refuse. One that has not heard from Redis may say 503."""
        if status != 200 and status != 201:
            return
        acknowledged = time.monotonic()
        time.sleep(KNOWN_S)
        for node in self.soak.nodes:
            begun = time.monotonic()
            found = self.ask(node, name, jti)
            if found not in (wanted, 503, 0) and not self.is_replayed(acknowledged, node, name, jti, wanted):
                self.node = node
                self.soak.complain_untrue(self, begun, f"{found} for a link of {name} that is {what} ({jti})")

    def is_replayed(self, acknowledged, node, name, jti, wanted):
        """Whether Redis may have lost the order, and the node knows it in time: it is behind the one that replays it."""
        if not self.soak.may_be_lost(acknowledged):
            return False
        deadline = acknowledged + REPLAYED_S
        while time.monotonic() < deadline:
            if self.ask(node, name, jti) == wanted:
                self.soak.count_lost_order(time.monotonic() - acknowledged)
                return True
            time.sleep(0.05)
        return False
