// The tab that turns a near-infrared scan into fibre shares.
import { ask, busy, element, origin, picture, Problem } from "./ask.js";
import { drawInfluence, whyButton } from "./explain.js";

const form = document.getElementById("identify-form");
const go = document.getElementById("identify-go");
const problem = document.getElementById("identify-problem");
const result = document.getElementById("identify-result");
const scan = document.getElementById("scan");
const pasted = document.getElementById("pasted");
const name = document.getElementById("scan-name");
const photo = document.getElementById("scan-photo");
const beside = document.getElementById("beside");
const thumb = document.getElementById("scan-thumb");
let asked = false; // whether the chosen photo has been asked about: the next scan is of another garment

export function setUpIdentify() {
  const changed = () => {
    const file = scan.files[0];
    name.hidden = !file;
    name.textContent = file ? file.name : "";
    go.disabled = !file && !pasted.value.trim() && !photo.files[0];
  };
  const clearPhoto = () => {
    photo.value = "";
    drawThumb();
    changed();
  };
  const drawThumb = () => {
    asked = false;
    const file = photo.files[0];
    thumb.replaceChildren(...(file ? [element("li", {}, picture(file, "chosen photo"),
      element("button", { type: "button", "aria-label": "Remove the photo", onclick: clearPhoto }, "×"))] : []));
  };
  photo.addEventListener("change", () => {
    drawThumb();
    changed();
  });
  // One or the other: what is shown is what will be identified.
  scan.addEventListener("change", () => {
    if (scan.files[0]) pasted.value = "";
    if (asked) clearPhoto();
    changed();
  });
  pasted.addEventListener("input", () => {
    if (pasted.value.trim()) scan.value = "";
    if (asked) clearPhoto();
    changed();
  });
  document.getElementById("example").addEventListener("click", async () => {
    scan.value = "";
    clearPhoto();
    pasted.value = await (await fetch("/static/example-scan.csv")).text();
    changed();
    busy(go, problem, result, identify);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(go, problem, result, identify);
  });
}

// Shown where the bundle in service takes a photo; what one is worth stands on its card.
export function offerPhoto(bundle) {
  const section = bundle?.composition?.photo;
  beside.hidden = !section;
  document.getElementById("beside-note").textContent = section ? worth(section) : "";
}

function worth({ trust, trust_alone }) {
  if (trust > 0 && trust_alone > 0) return "It is weighed by what photos told of fabrics this model had not seen.";
  if (trust > 0) return "It is weighed beside a scan by what photos told of fabrics this model had not seen; alone it tells nothing.";
  if (trust_alone > 0) return "Beside a scan it changes no answer, since photos told nothing more of fabrics this model had not seen; alone it is heard.";
  return "Photos told this model nothing of fabrics it had not seen: one is taken, and changes no answer.";
}

async function identify() {
  const body = new FormData();
  const file = scan.files[0] ?? (pasted.value.trim() ? new File([pasted.value], "pasted.csv", { type: "text/csv" }) : null);
  if (!file && !photo.files[0]) throw new Problem("No scan", "Choose a scan file or paste two columns.");
  if (file) body.append("file", file);
  if (photo.files[0]) body.append("photo", photo.files[0]);
  // What follows is of the scan; the service refuses it beside a photo alone.
  for (const field of file ? ["unit", "quantity"] : []) if (form.elements[field].value) body.append(field, form.elements[field].value);
  for (const field of file ? ["white", "dark"] : []) if (form.elements[field].files[0]) body.append(field, form.elements[field].files[0]);
  asked = true;
  const answer = await ask("/v1/compositions", { method: "POST", body });
  drawComposition(answer, Boolean(file));
  if (!file) return; // a photo alone has no spectrum to draw
  const plot = result.querySelector(".plot");
  const spectrum = await ask(`/v1/compositions/${answer.id}/spectrum`);
  drawSpectrum(plot, spectrum);
  plot.after(whyButton("What this was read from", `/v1/compositions/${answer.id}/explanation`, (explained) => drawInfluence(plot, explained, spectrum.wavelength_nm)));
}

const percent = (share) => `${Math.round(share * 100)}`;

