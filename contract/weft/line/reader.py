"""Pixels of a line camera to fibre shares, and the vote of one piece's pixels.

The vote is here, not in the service, because the margins that a bundle carries are those of this very vote:
training calls it to calibrate them, the line calls it to use them.
Letters: P pixels, L bands of the camera, F fibres.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.bundle import Bundle
from weft.card import BeltCard, VoteCard
from weft.errors import LineDescriptionError, WrongTaskError
from weft.line.records import Share

Floats = NDArray[np.float32]

_MOST_VOTES: Final = 4096  # pixels of one piece; of more every n-th votes: the tenth digit is not worth 30 ms
_ROUNDS: Final = 8  # of parting the pixels in two
_FAR: Final = 0.1  # share of the pixels, the furthest from the middle, that a second part starts from
_USUAL: Final = 4.0  # times the median distance from the middle: a noisy piece has no strays for its noise
_AXIS_SLACK: Final = 0.25  # of a band's step that a camera's wavelengths may lie beside the bundle's


class PixelShares(NamedTuple):
    shares: Floats  # (P, F) by weight, each row sums to 1
    unknown: Floats  # (P,) 0..1: how much a pixel looks like no textile that the bundle knows


class Ballot(NamedTuple):
    """The vote of one piece before margins are put around it."""

    shares: NDArray[np.float64]  # (F,) sum 1; zeros where too few pixels look like a textile
    unknown: float
    mixed: bool
    voted: int
    scatter: float = 0.0  # mean distance of the pixels that voted from their vote, 0..1


class Vote(NamedTuple):
    shares: tuple[Share, ...]  # largest first, those that are not nothing; empty: no composition
    unknown: float  # 0..1, mean over the piece
    mixed: bool  # parts of clearly different fibres
    voted: int  # pixels whose vote counted


class Trial(NamedTuple):
    """N pieces that were left out of training, as the vote answered them."""

    fibres: tuple[str, ...]
    predicted: NDArray[np.float64]  # (N, F)
    low: NDArray[np.float64]  # (N, F) margins as a vote has them
    high: NDArray[np.float64]  # (N, F)
    truth: NDArray[np.float64]  # (N, F); all 0 for what is no known textile
    unknown: NDArray[np.float64]  # (N,)
    mixed: NDArray[np.bool_]  # (N,)
    known: NDArray[np.bool_]  # (N,) it is a textile of these fibres
    grams: NDArray[np.float64] | None  # (N,) true; None where it was not known


class BeltReader:
    """Holds a belt bundle and nothing that changes: one may be shared by any number of threads."""

    def __init__(self, bundle: Bundle) -> None:
        if bundle.card.belt is None:
            raise WrongTaskError(
                f"{bundle.source}: a bundle for {bundle.card.task}, needed one for belt; name the other file"
            )
        self.bundle = bundle
        self.card: BeltCard = bundle.card.belt
        self.wavelength_nm: NDArray[np.float64] = np.array(self.card.wavelength_nm)

    @property
    def fibres(self) -> tuple[str, ...]:
        """In the order of the F axis."""
        return self.card.fibres

    @property
    def unknown_threshold(self) -> float:
        """Of a pixel's `unknown`, and of a piece's."""
        return self.card.unknown_threshold

    @property
    def trial(self) -> Trial | None:
        """None where the bundle carries none."""
        found = self.card.trial
        if found is None:
            return None
        width = len(self.fibres)
        predicted, truth = (
            np.asarray(table, np.float64).reshape(-1, width) for table in (found.predicted, found.truth)
        )
        low, high = intervals(predicted, np.asarray(found.scatter, np.float64), self.card.vote)
        return Trial(
            self.fibres,
            predicted,
            low,
            high,
            truth,
            np.asarray(found.unknown, np.float64),
            np.asarray(found.mixed, np.bool_),
            truth.sum(1) > 0.5,
            np.asarray(found.grams, np.float64) if found.grams else None,
        )

    def check_axis(self, wavelength_nm: NDArray[np.floating] | tuple[float, ...]) -> None:
        """Raise LineDescriptionError unless the camera's bands are those that the bundle was trained for."""
        got, need = np.asarray(wavelength_nm, np.float64), self.wavelength_nm
        slack = _AXIS_SLACK * float(np.diff(need).min())
        if len(got) == len(need) and np.abs(got - need).max() <= slack:
            return
        ends = f"{got[0]:g}-{got[-1]:g} nm" if len(got) else "no wavelength"
        raise LineDescriptionError(
            f"the camera has {len(got)} bands, {ends}; {self.bundle.source} reads {len(need)} bands, "
            f"{need[0]:g}-{need[-1]:g} nm within {slack:.2g} nm; correct the line's file, or train a bundle "
            "for this camera"
        )

    def read(self, reflectance: Floats) -> PixelShares:
        """Shares of pixels (P, L), unitless reflectance; a pixel without light is read as black.

        Raises:
            ValueError: Another number of bands than the bundle's.
        """
        if reflectance.ndim != 2 or reflectance.shape[1] != len(self.wavelength_nm):
            raise ValueError(f"reflectance is {reflectance.shape}, needed (P, {len(self.wavelength_nm)})")
        if not len(reflectance):
            return PixelShares(np.empty((0, len(self.fibres)), np.float32), np.empty(0, np.float32))
        found = self.bundle.run({"reflectance": np.ascontiguousarray(reflectance, np.float32)})
        return PixelShares(found["shares"], found["unknown"])

    def vote(self, shares: Floats, unknown: Floats) -> Vote:
        """One answer for the pixels of one piece, (P, F) and (P,), without belt and edges.

        Zips, buttons, prints and labels have no vote: they look like no textile, or like another than the
        rest. Where what differs is a part of its own, the piece is mixed and all of it votes.
        """
        card = self.card
        found = ballot(shares, unknown, rules=card.vote, threshold=card.unknown_threshold)
        if not found.voted:
            return Vote((), found.unknown, False, 0)
        low, high = intervals(found.shares[None], np.array([found.scatter]), card.vote)
        made = [
            Share(fibre=name, share=float(share), low=float(low[0, at]), high=float(high[0, at]))
            for at, (name, share) in enumerate(zip(card.fibres, found.shares, strict=True))
            if high[0, at] > 0
        ]
        made.sort(key=lambda item: -item.share)
        return Vote(tuple(made), found.unknown, found.mixed, found.voted)


