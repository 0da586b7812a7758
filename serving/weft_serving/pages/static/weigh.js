// The tab that turns photos into kilograms.
import { ask, busy, drawing, element, origin, picture } from "./ask.js";
import { drawParts, whyButton } from "./explain.js";

const MOST_PHOTOS = 9;
// The words and sentences of weft.quality.WHAT_TO_DO; a test holds them together.
const ADVICE = {
  broken: "This file is damaged: take the photo again",
  too_small: "Too small: send the photo in full size",
  dark: "Too dark: turn on a light or go outside",
  blurred: "Blurred: hold still and take it again",
  screen: "This is a photo of a screen: photograph the parcel itself",
  covered: "Something is in front of the parcel: keep hands, faces and fingers out of the picture",
  no_parcel: "No parcel to be seen: photograph the bag, the box or the heap of clothes",
  unfamiliar: "Unlike anything this model has seen: photograph the whole parcel from two steps away",
  several: "Several parcels: put one in the picture and weigh the others by themselves",
  cut_off: "The parcel is cut off: step back until all of it is in the picture",
  repeated: "The same photo twice: take another one from a different side",
};

const MARKS = { qr: "QR label", disc: "Disc", sheet: "Sheet", ruler: "Ruler" };

const form = document.getElementById("weigh-form");
const go = document.getElementById("weigh-go");
const problem = document.getElementById("weigh-problem");
const result = document.getElementById("weigh-result");
const thumbs = document.getElementById("thumbs");
let chosen = [];

export function setUpWeigh() {
  for (const id of ["camera", "files"]) {
    document.getElementById(id).addEventListener("change", (event) => {
      chosen = [...chosen, ...event.target.files].slice(0, MOST_PHOTOS);
      event.target.value = "";
      drawThumbs();
    });
  }
  form.elements.mark.addEventListener("change", showMarkSize);
  document.getElementById("example-parcel").addEventListener("click", async () => {
    const photo = await (await fetch("/static/example-parcel.jpg")).blob();
    chosen = [new File([photo], "simulated parcel.jpg", { type: "image/jpeg" })];
    form.elements.mark.value = "qr";
    showMarkSize();
    drawThumbs();
    busy(go, problem, result, estimate);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(go, problem, result, estimate);
  });
}

function showMarkSize() {
  const side = form.elements.mark.selectedOptions[0].dataset.mm;
  document.getElementById("mark-mm").hidden = !side;
  form.elements.mark_mm.value = side ?? "";
}

function drawThumbs() {
  thumbs.replaceChildren(...chosen.map((file, index) => element("li", {},
    picture(file, "chosen photo"),
    element("button", {
      type: "button", "aria-label": `Remove photo ${index + 1}`,
      onclick: () => { chosen = chosen.filter((other) => other !== file); drawThumbs(); },
    }, "×"))));
  go.disabled = chosen.length === 0;
}

async function estimate() {
  const body = new FormData();
  for (const file of chosen) body.append("photos", file);
  for (const name of ["mark", "season", "wrap", "parcel"]) if (form.elements[name].value) body.append(name, form.elements[name].value);
  if (form.elements.mark.value) body.append("mark_mm", form.elements.mark_mm.value);
  const answer = await ask("/v1/estimates", { method: "POST", body });
  drawEstimate(answer);
}

const kilograms = (grams) => (grams / 1000).toFixed(grams < 1000 ? 2 : 1);

function drawEstimate(answer) {
  const parts = [];
  if (answer.grams === null) {
    parts.push(element("h2", {}, "No estimate"), element("p", {}, "None of the photos can be used. See below what to do, then try again."));
  } else {
    parts.push(element("p", { class: "big" }, kilograms(answer.grams), element("small", {}, " kg")));
    if (answer.low_grams === null) {
      parts.push(element("p", { class: "muted" }, "This model was calibrated on too few subjects for an honest margin."));
    } else {
      parts.push(
        element("p", { class: "muted" }, `between ${kilograms(answer.low_grams)} and ${kilograms(answer.high_grams)} kg in ${Math.round(answer.coverage * 100)} of 100 such parcels`),
        axis(answer));
    }
  }
  parts.push(origin(answer.bundle), ...(answer.warnings ?? []).map((text) => element("p", { class: "note" }, text)),
    element("ul", { class: "shots" }, ...answer.photos.map((found, index) => shot(chosen[index], found, index, answer.id))));
  if (answer.grams !== null) parts.push(weighing(answer));
  result.replaceChildren(...parts);
  result.hidden = false;
  result.scrollIntoView({ behavior: "smooth", block: "start" });
}

