"""The soak's clients, one thread each: every kind of link, and for each response what its client knows of the bill.

A response's bill lies between two figures. At least what the client has read: the closing mark tells the whole, and
nothing is lost but what was on its way when the node cut the response (the sockets' buffers), and what a killed node had
not marked yet (a second, and the 100 ms in which a worker reads acknowledgements). At most what the client's kernel has
acknowledged, which TCP_INFO reports for its own end of the connection.
"""
import ctypes
import json
import os
import random
import socket
import ssl
import struct
import threading
import time

RECEIVE_BUFFER = 64 * 1024
# What arrives when the node cuts a response: two segments of the loopback, of 64 KiB each, whose acknowledgement a kernel
# may hold back, and what comes between the node's last look and its reset.
CUT_BYTES = 3 * 64 * 1024
SETTLED_LOOKS = 3  # 30 ms apart, in which nothing came: a node that shares a busy machine may pause for two of them
MARK_S = 1.15  # the ledger's promise: what was acknowledged since the last interim mark may be lost by a kill
TIMEOUT_S = 20.0
RATE_BYTES_PER_S = 8e6  # of a client that has no other: the machine is shared by node, Redis and clients
BYTES_RECEIVED_OFFSET = 128  # of tcpi_bytes_received in struct tcp_info
SO_ATTACH_FILTER = 26
DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0
DROP_ALL_PROGRAM = struct.pack("HL", 1, ctypes.addressof(DROP_ALL))


def bytes_received(peer):
    return struct.unpack_from("<Q", peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), BYTES_RECEIVED_OFFSET)[0]


def account(row, plan):
    return f"{row.replace(' ', '-').lower()}-{plan}"


class Response:
    """One response's body: what was read of it, when, and what may be billed for it."""

    def __init__(self, row, node, name=""):
        self.name, self.row, self.node, self.begun, self.ended = name, row, node, time.monotonic(), None
        self.samples, self.read, self.acknowledged, self.is_cut = [], 0, 0, False

    def took(self, count):
        self.read += count
        self.samples.append((time.monotonic(), self.read))

    def read_before(self, moment):
        return max((count for at, count in self.samples if at <= moment), default=0)

    def least(self, kills):
        """What is billed at the least, with the node killed at these moments."""
        last = self.samples[-1][0] if self.samples else self.begun
        for kill in kills:
            if self.begun <= kill and last >= kill - MARK_S:
                return max(0, min(self.read, self.read_before(kill - MARK_S)) - 2 * RECEIVE_BUFFER)
        return max(0, self.read - (CUT_BYTES if self.is_cut else 0))


def reason(text):
    """The reason in the body of a refusal; "" where there is none."""
    try:
        return json.loads(text)["reason"]
    except (ValueError, KeyError, TypeError):
        return ""


class Refused(Exception):
    """An answer other than the one that was asked for."""

    def __init__(self, status, text):
        super().__init__(f"{status} {text}")
        self.status = status


class Lost(Exception):
    """No connection, or one that ended before its answer was whole."""


class Connection:
    """One connection to the node, plain or TLS, that knows how much of it was heads."""

    def __init__(self, load, port, tls=None):
        self.load, self.tls = load, tls is not None
        try:
            self.peer = socket.socket()
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self.peer.settimeout(TIMEOUT_S)
            self.peer.connect(("127.0.0.1", port))
            self.stream = self.peer if tls is None else tls.wrap_socket(self.peer, server_hostname="media.example")
            if tls is not None:
                self.peer = self.stream
        except OSError as error:
            self.close()
            raise Lost(f"connect: {error}") from error
        self.buffer = b""

    def ask(self, target, range_of="", method="GET", headers=""):
        span = f"Range: bytes={range_of}\r\n" if range_of else ""
        request = f"{method} {target} HTTP/1.1\r\nHost: media.example\r\n{span}{headers}\r\n"
        try:
            self.before = bytes_received(self.peer)
            self.peer.sendall(request.encode())
            while b"\r\n\r\n" not in self.buffer:
                data = self.peer.recv(16384)
                if not data:
                    raise Lost("the connection ended before an answer")
                self.buffer += data
        except OSError as error:
            raise Lost(f"awaiting an answer: {error}") from error
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.head_bytes = len(head) + 4
        lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return int(lines[0].split()[1]), int(fields.get("content-length", "0")), fields

    def body(self, response, length, rate=None, into=None):
        """Reads `length` bytes of the body; at `rate` bytes a second where it is given. Less where the load says that
        all connections are to be reset."""
        started, taken, resets = time.monotonic(), 0, self.load.reset_count
        while taken < length and self.load.reset_count == resets:
            if self.load.stalled.is_set():
                time.sleep(0.05)
                continue
            if not self.buffer:
                try:
                    self.buffer = self.peer.recv(min(65536, length - taken))
                except OSError as error:
                    raise Lost(f"within a body: {error}") from error
                if not self.buffer:
                    raise Lost("the connection ended within a body")
            part, self.buffer = self.buffer[:length - taken], self.buffer[length - taken:]
            taken += len(part)
            response.took(len(part))
            if into is not None:
                into += part
            ahead = taken / rate - (time.monotonic() - started) if rate else 0
            if ahead > 0:
                time.sleep(min(ahead, 0.2))

    def acknowledged(self, response):
        """The most that the kernel has acknowledged of the body: everything that came, less the head. Over TLS that
        has the records' overhead in it. One more byte where a FIN has come."""
        try:
            return max(response.read, bytes_received(self.peer) - self.before - (0 if self.tls else self.head_bytes))
        except OSError:
            return response.read + 2 * RECEIVE_BUFFER

    def settle(self, response):
        """Stops reading, and waits until nothing more arrives, so that what is acknowledged is known. An acknowledgement that
        the kernel holds back, for 40 ms at least, would be lost with the reset, so it is sent now. A node that waited, for
        its Redis, may send again in the moment before the reset: the kernel takes nothing more from the last look on."""
        seen, looks = -1, 0
        try:
            for _ in range(100):
                self.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                now = self.acknowledged(response)
                looks = looks + 1 if now == seen else 0
                if looks == SETTLED_LOOKS:
                    break
                seen = now
                time.sleep(0.03)
            self.peer.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, DROP_ALL_PROGRAM)
        except OSError:
            return
        time.sleep(0.005)  # what the kernel was taking in just then

    def close(self, reset=False):
        try:
            if reset:
                self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.peer.close()
        except OSError:
            pass


