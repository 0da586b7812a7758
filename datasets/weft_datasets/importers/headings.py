"""What the headings of a stranger's table mean: our columns, fibre shares, wavelengths, or their own.

Case, spaces and hyphens do not matter. A heading that is nearly one of ours is refused, since a truth column
that is silently ignored costs a training; `x_` in front of it says that it is meant.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from weft.errors import FibreError, ManifestError
from weft.fibres import fibre
from weft.limits import SPECTRUM_POINTS_MIN
from weft_datasets.columns import FIBRE_COLUMNS, TYPES, UNKNOWN, nearest, some

Unit = Literal["nm", "um", "cm-1"]
UNITS: Final[tuple[Unit, ...]] = ("nm", "um", "cm-1")

FOLDER_ONLY: Final = ("kilograms", "white", "dark", "values", "wavenumber_cm1")
KNOWN: Final = (*(name for name in TYPES if not name.endswith("_pct")), UNKNOWN, *FOLDER_ONLY)
MEANT: Final = {  # what others call our columns; said, never assumed
    **dict.fromkeys(
        ("file", "filename", "file_name", "image", "img", "photo", "image_path", "filepath"), "path"
    ),
    **dict.fromkeys(
        ("weight", "weight_g", "mass", "mass_g", "gram", "g", "weight_grams", "mass_grams"), "grams"
    ),
    **dict.fromkeys(("kg", "kilos", "kilogram", "weight_kg", "mass_kg"), "kilograms"),
    **dict.fromkeys(("fold", "subset", "partition"), "split"),
}
SUBJECT_LIKE: Final = re.compile(
    r"(^|_)(id|subject|sample|specimen|garment|parcel|item|object|swatch|bag|sku|barcode)"
)
SHARE: Final = re.compile(r"(?P<stem>.+?)_*(?P<ending>pct|percent|percentage|\(%\)|%)")
POINT: Final = re.compile(
    r"(?P<prefix>x|wl|wavelength|nm|wn|wavenumber)?_*(?P<value>\d+(?:[.,]\d+)?)_*"
    r"(?P<unit>\(?(?:nm|um|µm|μm|cm_?-?\^?-?1|cm⁻¹|1/cm)\)?)?"
)


@dataclass(frozen=True)
class Headings:
    rename: Mapping[str, str]  # heading -> column of the manifest, or of FOLDER_ONLY
    points: Mapping[str, float]  # heading -> position on the spectral axis, in the order of the table
    unit: Unit | None  # of `points`; None where there are none
    own: tuple[str, ...]  # kept under their own names
    remarks: tuple[str, ...]


def understand(headings: Iterable[str], *, given: Mapping[str, str], axis: Unit | None) -> Headings:
    """Sort headings by meaning.

    Args:
        given: Manifest column -> heading, as the user said with `--column`.
        axis: Unit of the headings that are numbers, as the user said with `--axis`.

    Raises:
        ManifestError: No subject, a heading nearly one of ours, two that mean the same, an unclear unit.
    """
    names = [str(heading) for heading in headings]
    rename = _said(names, given)
    points, units = _points([name for name in names if name not in rename])
    own: list[str] = []
    complaints: list[str] = []
    for name in names:
        if name in rename or name in points:
            continue
        column, complaint = _meaning(name)
        if complaint:
            complaints.append(complaint)
        elif column is None:
            own.append(name)
        else:
            rename[name] = column
    if "subject" not in rename.values():
        complaints.insert(0, _subject_hint(names))
    if complaints:
        raise ManifestError("; ".join(complaints[:5]))
    _refuse_doubles(rename)
    unit = _unit(list(points.values()), units, axis) if points else None
    remarks = [f"kept as they are, Weft does not use them: {some(own)}"] if own else []
    if points and axis is None and not units:
        low, high = min(points.values()), max(points.values())
        remarks.append(
            f"{len(points)} headings from {low:g} to {high:g} were read as {unit}; say --axis if not"
        )
    return Headings(rename, points, unit, tuple(own), tuple(remarks))


def flat(heading: str) -> str:
    """Lower case, with one underscore for spaces and hyphens: ` Mark-MM` is `mark_mm`."""
    return re.sub(
        r"[\s_]+", "_", re.sub(r"(?<=[^\d\W])-(?=\D)", "_", heading.strip().lstrip("\ufeff").casefold())
    )


def _subject_hint(headings: Iterable[str]) -> str:
    likely = [heading for heading in headings if SUBJECT_LIKE.search(flat(heading))]
    told = "the table has no column 'subject', so its captures cannot be split by physical thing; "
    if not likely:
        return told + "add one that names the physical thing in each row"
    said = f"subject={likely[0]}"
    return told + f"if '{likely[0]}' names it, say --column {_quoted(said)}"


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


def _said(names: list[str], given: Mapping[str, str]) -> dict[str, str]:
    rename: dict[str, str] = {}
    for column, heading in given.items():
        if heading not in names:
            guess = nearest(heading, names, cutoff=0.6)
            hint = f"; did you mean '{guess}'?" if guess else f"; there are {some(names)}"
            raise ManifestError(f"--column {column}={heading}: the table has no column '{heading}'{hint}")
        wanted, complaint = _meaning(column)
        if complaint or wanted is None:
            raise ManifestError(
                f"--column {column}={heading}: Weft has no column '{column}'; `docs/data.md` lists them"
            )
        if heading in rename:
            raise ManifestError(f"--column uses '{heading}' twice; a column has one meaning")
        rename[heading] = wanted
    return rename


def _meaning(heading: str) -> tuple[str | None, str | None]:
    """The column that a heading is, or None for one of its own; and a complaint where it is nearly ours."""
    name = flat(heading)
    if name.startswith("x_"):
        return None, None
    if name in KNOWN:
        return name, None
    share = SHARE.fullmatch(name)
    if share:
        return _share(heading, share["stem"], strict=share["ending"] == "pct")
    if name in MEANT:
        return None, _nearly(heading, MEANT[name])
    guess = nearest(name, KNOWN)
    if guess:
        return None, _nearly(heading, guess)
    if f"{name}_pct" in FIBRE_COLUMNS:
        return None, _nearly(heading, f"{name}_pct")
    return None, None


def _share(heading: str, stem: str, *, strict: bool) -> tuple[str | None, str | None]:
    """`humidity %` may be a column of its own, `humidity_pct` may not: `_pct` is how shares are written."""
    if stem in ("unknown", "other", "others", "other_fibres"):
        return UNKNOWN, None
    try:
        found = fibre(stem).name
        # `coton` is French, but on an English heading it is a slip of the pen.
        if stem != found and nearest(stem, [found], cutoff=0.85):
            return None, _nearly(heading, f"{found}_pct")
        return f"{found}_pct", None
    except FibreError as error:
        guess = nearest(f"{stem}_pct", (*FIBRE_COLUMNS, UNKNOWN), cutoff=0.75)
        if guess:
            return None, _nearly(heading, guess)
        if not strict:
            return None, None
        return None, (
            f"column '{heading}' would be a fibre's share, but {error}; rename it, use '{UNKNOWN}' for what "
            f"is no textile fibre, or put 'x_' in front if it is no share"
        )


def _nearly(heading: str, column: str) -> str:
    said = _quoted(f"{column}={heading}")
    return (
        f"column '{heading}' is not read by Weft; did you mean '{column}'? Say --column {said} or rename it "
        f"(with 'x_' in front it is kept as your own)"
    )


def _refuse_doubles(rename: Mapping[str, str]) -> None:
    by_column: dict[str, list[str]] = {}
    for heading, column in rename.items():
        by_column.setdefault(column, []).append(heading)
    for column, sources in by_column.items():
        if len(sources) > 1:
            raise ManifestError(f"columns {some(sources)} all mean '{column}'; keep one of them")
    if {"grams", "kilograms"} <= set(by_column):
        raise ManifestError("the table has both 'grams' and 'kilograms'; keep one of them")


def _points(names: list[str]) -> tuple[dict[str, float], set[Unit]]:
    """Headings that are positions on a spectral axis, unless there are fewer than a spectrum needs."""
    points: dict[str, float] = {}
    units: set[Unit] = set()
    for name in names:
        match = POINT.fullmatch(flat(name))
        if match is None:
            continue
        points[name] = float(match["value"].replace(",", "."))
        unit = _said_unit(match["prefix"], match["unit"])
        if unit:
            units.add(unit)
    return (points, units) if len(points) >= SPECTRUM_POINTS_MIN else ({}, set())


def _said_unit(prefix: str | None, suffix: str | None) -> Unit | None:
    text = (suffix or "").strip("()")
    if text == "nm" or prefix == "nm":
        return "nm"
    if text in ("um", "µm", "μm"):
        return "um"
    if text or prefix in ("wn", "wavenumber"):
        return "cm-1"
    return None


def _unit(values: list[float], units: set[Unit], axis: Unit | None) -> Unit:
    """What was said, or what the numbers can only be.

    300-2600 ascending is nm (the reach of silicon, InGaAs and extended InGaAs); beyond 5500 is cm-1, as no
    instrument for textiles goes there in nm; under 30 is micrometres. Between these lie both mid-infrared
    wavenumbers and wavelengths: not guessed.
    """
    if len(units | ({axis} if axis else set())) > 1:
        raise ManifestError(f"headings say {some(sorted(units))}, --axis says {axis}; correct one of them")
    if axis or units:
        return axis or next(iter(units))
    low, high = min(values), max(values)
    if low >= 0.3 and high <= 30 and any(value % 1 for value in values):
        return "um"
    if low >= 300 and high <= 2600 and values[0] <= values[-1]:
        return "nm"
    if high > 5500 and low >= 300:
        return "cm-1"
    raise ManifestError(
        f"{len(values)} headings run from {values[0]:g} to {values[-1]:g}, which may be nm or cm-1; "
        f"say --axis nm, --axis um or --axis cm-1"
    )