// The interval on a line that starts at zero, so that its width can be judged against the weight.
function axis({ grams, low_grams, high_grams }) {
  // As wide as it is shown, so that its words keep their size on a phone.
  const width = Math.min(640, form.clientWidth - 32), most = niceAbove(high_grams * 1.1);
  const x = (value) => 24 + (value / most) * (width - 48);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => part * most);
  return drawing("svg", { class: "axis", viewBox: `0 0 ${width} 64`, role: "img", "aria-label": "the estimate and its interval" },
    drawing("line", { x1: x(0), x2: x(most), y1: 30, y2: 30, stroke: "var(--line)", "stroke-width": 2 }),
    ...ticks.flatMap((value) => [
      drawing("line", { x1: x(value), x2: x(value), y1: 26, y2: 34, stroke: "var(--line)", "stroke-width": 2 }),
      drawing("text", { x: x(value), y: 56, "text-anchor": "middle" }, `${+(value / 1000).toPrecision(3)} kg`),
    ]),
    drawing("rect", { x: x(low_grams), width: Math.max(2, x(high_grams) - x(low_grams)), y: 20, height: 20, rx: 10, fill: "var(--span)" }),
    drawing("circle", { cx: x(grams), cy: 30, r: 9, fill: "var(--brand)" }));
}

function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 4, 8, 10].find((step) => step * power >= value);
}

function shot(file, found, index, id) {
  const frame = element("div", { class: "shot-frame" });
  if (file) {
    const image = picture(file, `photo ${index + 1}`);
    // Corners are in pixels of the upright photo at full resolution, which is what the browser shows.
    if (found.mark) image.addEventListener("load", () => frame.append(outline(found.mark, image)));
    frame.append(image);
  }
  const said = found.advice.map((advice) => element("p", { class: "note" }, ADVICE[advice] ?? advice));
  if (!found.usable) said.push(element("p", { class: "muted" }, "Left out of the estimate."));
  const mark = found.mark
    ? element("p", { class: "muted" }, `${MARKS[found.mark.kind]} found: ${found.mark.mm_per_pixel.toPrecision(3)} mm a pixel, ${Math.round(found.mark.confidence * 100)} % sure${tilt(found.mark)}`)
    : form.elements.mark.value && found.usable ? element("p", { class: "muted" }, "No scale mark found in this photo.") : null;
  const why = file && found.usable
    ? whyButton("What carried this", `/v1/estimates/${id}/explanation?photo=${index + 1}`, (explained) => drawParts(frame, explained))
    : null;
  return element("li", { class: found.usable ? "" : "unusable" }, frame, ...said, mark, why);
}

function tilt(mark) {
  return mark.tilt_degrees === null ? "" : `, seen at ${Math.round(mark.tilt_degrees)}° to its plane`;
}

function outline(mark, image) {
  const points = mark.corners.map(([x, y]) => `${x},${y}`).join(" ");
  return drawing("svg", { viewBox: `0 0 ${image.naturalWidth} ${image.naturalHeight}`, "data-testid": "mark" },
    drawing("polygon", { points, fill: "none", stroke: "#ff4fa3", "stroke-width": image.naturalWidth / 150, "stroke-linejoin": "round" }));
}

function weighing(answer) {
  const note = element("p", { class: "muted" });
  const input = element("input", { type: "number", inputmode: "decimal", min: "0.001", max: "1000", step: "0.001", required: true });
  return element("form", {
    class: "weighing",
    onsubmit: async (event) => {
      event.preventDefault();
      const grams = Number(input.value) * 1000;
      try {
        await ask(`/v1/estimates/${answer.id}/weighing`, {
          method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ grams }),
        });
        const off = grams - answer.grams;
        note.textContent = `Stored. The estimate was ${kilograms(Math.abs(off))} kg too ${off > 0 ? "low" : "high"}.`;
      } catch (failure) {
        note.textContent = failure.message;
      }
    },
  }, element("label", {}, "Weighed it? The scale says, kg", input), element("button", { class: "button" }, "Store"), note);
}
