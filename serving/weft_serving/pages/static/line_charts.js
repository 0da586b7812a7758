// Throughput and latency of the last half hour, drawn with uPlot; one point a step, the steps without a piece too.

const MOST_POINTS = 180;
const PIECES = "#12867a", KILOGRAMS = "#c8692b", TYPICAL = "#12867a", WORST = "#c8692b", DEADLINE = "#b03030";

export class Charts {
  #points = new Map(); #zero = 0; #deadline = null; #throughput = null; #latency = null; #places;

  constructor(throughput, latency) {
    this.#places = { throughput, latency };
    // Not the window's size alone: the first piece brings charts out of hiding and the list beside them.
    const fitting = new ResizeObserver(() => {
      this.#throughput?.setSize(size(this.#places.throughput));
      this.#latency?.setSize(size(this.#places.latency));
    });
    fitting.observe(throughput);
    fitting.observe(latency);
  }

  clear() {
    this.#points.clear();
  }

  add(history, deadline, step) {
    const now = Date.now() / 1000;
    for (const point of history) if (point.age_s >= step) this.#points.set(point.step, point); // a step that still runs would show a dip
    this.#deadline = deadline;
    if (history.length) this.#zero = now - history.at(-1).age_s - history.at(-1).step * step;
    if (!this.#points.size || !window.uPlot) return;
    const last = Math.max(...this.#points.keys(), Math.floor((now - this.#zero) / step) - 1);
    const first = Math.max(Math.min(...this.#points.keys()), last - (MOST_POINTS - 1));
    for (const place of this.#points.keys()) if (place < first) this.#points.delete(place);
    const places = Array.from({ length: last - first + 1 }, (_, place) => first + place);
    const at = places.map((place) => this.#zero + place * step);
    const of = (name, none) => places.map((place) => this.#points.get(place)?.[name] ?? none);
    this.#draw(at, of);
  }

  #draw(at, of) {
    const throughput = [at, of("pieces_per_min", 0), of("kg_per_h", 0)];
    const latency = [at, of("latency_p50_ms", null), of("latency_max_ms", null), at.map(() => this.#deadline)];
    this.#throughput ??= chart(this.#places.throughput, [
      { label: "pieces/min", stroke: PIECES, width: 2, fill: `${PIECES}22`, scale: "y", points: { show: false } },
      { label: "kg/h", stroke: KILOGRAMS, width: 2, scale: "kg", points: { show: false } },
    ], [axis("pieces/min", PIECES), { ...axis("kg/h", KILOGRAMS), scale: "kg", side: 1, grid: { show: false } }]);
    this.#latency ??= chart(this.#places.latency, [
      { label: "half below", stroke: TYPICAL, width: 2 },
      { label: "slowest", stroke: WORST, width: 1.5 },
      { label: "deadline", stroke: DEADLINE, width: 1.5, dash: [6, 5], points: { show: false } },
    ], [axis("ms")]);
    this.#throughput.setData(throughput);
    this.#latency.setData(latency);
  }
}

const size = (place) => ({ width: Math.max(200, place.clientWidth), height: 180 });

function axis(label, colour) {
  const ink = getComputedStyle(document.body).color;
  return { label, stroke: colour ?? ink, labelSize: 18, size: 44, labelFont: "12px system-ui", font: "11px system-ui", grid: { stroke: "#8883", width: 1 }, ticks: { stroke: "#8886" } };
}

function chart(place, series, axes) {
  const range = (_, low, high) => [0, Math.max(1, (high || 1) * 1.1)];
  const time = axis("");
  return new window.uPlot({
    ...size(place),
    legend: { live: false },
    cursor: { show: false },
    scales: { x: { time: true }, y: { range }, kg: { range } },
    series: [{}, ...series],
    axes: [{ ...time, label: undefined, size: 28, space: 64, incrs: [60, 120, 300, 600, 900, 1800], values: (_, ticks) => ticks.map((at) => new Date(at * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })) }, ...axes],
  }, [[], ...series.map(() => [])], place);
}
