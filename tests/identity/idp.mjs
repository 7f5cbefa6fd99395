// The certified provider, configured for tests: accounts and clients by JSON, sign-in by login name alone, no consent.

import { randomBytes } from 'node:crypto';
import Provider from 'oidc-provider';
import { newKey } from './keys.mjs';
import { said, signIn, signOut } from './pages.mjs';
import { Store } from './store.mjs';

const SCOPES = ['openid', 'email', 'profile', 'groups', 'offline_access'];

export class Idp {
  #store = new Store();
  #cookies = [randomBytes(32).toString('hex')];
  #keys = newKey();

  constructor(issuer, settings) {
    this.issuer = issuer;
    this.accounts = settings.accounts ?? [];
    this.clients = settings.clients ?? [];
    // Where a claim is told: "id_token" and "userinfo". Groups may be told elsewhere than the others.
    this.claimsIn = settings.claims_in ?? ['id_token', 'userinfo'];
    this.groupsIn = settings.groups_in ?? this.claimsIn;
    // When refresh tokens are given: "always", "offline_access" (only if that was asked for and consented to), "never".
    this.refresh = settings.refresh ?? 'always';
    this.lifetimes = settings.lifetimes ?? {};
    this.pkce = settings.pkce ?? 'required';
    this.#build();
  }

  get signingKey() {
    return this.#keys.key;
  }

  account(sub) {
    const found = this.accounts.find((account) => account.sub === sub);
    if (!found) throw new Error(`no account ${sub}`);
    return found;
  }

  // New keys; the old ones are gone at once.
  rotate() {
    this.#keys = newKey();
    this.#build();
    return { kid: this.#keys.kid };
  }

  setClient(client) {
    this.clients = [...this.clients.filter(({ client_id: id }) => id !== client.client_id), client];
    this.#build();
  }

  // Makes every refresh token of a person useless.
  revoke(sub) {
    return { revoked: this.#store.forget(sub, ['RefreshToken']) };
  }

  // Ends a person's sessions at the provider.
  signOut(sub) {
    return { ended: this.#store.forget(sub, ['Session']) };
  }

  #build() {
    const provider = new Provider(this.issuer, this.#configuration());
    // The front hands requests on with the public host's name.
    provider.proxy = true;
    this.provider = provider;
    this.#callback = provider.callback();
  }

  #callback;

  #configuration() {
    return {
      adapter: this.#store.adapter(),
      clients: this.clients.map((client) => ({
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        ...client,
      })),
      jwks: { keys: [this.#keys.jwk] },
      cookies: { keys: this.#cookies },
      scopes: SCOPES,
      claims: {
        // The claims by which AWS tags a session and says whose it is.
        openid: ['sub', 'https://aws.amazon.com/tags', 'https://aws.amazon.com/source_identity'],
        email: ['email', 'email_verified'],
        profile: ['name', 'preferred_username'],
        groups: ['groups'],
      },
      conformIdTokenClaims: false,
      pkce: { required: () => this.pkce === 'required' },
      features: {
        devInteractions: { enabled: false },
        revocation: { enabled: true },
        introspection: { enabled: true },
        rpInitiatedLogout: {
          enabled: true,
          logoutSource: (ctx, form) => { ctx.body = signOut(form); },
          postLogoutSuccessSource: (ctx) => { ctx.body = said('Signed out', 'You are signed out.'); },
        },
      },
      interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
      findAccount: (ctx, sub) => this.#find(sub),
      loadExistingGrant: (ctx) => this.#grant(ctx),
      issueRefreshToken: (ctx, client, code) => client.grantTypeAllowed('refresh_token')
        && (this.refresh === 'always' || (this.refresh === 'offline_access' && code.scopes.has('offline_access'))),
      expiresWithSession: () => false,
      rotateRefreshToken: () => true,
      renderError: (ctx, out) => { ctx.type = 'html'; ctx.body = said('Refused', `${out.error}: ${out.error_description}`); },
      ttl: {
        AccessToken: this.lifetimes.access_token ?? 3600,
        AuthorizationCode: 60,
        IdToken: this.lifetimes.id_token ?? 3600,
        RefreshToken: this.lifetimes.refresh_token ?? 14 * 24 * 3600,
        Grant: 14 * 24 * 3600,
        Interaction: 3600,
        Session: 14 * 24 * 3600,
      },
    };
  }

  #find(sub) {
    const account = this.accounts.find((one) => one.sub === sub && !one.disabled);
    if (!account) return undefined;
    return {
      accountId: sub,
      claims: (use) => {
        const { groups, login, disabled, ...others } = account;
        const claims = this.claimsIn.includes(use) ? { preferred_username: login, ...others } : {};
        if (groups && this.groupsIn.includes(use)) claims.groups = groups;
        return { ...claims, sub };
      },
    };
  }

  // Consent is given by itself.
  async #grant(ctx) {
    const { client, session } = ctx.oidc;
    const known = session.grantIdFor(client.clientId);
    const found = known && await ctx.oidc.provider.Grant.find(known);
    const grant = found || new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope(SCOPES.join(' '));
    await grant.save();
    return grant;
  }

  // Answers a request that the front handed on.
  async answer(request, response) {
    const path = new URL(request.url, this.issuer).pathname;
    if (!path.startsWith('/interaction/')) return this.#callback(request, response);
    try {
      await this.#interact(request, response);
    } catch (error) {
      html(response, 400, said('Refused', error.message));
    }
    return undefined;
  }

  async #interact(request, response) {
    const { uid, prompt, params, session } = await this.provider.interactionDetails(request, response);
    if (prompt.name === 'consent') return this.#consent(request, response, params, session);
    if (request.method !== 'POST') return html(response, 200, signIn(uid, params.login_hint));
    const login = (await form(request)).get('login');
    const account = this.accounts.find((one) => [one.login, one.email, one.sub].includes(login));
    if (!account) return html(response, 200, signIn(uid, login, 'Nobody has this login.'));
    if (account.disabled) return html(response, 200, signIn(uid, login, 'This account is disabled.'));
    const result = { login: { accountId: account.sub, amr: ['pwd'] } };
    return this.provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  }

  // A client asked for consent by name (`prompt=consent`).
  async #consent(request, response, params, session) {
    const grant = new this.provider.Grant({ clientId: params.client_id, accountId: session.accountId });
    grant.addOIDCScope(SCOPES.join(' '));
    const result = { consent: { grantId: await grant.save() } };
    return this.provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
  }
}

function html(response, status, body) {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  response.end(body);
}

async function form(request) {
  return new URLSearchParams((await read(request)).toString('utf8'));
}

export async function read(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}
