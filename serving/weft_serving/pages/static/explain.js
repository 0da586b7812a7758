// Why: which parts of a photo, and which wavelengths of a scan, the answer was read from.
import { ask, drawing, element } from "./ask.js";

const RAISES = "#c8692b", LOWERS = "#2b6f9e";

// A button that fetches an explanation once and then shows or hides it. `draw` returns what to take away again.
export function whyButton(label, path, draw) {
  let shown = null, found = null;
  const note = element("p", { class: "muted", role: "status", hidden: true });
  const button = element("button", { type: "button", class: "button why", "aria-expanded": "false" }, label);
  button.addEventListener("click", async () => {
    if (shown) {
      shown.forEach((each) => each.remove());
      shown = null;
    } else {
      button.disabled = true;
      button.textContent = "One moment…";
      note.hidden = true;
      try {
        found ??= await ask(path);
        shown = draw(found);
      } catch (failure) {
        note.textContent = failure.message;
        note.hidden = false;
      }
      button.disabled = false;
    }
    button.textContent = shown ? "Hide" : label;
    button.setAttribute("aria-expanded", String(Boolean(shown)));
  });
  return element("div", { class: "why-row" }, button, note);
}

// Coloured rectangles over the photo, and below it the parts that carried most, in words.
export function drawParts(frame, { grams, parts }) {
  const strength = (part) => Math.abs(part.grams) / (part.width * part.height);
  const most = Math.max(...parts.map(strength), 1e-9);
  const percent = (share) => `${(share * 100).toFixed(3)}%`;
  const cover = drawing("svg", { class: "parts", "data-testid": "parts", role: "img", "aria-label": "parts of the photo that carried the estimate" },
    ...parts.map((part) => drawing("rect", {
      x: percent(part.left), y: percent(part.top), width: percent(part.width), height: percent(part.height),
      fill: part.grams > 0 ? RAISES : LOWERS, "fill-opacity": (0.7 * strength(part)) / most,
    }, drawing("title", {}, signed(part.grams)))),
    ...apart([...parts].sort((a, b) => strength(b) - strength(a)).filter((part) => strength(part) >= most / 4)).map((part) =>
      drawing("text", { x: percent(part.left + part.width / 2), y: percent(part.top + part.height / 2) }, signed(part.grams))));
  const said = element("p", { class: "muted" },
    key(RAISES), "raised the estimate of ", mass(grams), ", ", key(LOWERS), "lowered it. ",
    "Each part was painted over with the colour around it and all was weighed anew; the numbers are the difference.");
  frame.append(cover);
  frame.after(said);
  return [cover, said];
}

// At most five, the strongest first, none written over another.
function apart(parts) {
  const kept = [];
  for (const part of parts) {
    const close = (other) => Math.abs(other.left - part.left) < 0.22 && Math.abs(other.top - part.top) < 0.08;
    if (kept.length < 5 && !kept.some(close)) kept.push(part);
  }
  return kept;
}

const mass = (grams) => (Math.abs(grams) < 1000 ? `${Math.round(grams)} g` : `${(grams / 1000).toFixed(2)} kg`);
const signed = (grams) => `${grams > 0 ? "+" : "−"}${mass(Math.abs(grams))}`;
const key = (colour) => element("span", { class: "key" }, element("i", { style: `background:${colour}` }));

// What each wavelength carried, below the spectrum on the same axis, with the fibre's known bands as dashed lines.
export function drawInfluence(place, { fibre, photo_heard, wavelength_nm, log_odds, peaks, bands }, spectrum_nm) {
  const ink = getComputedStyle(document.body).color;
  const plot = element("div", { class: "plot", "data-testid": "influence" });
  const size = () => ({ width: plot.clientWidth, height: 190 });
  const axis = (label) => ({ label, stroke: ink, grid: { stroke: "#8883", width: 1 }, ticks: { stroke: "#8886" } });
  const read = peaks.length
    ? element("ul", {}, ...peaks.map((peak) => element("li", {}, `${Math.round(peak.nm)} nm`,
      peak.band ? `, beside ${peak.band.nm} nm: ${peak.band.bond}` : element("span", { class: "muted" }, ", no known band is near"))))
    : element("p", {}, "No single stretch: what was read is spread over the spectrum.");
  const alone = photo_heard ? [element("p", { class: "note" }, "Of the scan alone: a photo was heard beside it, and the answer may differ by it.")] : [];
  const part = element("div", {}, element("h3", {}, `What ${fibre} was read from`), ...alone, plot,
    element("p", { class: "muted" }, "How far the log odds fall when a stretch of the spectrum is straightened out; ",
      `dashed: where ${fibre} is known to absorb (${bands.map((band) => band.nm).join(", ") || "no table"} nm).`), read);
  place.after(part);
  const chart = new window.uPlot({
    ...size(), scales: { x: { time: false, range: [spectrum_nm[0], spectrum_nm.at(-1)] } }, legend: { show: false },
    series: [{ label: "nm" }, { label: "log odds", stroke: RAISES, width: 2, fill: `${RAISES}55` }],
    axes: [axis("wavelength, nm"), axis("carried")],
    hooks: { draw: [(made) => dashes(made, bands)] },
  }, [wavelength_nm, log_odds], plot);
  const resize = () => (plot.isConnected ? chart.setSize(size()) : removeEventListener("resize", resize));
  addEventListener("resize", resize);
  return [part];
}

function dashes({ ctx, bbox, valToPos }, bands) {
  ctx.save();
  ctx.strokeStyle = "#8a979f";
  ctx.setLineDash([6, 5]);
  for (const { nm } of bands) {
    const x = valToPos(nm, "x", true);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
