"""The demo shop of Tollgate, on 127.0.0.1: its page, the links that it signs, and its account's balance.

The key that signs and the admin interface's secret stay in this process: the page gets links and numbers.
"""
import argparse
import functools
import http.client
import json
import re
import secrets
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urlsplit

try:
    import jwt
    import mutagen.mp3
except ImportError as missing:
    raise SystemExit(f"shop.py: {missing}; run /usr/bin/python3 after apt-get install python3-jwt python3-mutagen")

ISSUER, ACCOUNT = "shop", "demo"
ADMIN_PATH = f"/v1/accounts/{ISSUER}/{ACCOUNT}"
LINK_LIFETIME_S, TOP_UP_BYTES = 3600, 100_000_000


class UnixConnection(http.client.HTTPConnection):
    def connect(self):  # self.host is the socket's path
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


@functools.lru_cache(maxsize=10000)
def duration_s(file, changed_ns):
    """Of an MP3 file as it was at that time; None where it is not one that can be read."""
    try:
        return mutagen.mp3.MP3(file).info.length
    except mutagen.MutagenError:
        return None


class Shop:
    def __init__(self, options):
        self.options = options
        key = next((key for key in json.loads(options.keys.read_text())["keys"] if key["kty"] == "oct"), None)
        if key is None:
            raise SystemExit(f"shop.py: {options.keys}: has no HS256 key; make one with tollgate key generate --alg HS256")
        self.key = jwt.PyJWK(key)
        self.secret = options.secret_file.read_text().splitlines()[0] if options.secret_file else ""

    def link(self, path, **claims):
        now = int(time.time())
        # The node tells events only of links with a jti.
        claims |= {"iss": ISSUER, "acct": ACCOUNT, "iat": now, "exp": now + LINK_LIFETIME_S, "cdniuc": "exact:" + path,
                   "jti": secrets.token_hex(16)}
        token = jwt.encode(claims, self.key.key, "HS256", {"kid": self.key.key_id})
        return f"{self.options.media_origin}{quote(path)}?URISigningPackage={token}"

    def track(self, file):
        path = file.relative_to(self.options.media_root)
        title = re.sub(r"^\d+[ .–-]+", "", file.stem)  # "01 – Title"
        album = path.parent.name or "singles"
        facts = file.stat()
        return {"title": title[:1].upper() + title[1:], "album": album[:1].upper() + album[1:],
                "bytes": facts.st_size, "duration_s": duration_s(file, facts.st_mtime_ns), "play_url": self.link(f"/{path}", pace=2),
                "download_url": self.link(f"/{path}", filename=file.name)}

    def ask(self, method, path, body=None):
        """The status and the JSON that the admin interface answers."""
        where, headers = self.options.admin, {"Host": "localhost", "Content-Type": "application/json"}
        if self.secret:
            headers["Authorization"] = "Bearer " + self.secret
        connection = UnixConnection(where[5:], timeout=10) if where.startswith("unix:") else \
            http.client.HTTPConnection(urlsplit(where).netloc, timeout=10)
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as failure:
            return 502, {"detail": f"the admin interface does not answer: {failure}"}
        finally:
            connection.close()

    def answer(self, request, query):
        if request == "GET /":
            return 200, Path(__file__).with_name("index.html").read_bytes()
        if request == "GET /tracks":
            files = [file for file in self.options.media_root.rglob("*.mp3") if str(file).isprintable()]
            return 200, [self.track(file) for file in sorted(files, key=lambda file: str(file).casefold())]
        if request == "GET /balance":
            status, view = self.ask("GET", ADMIN_PATH)
            return status, {name: view[name] for name in ("balance", "used", "available", "status")} if status == 200 else view
        if request == "GET /events":
            return self.ask("GET", "/v1/events?" + urlencode({"issuer": ISSUER, "after": parse_qs(query).get("after", ["0"])[0]}))
        if request == "POST /top-up":
            order = "shop-" + secrets.token_hex(16)
            return self.ask("POST", ADMIN_PATH + "/top-up", {"bytes": TOP_UP_BYTES, "transaction": order})
        return 404, {"detail": "there are /, /tracks, /balance, /events and /top-up"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url, own = urlsplit(self.path), f"127.0.0.1:{self.server.server_port}"
        # The page of another site, or one whose name leads here, may neither read nor buy.
        if self.headers["Host"] != own or self.headers.get("Origin", f"http://{own}") != f"http://{own}":
            status, body = 403, {"detail": f"the shop is at http://{own}/"}
        else:
            status, body = self.server.shop.answer(f"{self.command} {url.path}", url.query)
        page = isinstance(body, bytes)
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8" if page else "application/json")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body if page else json.dumps(body).encode())

    do_POST = do_GET

    def log_request(self, code="-", size="-"):
        pass  # the page asks every second


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8180, help="where the shop listens (%(default)s; 0: any)")
    parser.add_argument("--media-root", type=Path, required=True, metavar="DIR", help="the node's media_root")
    parser.add_argument("--media-origin", required=True, metavar="URL", help="the node: http://127.0.0.1:8080")
    parser.add_argument("--keys", type=Path, required=True, metavar="JWKS", help="file with the issuer's HS256 key")
    parser.add_argument("--admin", required=True, metavar="WHERE", help="http://127.0.0.1:PORT or unix:/PATH")
    parser.add_argument("--secret-file", type=Path, metavar="FILE", help="its first line is the bearer secret")
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.shop = Shop(options)
    print(f"shop: http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
