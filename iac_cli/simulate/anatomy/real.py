"""A real CT head as anatomy: moved, turned, scaled and warped, with another person's bone.

The scan gives everything but the calcification. Its arteries' lines move with it: a point of the
simulated patient looks up the source by  source = centre + q + warp(q)  with q = R^T p / scale.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter, zoom
from scipy.spatial import cKDTree

from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.anatomy.source import Step
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.skull import BLOOD_HU, fill_lumina, local_lines, pour_brain

Float = NDArray[np.float64]
Field = NDArray[np.float32]
Place = tuple[float, float, float]

AIR_HU = -1000.0
TERMINUS_ABOVE_MM = -8.0
"""Height of the carotids' ends against the patient's origin, as in the procedural head."""

BONE_HU = 300.0
FINE_CELL_MM = 0.6
"""In-plane cells up to this size are painted with cubic interpolation, larger ones linearly."""

WARPS = ((60.0, 3.5), (22.0, 1.2))
"""Knot distance and amplitude (mm) of the smooth displacements: of the whole head, of its parts."""

WARP_REACH_MM = 130.0
VAULT_REACH_MM = 80.0
"""Bone nearer than this to the head's axis may belong to its vault."""

RETURN_STEPS = 30
"""Steps of the fixed-point search for where a source point goes; each halves the error or more."""

ROUND_LINES_MM = (6.0, 12.0)
"""Shell around the arteries that holds brain, or the air of a replica."""

GAS_HU = -60.0
BUBBLE_MM3 = 1500.0
"""Gas inside the skull comes in pieces smaller than this; sinuses and the outside are larger."""

IN_THE_BRAIN = ("M1", "A1", "P1")
"""Arteries that run far from bone: around them a head has brain, a replica has air."""

REMOVED_REACH = 1
"""Voxels around real calcification that are replaced with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How far a real head is changed. Ranges are (low, high), drawn uniformly."""

    rotation_deg: tuple[float, float, float] = (6.0, 8.0, 6.0)
    """Largest pitch, roll and yaw: about the axes to the left, to the back and upwards."""
    scale: tuple[float, float] = (0.93, 1.07)
    warp: float = 1.0
    """Factor of the smooth displacements; 0: none."""
    mirror: bool = True
    """Half of the heads are mirrored, and their arteries change sides."""
    sharpen: tuple[float, float] = (0.5, 1.8)
    """Share of the in-plane detail below 0.8 mm that is added: the scan is blurred once more."""
    bone_gain: tuple[float, float] = (0.75, 1.35)
    cells_share: float = 0.3
    """Share of heads with more, or fewer, air cells in their bone."""
    spurs_hu: float = 350.0
    """Most that bone gains where it thickens."""


AS_IT_IS = Manner(
    rotation_deg=(0.0, 0.0, 0.0),
    scale=(1.0, 1.0),
    warp=0.0,
    mirror=False,
    sharpen=(0.0, 0.0),
    bone_gain=(1.0, 1.0),
    cells_share=0.0,
    spurs_hu=0.0,
)
"""The source without any change."""


@dataclass(frozen=True, slots=True, eq=False)
class RealSource:
    """A CT head and what is known of it."""

    name: str
    volume: Volume
    lines: Mapping[Artery, CentreLine]
    landmarks: Mapping[str, Place] = field(default_factory=dict)
    calcified: NDArray[np.bool_] | None = None
    """Real calcification (slice, row, column), which is taken out before any is set in."""


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """A smooth displacement of the head's own coordinates: knots every few mm, zero far away."""

    knots: tuple[tuple[float, Field], ...]
    """Distance of the knots (mm), and their displacements (3, n, n, n) mm."""

    def at(self, q: Float) -> Float:
        """Displacement of points (..., 3) about the head's centre, mm."""
        moved = np.zeros(q.shape)
        for distance, knots in self.knots:
            index = np.moveaxis((q + WARP_REACH_MM) / distance, -1, 0)
            for axis in range(3):
                moved[..., axis] += map_coordinates(knots[axis], index, order=1, mode="nearest")
        return moved


