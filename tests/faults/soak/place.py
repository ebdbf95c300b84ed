"""What the soak runs: a redis-server, a node beside it, their stepped clock, and who signs the links."""
import base64
import datetime
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time

SEGMENT_BYTES = 512 * 1024  # small, so that a full disk is met within seconds
WINDOWS_MAX = 256  # as many downloads at once as such a segment can hold
DISK_BYTES = 512 * 1024 * 1024
ISSUER = "shop"


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def fill(file):
    """Takes all room of the file's disk."""
    size, step = 0, 64 * 1024 * 1024
    while step >= 4096:
        try:
            os.posix_fallocate(file.fileno(), size, step)
            size += step
        except OSError:
            step //= 2


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Signer:
    """Signs links with the issuer's HS256 key. `iat` is left out: the node's clock steps, ours does not."""

    def __init__(self, key_file):
        key = json.loads(pathlib.Path(key_file).read_text())["keys"][0]
        self.key = base64.urlsafe_b64decode(key["k"] + "==")
        self.head = encode(json.dumps({"alg": "HS256", "kid": key["kid"]}).encode())

    def token(self, account, container, **claims):
        claims = {"iss": ISSUER, "exp": int(time.time()) + 3600, "acct": account, "cdniuc": container} | claims
        text = self.head + "." + encode(json.dumps(claims).encode())
        return text + "." + encode(hmac.new(self.key, text.encode(), hashlib.sha256).digest())

    def target(self, account, path, **claims):
        return path + "?URISigningPackage=" + self.token(account, "exact:" + path, **claims)


def ask(port, *words, timeout=5.0):
    """The answer to one command as text, its first 64 KiB, or None where nobody answers."""
    data = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in map(str.encode, words))
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as peer:
            peer.settimeout(timeout)
            peer.sendall(data)
            return peer.recv(65536).decode(errors="replace")
    except OSError:
        return None


