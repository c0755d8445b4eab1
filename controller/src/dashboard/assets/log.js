// A log of any length: only what is in view is in the page. Lines have links, commands fold, a search finds.

const box = document.querySelector(".log");
const { job, step, attempt } = box.dataset;
const HIGH = 20; // pixels of a line, as in the style
const PIECE = 250; // lines asked for at a time
const AHEAD = 40; // lines drawn before and after the view

const ask = (what, more) =>
  fetch(`/jobs/${job}/${what}?` + new URLSearchParams({ step, attempt, ...more })).then((answer) => {
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  });

// ---- the tools above the lines

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const text = make("input", { type: "search", placeholder: "Search the log", maxLength: 100 });
text.setAttribute("aria-label", "Search the log");
const earlier = make("button", { type: "button", textContent: "↑", title: "Earlier" });
const later = make("button", { type: "button", textContent: "↓", title: "Later" });
earlier.setAttribute("aria-label", "Earlier hit");
later.setAttribute("aria-label", "Later hit");
const said = make("span", { className: "said" });
said.setAttribute("role", "status");
const tail = make("input", { type: "checkbox" });
const foldAll = make("button", { type: "button", textContent: "Fold" });
const tools = make("p", { className: "tools" }, text, earlier, later, said, make("label", {}, tail, " follow"), foldAll);
const view = make("div", { className: "view", tabIndex: 0 });
view.setAttribute("role", "region");
view.setAttribute("aria-label", `Lines of the log of ${step}`);
const all = make("div", { className: "all" });
const drawn = make("div", { className: "drawn" });
all.append(drawn);
view.append(all);
box.append(tools, view);

// ---- what is known of the log

let total = 0;
let open = true;
let heads = [];
let pieces = new Map(); // by number: lines as HTML, or a promise of them
let folded = new Set(); // lines of commands whose output is folded
let hits = [];
let hit = -1;
let marked = null;

// Rows are the lines that are not folded away.
let runs = []; // [first row, first line, length]
let rows = 0;

function count() {
  runs = [];
  rows = 0;
  let line = 0;
  const add = (end) => {
    if (end > line) {
      runs.push([rows, line, end - line]);
      rows += end - line;
    }
  };
  heads.forEach((head, at) => {
    if (!folded.has(head)) return;
    add(head + 1);
    line = at + 1 < heads.length ? heads[at + 1] : total;
  });
  add(total);
  all.style.height = rows * HIGH + "px";
}

function lineOf(row) {
  let low = 0;
  let high = runs.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (runs[middle][0] <= row) low = middle;
    else high = middle - 1;
  }
  return runs[low][1] + row - runs[low][0];
}

function rowOf(line) {
  let row = 0;
  for (const [first, from, length] of runs) {
    if (line < from) break;
    row = first + Math.min(line - from, length - 1);
  }
  return row;
}

// ---- lines

function know(answer) {
  const grew = answer.total > total;
  if (grew) pieces.delete(Math.floor(total / PIECE));
  total = Math.max(total, answer.total);
  open = answer.open;
  heads = answer.heads.map((head) => head.line);
  foldAll.hidden = heads.length === 0;
  if (grew) count();
  return grew;
}

function piece(number) {
  if (pieces.has(number)) return pieces.get(number);
  const asked = ask("lines", { from: number * PIECE, count: PIECE })
    .then((answer) => {
      know(answer);
      // the last one may still grow
      pieces.set(number, answer.lines);
      draw();
    })
    .catch(() => setTimeout(() => pieces.delete(number), 1000));
  pieces.set(number, asked);
  if (pieces.size > 60) pieces.delete(pieces.keys().next().value);
  return asked;
}

