"""Lines of the table of results on spectra: fabrics of a handheld, cotton shares, the bundled model."""

from typing import Final

from weft_training.leaderboard_lines import Figure, Line, Rival

_NIRSCAN: Final = "spectra/nirscan_fabrics"
_MEAN: Final = Rival("train_mean", "mean of the training subjects")
_LDA: Final = Rival("snv_lda", "SNV + LDA")
_LOGISTIC: Final = Rival("snv_savgol_logistic", "SNV + first derivative + logistic regression")
_PLS: Final = Rival("snv_sg1_pls", "SNV + first derivative + PLS, 900-1700 nm")


def _accuracy(
    by_swatch: float | None = None, by_scan: float | None = None, *, pure: bool = False
) -> tuple[Figure, Figure]:
    start, of = ("pure.", "pure ") if pure else ("", "")
    return (
        Figure(f"{start}subject.balanced_accuracy", f"balanced accuracy, {of}swatches", "%", "at least",
               by_swatch, factor=100),
        Figure(f"{start}balanced_accuracy", f"balanced accuracy, {of}scans", "%", "at least",
               by_scan, factor=100),
    )  # fmt: skip


SPECTRUM_LINES: Final = (
    Line(
        name="nirscan",
        task="NIRscan fabrics: cotton, nylon, polyester",
        split="leave one swatch out, pooled",
        kind="nirscan",
        source=_NIRSCAN,
        recipe="fibre-nirscan.yaml",
        figures=(*_accuracy(100, 98, pure=True), *_accuracy()),
        rivals=(_LDA, _LOGISTIC, _MEAN),
        tables=("classes",),
        plot="confusion",
        notes=(
            "C03, a suspect label (probably rayon), left out",
            "targets are on the pure swatches; the two blends, by their main fibre, are in the figures "
            "of all swatches (the label of nylon 30 / polyester 70 is in doubt)",
            "wool, acrylic and acetate have one swatch each: none can be left out and learnt from; the line "
            "of the bundled model shows them",
        ),
    ),
    Line(
        name="cotton-pet",
        task="FT-NIR, cotton share of cotton/polyester, corrected labels",
        split="leave one fabric out, pooled",
        kind="cotton-pet",
        source="spectra/cotton_pet_ftnir",
        recipe="fibre-cotton-pet.yaml",
        figures=(Figure("mae_points.cotton", "MAE of the cotton share", "points", target=1.6),),
        rivals=(_PLS, _MEAN),
        plot="shares-against-truth",
        notes=("seven fabrics: an interval over seven subjects is rough",),
    ),
    Line(
        name="bundled-fibre-on-nirscan",
        task="bundled fibre model (simulated spectra only) on real NIRscan swatches",
        split="trained on none of them",
        kind="nirscan",
        source=_NIRSCAN,
        recipe=None,
        figures=(*_accuracy(pure=True), *_accuracy()),
        tables=("classes",),
        plot="confusion",
        notes=(
            "its nylon and acrylic bands were set with overlays of these scans in view; C03 left out",
            "wool, acrylic and acetate have one swatch each: shown, not claimed",
        ),
    ),
)
