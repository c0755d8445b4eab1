// What the browser tests share: a Chromium that tells of every complaint, and a line to the test that started us.

import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";
import readline from "node:readline";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// Lets the test do something on its side and waits for its answer.
export async function ask(words) {
  process.stdout.write(`ask ${words}\n`);
  const { value, done } = await answers.next();
  if (done) throw new Error(`no answer to: ${words}`);
  return value;
}

export function check(truth, what) {
  if (!truth) throw new Error(what);
}

export async function until(what, test, patience = 60000) {
  const begun = Date.now();
  let last;
  while (Date.now() - begun < patience) {
    try {
      last = await test();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    await new Promise((go) => setTimeout(go, 100));
  }
  throw new Error(`waited ${patience} ms for ${what}; last: ${last}`);
}

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"],
  });

// Every complaint of a page, but for those that the test expects just now.
export function watch(page, complaints) {
  page.on("console", (message) => {
    const text = message.text();
    const expected = complaints.expected?.test(text);
    if (message.type() === "error" && !expected) complaints.push(`${page.url()}: ${text} (${message.location().url})`);
    if (/Content Security Policy/i.test(text)) complaints.push(`${page.url()}: ${text}`);
  });
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error.stack}`));
  return page;
}

// Serious findings of axe in a page.
export async function findings(page) {
  // through the debugger: the page's own policy lets no foreign script in
  await page.evaluate(axe);
  const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const bad = result.violations.filter((violation) => ["serious", "critical"].includes(violation.impact));
  return bad.map((violation) => `${page.url()}: ${violation.id}: ${violation.nodes.map((node) => node.target + " " + node.failureSummary).join("; ")}`);
}

const folder = process.env.SCREENSHOTS;
mkdirSync(folder, { recursive: true });

// The page at both widths in light and dark; complains of what axe finds and of what is wider than the window.
export async function pictures(page, name, complaints) {
  for (const width of [1280, 390]) {
    await page.setViewportSize({ width, height: 900 });
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png`, fullPage: true });
      complaints.push(...(await findings(page)));
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    if (wide > 0) complaints.push(`${page.url()}: ${wide} pixels wider than ${width}`);
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
}
