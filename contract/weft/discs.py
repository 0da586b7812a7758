"""Finding a round mark: circles by gradient voting, an ellipse fitted to each, the best-supported one kept.

numpy only. Every edge pixel votes for the centres that lie one radius along its gradient, either way, for every
radius in turn. The strongest votes are held against the edges around them, the best of those are fitted with an
ellipse on a finer scale along 72 rays, and what counts in the end is how much of the ellipse really is an edge.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]

COARSE_PX: Final = 320  # longest side that is voted on
FINE_PX: Final = 800  # longest side that is fitted on
RADII: Final = (0.02, 0.11)  # smallest and largest disc looked for: radius over the photo's longest side
_RADIUS_STEP: Final = 1.08
_VOTED: Final = 160  # circles kept from the vote
_FITTED: Final = 16  # of those, circles fitted with an ellipse
_RAYS: Final = 72
_EDGE: Final = 4.0  # gradient, in levels a pixel, that a ray's edge must exceed

_ANGLES: Final = np.arange(_RAYS, dtype=np.float32) * np.float32(2 * np.pi / _RAYS)
_COS: Final = np.cos(_ANGLES)
_SIN: Final = np.sin(_ANGLES)


@dataclass(frozen=True, slots=True)
class Disc:
    """An ellipse, pixels of the photo it was found in; `angle` is the major axis', radians from x towards y."""

    x: float
    y: float
    major_px: float
    minor_px: float
    angle: float
    confidence: float


class Edges(NamedTuple):
    """Gradient of the strongest colour band, shape (H, W) each, in levels a pixel."""

    x: Floats
    y: Floats
    strength: Floats


class Fits(NamedTuple):
    """K ellipses and what speaks for them, shape (K,) each."""

    x: Floats
    y: Floats
    major: Floats  # semi-axes in pixels of the fine image
    minor: Floats
    angle: Floats
    share: Floats  # of the rays whose edge lies on the ellipse
    scatter: Floats  # of those edges about it, in radii
    polarity: Floats  # 1: inside is brighter, or darker, all around
    contrast: Floats  # levels between the inside and the ring around it
    chroma: Floats  # 0 grey .. 1 pure colour, of the inside


def find_disc(pixels: NDArray[np.uint8]) -> Disc | None:
    """The round mark of a photo, shape (H, W, 3); None where no ellipse is supported well enough."""
    fits, scale = candidates(pixels)
    if not len(fits.x):
        return None
    score = fits.share * fits.polarity * (1 - 0.6 * fits.chroma) * np.minimum(1, fits.contrast / 25)
    best = int(score.argmax())
    if score[best] < 0.6:
        return None
    x, y, major, minor, angle = (float(values[best]) for values in fits[:5])
    # Pixel centres lie half a pixel inside either image.
    middle_x, middle_y = (x + 0.5) / scale - 0.5, (y + 0.5) / scale - 0.5
    return Disc(middle_x, middle_y, 2 * major / scale, 2 * minor / scale, angle, float(score[best]))


def candidates(pixels: NDArray[np.uint8]) -> tuple[Fits, float]:
    image = Image.fromarray(pixels)
    fine, fine_scale = _scaled(image, FINE_PX)
    coarse, coarse_scale = _scaled(image, COARSE_PX)
    edges = _edges(coarse)
    circles = _supported(edges, _voted(edges))
    return _fitted(fine, circles * np.float32(fine_scale / coarse_scale)), fine_scale


def _scaled(image: Image.Image, longest_px: int) -> tuple[Floats, float]:
    scale = min(1.0, longest_px / max(image.size))
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BOX)
    return np.asarray(image, np.float32), scale


def _smoothed(a: Floats) -> Floats:
    """Binomial 3 x 3 over the first two axes, edges repeated."""
    a = np.concatenate([a[:1], a, a[-1:]])
    a = (a[:-2] + 2 * a[1:-1] + a[2:]) / 4
    a = np.concatenate([a[:, :1], a, a[:, -1:]], axis=1)
    return (a[:, :-2] + 2 * a[:, 1:-1] + a[:, 2:]) / 4


