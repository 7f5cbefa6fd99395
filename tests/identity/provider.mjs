// An OpenID provider for the end-to-end tests, with an API to make trouble.
//
// The first line on standard input is its configuration, JSON: accounts, clients, and optionally claims_in, groups_in,
// refresh, pkce, lifetimes (see idp.mjs), port (another each time without it). It prints one JSON line when it is ready, and ends when standard input does.
// The control API: POST /NAME with a JSON body; each name is a function in ACTIONS.

import http from 'node:http';
import { createInterface } from 'node:readline';
import { Front, listen } from './front.mjs';
import { Idp, read } from './idp.mjs';
import { TAMPERINGS } from './keys.mjs';

// Only the line that says "ready" goes to standard output.
console.info = console.error;

const now = Date.now;
let shift = 0;
Date.now = () => now() + shift;

function oneOf(value, known) {
  if (!known.includes(value)) throw new Error(`${JSON.stringify(value)} is none of ${known.join(', ')}`);
  return value;
}

const actions = (front, idp) => ({
  // Makes the refresh tokens of a person useless: `invalid_grant` from now on.
  revoke: ({ sub }) => idp.revoke(sub),
  // Ends a person's sessions at the provider, which then asks for the login again.
  sign_out: ({ sub }) => idp.signOut(sub),
  // Changes an account: groups, email, email_verified, name, disabled. A key with null is taken away.
  account: ({ sub, set }) => {
    const account = idp.account(sub);
    for (const [key, value] of Object.entries(set)) {
      if (value === null) delete account[key];
      else account[key] = value;
    }
    return account;
  },
  add_account: ({ account }) => { idp.accounts.push(account); },
  // Adds a client, or puts another in its place.
  client: ({ client }) => idp.setClient(client),
  outage: ({ kind }) => front.setOutage(oneOf(kind, ['up', 'refuse', 'unavailable', 'hang'])),
  rotate_keys: () => idp.rotate(),
  // Makes every ID token wrong in one way; null ends that.
  tamper: ({ how }) => { front.tampering = how === null ? null : oneOf(how, TAMPERINGS); },
  pkce: ({ mode }) => { idp.pkce = oneOf(mode, ['required', 'optional', 'unchecked']); },
  refresh: ({ mode }) => { idp.refresh = oneOf(mode, ['always', 'offline_access', 'never']); },
  // The provider's clock runs this far ahead (or behind, if less than 0).
  clock: ({ seconds }) => { shift = seconds * 1000; },
  // The requests so far: method, path, status, and at the token endpoint the grant type.
  requests: () => front.log,
  // Every token that was handed out so far: ID tokens, access tokens, refresh tokens.
  tokens: () => front.tokens,
});

async function control(known, request, response) {
  const reply = (status, body) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? {}));
  };
  try {
    const action = known[request.url.slice(1)];
    if (!action) return reply(404, { error: `no action ${request.url}` });
    const body = await read(request);
    return reply(200, await action(body.length ? JSON.parse(body.toString('utf8')) : {}));
  } catch (error) {
    return reply(400, { error: error.message });
  }
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const settings = JSON.parse((await lines.next()).value);
const front = new Front();
const issuer = await front.listen(settings.port ?? 0);
front.idp = new Idp(issuer, settings);
const known = actions(front, front.idp);
const port = await listen(http.createServer((request, response) => control(known, request, response)), 0);
process.stdout.write(`${JSON.stringify({ ready: true, issuer, control: `http://127.0.0.1:${port}` })}\n`);
await lines.next();
process.exit(0);
