// Hostile request heads, each with the rule that Tollgate holds it against. Made here, not collected: a module that
// run.js sends from.
'use strict';
const heads = [];
const good = 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n';
// rule: what decides. A head of a rule that begins with "valid" is to be taken by Tollgate.
function add(rule, name, bytes) {
    heads.push({ rule, name, bytes: Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes, 'latin1') });
}
const hex = (code) => `0x${code.toString(16).padStart(2, '0')}`;
const get = (field) => `GET /x HTTP/1.1\r\nHost: a\r\n${field}\r\n\r\n`;

// ---- lines: RFC 9112 2.2
const lines = 'RFC 9112 2.2: lines end with CRLF; a bare LF, which may be taken, is refused, as proxies disagree about it';
add('valid', 'as it should be', good);
add(lines, 'LF behind the request line', 'GET /x HTTP/1.1\nHost: a\r\n\r\n');
add(lines, 'LF behind a field', 'GET /x HTTP/1.1\r\nHost: a\n\r\n');
add(lines, 'LF as the empty line', 'GET /x HTTP/1.1\r\nHost: a\r\n\n');
add(lines, 'LF alone', 'GET /x HTTP/1.1\nHost: a\n\n');
add(lines, 'CR behind the request line', 'GET /x HTTP/1.1\rHost: a\r\n\r\n');
add(lines, 'CR behind a field', 'GET /x HTTP/1.1\r\nHost: a\rX: b\r\n\r\n');
add(lines, 'CR CR LF', 'GET /x HTTP/1.1\r\r\nHost: a\r\n\r\n');
add(lines, 'LF CR', 'GET /x HTTP/1.1\n\rHost: a\n\r\n\r');
add(lines, 'CR in a value', get('X: a\rb'));
add(lines, 'LF in a value', get('X: a\nb'));
const empty = 'valid; RFC 9112 2.2: empty lines before the request line are ignored';
for (const count of [1, 2, 3]) add(empty, `${count} empty lines first`, '\r\n'.repeat(count) + good);
add(lines, 'LF first', '\n' + good);
add(lines, 'CR first', '\r' + good);
add('RFC 9112 3: a request begins with its method', 'a space first', ' ' + good);
add('RFC 9112 3: a request begins with its method', 'a tab first', '\t' + good);
add('RFC 9112 3: a request begins with its method', 'a NUL first', '\0' + good);
add('RFC 9112 3: a request begins with its method', 'a line of a space first', ' \r\n' + good);

// ---- the request line: RFC 9112 3
const line = 'RFC 9112 3: method SP target SP version, with single spaces';
for (const [name, text] of [
    ['two spaces behind the method', 'GET  /x HTTP/1.1'], ['two spaces behind the target', 'GET /x  HTTP/1.1'],
    ['a tab behind the method', 'GET\t/x HTTP/1.1'], ['a tab behind the target', 'GET /x\tHTTP/1.1'],
    ['a space at the end', 'GET /x HTTP/1.1 '], ['a tab at the end', 'GET /x HTTP/1.1\t'], ['a fourth word', 'GET /x HTTP/1.1 y'],
    ['a space in the target', 'GET /x y HTTP/1.1'], ['no version', 'GET /x'], ['no target', 'GET HTTP/1.1'],
    ['no target but two spaces', 'GET  HTTP/1.1'], ['a method alone', 'GET'], ['a vertical tab', 'GET\v/x HTTP/1.1'],
    ['a form feed', 'GET\f/x HTTP/1.1'], ['a space before the version number', 'GET /x HTTP/ 1.1'],
]) add(line, name, `${text}\r\nHost: a\r\n\r\n`);

const method = 'RFC 9110 9.1, 5.6.2: a method is a token, case-sensitive; one that is not known is answered 501';
for (const text of ['get', 'Get', 'GETT', 'GE', 'X', 'PROPFIND', '123', 'A'.repeat(300), 'G'.repeat(9000)])
    add(method, `method ${text.slice(0, 20)} of ${text.length}`, `${text} /x HTTP/1.1\r\nHost: a\r\n\r\n`);