def _edges(rgb: Floats) -> Edges:
    smooth = _smoothed(rgb)
    dx, dy = np.zeros_like(smooth), np.zeros_like(smooth)
    dx[:, 1:-1] = (smooth[:, 2:] - smooth[:, :-2]) / 2
    dy[1:-1] = (smooth[2:] - smooth[:-2]) / 2
    square = dx * dx + dy * dy
    band = square.argmax(axis=2)[..., None]  # a coin and a table may differ in colour only
    one = [np.take_along_axis(values, band, 2)[..., 0] for values in (dx, dy, square)]
    return Edges(one[0], one[1], np.sqrt(one[2]))


def _voted(edges: Edges) -> Floats:
    """The circles with the most votes, shape (K, 3): x, y, radius in pixels of `edges`."""
    height, width = edges.strength.shape
    y, x = np.nonzero(_thin(edges))
    strength = edges.strength[y, x]
    along_x, along_y = edges.x[y, x] / strength, edges.y[y, x] / strength
    longest = max(height, width)
    steps = int(np.log(RADII[1] / RADII[0]) / np.log(_RADIUS_STEP)) + 1
    radii = longest * RADII[0] * _RADIUS_STEP ** np.arange(steps)
    rows, columns = height // 2 + 1, width // 2 + 1  # votes are counted in cells of 2 x 2 pixels
    tally = np.empty((steps, rows, columns), np.float32)
    for number, radius in enumerate(radii):
        sides: list[Floats] = []
        for way in (radius, -radius):
            column = ((x + way * along_x) / 2).astype(np.int32)
            row = ((y + way * along_y) / 2).astype(np.int32)
            ok = (column >= 0) & (row >= 0) & (column < columns) & (row < rows)
            count = np.bincount(row[ok] * columns + column[ok], minlength=rows * columns)
            sides.append(count.reshape(rows, columns).astype(np.float32))
        # The root of the radius: chance fills small circles, and an ellipse smears the votes of large ones.
        tally[number] = _smoothed(_smoothed(np.maximum(*sides))) / np.sqrt(radius)
    tally[1:-1] = (tally[:-2] + 2 * tally[1:-1] + tally[2:]) / 4
    peak = np.zeros(tally.shape, np.bool_)
    inner = tally[:, 1:-1, 1:-1]
    peak[:, 1:-1, 1:-1] = (
        (inner >= tally[:, :-2, 1:-1])
        & (inner > tally[:, 2:, 1:-1])
        & (inner >= tally[:, 1:-1, :-2])
        & (inner > tally[:, 1:-1, 2:])
    )
    where = np.flatnonzero(peak)
    best = where[np.argsort(tally.ravel()[where])[::-1][:_VOTED]]
    number, row, column = np.unravel_index(best, tally.shape)
    return np.stack([2 * column + 0.5, 2 * row + 0.5, radii[number]], axis=1).astype(np.float32)


def _thin(edges: Edges) -> NDArray[np.bool_]:
    """Edge pixels that are strongest across their own edge."""
    strength = edges.strength
    height, width = strength.shape
    safe = np.maximum(strength, 1e-6)
    step_x, step_y = np.rint(edges.x / safe).astype(np.int32), np.rint(edges.y / safe).astype(np.int32)
    y, x = np.mgrid[:height, :width]
    ahead = strength[np.clip(y + step_y, 0, height - 1), np.clip(x + step_x, 0, width - 1)]
    behind = strength[np.clip(y - step_y, 0, height - 1), np.clip(x - step_x, 0, width - 1)]
    return (strength >= ahead) & (strength > behind) & (strength > 2.5)


