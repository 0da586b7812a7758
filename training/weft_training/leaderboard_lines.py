"""What a line of the table of results is: a task, a recipe, a protocol, targets and what stands beside it.

The lines themselves are in `lines_photos` and `lines_spectra`. A line of another kind (other instruments, a
day never seen) brings its own `measure`; it imports what is heavy inside that function.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from weft_datasets.manifest import Manifest

SUSPECT_SWATCH: Final = "Cotton_C03"  # its label is in doubt: probably rayon
Sense = Literal["at most", "at least", "inside the band"]
Cell = str | float | None


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a line, as `metrics_of` calls it."""

    key: str
    words: str  # what the reader sees: "ALDE, one photo"
    unit: str = ""  # "%", "kg", "points"; figures and targets are in it
    sense: Sense = "at most"
    target: float | None = None  # None: shown, not promised
    factor: float = 1.0  # from the metric's unit to `unit`
    beside: bool = True  # asked of the simple models too


@dataclass(frozen=True, slots=True)
class Rival:
    """A simple model, or an oracle that is told what a photo or a scan can only hint at."""

    name: str  # a function of `rivals_photos` or `rivals_spectra`
    words: str
    oracle: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    name: str
    task: str
    split: str
    kind: str  # importer, or "parcels" for the simulated ones
    source: str  # folder below the data; "" where nothing measured is needed
    recipe: str | None  # in `configs`; None: a bundle that comes with the package, or `measure`
    figures: tuple[Figure, ...]  # all promised ones must be reached; the first ranks the rivals
    rivals: tuple[Rival, ...] = ()
    overrides: tuple[str, ...] = ()  # of the recipe, beside the protocol of the kind
    marked: bool = False  # only photos with the mark in view, and subjects with one such photo
    blind: bool = False  # trained a second time without any scale, to stand in the table of scales
    tables: tuple[Literal["photos", "scale", "intervals", "classes"], ...] = ()
    plot: str = ""  # of `figures_of`
    simulated: bool = False
    notes: tuple[str, ...] = ()  # what a reader must know to judge the figures
    measure: "Callable[[Workbench, Line], Measured] | None" = None


class Workbench(Protocol):
    """What a line's own `measure` is given: as much of `leaderboard.Board` as it may use."""

    data: Path  # the folder of the measured data
    configs: Path
    say: Callable[[str], None]

    def overrides(self, line: Line, *more: str) -> tuple[str, ...]: ...
    def manifest_path(self, line: Line) -> Path: ...
    def imported(self, line: Line) -> "Manifest": ...


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers below a line: a curve, classes, other instruments."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a line was measured with; `manifest` and `fold` (capture -> fold) let simple models follow."""

    predictions: "pd.DataFrame"  # as `metrics_of` takes them
    fingerprint: str
    manifest: "Manifest | None" = None
    fold: "dict[str, int] | None" = None
    tables: tuple[Table, ...] = ()
    pictures: dict[str, bytes] = field(default_factory=dict)  # name -> PNG, shown below the line


@dataclass(frozen=True, slots=True)
class Comparison:
    """Another model on the same subjects. Differences are ours less theirs: % of an error, else as is."""

    name: str
    words: str
    oracle: bool
    figures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    differences: dict[str, tuple[float, float, float]]  # value, low, high; 95 % paired over subjects


@dataclass(frozen=True, slots=True)
class Result:
    """A measured line, as it is stored."""

    line: str
    figures: dict[str, float]  # in the units of the line's figures
    intervals: dict[str, tuple[float, float]]  # 95 % over subjects; for a coverage the binomial band
    subjects: int
    captures: int
    reached: bool | None  # None: nothing was promised
    date: str
    revision: str
    fingerprint: str
    comparisons: tuple[Comparison, ...] = ()
    tables: tuple[Table, ...] = ()


# What the lines promise, whatever their recipes say by themselves.
PROTOCOL: Final = {
    "ecustfd": ("split.scheme=folds", "split.folds=5"),
    "ducks": ("split.scheme=folds", "split.folds=5"),
    "parcels": ("split.scheme=holdout",),
    "nirscan": (
        "split.scheme=leave_one_out",
        "data.fibres=[cotton,nylon,polyester]",
        f"data.exclude_subjects=[{SUSPECT_SWATCH}]",
    ),
    "cotton-pet": ("split.scheme=leave_one_out",),
}
