"""What a search found, for people: a page with its course and what mattered, and the lines of the verb."""

import base64
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna
from jinja2 import Environment, StrictUndefined
from matplotlib.ticker import NullFormatter
from optuna.trial import FrozenTrial, TrialState

from weft_training.plots import BLUE, GREY, INK, ORANGE, canvas, png
from weft_training.run import write_atomically
from weft_training.search import Found, Search

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{{ title }}</title><style>
body{font:16px/1.5 system-ui,sans-serif;color:#22313f;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem} h2{font-size:1.15rem;margin-top:2.2rem}
table{border-collapse:collapse} td,th{padding:.25rem .9rem .25rem 0;text-align:left;vertical-align:top}
tr+tr td{border-top:1px solid #e3e8eb} td{font-variant-numeric:tabular-nums}
figure{margin:1.2rem 0} img{max-width:100%;height:auto} figcaption{color:#5b6b77}
.scroll{overflow-x:auto} pre{white-space:pre-wrap}
</style></head><body>
<h1>{{ title }}</h1>
<pre>{{ said }}</pre>
<h2>The best values</h2>
<table>{% for name, value in values %}<tr><td>{{ name }}</td><td>{{ value }}</td></tr>{% endfor %}</table>
{% for name, image, caption in pictures %}<figure>
<img alt="{{ name }}" src="data:image/png;base64,{{ image }}">
<figcaption>{{ caption }}</figcaption></figure>{% endfor %}
<h2>All trials</h2>
<div class="scroll"><table><tr><th>trial</th><th>state</th><th>{{ objective }}</th>
{% for name in names %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table></div>
</body></html>
"""


def write_page(search: Search, study: optuna.Study, found: Found) -> Path:
    """Write `search.html` into the search's folder; its path."""
    pictures = [("the course", _history(search, study), "Dots are trials; the line is the best so far.")]
    weights = importances(study)
    if weights:
        caption = "Share of the scatter among finished trials that each setting explains (fANOVA)."
        pictures.append(("what mattered", _bars(weights), caption))
    names = list(search.space.parameters)
    caption = "Each finished trial, by a setting's value."
    pictures += [
        ("by setting", _slices(search, study, names[at : at + 3]), caption) for at in range(0, len(names), 3)
    ]
    page = (
        Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        .from_string(_PAGE)
        .render(
            title=f"Search of {search.recipe.name}",
            said="\n".join(lines(search, found)),
            values=[(name, _short(value)) for name, value in found.values.items()],
            pictures=[(name, base64.b64encode(data).decode(), caption) for name, data, caption in pictures],
            objective=search.space.objective,
            names=names,
            rows=[_row(trial, names) for trial in study.trials],
        )
    )
    path = search.folder / "search.html"
    write_atomically(path, page.encode())
    return path


def lines(search: Search, found: Found) -> list[str]:
    """The result in words; a figure that was picked for being best is never printed alone."""
    counts = ", ".join(f"{count} {state}" for state, count in sorted(found.trials.items()))
    better = "less" if search.space.better() == "minimise" else "more"
    said = [f"{search.space.objective} ({better} is better), trials: {counts}"]
    if found.stood is not None:
        said.append(f"  recipe as it stood   {found.stood:.4f}")
    said.append(
        f"  best, trial {found.trial:<8d} {found.figure:.4f}  (flattered: picked by this very figure)"
    )
    if found.stood == found.figure:
        said.append("  no trial beat the recipe as it stood: keep it")
    for seed, (stood, best) in found.again.items():
        said.append(f"again, seed {seed} (other split and draws): as it stood {stood:.4f}, best {best:.4f}")
    if found.skipped:
        said.append(f"split with seed {', '.join(map(str, found.skipped))} left out: it cannot be trained on")
    return said


def as_json(search: Search, study: optuna.Study, found: Found) -> dict[str, Any]:
    return {
        "objective": search.space.objective,
        "direction": search.space.better(),
        "trials": dict(found.trials),
        "best": {"trial": found.trial, "values": found.values, "figure_flattered": found.figure},
        "as_it_stood": found.stood,
        "again": [
            {"seed": seed, "as_it_stood": stood, "best": best} for seed, (stood, best) in found.again.items()
        ],
        "skipped_seeds": found.skipped,
        "importance": importances(study),
    }


def importances(study: optuna.Study) -> dict[str, float]:
    """Share of the scatter that each setting explains; empty where too few trials came to an end."""
    done = study.get_trials(states=(TrialState.COMPLETE,), deepcopy=False)
    if len(done) < 4 or len({trial.value for trial in done}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _history(search: Search, study: optuna.Study) -> bytes:
    figure, (panel,) = canvas(f"{search.recipe.name}: {search.space.objective} by trial", width=8)
    done = _finished(study)
    pick = np.minimum if search.space.better() == "minimise" else np.maximum
    numbers = [trial.number for trial in done]
    values = np.array([trial.value for trial in done], float)
    panel.plot(numbers, values, "o", color=BLUE, markersize=4, label="finished")
    panel.step(numbers, pick.accumulate(values), where="post", color=ORANGE, label="best so far")
    pruned = [
        (trial.number, list(trial.intermediate_values.values())[-1])
        for trial in study.get_trials(states=(TrialState.PRUNED,), deepcopy=False)
        if trial.intermediate_values
    ]
    if pruned:
        panel.plot(
            *zip(*pruned, strict=True), "x", color=GREY, markersize=4, label="pruned: its folds so far"
        )
    panel.set_xlabel("trial", color=INK)
    panel.set_ylabel(search.space.objective, color=INK)
    panel.legend(frameon=False, fontsize=9)
    return png(figure)


def _bars(weights: dict[str, float]) -> bytes:
    figure, (panel,) = canvas("What mattered", width=8, height=0.9 + 0.4 * len(weights))
    names = list(weights)[::-1]
    panel.barh(names, [weights[name] for name in names], color=BLUE, height=0.6)
    panel.set_xlim(0, 1)
    panel.set_xlabel("share of the scatter", color=INK)
    return png(figure)


def _slices(search: Search, study: optuna.Study, names: list[str]) -> bytes:
    done = _finished(study)
    figure, panels = canvas("By setting", len(names), width=3.2, height=3.4)
    for name, panel in zip(names, panels, strict=True):
        within = search.space.parameters[name]
        chosen = [trial for trial in done if name in trial.params]
        values = [trial.params[name] for trial in chosen]
        if isinstance(values[0] if values else None, str):  # choices: by number, named below
            kinds = sorted(set(values))
            panel.set_xticks(
                range(len(kinds)), [_short(kind)[:18] for kind in kinds], rotation=30, ha="right"
            )
            values = [kinds.index(value) for value in values]
        elif getattr(within, "log", False):
            panel.set_xscale("log")
            panel.xaxis.set_minor_formatter(NullFormatter())
        panel.scatter(values, [trial.value for trial in chosen], s=14, color=BLUE, alpha=0.7)
        panel.set_xlabel(name, color=INK, fontsize=9)
    panels[0].set_ylabel(search.space.objective, color=INK)
    return png(figure)


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    done = study.get_trials(states=(TrialState.COMPLETE,), deepcopy=False)
    return [trial for trial in done if trial.value is not None and math.isfinite(trial.value)]


def _row(trial: FrozenTrial, names: list[str]) -> list[str]:
    value = "" if trial.value is None else f"{trial.value:.4f}"
    state = trial.user_attrs.get("fault", trial.state.name.lower())
    return [str(trial.number), state, value, *(_short(trial.params.get(name, "")) for name in names)]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).strip('"')
