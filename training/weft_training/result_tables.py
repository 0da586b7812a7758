"""Tables below the lines of the results: photos together, use of the scale, intervals by group, classes.

All are made from predictions alone; `photo_sets` names the modes that they read.
"""

from typing import Final

import numpy as np
import pandas as pd

from weft.limits import PHOTOS_PER_ESTIMATE
from weft_training.calibrate import TABLES_ONLY
from weft_training.calibrate_shares import known_rows
from weft_training.coverage import CoverageVerdict, judge_cells, judge_intervals
from weft_training.leaderboard_lines import Cell, Table
from weft_training.metrics import fibres_of, mass_errors, mean_of, per_subject, with_interval
from weft_training.paired import Difference, difference_of, difference_of_means, figure_of

_LEAST_SHARE: Final = 0.25  # of the subjects must have as many photos as the curve goes to


def curve_of(predictions: pd.DataFrame) -> pd.DataFrame:
    """Mean |ln error| (ALDE) of each subject by the number of photos asked about together.

    Only subjects that have as many photos as the curve is long, so that every point is of the same ones.

    Returns:
        One row a subject, one column a number of photos 1 .. K; K = 1 where there are no sets of photos.
    """
    rows = predictions[predictions["mode"].isin(["one", "few", "all"])]
    rows = rows[rows["n_photos"] <= PHOTOS_PER_ESTIMATE]
    error = mass_errors(rows)["alde"]
    table = rows.assign(error=error).pivot_table("error", "subject", "n_photos", aggfunc="mean")
    # A subject with more photos than may be sent at once has no row "all" here, but all of "few".
    lengths = [
        count
        for count in range(1, PHOTOS_PER_ESTIMATE + 1)
        if set(range(1, count + 1)) <= set(table.columns)
        and len(table[list(range(1, count + 1))].dropna()) >= _LEAST_SHARE * rows["subject"].nunique()
    ]
    return table[list(range(1, max(lengths, default=1) + 1))].dropna()


def photos_together(predictions: pd.DataFrame, thing: str) -> Table | None:
    """The error by number of photos; None where no sets were asked about."""
    curve = curve_of(predictions)
    if curve.shape[1] < 2:
        return None
    first = curve[1].to_numpy(np.float64)
    rows: list[tuple[Cell, ...]] = []
    for count in curve.columns:
        error = curve[count].to_numpy(np.float64)
        found = with_interval("alde", mean_of(error), curve.index.to_numpy(), 500)
        gain = "" if count == 1 else between(difference_of_means(error, first, relative=True), "%")
        rows.append((str(count), _ends(found, "alde"), gain))
    return Table(
        "Photos together",
        ("photos", "ALDE (95 %)", "against one photo"),
        tuple(rows),
        f"Random sets of photos in any order; the {len(curve)} {thing} that have {curve.columns[-1]} photos, "
        f"each with the same weight.",
    )


def use_of_scale(predictions: pd.DataFrame, blind: pd.DataFrame | None) -> Table | None:
    """Single photos whose mark was found: with it, without it, with a wrong one.

    Args:
        blind: Predictions of a model that was trained and asked without any scale.
    """
    if "marked" not in predictions or not (predictions["mode"] == "unmarked").any():
        return None
    one = predictions[(predictions["mode"] == "one") & predictions["marked"].astype(bool)]
    if one.empty:
        return None
    single = predictions[predictions["n_photos"] == 1]
    asked = {"with the mark": one, "mark hidden": single[single["mode"] == "unmarked"]}
    wrong = single[single["mode"] == "mismarked"]
    for factor, rows in wrong.groupby("scale_factor"):
        asked[f"wrong mark: scale x {factor:g}"] = rows
    if blind is not None:
        asked["a model that has never seen a mark"] = blind[blind["mode"] == "one"]
    asked = {words: _like(rows, one) for words, rows in asked.items()}
    lines: list[tuple[Cell, ...]] = []
    for words, rows in asked.items():
        found = {key: figure_of(rows, key) for key in ("one.alde", "one.mape")}
        gap = "" if rows is one else between(difference_of(rows, one, "one.alde", relative=True), "%")
        lines.append(
            (words, _ends(found["one.alde"], "one.alde"), f"{found['one.mape']['one.mape']:.1f}", gap)
        )
    note = f"{len(one)} photos of {one['subject'].nunique()} subjects whose mark was found."
    if blind is not None:
        gap = difference_of(
            asked["mark hidden"], asked["a model that has never seen a mark"], "one.alde", relative=True
        )
        note += f" Mark hidden against a model that has never seen one: {between(gap, '%')}."
    return Table(
        "Use of the scale",
        ("one photo", "ALDE (95 %)", "MAPE %", "against with the mark"),
        tuple(lines),
        note,
    )