function drawComposition(answer, scanned) {
  const shares = answer.shares.filter((each) => each.share >= 0.01).sort((a, b) => b.share - a.share);
  const unknown = answer.unknown >= 0.5;
  result.replaceChildren(
    element("h2", {}, unknown ? (scanned ? "Not a textile this model knows" : "This photo does not tell the fibre") : headline(shares)),
    origin(answer.bundle),
    ...answer.warnings.map((text) => element("p", { class: "note" }, text)),
    element("div", {}, ...shares.map(bar)),
    drawLabel(answer.declaration),
    element("p", { class: "muted" }, scanned ? `chance that it is none of these: ${percent(answer.unknown)} %` : `what this photo leaves open: ${percent(answer.unknown)} %`,
      shares.some((each) => each.low === null) ? " · too few calibration subjects for honest margins" : ""),
    ...(answer.map ? [drawMap(answer.map)] : []),
    element("div", { class: "plot" }));
  result.hidden = false;
  result.scrollIntoView({ behavior: "smooth", block: "start" });
}

const headline = (shares) => shares.filter((each) => each.share >= 0.05).map((each) => `${percent(each.share)}\u00a0%\u00a0${each.fibre}`).join(", ");

function bar({ fibre, code, share, low, high }) {
  const margin = low === null ? null : element("b", { style: `left:${low * 100}%;width:${(high - low) * 100}%` });
  return element("div", { class: "fibre" },
    element("span", {}, `${fibre} `, element("span", { class: "muted" }, code)),
    element("span", { class: "bar" }, element("i", { style: `width:${share * 100}%` }), margin),
    element("span", { class: "value" }, `${percent(share)} %`, low === null ? "" : element("span", { class: "muted" }, ` ${percent(low)}–${percent(high)}`)));
}

// A label in words that a sorter can copy, or what stands against it.
const languages = { en: "English", de: "German", fr: "French", zh: "Chinese" };

function drawLabel({ eu, cn }) {
  const lines = (label) => element("dl", {}, ...Object.entries(label).flatMap(([language, text]) =>
    [element("dt", { class: "muted" }, languages[language]), element("dd", { lang: language }, text)]));
  const part = ({ under, label, draft, reasons }) => label
    ? [element("p", {}, element("strong", {}, `Label under ${under}`)), lines(label)]
    : [element("p", {}, element("strong", {}, `Cannot be declared under ${under}`), ", because"),
      element("ul", {}, ...reasons.map((text) => element("li", {}, text))),
      element("p", { class: "muted" }, "Draft, not to be used:"), lines(draft)];
  const summary = eu.label ? `Label: ${eu.label.en}` : cn.label ? `Label (China): ${cn.label.zh}` : "Label: cannot be declared";
  return element("details", { class: "declaration" }, element("summary", {}, summary), ...part(eu), ...part(cn));
}

function drawMap({ href, legend }) {
  return element("figure", {}, element("img", { class: "map", src: href, alt: "main fibre of every pixel" }),
    element("figcaption", {}, ...legend.map(({ fibre, colour, pixel_share }) =>
      element("span", { class: "key" }, element("i", { style: `background:${colour}` }), `${fibre} ${percent(pixel_share)} %`))));
}

let chart = null; // one at a time: its predecessor's listeners would stay for ever
const size = (place) => ({ width: place.clientWidth, height: Math.min(300, Math.max(200, place.clientWidth * 0.5)) });
addEventListener("resize", () => chart?.setSize(size(chart.root.parentElement)));

function drawSpectrum(place, { wavelength_nm, absorbance }) {
  const ink = getComputedStyle(document.body).color;
  const line = getComputedStyle(document.documentElement).getPropertyValue("--brand");
  const axis = (label) => ({ label, stroke: ink, grid: { stroke: "#8883", width: 1 }, ticks: { stroke: "#8886" } });
  chart?.destroy();
  chart = new window.uPlot({
    ...size(place), scales: { x: { time: false } }, legend: { show: false },
    series: [{ label: "nm" }, { label: "absorbance", stroke: line, width: 2 }],
    axes: [axis("wavelength, nm"), axis("absorbance")],
  }, [wavelength_nm, absorbance], place);
}
