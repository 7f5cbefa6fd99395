// What the provider remembers, in memory: it outlives a change of keys or clients, and tests look into it.

const GRANTED = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken', 'DeviceCode', 'BackchannelAuthenticationRequest']);

export class Store {
  #entries = new Map();

  // The adapter class that oidc-provider asks for.
  adapter() {
    const entries = this.#entries;
    return class {
      constructor(model) {
        this.model = model;
      }

      key(id) {
        return `${this.model}:${id}`;
      }

      async upsert(id, payload, expiresIn) {
        const end = expiresIn ? Date.now() + expiresIn * 1000 : Infinity;
        entries.set(this.key(id), { payload, end });
      }

      async find(id) {
        const entry = entries.get(this.key(id));
        return entry && entry.end > Date.now() ? entry.payload : undefined;
      }

      async #first(test) {
        for (const [key, { payload, end }] of entries) {
          if (key.startsWith(`${this.model}:`) && end > Date.now() && test(payload)) return payload;
        }
        return undefined;
      }

      async findByUid(uid) {
        return this.#first((payload) => payload.uid === uid);
      }

      async findByUserCode(code) {
        return this.#first((payload) => payload.userCode === code);
      }

      async consume(id) {
        const entry = entries.get(this.key(id));
        if (entry) entry.payload.consumed = Math.floor(Date.now() / 1000);
      }

      async destroy(id) {
        entries.delete(this.key(id));
      }

      async revokeByGrantId(grantId) {
        for (const [key, { payload }] of entries) {
          if (GRANTED.has(key.split(':')[0]) && payload.grantId === grantId) entries.delete(key);
        }
      }
    };
  }

  // Forgets one person's entries of some kinds; says how many they were.
  forget(sub, kinds) {
    let count = 0;
    for (const [key, { payload }] of this.#entries) {
      if (kinds.includes(key.split(':')[0]) && payload.accountId === sub) {
        this.#entries.delete(key);
        count += 1;
      }
    }
    return count;
  }
}
