"""Things that stand about and say nothing of the parcel: shoes, a chair's leg, a bottle, a crate."""

import numpy as np
from numpy.random import Generator

from weft_datasets.render.material import Material, dyed, plain
from weft_datasets.render.mesh import Mesh, Skin, ball, slab, tube, turn_z


def scatter(rng: Generator, *, radius: float) -> list[Mesh]:
    """Up to four things outside a circle of `radius` mm about the origin."""
    meshes: list[Mesh] = []
    for _ in range(int(rng.choice([0, 1, 2, 3, 4], p=[0.2, 0.3, 0.25, 0.15, 0.1]))):
        maker = (_shoes, _chair_leg, bottle, _crate, _ball, _cable)[int(rng.integers(6))]
        angle, reach = float(rng.uniform(0, 2 * np.pi)), radius + float(rng.uniform(130, 700))
        by = np.float32([reach * np.cos(angle), reach * np.sin(angle), 0])
        turn = turn_z(float(rng.uniform(0, 2 * np.pi)))
        meshes += [mesh.moved(turn=turn, by=by) for mesh in maker(rng)]
    return meshes


def _skin(rng: Generator, **more: float) -> Skin:
    colour = dyed(rng)
    return Skin((Material(colour, colour, **more),))  # pyright: ignore[reportArgumentType]


def _shoes(rng: Generator) -> list[Mesh]:
    upper = _skin(rng, shine=0.08)
    sole = Skin((plain((0.5, 0.5, 0.48) if rng.random() < 0.5 else (0.03, 0.03, 0.03), nir=0.3),))
    long = float(rng.uniform(115, 150))
    pair = []
    for x in (-55.0, 55.0):
        toe = ball((42, long, 34), upper, power=2.4, cells=14).moved(by=np.float32([x, 0, 36]))
        heel = ball((36, long * 0.45, 52), upper, power=2.6, cells=12).moved(
            by=np.float32([x, -long * 0.5, 58])
        )
        under = ball((46, long * 1.04, 13), sole, power=3, cells=10).moved(by=np.float32([x, 0, 13]))
        pair += [part.moved(turn=turn_z(x / 300)) for part in (toe, heel, under)]
    return pair


def _chair_leg(rng: Generator) -> list[Mesh]:
    wood = Skin(
        (
            plain((0.28, 0.15, 0.07), nir=0.55, shine=0.1),
            plain((0.4, 0.4, 0.42), nir=0.5, shine=0.4, polish=60),
        )
    )
    skin = Skin((wood.materials[int(rng.integers(2))],))
    legs = []
    for x in (0.0, float(rng.uniform(320, 420))):
        path = np.stack([np.full(12, x), np.zeros(12), np.linspace(0, 620, 12)], axis=1)
        legs.append(tube(path, float(rng.uniform(10, 22)), skin))
    return legs


def bottle(rng: Generator) -> list[Mesh]:
    """Standing at the origin."""
    height = np.array([0, 2, 150, 180, 205, 235])
    radius = np.array([30, 34, 34, 26, 12, 12]) * float(rng.uniform(0.9, 1.2))
    path = np.stack([np.zeros(6), np.zeros(6), height], axis=1)
    return [tube(path, radius, _skin(rng, shine=0.35, polish=60.0), sides=20)]


def _crate(rng: Generator) -> list[Mesh]:
    size = (float(rng.uniform(150, 420)), float(rng.uniform(120, 320)), float(rng.uniform(60, 300)))
    return slab(size, _skin(rng, shine=0.1), cells=8)


def _ball(rng: Generator) -> list[Mesh]:
    r = float(rng.uniform(35, 115))
    return [ball((r, r, r), _skin(rng, shine=0.15, polish=30.0), cells=18).moved(by=np.float32([0, 0, r]))]


def _cable(rng: Generator) -> list[Mesh]:
    t = np.linspace(0, 1, 60)
    wave = rng.uniform(-140, 140, (2, 4))
    x = 500 * (t - 0.5) + sum(wave[0, k] * np.sin((k + 1) * np.pi * t) for k in range(4))
    y = sum(wave[1, k] * np.sin((k + 1) * np.pi * t) for k in range(4))
    path = np.stack([x, y, np.full(60, 4.0)], axis=1)
    return [tube(path, 4.0, Skin((plain((0.03, 0.03, 0.03), nir=0.1, shine=0.1),)), sides=6)]
