// The page of one line: an ordinary client of /v1/lines/{line}/events, which comes back by itself.
// All that grows is bounded: pieces, alarms and points are dropped oldest first, so a day is as light as a minute.
import { Belt } from "./belt.js";
import { element } from "./ask.js";
import { Charts } from "./line_charts.js";

const LANE_COLOURS = ["#2f9be0", "#f0a51e", "#1fb585", "#d977ab", "#e8622c", "#e9dc4b", "#9d8df1", "#8cd0f5", "#b4772f", "#7fce5a"];
const REST_COLOUR = "#98a5a0";
const MOST_PIECES = 12, MOST_EARLIER = 20;
const SILENT_MS = 15000;
const FEW = 20, CLOSE = 0.005; // fewer pieces, or so small a difference, are no reason to worry: lanes run at their limit

const byId = (id) => document.getElementById(id);
const line = document.body.dataset.line;
const belt = new Belt(byId("belt"));
const charts = new Charts(byId("throughput"), byId("latencies"));

let source = null, heardAt = 0, again = 1000;
let about = null, rules = null, colours = new Map(), state = null;
let waiting = [], alarms = new Map();

function connect() {
  source?.close();
  source = new EventSource(`/v1/lines/${line}/events`);
  heardAt = Date.now();
  source.onmessage = ({ data }) => {
    heardAt = Date.now();
    again = 1000;
    take(JSON.parse(data));
  };
  source.onerror = () => {
    showStatus("bad", "no connection, trying again");
    if (source.readyState === EventSource.CLOSED) retry(); // refused; the browser only repeats what was cut
  };
}

function retry() {
  source.close();
  setTimeout(connect, again);
  again = Math.min(again * 2, 15000);
}

setInterval(() => {
  if (source.readyState !== EventSource.CLOSED && Date.now() - heardAt > SILENT_MS) {
    showStatus("bad", "no word from the line, trying again");
    connect();
  }
}, 5000);

function take(message) {
  if (message.type === "hello") hello(message);
  else if (message.type === "piece") takePiece(message);
  else if (message.type === "state") takeState(message);
  else if (message.type === "alarm") takeAlarm(message);
  else if (message.type === "rules") takeRules(message);
}

function hello({ line: described, rules: current, pieces, alarms: told, now }) {
  about = described;
  takeRules(current);
  belt.start(about, colourOf);
  byId("last").replaceChildren();
  waiting = [];
  alarms = new Map();
  told.forEach(takeAlarm);
  charts.clear();
  pieces.forEach(takePiece);
  takeState(now);
}

function takeRules(current) {
  rules = current;
  colours = new Map(rules.lanes.map(({ name }, place) => [name, LANE_COLOURS[place % LANE_COLOURS.length]]));
  colours.set(rules.rest, REST_COLOUR);
  byId("rules").textContent = rules.version;
  for (const ejector of about.ejectors) {
    const lane = rules.lanes.find((each) => each.ejector === ejector.name);
    ejector.lane = lane?.name;
    ejector.colour = lane ? colourOf(lane.name) : undefined;
  }
  byId("legend").replaceChildren(...[...rules.lanes.map(({ name }) => name), rules.rest].map((name) => chip(name)),
    element("span", { class: "muted" }, "dashed: late or held, goes to the rest"));
}

const colourOf = (lane) => colours.get(lane) ?? REST_COLOUR;
const chip = (lane) => element("span", { class: "chip", style: `--lane:${colourOf(lane)}` }, lane);

function takePiece(shown) {
  belt.add(shown);
  waiting.push(shown);
  if (waiting.length > MOST_PIECES) waiting.shift();
}

// Many pieces a second would be unreadable one by one: the list takes what came, twice a second.
setInterval(() => {
  if (!waiting.length || document.hidden) return;
  const list = byId("last");
  for (const shown of waiting) {
    list.querySelector(`[data-number="${Number(shown.piece.number)}"]`)?.remove();
    list.prepend(pieceItem(shown));
    if (shown.simulated) showSimulated("Simulated belt");
  }
  waiting = [];
  while (list.children.length > MOST_PIECES) list.lastElementChild.remove();
}, 500);

const OUTCOMES = { fired: null, passed: null, late: "too late, goes to the rest", held: "held back, goes to the rest" };

function pieceItem({ piece, lane, wanted, reason, outcome, latency_ms: latency, picture }) {
  const shares = piece.shares.filter(({ share }) => share >= 0.02).slice(0, 4).map(({ fibre, share }) => `${fibre} ${percent(share)}`).join(", ");
  const grams = piece.mass ? `${Math.round(piece.mass.grams)} g` : "";
  const thumb = picture
    ? element("img", { src: `data:image/jpeg;base64,${picture}`, alt: "", width: 56, height: 56 })
    : element("span", { class: "no-picture" }, "no picture");
  return element("li", { "data-number": piece.number, style: `--lane:${colourOf(wanted)}` }, thumb,
    element("div", {},
      element("p", { class: "what" }, chip(lane), element("b", {}, shares || "no composition"), " ", piece.flags.length ? element("span", { class: "flags" }, piece.flags.join(", ")) : null),
      element("p", { class: "muted" }, reason),
      element("p", { class: "muted" }, [`no. ${piece.number}`, clock(piece.seen_at), piece.colour?.name, grams, `${Math.round(latency)} ms`].filter(Boolean).join(" · "),
        OUTCOMES[outcome] ? element("strong", { class: "missed" }, ` · wanted ${wanted}, ${OUTCOMES[outcome]}`) : null)));
}