def interval_groups(nested: pd.DataFrame, coverage: float) -> Table | None:
    """Coverage and width by number of photos, with and without a mark.

    Args:
        nested: Rows with `low_grams` and `high_grams` that were calibrated on other folds.
    """
    words = {"one": "one photo", "all": "all photos"}
    few = nested[(nested["mode"] == "few") & nested["n_photos"].isin([2, 3])]
    rows = nested[nested["mode"].isin(list(words))]
    groups = pd.concat(
        [
            rows.assign(mode=rows["mode"].map(words)),
            few.assign(mode=few["n_photos"].map(lambda count: f"{count} photos")),
        ]
    )
    order = [
        name for name in ("one photo", "2 photos", "3 photos", "all photos") if (groups["mode"] == name).any()
    ]
    if not order:
        return None
    whole = judge_intervals(groups, coverage)
    lines = [_verdict_row(name, whole[name]) for name in order]
    if "marked" in nested and nested["marked"].astype(bool).any():
        cells = judge_cells(nested[~nested["mode"].isin(TABLES_ONLY)], coverage)
        for name, verdict in cells.items():
            mark, _, photos = name.partition(".")
            what = "with a mark" if mark == "marked" else "without a mark"
            lines.append(_verdict_row(f"{what}, sets of {photos}", verdict))
    return Table(
        f"Coverage and width of {100 * coverage:.0f} % intervals",
        ("group", "subjects", "coverage", "95 % band", "inside", "upper / lower end", "width, g"),
        tuple(lines),
        "The band is binomial, for the number of subjects; widths are medians. Sets with and without a mark "
        "by number of photos are the groups in which intervals are calibrated.",
    )


def classes(predictions: pd.DataFrame) -> Table | None:
    """By main fibre, blends apart: how many subjects and scans were called by it."""
    known, fibres = known_rows(predictions), fibres_of(predictions)
    if known.empty or not fibres:
        return None
    lines: list[tuple[Cell, ...]] = []
    by_subject = per_subject(known)
    names = {subject: _blend(row, fibres) for subject, row in by_subject.set_index("subject").iterrows()}
    for name in sorted(set(names.values()), key=lambda name: ("/" in name, name)):
        cells: list[Cell] = [name]
        for rows in (by_subject, known):
            here = rows[rows["subject"].map(names) == name]
            right = _main(here, fibres, "") == _main(here, fibres, "predicted_")
            cells.append(f"{int(right.sum())} of {len(here)}")
        lines.append(tuple(cells))
    return Table("By fibre", ("true", "subjects right", "scans right"), tuple(lines))


def between(gap: Difference, unit: str) -> str:
    """`-12.3 % (-20.1 to -4.0)`."""
    space = f" {unit}" if unit else ""
    if not np.isfinite(gap.low):
        return "no percentage: the other is without error"
    return f"{gap.value:+.1f}{space} ({gap.low:+.1f} to {gap.high:+.1f})"


def _like(rows: pd.DataFrame, one: pd.DataFrame) -> pd.DataFrame:
    """The rows of the same captures, called "one" so that figures and comparisons read them."""
    return one if rows is one else rows[rows["capture"].isin(one["capture"])].assign(mode="one")


def _ends(found: dict[str, float], key: str) -> str:
    low, high = found.get(f"{key}_ci_low"), found.get(f"{key}_ci_high")
    return f"{found[key]:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")


def _verdict_row(name: str, verdict: CoverageVerdict) -> tuple[Cell, ...]:
    inside = {True: "yes", False: "no", None: "too few to judge"}[verdict.inside]
    band = f"{verdict.band_low:.3f} to {verdict.band_high:.3f}"
    return (
        name, str(verdict.subjects), f"{verdict.coverage:.3f}", band, inside, f"{verdict.width_ratio:.2f}",
        f"{verdict.width_grams:.0f}",
    )  # fmt: skip


def _main(rows: pd.DataFrame, fibres: list[str], start: str) -> np.ndarray:
    return rows[[f"{start}{fibre}_share" for fibre in fibres]].to_numpy(np.float64).argmax(1)


def _blend(row: pd.Series, fibres: list[str]) -> str:
    shares = sorted(((float(row[f"{fibre}_share"]), fibre) for fibre in fibres), reverse=True)
    if shares[0][0] >= 0.85:
        return shares[0][1]
    return " / ".join(f"{fibre} {100 * share:.0f}" for share, fibre in shares if share > 0.005)
