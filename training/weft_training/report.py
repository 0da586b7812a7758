"""One page that says how good a model is: `report.html`, with every picture inside, beside `metrics.json`."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

from weft.card import Task
from weft.errors import StoreError

# (figure in `metrics_of`, words, unit, decimals); what the rows did not carry is left out of the table.
HEADLINES: Final[dict[Task, tuple[tuple[str, str, str, int], ...]]] = {
    "weight": (
        *(
            (f"{mode}.{name}", f"{words}, {seen}", unit, decimals)
            for mode, seen in (("one", "one photo"), ("all", "all photos of a subject"))
            for name, words, unit, decimals in (
                ("alde", "ALDE, mean |ln(predicted / true)|", "", 3),
                ("mape", "mean error", "% of truth", 1),
                ("within_x2", "within half and twice the truth", "of estimates", 3),
                ("mae_grams", "mean error", "g", 1),
                ("coverage", "truths inside the interval", "of subjects", 3),
                ("width_ratio", "upper / lower end of the interval, median", "", 2),
            )
        ),
        ("answered", "photos that were usable", "of photos", 3),
    ),
    "composition": (
        ("subject.balanced_accuracy", "balanced accuracy of the main fibre, by subject", "", 3),
        ("balanced_accuracy", "balanced accuracy of the main fibre, by scan", "", 3),
        ("macro_f1", "macro F1 of the main fibre, by scan", "", 3),
        ("mae_points", "mean error of a share", "points", 2),
        ("unknown_auroc", "unknown told apart (AUROC)", "", 3),
        ("share_coverage", "all true shares inside their margins", "of scans", 3),
        ("answered", "scans that fit the bundle", "of scans", 3),
    ),
    "belt": (
        ("balanced_accuracy", "balanced accuracy of the main fibre, by garment", "", 3),
        ("macro_f1", "macro F1 of the main fibre, by garment", "", 3),
        ("mae_points", "mean error of a share", "points", 2),
        ("unknown_auroc", "unknown told apart (AUROC)", "", 3),
        ("share_coverage", "all true shares inside their margins", "of garments", 3),
    ),
}
CAPTIONS: Final = {
    "predicted-against-true": "Each dot is one estimate; on the line it is right, dashed are half and twice.",
    "error-by-mass": "Bins of equal count; a median away from 1 is a bias at that mass.",
    "reliability": "An honest interval stays inside the binomial band for its number of subjects.",
    "confusion": "Counts; the shade is the share of the row.",
    "mae-by-fibre": "By scan, over all scans of known composition.",
    "shares-against-truth": "Shares by weight; true ones are spread a little sideways.",
    "unknown": "What is no known textile should lie right.",
    "worst-cases": "Start here: a wrong label looks just like a wrong estimate.",
}

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{{ title }}</title><style>
body{font:16px/1.5 system-ui,sans-serif;color:#22313f;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem} h2{font-size:1.15rem;margin-top:2.2rem}
table{border-collapse:collapse} td,th{padding:.25rem .9rem .25rem 0;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums} tr+tr td{border-top:1px solid #e3e8eb}
.flag{background:#c8692b;color:#fff;border-radius:.3rem;padding:.1rem .5rem;font-size:.85rem}
.warning{border-left:4px solid #c8692b;padding:.4rem .8rem;background:#fbf3ec;margin:.5rem 0}
figure{margin:1.2rem 0} img{max-width:100%;height:auto} figcaption,small{color:#5b6b77}
.facts td:first-child{color:#5b6b77} details{margin-top:2rem}
</style></head><body>
<h1>{{ title }}</h1>
{% if simulated %}<p><span class="flag">simulated</span> These figures come from simulated data; they say
nothing about real captures.</p>{% endif %}
{% for warning in warnings %}<p class="warning">{{ warning }}</p>{% endfor %}
<table class="facts">{% for name, value in facts %}
<tr><td>{{ name }}</td><td>{{ value }}</td></tr>{% endfor %}</table>
<h2>Figures</h2>
<table><tr><th>figure</th><th></th><th>95 % over subjects</th></tr>
{% for words, value, interval in headlines %}<tr><td>{{ words }}</td><td class="n">{{ value }}</td>
<td>{{ interval }}</td></tr>{% endfor %}</table>
{% for name, image, caption in pictures %}<figure>
<img alt="{{ name }}" src="data:image/png;base64,{{ image }}">
<figcaption>{{ caption }}</figcaption></figure>{% endfor %}
<details><summary>All figures</summary><table>{% for name, value in metrics %}<tr><td>{{ name }}</td>
<td class="n">{{ value }}</td></tr>{% endfor %}</table></details>
</body></html>
"""


def write_report(
    out: Path,
    *,
    title: str,
    task: Task,
    metrics: Mapping[str, float],
    pictures: Mapping[str, bytes],
    facts: Sequence[tuple[str, str]],
    warnings: Sequence[str] = (),
    simulated: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write `report.html` and `metrics.json` into the folder `out`, and return the page's path.

    Args:
        metrics: As `metrics_of` names them.
        pictures: PNG by name, in the order of the page.
        extra: Further JSON values beside `metrics` in `metrics.json`.

    Raises:
        StoreError: The folder cannot be written.
    """
    page = (
        Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        .from_string(_PAGE)
        .render(
            title=title,
            simulated=simulated,
            warnings=warnings,
            facts=facts,
            headlines=headline_rows(metrics, task),
            pictures=[
                (name, base64.b64encode(data).decode(), CAPTIONS.get(name, name))
                for name, data in pictures.items()
            ],
            metrics=[(name, f"{value:.5g}") for name, value in sorted(metrics.items())],
        )
    )
    content = {"task": task, "simulated": simulated, "warnings": list(warnings), "facts": dict(facts)}
    content |= dict(extra or {}) | {"metrics": dict(sorted(metrics.items()))}
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.json").write_text(
            json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )
        (out / "report.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"{out}: the report cannot be written ({error.strerror}); name a folder with --out"
        ) from error
    return out / "report.html"


def headline_rows(metrics: Mapping[str, float], task: Task) -> list[tuple[str, str, str]]:
    """(words, value, interval) of the figures that are there."""
    rows: list[tuple[str, str, str]] = []
    for name, words, unit, decimals in HEADLINES[task]:
        if name not in metrics or not math.isfinite(metrics[name]):
            continue
        low, high = metrics.get(f"{name}_ci_low"), metrics.get(f"{name}_ci_high")
        interval = "" if low is None or high is None else f"{low:.{decimals}f} to {high:.{decimals}f}"
        band = metrics.get(f"{name}_band_low"), metrics.get(f"{name}_band_high")
        if band[0] is not None and band[1] is not None:
            interval = f"honest between {band[0]:.{decimals}f} and {band[1]:.{decimals}f}"
        rows.append((words, f"{metrics[name]:.{decimals}f} {unit}".strip(), interval))
    return rows
