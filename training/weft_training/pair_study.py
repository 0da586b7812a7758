"""What a photo beside a scan is worth: the line `nirscan-photo`, on real swatches and on SIMULATED pairs.

Nets are fitted by the recipe's own path (`PairTask`), each without the swatches that it is asked of; their
photos are in no part of its fit, the choice of how far a photo is trusted included.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pandas as pd

from weft.errors import RunError
from weft_datasets.manifest import write_manifest
from weft_datasets.simulate_pairs import write_pairs
from weft_training.data import load_captures, split_captures
from weft_training.given import GIVEN, WORDS, answered_from
from weft_training.leaderboard_lines import Cell, Line, Measured, Table, Workbench
from weft_training.metrics import per_subject
from weft_training.pair_task import PairTask
from weft_training.paired import Difference, difference_of, figure_of
from weft_training.recipe import FibreRecipe, load_recipe
from weft_training.result_tables import between

_FIGURE: Final = "subject.balanced_accuracy"
_SIMULATED: Final = ((0.0, "tells nothing"), (0.8, "is its fibre's in 8 of 10"))
_SWATCHES: Final = 90
_FAST: Final = (
    "data.exclude_subjects=[]", "split={scheme: folds, folds: 5}", "augment.views=8", "model.photo.views=2"
)  # fmt: skip


def measure_pairs(board: Workbench, line: Line) -> Measured:
    """Photographed swatches, answered from scan and photo, and the tables of all three cases."""
    assert line.recipe is not None, "the line has one"
    write_manifest(board.imported(line), board.manifest_path(line))
    board.say(f"{line.name}: fitting {line.recipe} without each swatch")
    task, found = fitted(board.configs / line.recipe, *board.overrides(line))
    fibres = task.recipe.data.fibres
    tables = [_real(found, fibres, task)]
    with TemporaryDirectory() as folder:
        rows: list[tuple[Cell, ...]] = []
        for telling, words in _SIMULATED:
            board.say(f"{line.name}: SIMULATED swatches whose look {words}")
            made = Path(folder) / f"{telling:g}"
            write_pairs(made, subjects=_SWATCHES, seed=3, telling=telling)
            given = (f"data.manifest={made / 'manifest.parquet'}", f"compute.cache={folder}")
            simulated, predictions = fitted(board.configs / line.recipe, *_FAST, *given)
            rows += _by_kind(predictions, simulated, words)
        tables.append(
            Table(
                f"SIMULATED: {_SWATCHES} swatches of three fibres, half of them dark, a photo of each",
                ("look", "garments", "trust by fold", *(f"{WORDS[one]}, %" for one in GIVEN),
                 "both less scan alone (95 %)"),
                tuple(rows),
                "Balanced accuracy by swatch, 5 folds. How far a look tells the fibre is a setting of the "
                "simulator; nobody has measured it of clothes. Dark: so much pigment that next to nothing of "
                "the fibre is to be scanned.",
            )
        )  # fmt: skip
    return Measured(answered_from(found, "both", fibres), task.captures.fingerprint, tables=tuple(tables))


def fitted(recipe_path: Path, *overrides: str) -> tuple[PairTask, pd.DataFrame]:
    """The task, and predictions of every row by a net that has not seen its swatch; `trust` is that net's."""
    recipe = load_recipe(recipe_path, overrides)
    if not isinstance(recipe, FibreRecipe) or recipe.model.photo is None:
        raise RunError(f"{recipe_path}: has no model.photo; name a recipe that has")
    captures = load_captures(recipe)
    fold = split_captures(captures, recipe.split, seed=recipe.seed)
    task = PairTask(captures, recipe)
    task.prepare(quiet=True)
    rows, parts = np.arange(len(fold)), []
    for number in range(int(fold.max()) + 1):
        net = task.build(rows[fold != number], seed=recipe.seed * 1000 + 1 + number)
        found = task.predict(net, rows[fold == number])
        parts.append(found.assign(fold=number, trust=float(net.tail.photo.trust)))
    return task, pd.concat(parts, ignore_index=True)


def _real(found: pd.DataFrame, fibres: tuple[str, ...], task: PairTask) -> Table:
    rows: list[tuple[Cell, ...]] = []
    scan = answered_from(found, "scan", fibres)
    for given in GIVEN:
        own = answered_from(found, given, fibres)
        gain = "" if given == "scan" else _less(own, scan)
        unknown = 100 * float((own["predicted_unknown"] >= 0.5).mean())
        if unknown == 100:  # even shares have no first choice to be right or wrong
            rows.append((WORDS[given], "none answered", None, None, unknown, None))
            continue
        rows.append((WORDS[given], _right(own, fibres), *_balanced(own), round(unknown, 1), gain))
    said = [f"photo_says_{fibre}" for fibre in fibres]
    believed = answered_from(found, "scan", fibres)
    believed[[f"predicted_{fibre}_share" for fibre in fibres]] = found.loc[believed.index, said].to_numpy()
    rows.append(
        (
            "photo alone, were it believed",
            _right(believed, fibres),
            *_balanced(believed),
            None,
            _less(believed, scan),
        )
    )
    trusts = sorted(set(found["trust"].tolist()))
    return Table(
        "By what was given: the swatches that have a photo",
        ("given", "swatches right", "balanced accuracy by swatch (95 %)", "by scan (95 %)",
         "called unknown, %", "less scan alone (95 %)"),
        tuple(rows),
        f"Trust that left-out swatches gave the photo, in all folds: {', '.join(f'{t:g}' for t in trusts)}. "
        "With 0 the answer to both is the scan's, bit for bit, and a photo alone has even shares and is "
        "unknown.",
    )  # fmt: skip


def _by_kind(found: pd.DataFrame, task: PairTask, words: str) -> list[tuple[Cell, ...]]:
    kind = pd.Series(task.captures.column("klass").to_numpy(), index=task.captures.manifest.frame["capture"])
    fibres = task.recipe.data.fibres
    trusts = ", ".join(f"{one:g}" for one in found.groupby("fold")["trust"].first())
    rows: list[tuple[Cell, ...]] = []
    for name in ("clear", "dark"):
        part = found[(kind[found["capture"]] == name).to_numpy()]
        own = {given: answered_from(part, given, fibres) for given in GIVEN}
        figures = [round(100 * figure_of(own[given], _FIGURE)[_FIGURE], 1) for given in GIVEN]
        rows.append((words, name, trusts, *figures, _less(own["both"], own["scan"])))
    return rows


def _right(rows: pd.DataFrame, fibres: tuple[str, ...]) -> str:
    swatches = per_subject(rows)
    truth, guess = (
        swatches[[f"{start}{fibre}_share" for fibre in fibres]].to_numpy().argmax(1)
        for start in ("", "predicted_")
    )
    return f"{int((truth == guess).sum())} of {len(swatches)}"


def _balanced(rows: pd.DataFrame) -> tuple[str, str]:
    """By swatch and by scan, each `98.3 (95.0 to 100.0)`."""
    told: list[str] = []
    for key in (_FIGURE, _FIGURE.removeprefix("subject.")):
        value, low, high = (100 * found for found in figure_of(rows, key).values())
        told.append(f"{value:.1f} ({low:.1f} to {high:.1f})")
    return told[0], told[1]


def _less(rows: pd.DataFrame, scan: pd.DataFrame) -> str:
    """How many points of balanced accuracy by swatch they are ahead of the scan alone."""
    gap = difference_of(rows, scan, _FIGURE, relative=False)
    return between(Difference(100 * gap.value, 100 * gap.low, 100 * gap.high), "points")
