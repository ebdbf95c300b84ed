#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What listeners who never stop cost the journal and Redis, in counts for a second.

    bench/listeners.py [--program build/tollgate] [--listeners 1500] [--rate 16000] [--seconds 20]

Starts a redis-server and a node, opens an account for each listener, and lets each receive one file at the rate of its
link. After a warm-up it counts, over --seconds: commands that Redis has processed, by name (INFO commandstats, which
counts those inside functions, too), posts, and the journal's records and bytes. Everything is on loopback and in a
directory that is removed.
"""
import argparse
import base64
import collections
import hashlib
import hmac
import http.client
import json
import pathlib
import re
import resource
import select
import shutil
import socket
import subprocess
import tempfile
import time

ISSUER = "shop"
WARM_UP_S = 12.0


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Node:
    def __init__(self, program, directory, redis_port):
        self.port, self.directory = free_port(), directory
        self.socket = f"{directory}/state/admin.sock"
        (directory / "media").mkdir()
        (directory / "media" / "file").write_bytes(bytes(256 << 20))
        issuers = subprocess.run([program, "key", "generate", "--issuer", ISSUER, "--alg", "HS256", "--directory",
                                  directory], check=True, capture_output=True, text=True).stdout
        self.iss = re.search(r"iss: *\"?([^\"\n]+)", issuers).group(1).strip()
        self.key = json.loads(next(directory.glob("*.jwks")).read_text())["keys"][0]
        configuration = directory / "tollgate.yaml"
        configuration.write_text(f"listen: 127.0.0.1:{self.port}\nmedia_root: {directory}/media\n"
                                 f"state_dir: {directory}/state\nredis: 127.0.0.1:{redis_port}\nnode: bench\n"
                                 + issuers)
        self.log = open(directory / "node.log", "wb")
        self.process = subprocess.Popen([program, "serve", "--config", configuration], stderr=self.log)

    def admin(self, method, path, body=None):
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, body=None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except OSError:
            return 0, None
        finally:
            connection.close()

    def token(self, account, rate):
        claims = {"iss": self.iss, "exp": int(time.time()) + 3600, "cdniuc": "exact:/file", "acct": account,
                  "jti": f"j-{account}", "rate": rate}
        head = {"alg": "HS256", "kid": self.key["kid"]}
        signed = encode(json.dumps(head).encode()) + "." + encode(json.dumps(claims).encode())
        secret = base64.urlsafe_b64decode(self.key["k"] + "==")
        return signed + "." + encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())


def ask_redis(port, command):
    """The reply to a command that is answered by one bulk string."""
    with socket.create_connection(("127.0.0.1", port)) as redis, redis.makefile("rb") as replies:
        redis.sendall(command + b"\r\n")
        return replies.read(int(replies.readline()[1:])).decode()


def commands(port):
    """How often Redis has processed each command, those inside functions included."""
    return collections.Counter({name: int(calls) for name, calls in
                                re.findall(r"cmdstat_([^:]+):calls=(\d+)", ask_redis(port, b"INFO commandstats"))})


def read_all(poll, sockets, until):
    """Takes what arrives, until that time; returns how many bytes that was."""
    received = 0
    while time.monotonic() < until:
        for descriptor, _ in poll.poll(0.1):
            data = sockets[descriptor].recv(65536)
            received += len(data)
            if not data:
                poll.unregister(descriptor)
    return received


def measure(arguments, directory):
    port = free_port()
    redis = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
                              "yes", "--dir", directory, "--maxmemory-policy", "noeviction"],
                             stdout=subprocess.DEVNULL)
    node = None
    try:
        node = Node(arguments.program, directory, port)
        deadline = time.monotonic() + 30
        while node.admin("GET", "/v1/health")[0] != 200:
            if time.monotonic() > deadline:
                raise SystemExit("the node is not ready:\n" + (directory / "node.log").read_text())
            time.sleep(0.1)
        sockets, poll = {}, select.epoll()
        for i in range(arguments.listeners):
            status, answer = node.admin("PUT", f"/v1/accounts/{ISSUER}/a{i}",
                                        {"plan": "prepaid", "bytes": 1 << 40, "transaction": f"open-{i}"})
            if status not in (200, 201):
                raise SystemExit(f"account a{i} is not opened: {status} {answer}")
        began = time.monotonic()
        for i in range(arguments.listeners):
            listener = socket.create_connection(("127.0.0.1", node.port))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            listener.sendall(f"GET /file?URISigningPackage={node.token(f'a{i}', arguments.rate)} HTTP/1.1\r\n"
                             f"Host: 127.0.0.1:{node.port}\r\n\r\n".encode())
            sockets[listener.fileno()] = listener
            poll.register(listener.fileno(), select.EPOLLIN)
            read_all(poll, sockets, began + (i + 1) * 10.0 / arguments.listeners)
        read_all(poll, sockets, time.monotonic() + WARM_UP_S)
        before, redis_before, start = node.admin("GET", "/v1/health")[1]["ledger"], commands(port), time.monotonic()
        received = read_all(poll, sockets, start + arguments.seconds)
        after, redis_after, seconds = node.admin("GET", "/v1/health")[1]["ledger"], commands(port), \
            time.monotonic() - start
        print(f"{arguments.listeners} listeners, {received / seconds / 1e6:.1f} MB/s, for {seconds:.1f} s; each second:")
        redis_after.subtract(redis_before)
        print(f"  Redis commands {redis_after.total() / seconds:10.0f}")
        for name, calls in redis_after.most_common():
            if calls / seconds >= 0.5:
                print(f"    {name:15}{calls / seconds:7.0f}")
        for name in ("posts", "records_written", "bytes_written", "syncs"):
            print(f"  {name:15}{(after[name] - before[name]) / seconds:9.0f}")
    finally:
        for process in (node.process if node else None, redis):
            if process is not None:
                process.kill() # the node would wait for its listeners
                process.wait(20)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--program", default="build/tollgate")
    parser.add_argument("--listeners", type=int, default=1500)
    parser.add_argument("--rate", type=int, default=16000, help="bytes per second of each")
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tollgate-listeners-"))
    try:
        measure(arguments, directory)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
