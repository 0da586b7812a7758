"""Meshes with a skin, and the few shapes that everything is bent from. Lengths in mm."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from weft_datasets.render import noise
from weft_datasets.render.material import Material

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Skin:
    """Materials of a surface, and which of them lies where."""

    materials: tuple[Material, ...]
    chart: NDArray[np.int16] | None = None  # (rows, columns) index into `materials`, spread over the uv range
    low: tuple[float, float] = (0.0, 0.0)  # uv of the chart's corner
    high: tuple[float, float] = (1.0, 1.0)
    fray_mm: float = 0.0  # borders on the chart wander by about this much

    def index(self, uv: Floats) -> NDArray[np.int16]:
        """Index into `materials` at uv (n, 2) -> (n,)."""
        if self.chart is None:
            return np.zeros(len(uv), np.int16)
        rows, columns = self.chart.shape
        if self.fray_mm:
            u, v = uv[:, 0] * 0.9, uv[:, 1] * 0.9
            fray = [noise.read(noise.cloud(), u, v), noise.read(noise.cloud(), v + 77, u)]
            uv = uv + np.float32(self.fray_mm) * np.stack(fray, axis=1)
        place = (uv - np.float32(self.low)) / (np.float32(self.high) - np.float32(self.low))
        column = np.clip((place[:, 0] * columns).astype(np.int32), 0, columns - 1)
        row = np.clip((place[:, 1] * rows).astype(np.int32), 0, rows - 1)
        return self.chart[row, column]


@dataclass(frozen=True, slots=True)
class Mesh:
    vertices: Floats  # (V, 3) mm
    normals: Floats  # (V, 3)
    uv: Floats  # (V, 2) mm along the surface
    faces: NDArray[np.int32]  # (T, 3) counterclockwise from outside
    skin: Skin

    def moved(self, *, turn: Floats | None = None, by: Floats | None = None) -> "Mesh":
        """Turned by a rotation matrix (3, 3) about the origin, then shifted by (3,) mm."""
        vertices, normals = self.vertices, self.normals
        if turn is not None:
            vertices, normals = vertices @ turn.T, normals @ turn.T
        if by is not None:
            vertices = vertices + by
        return replace(self, vertices=vertices.astype(np.float32), normals=normals.astype(np.float32))


def turn_z(angle: float) -> Floats:
    """Rotation about the vertical by `angle` radians, (3, 3)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32)


