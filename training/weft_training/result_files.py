"""How results are kept between measurements.

`docs/results.md` is written from `docs/results.json` beside it, so that one line can be measured again
without the others. Numbers and plots of numbers only: no capture of the data gets into the documents.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from weft_training.leaderboard_lines import Comparison, Line, Measured, Result, Table
from weft_training.leaderboard_page import render_page


def write_results(
    out: Path,
    lines: Sequence[Line],
    measured: Sequence[tuple[Line, Result, Measured]],
) -> None:
    """Put measured lines into `out` (Markdown), its JSON beside it and its plots in `images`; others stay."""
    from weft_training.result_plots import draw

    out.parent.mkdir(parents=True, exist_ok=True)
    stored = read_results(out, lines)
    images = out.parent / "images"
    for line, result, found in measured:
        stored[line.name] = result
        images.mkdir(exist_ok=True)
        for old in images.glob(f"result-{line.name}.*png"):
            old.unlink()
        for name, png in draw(line, result, found).items():
            (images / f"result-{line.name}.{name}.png").write_bytes(png)
    ordered = {line.name: asdict(stored[line.name]) for line in lines if line.name in stored}
    out.with_suffix(".json").write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    drawn = {
        line.name: sorted(path.name for path in images.glob(f"result-{line.name}.*.png")) for line in lines
    }
    out.write_text(render_page(lines, stored, drawn), encoding="utf-8")


def as_json_text(results: Sequence[Result]) -> str:
    """Measured lines as JSON, by name."""
    return json.dumps({result.line: asdict(result) for result in results}, indent=1)


def read_results(out: Path, lines: Sequence[Line]) -> dict[str, Result]:
    """What was measured before, by line; results of an older form, or without a promised figure, are gone."""
    path = out.with_suffix(".json")
    if not path.is_file():
        return {}
    plain: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, Result] = {}
    for line in lines:
        item = plain.get(line.name)
        promised = {figure.key for figure in line.figures if figure.target is not None}
        if item is None or "tables" not in item or not promised <= set(item["figures"]):
            continue
        found[line.name] = _read(item)
    return found


def _read(item: Mapping[str, Any]) -> Result:
    comparisons = tuple(
        Comparison(**one | {name: _pairs(one[name]) for name in ("intervals", "differences")})
        for one in item["comparisons"]
    )
    tables = tuple(
        Table(**one | {"head": tuple(one["head"]), "rows": tuple(tuple(row) for row in one["rows"])})
        for one in item["tables"]
    )
    return Result(**dict(item) | {"intervals": _pairs(item["intervals"]), "comparisons": comparisons,
                                  "tables": tables})  # fmt: skip


def _pairs(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(values) for key, values in stored.items()}
