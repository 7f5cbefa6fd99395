// Headless Chromium that does what lines on standard input say, one JSON object each; each gets one line of answer,
// {"ok":true,...} or {"error":"..."}. Ends when standard input does. The steps are the functions in STEPS.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

// How long a step may take on a machine with other work.
const LIMIT = 30_000;

// What WCAG 2.2 AA asks for, as far as a program can tell.
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

const root = process.getuid?.() === 0;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // Chromium's sandbox refuses root; small /dev/shm as in containers makes it crash.
  args: [...(root ? ['--no-sandbox'] : []), '--disable-dev-shm-usage', '--disable-gpu'],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
context.setDefaultTimeout(LIMIT);
const page = await context.newPage();

// What the page's scripts and the browser complained of: errors, and resources that its policy blocked.
const complaints = [];
page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()); });
page.on('pageerror', (error) => complaints.push(error.message));

// What was loaded for the page that is shown, and how much of it went over the wire.
let traffic = [];
const pageOf = new WeakMap();
page.on('request', (request) => {
  if (request.isNavigationRequest() && request.frame() === page.mainFrame()) traffic = [];
  pageOf.set(request, traffic);
});
page.on('requestfinished', async (request) => {
  const mine = pageOf.get(request) ?? [];
  const sizes = await request.sizes().catch(() => null);
  if (sizes) mine.push({ url: request.url(), bytes: sizes.responseBodySize + sizes.responseHeadersSize });
});

const STEPS = {
  goto: async ({ url }) => ({ status: (await page.goto(url))?.status() }),
  // Every address that was asked for, with its bytes.
  traffic: () => ({ traffic }),
  // What keeps people out, by axe-core; the page as it is, in its theme and width.
  axe: async () => {
    await page.evaluate(AXE);
    const found = await page.evaluate((rules) => globalThis.axe.run(document, { runOnly: rules }), RULES);
    const violations = found.violations.map(({ id, help, nodes }) =>
      `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} (${failureSummary})`).join(' | ')}`);
    return { violations };
  },
  fill: ({ selector, value }) => page.fill(selector, value),
  press: ({ selector, key }) => page.press(selector, key),
  // With `wait`, also until the address contains it.
  click: async ({ selector, wait }) => {
    if (wait === undefined) return page.click(selector);
    await Promise.all([page.waitForURL((url) => url.href.includes(wait)), page.click(selector)]);
    return {};
  },
  text: async ({ selector }) => ({ text: await page.innerText(selector) }),
  count: async ({ selector }) => ({ count: await page.locator(selector).count() }),
  // Waits until the element is visible.
  wait: async ({ selector }) => { await page.waitForSelector(selector); },
  url: () => ({ url: page.url() }),
  complaints: () => ({ complaints }),
  // Whether something sticks out sideways at this width.
  overflow: async ({ width, height }) => {
    await page.setViewportSize({ width, height });
    return { overflow: await page.evaluate('document.documentElement.scrollWidth > window.innerWidth') };
  },
  screenshot: async ({ path, width, height, theme }) => {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: theme });
    await page.screenshot({ path });
  },
};

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
say({ ok: true, ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const { step, ...rest } = JSON.parse(line);
    if (!STEPS[step]) throw new Error(`no step ${step}`);
    say({ ok: true, ...(await STEPS[step](rest)) });
  } catch (error) {
    say({ error: error.message });
  }
}
await browser.close();
process.exit(0);
