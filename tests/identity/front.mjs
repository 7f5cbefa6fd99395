// What clients of the provider reach: a reverse proxy that can be down, count requests and tamper with answers.

import http from 'node:http';
import { read } from './idp.mjs';
import { tampered } from './keys.mjs';

const LOG = 500;

export class Front {
  idp;
  // "up", "refuse" (no connection), "unavailable" (503) or "hang" (no answer until it is up again or the client leaves).
  outage = 'up';
  tampering = null;
  log = [];
  // Every token that was handed out.
  tokens = [];
  #inner;
  #server;
  #port;
  #hanging = new Set();

  // Listens, and gives the issuer's URL.
  async listen(port) {
    this.#server = http.createServer((request, response) => this.#serve(request, response));
    this.#port = await listen(this.#server, port);
    const inner = http.createServer((request, response) => this.idp.answer(request, response));
    this.#inner = await listen(inner, 0);
    return `http://127.0.0.1:${this.#port}`;
  }

  async setOutage(kind) {
    if (this.outage === 'refuse' && kind !== 'refuse') await listen(this.#server, this.#port);
    if (this.outage !== 'refuse' && kind === 'refuse') {
      const closed = new Promise((done) => { this.#server.close(done); });
      this.#server.closeAllConnections();
      await closed;
    }
    this.outage = kind;
    for (const wake of this.#hanging) wake();
  }

  async #serve(request, response) {
    const path = new URL(request.url, this.idp.issuer).pathname;
    try {
      const body = await read(request);
      const entry = this.#note(request, path, body);
      if (this.outage === 'hang') await this.#hang(response);
      if (this.outage === 'unavailable') {
        entry.status = 503;
        response.writeHead(503, { 'content-type': 'text/plain' }).end('down for a test\n');
        return;
      }
      const answer = await this.#pass(request, path, body);
      entry.status = answer.status;
      const text = this.#tamper(path, body, request, answer);
      if (path === '/token' && answer.status === 200) this.#keep(JSON.parse(text.toString('utf8')));
      const headers = { ...answer.headers, 'content-length': Buffer.byteLength(text) };
      delete headers['transfer-encoding'];
      response.writeHead(answer.status, headers).end(request.method === 'HEAD' ? undefined : text);
    } catch (error) {
      if (!response.headersSent) response.writeHead(502).end(`${error.message}\n`);
    }
  }

  #keep({ access_token: access, id_token: id, refresh_token: refresh }) {
    this.tokens.push(...[access, id, refresh].filter(Boolean));
    while (this.tokens.length > LOG) this.tokens.shift();
  }

  #hang(response) {
    return new Promise((done) => {
      const wake = () => { this.#hanging.delete(wake); done(); };
      this.#hanging.add(wake);
      response.once('close', wake);
    });
  }

  #note(request, path, body) {
    const entry = { method: request.method, path };
    if (path === '/token') entry.grant_type = new URLSearchParams(body.toString('utf8')).get('grant_type');
    this.log.push(entry);
    if (this.log.length > LOG) this.log.shift();
    return entry;
  }

  // PKCE that is not checked: the provider never hears of it.
  #unchecked(url, body) {
    if (this.idp.pkce !== 'unchecked') return [url, body];
    const target = new URL(url, this.idp.issuer);
    target.searchParams.delete('code_challenge');
    target.searchParams.delete('code_challenge_method');
    if (target.pathname !== '/token') return [target.pathname + target.search, body];
    const fields = new URLSearchParams(body.toString('utf8'));
    fields.delete('code_verifier');
    return [url, Buffer.from(fields.toString())];
  }

  async #pass(request, path, given) {
    const [url, body] = this.#unchecked(request.url, given);
    const headers = { ...request.headers, 'x-forwarded-proto': 'http', 'content-length': body.length };
    delete headers['transfer-encoding'];
    const options = { port: this.#inner, host: '127.0.0.1', method: request.method, path: url, headers, agent: false };
    const answer = await new Promise((done, failed) => {
      const asked = http.request(options, done);
      asked.on('error', failed);
      asked.end(body);
    });
    return { status: answer.statusCode, headers: answer.headers, body: await read(answer) };
  }

  #tamper(path, asked, request, { status, body }) {
    const how = this.tampering;
    if (!how || status !== 200) return body;
    const change = (edit) => JSON.stringify(edit(JSON.parse(body.toString('utf8'))));
    if (path === '/token') {
      return change((answer) => (answer.id_token
        ? { ...answer, id_token: tampered(answer.id_token, how, this.idp.signingKey, this.#secret(asked, request)) }
        : answer));
    }
    if (path === '/me' && how === 'userinfo_subject') return change((answer) => ({ ...answer, sub: 'somebody-else' }));
    if (path === '/.well-known/openid-configuration' && how === 'discovery_issuer') {
      return change((answer) => ({ ...answer, issuer: 'http://127.0.0.1:1' }));
    }
    return body;
  }

  // The secret of the client that asks.
  #secret(asked, request) {
    const [, basic] = (request.headers.authorization ?? '').split(' ');
    const id = basic
      ? decodeURIComponent(Buffer.from(basic, 'base64').toString('utf8').split(':')[0])
      : new URLSearchParams(asked.toString('utf8')).get('client_id');
    return this.idp.clients.find(({ client_id: one }) => one === id)?.client_secret ?? '';
  }
}

export async function listen(server, port) {
  await new Promise((done, failed) => {
    server.once('error', failed);
    server.listen(port, '127.0.0.1', () => { server.off('error', failed); done(); });
  });
  return server.address().port;
}