def _supported(edges: Edges, circles: Floats) -> Floats:
    """The circles with the most of their rim on edges that point at their centre; overlapping ones once."""
    if not len(circles):
        return circles
    height, width = edges.strength.shape
    cos, sin = _COS[::2], _SIN[::2]
    reach = np.linspace(0.86, 1.14, 7, dtype=np.float32)
    x, y, radius = (circles[:, axis, None, None] for axis in range(3))
    column = np.rint(x + radius * reach * cos[:, None]).astype(np.int32)  # (K, rays, reach)
    row = np.rint(y + radius * reach * sin[:, None]).astype(np.int32)
    ok = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    at = np.clip(row, 0, height - 1) * width + np.clip(column, 0, width - 1)
    inward = edges.x.ravel()[at] * cos[:, None] + edges.y.ravel()[at] * sin[:, None]
    towards = np.where(ok, inward / (edges.strength.ravel()[at] + 3), 0)
    brighter, darker = towards.max(axis=2).clip(0), -towards.min(axis=2).clip(None, 0)
    support = np.maximum(brighter.mean(axis=1), darker.mean(axis=1))
    kept: list[int] = []
    for k in np.argsort(support)[::-1]:
        near = [
            other
            for other in kept
            if np.hypot(*(circles[other, :2] - circles[k, :2])) < 0.35 * circles[k, 2]
            and abs(np.log(circles[other, 2] / circles[k, 2])) < 0.15
        ]
        if not near:
            kept.append(int(k))
        if len(kept) == _FITTED:
            break
    return circles[kept]


def _fitted(rgb: Floats, circles: Floats) -> Fits:
    """Fit an ellipse to each circle: the strongest edge on every ray, outliers weighed down, twice over."""
    x, y, radius = (circles[:, axis] for axis in range(3))
    major, minor, angle = radius, radius, np.zeros_like(radius)
    smooth = _smoothed(rgb)
    edge_at = weight = step = np.zeros((len(circles), _RAYS), np.float32)
    for low, high in ((0.76, 1.3), (0.86, 1.16)):
        reach = np.linspace(low, high, 37, dtype=np.float32)
        length = _length(major, minor, angle)
        step, strength, sign = _edge_on_rays(smooth, (x, y), length, reach)
        found = strength > _EDGE
        edge_at = length * step
        point_x, point_y = x[:, None] + edge_at * _COS, y[:, None] + edge_at * _SIN
        weight = found.astype(np.float32)
        for _ in range(3):
            new_x, new_y, new_major, new_minor, new_angle = _ellipses(point_x, point_y, weight)
            off = _off(point_x - new_x[:, None], point_y - new_y[:, None], (new_major, new_minor, new_angle))
            weight = found / (1 + (off / 0.03) ** 2)
        x, y, major, minor, angle = new_x, new_y, new_major, new_minor, new_angle
    good = found & (np.abs(off) < 0.035)
    count = np.maximum(good.sum(axis=1), 1)
    share = good.mean(axis=1)
    bad = (
        ~np.isfinite(major)
        | (minor < 0.6 * major)
        | (major > 1.6 * radius)
        | (minor < 0.6 * radius)
        | (np.hypot(x - circles[:, 0], y - circles[:, 1]) > 0.5 * radius)
    )
    scatter = np.sqrt(np.where(good, off**2, 0).sum(axis=1) / count)
    polarity = np.abs((sign * good).sum(axis=1)) / count
    length = _length(major, minor, angle)
    inside = np.median(_on_rays(smooth, (x, y), length, np.float32([0.35, 0.55, 0.75, 0.88])), axis=(1, 2))
    around = np.median(_on_rays(smooth, (x, y), length, np.float32([1.12, 1.2, 1.3])), axis=(1, 2))
    chroma = np.ptp(inside, axis=1) / np.maximum(inside.max(axis=1), 20)
    values = (x, y, major, minor, angle, np.where(bad, 0, share), scatter, polarity)
    fits = Fits(*values, np.linalg.norm(inside - around, axis=1), chroma)
    return Fits(*(np.asarray(v, np.float32) for v in fits))


def _length(major: Floats, minor: Floats, angle: Floats) -> Floats:
    """Distance from the centre to the ellipse along each ray, shape (K, rays)."""
    turned = _ANGLES - angle[:, None]
    across = np.hypot(minor[:, None] * np.cos(turned), major[:, None] * np.sin(turned))
    return (major * minor)[:, None] / np.maximum(across, 1e-6)


