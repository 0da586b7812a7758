// How the service is: an ordinary client of /v1/ops, which it asks every ten seconds for what is new.
// What it keeps is bounded by a day of minutes and the last marks, so that it can stay open on a wall.
import { ask, drawing, element } from "./ask.js";
import { OpsCharts } from "./ops_charts.js";

const ASK_MS = 10000;
const DAY_S = 86400, MOST_MARKS = 200, SHOWN_MARKS = 30;

const byId = (id) => document.getElementById(id);
const charts = new OpsCharts();
let columns = null, marks = new Map(), started = null, hours = 6;

for (const button of document.querySelectorAll("[data-hours]")) {
  button.addEventListener("click", () => {
    hours = Number(button.dataset.hours);
    for (const each of document.querySelectorAll("[data-hours]")) each.setAttribute("aria-pressed", String(each === button));
    draw();
  });
}

async function look() {
  if (!document.hidden) {
    try {
      take(await ask(`/v1/ops?after=${columns?.at.at(-1) ?? 0}`));
    } catch (problem) {
      showStatus("bad", `${problem.title}: trying again`);
    }
  }
  setTimeout(look, ASK_MS);
}

function take(told) {
  if (started !== told.started_at && started !== null) {
    started = columns = null; // another process answers: what it has from before it began is none of ours
    marks = new Map();
    return ask("/v1/ops").then(take);
  }
  started = told.started_at;
  keepMinutes(told.minutes);
  for (const mark of told.marks) marks.set(`${mark.at} ${mark.says}`, mark);
  while (marks.size > MOST_MARKS) marks.delete(marks.keys().next().value);
  const worst = told.alerts.some(({ level }) => level === "page");
  showStatus(worst ? "bad" : told.alerts.length ? "" : "good", told.alerts.length ? `${told.alerts.length} alert${told.alerts.length > 1 ? "s" : ""}` : "all is well");
  byId("about").textContent = `Weft ${told.version}, running for ${duration((Date.parse(told.at) - Date.parse(told.started_at)) / 1000)}`;
  showAlerts(told.alerts, Date.parse(told.at));
  showTiles(told);
  showQuality(told.quality);
  showBundles(told.bundles);
  showLines(told.lines);
  showMarks();
  draw();
}

// The last row told before was of a minute that still ran: it comes again, and replaces itself.
function keepMinutes(told) {
  if (!told.at.length) return;
  const first = told.at[0], last = told.at.at(-1);
  const names = Object.keys(told);
  const old = columns ?? Object.fromEntries(names.map((name) => [name, []]));
  const kept = old.at.map((at, place) => place).filter((place) => old.at[place] < first - 30 && old.at[place] > last - DAY_S);
  columns = Object.fromEntries(names.map((name) => [name, [...kept.map((place) => old[name][place]), ...told[name]]]));
}

function draw() {
  if (!columns) return;
  const shown = [...marks.values()].map(({ at, kind }) => ({ at: Date.parse(at) / 1000, kind }));
  charts.show(columns, columns.at.at(-1) - hours * 3600, shown);
}

function showAlerts(alerts, now) {
  byId("alerts").replaceChildren(...alerts.map(({ name, level, says, do: what, since }) =>
    element("section", { class: `alert ${level}` }, element("strong", {}, says), element("p", {}, what),
      element("p", { class: "muted" }, `${name}, for ${duration((now - Date.parse(since)) / 1000)}`))));
}

function showTiles({ minutes, memory_limit_mib: limit, database_up: up }) {
  const place = Math.max(0, columns.at.length - 2); // the last one is not over yet
  const of = (name) => columns[name][place];
  byId("requests").textContent = whole(of("requests"));
  byId("refused").textContent = whole(of("refused"));
  byId("refused-tile").classList.toggle("bad", of("refused") > 0);
  byId("p99").textContent = of("p99_ms") === null ? "–" : whole(of("p99_ms"));
  byId("cpu").textContent = of("cpu_cores").toFixed(2);
  const memory = columns.memory_mib.at(-1);
  byId("memory").textContent = whole(memory);
  byId("memory-said").textContent = `MiB of ${whole(limit)}`;
  byId("memory-bar").style.width = `${Math.min(100, (100 * memory) / limit)}%`;
  byId("memory-tile").classList.toggle("bad", memory > 0.8 * limit);
  byId("database").textContent = up ? "up" : "away";
  byId("database-tile").classList.toggle("bad", !up);
}

const GROUP = { all: "all parcels" };
const nameOf = (group) => GROUP[group] ?? group.replace(/^(un)?marked\.(.*)$/, (_, none, photos) =>
  `${photos === "1" ? "1 photo" : `${photos.replace("-up", "+").replace("-", "–")} photos`}, ${none ? "no mark" : "mark"}`);

