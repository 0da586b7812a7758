"""Photos to grams: what `weft estimate`, the service and `weft evaluate` all call."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft import limits
from weft.bundle import Bundle
from weft.card import SEASONS, WRAPS
from weft.errors import InputError, PhotoError, WrongPhotosError, WrongTaskError
from weft.judgement import disagree, judge
from weft.marks import NOWHERE, SEARCH_PX, Mark, MarkAt, MarkHint, find_mark
from weft.photos import Photo, PhotoFile, decode_photo
from weft.quality import Advice, advise, in_order
from weft.stages import Stage, untold

_GRAMS: Final = ("grams", "low_grams", "high_grams")  # graph outputs (B,)
_PHOTO_BANDS: Final = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class PhotoFinding:
    """What was found in one photo; one that is not usable takes no part in the estimate."""

    usable: bool
    advice: tuple[Advice, ...]
    mark: Mark | None
    # How unlike the training photos, as the graph says; None: it does not, or was not asked about this photo.
    # Not compared: padding beside another subject moves its last digits.
    strangeness: float | None = field(default=None, compare=False)
    fault: str | None = None  # slug of the PhotoError of a file that could not be decoded


@dataclass(frozen=True, slots=True)
class Estimate:
    """Grams of one subject; None where no photo is usable, its margin None where none is honest."""

    grams: float | None
    low_grams: float | None
    high_grams: float | None
    coverage: float | None
    photos: tuple[PhotoFinding, ...]
    warnings: tuple[str, ...]


class PreparedPixels(NamedTuple):
    photo: Photo
    mark: Mark | None
    mm_per_pixel: float  # of `photo.pixels`; 0 unknown
    mark_at: MarkAt = NOWHERE  # in `photo.pixels`


@dataclass(frozen=True, slots=True)
class Prepared:
    """One photo, ready for the graph.

    Args:
        pixels: Shape (H, W, C), the bundle's bands in its order; None where the file could not be decoded.
        mm_per_pixel: Of `pixels`; 0 unknown.
        mark_at: In `pixels`, where the scale is known.
        finding: What the answer says about this photo.
        photo: The decoded photo behind it, RGB; None for a broken file or bands that come from elsewhere.
    """

    pixels: NDArray[np.uint8] | None
    mm_per_pixel: float
    finding: PhotoFinding
    photo: Photo | None = None
    mark_at: MarkAt = NOWHERE


@dataclass(frozen=True, slots=True)
class Subject:
    """The photos of one thing to be weighed, and what is known beside them."""

    photos: Sequence[Prepared]
    season: str | None = None
    wrap: str | None = None


def prepare_pixels(
    data: PhotoFile, *, decode_px: int, hint: MarkHint | None, stage: Stage = untold
) -> PreparedPixels:
    """Decode a photo as the graph takes it and measure its scale; training and serving both call this.

    Args:
        data: The file as sent, or as it was decoded while it arrived.
        decode_px: Least longest side, `card.weight.decode_px`.
        hint: The mark to look for, on a finer decode of the same file where that finds more.
        stage: Is told of `decode` and `mark`.

    Raises:
        PhotoError: See `weft.photos.decode_photo`.
    """
    with stage("decode"):
        photo = decode_photo(data, longest_px=decode_px)
    if hint is None:
        return PreparedPixels(photo, None, 0.0)
    with stage("mark"):
        mark = _search(data, hint)
    if mark is None:
        return PreparedPixels(photo, None, 0.0)
    return PreparedPixels(
        photo, mark, mark.mm_per_pixel * photo.full_per_pixel, mark.at(photo.full_per_pixel)
    )


def _search(data: PhotoFile, hint: MarkHint) -> Mark | None:
    seen_px = 0
    for search_px in SEARCH_PX[hint.kind]:
        seen = decode_photo(data, longest_px=search_px)
        if max(seen.pixels.shape) > seen_px:
            mark, seen_px = find_mark(seen, hint), max(seen.pixels.shape)
            if mark is not None:
                return mark
    return None


def stack(subjects: Sequence[Subject]) -> dict[str, NDArray[Any]]:
    """The tensors of `docs/bundle.md` for B subjects, padded to the most photos and the largest of them.

    Photos that are not usable are left out.

    Raises:
        InputError: An unknown season or wrap.
    """
    usable = [[photo for photo in subject.photos if photo.finding.usable] for subject in subjects]
    most = max(1, *(len(photos) for photos in usable))
    arrays = [[photo.pixels for photo in photos if photo.pixels is not None] for photos in usable]
    shapes = [pixels.shape for photos in arrays for pixels in photos] or [(1, 1, 3)]
    rows, columns, bands = (max(shape[axis] for shape in shapes) for axis in range(3))
    # Zeros cost a pass over the memory: only where something is padded.
    full = len(set(shapes)) == 1 and all(len(pixels) == most for pixels in arrays)
    photos = (np.empty if full else np.zeros)((len(subjects), most, bands, rows, columns), np.uint8)
    size = np.zeros((len(subjects), most, 2), np.int64)
    mask = np.zeros((len(subjects), most), np.bool_)
    mm_per_pixel = np.zeros((len(subjects), most), np.float32)
    mark_at = np.zeros((len(subjects), most, 3), np.float32)
    for b, kept in enumerate(usable):
        for n, (prepared, pixels) in enumerate(zip(kept, arrays[b], strict=True)):
            height, width = pixels.shape[:2]
            photos[b, n, :, :height, :width] = pixels.transpose(2, 0, 1)
            size[b, n] = height, width
            mask[b, n] = True
            mm_per_pixel[b, n] = prepared.mm_per_pixel
            mark_at[b, n] = prepared.mark_at
    return {
        "photos": photos,
        "size": size,
        "mask": mask,
        "mm_per_pixel": mm_per_pixel,
        "mark_at": mark_at,
        "season": np.array([_index(subject.season, SEASONS, "season") for subject in subjects], np.int64),
        "wrap": np.array([_index(subject.wrap, WRAPS, "wrap") for subject in subjects], np.int64),
    }


def _index(word: str | None, words: tuple[str, ...], name: str) -> int:
    if word is None:
        return 0
    if word not in words:
        raise InputError(f"{name} is {word!r}; it is one of {', '.join(words)}, or left out")
    return 1 + words.index(word)


class Weigher:
    """A weight bundle and all that stands around it. Safe to call from several threads.

    Args:
        stage: Is told of `decode`, `mark`, `judge` (of a decoded photo) and `run` (of the graph).
    """

    def __init__(self, bundle: Bundle, *, stage: Stage = untold) -> None:
        if bundle.card.weight is None:
            raise WrongTaskError(
                f"{bundle.source}: a bundle for {bundle.card.task}, needed one for weight; name another"
            )
        self.bundle = bundle
        self.card = bundle.card
        self._weight = bundle.card.weight
        self._stage = stage

    def prepare(self, data: PhotoFile, hint: MarkHint | None = None) -> Prepared:
        """Decode one photo, look for its mark and judge it.

        Raises:
            PhotoError: The file cannot be decoded, or the bundle needs bands that a photo does not have.
        """
        bands = self._weight.bands
        if not set(bands) <= set(_PHOTO_BANDS):
            raise WrongPhotosError(
                f"a photo has the bands red, green, blue, this bundle needs {', '.join(bands)}; "
                "load a bundle for photos"
            )
        photo, mark, mm_per_pixel, mark_at = prepare_pixels(
            data, decode_px=self._weight.decode_px, hint=hint, stage=self._stage
        )
        with self._stage("judge"):
            # Laid out as the graph takes them, once: `stack` and the advice read whole planes.
            planes = np.ascontiguousarray(photo.pixels.transpose(2, 0, 1))
            advice = advise(photo, planes)
        if bands != _PHOTO_BANDS:
            planes = planes[[_PHOTO_BANDS.index(band) for band in bands]]
        pixels = planes.transpose(1, 2, 0)
        return Prepared(pixels, mm_per_pixel, PhotoFinding(not advice, advice, mark), photo, mark_at)

    def prepare_all(self, files: Sequence[PhotoFile], hint: MarkHint | None = None) -> tuple[Prepared, ...]:
        """Prepare the photos of one request; a file that cannot be decoded is `broken` among good ones.

        Raises:
            PhotoError: No file at all, too many, or none that can be decoded: then the first one's error.
        """
        check_count(len(files))
        prepared: list[Prepared] = []
        first: PhotoError | None = None
        for data in files:
            try:
                prepared.append(self.prepare(data, hint))
            except PhotoError as error:
                first = first or error
                prepared.append(Prepared(None, 0.0, PhotoFinding(False, ("broken",), None, fault=error.slug)))
        if first is not None and all(photo.pixels is None for photo in prepared):
            raise first
        return tuple(prepared)

    def weigh(
        self, prepared: Sequence[Prepared], *, season: str | None = None, wrap: str | None = None
    ) -> Estimate:
        """Estimate one subject from its photos.

        Raises:
            PhotoError: No photo, or more than `weft.limits` allows.
            InputError: An unknown season or wrap.
        """
        return self.weigh_many([Subject(prepared, season, wrap)])[0]

    def weigh_many(self, subjects: Sequence[Subject]) -> list[Estimate]:
        """Estimate several subjects in one call of the graph; each answer is as if asked alone."""
        for subject in subjects:
            check_count(len(subject.photos))
        judged = [_without_repeats(subject) for subject in subjects]
        asked = [n for n, subject in enumerate(judged) if _usable(subject)]
        rows: dict[int, dict[str, float]] = {}
        doubtful: set[int] = set()
        while asked:
            with self._stage("run"):
                answers = self.bundle.run(stack([judged[n] for n in asked]))
            again: list[int] = []
            for row, n in enumerate(asked):
                before = _usable(judged[n])
                judged[n] = self._judged(judged[n], answers, row)
                rows[n] = {name: float(answers[name][row]) for name in _GRAMS}
                if not _usable(judged[n]):
                    del rows[n]
                elif _usable(judged[n]) < before:
                    again.append(n)  # a photo that is no use must not have had a say
                elif disagree(self._weight, answers, row, before):
                    doubtful.add(n)
            asked = again
        return [self._estimate(subject, rows.get(n), n in doubtful) for n, subject in enumerate(judged)]

    def _judged(self, subject: Subject, answers: dict[str, NDArray[Any]], row: int) -> Subject:
        """The subject with what the graph said of its photos, in row `row` of its answers."""
        photos = list(subject.photos)
        stacked = [n for n, photo in enumerate(photos) if photo.finding.usable]
        for place, n in enumerate(stacked):
            verdict = judge(self._weight, answers, row, place)
            photo, mark = photos[n], photos[n].finding.mark
            advice = in_order((*photo.finding.advice, *verdict.advice))
            finding = PhotoFinding(verdict.usable, advice, mark, verdict.strangeness)
            photos[n] = replace(photo, finding=finding)
        return Subject(photos, subject.season, subject.wrap)

    def _estimate(self, subject: Subject, answer: dict[str, float] | None, doubtful: bool) -> Estimate:
        """`doubtful`: its photos disagree more than those of one thing do."""
        photos = tuple(photo.finding for photo in subject.photos)
        if answer is None:
            return Estimate(None, None, None, None, photos, ("no photo is usable; retake as advised",))
        grams, low, high = answer["grams"], answer["low_grams"], answer["high_grams"]
        if not (math.isfinite(grams) and grams >= 0):
            return Estimate(None, None, None, None, photos, ("the model gave no number for this subject",))
        warnings = self._warnings(subject, grams, doubtful)
        if self._strange(subject):
            low, high = min(low, self._weight.range_grams[0]), max(high, self._weight.range_grams[1])
        if self.card.coverage is None or not (math.isfinite(low) and math.isfinite(high)):
            return Estimate(grams, None, None, None, photos, warnings)
        return Estimate(
            grams, max(0.0, min(low, grams)), max(high, grams), self.card.coverage, photos, warnings
        )

    def _strange(self, subject: Subject) -> bool:
        """Whether a photo that has a say is unlike anything the bundle was trained on."""
        return any(photo.finding.usable and "unfamiliar" in photo.finding.advice for photo in subject.photos)

    def _warnings(self, subject: Subject, grams: float, doubtful: bool) -> tuple[str, ...]:
        warnings: list[str] = []
        lightest, heaviest = self._weight.range_grams
        if self._strange(subject):
            warnings.append(
                "this is unlike anything the bundle was trained on; its interval is "
                f"all that it knows, {lightest:.0f}-{heaviest:.0f} g"
            )
        if doubtful:
            warnings.append("the photos disagree more than photos of one thing do; send photos of one parcel")
        repeated = sum("repeated" in photo.finding.advice for photo in subject.photos)
        if repeated:
            warnings.append(
                f"{repeated} of {len(subject.photos)} photos repeat an earlier one and do not count"
            )
        if not lightest <= grams <= heaviest:
            warnings.append(
                f"{grams:.0f} g lies outside the {lightest:.0f}-{heaviest:.0f} g this bundle was trained on"
            )
        usable = _usable(subject)
        if usable > self._weight.max_photos:
            warnings.append(
                f"{usable} photos of one subject, the bundle was trained on at most {self._weight.max_photos}"
            )
        return tuple(warnings)


def _without_repeats(subject: Subject) -> Subject:
    """The same pixels again tell nothing new; counted twice they would narrow the interval."""
    if len(subject.photos) < 2:
        return subject
    seen: set[tuple[tuple[int, ...], bytes]] = set()
    photos = list(subject.photos)
    for n, photo in enumerate(photos):
        if photo.pixels is None or not photo.finding.usable:
            continue
        content = (photo.pixels.shape, hashlib.sha256(photo.pixels.tobytes()).digest())
        if content in seen:
            advice = in_order((*photo.finding.advice, "repeated"))
            photos[n] = replace(photo, finding=replace(photo.finding, usable=False, advice=advice))
        seen.add(content)
    return Subject(photos, subject.season, subject.wrap)


def _usable(subject: Subject) -> int:
    return sum(photo.finding.usable for photo in subject.photos)


def check_count(photos: int) -> None:
    """Raise where one estimate gets no photo or more than `weft.limits.PHOTOS_PER_ESTIMATE`."""
    if photos < 1:
        raise WrongPhotosError("no photo was sent; send one to nine photos of the same thing")
    if photos > limits.PHOTOS_PER_ESTIMATE:
        raise WrongPhotosError(
            f"{photos} photos were sent, at most {limits.PHOTOS_PER_ESTIMATE} are taken; send fewer"
        )
