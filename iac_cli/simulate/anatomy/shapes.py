"""Solid shapes as signed distances, in mm: negative inside, positive outside.

A shape answers for three coordinate arrays (x left, y posterior, z superior) of one shape.
Distances are exact for tubes and blocks and first-order for ellipsoids, which is enough to paint
an edge that is smooth over one voxel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Coordinates = tuple[Array, Array, Array]
Distance = Callable[[Coordinates], Array]


def smooth_min(a: Array, b: Array, blend_mm: float) -> Array:
    """Union of two distances whose seam is rounded over `blend_mm`."""
    h = np.clip(0.5 + 0.5 * (b - a) / np.float32(blend_mm), 0.0, 1.0)
    return np.asarray(b + (a - b) * h - np.float32(blend_mm) * h * (1.0 - h), dtype=np.float32)


def smooth_max(a: Array, b: Array, blend_mm: float) -> Array:
    """Intersection of two distances whose seam is rounded over `blend_mm`."""
    return -smooth_min(-a, -b, blend_mm)


def smooth_step(values: Array, width: float) -> Array:
    """A step from 0 to 1 around zero, about `width` wide."""
    return np.asarray(0.5 + 0.5 * np.tanh(values * np.float32(2.0 / width)), dtype=np.float32)


def ellipsoid(p: Coordinates, centre: ArrayLike, radii: ArrayLike, power: float = 2.0) -> Array:
    """Signed distance (first order) of a super-ellipsoid; power 2 is an ordinary one."""
    c, r = np.asarray(centre, np.float32), np.asarray(radii, np.float32)
    q = [np.abs((p[i] - c[i]) / r[i]) for i in range(3)]
    if power == 2.0:
        total = q[0] * q[0] + q[1] * q[1] + q[2] * q[2]
        k = np.sqrt(total) + np.float32(1e-6)
        slope = np.sqrt(sum((q[i] / r[i]) ** 2 for i in range(3))) + np.float32(1e-6)
        return np.asarray(k * (k - 1.0) / slope, dtype=np.float32)
    total = sum(np.power(part, np.float32(power)) for part in q) + np.float32(1e-9)
    k = np.power(total, np.float32(1.0 / power))
    slope = np.sqrt(sum((np.power(q[i], np.float32(power - 1)) / r[i]) ** 2 for i in range(3)))
    slope = slope * np.power(k, np.float32(1.0 - power)) + np.float32(1e-6)
    return np.asarray((k - 1.0) / slope, dtype=np.float32)


class Shape(Protocol):
    """A solid that knows its distance and the box outside of which it is surely empty."""

    def distance(self, p: Coordinates) -> Array:
        """Signed distance, mm."""

    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner, mm."""


