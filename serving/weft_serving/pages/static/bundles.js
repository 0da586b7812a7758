// Plots of the trials, and the buttons that change bundles. The token goes into one header, never into an address.

const SERVED = "#12867a", CHALLENGER = "#c8692b", BAND = "#12867a33", FRESH_MS = 30_000;
const charts = [];

const size = (place) => ({ width: Math.max(200, place.clientWidth), height: 200 });
const ink = () => getComputedStyle(document.body).color;
const axis = (more) => ({ stroke: ink(), font: "11px system-ui", size: 44, grid: { stroke: "#8883", width: 1 }, ticks: { stroke: "#8886" }, ...more });

function draw(place, data, options) {
  if (!place || !window.uPlot || !data[0].length) return;
  charts.push([place, new window.uPlot({ ...size(place), legend: { live: false }, cursor: { show: false }, ...options }, data, place)]);
}

function histogram(place, { edges, counts }) {
  const middles = counts.map((_, bar) => (edges[bar] + edges[bar + 1]) / 2);
  draw(place, [middles, counts], {
    legend: { show: false },
    scales: { x: { time: false, range: [edges[0], edges.at(-1)] }, y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
    series: [{}, { paths: window.uPlot?.paths.bars({ size: [0.9, 60] }), fill: SERVED, stroke: SERVED, width: 0, points: { show: false } }],
    axes: [axis({ size: 28 }), axis()],
  });
}

const clock = (span) => (at) => new Date(at * 1000).toLocaleString("en-GB", span > 172_800 ? { day: "numeric", month: "short", timeZone: "UTC" } : { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });

function overTime(place, moments, series, columns, from) {
  const at = moments.map((moment) => Date.parse(moment.at) / 1000);
  const one = at.length === 1; // a single moment has no span to draw
  draw(place, [at, ...columns], {
    scales: {
      x: { time: true, range: (_, low, high) => (one || low === high ? [low - 60, high + 60] : [low, high]) },
      y: { range: (_, low, high) => { const gap = Math.max((high - low) * 0.1, 0.1); return [from ?? low - gap, high + gap]; } },
    },
    series: [{}, ...series.map((line) => ({ spanGaps: true, ...line }))],
    bands: series.length === 3 ? [{ series: [3, 2], fill: BAND }] : [],
    axes: [axis({ size: 28, space: 72, values: (_, ticks) => ticks.map(clock(at.at(-1) - at[0])) }), axis()],
  });
}

async function plot(card) {
  const places = Object.fromEntries([...card.querySelectorAll("[data-chart]")].map((place) => [place.dataset.chart, place]));
  if (!places.histogram) return;
  const reply = await fetch(`/v1/bundles/${card.dataset.task}/challenger`);
  if (!reply.ok) return;
  const report = await reply.json();
  if (report.histogram) histogram(places.histogram, report.histogram);
  const scale = report.task === "weight" ? 1 : 100;
  const spread = report.over_time.filter((moment) => moment.spread);
  const of = (name) => spread.map((moment) => moment.spread[name] * scale);
  overTime(places.time, spread, [
    { label: "median", stroke: SERVED, width: 2 },
    { label: "1 of 10 below", stroke: "#12867a88", width: 1, points: { show: false } },
    { label: "1 of 10 above", stroke: "#12867a88", width: 1, points: { show: false } },
  ], [of("median"), of("p10"), of("p90")]);
  const timed = report.over_time.filter((moment) => moment.served_cpu_ms !== null);
  overTime(places.cost, timed, [
    { label: "in service", stroke: SERVED, width: 2 },
    { label: "challenger", stroke: CHALLENGER, width: 2 },
  ], [timed.map((moment) => moment.served_cpu_ms), timed.map((moment) => moment.challenger_cpu_ms)], 0);
}

const token = document.querySelector("#token");
const problem = document.querySelector("#problem");
const dialog = document.querySelector("#ask");

function complain(words) {
  problem.textContent = words;
  problem.hidden = false;
  problem.scrollIntoView({ block: "nearest" });
}

function confirmed(question) {
  dialog.querySelector("p").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

async function change(button) {
  problem.hidden = true;
  if (!token.value) {
    token.focus();
    complain("The server's token is needed: type it in below, then press the button again.");
    return;
  }
  if (!/^[!-~]+$/.test(token.value)) { // no header can hold it
    complain("The token holds a space or a character beyond ASCII; type in the server's token.");
    return;
  }
  if (!(await confirmed(button.dataset.question))) return;
  button.disabled = true;
  try {
    const task = button.closest("[data-task]").dataset.task;
    const reply = await fetch(`/v1/bundles/${task}/${button.dataset.change}`, {
      method: button.dataset.method ?? "POST",
      headers: { Authorization: `Bearer ${token.value}` },
    });
    if (reply.ok) location.reload();
    else complain((await reply.json()).detail);
  } catch {
    complain("The server did not answer; look whether it runs, and reload this page.");
  } finally {
    button.disabled = false;
  }
}

for (const button of document.querySelectorAll("[data-change]")) button.addEventListener("click", () => change(button));
document.querySelector("#token-form")?.addEventListener("submit", (event) => event.preventDefault());
addEventListener("resize", () => charts.forEach(([place, chart]) => chart.setSize(size(place))));
setInterval(() => { if (!document.hidden && !token?.value && !dialog.open) location.reload(); }, FRESH_MS);
addEventListener("load", () => document.querySelectorAll("[data-task]").forEach(plot));