class Client(threading.Thread):
    """Asks again and again in one way; `way` is a generator function that takes the client."""

    def __init__(self, soak, node, name, way, seed):
        super().__init__(name=name, daemon=True)
        self.soak, self.node, self.way, self.random = soak, node, way, random.Random(seed)
        self.signer, self.number = soak.signer, 0
        self.response = None  # the last one that had a body

    def run(self):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self.soak.client_nice)
        while not self.soak.over.is_set():
            if self.soak.paused.is_set():
                self.soak.idle.add(self.name)
                time.sleep(0.05)
                continue
            self.soak.idle.discard(self.name)
            begun = time.monotonic()
            try:
                self.way(self)
            except (Refused, Lost) as error:
                self.soak.complain(self, begun, error)
                time.sleep(0.2)
            time.sleep(self.random.uniform(0.01, 0.05))
        self.soak.idle.add(self.name)

    def jti(self):
        self.number += 1
        return f"{self.name}-{self.soak.seed}-{self.number}"

    def account(self, plan="postpaid"):
        """The account of the fault that is now. Its downloads count there, also after the next has begun."""
        now = self.soak.row
        self.row = self.soak.row_of(now, plan)
        return account(now, plan)

    def connect(self, tls=None):
        return Connection(self.soak, self.node.port if tls is None else self.node.port_tls, tls)

    def fetch(self, connection, target, expect=200, range_of="", stop_at=None, rate=None, **more):
        """One request: its body is read whole, or up to `stop_at`, and then the connection is reset. Raises Refused
        where the status is another than `expect`."""
        response, rate = Response(self.row, self.node, self.name + target.partition('?')[0]), rate or self.soak.client_rate
        self.response = None
        status, length, fields = connection.ask(target, range_of, **more)
        self.soak.count(status)
        if status not in (200, 206):
            error = Response(self.row, self.node)  # read, so that the connection can go on; free, so that nobody keeps it
            text = bytearray()
            connection.body(error, length, into=text)
            if status != expect:
                raise Refused(status, f"{target.partition('?')[0]} after {time.monotonic() - response.begun:.1f} s: {reason(text)}")
            if fields.get("connection") == "close":
                connection.close()
            return 0
        self.response = response
        self.soak.responses.append(response)
        try:
            wanted = length if stop_at is None else min(stop_at, length)
            connection.body(response, wanted, rate)
            if response.read < length:
                connection.settle(response)
        except Lost:
            response.is_cut = True
            raise
        finally:
            response.acknowledged = length if response.read == length else min(length, connection.acknowledged(response))
            response.ended = time.monotonic()
            if response.read < length:
                connection.close(reset=True)
        if response.read < wanted:
            raise Lost("reset by this client")
        if status != expect:
            raise Refused(status, "where another answer was expected")
        return response.read


# ---- the ways


def whole(client):
    """A link for each download, each on a connection of its own."""
    path = client.random.choice(client.soak.small)
    account = client.account()
    connection = client.connect()
    client.fetch(connection, client.signer.target(account, path, jti=client.jti()))
    connection.close()


def prepaid(client):
    path = client.random.choice(client.soak.small + client.soak.large)
    connection = client.connect()
    client.fetch(connection, client.signer.target(client.account("prepaid"), path, jti=client.jti()))
    connection.close()


