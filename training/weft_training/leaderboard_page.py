"""The page of results as Markdown: one table to see at a glance, then a section a line."""

from collections.abc import Mapping, Sequence
from typing import Final

from weft_training.leaderboard_lines import Comparison, Figure, Line, Result, Table
from weft_training.result import kept, strongest

_HEAD: Final = """# Results

Written by `weft leaderboard`; do not edit. Every line can be measured again alone, by the command in its
section. Splits are by subject: no physical thing is ever both trained on and measured. Simple models and
oracles are fitted in the same run on the same folds and asked of the same photos or scans. An interval is a
95 % bootstrap over subjects; "against" is a paired one, the same draws of subjects for both models: errors in
percent of the other's error, accuracies in points. ALDE is the mean of |ln(predicted / true)|.

| line | found (95 %) | target | reached | best simple model | against it (95 %, paired) | subjects |
|---|---|---|---|---|---|---|
"""


def render_page(
    lines: Sequence[Line], results: Mapping[str, Result], drawn: Mapping[str, Sequence[str]]
) -> str:
    """The whole page; `drawn` has the file names in `images` of each line's pictures."""
    page = _HEAD + "\n".join(_row(line, results.get(line.name)) for line in lines) + "\n"
    for line in lines:
        if line.name in results:
            page += "\n" + _section(line, results[line.name], drawn.get(line.name, ()))
    return page


def said(line: Line, result: Result | None = None) -> str:
    """One line of text: what was promised, and what was found."""
    promised = [figure for figure in line.figures if figure.target is not None]
    if result is None:
        targets = "; ".join(f"{figure.words} {_target(figure)}" for figure in promised) or "no promise"
        return f"{line.name}: {line.task}; {line.split}; {targets}"
    found = "; ".join(
        f"{figure.words} {number(result.figures[figure.key], figure)} ({_target(figure)})"
        for figure in promised or line.figures[:1]
    )
    verdict = {True: "reached", False: "MISSED", None: "no promise"}[result.reached]
    return f"{line.name}: {found}: {verdict}"


def number(value: float, figure: Figure) -> str:
    """As many digits as the figure carries, with its unit."""
    digits = 1 if figure.unit == "%" else 2 if figure.unit else 3
    return f"{value:.{digits}f}" + (f" {figure.unit}" if figure.unit else "")


def _row(line: Line, result: Result | None) -> str:
    name = f"[{line.task}](#{line.name})" + (" (simulated)" if line.simulated else "")
    promised = [figure for figure in line.figures if figure.target is not None] or [line.figures[0]]
    # Eight coverages are one promise: the first speaks for them, the section has them all.
    shown = promised if len(promised) <= 4 else promised[:1]
    targets = "<br>".join(_target(figure) for figure in shown)
    if result is None:
        return _cells([line.task, "not measured yet", targets, "", "", "", ""])
    names = _short(shown)
    found = "<br>".join(
        f"{name} **{number(result.figures[f.key], f)}**{_range(result, f)}"
        for name, f in zip(names, shown, strict=True)
    )
    verdicts = [
        "" if f.target is None else "yes" if kept(f, result.figures, result.intervals) else "**missed**"
        for f in shown
    ]
    if len(promised) > len(shown):
        inside = sum(kept(figure, result.figures, result.intervals) for figure in promised)
        verdicts = [f"{'yes' if result.reached else '**missed**'}: {inside} of {len(promised)} inside"]
    best = strongest(line, result)
    against = ["", ""]
    if best is not None:
        first = line.figures[0]
        against = [f"{best.words}: {number(best.figures[first.key], first)}", _difference(best, first)]
    reached = "<br>".join(verdicts) or "no promise"
    return _cells([name, found, targets, reached, *against, str(result.subjects)])


def _short(figures: Sequence[Figure]) -> list[str]:
    """What a figure is called in the table at the top: "ALDE", or in full where two are called that."""
    short = [figure.words.partition(",")[0] for figure in figures]
    return short if len(set(short)) == len(short) else [figure.words for figure in figures]


