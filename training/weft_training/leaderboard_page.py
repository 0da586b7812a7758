"""The page of results as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Final

from weft_training.leaderboard_lines import Line, Result

_HEAD: Final = """# Results

Written by `weft leaderboard`; do not edit. Every line can be measured again alone with the command beside it.
Splits are by subject: no physical thing is ever both trained on and measured. Where a figure is a mean, the
95 % interval beside it is a bootstrap over subjects; for a coverage it is the binomial band that an honest
interval stays inside. Baselines are simple models under the same kind of split.

| task | split | target | figure | 95 % | subjects | baseline | reached | measured | again |
|---|---|---|---|---|---|---|---|---|---|
"""


def render_page(lines: Sequence[Line], results: Mapping[str, Result], drawn: set[str]) -> str:
    """The whole page; `drawn` names the lines that have a plot in `images`."""
    rows = [_row(line, results.get(line.name)) for line in lines]
    page = _HEAD + "\n".join(rows) + "\n"
    shown = [line for line in lines if line.name in drawn and line.name in results]
    for line in shown:
        result = results[line.name]
        page += f"\n## {line.task[0].upper()}{line.task[1:]}\n\n"
        page += f"![{line.task}](images/result-{line.name}.png)\n\n"
        page += (
            f"{result.captures} estimates of {result.subjects} subjects; {line.split}. "
            f"Data fingerprint `{result.fingerprint[:16]}`, code `{result.revision[:12]}`"
            f"{' with changes' if result.revision.endswith('+changes') else ''}"
            f"{f', recipe `configs/{line.recipe}`' if line.recipe else ''}.\n"
        )
    return page


def said(line: Line, result: Result | None = None) -> str:
    """One line of text: what was promised, and what was found."""
    if result is None:
        return f"{line.name}: {line.task}; {line.split}; {_target(line)}"
    figure = " / ".join(_number(result.figures[key]) for key in line.keys)
    verdict = {True: "reached", False: "MISSED", None: "no promise"}[result.reached]
    return f"{line.name}: {figure} ({_target(line)}): {verdict}"


def _row(line: Line, result: Result | None) -> str:
    again = f"`weft leaderboard {line.name}`"
    cells = [line.task, line.split, _target(line)]
    if result is None:
        return _cells([*cells, "not measured yet", "", "", line.baseline, "", "", again])
    figure = " / ".join(_number(result.figures[key]) for key in line.keys)
    ends = " / ".join(
        f"{_number(result.intervals[key][0])} to {_number(result.intervals[key][1])}"
        for key in line.keys
        if key in result.intervals
    )
    reached = {True: "yes", False: "**missed**", None: "no promise"}[result.reached]
    return _cells(
        [*cells, f"**{figure}**", ends, str(result.subjects), line.baseline, reached, result.date, again]
    )


def _target(line: Line) -> str:
    if line.sense == "none" or line.target is None:
        return f"{line.unit}: whatever it is"
    if line.sense == "inside the band":
        return f"{line.unit} {line.target:g}, inside the band"
    return f"{line.unit} {line.sense} {line.target:g}"


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
