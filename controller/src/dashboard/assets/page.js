// Keeps a page true: asks for it again when its events come, and says whether it is live.

const body = document.body;
const live = document.getElementById("live");
const follows = body.dataset.follows;

// ---- what is true only for a moment: times

function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 10) return (Math.max(0, ms) / 1000).toFixed(1) + " s";
  if (s < 60) return s + " s";
  const two = (n) => String(n).padStart(2, "0");
  if (s < 3600) return Math.floor(s / 60) + " min " + two(s % 60) + " s";
  if (s < 86400) return Math.floor(s / 3600) + " h " + two(Math.floor(s / 60) % 60) + " min";
  return Math.floor(s / 86400) + " d " + (Math.floor(s / 3600) % 24) + " h";
}

function ago(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 5) return "now";
  if (s < 60) return s + " s ago";
  if (s < 3600) return Math.floor(s / 60) + " min ago";
  if (s < 86400) return Math.floor(s / 3600) + " h ago";
  return Math.floor(s / 86400) + " d ago";
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function tick() {
  if (document.hidden) return;
  const now = Date.now();
  for (const time of document.querySelectorAll("time[data-since]")) put(time, span(now - Date.parse(time.dateTime)));
  for (const time of document.querySelectorAll("time[data-ago]")) put(time, ago(now - Date.parse(time.dateTime)));
}
setInterval(tick, 1000);

// ---- how true the page is

let state = "reconnecting";
let lost = null;
let wasLive = false;

function say() {
  if (!live) return;
  if (state === "live") {
    lost = null;
    live.dataset.state = "live";
    put(live, "live");
    return;
  }
  lost = lost || new Date();
  const stale = Date.now() - lost > 10000;
  live.dataset.state = stale ? "stale" : "reconnecting";
  const clock = lost.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  put(live, stale ? "stale since " + clock : "reconnecting");
}

// ---- the page again

const PAUSE = 1500; // between two looks, in milliseconds
let looked = 0;
let planned = null;
let busy = false;
let again = false;

function plan() {
  if (document.hidden || busy) {
    again = true;
    return;
  }
  if (!planned) planned = setTimeout(look, Math.max(100, looked + PAUSE - Date.now()));
}

async function look() {
  planned = null;
  busy = true;
  again = false;
  looked = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected && new URL(answer.url).pathname === "/login") return void location.assign(answer.url);
    if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    again = true; // the stream tells when the controller is back
  }
  busy = false;
  if (again && state === "live") plan();
}

// Somebody types here: what they write must not go.
function inUse(part) {
  const field = document.activeElement;
  return part.contains(field) && field.matches("input:not([type=hidden]), textarea, select") && field.value !== "";
}

function take(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const found = fresh.getElementById(part.id);
    if (!found || bare(found) === known.get(part) || inUse(part)) continue;
    known.set(part, bare(found));
    const open = [...part.querySelectorAll("details[open][id]")].map((details) => details.id);
    const loaded = new Map([...part.querySelectorAll("[data-loaded]")].map((details) => [details.id, details]));
    const scrolled = [...part.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
    const focused = part.contains(document.activeElement) ? path(part, document.activeElement) : null;
    part.replaceChildren(...[...found.childNodes].map((node) => document.importNode(node, true)));
    for (const id of open) part.querySelector("#" + CSS.escape(id))?.setAttribute("open", "");
    for (const [id, details] of loaded) part.querySelector("#" + CSS.escape(id))?.replaceWith(details);
    part.querySelectorAll(".scroll").forEach((box, at) => (box.scrollLeft = scrolled[at] || 0));
    if (focused) follow(part, focused)?.focus({ preventScroll: true });
  }
  takeLog(document.getElementById("log"), fresh.getElementById("log"));
  prepare();
  tick();
}

// The log looks after itself; what it lacks are steps that have begun since.
function takeLog(log, fresh) {
  if (!log || !fresh?.querySelector(".log")) return;
  if (!log.querySelector(".log")) {
    const { src } = fresh.querySelector("script");
    log.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
    import(src);
    return;
  }
  const [steps, now] = [log, fresh].map((part) => part.querySelector("select[name=step]"));
  if (steps.length === now.length || steps === document.activeElement) return;
  const { value } = steps;
  steps.replaceChildren(...[...now.options].map((option) => document.importNode(option, true)));
  steps.value = value;
}

function path(part, element) {
  const steps = [];
  for (let at = element; at !== part; at = at.parentElement) steps.unshift([...at.parentElement.children].indexOf(at));
  return steps;
}

function follow(part, steps) {
  return steps.reduce((at, step) => at?.children[step], part);
}

// What a part said last, but for times that tick by themselves.
const known = new WeakMap();
const bare = (part) => part.innerHTML.replace(/(<time[^>]*>)[^<]*/g, "$1");
for (const part of document.querySelectorAll("[data-live]")) known.set(part, bare(part));

// ---- events

function concerns(event) {
  if (follows === "jobs") return event.job != null;
  if (follows === "workers") return event.kind.startsWith("worker") || event.kind === "step_state";
  return String(event.job) === follows;
}

function hear({ data }) {
  if (data.state && data.state !== state) {
    state = data.state;
    if (state === "live" && (again || wasLive)) plan();
    wasLive ||= state === "live";
    say();
  }
  if (data.gap) plan();
  if (data.event && concerns(data.event)) plan();
}

function connect() {
  const seq = Number(body.dataset.seq);
  if (window.SharedWorker) {
    const worker = new SharedWorker(body.dataset.worker);
    worker.port.onmessage = hear;
    worker.port.postMessage({ seq });
    window.addEventListener("pagehide", () => worker.port.postMessage({ bye: true }));
    window.addEventListener("pageshow", (event) => event.persisted && location.reload());
    return;
  }
  // a browser without shared workers has a stream for each page
  let last = seq;
  const open = () => {
    const source = new EventSource("/live?after=" + last);
    source.onopen = () => hear({ data: { state: "live" } });
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      last = event.seq;
      hear({ data: { state: "live", event } });
    };
    source.onerror = () => {
      hear({ data: { state: "reconnecting" } });
      source.close();
      setTimeout(open, 2000);
    };
  };
  open();
}

// ---- forms and folded parts

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.ask && !window.confirm(form.dataset.ask)) return void event.preventDefault();
  // a second click does nothing; the button stays so that its value is sent
  if (form.method === "post") {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  }
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-choose]");
  if (!form) return;
  if (event.target.name === "step") form.elements.attempt?.remove();
  form.requestSubmit();
});

async function load(details) {
  if (!details.open || details.dataset.loaded) return;
  details.dataset.loaded = "yes";
  try {
    const answer = await fetch(details.dataset.load, { headers: { Accept: "text/html" } });
    const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("diff");
    if (found) details.replaceChildren(details.querySelector("summary"), document.importNode(found, true));
  } catch {
    delete details.dataset.loaded;
  }
}

function prepare() {
  for (const details of document.querySelectorAll("details[data-load]")) details.ontoggle = () => load(details);
}

prepare();
const link = document.querySelector("form[data-link]");
if (link && !link.querySelector(".wrong")) link.requestSubmit();
if (follows) {
  say();
  setInterval(say, 1000);
  connect();
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && again) plan();
    tick();
  });
}