for (const mark of '(),/:;<=>?@[\\]{}"') add(method, `method with ${mark}`, `G${mark}T /x HTTP/1.1\r\nHost: a\r\n\r\n`);
for (const code of [0, 1, 8, 127, 128, 255])
    add(method, `method with ${hex(code)}`, `G${String.fromCharCode(code)}T /x HTTP/1.1\r\nHost: a\r\n\r\n`);

const version = 'RFC 9112 2.3: HTTP/DIGIT.DIGIT, case-sensitive; another major version is answered 505';
for (const text of ['HTTP/0.9', 'HTTP/1.10', 'HTTP/11', 'HTTP/2.0', 'HTTP/2', 'HTTP/3.0', 'HTTP/9.9', 'http/1.1', 'Http/1.1',
    'HTTP/1.', 'HTTP/.1', 'HTTP/1.1x', 'HTTP/x.1', 'HTTP /1.1', 'HTTPS/1.1', 'HTTP/01.1', 'HTTP/1,1', 'HTTP/-1.1', 'HTTP/1.-1', 'HTTP',
    'ICY/1.1', 'HTTP/1\x00.1'])
    add(version, `version ${text}`, `GET /x ${text}\r\nHost: a\r\n\r\n`);
add('valid; RFC 9110 2.5: a higher minor version is read as 1.1', 'version HTTP/1.2', 'GET /x HTTP/1.2\r\nHost: a\r\n\r\n');
add('valid; RFC 9110 2.5: a higher minor version is read as 1.1', 'version HTTP/1.9', 'GET /x HTTP/1.9\r\nHost: a\r\n\r\n');
add('valid; RFC 9112 9.3: 1.0 needs no Host', 'version HTTP/1.0 without Host', 'GET /x HTTP/1.0\r\n\r\n');

// ---- the target: RFC 9112 3.2, RFC 3986
const target = 'RFC 9112 3.2, RFC 3986 2 and 3.3: visible ASCII that a URI may hold; files have origin-form targets alone';
for (let code = 1; code < 0x20; code++)
    if (![9, 10, 13].includes(code)) add(target, `target with ${hex(code)}`, `GET /x${String.fromCharCode(code)}y HTTP/1.1\r\nHost: a\r\n\r\n`);
for (const code of [0, 0x7f, 0x80, 0xc3, 0xff]) add(target, `target with ${hex(code)}`, `GET /x${String.fromCharCode(code)} HTTP/1.1\r\nHost: a\r\n\r\n`);
for (const mark of '"<>\\`{}#') add(target, `target with ${mark}`, `GET /x${mark}y HTTP/1.1\r\nHost: a\r\n\r\n`);
for (const text of ['x', '*', 'a:80', 'ftp://a/x', 'http:/x', '?x', '#x', '//a/x', '\\x', 'http://', 'http://user@a/x', 'http://a b/x',
    'http://[::1/x', 'http://a:b/x', 'a b'])
    add(target, `target ${text}`, `GET ${text} HTTP/1.1\r\nHost: a\r\n\r\n`);
for (const text of ['http://a/x', 'http://b/x', 'HTTP://a/x', 'http://a:80/x', 'https://a/x'])
    add('valid; RFC 9112 3.2.2: absolute-form is accepted, and Host ignored', `target ${text}`, `GET ${text} HTTP/1.1\r\nHost: a\r\n\r\n`);
for (const text of ['http://[::1]/x', 'http://[::1]:80/x', 'http://a', 'http://a?x'])
    add('valid; RFC 9112 3.2.2: absolute-form is accepted, of a literal address and with an empty path, too', `target ${text}`,
        `GET ${text} HTTP/1.1\r\nHost: a\r\n\r\n`);
for (const text of ['/x^y', '/x|y', '/[x]', '/x?[y]|^', '/x?{y}`'])
    add('valid; WHATWG URL: browsers leave these as they are', `target ${text}`, `GET ${text} HTTP/1.1\r\nHost: a\r\n\r\n`);
