// Chromium on a storefront's page: an <audio> element plays a signed link of another origin and seeks, a script
// fetches a range by CORS, a refused navigation shows a page. Prints what the network fetched, as JSON.
//   LINK, WHOLE, EXPIRED: signed links; OUT: a directory for pictures
'use strict';
const http = require('node:http');
const { chromium } = require('playwright-core');

const { LINK, WHOLE, EXPIRED, OUT } = process.env;
function expect(condition, text) {
    if (!condition) throw new Error(text);
}

async function main() {
    const shop = http.createServer((request, response) => {
        response.setHeader('Content-Type', 'text/html');
        response.end('<!doctype html><title>shop</title><audio id="player" preload="none" controls></audio>');
    });
    await new Promise((done) => shop.listen(0, '127.0.0.1', done));
    const browser = await chromium.launch({
        executablePath: '/usr/bin/chromium',
        args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required'],
    });
    try {
        const page = await browser.newPage({ viewport: { width: 390, height: 700 } });
        const session = await page.context().newCDPSession(page);
        await session.send('Network.enable');
        const sizes = new Map();
        session.on('Network.responseReceived', ({ requestId, response }) => {
            if (response.url.startsWith(LINK.split('?')[0])) sizes.set(requestId, 0);
        });
        session.on('Network.dataReceived', ({ requestId, dataLength }) => {
            if (sizes.has(requestId)) sizes.set(requestId, sizes.get(requestId) + dataLength);
        });
        await page.goto(`http://127.0.0.1:${shop.address().port}/`);

        const played = await page.evaluate(async (link) => {
            const player = document.getElementById('player');
            const until = (name) => new Promise((done, failed) => {
                player.addEventListener(name, done, { once: true });
                player.addEventListener('error', () => failed(new Error(player.error.message)), { once: true });
            });
            player.src = link;
            const playing = until('timeupdate');
            await player.play();
            await playing;
            const duration = player.duration;
            const sought = until('seeked');
            player.currentTime = 100;
            await sought;
            await until('timeupdate');
            const at = player.currentTime;
            player.pause();
            return { duration, at };
        }, LINK);
        expect(Math.abs(played.duration - 125) < 0.5, `it plays ${played.duration} s in place of 125`);
        expect(played.at >= 100 && played.at < 110, `it plays at ${played.at} after seeking to 100`);

        const part = await page.evaluate(async (link) => {
            const answer = await fetch(link, { headers: { Range: 'bytes=100-199' } }); // asks by OPTIONS first
            return {
                status: answer.status,
                range: answer.headers.get('Content-Range'),
                etag: answer.headers.get('ETag'),
                length: (await answer.arrayBuffer()).byteLength,
            };
        }, LINK);
        expect(part.status === 206 && part.length === 100 && /^bytes 100-199\//.test(part.range), JSON.stringify(part));
        const whole = await page.evaluate(async (link) => (await (await fetch(link)).arrayBuffer()).byteLength, WHOLE);
        expect(whole > 40000000, `a script has ${whole} bytes`);
        const refused = await page.evaluate(async (link) => {
            const answer = await fetch(link);
            return { status: answer.status, reason: (await answer.json()).reason };
        }, EXPIRED);
        expect(refused.status === 410 && refused.reason === 'expired', JSON.stringify(refused));

        await page.evaluate(() => { const player = document.getElementById('player'); player.removeAttribute('src'); player.load(); });
        await page.waitForTimeout(500);
        const window_ = await browser.newPage({ viewport: { width: 390, height: 700 } });
        const answer = await window_.goto(EXPIRED);
        expect(answer.status() === 410, `the window has ${answer.status()}`);
        expect((await window_.textContent('h1')) === 'This file cannot be sent', 'the page of a refusal');
        await window_.screenshot({ path: `${OUT}/refused.png` });
        const fetched = [...sizes.values()].reduce((sum, size) => sum + size, 0);
        console.log(JSON.stringify({ fetched, responses: sizes.size, ...played }));
    } finally {
        await browser.close();
        shop.close();
    }
}
main().catch((error) => {
    console.error(error.stack);
    process.exit(1);
});
