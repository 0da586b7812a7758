"""What comes between phone and parcel: a hand with its arm, a head with shoulders, a finger on the lens."""

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from weft_datasets.render.camera import Camera
from weft_datasets.render.material import Material, cloth, plain
from weft_datasets.render.mesh import Mesh, Skin, ball, tube
from weft_datasets.render.scene import Scene, render_alone

Floats = NDArray[np.float32]
Kind = Literal["hand", "head", "finger"]
KINDS: tuple[Kind, ...] = ("hand", "head", "finger")
# Linear RGB of skin from light to dark, after the six Fitzpatrick types; skin is bright and alike in the near
# infrared (melanin hardly absorbs there) and dark at 1450 nm (water).
_SKINS = (
    (0.62, 0.40, 0.30), (0.54, 0.33, 0.23), (0.44, 0.25, 0.16),
    (0.32, 0.17, 0.10), (0.19, 0.095, 0.055), (0.085, 0.045, 0.030),
)  # fmt: skip


def cover(
    rng: Generator, scene: Scene, light: Floats, camera: Camera, *, at: Floats
) -> tuple[Floats, Floats]:
    """Put a hand, a head or a finger in front of a picture.

    Args:
        light: The picture of `scene`, linear (H, W, C).
        at: Pixel (2,) that it should cover.

    Returns:
        The picture with it, and the share of each pixel that it hides, (H, W).
    """
    kind = KINDS[int(rng.choice(len(KINDS), p=[0.5, 0.25, 0.25]))]
    if kind == "finger":
        front, share = _finger(rng, light, scene.bands, at)
    else:
        axes = camera.axes
        held = Camera(
            np.zeros(3, np.float32), np.eye(3, dtype=np.float32), camera.focal_px, camera.width, camera.height
        )
        meshes = _hand(rng, held, at) if kind == "hand" else _head(rng, held, at)
        # Built as the camera sees it (x right, y down, z forward), then turned into the room, to its lamp.
        meshes = [mesh.moved(turn=axes.T, by=camera.place) for mesh in meshes]
        # Above the shadows of the room: lit in full, and casting none.
        front, share = render_alone(replace(scene, meshes=meshes), camera, finer=2)
        blur = float(rng.uniform(0.3, 1.6)) * max(share.shape) / 320  # nearer than the phone focuses on
        front = np.stack([gaussian_filter(band, blur) for band in np.moveaxis(front, 2, 0)], axis=2)
        share = gaussian_filter(share, blur)
    return light * (1 - share[..., None]) + front, share


def _skin(rng: Generator) -> Skin:
    colour = np.float32(_SKINS[int(rng.integers(len(_SKINS)))]) * np.float32(np.exp(rng.normal(0, 0.12, 3)))
    red, green, blue = (float(part) for part in colour)
    return Skin(
        (plain((red, green, blue), nir=0.55, swir=0.1, shine=0.06, polish=10, bump=0.12, bump_mm=60),)
    )


def _toward(camera: Camera, pixel: Floats, depth_mm: float) -> Floats:
    """The point (3,) in the camera's own axes that `pixel` shows at that depth."""
    middle = np.array([(camera.width - 1) / 2, (camera.height - 1) / 2])
    x, y = (pixel - middle) / camera.focal_px * depth_mm
    return np.array([x, y, depth_mm])


