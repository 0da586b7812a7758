"""A spectrum to fibre shares, a cube to shares and a map. The shell, the service and the line call this.

A bundle may take a photo of the same thing beside the scan, or alone.
"""

from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.bundle import Bundle
from weft.card import FibreCard, PhotoCard
from weft.declaration import OF_PHOTO
from weft.errors import BrokenScanError, GridMismatchError, WrongPhotosError, WrongTaskError
from weft.fibres import fibre
from weft.photos import Photo, PhotoFile, decode_photo
from weft.quality import SMALL_LONGEST_PX, SMALL_SHORTEST_PX, WHAT_TO_DO, advise
from weft.signal import signal_doubts
from weft.spectra import Cube, Scan

CHUNK: Final = 20_000  # spectra in one call of the graph
_CHUNK_VALUES: Final = 4_000_000  # and values: 10,000 bands must not make it 50 times larger
_SHARE_SLACK: Final = 0.02  # the model's own noise at the ends of what it has seen
_COARSE: Final = 4  # grid steps between points, from which on bands may be missed


@dataclass(frozen=True, slots=True)
class FibreShare:
    fibre: str
    code: str
    share: float  # by weight, 0..1
    low: float | None  # None: no honest interval is available
    high: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    shares: tuple[FibreShare, ...]  # in the card's order; they sum to 1
    unknown: float  # 0..1, how much this looks like no textile the model knows
    warnings: tuple[str, ...]
    map: NDArray[np.int8] | None = (
        None  # (H, W) place in `shares` of the main fibre, -1 background or unknown
    )
    photo_heard: bool | None = None  # None: no photo was given; False: it had no say, a warning says why


class Answer(NamedTuple):
    """What the graph says of B spectra."""

    shares: NDArray[np.float64]  # (B, F) each row sums to 1
    low: NDArray[np.float64]  # (B, F) at most the share
    high: NDArray[np.float64]  # (B, F) at least the share
    unknown: NDArray[np.float64]  # (B,) 0..1


