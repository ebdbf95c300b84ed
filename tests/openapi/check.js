// A running node's admin interface held against the description that it serves. Each operation is called with the
// description's own example; each member and parameter is then left out, misspelt and of the wrong type in turn, and the
// problem must name it. Each answer must be described, and valid by ajv. Prints one line for each step.
//   SOCKET, SHOPS: the operators' and the shops' socket; SECRET: the shop's; LINK: a signed link
'use strict';
const http = require('node:http');
const Ajv = require('ajv/dist/2020').default;
const formats = require('ajv-formats').default;

const { SOCKET, SHOPS, SECRET, LINK } = process.env;
const METHODS = ['get', 'put', 'post', 'delete', 'patch'];

function expect(condition, text) {
    if (!condition) throw new Error(text);
}
function exchange(socketPath, method, path, body, headers = {}) {
    return new Promise((done, failed) => {
        const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
        const head = { 'Content-Length': Buffer.byteLength(text), ...headers };
        const request = http.request({ socketPath, method, path, headers: head }, (answer) => {
            let read = '';
            answer.setEncoding('utf8').on('data', (part) => { read += part; });
            answer.on('end', () => done({ status: answer.statusCode, type: answer.headers['content-type'], value: JSON.parse(read) }));
        });
        request.on('error', failed);
        request.end(text);
    });
}

