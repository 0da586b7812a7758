// The page is an ordinary client of the public API: everything it shows came from there.

export class Problem extends Error {
  constructor(title, detail) {
    super(detail);
    this.title = title;
  }
}

export async function ask(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Problem("No connection", "The service did not answer. Check the connection and try again; nothing was lost.");
  }
  const body = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Problem(body.title ?? `Error ${reply.status}`, body.detail ?? "The service gave no reason.");
  return body;
}

export async function getBundles() {
  const body = await ask("/v1/bundles").catch(() => []);
  return Array.isArray(body) ? body : (body.bundles ?? []);
}

// Text always goes in as text, never as markup: file names and labels come from strangers.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function drawing(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function showProblem(place, problem) {
  place.replaceChildren(element("strong", {}, problem.title ?? "Something went wrong"), problem.message);
  place.hidden = false;
}

export function origin(bundle) {
  return bundle.trained_on === "simulated"
    ? element("span", { class: "badge" }, "Trained on simulated data")
    : element("span", { class: "muted" }, `${bundle.name} ${bundle.version}`);
}

// Runs `work` while `button` is busy, and puts what went wrong where it can be read, never above an old answer.
export async function busy(button, place, answer, work) {
  const label = button.textContent;
  button.disabled = true;
  button.textContent = "One moment…";
  place.hidden = true;
  answer.hidden = true;
  try {
    await work();
  } catch (problem) {
    showProblem(place, problem);
  } finally {
    button.textContent = label;
    button.disabled = false;
  }
}

export function picture(file, alt) {
  const url = URL.createObjectURL(file);
  // Browsers other than Safari cannot draw HEIC; the service reads it all the same.
  return element("img", { src: url, alt, onload: () => URL.revokeObjectURL(url), onerror: (event) => { event.target.alt = file.name; } });
}