class Identifier:
    """Holds a fibre bundle and nothing that changes: one may be shared by any number of threads."""

    def __init__(self, bundle: Bundle) -> None:
        if bundle.card.composition is None:
            raise WrongTaskError(
                f"{bundle.source}: a bundle for {bundle.card.task}, needed one for composition; "
                "name the other file"
            )
        self.bundle = bundle
        self.card: FibreCard = bundle.card.composition

    def photo(self, data: PhotoFile) -> Photo:
        """Decode a photo that is to stand beside a scan, or alone.

        Raises:
            PhotoError: The bundle takes no photo, or see `weft.photos.decode_photo`.
        """
        return decode_photo(data, longest_px=self._photo_card().decode_px)

    def identify(self, scan: Scan, photo: Photo | None = None) -> Composition:
        """Fibre shares by weight of one scan, with a photo of the same thing beside it where there is one.

        Raises:
            GridMismatchError: The scan does not cover the wavelengths that the bundle needs.
            BrokenScanError: The model finds no number for it.
        """
        self.check_grid(scan)
        faults, heard = self._faults(photo)
        answer = self.answer(scan.wavelength_nm, scan.absorbance[None, :], photo if heard else None)
        shares, unknown = self._shares(answer), float(answer.unknown[0])
        warnings = (*scan.warnings, *self._doubts(scan, shares, unknown), *faults)
        return Composition(shares, unknown, warnings, photo_heard=heard)

    def identify_photo(self, photo: Photo) -> Composition:
        """What a photo alone tells; `unknown` where that is little, as it mostly is.

        Raises:
            WrongPhotosError: It is too small to tell anything.
            BrokenScanError: The model finds no number for it.
        """
        words = advise(photo)
        if "too_small" in words:
            raise WrongPhotosError(
                f"a photo of {photo.full_width_px} x {photo.full_height_px} pixels came alone, needed are "
                f"{SMALL_LONGEST_PX} x {SMALL_SHORTEST_PX}; send it in full size, or scan the thing"
            )
        grid = np.asarray(self.card.grid_nm, np.float32)
        answer = self.answer(grid, np.zeros((1, len(grid)), np.float32), photo, has_scan=False)
        unknown = float(answer.unknown[0])
        alone = "answered from a photo alone, without a scan: a photo does not see what a thing is made of"
        if unknown >= self.card.unknown_threshold:
            alone = f"this photo alone does not tell the fibre (unknown {unknown:.2f}); scan the thing"
        faults = (f"{OF_PHOTO}{WHAT_TO_DO[word]}" for word in words)
        heard = self._photo_card().trust_alone > 0
        return Composition(self._shares(answer), unknown, (alone, *faults), photo_heard=heard)

    def _shares(self, answer: Answer) -> tuple[FibreShare, ...]:
        """Those of the first spectrum."""
        if not np.isfinite(answer.shares).all():
            raise BrokenScanError("the model gives no number for this spectrum; measure it again")
        interval = self.bundle.card.coverage is not None
        return tuple(
            FibreShare(
                name,
                fibre(name).code,
                float(answer.shares[0, place]),
                float(answer.low[0, place]) if interval else None,
                float(answer.high[0, place]) if interval else None,
            )
            for place, name in enumerate(self.card.fibres)
        )

    def identify_cube(self, cube: Cube, photo: Photo | None = None) -> Composition:
        """The composition of the foreground's mean, and a map of the main fibre of each pixel.

        A photo is heard for the mean; the map is what the cube alone shows.

        Raises: As `identify`.
        """
        mean = self.identify(cube.mean_scan(), photo)
        spectra = cube.absorbance.reshape(-1, cube.absorbance.shape[-1])  # (H*W, L), a view
        chosen = np.flatnonzero(cube.foreground)
        flat = np.full(cube.foreground.size, -1, np.int8)
        step = max(1, min(CHUNK, _CHUNK_VALUES // max(spectra.shape[1], len(self.card.grid_nm))))
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            answer = self.answer(cube.wavelength_nm, np.asarray(spectra[part]))
            known = np.isfinite(answer.shares).all(axis=1) & (answer.unknown < self.card.unknown_threshold)
            flat[part] = np.where(known, np.nan_to_num(answer.shares).argmax(axis=1), -1)
        warnings = mean.warnings
        lost = 1 - float((flat[chosen] >= 0).mean()) if len(chosen) else 0.0
        if lost > 0.2:
            warnings += (f"{lost:.0%} of the foreground's pixels are no textile the model knows",)
        return replace(mean, warnings=warnings, map=flat.reshape(cube.foreground.shape))

    def answer(
        self,
        wavelength_nm: NDArray[Any],
        absorbance: NDArray[np.float32],
        photo: Photo | None = None,
        *,
        has_scan: bool = True,
    ) -> Answer:
        """Run B spectra of one thing and one grid, shape (B, L); one without a number gets NaN shares."""
        inputs: dict[str, NDArray[Any]] = {
            "wavelength_nm": wavelength_nm.astype(np.float32),
            "absorbance": np.ascontiguousarray(absorbance, np.float32),
        }
        if photo is not None:
            inputs |= {
                "photos": np.ascontiguousarray(photo.pixels.transpose(2, 0, 1)[None]),  # (1, 3, H, W)
                "size": np.array([photo.pixels.shape[:2]], np.int64),
                "has_scan": np.array([has_scan]),
                "has_photo": np.ones(1, np.bool_),
            }
        found = self.bundle.run(inputs)
        shares = np.clip(found["shares"].astype(np.float64), 0, 1)  # (B, F)
        total = shares.sum(axis=1, keepdims=True)
        shares = shares / np.where(total > 0, total, np.nan)
        low = np.clip(np.fmin(found["low"].astype(np.float64), shares), 0, 1)
        high = np.clip(np.fmax(found["high"].astype(np.float64), shares), 0, 1)
        unknown = np.clip(np.nan_to_num(found["unknown"].astype(np.float64), nan=1.0), 0, 1)  # (B,)
        return Answer(shares, low, high, unknown)

    def check_grid(self, scan: Scan) -> None:
        """Raise GridMismatchError unless the scan covers what is needed, within one step of the grid."""
        first, last = float(scan.wavelength_nm[0]), float(scan.wavelength_nm[-1])
        need_first, need_last = self.card.needed_nm
        step = self._step_nm()
        if first > need_first + step or last < need_last - step:
            raise GridMismatchError(got_nm=(first, last), needed_nm=self.card.needed_nm)

    def _step_nm(self) -> float:
        return float(np.median(np.diff(self.card.grid_nm))) if len(self.card.grid_nm) > 1 else 0.0

    def _doubts(self, scan: Scan, shares: tuple[FibreShare, ...], unknown: float) -> list[str]:
        found: list[str] = []
        if unknown >= self.card.unknown_threshold:
            found.append(
                f"not a textile the model knows (unknown {unknown:.2f}); do not rely on these shares"
            )
        for item in shares:
            seen = self.card.share_range.get(item.fibre)
            if seen and not seen[0] - _SHARE_SLACK <= item.share <= seen[1] + _SHARE_SLACK:
                found.append(
                    f"{item.fibre} {item.share:.0%} lies outside the {seen[0]:.0%} to {seen[1]:.0%} "
                    "that the model was trained on"
                )
        known = {name.casefold() for name in self.card.instruments}
        # A reader may name the make alone where the card has the unit's number behind it.
        if scan.instrument and known and not any(scan.instrument.casefold() in name for name in known):
            found.append(f"the model has not seen this instrument ({scan.instrument})")
        step, needed = self._step_nm(), self.card.needed_nm
        if step:
            found += signal_doubts(scan, from_nm=needed[0], to_nm=needed[1], step_nm=step)
        inside = scan.wavelength_nm[(scan.wavelength_nm >= needed[0]) & (scan.wavelength_nm <= needed[1])]
        gap = float(np.diff(inside).max()) if len(inside) > 1 else needed[1] - needed[0]
        if step and gap > _COARSE * step:
            found.append(f"points are up to {gap:.3g} nm apart, the model was trained on {step:.3g} nm")
        return found

    def _faults(self, photo: Photo | None) -> tuple[tuple[str, ...], bool | None]:
        """What is wrong with a photo beside a scan, and whether it has a say; None where there is no photo.

        A dark one has: black cloth is dark, and its say is bounded.
        """
        if photo is None:
            return (), None
        words = advise(photo)
        faults, heard = [WHAT_TO_DO[word] for word in words], True
        if not self._photo_card().trust:
            faults.append("it had no say, since photos told nothing of swatches left out")
            heard = False
        elif "too_small" in words:
            faults.append("it had no say, being too small")
            heard = False
        return tuple(f"{OF_PHOTO}{fault}" for fault in faults), heard

    def _photo_card(self) -> PhotoCard:
        if self.card.photo is None:
            raise WrongPhotosError(
                f"bundle {self.bundle.card.name} reads scans alone and was sent a photo; leave it out, or "
                "name a bundle that takes one (--bundle, of a server WEFT_FIBRE; docs/bundles.md)"
            )
        return self.card.photo
