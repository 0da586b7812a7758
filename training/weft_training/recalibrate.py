"""A fibre bundle and a few known swatches -> a new bundle whose shares are moved by what they tell. No torch.

A new day, instrument or mill moves all shares a little the same way. Five swatches of known composition can
tell how much; they cannot tell more. So the correction is one number a fibre, and a slope where the swatches
carry one (`share_correction`), it is drawn towards none at all, and it is refused where it does not help on
swatches left out of it. Everything else stays the parent's, `unknown` included.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from weft.bundle import (
    CARD_KEY,
    PROOF_CASES,
    PROOF_KEY,
    Arrays,
    Bundle,
    gap,
    load_bundle,
    open_bundle,
    pack_proof,
    sealed,
    unpack_proof,
)
from weft.card import Card, Proof, RecalibrationCard
from weft.errors import RecalibrationError
from weft_training.calibrate_shares import ShareCalibration, calibrate_shares
from weft_training.known_swatches import Known, composition_of, read_known
from weft_training.proof_inputs import made_scans
from weft_training.recalibrated_graph import recalibrated
from weft_training.revision import code_revision
from weft_training.share_correction import Correction, choose_correction, gained, left_out

Floats = NDArray[np.float64]
Inputs = dict[str, NDArray[Any]]

COVERAGE: Final = 0.9  # of margins that are made anew, where the parent had none
_CASES: Final = 60  # made inputs that the new graph is compared on, beside the proof's


@dataclass(frozen=True, slots=True)
class Report:
    """What was written, and what it is worth on swatches left out."""

    path: Path
    card: Card
    sha256: str


def recalibrate(
    bundle_path: Path, known_path: Path, out: Path, *, name: str | None = None, version: str | None = None
) -> Report:
    """Write the bundle at `bundle_path`, moved by the known swatches in `known_path`, to `out`.

    Args:
        known_path: A table as `weft import folder` reads it, or a manifest (.parquet).
        name: Of the new bundle; the parent's if left out.
        version: The parent's with `-recalibrated` if left out.

    Raises:
        BundleError: The parent does not hold, or is no fibre bundle.
        ManifestError: The table cannot be read, or does not fit the bundle.
        RecalibrationError: The swatches do not carry a correction, or the bundle takes photos too; the
            message says why.
    """
    parent = load_bundle(bundle_path, task="composition")
    if composition_of(parent).photo is not None:
        raise RecalibrationError(
            f"{bundle_path}: takes photos too, and known scans say nothing of those; recalibrate a bundle of "
            "the same recipe without model.photo"
        )
    known = read_known(known_path, parent)
    correction = choose_correction(known.predicted, known.truth)
    if correction.too_large:
        raise RecalibrationError(
            f"{known_path}: these swatches ask for shares to the power {correction.power:.2g} and factors up "
            f"to {np.exp(max(map(abs, correction.shift))):.2g}: that is no drift; check labels and "
            f"instrument, or train on such scans"
        )
    others = left_out(known.predicted, known.truth)  # a swatch's own correction has never seen it
    moved = np.concatenate([of.apply(row[None]) for of, row in zip(others, known.predicted, strict=True)])
    _check_gain(known, moved, source=str(known_path))
    margins = _new_margins(known, others, parent)
    move = Move(correction, margins)
    model = onnx.load_model_from_string(bundle_path.read_bytes())
    metadata = {item.key: item.value for item in model.metadata_props}
    graph = recalibrated(model, correction, margins)
    proof, travelling = _prove(
        graph, parent, unpack_proof(metadata[PROOF_KEY], source=str(bundle_path)), move, known
    )
    card = _card(parent, known, move, moved, proof, name=name, version=version)
    onnx.helper.set_model_props(graph, {CARD_KEY: card.model_dump_json(), PROOF_KEY: pack_proof(travelling)})
    data = sealed(graph.SerializeToString())
    bundle = open_bundle(data, source=str(out), task="composition")  # what a server will do
    _write(out, data)
    return Report(out, card, bundle.sha256)


def _check_gain(known: Known, moved: Floats, *, source: str) -> None:
    """Raise RecalibrationError unless left-out swatches gain, by more than luck would give."""
    before, after = known.errors(known.predicted), known.errors(moved)
    if not gained(before, after):
        raise RecalibrationError(
            f"{source}: a correction does not help: swatches left out err by {after.mean():.2f} points, "
            f"without it by {before.mean():.2f}; keep the bundle, or "
            f"scan more swatches of other compositions"
        )


def _new_margins(known: Known, others: Sequence[Correction], parent: Bundle) -> ShareCalibration | None:
    """Margins from left-out swatches; None where they are too few.

    The parent's margins were measured on its own answers to its own subjects. Neither holds after a
    correction for things unlike them, so they are not kept and not widened by a guess.
    """
    section = composition_of(parent)
    held = known.scans.copy()
    names = [f"predicted_{fibre}_share" for fibre in section.fibres]
    of = dict(zip(known.subjects, others, strict=True))
    given = held[names].to_numpy(np.float64)
    held[names] = [
        of[str(subject)].apply(row[None])[0] for subject, row in zip(held["subject"], given, strict=True)
    ]
    return calibrate_shares(held, section.fibres, parent.card.coverage or COVERAGE)


def _prove(
    graph: onnx.ModelProto,
    parent: Bundle,
    proof: Sequence[tuple[Any, Any]],
    move: "Move",
    known: Known,
) -> tuple[Proof, list[tuple[Arrays, Arrays]]]:
    """Compare the new graph with the parent's answers, moved here in plain numpy.

    What travels is the parent's own proof, moved likewise: it rests on the answers of the trained network.

    Raises:
        RecalibrationError: The new graph answers otherwise.
    """
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    takes = {item.name for item in session.get_inputs()}
    section = composition_of(parent)
    asked: list[Inputs] = [dict(inputs) for inputs, _ in proof]
    asked += made_scans(_CASES, grid_nm=list(section.grid_nm), seed=len(known.subjects))
    bound, worst, compared = parent.card.proof.bound, 0.0, 0
    travelling: list[tuple[Arrays, Arrays]] = []
    for number, inputs in enumerate(asked):
        given = dict(proof[number][1]) if number < len(proof) else parent.run(inputs)
        expected = move.answer(given)
        if move.at_an_edge(expected["shares"]):
            continue  # a last bit decides which margin: both answers are right
        fed = {name: value for name, value in inputs.items() if name in takes}
        found = {name: np.asarray(value) for name, value in zip(names, session.run(names, fed), strict=True)}
        worst = max(worst, gap("composition", expected, found))
        compared += 1
        if len(travelling) < PROOF_CASES:
            travelling.append((inputs, expected))
    if not worst <= bound:
        raise RecalibrationError(
            f"the corrected graph differs by {worst:.2g} from the correction of the parent's answers, the "
            f"bound is {bound:.2g}; recalibrate a bundle of wider export.bound"
        )
    return Proof(engine="onnxruntime", bound=bound, measured=worst, cases=compared), travelling


@dataclass(frozen=True, slots=True)
class Move:
    """What the appended nodes do, in numpy."""

    correction: Correction
    margins: ShareCalibration | None

    def answer(self, given: dict[str, NDArray[Any]]) -> Inputs:
        """The parent's outputs -> the new bundle's."""
        shares = self.correction.apply(np.asarray(given["shares"], np.float64))
        low, high = (shares, shares) if self.margins is None else self.margins.intervals(shares)
        found = {"shares": shares, "low": low, "high": high, "unknown": given["unknown"]}
        return {name: np.asarray(value, np.float32) for name, value in found.items()}

    def at_an_edge(self, shares: NDArray[Any]) -> bool:
        """Whether a share lies so close to where margins change that rounding decides."""
        if self.margins is None:
            return False
        edges = np.asarray(self.margins.edges_share)
        return bool((np.abs(shares[..., None] - edges) < 1e-4).any())


def _card(
    parent: Bundle,
    known: Known,
    move: Move,
    moved: Floats,
    proof: Proof,
    *,
    name: str | None,
    version: str | None,
) -> Card:
    card, margins = parent.card, move.margins
    section = composition_of(parent)
    before, after = known.errors(known.predicted), known.errors(moved)
    frame = known.manifest.frame
    instruments = set(frame["instrument"].dropna().astype(str)) if "instrument" in frame else set[str]()
    ranges = {
        fibre: (float(known.truth[:, column].min()), float(known.truth[:, column].max()))
        for column, fibre in enumerate(section.fibres)
        if known.present[column]
    }
    recalibration = RecalibrationCard(
        parent_sha256=parent.sha256,
        kind=move.correction.kind,
        swatches=len(known.subjects),
        scans=len(known.scans),
        fibres=tuple(ranges),
        share_range=ranges,
        instruments=tuple(sorted(instruments)),
        dataset_fingerprint=known.manifest.fingerprint(),
        mae_points_before=float(before.mean()),
        mae_points_after=float(after.mean()),
    )
    count = len(known.subjects)
    said = (
        f"margins are measured on {count} known swatches, each left out in turn"
        if margins is not None
        else f"no margins: {count} known swatches cannot carry them, and the parent's do not hold here"
    )
    plain = card.model_dump() | {
        "name": name or card.name,
        "version": version or f"{card.version}-recalibrated",
        # Simulated swatches taint a model of real scans; real ones do not make a simulated model real.
        "trained_on": "simulated" if bool(frame["simulated"].any()) else card.trained_on,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_revision": code_revision(),
        "coverage": None if margins is None else margins.coverage,
        "calibration_subjects": 0 if margins is None else margins.subjects,
        "metrics": {
            "recalibration.mae_points_before": recalibration.mae_points_before,
            "recalibration.mae_points_after": recalibration.mae_points_after,
            **{f"parent.{name}": value for name, value in card.metrics.items()},
        },
        "limits": (
            *card.limits,
            f"recalibrated with {count} known swatches ({recalibration.kind}); {said}",
        ),
        "proof": proof,
        "recalibration": recalibration,
    }
    return Card.model_validate(plain)


def _write(out: Path, data: bytes) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.{os.getpid()}")  # a server never reads half a file
    beside.write_bytes(data)
    beside.replace(out)
