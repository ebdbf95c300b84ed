# Tollgate links with PyJWT: python3 links.py KEYS.jwks ORIGIN ORDER
import json, sys, time
import jwt
from urllib import error, parse, request

keys, origin, order = sys.argv[1:]
key = jwt.PyJWK(json.load(open(keys))["keys"][0])  # decodes k

def link(path, **claims):
    now = int(time.time())
    claims |= {"iss": "shop", "acct": "demo", "iat": now, "exp": now + 3600}
    token = jwt.encode(claims, key.key, "HS256", {"kid": key.key_id})
    return origin + parse.quote(path) + "?URISigningPackage=" + token

file = "/Café/01 – 100% #1?.mp3"
song = link(file, cdniuc="exact:" + file, resume=86400)
album = link(file, cdniuc="prefix:/Café/", max_uses=1, jti=order)
print(song, album, sep="\n")

try:  # the song under the album's signature, which is the last 43 characters
    request.urlopen(song[:-43] + album[-43:])
except error.HTTPError as refusal:
    print(refusal.status, json.load(refusal)["reason"])
