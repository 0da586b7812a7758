// Tabs, and what both tabs share: asking the service, showing its problems, drawing small pictures.
import { setUpWeigh } from "./weigh.js";
import { offerPhoto, setUpIdentify } from "./identify.js";
import { element, getBundles } from "./ask.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

function show(tab) {
  for (const each of tabs) {
    const chosen = each === tab;
    each.setAttribute("aria-selected", String(chosen));
    each.tabIndex = chosen ? 0 : -1;
    document.getElementById(each.getAttribute("aria-controls")).hidden = !chosen;
  }
}

for (const tab of tabs) {
  tab.addEventListener("click", () => {
    show(tab);
    history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
  });
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
    const next = tabs[(tabs.indexOf(tab) + 1) % tabs.length];
    next.focus();
    next.click();
  });
}
const asked = tabs.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash);
if (asked) show(asked);

setUpWeigh();
setUpIdentify();

getBundles().then((bundles) => {
  offerPhoto(bundles.find((bundle) => bundle.task === "composition"));
  document.getElementById("bundles").replaceChildren(
    ...bundles.flatMap((bundle, index) => [
      index ? " · " : "",
      element("span", { title: `SHA-256 ${bundle.sha256}` },
        `${bundle.name} ${bundle.version}${bundle.trained_on === "simulated" ? " (trained on simulated data)" : ""}`),
    ]));
});
