"""Two answers to the same question, as the few figures that are kept of them."""

from collections.abc import Callable, Sequence
from typing import Any

from weft.identifier import Composition
from weft.spectra import Scan
from weft.weigher import Estimate, Prepared
from weft_serving.bundles.models import FibreModel, Model, WeightModel
from weft_serving.circumstances import Circumstances

Said = Estimate | Composition
Ask = Callable[[Model], Said]


def weighing(prepared: Sequence[Prepared], circumstances: Circumstances) -> Ask:
    """The question that an estimate answered, to ask any weight model."""

    def ask(model: Model) -> Estimate:
        assert isinstance(model, WeightModel)
        return model.weigher.weigh(prepared, season=circumstances.season, wrap=circumstances.wrap)

    return ask


def identifying(scan: Scan) -> Ask:
    """The question that a composition answered, to ask any fibre model."""

    def ask(model: Model) -> Composition:
        assert isinstance(model, FibreModel)
        return model.identifier.identify(scan)

    return ask


def compare(served: Said, challenger: Said) -> dict[str, Any]:
    """Figures of an answer and of the challenger's, in this order in every pair; JSON, no photo, no spectrum.

    Estimates: `grams`, `low`, `high`, null where none was said. Compositions: `distance` (half the sum of the
    shares' differences: 0 the same, 1 disjoint), `unknown`, `main` (the largest share's fibre).
    """
    if isinstance(served, Estimate) and isinstance(challenger, Estimate):
        return {
            "grams": [_tenth(served.grams), _tenth(challenger.grams)],
            "low": [_tenth(served.low_grams), _tenth(challenger.low_grams)],
            "high": [_tenth(served.high_grams), _tenth(challenger.high_grams)],
        }
    if isinstance(served, Composition) and isinstance(challenger, Composition):
        one, other = _shares(served), _shares(challenger)
        apart = sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in one.keys() | other.keys())
        return {
            "distance": round(min(1.0, apart / 2 if one and other else float(bool(one) != bool(other))), 6),
            "unknown": [round(served.unknown, 6), round(challenger.unknown, 6)],
            "main": [
                max(one, key=one.__getitem__, default=None),
                max(other, key=other.__getitem__, default=None),
            ],
        }
    raise ValueError("an estimate and a composition have nothing to be compared by")


def _shares(composition: Composition) -> dict[str, float]:
    return {share.fibre: float(share.share) for share in composition.shares}


def _tenth(grams: float | None) -> float | None:
    return None if grams is None else round(float(grams), 1)
