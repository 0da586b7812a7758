"""How a challenger compares with the bundle in service: agreement, over time, cost, and against the scale."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from weft_serving.bundles.models import BundleName, FibreModel, Model, ServedTask
from weft_serving.bundles.slot import Slot
from weft_serving.bundles.trial import why_not
from weft_serving.store import Store
from weft_serving.tables import TrialRow, WeighingRow

MOST: Final = 5_000  # answers that a report is made of, the newest
_STEPS_S: Final = (60, 300, 900, 3600, 21_600, 86_400)
_MOST_STEPS: Final = 48
_FEWEST_WEIGHED: Final = 9  # below it no interval is honest, as for bundles
_RESAMPLES: Final = 2_000
_IDS: Final = 500  # in one question to the database


class Figures(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Spread(Figures):
    """Over the answers compared: 10, 50 and 90 of 100 lie below."""

    p10: float
    median: float
    p90: float


class WeightAgreement(Figures):
    difference_percent: Spread | None = Field(
        description="Challenger's grams over the served ones, less 100 %"
    )
    within_10_percent: float | None = Field(description="Share of answers")
    interval_overlap: float | None = Field(description="Common part of both intervals over their union, mean")
    interval_width_ratio: float | None = Field(description="Challenger's over the served one's, median")
    only_served: int = Field(description="Answers for which only the served bundle gave grams")
    only_challenger: int


class FibreAgreement(Figures):
    distance: Spread | None = Field(description="Half the sum of the shares' differences: 0 same, 1 disjoint")
    same_main_fibre: float | None = Field(description="Share of answers")
    same_unknown: float | None = Field(description="Share of answers that both, or neither, call unknown")


class Cost(Figures):
    """CPU milliseconds of one answer from prepared photos or a scan, medians of the same cases."""

    served_cpu_ms: float
    challenger_cpu_ms: float
    cases: int


class AgainstScale(Figures):
    """Parcels that were weighed since. ALDE: mean of |ln(estimated / weighed)|, about the relative error."""

    parcels: int
    served_alde: float
    challenger_alde: float
    difference: float = Field(description="Challenger's less served; below 0 the challenger is better")
    low: float | None = Field(description="95 % interval of the difference, parcels resampled in pairs")
    high: float | None
    served_covered: float | None = Field(description="Share of parcels whose weight lay in the interval")
    challenger_covered: float | None


class Moment(Figures):
    """One stretch of time; of the difference in percent, or of the distance of compositions."""

    at: datetime
    answers: int
    spread: Spread | None
    served_cpu_ms: float | None
    challenger_cpu_ms: float | None


class Histogram(Figures):
    edges: list[float]
    counts: list[int]


class TrialReport(Figures):
    task: ServedTask
    served: BundleName
    challenger: BundleName
    since: datetime
    share: float = Field(description="Of live answers that are offered for comparison")
    why_not_compared: str | None
    outcomes: dict[str, int] = Field(description="Of offered answers since the challenger was loaded here")
    answers: int = Field(description="Compared answers that this report is made of, all replicas")
    weight: WeightAgreement | None
    composition: FibreAgreement | None
    cost: Cost | None
    scale: AgainstScale | None
    histogram: Histogram | None
    over_time: list[Moment]


class _Row(NamedTuple):
    at: datetime
    subject: str | None
    figures: dict[str, Any]


def report_trial(slot: Slot, store: Store) -> TrialReport | None:
    """None where no challenger is on trial. Raises StoreError."""
    challenger, served = slot.trial.challenger, slot.current
    if challenger is None:
        return None
    rows = _rows(store, served, challenger)
    compared = [row for row in rows if not row.figures.keys() & {"refused", "failed"}]
    weight = slot.task == "weight"
    values = _differences(compared) if weight else np.array([row.figures["distance"] for row in compared])
    edges = np.linspace(-50, 50, 41) if weight else np.linspace(0, 1, 41)
    clipped = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    return TrialReport(
        task=slot.task,
        served=served.name,
        challenger=challenger.name,
        since=slot.trial.since,
        share=slot.trial.share,
        why_not_compared=why_not(served, challenger),
        outcomes=dict(slot.trial.outcomes),
        answers=len(compared),
        weight=_weight_agreement(compared, values) if weight else None,
        composition=None if weight else _fibre_agreement(compared, values, served, challenger),
        cost=_cost(compared),
        scale=_against_scale(store, compared) if weight else None,
        histogram=Histogram(edges=edges.round(4).tolist(), counts=np.histogram(clipped, edges)[0].tolist())
        if len(clipped)
        else None,
        over_time=_over_time(compared, values),
    )


def _rows(store: Store, served: Model, challenger: Model) -> list[_Row]:
    """Oldest first."""
    wanted = (
        select(TrialRow.at, TrialRow.subject, TrialRow.figures)
        .where(
            TrialRow.served_sha256 == served.bundle.sha256,
            TrialRow.challenger_sha256 == challenger.bundle.sha256,
        )
        .order_by(TrialRow.number.desc())
        .limit(MOST)
    )
    with store.reading() as session:
        return [_Row(*row) for row in session.execute(wanted)][::-1]


def _pair(rows: Sequence[_Row], key: str) -> NDArray[np.float64]:
    """Shape (n, 2): served, challenger; NaN where one said nothing."""
    return np.array([row.figures[key] for row in rows], np.float64).reshape(-1, 2)


def _differences(rows: Sequence[_Row]) -> NDArray[np.float64]:
    """Percent, shape (n,); NaN where one of the two gave no grams."""
    grams = _pair(rows, "grams")
    return 100 * (grams[:, 1] / np.maximum(grams[:, 0], 0.1) - 1)


def _spread(values: NDArray[np.float64]) -> Spread | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, middle, high = np.percentile(known, (10, 50, 90)).round(4).tolist()
    return Spread(p10=low, median=middle, p90=high)


def _mean(values: NDArray[Any]) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 4) if len(known) else None


def _weight_agreement(rows: Sequence[_Row], difference: NDArray[np.float64]) -> WeightAgreement:
    said = np.isfinite(_pair(rows, "grams"))
    low, high = _pair(rows, "low"), _pair(rows, "high")
    common = np.clip(high.min(axis=1) - low.max(axis=1), 0, None)
    union = high.max(axis=1) - low.min(axis=1)
    width = high - low
    ratio = width[:, 1] / np.maximum(width[:, 0], 0.1)
    known = difference[np.isfinite(difference)]
    spread = _spread(ratio)
    return WeightAgreement(
        difference_percent=_spread(difference),
        within_10_percent=_mean((np.abs(known) <= 10).astype(float)),
        interval_overlap=_mean(common / np.maximum(union, 0.1)),
        interval_width_ratio=None if spread is None else spread.median,
        only_served=int((said[:, 0] & ~said[:, 1]).sum()),
        only_challenger=int((said[:, 1] & ~said[:, 0]).sum()),
    )


def _fibre_agreement(
    rows: Sequence[_Row], distance: NDArray[np.float64], served: Model, challenger: Model
) -> FibreAgreement:
    assert isinstance(served, FibreModel)
    assert isinstance(challenger, FibreModel)
    bounds = [model.identifier.card.unknown_threshold for model in (served, challenger)]
    called = _pair(rows, "unknown") >= np.array(bounds)
    main = np.array([row.figures["main"][0] == row.figures["main"][1] for row in rows], np.float64)
    return FibreAgreement(
        distance=_spread(distance),
        same_main_fibre=_mean(main),
        same_unknown=_mean((called[:, 0] == called[:, 1]).astype(np.float64)),
    )


def _cost(rows: Sequence[_Row]) -> Cost | None:
    timed = [row for row in rows if "cpu_ms" in row.figures]
    if not timed:
        return None
    served, challenger = np.median(_pair(timed, "cpu_ms"), axis=0).round(3).tolist()
    return Cost(served_cpu_ms=served, challenger_cpu_ms=challenger, cases=len(timed))


def _against_scale(store: Store, rows: Sequence[_Row]) -> AgainstScale | None:
    """Of each parcel the last answer that was compared, and the last weighing."""
    last = {row.subject: row for row in rows if row.subject is not None and None not in row.figures["grams"]}
    weighed = _weighings(store, list(last))
    rows = [last[subject] for subject in weighed]
    if not rows:
        return None
    true = np.array(list(weighed.values()))[:, None]
    error = np.abs(np.log(np.maximum(_pair(rows, "grams"), 0.1) / true))  # (n, 2)
    paired = error[:, 1] - error[:, 0]
    low, high = None, None
    if len(paired) >= _FEWEST_WEIGHED:
        drawn = np.random.default_rng(0).integers(0, len(paired), (_RESAMPLES, len(paired)))
        low, high = np.percentile(paired[drawn].mean(axis=1), (2.5, 97.5)).round(4).tolist()
    bounds = np.stack([_pair(rows, "low"), _pair(rows, "high")])
    inside = np.where(np.isfinite(bounds).all(axis=0), (bounds[0] <= true) & (true <= bounds[1]), np.nan)
    served, challenger = error.mean(axis=0).round(4).tolist()
    return AgainstScale(
        parcels=len(rows),
        served_alde=served,
        challenger_alde=challenger,
        difference=round(float(paired.mean()), 4),
        low=low,
        high=high,
        served_covered=_mean(inside[:, 0]),
        challenger_covered=_mean(inside[:, 1]),
    )


def _weighings(store: Store, ids: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    with store.reading() as session:
        for start in range(0, len(ids), _IDS):
            wanted = (
                select(WeighingRow.estimate_id, WeighingRow.grams)
                .where(WeighingRow.estimate_id.in_(ids[start : start + _IDS]))
                .order_by(WeighingRow.number)
            )
            found |= {row.estimate_id: row.grams for row in session.execute(wanted)}  # the last one counts
    return found


def _over_time(rows: Sequence[_Row], values: NDArray[np.float64]) -> list[Moment]:
    """Steps of the least length that shows all of it in `_MOST_STEPS`."""
    if not rows:
        return []
    at = np.array([row.at.timestamp() for row in rows])
    step = next((step for step in _STEPS_S if np.ptp(at) / step < _MOST_STEPS), _STEPS_S[-1])
    place = (at // step).astype(np.int64)
    found: list[Moment] = []
    for number in np.unique(place).tolist():
        chosen = np.flatnonzero(place == number).tolist()
        cost = _cost([rows[row] for row in chosen])
        found.append(
            Moment(
                at=datetime.fromtimestamp(number * step, UTC),
                answers=len(chosen),
                spread=_spread(values[chosen]),
                served_cpu_ms=None if cost is None else cost.served_cpu_ms,
                challenger_cpu_ms=None if cost is None else cost.challenger_cpu_ms,
            )
        )
    return found
