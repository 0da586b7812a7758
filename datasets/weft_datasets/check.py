"""What would spoil a training on a manifest, and what should be looked at before one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from weft_datasets.columns import count, some, truth_columns, value_faults
from weft_datasets.doubts import labels, odd_masses, odd_spectra, subjects_by_label
from weft_datasets.duplicates import Looked, Pair, groups, look_at_photos, photo_pairs, spectrum_pairs
from weft_datasets.manifest import Manifest

FEW_SUBJECTS: Final = 20  # below it the coverage of intervals is not judged, below 9 there is none
MOST_LISTED: Final = 12


@dataclass(frozen=True)
class Finding:
    spoils: bool  # a training on this would be wrong or would not run
    sentence: str
    captures: tuple[tuple[str, ...], ...] = ()  # groups of captures to look at side by side


@dataclass(frozen=True)
class Report:
    name: str
    counts: Mapping[str, str]
    findings: tuple[Finding, ...]

    @property
    def spoils(self) -> bool:
        return any(finding.spoils for finding in self.findings)

    @property
    def verdict(self) -> str:
        worst = sum(finding.spoils for finding in self.findings)
        if worst:
            return f"{worst} of {count(len(self.findings), 'finding')} would spoil a training"
        return (
            f"fit to train on; {count(len(self.findings), 'thing')} to look at"
            if self.findings
            else "fit to train on"
        )

    def text(self) -> str:
        wide = max(len(name) for name in self.counts)
        lines = [self.name, *(f"  {name:<{wide}}  {value}" for name, value in self.counts.items())]
        worst_first = sorted(self.findings, key=lambda finding: not finding.spoils)
        lines += [f"{'SPOILS' if one.spoils else 'look  '}  {one.sentence}" for one in worst_first]
        return "\n".join([*lines, self.verdict])


def check_manifest(manifest: Manifest) -> Report:
    """Look into every file and every label. A manifest read with `strict=False` has everything reported."""
    frame = manifest.frame
    findings = [Finding(True, fault) for fault in value_faults(frame)]
    findings += _truth(manifest)
    missing = manifest.missing_files()
    if missing:
        lost = (
            f"{count(len(missing), 'file')} missing: {some(missing)}; they are looked up from {manifest.root}"
        )
        findings.append(Finding(True, lost))
    if manifest.kind == "photo":
        pairs, found = _photos(manifest, set(missing))
        findings += found
    else:
        pairs = list(spectrum_pairs(frame)) if "absorbance" in frame else []
        findings += _spectra(frame)
    findings += _duplicates(frame, pairs)
    findings += _masses(frame)
    findings += _notes(frame)
    return Report(manifest.name, _counts(manifest), tuple(findings))


def _truth(manifest: Manifest) -> list[Finding]:
    frame = manifest.frame
    subjects = frame["subject"].nunique()
    found: list[Finding] = []
    if not manifest.has_grams and not manifest.has_composition:
        found.append(Finding(True, "no capture has grams or a fibre's share; there is nothing to learn"))
    else:
        columns = [*(["grams"] if manifest.has_grams else []), *truth_columns(frame.columns)]
        bare = frame.loc[frame[columns].isna().all(axis=1), "capture"].tolist()
        if bare:
            found.append(
                Finding(False, f"{count(len(bare), 'capture')} without truth, to be left out: {some(bare)}")
            )
    if subjects < 2:
        found.append(Finding(True, f"{subjects} subject cannot be split into training and measurement"))
    elif subjects < FEW_SUBJECTS:
        found.append(
            Finding(
                False,
                f"{subjects} subjects: intervals cannot be judged below {FEW_SUBJECTS}, below 9 there are "
                f"none; weigh more",
            )
        )
    return found


def _photos(manifest: Manifest, missing: set[str]) -> tuple[list[Pair], list[Finding]]:
    frame = manifest.frame
    if "path" not in frame or frame["path"].isna().any():
        lacking = frame if "path" not in frame else frame[frame["path"].isna()]
        lost = lacking["capture"].tolist()
        return [], [Finding(True, f"{count(len(lost), 'photo')} without a path: {some(lost)}")]
    bands = manifest.notes.get("bands")
    rows = [row for row, path in enumerate(frame["path"]) if path not in missing]
    files = [manifest.file(frame["path"].iloc[row]) for row in rows]
    seen: list[Looked | str] = ["missing"] * len(frame)
    for row, one in zip(rows, look_at_photos(files, bands=len(bands) if bands else None), strict=True):
        seen[row] = one
    broken = [(frame["capture"].iloc[row], seen[row]) for row in rows if isinstance(seen[row], str)]
    found: list[Finding] = []
    if broken:
        told = some([f"{capture} ({why})" for capture, why in broken])
        found.append(Finding(True, f"{count(len(broken), 'photo')} cannot be read: {told}"))
    return list(photo_pairs(seen)), found


def _spectra(frame: pd.DataFrame) -> list[Finding]:
    if "absorbance" not in frame:
        return [Finding(True, "no column 'absorbance': the spectra are not in this manifest")]
    found: list[Finding] = []
    odd = odd_spectra(frame)
    if odd:
        told = some(
            [f"{subject} is called {own}, its scans look like {other}" for subject, own, other in odd], most=8
        )
        said = labels(frame)
        shown = tuple(_beside(frame, said, subject, own, other) for subject, own, other in odd[:MOST_LISTED])
        found.append(Finding(False, f"{count(len(odd), 'label')} in doubt: {told}", shown))
    flat = [
        c
        for c, v in zip(frame["capture"], frame["absorbance"], strict=True)
        if v is not None and np.ptp(v) == 0
    ]
    if flat:
        found.append(
            Finding(True, f"{count(len(flat), 'scan')} with the same value throughout: {some(flat)}")
        )
    return found


def _duplicates(frame: pd.DataFrame, pairs: Sequence[Pair]) -> list[Finding]:
    captures = frame["capture"].tolist()
    subjects = frame["subject"].tolist()

    def across(pair: Pair) -> bool:
        return subjects[pair.first] != subjects[pair.second]

    found: list[Finding] = []
    for same, spoils, words in (
        (True, True, "are in the manifest under more than one subject, so a split would leak"),
        (False, False, "look nearly the same under different subjects; are they one thing?"),
    ):
        together = groups(pairs, lambda pair, same=same: across(pair) and pair.same == same)
        if together:
            told = some(
                [" = ".join(f"{captures[row]} ({subjects[row]})" for row in rows[:3]) for rows in together],
                most=4,
            )
            shown = tuple(tuple(captures[row] for row in rows[:4]) for rows in together[:MOST_LISTED])
            number = sum(len(rows) for rows in together)
            found.append(Finding(spoils, f"{number} captures {words}: {told}", shown))
    twice = groups(pairs, lambda pair: pair.same and not across(pair))
    if twice:
        told = some([" = ".join(captures[row] for row in rows[:3]) for rows in twice], most=4)
        shown = tuple(tuple(captures[row] for row in rows[:4]) for rows in twice[:MOST_LISTED])
        found.append(
            Finding(False, f"{count(len(twice), 'measurement')} there more than once: {told}", shown)
        )
    return found


def _masses(frame: pd.DataFrame) -> list[Finding]:
    odd = odd_masses(frame)
    if not odd:
        return []
    told = some([f"{s} weighs {g:g} g, {klass or 'all others'} about {m:.0f} g" for s, g, m, klass in odd])
    shown = tuple((_capture_of(frame, subject),) for subject, _, _, _ in odd[:MOST_LISTED])
    return [Finding(False, f"{count(len(odd), 'weight')} in doubt: {told}", shown)]


def _notes(frame: pd.DataFrame) -> list[Finding]:
    if "label_note" not in frame or frame["label_note"].isna().all():
        return []
    noted = frame.dropna(subset=["label_note"])
    each = [f"'{note}' ({number})" for note, number in noted["label_note"].value_counts(sort=True).items()]
    firsts = noted.drop_duplicates("label_note")["capture"].tolist()[:MOST_LISTED]
    words = f"{count(len(noted), 'capture')} with a note on the label: {some(each, most=4)}"
    return [Finding(False, words, tuple((capture,) for capture in firsts))]


def _capture_of(frame: pd.DataFrame, subject: str) -> str:
    return str(frame.loc[frame["subject"] == subject, "capture"].iloc[0])


def _beside(frame: pd.DataFrame, said: pd.Series, subject: str, own: str, other: str) -> tuple[str, ...]:
    """A scan of the subject, one of another thing with its label, one of what it looks like."""
    elsewhere = frame["subject"] != subject
    wanted = (frame["subject"] == subject, elsewhere & (said == own), elsewhere & (said == other))
    return tuple(str(frame.loc[rows, "capture"].iloc[0]) for rows in wanted if rows.any())


def _counts(manifest: Manifest) -> dict[str, str]:
    frame = manifest.frame
    each = frame.groupby("subject").size()
    counts = {
        "kind": manifest.kind,
        "captures": str(len(frame)),
        "subjects": f"{len(each)}, {each.min()} to {each.max()} captures of each, median {each.median():g}",
    }
    if manifest.has_grams:
        grams = frame.drop_duplicates("subject")["grams"].dropna()
        counts["grams"] = (
            f"{grams.min():g} to {grams.max():g}, median {grams.median():g}, {len(grams)} subjects weighed"
        )
    if manifest.has_composition:
        by_label = subjects_by_label(frame)
        counts["composition"] = some([f"{name} {number}" for name, number in by_label.items()], most=12)
    for column in (
        "klass",
        "view",
        "mark",
        "season",
        "wrap",
        "instrument",
        "quantity",
        "session",
        "site",
        "split",
    ):
        if column in frame and frame[column].notna().any():
            values = frame[column].value_counts().sort_index()
            counts[column] = some([f"{name} {number}" for name, number in values.items()], most=12)
    if "wavelength_nm" in frame:
        ends = sorted({(v[0], v[-1], len(v)) for v in frame["wavelength_nm"] if v is not None and len(v)})
        counts["wavelengths"] = some([f"{a:.0f}-{b:.0f} nm, {n} points" for a, b, n in ends])
    counts["simulated"] = (
        "yes" if frame["simulated"].all() else "in part" if frame["simulated"].any() else "no"
    )
    counts["source"] = (
        f"{manifest.notes.get('source', 'not stated')}; licence: {manifest.notes.get('licence', '-')}"
    )
    return counts