@dataclass(frozen=True, slots=True, eq=False)
class RealHead:
    """A changed real head in the scanner."""

    name: str
    hu: Field
    """Source voxels (slice, row, column), without calcification, gas in arteries or replica air."""
    curved: Field
    """Cubic spline coefficients of `hu`."""
    grid: Grid
    centre_mm: Float
    """Place of the source that lies in the patient's origin, LPS mm of the source."""
    rotation: Float
    """(3, 3) from the head's own axes to the patient's; a mirrored head has determinant -1."""
    scale: float
    warp: Warp
    lines: Mapping[Artery, CentreLine]
    landmarks: Mapping[str, Place]
    top_mm: float
    facts: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """What made it."""
        return f"real head {self.name}"

    def to_source(self, points_mm: Float) -> Float:
        """Patient's LPS mm (..., 3) -> the source's LPS mm."""
        q = points_mm @ self.rotation / self.scale
        return np.asarray(self.centre_mm + q + self.warp.at(q))

    def painted(self, lattice: Lattice, on_step: Step | None = None) -> Field:
        """HU of the head on a lattice, (normal, column, row) float32."""
        painted = np.empty(lattice.shape, dtype=np.float32)
        order: Literal[1, 3] = 3 if max(lattice.spacing_mm[1:]) <= FINE_CELL_MM else 1
        values = self.curved if order == 3 else self.hu
        n = lattice.shape[0]
        for k in range(n):
            points = lattice.points_mm((slice(k, k + 1), slice(None), slice(None)))[0]
            index = self.grid.to_index(self.to_source(points).reshape(-1, 3))
            painted[k] = _looked_up(values, index, order).reshape(points.shape[:2])
            if on_step is not None:
                on_step((k + 1) / n)
        return np.asarray(np.clip(painted, -1024.0, 4000.0), dtype=np.float32)


def _looked_up(values: Field, index: Float, order: Literal[1, 3]) -> Field:
    """Values at fractional indices (k, 3); air outside the scan."""
    found = np.empty(len(index), dtype=np.float32)
    map_coordinates(
        values, index.T, output=found, order=order, mode="constant", cval=AIR_HU, prefilter=False
    )
    return found


def make_real_head(
    source: RealSource, rng: np.random.Generator, manner: Manner | None = None
) -> RealHead:
    """A head from a real scan, changed as `manner` says.

    Raises: IacError: not_a_head, head_not_covered: no bone, or neither carotid's end is known.
    """
    manner = manner or Manner()
    centre, top = _centre_and_top(source)
    hu = prepared(source)
    mirrored = manner.mirror and bool(rng.random() < 0.5)
    rotation = _rotation(rng.uniform(-1.0, 1.0, 3) * np.radians(manner.rotation_deg))
    if mirrored:
        rotation = rotation * np.array([-1.0, 1.0, 1.0])
    scale = float(rng.uniform(*manner.scale))
    warp = _warp(rng, manner.warp)
    hu = _another_bone(hu, source.volume.grid, rng, manner)
    head = RealHead(
        name=source.name,
        hu=hu,
        curved=np.asarray(spline_filter(hu, order=3), dtype=np.float32),
        grid=source.volume.grid,
        centre_mm=centre,
        rotation=rotation,
        scale=scale,
        warp=warp,
        lines={},
        landmarks={},
        top_mm=(top - float(centre[2])) * scale,
        facts={"mirrored": mirrored, "scale": round(scale, 4)},
    )
    return _with_places(head, source, mirrored)