function takeState({ state: told, lanes, history }) {
  charts.add(history, told?.deadline_ms ?? null, about.step_s);
  if (!told) return showStatus("", "waiting for frames");
  state = told;
  belt.moved(state.encoder, state.speed_mm_per_s, state.running);
  showStatus(state.running ? "good" : "", state.running ? "running" : "stands still");
  if (state.trained_on === "simulated") showSimulated("Model trained on simulated data");
  byId("pieces-per-min").textContent = state.pieces_per_min.toFixed(0);
  byId("kg-per-h").textContent = state.kg_per_h.toFixed(0);
  byId("speed").textContent = (state.speed_mm_per_s / 1000).toFixed(2);
  byId("pieces").textContent = state.pieces.toLocaleString("en");
  meter("latency", state.latency_p99_ms, state.deadline_ms, (ms) => `${ms.toFixed(0)}`,
    state.deadline_ms ? `ms to decide, ${state.deadline_ms.toFixed(0)} allowed` : "ms to decide (99 of 100)");
  meter("reference", state.reference_age_s, about.reference_max_age_s, duration, `reference age, ${duration(about.reference_max_age_s)} at most`);
  showLanes(lanes);
  showAlarms();
}

function meter(name, value, most, say, said) {
  byId(name).textContent = value === null ? "–" : say(value);
  byId(`${name}-said`).textContent = said;
  const share = value === null || !most ? 0 : Math.min(1, value / most);
  byId(`${name}-bar`).style.width = `${100 * share}%`;
  byId(`${name}-tile`).classList.toggle("bad", share >= 1);
  byId(`${name}-tile`).classList.toggle("near", share >= 0.8 && share < 1);
}

function showLanes(expected) {
  const counts = new Map(state.lanes.map((count) => [count.lane, count]));
  const row = (name, take, needed) => {
    const { pieces = 0, grams = 0, purity = null, recovery = null } = expected[name] ?? {};
    const { late = 0, held = 0 } = counts.get(name) ?? {};
    const low = purity !== null && needed !== null && purity < needed - CLOSE && pieces >= FEW;
    return [element("tr", {},
      element("td", {}, chip(name)),
      element("td", {}, String(pieces)), element("td", {}, (grams / 1000).toFixed(1)),
      element("td", { class: low ? "low" : "" }, needed === null ? "" : percent(purity)),
      element("td", {}, needed === null ? "" : percent(recovery)),
      element("td", { class: late ? "low" : "" }, String(late)), element("td", { class: held ? "low" : "" }, String(held))),
    element("tr", { class: "take" }, element("td", { colspan: 7 }, take, needed === null ? "" : `; at least ${percent(needed)} pure`))];
  };
  byId("lanes").replaceChildren(...rules.lanes.flatMap((lane) => row(lane.name, lane.take, lane.needed_purity)), ...row(rules.rest, "all that no lane takes", null));
}

function takeAlarm(alarm) {
  const key = `${alarm.code} ${alarm.since}`;
  alarms.delete(key);
  if (alarm.until) alarms.set(key, alarm);
  while (alarms.size > MOST_EARLIER) alarms.delete(alarms.keys().next().value);
  showAlarms();
}

function showAlarms() {
  const now = state ? Date.parse(state.at) : Date.now();
  const active = state?.alarms ?? [];
  keep(byId("alarms"), active.map(({ code, cause, since }) => ({ code, cause, since })).map(({ code, cause, since }) =>
    [`${code} ${since} ${cause}`, () => element("p", { class: "problem" }, element("strong", {}, code.replaceAll("-", " ")), cause, " ", element("span", { class: "since", "data-since": since }))]));
  for (const place of byId("alarms").querySelectorAll(".since")) place.textContent = `since ${clock(place.dataset.since)}, ${duration(Math.max(0, (now - Date.parse(place.dataset.since)) / 1000))}`;
  const earlier = [...alarms.values()].reverse();
  byId("earlier-card").hidden = !earlier.length;
  keep(byId("earlier"), earlier.map(({ code, cause, since, until }) =>
    [`${code} ${since} ${until}`, () => element("li", {}, element("b", {}, code.replaceAll("-", " ")), ` ${clock(since)}, for ${duration((Date.parse(until) - Date.parse(since)) / 1000)}`, element("span", { class: "muted" }, ` ${cause}`))]));
}

// Children by key, made only when they are new: what is read or announced aloud is not torn away each second.
function keep(place, wanted) {
  const there = new Map([...place.children].map((child) => [child.dataset.key, child]));
  place.replaceChildren(...wanted.map(([key, make]) => {
    const child = there.get(key) ?? make();
    child.dataset.key = key;
    return child;
  }));
}

function showStatus(kind, text) {
  const pill = byId("status");
  pill.className = `pill ${kind}`;
  if (pill.textContent !== text) pill.textContent = text;
}

function showSimulated(text) {
  const badge = byId("simulated");
  badge.hidden = false;
  if (!badge.textContent.includes(text)) badge.textContent = [badge.textContent, text].filter(Boolean).join(" · ");
}

const percent = (share) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(share > 0.9 && share < 0.9995 ? 1 : 0)}\u00a0%`);
const clock = (iso) => new Date(iso).toLocaleTimeString("en-GB");

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

connect();
