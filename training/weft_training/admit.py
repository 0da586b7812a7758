"""Measure how another engine answers for a bundle, and write its bound on the card: then a server takes it.

The graph stays what it was, byte for byte; card and seal are new. Bounds are one and a half times the largest
gap found, since another CPU rounds in another order; they are checked on the bundle's proof at every load.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft.bundle import ONLY_WEIGHT, OUTPUTS, Bundle, load_bundle, open_bundle, repacked
from weft.card import Card, EngineProof, Task
from weft.engine_names import NATIVE, OTHERS, EngineName
from weft.engines import fits_here, measured_on, start_engine
from weft.errors import EngineError
from weft_datasets.manifest import read_manifest
from weft_training.engine_check import Loss, Speed, asked_of, largest_gaps, loss_on, speed_of, usual
from weft_training.proof_inputs import Inputs
from weft_training.run import write_atomically

MOST: Final = 0.02  # grams by 2 %, shares by 2 points
# Of what is said beside the answer: where a photo's side falls on the edge of a cell of the judge's map, the
# last bit of a division decides whether it counts, in float32 too (0.06 of a chance among 214 inputs).
_MOST_BESIDE: Final = 0.1
_SPARE: Final = 1.5
_LEAST: Final = 1e-6  # float32 rounds at 1e-7


@dataclass(frozen=True, slots=True)
class Admission:
    """What was measured, and the bundle that says so."""

    path: Path
    proof: EngineProof
    sha256: str
    loss: Loss | None  # None: without a manifest
    speed: Speed


def admit(
    bundle_path: Path,
    engine: EngineName,
    out: Path,
    *,
    manifest_path: Path | None = None,
    most: float = MOST,
    most_loss_percent: float = 1.0,
) -> Admission:
    """Write the bundle with a bound for `engine` to `out`.

    Args:
        manifest_path: Its captures are compared too, and the error on them may grow by `most_loss_percent`.
        most: The largest gap in any output: relative for grams, else absolute.

    Raises:
        BundleError: The bundle does not hold.
        EngineError: The engine is not here, or differs more, or costs more, than is allowed.
        ManifestError: The manifest does not fit the bundle.
    """
    if engine == NATIVE:
        raise EngineError(f"bundles are exported for {NATIVE} and carry its bound; name another engine")
    native = load_bundle(bundle_path, threads=1)
    if native.card.task != "weight":
        raise EngineError(f"{bundle_path}: {ONLY_WEIGHT}; this one is for {native.card.task}, keep {NATIVE}")
    manifest = None if manifest_path is None else read_manifest(manifest_path)
    data = bundle_path.read_bytes()
    other = Bundle(
        engine=start_engine(engine, data, threads=1, source=str(bundle_path)),
        card=native.card,
        sha256=native.sha256,
        source=str(bundle_path),
    )
    found = prove_engine(native, other, asked_of(native, manifest, seed=0))
    loss = None if manifest is None else loss_on(manifest, native, other)
    said = "" if loss is None else f"; {loss}"
    if name := _beyond(native.card.task, found, most):
        raise EngineError(
            f"{bundle_path}: {engine} is not admitted: {name} differs by up to {found.measured[name]:.2g} on "
            f"{found.cases} inputs, more than --most allows{said}; keep {NATIVE}"
        )
    if loss is not None and loss.percent.high > most_loss_percent:
        raise EngineError(
            f"{bundle_path}: {engine} is not admitted: {loss}; --most-loss allows {most_loss_percent:g} %; "
            f"keep {NATIVE}"
        )
    packed = repacked(data, with_engine(native.card, engine, found))
    proven = open_bundle(packed, source=str(out), threads=1, engine=engine)  # what a server will do
    open_bundle(packed, source=str(out), threads=1)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, packed)
    return Admission(out, found, proven.sha256, loss, speed_of(native, other, usual(native)))


def prove_engine(native: Bundle, other: Bundle, asked: list[Inputs]) -> EngineProof:
    """How far the other engine is from the native one; EngineError where no bound under 1 would hold."""
    measured = largest_gaps(other, [native.run(inputs) for inputs in asked], asked)
    bound = {name: bound_of(far) for name, far in measured.items()}
    wide = {name: far for name, far in measured.items() if not bound[name] < 1}
    if wide:
        worst = max(wide, key=lambda name: wide[name])
        raise EngineError(
            f"{native.source}: {other.engine} is not admitted: {worst} differs by up to {wide[worst]:.2g}, "
            f"nothing is proven by that; keep {NATIVE}"
        )
    return EngineProof(
        bound=bound, measured=measured, cases=len(asked), measured_on=measured_on(other.engine)
    )


def _beyond(task: Task, found: EngineProof, most: float) -> str | None:
    """An output that differs by more than it may; answers are judged before what is said beside them."""
    allowed = {name: most if name in OUTPUTS[task] else max(most, _MOST_BESIDE) for name in found.measured}
    return next((name for name, far in found.measured.items() if far > allowed[name]), None)


def with_engine(card: Card, engine: EngineName, proof: EngineProof) -> Card:
    """The card with a further bound."""
    engines = card.proof.engines | {engine: proof}
    return card.model_copy(update={"proof": card.proof.model_copy(update={"engines": engines})})


def admit_what_fits(model: bytes, native: Bundle, asked: list[Inputs], *, most: float = MOST) -> Card:
    """The card with bounds of all engines that are installed, run on this CPU and stay within `most`."""
    card = native.card
    for engine in OTHERS:
        if card.task != "weight" or not fits_here(engine):  # spectra gain nothing
            continue
        started = start_engine(engine, model, threads=1, source=native.source)
        other = Bundle(engine=started, card=card, sha256=native.sha256, source=native.source)
        try:
            found = prove_engine(native, other, asked)
        except EngineError:
            continue
        if _beyond(card.task, found, most) is None:
            card = with_engine(card, engine, found)
    return card


def bound_of(measured: float, *, least: float = _LEAST) -> float:
    """With something to spare, rounded up to two digits; 1 or more proves nothing."""
    value = max(_SPARE * measured, least)
    if not math.isfinite(value):
        return math.inf
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / step - 1e-9) * step, 12)
