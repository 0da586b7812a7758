"""Finding a round mark: circles by gradient voting, an ellipse fitted to each, the likeliest one kept.

numpy only. Every edge pixel votes for the centres that lie one radius along its gradient, either way, for
every radius in turn. The strongest votes are held against the edges around them, the best of those are fitted
with an ellipse on a finer scale along 72 rays, and what its rim, its inside and its surroundings look like
says how likely each is a mark. Where two are nearly as likely, none is: a wrong scale is worse than no scale.
What it reaches, and on what it was fitted: docs/marks.md.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Floats = NDArray[np.floating[Any]]
Centre = tuple[Floats, Floats]

COARSE_PX: Final = 320  # longest side that is voted on
FINE_PX: Final = 800  # longest side that is fitted on
RADII: Final = (0.02, 0.11)  # smallest and largest disc looked for: radius over the photo's longest side
LIKELY: Final = 0.5  # least likelihood of a mark
SURE: Final = 0.4  # least of it that is left after its strongest rival's share
RIVAL: Final = 0.7  # of the likelihood, that nothing elsewhere may reach
_RADIUS_STEP: Final = 1.08
_VOTED: Final = 160  # circles kept from the vote
_FITTED: Final = 28  # of those, circles fitted with an ellipse
_RAYS: Final = 72
_EDGE: Final = 4.0  # gradient, in levels a pixel, that a ray's edge must exceed
_OUTER: Final = 0.75  # a ray's outermost edge counts if it has this share of the strongest one's weight

# Logistic regression over the ellipses of photos with and without a disc, see docs/marks.md: what tells a
# coin or a printed dot from fruit, buttons, holes and wood grain. Round along its edge, of one tone inside
# and another outside, grey, flat where a fruit is domed, neither the photo's main thing nor a speck.
_WEIGHTS: Final = {
    "share": 16.1,
    "aspect": 9.8,
    "log_size": 1.91,
    "chroma": 5.34,
    "log_unrest_inside": -1.59,
    "log_unrest_around": -0.556,
    "log_strength": 4.18,
    "steady": 2.24,
    "log_domed": -3.19,
    "log_lean": -1.14,
    "log_rough": 0.246,
    "too_large": -18.6,
    "chroma_squared": -12.9,
    "too_small": -10.7,
    "log_domed_by_strength": 2.12,
    "log_lean_by_strength": 1.35,
}
_OFFSET: Final = -9.324
_USUAL: Final = (0.03, 0.065)  # semi-axis over the photo's longest side, outside of which less likely

_ANGLES: Final = np.arange(_RAYS, dtype=np.float32) * np.float32(2 * np.pi / _RAYS)
_COS: Final = np.cos(_ANGLES)
_SIN: Final = np.sin(_ANGLES)


@dataclass(frozen=True, slots=True)
class Disc:
    """An ellipse in pixels of its photo; `angle` is that of the major axis, radians from x towards y."""

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


class Ellipses(NamedTuple):
    """K ellipses, shape (K,) each; semi-axes in pixels. NaN where points have none."""

    x: Floats
    y: Floats
    major: Floats
    minor: Floats
    angle: Floats


class Looks(NamedTuple):
    """What speaks for K ellipses, shape (K,) each."""

    share: Floats  # of the rays whose edge lies on the ellipse; 0 for what cannot be a mark
    strength: Floats  # of that edge, in levels a pixel
    chroma: Floats  # of the inside, 0 grey .. 1 pure colour
    unrest_inside: Floats  # levels about the inside's colour
    unrest_around: Floats  # levels about the surroundings' colour
    steady: Floats  # 0..1: 1 where the inside differs from the outside the same way all along the rim
    domed: Floats  # levels that the middle differs from the edge by: a fruit is round, a coin is flat
    lean: Floats  # levels that one side is brighter than the other: likewise
    rough: Floats  # median distance of the edges from the ellipse, in its radii


def find_disc(pixels: NDArray[np.uint8]) -> Disc | None:
    """The one round mark of a photo, shape (H, W, 3); None where none is likely or two are."""
    image = Image.fromarray(pixels)
    fine, scale = _scaled(image.filter(ImageFilter.BoxBlur(0.6)), FINE_PX)
    coarse, coarse_scale = _scaled(image, COARSE_PX)
    edges = _edges(coarse)
    circles = _supported(edges, _voted(edges)) * np.float32(scale / coarse_scale)
    if not len(circles):
        return None
    ellipses, looks = _fitted(fine, circles)
    likely = _likelihood(ellipses, looks, longest_px=max(fine.shape))
    best = int(likely.argmax())
    away = np.hypot(ellipses.x - ellipses.x[best], ellipses.y - ellipses.y[best]) > 0.5 * ellipses.major[best]
    rival = float(likely[away].max(initial=0))
    if likely[best] < LIKELY or rival > RIVAL * likely[best]:
        return None
    x, y, major, minor, angle = (float(values[best]) for values in ellipses)
    sure = float(likely[best]) * (1 - rival)
    if sure < SURE:
        return None
    # Pixel centres lie half a pixel inside either image.
    middle = ((x + 0.5) / scale - 0.5, (y + 0.5) / scale - 0.5)
    return Disc(*middle, 2 * major / scale, 2 * minor / scale, angle, sure)


def _likelihood(ellipses: Ellipses, looks: Looks, *, longest_px: int) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        log_size = np.log(ellipses.major / longest_px)
        figures = {
            "share": looks.share,
            "aspect": ellipses.minor / ellipses.major,
            "log_size": log_size,
            "chroma": looks.chroma,
            "log_unrest_inside": np.log(looks.unrest_inside + 3),
            "log_unrest_around": np.log(looks.unrest_around + 3),
            "log_strength": np.log(looks.strength + 3),
            "steady": looks.steady,
            "log_domed": np.log(looks.domed + 3),
            "log_lean": np.log(looks.lean + 3),
            "log_rough": np.log(looks.rough + 0.003),
            "too_large": np.maximum(log_size - np.log(_USUAL[1]), 0),
            "chroma_squared": looks.chroma**2,
            "too_small": np.maximum(np.log(_USUAL[0]) - log_size, 0),
            "log_domed_by_strength": np.log((looks.domed + 2) / (looks.strength + 5)),
            "log_lean_by_strength": np.log((looks.lean + 2) / (looks.strength + 5)),
        }
        total = np.sum([weight * figures[name] for name, weight in _WEIGHTS.items()], axis=0) + _OFFSET
        likely = 1 / (1 + np.exp(-total.clip(-50, 50)))
    return np.where((looks.share > 0.3) & np.isfinite(likely), likely, 0)


def _scaled(image: Image.Image, longest_px: int) -> tuple[Floats, float]:
    scale = longest_px / max(image.size)
    if scale > 0.8:  # near enough: resizing would cost more than the pixels it saves
        scale = 1.0
    else:
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


def _fitted(rgb: Floats, circles: Floats) -> tuple[Ellipses, Looks]:
    """Fit an ellipse to each circle: an edge on every ray, outliers weighed down, twice over."""
    radius = circles[:, 2]
    now = Ellipses(circles[:, 0], circles[:, 1], radius, radius, np.zeros_like(radius))
    off = strength = np.zeros((len(circles), _RAYS), np.float32)
    for low, high in ((0.76, 1.3), (0.86, 1.16)):
        reach = np.linspace(low, high, 37, dtype=np.float32)
        length = _length(now)
        step, strength = _edge_on_rays(rgb, (now.x, now.y), length, reach)
        at_x, at_y = now.x[:, None] + length * step * _COS, now.y[:, None] + length * step * _SIN
        found = strength > _EDGE
        weight = found.astype(np.float32)
        for _ in range(3):
            now = _ellipses(at_x, at_y, weight)
            off = _off(at_x - now.x[:, None], at_y - now.y[:, None], now)
            weight = found / (1 + (off / 0.03) ** 2)
    with np.errstate(invalid="ignore"):
        sound = (
            (now.minor > 0.6 * now.major)
            & (now.major < 1.6 * radius)
            & (now.minor > 0.6 * radius)
            & (np.hypot(now.x - circles[:, 0], now.y - circles[:, 1]) < 0.5 * radius)
        )
    good = (strength > _EDGE) & (np.abs(off) < 0.035) & sound[:, None]
    return now, _looks(rgb, now, strength, (off, good))


def _looks(rgb: Floats, ellipses: Ellipses, strength: Floats, rim: tuple[Floats, NDArray[np.bool_]]) -> Looks:
    off, good = rim
    centre, length = (ellipses.x, ellipses.y), _length(ellipses)
    within = _on_rays(rgb, centre, length, np.array([0.35, 0.55, 0.75, 0.88]))
    without = _on_rays(rgb, centre, length, np.array([1.12, 1.2, 1.3]))
    inside, around = np.median(within, axis=(1, 2)), np.median(without, axis=(1, 2))
    step = within[:, :, 3] - without[:, :, 0]  # (K, rays, 3)
    light = within.mean(axis=3)  # (K, rays, 4)
    return Looks(
        share=good.mean(axis=1),
        strength=np.median(strength, axis=1),
        chroma=np.ptp(inside, axis=1) / np.maximum(inside.max(axis=1), 20),
        unrest_inside=np.median(np.abs(within - inside[:, None, None]).max(axis=3), axis=(1, 2)),
        unrest_around=np.median(np.abs(without - around[:, None, None]).max(axis=3), axis=(1, 2)),
        steady=np.abs(step.sum(axis=1)).max(axis=1) / np.maximum(np.abs(step).sum(axis=1).max(axis=1), 1),
        domed=np.abs(np.median(light[:, :, 0], axis=1) - np.median(light[:, :, 2], axis=1)),
        lean=np.hypot(light[:, :, 2] @ _COS, light[:, :, 2] @ _SIN) * (2 / _RAYS),
        rough=np.median(np.abs(off), axis=1),
    )


def _length(ellipses: Ellipses) -> Floats:
    """Distance from the centre to the ellipse along each ray, shape (K, rays)."""
    turned = _ANGLES - ellipses.angle[:, None]
    across = np.hypot(ellipses.minor[:, None] * np.cos(turned), ellipses.major[:, None] * np.sin(turned))
    return (ellipses.major * ellipses.minor)[:, None] / np.maximum(across, 1e-6)


def _on_rays(rgb: Floats, centre: Centre, length: Floats, reach: Floats) -> Floats:
    """Colours at `reach` times `length` along each ray, shape (K, rays, len(reach), 3); border repeated."""
    height, width = rgb.shape[:2]
    far = length[:, :, None] * reach
    column = np.rint(centre[0][:, None, None] + far * _COS[:, None])
    row = np.rint(centre[1][:, None, None] + far * _SIN[:, None])
    column = np.nan_to_num(column).clip(0, width - 1).astype(np.int32)
    row = np.nan_to_num(row).clip(0, height - 1).astype(np.int32)
    return rgb.reshape(-1, 3)[row * width + column]


def _edge_on_rays(rgb: Floats, centre: Centre, length: Floats, reach: Floats) -> tuple[Floats, Floats]:
    """Where on each ray its edge lies, in `length`s, and how strong it is, in levels a pixel."""
    colours = _on_rays(rgb, centre, length, reach)
    strength = np.sqrt(((colours[:, :, 2:] - colours[:, :, :-2]) ** 2).sum(axis=3))
    weighed = strength * np.exp(-(((reach[1:-1] - 1) / (0.7 * (reach[-1] - 1))) ** 2) / 2)
    # A coin's rim is a pair of edges, and the outer one is its size: the last top that is nearly the highest.
    top = weighed > _OUTER * weighed.max(axis=2, keepdims=True)
    top[:, :, 1:-1] &= strength[:, :, 1:-1] >= np.maximum(strength[:, :, :-2], strength[:, :, 2:])
    top[:, :, [0, -1]] = False
    last = top.shape[2] - 1 - top[:, :, ::-1].argmax(axis=2)
    at = np.where(top.any(axis=2), last, weighed.argmax(axis=2))[..., None]
    # The top of a parabola through the three samples: nearest pixels alone would leave steps.
    left, here, right = (
        np.take_along_axis(strength, (at + d).clip(0, top.shape[2] - 1), 2)[..., 0] for d in (-1, 0, 1)
    )
    bend = np.minimum(left - 2 * here + right, -1e-3)
    shift = (0.5 * (left - right) / bend).clip(-0.5, 0.5)
    spacing = reach[1] - reach[0]
    pixels = np.maximum(2 * spacing * length, 1)  # that one difference spans
    return reach[1:-1][at[..., 0]] + shift * spacing, here / pixels


def _ellipses(x: Floats, y: Floats, weight: Floats) -> Ellipses:
    """Weighted least-squares ellipses through K sets of points, shape (K, rays)."""
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
    return Ellipses(
        x=middle_x[:, 0] + size[:, 0] * centre_u,
        y=middle_y[:, 0] + size[:, 0] * centre_v,
        major=major,
        minor=minor,
        angle=0.5 * np.arctan2(b, a - c) + np.pi / 2,
    )


def _off(dx: Floats, dy: Floats, ellipses: Ellipses) -> Floats:
    """How far points lie outside (+) or inside (-) their ellipse, in its radii, shape (K, rays)."""
    major, minor, angle = (values[:, None] for values in ellipses[2:])
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    return np.nan_to_num(np.hypot(along / major, across / minor) - 1, nan=9.0)