def _on_rays(rgb: Floats, centre: tuple[Floats, Floats], length: Floats, reach: Floats) -> Floats:
    """Colours at `reach` times `length` along each ray, shape (K, rays, len(reach), 3); border repeated."""
    height, width = rgb.shape[:2]
    far = length[:, :, None] * reach
    column = np.rint(centre[0][:, None, None] + far * _COS[:, None])
    row = np.rint(centre[1][:, None, None] + far * _SIN[:, None])
    column = np.nan_to_num(column).clip(0, width - 1).astype(np.int32)
    row = np.nan_to_num(row).clip(0, height - 1).astype(np.int32)
    return rgb.reshape(-1, 3)[row * width + column]


def _edge_on_rays(
    rgb: Floats, centre: tuple[Floats, Floats], length: Floats, reach: Floats
) -> tuple[Floats, Floats, Floats]:
    """Where on each ray the strongest edge lies (in `length`s), its strength in levels a pixel, and its sign."""
    colours = _on_rays(rgb, centre, length, reach)
    change = colours[:, :, 2:] - colours[:, :, :-2]
    strength = np.sqrt((change**2).sum(axis=3))
    pixels = 2 * (reach[1] - reach[0]) * length  # that one such step spans
    prior = np.exp(-(((reach[1:-1] - 1) / (0.7 * (reach[-1] - 1))) ** 2) / 2)
    at = (strength * prior).argmax(axis=2)[..., None]
    # The top of a parabola through the three samples: nearest pixels alone would leave steps.
    pick = [
        np.take_along_axis(strength, (at + d).clip(0, strength.shape[2] - 1), 2)[..., 0] for d in (-1, 0, 1)
    ]
    bend = pick[0] - 2 * pick[1] + pick[2]
    shift = np.where(bend < -1e-3, 0.5 * (pick[0] - pick[2]) / np.minimum(bend, -1e-3), 0).clip(-0.5, 0.5)
    where = reach[1:-1][at[..., 0]] + shift * (reach[1] - reach[0])
    sign = np.sign(np.take_along_axis(change.sum(axis=3), at, 2)[..., 0])
    return where.astype(np.float32), pick[1] / np.maximum(pixels, 1), sign


def _ellipses(x: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Weighted least-squares ellipses through K sets of points, shape (K, rays); NaN where there is none."""
    total = np.maximum(weight.sum(axis=1), 1e-6)[:, None]
    middle_x, middle_y = (weight * x).sum(axis=1)[:, None] / total, (weight * y).sum(axis=1)[:, None] / total
    size = np.maximum(np.hypot(x - middle_x, y - middle_y).mean(axis=1), 1e-3)[:, None]
    u, v = ((x - middle_x) / size).astype(np.float64), ((y - middle_y) / size).astype(np.float64)
    terms = np.stack([u * u, u * v, v * v, u, v], axis=2)  # a u2 + b uv + c v2 + d u + e v = 1
    weighed = terms * weight[..., None]
    normal = weighed.transpose(0, 2, 1) @ terms + 1e-9 * np.eye(5)
    a, b, c, d, e = np.linalg.solve(normal, weighed.sum(axis=1)[..., None])[..., 0].T
    determinant = 4 * a * c - b * b
    with np.errstate(invalid="ignore", divide="ignore"):
        centre_u, centre_v = (b * e - 2 * c * d) / determinant, (b * d - 2 * a * e) / determinant
        level = 1 + a * centre_u**2 + b * centre_u * centre_v + c * centre_v**2
        spread = np.hypot(a - c, b)
        major = size[:, 0] * np.sqrt(2 * level / (a + c - spread))
        minor = size[:, 0] * np.sqrt(2 * level / (a + c + spread))
    angle = 0.5 * np.arctan2(b, a - c) + np.pi / 2
    found = (
        middle_x[:, 0] + size[:, 0] * centre_u,
        middle_y[:, 0] + size[:, 0] * centre_v,
        major,
        minor,
        angle,
    )
    return tuple(values.astype(np.float32) for values in found)  # pyright: ignore[reportReturnType]


def _off(dx: Floats, dy: Floats, ellipse: tuple[Floats, Floats, Floats]) -> Floats:
    """How far points lie outside (+) or inside (-) the ellipse, in its radii."""
    major, minor, angle = (values[:, None] for values in ellipse)
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    return np.nan_to_num(np.hypot(along / major, across / minor) - 1, nan=9.0)
