// Headless Chromium that does what lines on standard input say, one JSON object each; each gets one line of answer,
// {"ok":true,...} or {"error":"..."}. Ends when standard input does. The steps are the functions in STEPS.

import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

// How long a step may take on a machine with other work.
const LIMIT = 30_000;

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

const STEPS = {
  goto: async ({ url }) => ({ status: (await page.goto(url))?.status() }),
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