def _hand(rng: Generator, camera: Camera, at: Floats) -> list[Mesh]:
    """An open or pointing hand whose arm comes in over the frame's lower or side edge."""
    depth = float(rng.uniform(260, 620))
    palm = _toward(camera, at, depth)
    edge = np.array([rng.choice([0.0, 1.0]) * camera.width, rng.uniform(0.5, 1.2) * camera.height])
    if rng.random() < 0.5:
        edge = np.array([rng.uniform(0.1, 0.9) * camera.width, 1.1 * camera.height])
    elbow = palm + _stretched(_toward(camera, edge, depth * 0.8) - palm, 420.0)
    along = palm - elbow
    along /= np.linalg.norm(along)
    across = np.cross(along, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    skin = _skin(rng)
    size = float(rng.uniform(0.85, 1.15))
    wrist = palm - along * 55 * size
    t = np.linspace(0, 1, 8)[:, None]
    arm = tube(elbow + t * (wrist - elbow), np.linspace(46, 27, 8) * size, skin)
    meshes = [arm, *_bent(palm, along, across, (40 * size, 52 * size, 19 * size), skin)]
    curl = float(rng.uniform(0, 0.9))
    for number in range(4):
        root = palm + along * 46 * size + across * (number - 1.5) * 20 * size
        out = along + across * (number - 1.5) * float(rng.uniform(0.02, 0.16))
        straight = curl < 0.5 or number == 0  # a pointing hand keeps its forefinger out
        long = size * (72 - 7 * abs(number - 1.2)) * (1.0 if straight else 0.45)
        bend = np.array([0.0, 0.0, 1.0]) * (0.15 if straight else 0.8)
        s = np.linspace(0, 1, 7)[:, None]
        meshes.append(tube(root + s * out * long + s**2 * bend * long, size * np.linspace(10.5, 7, 7), skin))
    s = np.linspace(0, 1, 6)[:, None]
    thumb = palm - across * 36 * size + s * (along * 0.75 - across * 0.6) * 62 * size
    meshes.append(tube(thumb, size * np.linspace(13, 9, 6), skin))
    if rng.random() < 0.7:
        sleeve = Skin((cloth(rng, season="winter"),))
        meshes.append(tube(elbow + t * 0.75 * (wrist - elbow), np.linspace(62, 44, 8) * size, sleeve))
    return meshes


def _head(rng: Generator, camera: Camera, at: Floats) -> list[Mesh]:
    """A head in front of the parcel, looking at the phone, in profile or away, with neck and shoulders."""
    depth = float(rng.uniform(480, 1150))
    centre = _toward(camera, at, depth)
    skin, hair = _skin(rng), Skin((_hair(rng),))
    size = float(rng.uniform(0.9, 1.1))
    look = float(rng.choice([rng.normal(0, 0.35), rng.uniform(0.8, 1.6), np.pi]))  # 0: into the camera
    side = float(rng.choice([-1, 1]))
    ahead = np.array([side * np.sin(look), 0.0, -np.cos(look)])
    right = np.array([np.cos(look), 0.0, side * np.sin(look)])
    down = np.array([0.0, 1.0, 0.0])

    def part(where: tuple[float, float, float], half: tuple[float, float, float], of: Skin) -> list[Mesh]:
        """An ellipsoid at (right, down, ahead) mm from the head's middle."""
        place = centre + size * (where[0] * right + where[1] * down + where[2] * ahead)
        return _bent(place, down, right, (half[0] * size, half[1] * size, half[2] * size), of)

    white = Skin((plain((0.7, 0.7, 0.68), nir=0.6, shine=0.1),))
    dark = Skin((plain((0.03, 0.02, 0.015), nir=0.1, shine=0.2),))
    lips = Skin((plain((0.35, 0.12, 0.1), nir=0.5),))
    meshes = part((0, 0, 0), (74, 108, 92), skin) + part((0, 10, 92), (13, 22, 18), skin)
    meshes += part((0, 52, 82), (25, 7, 9), lips)
    meshes += part((-76, 5, 0), (10, 30, 18), skin) + part((76, 5, 0), (10, 30, 18), skin)
    for x in (-31.0, 31.0):
        meshes += part((x, -14, 80), (16, 9, 9), white) + part((x, -14, 87), (7, 7, 5), dark)
        meshes += part((x, -36, 82), (20, 5, 8), hair)
    if rng.random() < 0.88:
        back = float(rng.uniform(22, 45))
        meshes += part((0, -34, -back), (82, 92 + float(rng.uniform(0, 70)), 88), hair)
    s = np.linspace(0, 1, 5)[:, None]
    meshes.append(tube(centre + down * size * (80 + 90 * s), 55 * size, skin))
    coat = Skin((cloth(rng, season="winter"),))
    meshes += part((0, 330, 0), (220, 190, 110), coat)
    return meshes


def _hair(rng: Generator) -> Material:
    tone = float(np.exp(rng.uniform(np.log(0.5), np.log(9))))
    return plain(
        (0.025 * tone, 0.017 * tone, 0.011 * tone), nir=0.4, shine=0.12, polish=14, bump=0.35, bump_mm=40
    )


def _bent(
    centre: Floats, along: Floats, across: Floats, half: tuple[float, float, float], skin: Skin
) -> list[Mesh]:
    """An ellipsoid with half axes (across, along, third) about `centre`."""
    third = np.cross(across, along)
    # Columns: where the ball's x, y and z (its poles) go; right-handed, so that its outside stays outside.
    turn = np.stack([across, third, np.cross(across, third)], axis=1)
    shape = ball((half[0], half[2], half[1]), skin, power=2.2, cells=16)
    return [shape.moved(turn=turn.astype(np.float32), by=np.asarray(centre, np.float32))]


def _stretched(step: Floats, length: float) -> Floats:
    return step / (np.linalg.norm(step) + 1e-6) * length


def _finger(rng: Generator, light: Floats, bands: tuple[int, ...], at: Floats) -> tuple[Floats, Floats]:
    """A finger on the lens: out of focus altogether, in from an edge up to about `at`."""
    height, width, _ = light.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    size = float(rng.uniform(0.16, 0.34)) * max(height, width)
    corner = np.array([rng.choice([0, width]), rng.uniform(0, height)])
    if rng.random() < 0.5:
        corner = np.array([rng.uniform(0, width), rng.choice([0, height])])
    tip = corner + (at - corner) * float(rng.uniform(0.55, 1.0))
    along = _stretched(corner - tip, 1.0)
    step = np.clip((x - tip[0]) * along[0] + (y - tip[1]) * along[1], 0, None)
    away = np.hypot(x - tip[0] - step * along[0], y - tip[1] - step * along[1])
    share = gaussian_filter((away < size).astype(np.float32), float(rng.uniform(0.1, 0.3)) * size)
    base = np.float32(_skin(rng).materials[0].base)[list(bands)]
    # Lit from behind through the flesh, and by the room: anything from a dark to a glowing red.
    glow = float(np.exp(rng.uniform(np.log(0.25), np.log(1.2)))) * light.mean()
    shade = 1 - 0.5 * np.clip(away / size, 0, 1) ** 2
    return (share * shade)[..., None] * base / base.mean() * glow, share
