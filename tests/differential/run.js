// Sends each of heads.js to Tollgate, nginx, lighttpd and Node's llhttp, each on a connection of its own, and compares
// who takes and who refuses it. Fails where Tollgate takes a head whose rule forbids it, refuses a valid one, or takes
// one that a peer refuses without a reason in explained.json; and where such a reason is of no use any more.
//   PORTS: {"tollgate": 1, ...}; prints the table of disagreements
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const heads = require('./heads.js');

// What says that the head was understood and the answer is about something else.
const taken = new Set([101, 200, 204, 206, 301, 304, 308, 401, 402, 403, 404, 410]);
function ask(port, bytes) {
    return new Promise((done) => {
        let text = '';
        const socket = net.connect(port, '127.0.0.1', () => socket.write(bytes));
        const finish = () => {
            socket.destroy();
            const status = text.match(/^HTTP\/\d\.\d (\d{3})/);
            done(status ? Number(status[1]) : 'closed');
        };
        socket.setTimeout(2500, () => {
            socket.destroy();
            done('waits');
        });
        socket.on('data', (data) => {
            text = (text + data.toString('latin1')).replace(/^HTTP\/1.1 100 [^]*?\r\n\r\n/, '');
            if (/\r\n\r\n/.test(text)) finish();
        });
        socket.on('end', finish);
        socket.on('error', finish);
    });
}

async function main() {
    const ports = JSON.parse(process.env.PORTS);
    const node = http.createServer((request, response) => response.end('x'));
    await new Promise((done) => node.listen(0, '127.0.0.1', done));
    ports.llhttp = node.address().port;
    const explained = JSON.parse(fs.readFileSync(path.join(__dirname, 'explained.json'), 'utf8'));
    const unused = new Set(Object.keys(explained));
    const names = Object.keys(ports);
    let wrong = 0, agreed = 0, stricter = 0;
    for (const { rule, name, bytes } of heads) {
        const answers = await Promise.all(names.map((peer) => ask(ports[peer], bytes)));
        const takes = answers.map((answer) => taken.has(answer));
        const ours = takes[0], row = names.map((peer, i) => `${peer} ${answers[i]}`).join(', ');
        const refusers = names.filter((peer, i) => !takes[i]);
        if (ours !== rule.startsWith('valid') && !explained[name]) {
            wrong++;
            console.log(`WRONG  ${name}: ${row} -- ${rule}`);
        } else if (takes.every((take) => take === ours)) {
            agreed++;
        } else if (!ours) {
            stricter++;
            console.log(`stricter  ${name}: ${row} -- ${rule}`);
        } else if (explained[name]) {
            unused.delete(name);
            console.log(`looser    ${name}: ${row} -- ${explained[name]}`);
        } else {
            wrong++;
            console.log(`UNEXPLAINED  ${name}: ${refusers.join(' and ')} refuse: ${row} -- ${rule}`);
        }
        if (!ours && answers[0] === 'waits' ) {
            wrong++;
            console.log(`WAITS  ${name}: Tollgate says nothing`);
        }
    }
    for (const name of unused) { wrong++; console.log(`USELESS  explained.json: ${name}: nobody disagrees`); }
    console.log(`${heads.length} heads: ${agreed} alike, ${stricter} where Tollgate is stricter, ${Object.keys(explained).length - unused.size} where it is looser with a reason, ${wrong} wrong`);
    node.close();
    process.exit(wrong > 0 ? 1 : 0);
}
main();