def again(client):
    """One link on one connection, again and again; a HEAD and a 304 at the end, which are free."""
    target = client.signer.target(client.account(), client.random.choice(client.soak.small))
    connection = client.connect()
    for _ in range(10):
        client.fetch(connection, target)
    status, _, fields = connection.ask(target, method="HEAD")
    if status == 200:
        client.fetch(connection, target, expect=304, headers=f"If-None-Match: {fields['etag']}\r\n")
    connection.close()


def seek(client):
    """A player: ranges of one file, here and there."""
    path = client.soak.large[0]
    target = client.signer.target(client.account("prepaid"), path, jti=client.jti())
    connection = client.connect()
    for _ in range(6):
        first = client.random.randrange(client.soak.sizes[path] - 300000)
        client.fetch(connection, target, expect=206, range_of=f"{first}-{first + client.random.randrange(1, 300000)}")
    connection.close()


def abort(client):
    """Goes in the middle, by a reset."""
    path = client.random.choice(client.soak.large)
    connection = client.connect()
    client.fetch(connection, client.signer.target(client.account(), path, jti=client.jti()),
                 stop_at=client.random.randrange(1, client.soak.sizes[path] // 4))
    connection.close(reset=True)


def slow(client):
    connection = client.connect()
    client.fetch(connection, client.signer.target(client.account(), client.soak.small[-1], jti=client.jti()), rate=4e5)
    connection.close()


def once(client):
    """A link for one use, taken up again after a reset, and used up for whoever asks for a second use."""
    path, account = client.soak.large[0], client.account("prepaid")
    target = client.signer.target(account, path, jti=client.jti(), max_uses=1, resume=600)
    connection = client.connect()
    got = client.fetch(connection, target, stop_at=client.random.randrange(1, client.soak.sizes[path] // 2))
    connection.close(reset=True)
    connection = client.connect()
    client.fetch(connection, target, expect=206, range_of=f"{got}-")
    connection.close()


def rated(client):
    connection = client.connect()
    client.fetch(connection, client.signer.target(client.account("prepaid"), client.soak.small[-1], jti=client.jti(),
                                                  rate=1500000, max_conns=4))
    connection.close()


def bounded(client):
    """max_bytes for one download of the file: a second one is refused."""
    path = client.soak.small[0]
    target = client.signer.target(client.account(), path, jti=client.jti(), max_bytes=client.soak.sizes[path])
    connection = client.connect()
    client.fetch(connection, target)
    client.fetch(connection, target, expect=410)
    connection.close()


def paced(client):
    connection = client.connect()
    client.fetch(connection, client.signer.target(client.account(), client.soak.small[-1], jti=client.jti(), pace=20))
    connection.close()


def album(client):
    """A link for a directory, by the Authorization field."""
    token = client.signer.token(client.account(), "prefix:/", jti=client.jti())
    connection = client.connect()
    for path in client.soak.small:
        client.fetch(connection, path, headers=f"Authorization: Bearer {token}\r\n")
    connection.close()


def secure(version, stops):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version

    def way(client):
        path = client.random.choice(client.soak.large if stops else client.soak.small)
        connection = client.connect(context)
        client.fetch(connection, client.signer.target(client.account(), path, jti=client.jti()),
                     stop_at=client.random.randrange(1, client.soak.sizes[path] // 4) if stops else None)
        connection.close(reset=stops)
    return way


def witness(client):
    """One download of four seconds at a time on an account of the client's own, so that nothing else makes up for what a
    fault took of it."""
    path = client.soak.large[-1]
    length = int(4 * client.soak.client_rate)
    connection = client.connect()
    client.fetch(connection, client.signer.target(client.account(client.name), path, jti=client.jti()), expect=206,
                 range_of=f"0-{length - 1}")
    connection.close()


def probe(client):
    """The smallest download by a link of its own, to tell when the node serves."""
    connection = client.connect()
    connection.peer.settimeout(4.0)
    client.fetch(connection, client.signer.target(client.account(), client.soak.tiny, jti=client.jti()))
    connection.close()
    client.soak.served(client.node)


WAYS = {
    "whole": whole, "whole-2": whole, "prepaid": prepaid, "prepaid-2": prepaid, "again": again, "seek": seek,
    "seek-2": seek, "abort": abort, "slow": slow, "once": once, "once-2": once, "rated": rated, "bounded": bounded,
    "paced": paced, "album": album, "tls-1.2": secure(ssl.TLSVersion.TLSv1_2, False),
    "tls-1.2-abort": secure(ssl.TLSVersion.TLSv1_2, True), "tls-1.3": secure(ssl.TLSVersion.TLSv1_3, False),
    "tls-1.3-abort": secure(ssl.TLSVersion.TLSv1_3, True), "probe": probe,
}