def _section(line: Line, result: Result, pictures: Sequence[str]) -> str:
    title = f"{line.task[0].upper()}{line.task[1:]}"
    text = f'<a id="{line.name}"></a>\n\n## {title}\n\n'
    if line.simulated:
        text += "**Simulated data.** "
    text += (
        f"{line.split[0].upper()}{line.split[1:]}; {result.subjects} subjects, {result.captures} estimates.\n"
    )
    text += "".join(f"{'' if place else chr(10)}- {note}\n" for place, note in enumerate(line.notes))
    again = f"weft leaderboard {line.name}"
    text += f"\nMeasure it again: `{again}`"
    text += f" (recipe `configs/{line.recipe}`{_laid_over(line)})\n" if line.recipe else "\n"
    text += "\n" + _figures(line, result)
    if result.comparisons:
        text += "\n" + _beside(line, result)
    for picture in pictures:
        text += f"\n![{line.task}]({'images/' + picture})\n"
    for table in result.tables:
        text += "\n" + render_table(table)
    changed = " with changes" if result.revision.endswith("+changes") else ""
    text += (
        f"\nMeasured {result.date}; data `{result.fingerprint[:16]}`, "
        f"code `{result.revision[:12]}`{changed}.\n"
    )
    return text


def render_table(table: Table) -> str:
    """A titled Markdown table with its note."""
    rows = [_cells(["" if cell is None else _plain(cell) for cell in row]) for row in table.rows]
    head = [_cells(list(table.head)), "|" + "---|" * len(table.head)]
    note = f"\n{table.note}\n" if table.note else ""
    return f"**{table.title}**\n\n" + "\n".join([*head, *rows]) + "\n" + note


def _figures(line: Line, result: Result) -> str:
    rows = ["| figure | found | 95 % | target | reached |", "|---|---|---|---|---|"]
    for figure in line.figures:
        if figure.key not in result.figures:
            continue
        reached = ""
        if figure.target is not None:
            reached = "yes" if kept(figure, result.figures, result.intervals) else "**missed**"
        ends = _range(result, figure).strip(" ()")
        band = " (band)" if figure.sense == "inside the band" and ends else ""
        rows.append(
            _cells(
                [
                    figure.words,
                    number(result.figures[figure.key], figure),
                    ends + band,
                    _target(figure) if figure.target is not None else "",
                    reached,
                ]
            )
        )
    return "\n".join(rows) + "\n"


def _beside(line: Line, result: Result) -> str:
    asked = [figure for figure in line.figures if figure.beside]
    head = ["model", *[figure.words for figure in asked], f"Weft against it ({_short(asked)[0]})", "verdict"]
    rows = [_cells(head), "|" + "---|" * len(head)]
    ours = [number(result.figures[figure.key], figure) + _range(result, figure) for figure in asked]
    rows.append(_cells(["**Weft**", *ours, "", ""]))
    for one in result.comparisons:
        theirs = [
            number(one.figures[figure.key], figure) + _ends(one.intervals.get(figure.key), figure)
            for figure in asked
        ]
        rows.append(_cells([one.words, *theirs, _difference(one, asked[0]), _verdict(one, asked[0])]))
    return "\n".join(rows) + "\n"


def _difference(one: Comparison, figure: Figure) -> str:
    value, low, high = one.differences[figure.key]
    unit = "%" if figure.sense == "at most" else "points" if figure.unit == "%" else figure.unit
    if low != low:  # not a number: the other is without error
        return "not comparable in percent"
    return f"{value:+.1f} {unit} ({low:+.1f} to {high:+.1f})"


def _verdict(one: Comparison, figure: Figure) -> str:
    _, low, high = one.differences[figure.key]
    if not (low > 0 or high < 0):
        return "no difference shown"
    return "better" if (high < 0) == (figure.sense == "at most") else "worse"


def _range(result: Result, figure: Figure) -> str:
    return _ends(result.intervals.get(figure.key), figure)


def _ends(ends: tuple[float, float] | None, figure: Figure) -> str:
    if ends is None:
        return ""
    digits = 1 if figure.unit == "%" else 2 if figure.unit else 3
    return f" ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})"


def _target(figure: Figure) -> str:
    if figure.target is None:
        return "no promise"
    unit = f" {figure.unit}" if figure.unit else ""
    if figure.sense == "inside the band":
        return f"{figure.target:g}, inside the band"
    return f"{figure.sense} {figure.target:g}{unit}"


def _laid_over(line: Line) -> str:
    return f" with `{' '.join(line.overrides)}`" if line.overrides else ""


def _plain(cell: str | float) -> str:
    return cell if isinstance(cell, str) else f"{cell:.4g}"


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