for (const text of ['/x?<y>', '/x?"y', '/x?\\y']) add(target, `target ${text}`, `GET ${text} HTTP/1.1\r\nHost: a\r\n\r\n`);
for (const text of ['/..;/x', '/%c0%ae/x', '/%ff'])
    add('valid; a path is bytes, and names a file as it stands', `path ${text}`, `GET ${text} HTTP/1.1\r\nHost: a\r\n\r\n`);
const path = 'what is opened is what was verified: dot-segments, encoded slashes, NUL and bad escapes are refused, not repaired';
for (const text of ['/../x', '/x/../y', '/./x', '/x/..', '/%2e%2e/x', '/%2E%2E/x', '/x%2fy', '/x%5cy', '/%00', '/x%00.mp3', '/%', '/%1', '/%zz', '/%u002e',
    '/x//y', '/x%0d%0aX:y'])
    add(path, `path ${text}`, `GET ${text} HTTP/1.1\r\nHost: a\r\n\r\n`);
add('RFC 9110 15.5.15: longer than 8192 bytes is answered 414', 'target of 9000 bytes', `GET /${'x'.repeat(9000)} HTTP/1.1\r\nHost: a\r\n\r\n`);

// ---- fields: RFC 9112 5, RFC 9110 5
const field = 'RFC 9112 5, RFC 9110 5.1: a field name is a token, and the colon follows it at once';
for (const mark of '(),/;<=>?@[\\]{}" ') add(field, `field name with ${mark}`, get(`X${mark}Y: b`));
for (const code of [0, 1, 9, 0x0b, 0x0c, 0x7f, 0x80, 0xff]) add(field, `field name with ${hex(code)}`, get(`X${String.fromCharCode(code)}Y: b`));
for (const [name, text] of [['a space before the colon', 'X : b'], ['a tab before the colon', 'X\t: b'], ['no colon', 'X'], ['no name', ': b'],
    ['a colon alone', ':'], ['a space alone', ' '], ['a space before the name', ' X: b'], ['two spaces before the colon', 'X  : b']])
    add(field, `field with ${name}`, get(text));
const fold = 'RFC 9112 5.2: a folded line is refused';
for (const [name, text] of [['a space', 'X: a\r\n b'], ['a tab', 'X: a\r\n\tb'], ['an empty fold', 'X: a\r\n \r\nY: b'], ['many spaces', 'X: a\r\n      b']])
    add(fold, `folded by ${name}`, get(text));
add(fold, 'folded behind the request line', 'GET /x HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n');
add(fold, 'Host folded', 'GET /x HTTP/1.1\r\nHost:\r\n a\r\n\r\n');
const value = 'RFC 9110 5.5: no control bytes in a value';
for (let code = 0; code < 0x20; code++)
    if (![9, 10, 13].includes(code)) add(value, `value with ${hex(code)}`, get(`X: a${String.fromCharCode(code)}b`));
add(value, 'value with 0x7f', get('X: a\x7fb'));
const odd = 'valid; RFC 9110 5.5: obs-text and spaces within a value are taken';
for (const [name, text] of [['0x80', 'X: a\x80b'], ['0xff', 'X: \xff'], ['a tab', 'X: a\tb'], ['nothing', 'X:'], ['no space before', 'X:b'], ['many around', 'X:   b   '],
    ['marks', 'X: (),/:;<=>?@[\\]{}"']])
    add(odd, `value with ${name}`, get(text));
add('RFC 6585 5: more than 64 fields, or 8192 bytes, are answered 431', '100 fields', get(Array.from({ length: 100 }, (_, i) => `X${i}: b`).join('\r\n')));
add('RFC 6585 5: more than 64 fields, or 8192 bytes, are answered 431', '1000 fields', get(Array.from({ length: 1000 }, (_, i) => `X${i}: b`).join('\r\n')));
add('RFC 6585 5: more than 64 fields, or 8192 bytes, are answered 431', 'a value of 20000 bytes', get(`X: ${'b'.repeat(20000)}`));
add('RFC 6585 5: more than 64 fields, or 8192 bytes, are answered 431', 'a name of 20000 bytes', get(`${'X'.repeat(20000)}: b`));

