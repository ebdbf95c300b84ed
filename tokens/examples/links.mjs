// Tollgate links with jose: node links.mjs KEYS.jwks ORIGIN ORDER
import { readFileSync } from 'node:fs';
import { SignJWT, importJWK } from 'jose';

const [keys, origin, order] = process.argv.slice(2);
const jwk = JSON.parse(readFileSync(keys)).keys[0];
const key = await importJWK(jwk); // decodes k

async function link(path, claims) {
  const now = Math.floor(Date.now() / 1000);
  claims = { iss: 'shop', acct: 'demo', iat: now, exp: now + 3600, ...claims };
  const token = await new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: jwk.kid }).sign(key);
  return origin + path.split('/').map(encodeURIComponent).join('/') + '?URISigningPackage=' + token;
}

const file = '/Café/01 – 100% #1?.mp3';
const song = await link(file, { cdniuc: 'exact:' + file, resume: 86400 });
const album = await link(file, { cdniuc: 'prefix:/Café/', max_uses: 1, jti: order });
console.log(song + '\n' + album);

// The song under the album's signature, which is the last 43 characters.
const answer = await fetch(song.slice(0, -43) + album.slice(-43));
if (!answer.ok) console.log(answer.status, (await answer.json()).reason);
