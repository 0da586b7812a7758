"""Measure a finished bundle on a manifest, through the very code that serves it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from tqdm import tqdm

from weft.bundle import Bundle, load_bundle
from weft.errors import InputError, ManifestError, WeftError
from weft.identifier import Identifier
from weft.limits import PHOTOS_PER_ESTIMATE
from weft.marks import NOWHERE
from weft.photos import Photo
from weft.weigher import Estimate, Prepared, Weigher
from weft_datasets.captures import prepared_photo, scan_of
from weft_datasets.manifest import Manifest, read_manifest
from weft_training.data import select
from weft_training.metrics import COVERAGE, metrics_of
from weft_training.plots import figures_of
from weft_training.recipe import check_recipe
from weft_training.report import headline_rows, write_report
from weft_training.worst import worst_cases

UNKNOWN_MAJORITY = 0.5  # from this share of unlisted fibres on, "unknown" is the right answer


@dataclass(frozen=True, slots=True)
class Evaluation:
    page: Path
    metrics: dict[str, float]
    headlines: list[tuple[str, str, str]]  # words, value, interval
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answers:
    predictions: pd.DataFrame  # as `metrics_of` takes them, with intervals where the bundle has them
    asked: int  # captures with a truth
    answered: int
    refusals: dict[str, int]  # reason -> captures


def evaluate(bundle_path: Path, manifest_path: Path, out: Path, *, quiet: bool = False) -> Evaluation:
    """Run a bundle over every capture that has a truth; write `report.html`, `metrics.json` and predictions.

    Raises:
        BundleError: The bundle does not hold.
        ManifestError: A manifest of the other kind, without truth, or none of whose captures fits the bundle.
    """
    bundle = load_bundle(bundle_path)
    manifest = read_manifest(manifest_path)
    answers = answers_of(bundle, manifest, quiet=quiet)
    card = bundle.card
    coverage = COVERAGE if card.coverage is None else card.coverage
    metrics = metrics_of(answers.predictions, card.task, coverage=coverage)
    metrics["answered"] = answers.answered / answers.asked
    simulated = bool(manifest.frame["simulated"].any())
    pictures = figures_of(answers.predictions, card.task, coverage=coverage, simulated=simulated)
    worst = worst_cases(answers.predictions, card.task, manifest, simulated=simulated)
    if worst is not None:
        pictures["worst-cases"] = worst
    warnings = (
        *_doubts(bundle, manifest),
        *(f"{n} captures: {reason}" for reason, n in answers.refusals.items()),
    )
    fingerprint = manifest.fingerprint()
    page = write_report(
        out,
        title=f"{card.name} {card.version} on {manifest.name}",
        task=card.task,
        metrics=metrics,
        pictures=pictures,
        facts=_facts(bundle, manifest, answers, fingerprint),
        warnings=warnings,
        simulated=simulated,
        extra={"bundle_sha256": bundle.sha256, "dataset_fingerprint": fingerprint},
    )
    answers.predictions.to_parquet(out / "predictions.parquet", index=False)
    return Evaluation(page, metrics, headline_rows(metrics, card.task), warnings)


def answers_of(bundle: Bundle, manifest: Manifest, *, quiet: bool = True) -> Answers:
    """The bundle's answers beside the truth.

    Raises:
        ManifestError: A manifest of the other kind, without truth, or none of whose captures fits the bundle.
    """
    weighs = bundle.card.task == "weight"
    needs = "photo" if weighs else "spectrum"
    if manifest.kind != needs:
        raise ManifestError(
            f"manifest '{manifest.name}' holds {manifest.kind} rows, bundle {bundle.card.name} needs "
            f"{needs} rows; name a manifest or bundle of the other kind"
        )
    if not (manifest.has_grams if weighs else manifest.has_composition):
        columns = "`grams`" if weighs else "columns such as `cotton_pct`"
        raise ManifestError(
            f"manifest '{manifest.name}' carries no truth to measure on; add {columns} and import it again"
        )
    answers = _weighed(bundle, manifest, quiet) if weighs else _identified(bundle, manifest, quiet)
    if answers.predictions.empty:
        reason = max(
            answers.refusals, key=lambda reason: answers.refusals[reason], default="no capture has a truth"
        )
        raise ManifestError(f"manifest '{manifest.name}': no capture could be answered: {reason}")
    return answers


def _weighed(bundle: Bundle, manifest: Manifest, quiet: bool) -> Answers:
    weigher = Weigher(bundle)
    frame = manifest.frame[manifest.frame["grams"] > 0]
    rows: list[dict[str, Any]] = []
    refusals: dict[str, int] = {}
    answered = 0
    for subject, photos in _subjects(frame, quiet):
        first = photos.iloc[0]
        extras = {name: _word(first.get(name)) for name in ("season", "wrap")}
        truth = {
            "subject": subject,
            "fold": 0,
            "grams": float(first["grams"]),
            "klass": _word(first.get("klass")),
        }
        usable: list[Prepared] = []
        for _, photo in photos.iterrows():
            try:
                prepared = prepared_photo(weigher, manifest, photo)
                estimate = weigher.weigh([prepared], **extras)
            except InputError as error:
                refusals[str(error)] = refusals.get(str(error), 0) + 1
                continue
            if estimate.grams is None:
                reason = "not usable: " + ", ".join(estimate.photos[0].advice)
                refusals[reason] = refusals.get(reason, 0) + 1
                continue
            answered += 1
            usable.append(prepared)
            rows.append(truth | {"capture": photo["capture"], "mode": "one"} | _said(estimate, [prepared]))
        for mode, together in _sets(subject, usable, bundle):
            estimate = weigher.weigh(together, **extras)
            if estimate.grams is not None:
                rows.append(truth | {"capture": subject, "mode": mode} | _said(estimate, together))
    return Answers(pd.DataFrame(rows), len(frame), answered, refusals)


def _sets(subject: str, usable: list[Prepared], bundle: Bundle) -> Iterator[tuple[str, list[Prepared]]]:
    """What else is asked about a subject: all photos together, some of them, and some with their mark hidden.

    One random set of each: asking about every number of photos would take five times as long.
    """
    assert bundle.card.weight is not None, "a weight bundle has this section"
    rng = np.random.default_rng([*subject.encode()])
    together = _spread(usable, min(PHOTOS_PER_ESTIMATE, bundle.card.weight.max_photos))
    if len(together) > 1:  # one photo is no set: as in the figures of a training
        yield "all", together
    if len(usable) > 2:
        yield "few", _draw(rng, usable, int(rng.integers(2, min(len(usable) - 1, PHOTOS_PER_ESTIMATE) + 1)))
    if any(photo.mm_per_pixel > 0 for photo in usable):
        some = _draw(rng, usable, int(rng.integers(1, min(len(usable), PHOTOS_PER_ESTIMATE) + 1)))
        yield "unmarked", [replace(photo, mm_per_pixel=0.0, mark_at=NOWHERE) for photo in some]


def _draw(rng: np.random.Generator, usable: list[Prepared], size: int) -> list[Prepared]:
    return [usable[place] for place in rng.choice(len(usable), size=size, replace=False)]


def _identified(bundle: Bundle, manifest: Manifest, quiet: bool) -> Answers:
    identifier = Identifier(bundle)
    assert bundle.card.composition is not None, "a composition bundle has this section"
    fibres = bundle.card.composition.fibres
    truth = known_shares(manifest, fibres)  # (rows, F + 1)
    rows: list[dict[str, Any]] = []
    refusals: dict[str, int] = {}
    labelled = np.flatnonzero(~np.isnan(truth).any(1))
    for place in tqdm(labelled, desc="scans", unit="scan", disable=quiet or None):
        capture = manifest.frame.iloc[place]
        try:
            found = identifier.identify(
                scan_of(manifest, int(place)), _photo_beside(identifier, manifest, capture)
            )
        except InputError as error:
            refusals[str(error)] = refusals.get(str(error), 0) + 1
            continue
        row: dict[str, Any] = {"capture": capture["capture"], "subject": capture["subject"], "fold": 0}
        row |= {
            "unknown_truth": float(truth[place, -1] >= UNKNOWN_MAJORITY),
            "predicted_unknown": found.unknown,
        }
        shares = {item.fibre: item for item in found.shares}
        for column, fibre in enumerate(fibres):
            row[f"{fibre}_share"] = truth[place, column]
            row[f"predicted_{fibre}_share"] = shares[fibre].share
            if bundle.card.coverage is not None:
                row |= {f"low_{fibre}_share": shares[fibre].low, f"high_{fibre}_share": shares[fibre].high}
        rows.append(row)
    return Answers(pd.DataFrame(rows), len(labelled), len(rows), refusals)


def _photo_beside(identifier: Identifier, manifest: Manifest, capture: pd.Series) -> Photo | None:
    """The photo of the same thing, where the manifest names one and the bundle takes one."""
    path = _word(capture.get("photo_path"))
    if path is None or identifier.card.photo is None:
        return None
    return identifier.photo(manifest.file(path).read_bytes())


def known_shares(manifest: Manifest, fibres: tuple[str, ...]) -> np.ndarray:
    """Truth (rows, F + 1), unknown last; traces of unlisted fibres are spread over the listed ones.

    Without this a garment of 95 % cotton and 5 % elastane could never be right for a bundle without elastane.
    """
    shares = manifest.shares(fibres)
    listed = shares[:, :-1].sum(1)
    mostly = shares[:, -1] < UNKNOWN_MAJORITY
    scale = np.divide(1.0, listed, out=np.ones_like(listed), where=mostly & (listed > 0))
    shares[:, :-1] *= scale[:, None]
    return shares


def _subjects(frame: pd.DataFrame, quiet: bool) -> Iterator[tuple[str, pd.DataFrame]]:
    with tqdm(total=len(frame), desc="photos", unit="photo", disable=quiet or None) as bar:
        for subject, photos in frame.groupby("subject", sort=True):
            yield str(subject), photos
            bar.update(len(photos))


def _said(estimate: Estimate, photos: list[Prepared]) -> dict[str, float | bool]:
    used = [
        photo for photo, finding in zip(photos, estimate.photos, strict=True) if finding.usable
    ]  # a repeated photo has no say
    said = {
        "n_photos": len(used),
        "marked": any(photo.mm_per_pixel > 0 for photo in used),
        "unfamiliar": any("unfamiliar" in finding.advice for finding in estimate.photos),
        "predicted_grams": estimate.grams,
        "low_grams": estimate.low_grams,
        "high_grams": estimate.high_grams,
    }
    return {name: value for name, value in said.items() if value is not None}


def _spread(photos: list[Prepared], most: int) -> list[Prepared]:
    """At most `most` of them, evenly over their order: neighbouring frames say the same thing."""
    if len(photos) <= most:
        return photos
    return [photos[int(place)] for place in np.linspace(0, len(photos) - 1, most).round()]


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _facts(bundle: Bundle, manifest: Manifest, answers: Answers, fingerprint: str) -> list[tuple[str, str]]:
    card = bundle.card
    return [
        ("bundle", f"{card.name} {card.version}, sha256 {bundle.sha256[:16]}"),
        ("trained on", f"{card.trained_on} data: {card.dataset}"),
        ("data", f"{manifest.name}, fingerprint {fingerprint[:16]}"),
        ("captures", f"{answers.answered} answered of {answers.asked}"),
        ("subjects", str(answers.predictions["subject"].nunique())),
        ("interval", "not available" if card.coverage is None else f"{card.coverage:.0%}"),
    ]


def _doubts(bundle: Bundle, manifest: Manifest) -> Iterator[str]:
    """Why the figures may flatter: the bundle has seen these captures, or masses far from these."""
    card = bundle.card
    if saw(bundle, manifest):
        yield (
            "The bundle was trained on this very manifest: these are figures of captures it has seen. Its "
            "honest figures, measured on subjects left out, are on its card (`weft inspect`)."
        )
    if card.weight is not None:
        low, high = card.weight.range_grams
        outside = manifest.frame.loc[~manifest.frame["grams"].between(low, high), "subject"].nunique()
        if outside:
            yield f"{outside} subjects lie outside the {low:g} to {high:g} g that the bundle was trained on."


def saw(bundle: Bundle, manifest: Manifest) -> bool:
    """Whether the manifest, or what the bundle's recipe takes of it, has the fingerprint on the card."""
    if manifest.fingerprint() == bundle.card.dataset_fingerprint:
        return True
    try:
        recipe = check_recipe(yaml.safe_load(bundle.card.recipe), source="card")
        return select(manifest, recipe).fingerprint() == bundle.card.dataset_fingerprint
    except (WeftError, yaml.YAMLError):
        return False  # a recipe that does not fit this manifest has not been trained on it