def ballot(shares: Floats, unknown: Floats, *, rules: VoteCard, threshold: float) -> Ballot:
    """The vote itself; see `BeltReader.vote`. `voted` is 0 where no composition can be said."""
    shares, unknown = np.asarray(shares, np.float32), np.asarray(unknown, np.float32)
    nothing = np.zeros(shares.shape[1])
    if not len(shares):
        return Ballot(nothing, 1.0, False, 0)
    # A pixel for which the model has no number is no textile.
    broken = ~(np.isfinite(unknown) & np.isfinite(shares).all(1))
    strange = np.where(broken, np.float32(1.0), unknown)
    about = float(strange.mean())
    textile = np.flatnonzero(strange < threshold)
    if len(textile) < rules.fewest_pixels:
        return Ballot(nothing, about, False, 0)
    every = -(-len(textile) // _MOST_VOTES)
    heard = shares[textile[::every]]  # (n, F)
    second = part_of(heard, rules)
    if second is not None:
        both = _normal(heard.mean(0))
        return Ballot(both, about, True, len(textile), float(_distance(heard, both).mean()))
    middle = np.median(heard, axis=0)
    away = _distance(heard, _normal(middle) if middle.sum() > 0 else middle)
    kept = away <= max(rules.stray_distance, _USUAL * float(np.median(away)))
    voted = round(len(textile) * float(kept.mean()))
    found = _normal(heard[kept].mean(0))
    return Ballot(found, about, False, voted, float(_distance(heard[kept], found).mean()))


def part_of(shares: Floats, rules: VoteCard) -> NDArray[np.bool_] | None:
    """Which of (n, F) textile pixels are of a second material; None where there is but one.

    Two groups by their nearest mean. Any cloud of points can be parted so: the halves of a bell lie 2.7
    times their spread apart, which `part_separation` is to exceed.
    """
    if len(shares) < 2 * rules.fewest_pixels:
        return None
    middle = np.median(shares, axis=0)
    away = _distance(shares, middle)
    far = away >= np.quantile(away, 1 - _FAR)
    one, other = shares[~far].mean(0) if (~far).any() else middle, shares[far].mean(0)
    second = far
    for _ in range(_ROUNDS):
        axis = other - one
        moved = (shares - (one + other) / 2) @ axis > 0
        if not moved.any() or moved.all():
            return None
        second = moved
        one, other = shares[~second].mean(0), shares[second].mean(0)
    share = float(second.mean())
    if min(share, 1 - share) < rules.part_share:
        return None
    if float(_distance(other[None], one)[0]) < rules.part_distance:
        return None
    axis = other - one
    along = shares @ axis / max(float(np.sqrt(axis @ axis)), 1e-9)  # (n,)
    spread = np.sqrt((1 - share) * along[~second].var() + share * along[second].var())
    gap = along[second].mean() - along[~second].mean()
    if gap < rules.part_separation * spread:
        return None
    return second if share <= 0.5 else ~second


def intervals(
    shares: NDArray[np.float64], scatter: NDArray[np.float64], rules: VoteCard
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper shares (B, F) around (B, F) of votes whose pixels scatter by (B,).

    0 and 1 where the bundle carries no margins.
    """
    if rules.margin is None:
        return np.zeros_like(shares), np.ones_like(shares)
    table = np.asarray(rules.margin)  # (kinds, F, bands)
    band = np.searchsorted(rules.edges_share, shares, side="right")
    blend, pure = (np.searchsorted(edges, scatter, side="right") for edges in rules.edges_scatter)
    is_pure = shares.max(1) >= (rules.edges_share[-1] if rules.edges_share else 1.0)
    kind = np.where(is_pure, len(rules.edges_scatter[0]) + 1 + pure, blend)  # (B,)
    margin = table[kind[:, None], np.arange(shares.shape[1]), band]
    return np.clip(shares - margin, 0, 1), np.clip(shares + margin, 0, 1)


def _normal(shares: NDArray[np.floating]) -> NDArray[np.float64]:
    found = np.clip(shares.astype(np.float64), 0, None)
    return found / found.sum()


def _distance(shares: NDArray[np.floating], centre: NDArray[np.floating]) -> NDArray[np.floating]:
    """(n,) half the summed difference of (n, F) from (F,): 0 the same, 1 disjoint."""
    return 0.5 * np.abs(shares - centre).sum(1)