def turn_x(angle: float) -> Floats:
    """Rotation about the x axis by `angle` radians, (3, 3)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]], np.float32)


def grid_faces(rows: int, columns: int) -> NDArray[np.int32]:
    """Two triangles for every cell of a grid of points, shape (2 (rows-1) (columns-1), 3)."""
    corner = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = (x.ravel() for x in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]))
    return np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])


def grid_mesh(points: Floats, uv: Floats, skin: Skin, *, ring: bool = False) -> Mesh:
    """A surface through a grid of points.

    Args:
        points: Shape (R, K, 3); a row runs to the right and rows run up, seen from outside.
        uv: Shape (R, K, 2), mm.
        ring: The last column repeats the first; normals run smoothly through the seam.
    """
    rows, columns, _ = points.shape
    if ring:
        wide = np.concatenate([points[:, -2:-1], points, points[:, 1:2]], axis=1)
        along = wide[:, 2:] - wide[:, :-2]
    else:
        along = np.gradient(points, axis=1)
    normals = np.cross(along, np.gradient(points, axis=0))
    normals /= np.linalg.norm(normals, axis=2, keepdims=True) + 1e-12
    return Mesh(
        points.reshape(-1, 3).astype(np.float32),
        normals.reshape(-1, 3).astype(np.float32),
        uv.reshape(-1, 2).astype(np.float32),
        grid_faces(rows, columns),
        skin,
    )


def sheet(heights: Floats, half: tuple[float, float], skin: Skin) -> Mesh:
    """A height field (R, K) in mm over [-half, half] in x (columns) and y (rows); uv is (x, y)."""
    rows, columns = heights.shape
    x, y = np.meshgrid(np.linspace(-half[0], half[0], columns), np.linspace(-half[1], half[1], rows))
    return grid_mesh(np.stack([x, y, heights], axis=2), np.stack([x, y], axis=2), skin)


def tube(path: Floats, radius: Floats | float, skin: Skin, *, sides: int = 12) -> Mesh:
    """A round tube along a path (n, 3) mm, radius (n,) or one for all."""
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    spare = np.where(np.abs(along[:, 2:3]) > 0.8, [[1.0, 0, 0]], [[0, 0, 1.0]])
    side = np.cross(along, spare)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(along, side)
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    thick = np.broadcast_to(np.asarray(radius, dtype=float), (len(path),))[:, None, None]
    ring = side[:, None] * np.cos(angle)[None, :, None] + other[:, None] * np.sin(angle)[None, :, None]
    points = path[:, None] + thick * ring
    length = np.cumsum(np.linalg.norm(np.diff(path, axis=0, prepend=path[:1]), axis=1))
    uv = np.stack(np.broadcast_arrays(angle[None] * float(np.mean(thick)), length[:, None]), axis=2)
    return grid_mesh(points, uv, skin, ring=True)


def ball(half: tuple[float, float, float], skin: Skin, *, power: float = 2.0, cells: int = 24) -> Mesh:
    """A superellipsoid with the given half axes in mm; power 2 is an ellipsoid, larger is boxier."""
    lat = np.linspace(-np.pi / 2 + 0.01, np.pi / 2 - 0.01, cells)
    lon = np.linspace(0, 2 * np.pi, 2 * cells + 1)

    def signed(x: Floats) -> Floats:
        return np.sign(x) * np.abs(x) ** (2 / power)

    ring = np.stack([signed(np.cos(lon)), signed(np.sin(lon))], axis=1)
    points = np.empty((cells, 2 * cells + 1, 3))
    points[..., :2] = signed(np.cos(lat))[:, None, None] * ring * np.asarray(half[:2])
    points[..., 2] = (signed(np.sin(lat)) * half[2])[:, None]
    uv = np.stack(np.meshgrid(lon * half[0], lat * half[2]), axis=2)
    return grid_mesh(points, uv, skin, ring=True)


def slab(size: tuple[float, float, float], skin: Skin, *, cells: int = 6, bulge: float = 0.0) -> list[Mesh]:
    """A box of full sides `size` mm on z = 0, one mesh a side, top first; sides bulge by `bulge` mm."""
    x, y, z = size
    sides = []
    for axes, extent in (
        ((0, 1, 2, 1), (x, y, z)),
        ((1, 0, 2, -1), (y, x, z)),
        ((0, 2, 1, -1), (x, z, y)),
        ((2, 0, 1, 1), (z, x, y)),
        ((1, 2, 0, 1), (y, z, x)),
        ((2, 1, 0, -1), (z, y, x)),
    ):
        u, v = np.meshgrid(np.linspace(-0.5, 0.5, cells), np.linspace(-0.5, 0.5, cells))
        out = extent[2] / 2 + bulge * np.cos(np.pi * u) * np.cos(np.pi * v)
        points = np.empty((cells, cells, 3))
        points[..., axes[0]], points[..., axes[1]] = u * extent[0], v * extent[1]
        points[..., axes[2]] = axes[3] * out
        points[..., 2] += z / 2
        sides.append(grid_mesh(points, np.stack([u * extent[0], v * extent[1]], axis=2), skin))
    return sides


def volume_litres(meshes: list[Mesh]) -> float:
    """Volume enclosed by closed meshes (an open rim at z = 0 counts as closed), in litres."""
    total = 0.0
    for mesh in meshes:
        a, b, c = (mesh.vertices[mesh.faces[:, k]].astype(np.float64) for k in range(3))
        total += float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6
    return total / 1e6
