"""Counts against their chance, exactly: what `scipy.stats.binom` answers, without scipy in serving."""

import math
from collections.abc import Iterator


def at_least(count: int, trials: int, chance: float) -> float:
    """Probability of `count` or more successes in `trials`, each of `chance` 0..1."""
    if count <= 0:
        return 1.0
    return min(1.0, math.fsum(_pmf(k, trials, chance) for k in range(count, trials + 1)))


def band(trials: int, chance: float, level: float = 0.95) -> tuple[int, int]:
    """Fewest and most successes of the central band: either side of it holds at most (1 - level) / 2.

    Args:
        trials: At least 1.
        chance: Of each, 0..1, ends left out.
        level: 0..1.
    """
    tail = (1 - level) / 2
    low = next((k for k, below in _cumulative(trials, chance) if below >= tail), trials)
    high = next((k for k, below in _cumulative(trials, chance) if below >= 1 - tail), trials)
    return low, high


def drawn_at_least(count: int, drawn: int, marked: int, total: int) -> float:
    """Probability of `count` or more of `marked` among `drawn` of `total`: Fisher's exact test, one-sided."""
    most = min(drawn, marked)
    ways = _log_choose(total, drawn)
    terms = (
        math.exp(_log_choose(marked, k) + _log_choose(total - marked, drawn - k) - ways)
        for k in range(max(count, drawn - (total - marked)), most + 1)
    )
    return min(1.0, math.fsum(terms))


def _cumulative(trials: int, chance: float) -> Iterator[tuple[int, float]]:
    total = 0.0
    for k in range(trials + 1):
        total += _pmf(k, trials, chance)
        yield k, total


def _pmf(k: int, trials: int, chance: float) -> float:
    if chance <= 0 or chance >= 1:
        return float(k == (trials if chance >= 1 else 0))
    return math.exp(_log_choose(trials, k) + k * math.log(chance) + (trials - k) * math.log1p(-chance))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