const repeated = 'what two lines of a field that is not a list mean is not knowable: refused, not guessed';
for (const text of ['Range: bytes=0-0', 'If-Range: "x"', 'Authorization: Bearer x', 'Origin: http://a'])
    add(repeated, `two lines of ${text.replace(/:.*/, '')}`, get(`${text}\r\n${text}`));
for (const text of ['If-Match: "x"', 'If-None-Match: "x"', 'Cookie: a=b'])
    add('valid; RFC 9110 5.3, RFC 9113 8.2.3: the lines of a list are one', `two lines of ${text.replace(/:.*/, '')}`, get(`${text}\r\n${text}`));
for (const text of ['If-Modified-Since', 'If-Unmodified-Since'])
    add('valid; RFC 9110 13.1.3, 13.1.4: two dates are none', `two lines of ${text}`, get(`${text}: Sun, 06 Nov 1994 08:49:37 GMT\r\n`.repeat(2).trim()));

// ---- Host: RFC 9112 3.2
const host = 'RFC 9112 3.2: exactly one Host in HTTP/1.1, of a valid uri-host and port';
add(host, 'no Host', 'GET /x HTTP/1.1\r\n\r\n');
for (const text of ['a\r\nHost: a', 'a\r\nHost: b', 'a\r\nhost: a', 'a b', 'a,b', 'a, a', 'user@a', 'a/x', 'a:b', 'a:80:80', 'a:-1', 'http://a', 'a\\b', 'a"b', 'a<b', 'a?b', 'a#b',
    '[::1', '::1', '[::1]x', '[zz]', 'a\x00b', 'a\x80', '%zz', 'a:99999999', '{a}', 'a|b', 'a^b'])
    add(host, `Host ${text.replace(/\r\n/g, ' + ')}`, `GET /x HTTP/1.1\r\nHost: ${text}\r\n\r\n`);
for (const text of ['a:80', 'a.example.', '[::1]', '[::1]:80', '127.0.0.1', 'A', 'a_b', 'xn--caf-dma', '']) // RFC 9112 3.2: empty where the authority is
    add('valid; RFC 9112 3.2', `Host ${text}`, `GET /x HTTP/1.1\r\nHost: ${text}\r\n\r\n`);

// ---- framing: RFC 9112 6
const length = 'RFC 9112 6.3, RFC 9110 8.6: one Content-Length of digits; anything else is refused, and so is a body (413)';
for (const text of ['+5', '-5', '5.0', '0x5', '5 5', '5,5', '5, 5', '5,6', '', ' ', 'five', '5\t5', '1e1', '٥', '9223372036854775807', '9223372036854775808', '18446744073709551616',
    '184467440737095516160', '5;', '"5"', '00000000000000000000005', '5\r\nContent-Length: 5', '5\r\nContent-Length: 6', '0\r\nContent-Length: 5', '5'])
    add(length, `Content-Length ${text.replace(/\r\n.*: /, ' and ')}`, `GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: ${text}\r\n\r\nhello`);
add('valid; a Content-Length of 0 is not a body', 'Content-Length 0', get('Content-Length: 0'));
const coding = 'RFC 9112 6.1: one coding is known, chunked, which comes last and once; both framings, or one in HTTP/1.0, are refused';
for (const text of ['chunked, chunked', 'chunked, gzip', 'gzip, chunked', 'gzip', 'identity', 'xchunked', 'chunkedx', 'chunk', '"chunked"', 'chunked;q=1', '\x0bchunked',
    'chunked\x0b', ',chunked', '', 'chunked\r\nTransfer-Encoding: identity', 'identity\r\nTransfer-Encoding: chunked', 'chunked\r\nContent-Length: 5', '\r\n chunked', 'chunked\r\nTransfer-Encoding: chunked'])
    add(coding, `Transfer-Encoding ${text.replace(/\r\n/g, ' + ')}`, `GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ${text}\r\n\r\n0\r\n\r\n`);