class Redis:
    """A redis-server of the soak's own, with an append-only file as the product asks for one."""

    def __init__(self, directory, environment, *words):
        self.directory, self.environment, self.port, self.words = directory, environment, free_port(), words
        os.makedirs(directory)
        self.start()

    def start(self, master=None):
        """As a master, or as a replica of the Redis at the port `master`."""
        role = [] if master is None else ["--replicaof", "127.0.0.1", str(master)]
        with open(f"{self.directory}/log", "ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory, "--save", "",
                 "--appendonly", "yes", "--maxmemory-policy", "noeviction", *self.words, *role],
                stdout=log, stderr=log, env=self.environment)

    def command(self, *words, timeout=5.0):
        return ask(self.port, *words, timeout=timeout)

    def answers(self):
        return self.command("PING", timeout=0.5) == "+PONG\r\n"

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Clock:
    """The step of a wall clock, which the processes with its environment share; see tests/wall_clock.c."""

    def __init__(self, directory, name="clock"):
        source = pathlib.Path(__file__).parents[2] / "wall_clock.c"
        library = f"{directory}/wall_clock.so"
        if not os.path.exists(library):
            subprocess.run(["gcc", "-O1", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, source], check=True)
        self.file, self.seconds = f"{directory}/{name}", 0
        self.set(0)
        self.environment = os.environ | {"LD_PRELOAD": library, "CLOCK_STEP_FILE": self.file}

    def set(self, seconds):
        self.seconds = seconds
        with open(self.file, "r+b" if os.path.exists(self.file) else "w+b") as file:
            file.write(struct.pack("<q", int(seconds * 1e9)))


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Node:
    """`tollgate serve`, with its journal on the disk that fills. Its log is one file over all starts."""

    def __init__(self, program, directory, media, redis, disk, environment, name="soak", beside=None, **settings):
        """`redis` is an address. `beside` another node: this one has its keys and its certificate."""
        self.program, self.directory, self.environment, self.name = program, directory, environment, name
        self.port, self.port_tls, self.log = free_port(), free_port(), f"{directory}/{name}.log"
        self.admin_socket, self.configuration = f"{disk}/state/admin.sock", f"{directory}/{name}.yaml"
        if beside is None:
            self.make_keys()
        else:
            self.issuers, self.key_file, self.certificate = beside.issuers, beside.key_file, beside.certificate
        settings = {
            "listen": f"127.0.0.1:{self.port}", "listen_tls": f"127.0.0.1:{self.port_tls}",
            "certificates": self.certificate, "public_origin": "http://media.example", "media_root": media,
            "state_dir": f"{disk}/state", "redis": redis, "workers": 2, "tokens_max": 512, "windows_max": WINDOWS_MAX,
            "journal_segment_bytes": SEGMENT_BYTES, "node": name,
        } | settings
        with open(self.configuration, "w", encoding="utf-8") as file:
            for key, value in settings.items():
                file.write(f"{key}: {json.dumps(value)}\n")
            file.write(self.issuers)
        self.start()

    def make_keys(self):
        directory = self.directory
        os.makedirs(f"{directory}/keys")
        self.issuers = subprocess.run([self.program, "key", "generate", "--issuer", ISSUER, "--alg", "HS256", "--directory",
                                       f"{directory}/keys"],
                                      env={**self.environment, "TOLLGATE_CONFIG": self.configuration},
                                      check=True, capture_output=True, text=True).stdout
        private = next(pathlib.Path(f"{directory}/keys").glob("*-private.jwks"), None)
        self.key_file = private or next(pathlib.Path(f"{directory}/keys").glob("*.jwks"))
        self.certificate = f"{directory}/media.example.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "30", "-subj", "/CN=media.example", "-addext", "subjectAltName=DNS:media.example",
                        "-keyout", f"{directory}/key.pem", "-out", self.certificate], check=True, capture_output=True)
        with open(self.certificate, "ab") as chain:
            chain.write(pathlib.Path(f"{directory}/key.pem").read_bytes())
        os.chmod(self.certificate, 0o600)

    def start(self):
        self.killed = False
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([self.program, "serve", "--config", self.configuration], stderr=log,
                                            env=self.environment)

    def admin(self, method, path, body=None, timeout=10.0):
        """Status and JSON of one request to the operators' socket; status 0 where nobody answers."""
        connection = UnixConnection(self.admin_socket, timeout)
        try:
            connection.request(method, path, body=None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 0, error
        finally:
            connection.close()

    def is_ready(self):
        return self.admin("GET", "/v1/health", timeout=2.0)[0] == 200

    def health(self):
        """What it says of itself; None where it does not, or serves nobody yet."""
        told = self.admin("GET", "/v1/health", timeout=2.0)[1]
        return told if isinstance(told, dict) and "ledger" in told else None

    def is_granting(self):
        told = self.health()
        return told is not None and told["ready"] and told["granting"]

    def is_whole(self):
        """It grants, and Redis lacks nothing that it waits for."""
        told = self.health()
        return told is not None and told["granting"] and not told["ledger"]["data_lost"]

    def billed(self, account):
        """Bytes billed to the account, all days and files, once all that is known here is in Redis."""
        day = datetime.timedelta(days=1)
        today = datetime.datetime.now(datetime.timezone.utc).date()
        status, answer = self.admin("GET", f"/v1/accounts/{ISSUER}/{account}/usage?from={today - day}&to={today + day}", timeout=60)
        if status != 200 or answer.get("next") is not None:
            raise RuntimeError(f"usage of {account} at {self.name}: {status} {answer}")
        return answer["totals"]["bytes"]

    def descriptors(self):
        """What its descriptors are open on, a name each; a journal segment and a served file go by their directory.
        Of segments up to three are open: the present one, the next, and the one that the poster has come to."""
        folder, found = f"/proc/{self.process.pid}/fd", []
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            try:
                target = os.readlink(f"{folder}/{name}")
            except OSError:
                continue
            kind = target.partition(":")[0] if target.startswith(("socket:", "pipe:")) else os.path.dirname(target)
            found.append(target if target.startswith("anon_inode:") else kind)
        journal = f"{os.path.dirname(self.admin_socket)}/lane-a/journal"
        return [name for name in found if name != journal] + [journal] * max(3, found.count(journal))

    def resident_bytes(self):
        """0 while it is killed."""
        try:
            with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
        except OSError:
            return 0

    def kill(self):
        self.killed = True
        self.process.kill()
        self.process.wait()

    def stop(self, timeout):
        """Its exit code after SIGTERM, None where it has not ended in time."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
