"""The lines of the table of results: each a task on public data, a recipe, a protocol and a target."""

from dataclasses import dataclass
from typing import Final, Literal

SUSPECT_SWATCH: Final = "Cotton_C03"  # its label is in doubt: probably rayon


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    name: str
    task: str
    split: str
    kind: str  # importer
    source: str  # folder below the data
    recipe: str | None  # in `configs`; None: the fibre bundle that comes with the package
    keys: tuple[str, ...]  # figures of `metrics_of`; all must reach the target
    unit: str
    target: float | None  # None: a figure without a promise
    sense: Literal["at most", "at least", "inside the band", "none"]
    baseline: str
    plot: str  # of `figures_of`


@dataclass(frozen=True, slots=True)
class Result:
    """A measured line, as it is stored."""

    line: str
    figures: dict[str, float]  # the line's keys
    intervals: dict[str, tuple[float, float]]  # 95 % over subjects; for a coverage the binomial band
    subjects: int
    captures: int
    reached: bool | None  # None: nothing was promised
    date: str
    revision: str
    fingerprint: str


# What the lines promise, whatever their recipes say by themselves.
PROTOCOL: Final = {
    "ecustfd": ("split.scheme=folds", "split.folds=5"),
    "ducks": ("split.scheme=folds", "split.folds=5"),
    "nirscan": (
        "split.scheme=leave_one_out",
        "data.fibres=[cotton,nylon,polyester]",
        f"data.exclude_subjects=[{SUSPECT_SWATCH}]",
    ),
    "cotton-pet": ("split.scheme=leave_one_out",),
}

LINES: Final = (
    Line(
        name="food-one",
        task="weighed food, one photo",
        split="5 folds by object; the coin finder was tuned on 500 of these photos",
        kind="ecustfd",
        source="photos/weighed_food_with_coin",
        recipe="weight-ecustfd.yaml",
        keys=("one.alde",),
        unit="ALDE",
        target=0.23,
        sense="at most",
        baseline="0.624 train median; 0.237 frozen net + ridge; 0.229 with the coin",
        plot="predicted-against-true",
    ),
    Line(
        name="food-all",
        task="weighed food, all photos of an object together",
        split="5 folds by object; the coin finder was tuned on 500 of these photos",
        kind="ecustfd",
        source="photos/weighed_food_with_coin",
        recipe="weight-ecustfd.yaml",
        keys=("all.alde",),
        unit="ALDE",
        target=0.165,
        sense="at most",
        baseline="0.167 frozen net + ridge; 0.162 with the coin",
        plot="error-by-mass",
    ),
    Line(
        name="food-intervals",
        task="90 % intervals on weighed food, one photo / all photos",
        split="cross-conformal by object",
        kind="ecustfd",
        source="photos/weighed_food_with_coin",
        recipe="weight-ecustfd.yaml",
        keys=("one.coverage", "all.coverage"),
        unit="coverage",
        target=0.9,
        sense="inside the band",
        baseline="",
        plot="reliability",
    ),
    Line(
        name="ducks-one",
        task="ducks on a line, one frame",
        split="5 folds by duck",
        kind="ducks",
        source="photos/weighed_ducks_on_line",
        recipe="weight-ducks.yaml",
        keys=("one.mape",),
        unit="MAPE %",
        target=7.0,
        sense="at most",
        baseline="9.1 train median; 7.3 frozen net + ridge",
        plot="predicted-against-true",
    ),
    Line(
        name="nirscan",
        task="NIRscan fabrics, cotton / nylon / polyester, by swatch",
        split="leave one swatch out, pooled; C03, a suspect label, left out",
        kind="nirscan",
        source="spectra/nirscan_fabrics",
        recipe="fibre-nirscan.yaml",
        keys=("subject.balanced_accuracy",),
        unit="balanced accuracy",
        target=0.95,
        sense="at least",
        baseline="0.99 to 1.00 SNV + LDA",
        plot="confusion",
    ),
    Line(
        name="cotton-pet",
        task="FT-NIR, cotton share of cotton/polyester, corrected labels",
        split="leave one fabric out",
        kind="cotton-pet",
        source="spectra/cotton_pet_ftnir",
        recipe="fibre-cotton-pet.yaml",
        keys=("mae_points.cotton",),
        unit="MAE in points",
        target=2.5,
        sense="at most",
        baseline="5.4 mean; 1.6 SNV + SG1 + PLS",
        plot="shares-against-truth",
    ),
    Line(
        name="bundled-fibre-on-nirscan",
        task="bundled fibre model (simulated spectra only) on real NIRscan swatches",
        split="trained on none, but its nylon and acrylic bands were set with overlays of them in view; "
        "C03 left out",
        kind="nirscan",
        source="spectra/nirscan_fabrics",
        recipe=None,
        keys=("subject.balanced_accuracy",),
        unit="balanced accuracy",
        target=None,
        sense="none",
        baseline="",
        plot="confusion",
    ),
)
