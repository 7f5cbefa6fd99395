// Signing keys and ID tokens signed by hand.

import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (part) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));

// A new RSA key: `jwk` is for the provider, `key` for signing here.
export function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const kid = randomBytes(8).toString('hex');
  return { kid, key: privateKey, jwk: { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' } };
}

function rs256(header, claims, key) {
  const input = `${encode({ ...header, alg: 'RS256' })}.${encode(claims)}`;
  return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`;
}

function hs256(header, claims, secret) {
  const input = `${encode({ ...header, alg: 'HS256' })}.${encode(claims)}`;
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
}

const without = (claims, name) => Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name));
const hours = (count) => count * 3600;

// What each tampering makes of a token's claims; the header stays and the provider's own key signs.
const CLAIMS = {
  nonce: (claims) => ({ ...claims, nonce: 'of-another-sign-in' }),
  no_nonce: (claims) => without(claims, 'nonce'),
  issuer: (claims) => ({ ...claims, iss: 'http://127.0.0.1:1' }),
  audience: (claims) => ({ ...claims, aud: 'another-client' }),
  audiences: (claims) => ({ ...claims, aud: [claims.aud, 'another-client'], azp: 'another-client' }),
  expired: (claims) => ({ ...claims, iat: claims.iat - hours(48), exp: claims.iat - hours(24) }),
  not_yet_valid: (claims) => ({ ...claims, iat: claims.iat + hours(24), nbf: claims.iat + hours(24), exp: claims.exp + hours(48) }),
  subject: (claims) => ({ ...claims, sub: 'somebody-else' }),
};

// Others change the signature.
const SIGNATURES = {
  alg_none: (header, claims) => `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims)}.`,
  hs256: (header, claims, { secret }) => hs256(header, claims, secret),
  unknown_kid: (header, claims) => rs256({ ...header, kid: 'unheard-of' }, claims, newKey().key),
  foreign_key: (header, claims) => rs256(header, claims, newKey().key),
  signature: (header, claims, { token }) => {
    const [head, body, signature] = token.split('.');
    return [head, body, (signature[0] === 'A' ? 'B' : 'A') + signature.slice(1)].join('.');
  },
};

// Tamperings of other answers than the token endpoint's.
const ANSWERS = ['userinfo_subject', 'discovery_issuer'];

export const TAMPERINGS = [...Object.keys(CLAIMS), ...Object.keys(SIGNATURES), ...ANSWERS];

// An ID token that is wrong in one way. `secret` is the client's.
export function tampered(token, how, key, secret) {
  const [header, claims] = token.split('.').slice(0, 2).map(decode);
  if (CLAIMS[how]) return rs256(header, CLAIMS[how](claims), key);
  if (SIGNATURES[how]) return SIGNATURES[how](header, claims, { token, secret });
  return token;
}
