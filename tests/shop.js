// Chromium on the demo shop's page, at the size of a phone and of a desk: it plays, downloads, tops up, is refused,
// and shows the balance fall. Prints one line for each step.
//   SHOP: its origin; MEDIA: the catalogue; SOCKET: the node's admin socket; GOT, OUT: directories, for files and pictures;
//   PICTURE: empty, or the file for the picture of README.md
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const { chromium } = require('playwright-core');

const { SHOP, MEDIA, SOCKET, GOT, OUT, PICTURE } = process.env;
const LONG = 'albums/Night Train/02 Long Way Home.mp3';
const SHORT = 'Café/01 – 100% #1.mp3';

function expect(condition, text) {
    if (!condition) throw new Error(text);
}
function step(text) {
    console.log(`shop: ${text}`);
}
// The account as the admin interface has it, after an operation where one is named.
function account(operation, body) {
    return new Promise((done, failed) => {
        const path = `/v1/accounts/shop/demo${operation ? `/${operation}` : ''}`;
        const text = body ? JSON.stringify(body) : '';
        const options = { socketPath: SOCKET, method: operation ? 'POST' : 'GET', path, headers: { 'Content-Length': text.length } };
        const request = http.request(options, (answer) => {
            let read = '';
            answer.setEncoding('utf8').on('data', (part) => { read += part; });
            answer.on('end', () => {
                if (answer.statusCode === 200) done(JSON.parse(read));
                else failed(new Error(`${operation}: ${answer.statusCode} ${read}`));
            });
        });
        request.on('error', failed);
        request.end(text);
    });
}