function row(line) {
  const lines = piece(Math.floor(line / PIECE));
  const html = Array.isArray(lines) ? lines[line % PIECE] : null;
  const element = make("div", { className: "line" });
  if (line === marked) element.classList.add("marked");
  if (hits[hit] === line) element.classList.add("hit");
  const link = make("a", { className: "number", href: `?step=${encodeURIComponent(step)}&attempt=${attempt}#L${line + 1}`, textContent: line + 1 });
  link.onclick = (event) => {
    event.preventDefault();
    history.replaceState(null, "", link.href);
    marked = line;
    draw();
  };
  element.append(link);
  if (heads.includes(line)) {
    const shut = folded.has(line);
    const button = make("button", { type: "button", className: "fold", textContent: shut ? "▸" : "▾" });
    button.setAttribute("aria-expanded", String(!shut));
    button.setAttribute("aria-label", "Output of this command");
    button.onclick = () => {
      if (!folded.delete(line)) folded.add(line);
      count();
      draw();
    };
    element.append(button);
  }
  // the server has escaped it
  if (html != null) element.insertAdjacentHTML("beforeend", html);
  return element;
}

function draw() {
  const first = Math.max(0, Math.floor(view.scrollTop / HIGH) - AHEAD);
  const last = Math.min(rows, Math.ceil((view.scrollTop + view.clientHeight) / HIGH) + AHEAD);
  const lines = [];
  for (let at = first; at < last; at++) lines.push(lineOf(at));
  drawn.replaceChildren(...lines.map(row));
  drawn.style.transform = `translateY(${first * HIGH}px)`;
  view.dataset.drawn = `${first}-${last}`;
}

function go(line) {
  for (const head of heads) {
    const next = heads[heads.indexOf(head) + 1] ?? total;
    if (folded.has(head) && head < line && line < next) folded.delete(head);
  }
  count();
  view.scrollTop = Math.max(0, rowOf(line) * HIGH - view.clientHeight / 3);
  draw();
}

let waiting = false;
view.addEventListener("scroll", () => {
  if (!atEnd()) tail.checked = false;
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
});

const atEnd = () => view.scrollTop + view.clientHeight >= all.offsetHeight - 2 * HIGH;
const toEnd = () => {
  view.scrollTop = all.offsetHeight;
  draw();
};
tail.onchange = () => tail.checked && toEnd();

foldAll.onclick = () => {
  folded = folded.size ? new Set() : new Set(heads);
  foldAll.textContent = folded.size ? "Unfold" : "Fold";
  count();
  draw();
};

// ---- search

async function search() {
  hits = [];
  hit = -1;
  if (!text.value) {
    said.textContent = "";
    draw();
    return;
  }
  try {
    const found = await ask("search", { q: text.value });
    hits = found.lines;
    if (hits.length === 0) said.textContent = "nothing found";
    else step_to(1, found.total);
  } catch {
    said.textContent = "the search failed";
  }
}

let found_in = 0;
function step_to(by, found) {
  if (found) found_in = found;
  if (hits.length === 0) return;
  hit = (hit + by + hits.length) % hits.length;
  said.textContent = `${hit + 1} of ${found_in}`;
  tail.checked = false;
  go(hits[hit]);
}

text.addEventListener("search", () => text.value === "" && search());
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  if (hits.length && text.dataset.asked === text.value) return step_to(event.shiftKey ? -1 : 1);
  text.dataset.asked = text.value;
  search();
});
earlier.onclick = () => step_to(-1);
later.onclick = () => (hits.length ? step_to(1) : search());

// ---- while it grows

async function grow() {
  let pause = 1000;
  if (!document.hidden && open) {
    try {
      const last = Math.max(0, total - 1);
      const answer = await ask("lines", { from: Math.floor(last / PIECE) * PIECE, count: PIECE });
      const grew = know(answer);
      pieces.set(Math.floor(last / PIECE), answer.lines);
      if (grew && tail.checked) toEnd();
      else if (grew) draw();
    } catch {
      pause = 2000;
    }
  }
  setTimeout(grow, pause);
}

async function start() {
  const named = /^#L(\d+)$/.exec(location.hash);
  marked = named ? Number(named[1]) - 1 : null;
  const from = Math.floor((marked ?? 0) / PIECE);
  try {
    const answer = await ask("lines", { from: from * PIECE, count: PIECE });
    know(answer);
    pieces.set(from, answer.lines);
    if (marked !== null) {
      go(marked);
      box.scrollIntoView();
    } else if (open) {
      tail.checked = true;
      toEnd();
    } else draw();
  } catch {
    said.textContent = "the log cannot be read";
  }
  box.dataset.ready = "yes";
  setTimeout(grow, 500);
}

start();
