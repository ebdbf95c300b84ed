#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What listeners who never stop cost the journal and Redis, in counts for a second; and what a download costs.

    bench/listeners.py [--program build/tollgate] [--listeners 1500] [--rate 16000] [--seconds 20] [--terms]
                       [--setting "post_interval_ms: 60000"]

Starts a redis-server and a node, and opens an account for each listener. First it counts what the node costs that has
nothing to do, then what a download of 64 KiB costs by a link of its own, which each account asks for once (with
--terms, a link with max_uses). Then it lets each account receive one file at the rate of its link, and counts, after a
warm-up and over --seconds: commands that Redis has processed, by name (INFO commandstats, which counts those inside
functions, too), posts, and the journal's records and bytes. It also reads how much time Redis' main thread and the
node took of a processor, which depends on the machine, and prints the last three as options of bench/plan.py.
Everything is on loopback and in a directory that is removed.
"""
import argparse
import base64
import collections
import hashlib
import hmac
import http.client
import json
import os
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
IDLE_S = 5.0
POSTED_S = 3.0  # for what is told and given back after the last post
SMALL = 65536
LEDGER = ("posts", "records_written", "bytes_written", "syncs")
# As bench/plan.py calls them, and by the names below.
PLANNED = {"commands": "Redis commands", "redis-us": "Redis' CPU, us", "redis-bytes": "Redis' bytes",
           "node-us": "the node's CPU, us", "records": "records_written", "journal-bytes": "bytes_written"}


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
    def __init__(self, program, directory, redis_port, settings):
        self.port, self.directory = free_port(), directory
        self.socket = f"{directory}/state/admin.sock"
        (directory / "media").mkdir()
        (directory / "media" / "file").write_bytes(bytes(256 << 20))
        (directory / "media" / "small").write_bytes(bytes(SMALL))
        issuers = subprocess.run([program, "key", "generate", "--issuer", ISSUER, "--alg", "HS256", "--directory",
                                  directory], check=True, capture_output=True, text=True).stdout
        self.iss = re.search(r"iss: *\"?([^\"\n]+)", issuers).group(1).strip()
        self.key = json.loads(next(directory.glob("*.jwks")).read_text())["keys"][0]
        configuration = directory / "tollgate.yaml"
        configuration.write_text(f"listen: 127.0.0.1:{self.port}\nmedia_root: {directory}/media\n"
                                 f"state_dir: {directory}/state\nredis: 127.0.0.1:{redis_port}\nnode: bench\n"
                                 + issuers + "".join(line + "\n" for line in settings))
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

    def token(self, account, path, **terms):
        claims = {"iss": self.iss, "exp": int(time.time()) + 3600, "cdniuc": f"exact:{path}", "acct": account,
                  "jti": f"{path[1:]}-{account}", **terms}
        head = {"alg": "HS256", "kid": self.key["kid"]}
        signed = encode(json.dumps(head).encode()) + "." + encode(json.dumps(claims).encode())
        secret = base64.urlsafe_b64decode(self.key["k"] + "==")
        return signed + "." + encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())


def ask_redis(port, command):
    """The reply to a command that is answered by one bulk string."""
    with socket.create_connection(("127.0.0.1", port)) as redis, redis.makefile("rb") as replies:
        redis.sendall(command + b"\r\n")
        return replies.read(int(replies.readline()[1:])).decode()


def field(info, name):
    return float(re.search(rf"^{name}:([0-9.]+)", info, re.MULTILINE).group(1))


def redis_us(info):
    return 1e6 * (field(info, "used_cpu_user_main_thread") + field(info, "used_cpu_sys_main_thread"))


class Costs:
    """What Redis and the node have done until now."""

    def __init__(self, node, redis_port):
        info = ask_redis(redis_port, b"INFO everything")
        self.at = time.monotonic()
        self.commands = collections.Counter({name: int(calls) for name, calls in
                                             re.findall(r"cmdstat_([^:]+):calls=(\d+)", info)})
        ledger = node.admin("GET", "/v1/health")[1]["ledger"]
        cpu = pathlib.Path(f"/proc/{node.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        self.sums = {name: ledger[name] for name in LEDGER}
        self.sums["Redis commands"] = self.commands.total()
        self.sums["Redis' CPU, us"] = redis_us(info)
        self.sums["Redis' bytes"] = field(info, "total_net_input_bytes") + field(info, "total_net_output_bytes")
        self.sums["the node's CPU, us"] = 1e6 * sum(map(int, cpu)) / os.sysconf("SC_CLK_TCK")

    def since(self, before):
        """The differences, and the seconds between."""
        self.commands.subtract(before.commands)
        return {name: self.sums[name] - before.sums[name] for name in self.sums}, self.at - before.at


def report(costs, commands, count):
    """Prints costs, divided by a count of seconds or of downloads."""
    for name in ("Redis commands", *(name for name in costs if name != "Redis commands")):
        print(f"  {name:18}{costs[name] / count:12.{0 if costs[name] / count >= 100 else 1}f}")
        if name == "Redis commands":
            for command, calls in commands.most_common():
                if calls / count >= 0.5:
                    print(f"    {command:15}{calls / count:7.{0 if calls / count >= 100 else 1}f}")


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


def await_redis(port):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            ask_redis(port, b"INFO cpu")
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("redis-server does not answer")


def await_ready(node, directory):
    deadline = time.monotonic() + 30
    while node.admin("GET", "/v1/health")[0] != 200:
        if time.monotonic() > deadline:
            raise SystemExit("the node is not ready:\n" + (directory / "node.log").read_text())
        time.sleep(0.1)


def open_accounts(node, count):
    for i in range(count):
        status, answer = node.admin("PUT", f"/v1/accounts/{ISSUER}/a{i}",
                                    {"plan": "prepaid", "bytes": 1 << 40, "transaction": f"open-{i}"})
        if status not in (200, 201):
            raise SystemExit(f"account a{i} is not opened: {status} {answer}")


def download_all(node, count, terms):
    """One download for each account, and whatever comes of it."""
    for i in range(count):
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=20)
        connection.request("GET", f"/small?URISigningPackage={node.token(f'a{i}', '/small', **terms)}")
        answer = connection.getresponse()
        if answer.status != 200 or len(answer.read()) != SMALL:
            raise SystemExit(f"the download of a{i} is answered {answer.status}")
        connection.close()
    while node.admin("GET", "/v1/health")[1]["ledger"]["records_unposted"] > 0:
        time.sleep(0.2)
    time.sleep(POSTED_S)


def listen_all(node, count, rate):
    """Begins to listen, over 10 seconds; returns the sockets."""
    sockets, poll, began = {}, select.epoll(), time.monotonic()
    for i in range(count):
        listener = socket.create_connection(("127.0.0.1", node.port))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        listener.sendall(f"GET /file?URISigningPackage={node.token(f'a{i}', '/file', rate=rate)} HTTP/1.1\r\n"
                         f"Host: 127.0.0.1:{node.port}\r\n\r\n".encode())
        sockets[listener.fileno()] = listener
        poll.register(listener.fileno(), select.EPOLLIN)
        read_all(poll, sockets, began + (i + 1) * 10.0 / count)
    read_all(poll, sockets, time.monotonic() + WARM_UP_S)
    return sockets, poll


def options(what, costs):
    """The costs of one, as options of bench/plan.py."""
    return " ".join(f"--{what}-{option} {max(0, costs[name]):.4g}" for option, name in PLANNED.items())


def alone_us(port):
    """What Redis takes in a second that nobody asks it anything."""
    before = redis_us(ask_redis(port, b"INFO cpu"))
    time.sleep(IDLE_S)
    return (redis_us(ask_redis(port, b"INFO cpu")) - before) / IDLE_S


def measure(arguments, node, redis_port, alone):
    before = Costs(node, redis_port)
    time.sleep(IDLE_S)
    after = Costs(node, redis_port)
    costs, seconds = after.since(before)
    idle = {name: costs[name] / seconds for name in costs}
    print(f"a node without listeners; each second, of which {alone:.0f} us are Redis' alone:")
    report(costs, after.commands, seconds)
    of_node = {**idle, "Redis' CPU, us": idle["Redis' CPU, us"] - alone}

    open_accounts(node, arguments.listeners)
    time.sleep(POSTED_S)
    before = Costs(node, redis_port)
    download_all(node, arguments.listeners, {"max_uses": 3} if arguments.terms else {})
    after = Costs(node, redis_port)
    costs, seconds = after.since(before)
    costs = {name: costs[name] - idle[name] * seconds for name in costs}
    download = {name: costs[name] / arguments.listeners for name in costs}
    print(f"{arguments.listeners} downloads{' by links with terms' if arguments.terms else ''}; each, beyond that:")
    report(costs, after.commands, arguments.listeners)

    sockets, poll = listen_all(node, arguments.listeners, arguments.rate)
    before = Costs(node, redis_port)
    received = read_all(poll, sockets, before.at + arguments.seconds)
    after = Costs(node, redis_port)
    costs, seconds = after.since(before)
    print(f"{arguments.listeners} listeners, {received / seconds / 1e6:.1f} MB/s, for {seconds:.1f} s; each second:")
    report(costs, after.commands, seconds)
    listener = {name: (costs[name] / seconds - idle[name]) / arguments.listeners for name in costs}
    print("python3 bench/plan.py", options("node", of_node), options("listener", listener), options("download", download))


def run(arguments, directory):
    port = free_port()
    redis = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
                              "yes", "--dir", directory, "--maxmemory-policy", "noeviction"],
                             stdout=subprocess.DEVNULL)
    node = None
    try:
        await_redis(port)
        alone = alone_us(port)
        node = Node(arguments.program, directory, port, arguments.setting)
        await_ready(node, directory)
        measure(arguments, node, port, alone)
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
    parser.add_argument("--setting", action="append", default=[], metavar="LINE", help="a line of the configuration")
    parser.add_argument("--terms", action="store_true", help="the links of the downloads have max_uses")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tollgate-listeners-"))
    try:
        run(arguments, directory)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