add(coding, 'Content-Length before Transfer-Encoding', 'GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n');
add(coding, 'Transfer-Encoding in HTTP/1.0', 'GET /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n');
add(coding, 'Transfer-Encoding with a space before the colon', 'GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n');
const chunked = (content) => `GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${content}`;
for (const text of ['chunked', 'Chunked'])
    add('valid; RFC 9112 7.1: a GET may have empty content, in chunks, too', `Transfer-Encoding ${text}`, chunked('0\r\n\r\n').replace('chunked', text));
for (const text of ['0;a=b\r\n\r\n', '0;a="b;c"\r\n\r\n', '000\r\n\r\n', '0\r\nX: y\r\n\r\n'])
    add('valid; RFC 9112 7.1.1, 7.1.2: extensions and trailer fields of the last chunk are ignored', `content ${JSON.stringify(text)}`, chunked(text));
for (const text of ['0\n\r\n', '0\r\n\n', '0\r\r\n\r\n', '+0\r\n\r\n', '-0\r\n\r\n', ' 0\r\n\r\n', '0 \r\n\r\n', '0x0\r\n\r\n', '0;\r\n\r\n', '0;a=\r\n\r\n', '0 ;a\r\n\r\n',
    '0;a\nb\r\n\r\n', '00000000000000000000\r\n\r\n', '10000000000000000\r\n\r\n', 'fffffffffffffffff\r\n\r\n', ';a\r\n\r\n', '\r\n0\r\n\r\n', '0\r\nX : y\r\n\r\n',
    '0\r\n X: y\r\n\r\n', '0\r\nX: y\n\r\n', '0\r\nGET /y HTTP/1.1\r\n\r\n'])
    add('RFC 9112 7.1: a chunk line is 1*HEXDIG of 64 bits with its extensions and CRLF, without spaces; readers that disagree see another request', `content ${JSON.stringify(text)}`, chunked(text));
add('content in a GET is refused (413), in chunks, too', 'content "5"', chunked('5\r\nhello\r\n0\r\n\r\n'));

// ---- Expect, Connection, others' protocols
for (const text of ['100-continue', '100-Continue', ',100-continue, ,', ''])
    add('valid; RFC 9110 10.1.1: a list, of which members may be empty', `Expect ${text}`, get(`Expect: ${text}`));
for (const text of ['200-ok', '100-continue, x', 'x']) add('RFC 9110 10.1.1: an expectation that is not known is answered 417', `Expect ${text}`, get(`Expect: ${text}`));
for (const text of ['close, keep-alive', 'x', '', ',', 'Upgrade']) add('valid; RFC 9110 7.6.1', `Connection ${text}`, get(`Connection: ${text}`));
add('valid; RFC 9110 7.8: an upgrade may be ignored', 'Upgrade h2c', get('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA'));
add('RFC 9113 3.4: the preface of HTTP/2 is made to be refused', 'the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
add('no HTTP', "TLS's client hello", Buffer.from('160301020001000 1fc0303'.replace(/ /g, ''), 'hex'));
add('no HTTP: nobody has said that a proxy speaks here', "the PROXY protocol's line", 'PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\n' + good);
add('no HTTP', "SSH's banner", 'SSH-2.0-x\r\n\r\n');
for (const text of ['foo', '*x', 'a:80', 'ftp://a/x', '?x'])
    add('RFC 9112 3.2: OPTIONS has a path, an http URL or *', `OPTIONS ${text}`, `OPTIONS ${text} HTTP/1.1\r\nHost: a\r\n\r\n`);
add('valid; RFC 9110 9.3.7: OPTIONS may have content', 'OPTIONS with content', 'OPTIONS /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello');
add('RFC 9112 3.2.4: asterisk-form is for OPTIONS', 'GET *', 'GET * HTTP/1.1\r\nHost: a\r\n\r\n');
add('RFC 9110 9.3.6: nobody is connected to here', 'CONNECT', 'CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n');
add('RFC 9110 9.3.8: a request is not echoed', 'TRACE', 'TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n');

module.exports = heads;