def _centre_and_top(source: RealSource) -> tuple[Float, float]:
    """The source's point for the patient's origin, and the height of its vertex (LPS mm)."""
    ends = [
        line.points_mm[-1]
        for artery, line in source.lines.items()
        if artery in (Artery.ICA_L, Artery.ICA_R)
    ]
    if not ends:
        raise IacError(
            Word.HEAD_NOT_COVERED,
            "the anatomy has no line of an internal carotid artery",
            way_out="add lines ICA-L and ICA-R, in order of flow",
        )
    middle = np.mean(ends, axis=0)
    bone = np.argwhere(source.volume.hu > BONE_HU)
    if len(bone) < 1000:
        raise IacError(
            Word.NOT_A_HEAD,
            "the anatomy's CT holds hardly any bone",
            way_out="give a CT head in HU",
        )
    places = source.volume.grid.to_world(bone[:: max(1, len(bone) // 200_000)])
    level = places[np.abs(places[:, 2] - middle[2]) < 15.0]
    front, back = np.percentile(level[:, 1], (1.0, 99.0))
    centre = np.array([middle[0], (front + back) / 2, middle[2] - TERMINUS_ABOVE_MM])
    return centre, _vertex_mm(places, centre)


def _vertex_mm(bone_mm: Float, centre_mm: Float) -> float:
    """Height of the vertex: where bone ends above the centre. Hands above the head do not count."""
    away = np.hypot(*(bone_mm - centre_mm)[:, :2].T)
    heights = bone_mm[(away < VAULT_REACH_MM) & (bone_mm[:, 2] > centre_mm[2]), 2]
    if not len(heights):
        return float(np.percentile(bone_mm[:, 2], 99.9))
    counts, edges = np.histogram(heights, np.arange(centre_mm[2], heights.max() + 12.0, 6.0))
    holes = np.flatnonzero(counts == 0)
    end = edges[holes[0]] if len(holes) else heights.max()
    return float(heights[heights <= end].max())


def prepared(source: RealSource) -> Field:
    """The scan without its own calcification, without gas in its arteries, with a brain."""
    hu = np.array(source.volume.hu, dtype=np.float32)
    spacing = np.array([source.volume.grid.mean_step_mm, *source.volume.grid.pixel_mm])
    if not source.volume.grid.straight:
        raise IacError(
            Word.MIXED_GEOMETRY,
            "the anatomy's CT has a tilted gantry",
            way_out="give an untilted series; tilt can be simulated",
        )
    if source.calcified is not None:
        hu = _without_calcium(hu, source.calcified)
    placed = local_lines(source.volume, source.lines)
    if _is_replica(hu, spacing, placed):
        hu = pour_brain(hu, spacing)
    return _without_gas(fill_lumina(hu, spacing, placed), spacing)


def _without_gas(hu: Field, spacing_mm: Float) -> Field:
    """Blood in the gas-filled vessels of a cadaver's brain: small bubbles far from any bone."""
    from scipy.ndimage import binary_dilation, label

    gas, n = label(hu < GAS_HU)
    sizes = np.bincount(gas.ravel(), minlength=n + 1) * float(np.prod(spacing_mm))
    bone = gaussian_filter((hu > 200.0).astype(np.float32), 4.0 / spacing_mm)
    by_bone = np.bincount(gas.ravel(), weights=bone.ravel(), minlength=n + 1)
    counts = np.maximum(np.bincount(gas.ravel(), minlength=n + 1), 1)
    bubbles = (sizes < BUBBLE_MM3) & (by_bone / counts < 0.02)
    bubbles[0] = False
    near = binary_dilation(bubbles[gas]) & (hu < 10.0)
    return np.where(near, np.float32(BLOOD_HU - 6.0), hu)


def _without_calcium(hu: Field, calcified: NDArray[np.bool_]) -> Field:
    """Blood where calcification and its blur were."""
    from scipy.ndimage import binary_dilation

    near = binary_dilation(calcified, iterations=REMOVED_REACH)
    return np.where(near & (hu > BLOOD_HU), np.float32(BLOOD_HU), hu)


def _is_replica(hu: Field, spacing_mm: Float, placed: Mapping[Artery, NDArray[Any]]) -> bool:
    """Whether air surrounds the arteries where a head has brain."""
    inside = [line[:, :3] for artery, line in placed.items() if artery.value[:2] in IN_THE_BRAIN]
    if not inside:
        return False
    points = np.concatenate(inside)
    low = np.clip(np.floor((points.min(0) - 15.0) / spacing_mm), 0, np.array(hu.shape) - 1)
    high = np.clip(np.ceil((points.max(0) + 15.0) / spacing_mm), 1, np.array(hu.shape))
    box = tuple(slice(int(a), int(b), 2) for a, b in zip(low, high, strict=True))
    cells = np.stack(np.meshgrid(*(np.arange(c.start, c.stop, 2) for c in box), indexing="ij"), -1)
    gap, _ = cKDTree(points).query(cells.reshape(-1, 3) * spacing_mm)
    shell = (gap > ROUND_LINES_MM[0]) & (gap < ROUND_LINES_MM[1])
    return bool(np.median(hu[box].reshape(-1)[shell]) < -500.0)


def _rotation(angles: Float) -> Float:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_euler("xyz", angles).as_matrix())


def _warp(rng: np.random.Generator, factor: float) -> Warp:
    """Smooth displacements. Drawn in any case, so that a factor of 0 changes nothing else."""
    knots = []
    for distance, amplitude in WARPS:
        n = int(np.ceil(2 * WARP_REACH_MM / distance)) + 1
        values = rng.normal(0.0, amplitude, (3, n, n, n)).clip(-2 * amplitude, 2 * amplitude)
        smooth = gaussian_filter(values, (0.0, 0.7, 0.7, 0.7))
        knots.append((distance, np.asarray(factor * smooth, dtype=np.float32)))
    return Warp(tuple(knots))


def _smooth(shape: tuple[int, ...], knots_mm: float, grid: Grid, rng: np.random.Generator) -> Field:
    """A smooth random field on the source's voxels, about unit variance."""
    spacing = (grid.mean_step_mm, *grid.pixel_mm)
    coarse = [max(3, round(n * s / knots_mm)) for n, s in zip(shape, spacing, strict=True)]
    drawn = rng.normal(0.0, 1.4, coarse).astype(np.float32)
    grown = zoom(drawn, [n / c for n, c in zip(shape, coarse, strict=True)], order=1)
    return np.asarray(grown, dtype=np.float32)


def _another_bone(hu: Field, grid: Grid, rng: np.random.Generator, manner: Manner) -> Field:
    """Sharper, denser or thinner bone, spurs, and air cells opened or filled."""
    changed = hu.copy()
    amount = float(rng.uniform(*manner.sharpen))
    if amount > 0:
        sigma = (0.0, *(0.8 / p for p in grid.pixel_mm))
        changed += np.float32(amount) * (hu - gaussian_filter(hu, sigma))
    low, high = np.log(manner.bone_gain)
    if high > low:
        gain = np.exp(rng.uniform(low, high) + 0.12 * _smooth(hu.shape, 15.0, grid, rng))
        bone = changed > 100.0
        changed[bone] = 100.0 + (changed[bone] - 100.0) * np.clip(gain[bone], 0.6, 1.6)
    if manner.spurs_hu > 0:
        lumps = np.clip((_smooth(hu.shape, 6.0, grid, rng) - 1.0) * 1.2, 0.0, 1.0)
        near = gaussian_filter((changed > 200.0).astype(np.float32), (0.0, 1.5, 1.5))
        grown = lumps * np.clip(3.0 * near, 0.0, 1.0) * (changed > -20.0)
        changed += np.float32(rng.uniform(0.0, manner.spurs_hu)) * grown
    if rng.random() < manner.cells_share:
        cells = _smooth(hu.shape, 5.0, grid, rng)
        if rng.random() < 0.5:
            opened = np.clip((cells - 1.8) * 3.0, 0.0, 1.0) * (changed > 180.0)
            changed += opened * (-850.0 - changed)
        else:
            filled = (changed < -300.0) & (cells < 0.0) & _enclosed(changed)
            changed[filled] = 40.0 + 25.0 * cells[filled]
    return np.asarray(changed, dtype=np.float32)


def _enclosed(hu: Field) -> NDArray[np.bool_]:
    """Air with bone close by: cells and sinuses, not the air around the head."""
    return np.asarray(gaussian_filter((hu > 200.0).astype(np.float32), (1.0, 4.0, 4.0)) > 0.08)


def _with_places(head: RealHead, source: RealSource, mirrored: bool) -> RealHead:
    """The head with its lines and landmarks where they came to lie."""
    lines = {}
    for artery, line in source.lines.items():
        fine = line.resampled(0.5)
        own = artery.mirrored if mirrored else artery
        lines[own] = CentreLine(own, _moved(head, fine.points_mm), fine.radius_mm * head.scale)
    landmarks = {}
    for name, place in source.landmarks.items():
        x, y, z = _moved(head, np.array([place], dtype=np.float64))[0]
        landmarks[_other_side(name) if mirrored else name] = (float(x), float(y), float(z))
    return replace(head, lines=lines, landmarks=landmarks)


def _moved(head: RealHead, points_mm: Float) -> Float:
    """Where source points (k, 3) come to lie in the patient: the inverse of `to_source`."""
    wanted = points_mm - head.centre_mm
    q = wanted.copy()
    for _ in range(RETURN_STEPS):
        q = wanted - head.warp.at(q)
    return np.asarray(q * head.scale @ head.rotation.T)


def _other_side(name: str) -> str:
    for mine, other in (("_L", "_R"), ("_R", "_L")):
        if name.endswith(mine):
            return name.removesuffix(mine) + other
    return name
