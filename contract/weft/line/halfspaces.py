"""Compositions between bounds: whether there are any, and which lies furthest inside.

A composition is a point x of the simplex (x >= 0, sum 1); a bound on a sum of shares is a half-space. Because
the shares sum to 1, the slack of bound k is linear without a constant, (M x)_k, and the largest smallest
slack over all compositions is the value of the matrix game M, which a small tableau solves exactly.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.line.rule_tree import Amount

# In shares: a bound that must be passed, and the error of the arithmetic on one that may be met.
_STRICT: Final = 1e-6
_ROUNDING: Final = 1e-9


class Point(NamedTuple):
    room: float  # smallest distance to a bound, in shares; 0 where the region is an edge or a point
    shares: tuple[tuple[str, float], ...]  # by weight, without the zeros


@lru_cache(maxsize=8_192)  # lanes are compared each with each
def roomiest(bounds: tuple[Amount, ...], axis: tuple[str, ...]) -> Point | None:
    """The composition of fibres of `axis` that keeps furthest from all bounds; None where none meets them."""
    if not bounds:
        return Point(1.0, tuple((name, 1 / len(axis)) for name in axis))
    slack = np.array([_slack(bound, axis) for bound in bounds])  # (K, F)
    strict = np.array([len(bound.comparison) == 1 for bound in bounds])
    value, shares = _game(slack - np.where(strict, _STRICT, -_ROUNDING)[:, None])
    if value < 0:
        return None
    room = max(float((slack @ shares).min()), 0.0)
    return Point(
        room, tuple((name, float(share)) for name, share in zip(axis, shares, strict=True) if share > 0)
    )


def _slack(bound: Amount, axis: Sequence[str]) -> list[float]:
    """How far inside the bound each pure fibre lies."""
    sign = 1 if bound.comparison[0] == ">" else -1
    return [sign * ((name in bound.fibres) - bound.percent / 100) for name in axis]


def _game(payoff: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """max over x of min over k of (payoff x)_k, and that x, by the simplex method with Bland's rule.

    Args:
        payoff: (K, F).
    """
    rows, columns = payoff.shape
    shift = 1 - float(payoff.min())  # all entries positive: the programme starts feasible and stays bounded
    table = np.zeros((columns + 1, rows + columns + 1))
    table[:columns, :rows] = (payoff + shift).T
    table[:columns, rows:-1] = np.eye(columns)
    table[:columns, -1] = 1
    table[columns, :rows] = -1
    basis = list(range(rows, rows + columns))
    while (entering := np.flatnonzero(table[columns, :-1] < -1e-11)).size:
        column = int(entering[0])
        candidates = np.flatnonzero(table[:columns, column] > 1e-11)
        ratios = table[candidates, -1] / table[candidates, column]
        ties = candidates[ratios <= ratios.min() + 1e-12]
        row = int(ties[np.argmin([basis[place] for place in ties])])
        table[row] /= table[row, column]
        others = np.arange(columns + 1) != row
        table[others] -= table[others, column][:, None] * table[row]
        basis[row] = column
    value = 1 / table[columns, -1]
    shares = np.clip(table[columns, rows:-1] * value, 0, None)
    return value - shift, shares / shares.sum()