function showQuality(quality) {
  const place = byId("coverage");
  if (!quality) return place.replaceChildren(element("p", { class: "muted" }, "Not judged yet."));
  const rows = quality.coverage.map(coverageRow);
  place.replaceChildren(...(rows.length ? [...rows, element("p", { class: "muted" }, "Line: what the bundle promises. Band: what chance allows at this number of parcels (95 %).")]
    : [element("p", { class: "muted" }, "No estimate of this bundle has been weighed yet: POST /v1/estimates/{id}/weighing.")]));
  byId("drift").replaceChildren(...judged(quality));
}

function coverageRow({ group, subjects, covered, nominal, band_low: low, band_high: high, inside, alarm }) {
  const x = (share) => 100 * Math.min(1, Math.max(0, (share - 0.5) / 0.5));
  const parts = [drawing("line", { x1: "0%", x2: "100%", y1: "50%", y2: "50%", stroke: "#8884" })];
  if (low !== null) parts.push(drawing("rect", { class: "band", x: `${x(low)}%`, width: `${x(high) - x(low)}%`, y: "20%", height: "60%", rx: 3 }));
  parts.push(drawing("line", { class: "nominal", x1: `${x(nominal)}%`, x2: `${x(nominal)}%`, y1: "10%", y2: "90%" }));
  if (low !== null) parts.push(drawing("circle", { cx: `${x(covered)}%`, cy: "50%", r: 5 }));
  const said = low === null ? `${subjects} of 20` : `${Math.round(100 * covered)} %`;
  const title = low === null ? "too few to judge" : `${subjects} parcels, ${Math.round(100 * covered)} % in their interval, ${Math.round(100 * low)} to ${Math.round(100 * high)} % by chance`;
  return element("div", { class: `group${inside === false ? " outside" : ""}${alarm ? " alarm" : ""}`, title },
    element("span", {}, nameOf(group), " ", element("span", { class: "muted" }, low === null ? "" : `${subjects}`)),
    drawing("svg", { role: "img", "aria-label": title }, ...parts), element("b", { class: low === null ? "few" : "" }, said));
}

function judged({ strangers, width, unknown_scans: scans }) {
  const share = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
  const line = (alarm, head, said) => element("p", { class: `judged${alarm ? " alarm" : ""}` }, element("b", {}, head), said);
  const few = (seen) => `${seen} seen, too few to judge yet`;
  return [
    strangers ? line(strangers.alarm, "Photos unlike the training", strangers.chance === null ? few(strangers.seen)
      : `${share(strangers.share)} of the last ${strangers.seen} parcels; at most ${share(strangers.expected)} expected`) : null,
    line(width.alarm, "Width of intervals", width.times === null ? few(width.seen) : `${width.times.toFixed(2)} times that at export, over ${width.seen} estimates`),
    line(scans.alarm, "Unknown scans", scans.chance === null ? few(scans.seen) : `${share(scans.share)} of the last ${scans.seen}, ${share(scans.expected)} before`),
  ].filter(Boolean);
}

function showBundles(bundles) {
  byId("bundles").replaceChildren(...bundles.map(({ task, name, version, sha256, trained_on: trained, refused }) => element("li", {},
    element("b", {}, `${task}: ${name} ${version}`), element("span", { class: "muted" }, `${sha256.slice(0, 8)}, trained on ${trained} data`),
    refused ? element("span", { class: "badge" }, "the last one that came was refused") : null)));
}

function showLines(lines) {
  byId("lines-card").hidden = !lines.length;
  byId("lines").replaceChildren(...lines.map(({ line, running, pieces_per_min: pieces, alarms }) => element("li", {},
    element("a", { href: `/lines/${line}` }, line), element("span", { class: "muted" }, `${running ? `${pieces} pieces a minute` : "stands still"}${alarms ? `, ${alarms} alarm${alarms > 1 ? "s" : ""}` : ""}`))));
}

function showMarks() {
  const newest = [...marks.values()].sort((a, b) => Date.parse(b.at) - Date.parse(a.at)).slice(0, SHOWN_MARKS);
  byId("marks").replaceChildren(...newest.map(({ at, says }) => element("li", {}, says, element("span", { class: "muted" }, clock(at)))));
}

function showStatus(kind, text) {
  byId("status").className = `pill ${kind}`;
  byId("status").textContent = text;
}

const whole = (value) => Math.round(value).toLocaleString("en");
const clock = (at) => new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

function duration(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86400)} days`;
}

look();
