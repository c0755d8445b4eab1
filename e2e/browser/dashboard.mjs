// The dashboard as a person uses it, in a real browser against the real binaries.

import { ask, check, launch, pictures, until, watch } from "./lib.mjs";

const url = process.env.DASHBOARD;
const complaints = [];
const browser = await launch();
const context = await browser.newContext({ baseURL: url });
context.setDefaultTimeout(60000);
const newPage = async () => watch(await context.newPage(), complaints);
const stateOf = (page, selector) => page.locator(selector).first().locator(".state").first().getAttribute("data-state");
const mark = (page) => page.evaluate(() => (window.sameDocument = true));
const unmoved = async (page) => check(await page.evaluate(() => window.sameDocument), `${page.url()} was loaded again`);
const live = (page) => until(`${page.url()} to be live`, async () => (await page.locator("#live").textContent()) === "live");

async function step(name, act) {
  const begun = Date.now();
  await act();
  process.stdout.write(`ok ${name} ${Date.now() - begun} ms\n`);
}

const list = await newPage();
const job = await newPage();

await step("a wrong token is told, and nothing is seen without one", async () => {
  await list.goto("/jobs/1?step=a");
  check(list.url().includes("/login?next="), `not sent to the login: ${list.url()}`);
  await pictures(list, "login", complaints);
  complaints.expected = /401/;
  await list.fill("#token", "agt_wrong");
  await list.click("button[type=submit]");
  await list.waitForSelector(".wrong");
  delete complaints.expected;
  check((await context.cookies()).length === 0, "a wrong token made a cookie");
});

await step("the right token logs in", async () => {
  await list.goto("/login");
  await list.fill("#token", process.env.TOKEN);
  await list.click("button[type=submit]");
  await list.waitForSelector("h1:text('Jobs')");
  const [cookie] = await context.cookies();
  check(cookie.httpOnly && cookie.sameSite === "Strict", JSON.stringify(cookie));
  await list.waitForSelector(".empty");
  await live(list);
  await pictures(list, "empty", complaints);
});

await step("a job is seen on two pages from submit to finish", async () => {
  await mark(list);
  await ask("submit implement");
  await until("the job in the list", () => list.locator("tr[data-job='1']").count());
  await unmoved(list);
  await job.goto("/jobs/1");
  await live(job);
  await mark(job);
  await until("the job to succeed on its page", async () => (await stateOf(job, "#head")) === "succeeded");
  await until("the job to succeed in the list", async () => (await stateOf(list, "tr[data-job='1']")) === "succeeded");
  await unmoved(job);
  await unmoved(list);
  check((await job.locator("svg.graph .step").count()) >= 6, "the graph lacks steps");
  check((await job.locator("svg.timeline .bar").count()) >= 6, "the timeline lacks bars");
  await job.click("#patch > summary");
  await job.waitForSelector("#patch .diff tr.added");
  await job.locator("#results details[id^='of-']").first().locator("summary").first().click();
  await pictures(job, "job", complaints);
  await job.goto("/jobs/1/diff");
  await pictures(job, "diff", complaints);
});

await step("a restart in between is waited for and what came meanwhile is seen", async () => {
  await ask("submit asks");
  await until("the job in the list", () => list.locator("tr[data-job='2']").count());
  await job.goto("/jobs/2");
  await live(job);
  await mark(job);
  await until("lines of the log", () => job.locator(".log .line .text").count());
  complaints.expected = /ERR_|Failed to load/;
  await ask("stop");
  await until("the page to say it", async () => (await job.locator("#live").textContent()) !== "live");
  await ask("start");
  await live(job);
  await live(list);
  delete complaints.expected;
  await ask("release");
  await until("the question", () => job.locator(".asked").count());
  await until("the question in the list", () => list.locator("#asking tr[data-job='2']").count());
  await unmoved(job);
  await unmoved(list);
});

