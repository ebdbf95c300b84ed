"""Clients of an account that is nearly spent, at both nodes at once: who can pay is served, and nobody for nothing.

What is asked of such an account is written down before it is asked. So a 402 is untrue where the account could have
paid even if all that was under way meanwhile had come to its end.
"""
import threading
import time

import clients

SETTLES_S = 0.5  # what a response did not use is free again after this time
PURSE = "purse"
HELD = "funds_held_elsewhere"
PAID_MIN, PAID_MAX = 1_000_000, 6_000_000
RANGE_MAX = 300_000


class Entry:
    """One request: what it needs, and what of it has arrived."""

    def __init__(self, need):
        self.need, self.begun, self.ended, self.arrived = need, time.monotonic(), None, 0

    def most(self, since):
        """What it may take of the balance, for somebody who asked at `since`."""
        return self.need if self.ended is None or self.ended > since - SETTLES_S else self.arrived


class Purses:
    def __init__(self, load):
        self.load, self.lock, self.entries = load, threading.Lock(), {}

    def begin(self, name, need):
        entry = Entry(need)
        with self.lock:
            self.entries.setdefault(name, []).append(entry)
        return entry

    def could_pay(self, name, entry, paid):
        """Whether the account could have paid for a request that was refused, whatever was under way."""
        with self.lock:
            others = sum(other.most(entry.begun) for other in self.entries[name] if other is not entry)
        return others + entry.need <= paid


def purse(client):
    """One file or range, with 402 where the account cannot pay."""
    load, name = client.soak, client.account(PURSE)
    path = client.random.choice((load.tiny, *load.small, load.large[0]))
    first, length = 0, load.sizes[path]
    if path in load.large:
        length = client.random.randrange(1, RANGE_MAX)
        first = client.random.randrange(load.sizes[path] - length)
    paid = load.paid[name]  # more may be paid meanwhile, never less
    entry = load.purses.begin(name, length)
    connection = client.response = None
    try:
        connection = client.connect()
        entry.arrived = client.fetch(connection, client.signer.target(name, path, jti=client.jti()), expect=206,
                                     range_of=f"{first}-{first + length - 1}")
    except clients.Refused as error:
        if error.status == 503 and HELD in str(error):
            load.complain_held(client, entry.begun)
            return
        if error.status != 402:
            raise
        if load.purses.could_pay(name, entry, paid):
            load.complain_unpaid(client, entry.begun, f"402 for {length} bytes of {name}, which can pay: "
                                 f"{paid} paid, {sum(other.arrived for other in load.purses.entries[name])} arrived")
        time.sleep(0.1)
    except clients.Lost:
        entry.arrived = client.response.acknowledged if client.response is not None else 0
        raise
    finally:
        entry.ended = time.monotonic()
        if connection is not None:
            connection.close()
