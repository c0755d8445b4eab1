// One stream of events for all pages of a browser. Runs as a SharedWorker; pages connect to it.
// It says {state: "live" | "reconnecting", seq, event}, and a page that joins late gets what it missed.

const KEPT = 500; // events that a late page may still get
const SILENCE = 40000; // two and a half heartbeats: then the connection is dead

const pages = new Set();
const kept = [];
let source = null;
let last = null;
let state = "reconnecting";
let heard = Date.now();
let wait = 500;

function tell(message) {
  for (const page of pages) page.postMessage(message);
}

function open() {
  if (source) source.close();
  source = new EventSource("/live?after=" + last);
  source.onopen = () => alive();
  source.onmessage = (event) => {
    alive();
    const data = JSON.parse(event.data);
    if (data.seq <= last) return;
    last = data.seq;
    kept.push(data);
    if (kept.length > KEPT) kept.shift();
    tell({ state, event: data });
  };
  source.addEventListener("beat", alive);
  source.onerror = () => {
    change("reconnecting");
    source.close();
    source = null;
    setTimeout(open, wait);
    wait = Math.min(wait * 2, 5000);
  };
}

function alive() {
  heard = Date.now();
  wait = 500;
  change("live");
}

function change(to) {
  if (to === state) return;
  state = to;
  tell({ state });
}

setInterval(() => {
  if (source && Date.now() - heard > SILENCE) {
    heard = Date.now();
    change("reconnecting");
    open();
  }
}, 5000);

self.onconnect = (connect) => {
  const page = connect.ports[0];
  page.onmessage = ({ data }) => {
    if (data.bye) return void pages.delete(page);
    pages.add(page);
    if (last === null) {
      last = data.seq;
      open();
    }
    const missed = kept.filter((event) => event.seq > data.seq);
    // what is no longer kept may concern the page: it looks again
    const gap = data.seq < last && (missed.length === 0 || missed[0].seq > data.seq + 1);
    page.postMessage({ state, gap });
    for (const event of missed) page.postMessage({ state, event });
  };
};
