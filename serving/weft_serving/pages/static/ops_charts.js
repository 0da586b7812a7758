// A minute a point, at most a day of them; what happened stands as a line across every chart.

const HEIGHT = 170;
const INK = { good: "#12867a", warn: "#c8692b", bad: "#b03030", alert: "#b0303077" };
const per = (part, whole) => part.map((value, place) => (whole[place] ? (100 * value) / whole[place] : null));

// Each chart: its place, its lines, its axes, and how the columns of /v1/ops become its values.
const CHARTS = [
  { id: "chart-requests", lines: [["answered", INK.good, "fill"], ["refused", INK.bad, "fill"], ["wrong", INK.warn], ["faults", "#8d3bb0"]], values: (c) => [c.requests.map((all, n) => (all === null ? null : all - c.refused[n] - c.problems[n] - c.faults[n])), c.refused, c.problems, c.faults] },
  { id: "chart-latency", lines: [["half", INK.good], ["99 of 100", INK.warn]], values: (c) => [c.p50_ms, c.p99_ms] },
  { id: "chart-machine", lines: [["cores", INK.good, "fill"], ["MiB", INK.warn, "", "right"]], values: (c) => [c.cpu_cores, c.memory_mib] },
  { id: "chart-strange", lines: [["in the middle", INK.good], ["share beyond 1, %", INK.warn, "", "right"]], level: 1, values: (c) => [c.strangeness, c.strange_share.map((share) => (share === null ? null : 100 * share))] },
  { id: "chart-width", lines: [["width", INK.good]], values: (c) => [c.width_ratio] },
  { id: "chart-unknown", lines: [["unknown scans", INK.good], ["unreadable", INK.bad]], values: (c) => [c.unknown_share.map((share) => (share === null ? null : 100 * share)), per(c.unreadable, c.photos.map((good, n) => good + c.unreadable[n]))] },
];

export class OpsCharts {
  #drawn = new Map(); #marks = [];

  constructor() {
    let waiting = 0;
    addEventListener("resize", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.#drawn.forEach((chart) => chart.setSize(size(chart.root.parentElement))), 150);
    });
  }

  // columns: as /v1/ops tells them; from: Unix seconds; marks: [{ at, kind }], at in Unix seconds
  show(columns, from, marks) {
    if (!window.uPlot) return;
    this.#marks = marks;
    const shown = withGaps(columns, from);
    for (const chart of CHARTS) {
      const place = document.getElementById(chart.id);
      const values = chart.values(shown);
      const empty = !values.some((column) => column.some((value) => value !== null));
      place.classList.toggle("none", empty);
      if (empty && !this.#drawn.has(chart.id)) continue;
      if (!this.#drawn.has(chart.id)) this.#drawn.set(chart.id, this.#make(place, chart));
      this.#drawn.get(chart.id).setData([shown.at, ...values]);
    }
  }

  #make(place, { lines, level }) {
    const right = lines.find(([, , , side]) => side === "right");
    const axes = [timeAxis(), axis(right ? lines[0][1] : null)];
    if (right) axes.push({ ...axis(right[1]), scale: "right", side: 1, grid: { show: false } });
    const range = (_, low, high) => [0, Math.max(level ? level * 1.2 : 1e-3, (high || 1) * 1.1)];
    return new window.uPlot({
      ...size(place),
      legend: { live: false },
      cursor: { show: false },
      scales: { x: { time: true }, y: { range }, right: { range } },
      series: [{}, ...lines.map(([label, stroke, fill, side]) => ({ label, stroke, width: 1.75, fill: fill ? `${stroke}26` : undefined, scale: side === "right" ? "right" : "y", points: { show: false } }))],
      axes,
      hooks: { draw: [(chart) => this.#across(chart, level)] },
    }, [[], ...lines.map(() => [])], place);
  }

  #across(chart, level) {
    const { ctx, bbox: { left, top, width, height } } = chart;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    for (const { at, kind } of this.#marks) {
      if (kind === "over") continue;
      const x = chart.valToPos(at, "x", true);
      if (!(x >= left && x <= left + width)) continue;
      line(ctx, kind === "bundle" ? INK.good : INK.alert, x, top, x, top + height);
    }
    if (level) {
      const y = chart.valToPos(level, "y", true);
      if (y >= top && y <= top + height) line(ctx, INK.bad, left, y, left + width, y);
    }
    ctx.restore();
  }
}

function line(ctx, colour, fromX, fromY, toX, toY) {
  ctx.strokeStyle = colour;
  ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(fromX, fromY);
  ctx.lineTo(toX, toY);
  ctx.stroke();
}

// A machine that slept has no minutes: the lines must not run across them.
function withGaps(columns, from) {
  const names = Object.keys(columns);
  const shown = Object.fromEntries(names.map((name) => [name, []]));
  columns.at.forEach((at, place) => {
    if (at + 60 < from) return;
    const last = shown.at.at(-1);
    if (last !== undefined && at - last > 90) names.forEach((name) => shown[name].push(name === "at" ? last + 60 : null));
    names.forEach((name) => shown[name].push(columns[name][place]));
  });
  return shown;
}

const size = (place) => ({ width: Math.max(200, place.clientWidth), height: HEIGHT });

function axis(colour) {
  const ink = getComputedStyle(document.body).color;
  return { stroke: colour ?? ink, size: 46, font: "11px system-ui", grid: { stroke: "#8883", width: 1 }, ticks: { stroke: "#8886" }, values: (_, ticks) => ticks.map(brief) };
}

function timeAxis() {
  const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return { ...axis(null), size: 28, space: 64, incrs: [60, 300, 600, 900, 1800, 3600, 7200, 14400], values: (_, ticks) => ticks.map(clock) };
}

const brief = (value) => (value >= 10000 ? `${Math.round(value / 1000)}k` : Number(value.toPrecision(3)).toString());