await step("a log is searched, folded and linked", async () => {
  await job.goto("/jobs/2?step=plan");
  await until("the log", () => job.locator(".log[data-ready] .line .text").count());
  await job.fill(".tools input[type=search]", "needle 321");
  await job.press(".tools input[type=search]", "Enter");
  await until("the hit", async () => /needle 321/.test(await job.locator(".line.hit").textContent()));
  check((await job.locator(".said").textContent()) === "1 of 1", await job.locator(".said").textContent());
  await job.locator(".line.hit .number").click();
  const linked = job.url();
  check(/#L\d+$/.test(linked), linked);
  const other = await newPage();
  await other.goto(linked);
  await until("the linked line", async () => /needle 321/.test(await other.locator(".line.marked").textContent()));
  await other.close();
  const [download] = await Promise.all([job.waitForEvent("download"), job.click("a[download^='job-2']")]);
  check(/\.log$/.test(download.suggestedFilename()), download.suggestedFilename());
});

await step("what a job prints is text", async () => {
  const html = await job.locator(".log").innerHTML();
  check(!html.includes("<img"), "markup of a log is markup of the page");
  check((await job.evaluate(() => window.attacked)) === undefined, "a log ran a script");
});

await step("a person approves", async () => {
  await pictures(job, "approval", complaints);
  await job.fill(".asked input[name=reason]", "looks right");
  await job.click("button:text('Approve')");
  await until("the job to succeed", async () => (await stateOf(job, "#head")) === "succeeded");
  await until("nobody to be asked", async () => (await list.locator("#asking tr").count()) === 0);
  await unmoved(list);
});

await step("a job is cancelled", async () => {
  await ask("submit held");
  await job.goto("/jobs/3");
  await until("the job to run", async () => (await stateOf(job, "#head")) === "running");
  job.once("dialog", (dialog) => dialog.accept());
  await job.click("button:text('Cancel')");
  await until("the job to be cancelled", async () => (await stateOf(job, "#head")) === "cancelled");
  await until("the same in the list", async () => (await stateOf(list, "tr[data-job='3']")) === "cancelled");
  await unmoved(list);
});

await step("a worker is drained and takes steps again", async () => {
  await job.click("nav a:text('Workers')");
  await live(job);
  await job.click("[data-worker='one'] button:text('Drain')");
  await job.waitForSelector("[data-worker='one'] [data-state='draining']");
  check((await ask("wanted one")) === "draining", "the controller does not know it");
  await pictures(job, "workers", complaints);
  await job.click("[data-worker='one'] button:text('Resume')");
  await until("it to be active", async () => (await job.locator("[data-state='draining']").count()) === 0);
  await job.click("button:text('Make a join line')");
  check(/^agent-worker join \S+$/.test(await job.locator(".joined code").textContent()), "no join line");
});

await step("the other pages", async () => {
  await list.reload();
  await pictures(list, "jobs", complaints);
  await list.fill("input[name=search]", "FAILING TEST");
  await list.click("button:text('Filter')");
  check((await list.locator("#jobs tr[data-job]").count()) === 1, "the search finds another number");
  for (const [path, name] of [["/usage", "usage"], ["/settings", "settings"], ["/workflows/implement", "workflow"]]) {
    await list.goto(path);
    await pictures(list, name, complaints);
  }
  check(!(await list.content()).includes(process.env.TOKEN), "a token is shown");
  complaints.expected = /404/;
  await list.goto("/jobs/999");
  check((await list.locator(".wrong").textContent()).includes("999"), "the missing job is not named");
  delete complaints.expected;
});

await step("logged out is logged out, and a link logs in once", async () => {
  await list.goto("/");
  await list.click("button:text('Log out')");
  await list.waitForSelector("#token");
  await list.goto("/settings");
  check(list.url().includes("/login"), list.url());
  const link = await ask("link");
  await list.goto(link);
  await list.waitForSelector("h1:text('Jobs')");
  const stranger = await browser.newContext();
  const page = watch(await stranger.newPage(), complaints);
  complaints.expected = /401/;
  await page.goto(link);
  await page.waitForSelector(".wrong");
  delete complaints.expected;
});

await browser.close();
if (complaints.length) {
  process.stdout.write(`complaints:\n${[...new Set(complaints)].join("\n")}\n`);
  process.exit(1);
}
process.exit(0);
