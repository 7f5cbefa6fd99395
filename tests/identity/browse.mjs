// Headless Chromium that does what lines on standard input say, one JSON object each; each gets one line of answer,
// {"ok":true,...} or {"error":"..."}. Ends when standard input does. The steps are the functions in STEPS. Arguments are
// the time zone of whoever sits before it, and "no-scripts" if it runs none of a page's.

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
const context = await browser.newContext({
  viewport: { width: 1280, height: 800 },
  timezoneId: process.argv[2] ?? 'UTC',
  javaScriptEnabled: process.argv[3] !== 'no-scripts',
});
context.setDefaultTimeout(LIMIT);
const page = await context.newPage();

// What the page's scripts and the browser complained of: errors, and resources that its policy blocked.
const complaints = [];
page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()); });
page.on('pageerror', (error) => complaints.push(error.message));
// A dialog is closed at once: a page of ours opens none.
page.on('dialog', (dialog) => {
  complaints.push(`a dialog: ${dialog.message()}`);
  dialog.dismiss().catch(() => {});
});

// The origins of everything that pages asked for so far, whether it was there or not.
const origins = new Set();
page.on('request', (request) => origins.add(new URL(request.url()).origin));

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

// The two below run in the page. What is closed at first: what unfolds in its place, which can be looked at all at once,
// and menus one by one, since they lie over the page; of those that say the same, the first and the last.
const gather = () => {
  const closed = [...document.querySelectorAll('details:not([open])')];
  const unfolding = closed.filter((details) => !details.name);
  const kinds = Map.groupBy(closed.filter((details) => details.name), (menu) =>
    menu.querySelector('summary').firstChild.textContent.trim());
  const menus = [...kinds].flatMap(([kind, all]) => [...new Set([all[0], all.at(-1)])].map((menu) => [kind, [menu]]));
  globalThis.openAtFirst = [...document.querySelectorAll('details[open]')];
  globalThis.closedAtFirst = unfolding.length > 0 ? [['what unfolds', unfolding], ...menus] : menus;
  return { opened: globalThis.closedAtFirst.length, folds: document.querySelectorAll('summary').length };
};
const lookInside = async ({ nth, rules }) => {
  const [what, all] = globalThis.closedAtFirst[nth];
  // The page may have been made anew meanwhile.
  if (!all.every((details) => details.isConnected)) return [];
  for (const details of all) details.open = true;
  const found = await globalThis.axe.run(all.length > 1 ? document : all[0], { runOnly: rules });
  const wrong = found.violations.map(({ id, help, nodes }) =>
    `${what} open: ${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} (${failureSummary})`).join(' | ')}`);
  const { scrollWidth, clientWidth } = document.scrollingElement;
  if (scrollWidth > clientWidth) wrong.push(`${what} open: sticks out by ${scrollWidth - clientWidth} px`);
  return wrong;
};
const closeInside = (nth) => {
  const says = (details) => details.querySelector('summary').textContent;
  // A page that was made anew while it was looked at has kept open what was open, in other elements.
  const opened = new Set(globalThis.closedAtFirst[nth][1].map(says));
  for (const details of document.querySelectorAll('details[open]')) if (opened.has(says(details))) details.open = false;
};
// One menu that opens closes another: what was open is opened again.
const reopen = () => {
  for (const details of globalThis.openAtFirst) details.open = true;
};

const inside = async (path) => {
  await page.evaluate(AXE);
  const { opened, folds } = await page.evaluate(gather);
  const wrong = [];
  for (let nth = 0; nth < opened; nth += 1) {
    wrong.push(...await page.evaluate(lookInside, { nth, rules: RULES }));
    if (path) await page.screenshot({ path: `${path}-${nth}.png` });
    await page.evaluate(closeInside, nth);
  }
  await page.evaluate(reopen);
  return { wrong, opened, folds };
};

// Some pages load themselves again every few seconds, perhaps while they are looked at: then that begins anew.
const steadily = async (look) => {
  for (let again = 4; ; again -= 1) {
    try {
      return await look();
    } catch (error) {
      if (again === 0 || !error.message.includes('context was destroyed')) throw error;
    }
  }
};

const STEPS = {
  // Runs a script before those of every page from now on.
  before: ({ script }) => context.addInitScript(script),
  goto: async ({ url }) => ({ status: (await page.goto(url))?.status() }),
  // Every address that was asked for, with its bytes.
  traffic: () => ({ traffic }),
  // What keeps people out, by axe-core; the page as it is, in its theme and width.
  axe: () => steadily(async () => {
    await page.evaluate(AXE);
    const found = await page.evaluate((rules) => globalThis.axe.run(document, { runOnly: rules }), RULES);
    const violations = found.violations.map(({ id, help, nodes }) =>
      `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} (${failureSummary})`).join(' | ')}`);
    return { violations };
  }),
  // The same with what is closed at first, opened; with `path`, also a picture of each: PATH-0.png, PATH-1.png, ...
  inside: ({ path }) => steadily(() => inside(path)),
  // The value of an expression in the page.
  value: async ({ expression }) => ({ value: (await page.evaluate(expression)) ?? null }),
  origins: () => ({ origins: [...origins] }),
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
    const { scrollWidth, clientWidth } = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.scrollingElement;
      return { scrollWidth, clientWidth };
    });
    return { overflow: scrollWidth > clientWidth };
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