@dataclass(frozen=True, slots=True, eq=False)
class Ellipsoid:
    """A super-ellipsoid; `centre` and `radii` in mm."""

    centre: ArrayLike
    radii: ArrayLike
    power: float = 2.0

    def distance(self, p: Coordinates) -> Array:
        """Signed distance, mm."""
        return ellipsoid(p, self.centre, self.radii, self.power)

    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner, mm."""
        c, r = np.asarray(self.centre, float), np.asarray(self.radii, float)
        return c - r, c + r


@dataclass(frozen=True, slots=True, eq=False)
class Tube:
    """A chain of rounded cones through `points` (k, 3) mm with `radii` (k,) mm."""

    points: ArrayLike
    radii: ArrayLike
    flat: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Squeeze along each axis: 0.5 halves the tube's extent along it."""

    def distance(self, p: Coordinates) -> Array:
        """Signed distance, mm."""
        points, radii = np.asarray(self.points, np.float32), np.asarray(self.radii, np.float32)
        radii = np.broadcast_to(radii, (len(points),))
        flat = np.asarray(self.flat, np.float32)
        best: Array | None = None
        for a, b, ra, rb in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
            d = _cone(p, (a, b), (ra, rb), flat)
            best = d if best is None else np.minimum(best, d)
        if best is None:
            raise ValueError("a tube needs two points")
        return best

    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner, mm."""
        points = np.asarray(self.points, float)
        reach = float(np.max(np.asarray(self.radii, float))) * np.asarray(self.flat, float)
        return points.min(axis=0) - reach, points.max(axis=0) + reach


def _cone(
    p: Coordinates, ends: tuple[Array, Array], radii: tuple[float, float], flat: Array
) -> Array:
    """Distance to one rounded cone between two points."""
    a, b = ends
    axis = (b - a) / flat
    length2 = max(float(axis @ axis), 1e-6)
    q = [(p[i] - a[i]) / flat[i] for i in range(3)]
    t = np.clip((q[0] * axis[0] + q[1] * axis[1] + q[2] * axis[2]) / np.float32(length2), 0, 1)
    gap = sum((q[i] - t * axis[i]) ** 2 for i in range(3))
    radius = np.float32(radii[0]) + t * np.float32(radii[1] - radii[0])
    return np.asarray((np.sqrt(gap) - radius) * np.float32(flat.min()), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A box with rounded edges, turned about the left-right axis by `pitch_deg`."""

    centre: ArrayLike
    half: ArrayLike
    rounding_mm: float = 1.0
    pitch_deg: float = 0.0

    def distance(self, p: Coordinates) -> Array:
        """Signed distance, mm."""
        c, h = np.asarray(self.centre, np.float32), np.asarray(self.half, np.float32)
        cos, sin = (
            np.float32(np.cos(np.radians(self.pitch_deg))),
            np.float32(np.sin(np.radians(self.pitch_deg))),
        )
        x, y, z = (p[i] - c[i] for i in range(3))
        local = (x, cos * y + sin * z, -sin * y + cos * z)
        q = [np.abs(local[i]) - (h[i] - np.float32(self.rounding_mm)) for i in range(3)]
        outside = np.sqrt(sum(np.maximum(part, 0.0) ** 2 for part in q))
        inside = np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0.0)
        return np.asarray(outside + inside - np.float32(self.rounding_mm), dtype=np.float32)

    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner, mm."""
        c, h = np.asarray(self.centre, float), np.asarray(self.half, float)
        if self.pitch_deg:
            h = np.array([h[0], np.hypot(h[1], h[2]), np.hypot(h[1], h[2])])
        return c - h, c + h


@dataclass(frozen=True, slots=True, eq=False)
class Ring:
    """A rounded ring around the axis of z; `radii` are its half widths along x and y, mm."""

    centre: ArrayLike
    radii: tuple[float, float]
    thick_mm: float

    def distance(self, p: Coordinates) -> Array:
        """Signed distance (first order), mm."""
        c = np.asarray(self.centre, np.float32)
        x, y, z = (p[i] - c[i] for i in range(3))
        around = np.hypot(x / np.float32(self.radii[0]), y / np.float32(self.radii[1])) - 1.0
        flat = around * np.float32(np.mean(self.radii))
        return np.asarray(np.hypot(flat, z) - np.float32(self.thick_mm), dtype=np.float32)

    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner, mm."""
        c = np.asarray(self.centre, float)
        wide = 1.3 * self.thick_mm
        h = np.array([self.radii[0] + wide, self.radii[1] + wide, self.thick_mm])
        return c - h, c + h


@dataclass(frozen=True, slots=True, eq=False)
class Shell:
    """The layer between a shape and the same shape grown by `thickness_mm`."""

    core: Shape
    thickness_mm: float

    def distance(self, p: Coordinates) -> Array:
        """Signed distance, mm."""
        d = self.core.distance(p)
        return np.asarray(np.maximum(d - np.float32(self.thickness_mm), -d), dtype=np.float32)

    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner, mm."""
        low, high = self.core.box()
        return low - self.thickness_mm, high + self.thickness_mm