async function main() {
    const served = await exchange(SOCKET, 'GET', '/v1/openapi.json');
    const description = served.value;
    const ajv = new Ajv({ strict: true, strictRequired: false, allowUnionTypes: true, allErrors: true });
    formats(ajv);
    ajv.addVocabulary(['example', 'components']);
    ajv.addSchema({ $id: 'description', components: { schemas: description.components.schemas } }, undefined, false, false);
    const local = (schema) => JSON.parse(JSON.stringify(schema), (key, value) =>
        key === '$ref' ? value.replace(/^#/, 'description#') : value);
    const resolve = (node) => node && node.$ref ? node.$ref.slice(2).split('/').reduce((at, word) => at[word], description) : node;
    const seen = new Set();

    function check(operation, what, answer) {
        const response = resolve(operation.responses[answer.status]) || (answer.status >= 400 && resolve(operation.responses.default));
        expect(response, `${what}: ${answer.status} is not described: ${JSON.stringify(answer.value)}`);
        const content = response.content[answer.type];
        expect(content, `${what}: ${answer.status} is of type ${answer.type}`);
        const valid = ajv.compile(local(content.schema));
        expect(valid(answer.value), `${what}: ${JSON.stringify(answer.value)}: ${ajv.errorsText(valid.errors)}`);
        seen.add(`${operation.operationId} ${answer.status}`);
        return answer;
    }
    const operations = Object.entries(description.paths).flatMap(([path, item]) =>
        METHODS.filter((method) => item[method]).map((method) => ({ path, method: method.toUpperCase(), ...item[method] })));
    const target = (operation, account) => operation.path.replace('{issuer}', 'shop').replace('{account}', account);
    async function call(operation, account, body, query = '') {
        const what = `${operation.method} ${target(operation, account)}${query} ${body === undefined ? '' : JSON.stringify(body)}`;
        return { what, ...check(operation, what, await exchange(SOCKET, operation.method, target(operation, account) + query, body)) };
    }
    async function names(operation, member, body, query) {
        const { what, status, value } = await call(operation, 'alice', body, query);
        expect(status >= 400 && value.member === member, `${what}: ${member} is not named: ${JSON.stringify(value)}`);
    }
    const exampleOf = (operation) => {
        const body = operation.requestBody && structuredClone(operation.requestBody.content['application/json'].example);
        if (body && body.url) body.url = LINK;
        return body;
    };

    // ---- each operation's own example is done; what opens an account comes first
    operations.sort((a, b) => (b.operationId === 'openAccount') - (a.operationId === 'openAccount'));
    for (const operation of operations) {
        const query = operation.operationId === 'listEvents' ? '?issuer=shop' : '';
        const { what, status, value } = await call(operation, 'alice', exampleOf(operation), query);
        expect(status < 300, `${what}: the example is answered ${status} ${JSON.stringify(value)}`);
    }
    console.log(`openapi: the examples of ${operations.length} operations are done as described`);

    // ---- problems name what is at fault
    let cases = 0;
    for (const operation of operations.filter((one) => one.requestBody)) {
        const schema = resolve(operation.requestBody.content['application/json'].schema);
        const forms = (schema.oneOf || [schema]).map(resolve);
        const example = exampleOf(operation);
        await names(operation, 'byts', { ...example, byts: 1 });
        await names(operation, Object.keys(example)[0], `{"${Object.keys(example)[0]}": 1, "${Object.keys(example)[0]}": 1}`);
        for (const form of forms) {
            for (const [member, property] of Object.entries(form.properties)) {
                const base = schema.oneOf ? {} : example;
                for (const wrong of [null, [1], { a: 1 }, resolve(property).type === 'string' ? 7 : '7']) {
                    await names(operation, member, { ...base, [member]: wrong });
                    cases++;
                }
                if (resolve(property).type === 'integer') {
                    await names(operation, member, `{"${member}": 123456789012345678901234567890}`);
                    await names(operation, member, { ...base, [member]: 1.5 });
                }
                if (form.required?.includes(member)) {
                    const { [member]: gone, ...rest } = base;
                    if (!schema.oneOf) await names(operation, member, rest);
                    else expect((await call(operation, 'alice', {})).value.member, `${operation.operationId}: nothing is named`);
                    cases++;
                }
            }
        }
        for (const body of ['', '{', '[]', '7', 'null', '"x"', '{"a":']) {
            if (body === '' && !operation.requestBody.required) continue;
            expect((await call(operation, 'alice', body)).status >= 400, `${operation.operationId}: ${body} is taken`);
        }
    }
    const byId = (id) => operations.find((operation) => operation.operationId === id);
    for (const url of ['x', '', LINK.replace('?', '?x=1&y'), `${LINK}x`, LINK.replace(/\?.*/, '')]) await names(byId('revokeLink'), 'url', { url });
    await names(byId('explainLink'), 'url', { url: 'x' });
    await names(byId('revokeLinksOfAccount'), 'issued_before', { issued_before: Date.now() });
    await names(byId('topUpAccount'), 'transaction', { bytes: 1, transaction: 'order-8' });
    await names(byId('topUpAccount'), 'bytes', { bytes: 2 ** 53 - 1, transaction: 'order-9' });
    for (const operation of operations.filter((one) => one.parameters)) {
        const fixed = operation.operationId === 'listEvents' ? 'issuer=shop&' : '';
        await names(operation, 'limt', undefined, `?${fixed}limt=1`);
        for (const { name } of operation.parameters) {
            await names(operation, name, undefined, `?${name === 'issuer' ? '' : fixed}${name}=%20`);
            await names(operation, name, undefined, `?${name === 'issuer' ? '' : fixed}${name}=1&${name}=1`);
            await names(operation, name, undefined, `?${name === 'issuer' ? '' : fixed}${name}`);
            cases += 3;
        }
    }
    for (const operation of operations.filter((one) => one.path.includes('{account}'))) {
        const body = exampleOf(operation);
        for (const [path, member] of [['/v1/accounts/nobody/alice', 'issuer'], ['/v1/accounts/shop/%00', 'account'], ['/v1/accounts/shop/', 'account']]) {
            const whole = path + operation.path.replace('/v1/accounts/{issuer}/{account}', '');
            const answer = check(operation, whole, await exchange(SOCKET, operation.method, whole, body));
            expect(answer.value.member === member, `${whole}: ${JSON.stringify(answer.value)}`);
            cases++;
        }
        if (operation.operationId !== 'openAccount') expect((await call(operation, 'stranger', body)).status !== 500, 'a stranger');
    }
    console.log(`openapi: ${cases} mistakes are named by the problem's member`);

    // ---- as a shop, and with somebody else's secret
    for (const operation of operations) {
        for (const [secret, wanted] of [[SECRET, /^(2|403|409)/], ['not-a-secret', /^(200|401)$/]]) {
            const headers = { Authorization: `Bearer ${secret}` };
            const answer = await exchange(SHOPS, operation.method, target(operation, 'alice'), exampleOf(operation), headers);
            check(operation, `a shop's ${operation.operationId}`, answer);
            expect(wanted.test(String(answer.status)), `a shop's ${operation.operationId}: ${answer.status} ${JSON.stringify(answer.value)}`);
        }
    }
    const statuses = [...seen].map((one) => one.split(' ')[1]);
    console.log(`openapi: ${seen.size} kinds of answers are as described, of status ${[...new Set(statuses)].sort().join(', ')}`);
}
main().catch((failure) => {
    console.error(failure.stack);
    process.exit(1);
});
