// What the provider uses and Debian 12's Node, which is 18, lacks. Imported before everything else.

import { webcrypto } from 'node:crypto';

globalThis.crypto ??= webcrypto;
URL.parse ??= (url, base) => {
  try {
    return new URL(url, base);
  } catch {
    return null;
  }
};

// The provider warns of it; every flow that is needed works on these versions too, as the suite shows.
const { warn } = console;
console.warn = (text, ...rest) => {
  if (!String(text).includes('Unsupported runtime')) warn(text, ...rest);
};