async function main() {
    const browser = await chromium.launch({
        executablePath: '/usr/bin/chromium',
        args: ['--no-sandbox', '--autoplay-policy=user-gesture-required'],
    });
    try {
        const page = await browser.newPage({ viewport: { width: 360, height: 740 }, acceptDownloads: true });
        page.setDefaultTimeout(20000);
        const errors = [];
        page.on('pageerror', (error) => errors.push(error.message));
        page.on('request', (request) => {
            if (!/^(http:\/\/127\.0\.0\.1:|data:)/.test(request.url())) errors.push(`it asks ${request.url()}`);
        });
        const balance = async () => Number(await page.getAttribute('#balance', 'value'));
        const until = (test, argument) => page.waitForFunction(test, argument, { polling: 100 });
        // Once two looks are the same: what was on its way when a transfer ended has been posted.
        const settled = async () => {
            for (let last = -1; ;) {
                const now = await balance();
                if (now === last) return now;
                last = now;
                await page.waitForTimeout(2500);
            }
        };
        const hush = () => page.evaluate(() => { // a paused element may still read ahead
            const audio = document.getElementById('audio');
            audio.removeAttribute('src');
            audio.load();
        });
        const row = (title) => page.locator('.track', { hasText: title });
        const looks = async (name) => {
            for (const colorScheme of ['light', 'dark']) {
                await page.emulateMedia({ colorScheme });
                for (const [width, height] of [[360, 740], [1280, 800]]) {
                    await page.setViewportSize({ width, height });
                    await page.screenshot({ path: `${OUT}/${name}-${width}-${colorScheme}.png` });
                    const over = await page.evaluate(() => [...document.querySelectorAll(':root, .card, #player')]
                        .filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.id || box.tagName));
                    expect(over.length === 0, `${name}: at ${width} px too wide: ${over}`);
                }
            }
            await page.setViewportSize({ width: 360, height: 740 });
            await page.emulateMedia({ colorScheme: 'light' });
        };

        await page.goto(SHOP);
        await until(() => Number(document.getElementById('balance').value) > 0);
        const files = fs.readdirSync(MEDIA, { recursive: true }).filter((name) => name.endsWith('.mp3')).length;
        expect(await page.locator('.track').count() === files, `${await page.locator('.track').count()} tracks of ${files}`);
        expect(await row('Long Way Home').locator('time').textContent() === '2:05', 'Long Way Home is not 2:05 long');
        const untimed = await page.locator('.track time').evaluateAll((all) => all.filter((one) => !/^\d+:\d\d$/.test(one.textContent)).length);
        expect(untimed === 0, `${untimed} tracks have no duration`);
        const unnamed = await page.evaluate(() => [...document.querySelectorAll('button, a, input')].filter((control) =>
            control.checkVisibility() && !(control.getAttribute('aria-label') || control.textContent.trim())).length);
        expect(unnamed === 0, `${unnamed} controls have no name`);
        const opened = await balance();
        expect(await page.textContent('#balance') === '1,000.0 MB', await page.textContent('#balance'));
        await looks('shop');
        step(`it lists ${files} tracks and ${await page.textContent('#balance')}`);

        // By keyboard alone: the first press of a page also is the gesture that a browser wants before it plays.
        await row('Long Way Home').getByRole('button').focus();
        await page.keyboard.press('Space');
        await until(() => document.getElementById('audio').currentTime > 0.5);
        expect(Math.abs(await page.evaluate(() => document.getElementById('audio').duration) - 125) < 0.5, 'the duration');
        await until((before) => Number(document.getElementById('balance').value) < before, opened);
        await until(() => document.getElementById('balance').textContent !== '1,000.0 MB');
        await page.focus('#seek');
        await page.keyboard.press('End');
        await page.keyboard.press('PageDown');
        await until(() => { const audio = document.getElementById('audio'); return !audio.seeking && audio.currentTime > 90; });
        await looks('playing');
        await page.getByRole('region', { name: 'Player' }).getByRole('button', { name: 'Pause' }).click();
        await page.getByRole('button', { name: 'Play Long Way Home' }).waitFor();
        step(`it plays and seeks, and ${opened - await balance()} bytes less are on the account`);

        await hush();
        const before = await settled();
        const [download] = await Promise.all([page.waitForEvent('download'), row('100% #1').getByRole('link').click()]);
        expect(download.suggestedFilename() === SHORT.split('/')[1], `saved as ${download.suggestedFilename()}`);
        await download.saveAs(`${GOT}/download.mp3`);
        const size = fs.statSync(`${MEDIA}/${SHORT}`).size;
        expect(fs.readFileSync(`${GOT}/download.mp3`).equals(fs.readFileSync(`${MEDIA}/${SHORT}`)), 'the download is not the file');
        const after = await settled();
        expect(before - after === size, `a download of ${size} bytes took ${before - after}`);
        await page.locator('#events li', { hasText: 'Arrived whole: 100% #1' }).waitFor();
        step(`a download of ${size} bytes takes ${before - after} from the balance, and the page says that it arrived whole`);

        await page.getByRole('button', { name: 'Top up 100 MB' }).click();
        await until((wanted) => Number(document.getElementById('balance').value) === wanted, after + 100000000);
        step('a top-up adds 100,000,000 bytes');
        if (PICTURE) { // one track plays, nothing has the focus, and the balance has moved
            await page.setViewportSize({ width: 1120, height: 700 });
            await page.getByRole('button', { name: 'Play Long Way Home' }).click();
            await until(() => document.getElementById('audio').currentTime > 3);
            await page.evaluate(() => document.activeElement.blur());
            await page.mouse.move(0, 0);
            await page.screenshot({ path: PICTURE });
            await page.getByRole('region', { name: 'Player' }).getByRole('button', { name: 'Pause' }).click();
            await hush();
            await page.setViewportSize({ width: 360, height: 740 });
            step(`the picture is ${PICTURE}`);
        }

        const alert = page.getByRole('alert');
        const told = async (wanted) => {
            await alert.waitFor();
            const text = await alert.locator('p').textContent();
            expect(text === wanted, text);
        };
        // ---- the balance is empty: the reason is told, and asking for it costs nothing
        const full = await settled();
        await account('adjust', { bytes: -full, transaction: 'to-nothing' });
        await until(() => Number(document.getElementById('balance').value) === 0);
        const used = (await account()).used;
        await page.getByRole('button', { name: 'Play First Light' }).click();
        await told('“First Light” cannot be played. Your balance is empty, and the track has 1.0 MB. Top up, then press play again.');
        await looks('empty');
        await page.getByRole('button', { name: 'Dismiss' }).click();
        await row('First Light').getByRole('link').click();
        await told('The file was not sent. Your balance is too low for this file. Top up, then press download again.');
        await account('adjust', { bytes: 20000, transaction: 'to-little' }); // more than a byte, less than the file
        await until(() => Number(document.getElementById('balance').value) === 20000);
        await page.getByRole('button', { name: 'Play First Light' }).click();
        await told('“First Light” cannot be played. Your balance is less than 0.1 MB, and the track has 1.0 MB. Top up, then press play again.');
        await settled();
        expect((await account()).used === used, `a refusal was billed: ${(await account()).used - used} bytes`);
        await account('adjust', { bytes: full - 20000, transaction: 'as-before' });
        await page.getByRole('button', { name: 'Play First Light' }).click();
        await until(() => document.getElementById('audio').currentTime > 0.5);
        expect(await alert.isHidden(), 'the empty balance still stands');
        step('an empty balance is told as the reason, the question is not billed, and it plays once the account has bytes');

        await account('suspend', {});
        await page.getByRole('button', { name: 'Play Episode 1' }).click();
        await told('“Episode 1” cannot be played. Your account is suspended. Ask the shop why.');
        await looks('refused');
        await page.getByRole('button', { name: 'Dismiss' }).click();
        await row('First Light').getByRole('link').click(); // the node sends the browser back here, with the reason
        await told('The file was not sent. Your account is suspended. Ask the shop why.');
        expect(page.url() === `${SHOP}/`, page.url());
        await account('activate', {});
        await page.getByRole('button', { name: 'Play First Light' }).click();
        await until(() => document.getElementById('audio').currentTime > 0.5);
        expect(await alert.isHidden(), 'the refusal still stands');
        step('refusals are told in words, and it plays again once the account is active');

        await hush();
        fs.writeFileSync(`${GOT}/used`, String(opened + 100000000 - await settled()));
        expect(errors.length === 0, errors.join('; '));
    } finally {
        await browser.close();
    }
}
main().catch((error) => {
    console.error(error.stack);
    process.exit(1);
});
