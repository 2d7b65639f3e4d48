"""The head's nested layers: skin, fat and muscle, skull with diploe, and the brain in its cavity.

Everything hangs on one signed distance, that of the cranial cavity: the skull is the layer around
it, the scalp the layer around the skull, the brain what lies deeper inside. Frame and units as in
`arteries.COURSES`: mm, x left, y posterior, z superior, origin on the floor of the sella.
"""

import numpy as np
from numpy.typing import NDArray

from iac_cli.simulate.anatomy.build import Build
from iac_cli.simulate.anatomy.shapes import (
    Array,
    Coordinates,
    Tube,
    ellipsoid,
    smooth_max,
    smooth_min,
    smooth_step,
)
from iac_cli.simulate.anatomy.texture import Texture

AIR_HU = -1000.0
SKIN_HU, FAT_HU, MUSCLE_HU = 50.0, -95.0, 58.0
CSF_HU, GREY_HU, WHITE_HU, DURA_HU, BLOOD_HU = 7.0, 39.0, 29.0, 58.0, 56.0

FARTHEST_SKIN_MM = 30.0
"""Above the face no skin lies further from the cavity."""

FACE_TOP_MM = 20.0

VAULT_CENTRE = (0.0, 25.0, 20.0)
ORBIT_CENTRE = (31.0, -49.0, 7.0)
ORBIT_APEX = (13.5, -15.0, 6.5)
ORBIT_RADII = (18.5, 3.0)

NOSE = Tube(((0, -70, 2), (0, -84, -16), (0, -82, -26)), (6.0, 9.5, 9.0))


def _bump(
    p: Coordinates, centre: tuple[float, float, float], reach: tuple[float, float, float]
) -> Array:
    """A Gaussian of height 1 around a place; `reach` in mm along each axis."""
    total = sum(((p[i] - np.float32(centre[i])) / np.float32(reach[i])) ** 2 for i in range(3))
    return np.asarray(np.exp(-total), dtype=np.float32)


def _fold(p: Coordinates) -> Coordinates:
    """The points with the right side laid upon the left."""
    return np.abs(p[0]), p[1], p[2]


def vault_radii(build: Build) -> tuple[float, float, float]:
    """Half sizes of the inner vault, mm."""
    return 62.5 * build.width, 78.0, 72.0


def orbits(p: Coordinates) -> Array:
    """Distance to the orbits' fat, mm."""
    return Tube((ORBIT_CENTRE, ORBIT_APEX), ORBIT_RADII).distance(_fold(p))


class Layers:
    """One person's layers; `hu` paints them at points of the head's frame."""

    def __init__(self, build: Build, rng: np.random.Generator) -> None:
        self.build = build
        self._thickness = Texture(rng)
        self._folds = Texture(rng)
        self._grain = Texture(rng)

    def cavity(self, p: Coordinates) -> Array:
        """Signed distance to the inner surface of the skull, mm; negative inside."""
        x, y, z = p
        vault = ellipsoid(p, VAULT_CENTRE, vault_radii(self.build), 2.35)
        floor = -2.0 + 13.5 * smooth_step(-6.0 - y, 5.0)
        upper = smooth_max(vault, np.asarray(floor - z, np.float32), 5.0)
        folded = _fold(p)
        middle = ellipsoid(folded, (38.0 * self.build.width, 4, 6), (23.5, 33, 22))
        below = ellipsoid(p, (0, 55, -10), (53, 44.5, 35))
        d = smooth_min(smooth_min(upper, middle, 7.0), below, 7.0)
        return smooth_max(d, -(orbits(p) - np.float32(1.6)), 3.0)

    def skull_thickness(self, p: Coordinates) -> Array:
        """Thickness of the skull at the nearest place of the cavity, mm."""
        x, y, z = p
        squama = _bump(_fold(p), (62, 2, 8), (24, 36, 28))
        occiput = _bump(p, (0, 104, -4), (16, 25, 20))
        floor = smooth_step(-24.0 - z, 12.0)
        base = smooth_step(6.0 - z, 10.0) * smooth_step(16.0 - y, 12.0)
        wave = self._thickness.at(p, 45.0)
        t = self.build.skull_mm * (1.0 + 0.10 * wave) * (1.0 - 0.5 * squama) + 6.0 * occiput
        t = t + (np.float32(3.2) - t) * floor * np.float32(0.8)
        plate = np.float32(0.4 + 0.75 * self.build.base_mm)
        roof = smooth_step(28.0 - z, 5.0) * smooth_step(-3.0 - y, 6.0) * smooth_step(y + 49.0, 5.0)
        roof = roof * smooth_step(np.float32(44.0) - np.abs(x), 6.0)
        base = np.maximum(base, roof)
        return np.asarray(t + (plate - t) * base * 0.97, dtype=np.float32)

    def skin(self, p: Coordinates, scalp: Array) -> Array:
        """Signed distance to the outer surface of the head; `scalp` is the one of the vault."""
        face = ellipsoid(p, (0, -27, -32), (66, 54, 62), 2.4)
        neck = ellipsoid(p, (0, 44, -66), (71, 66, 86), 2.3)
        cheek = smooth_min(face, neck, 18.0)
        brow = ellipsoid(p, (0, -53, 25), (38, 20, 21))
        front = smooth_min(NOSE.distance(p), brow, 6.0)
        return smooth_min(smooth_min(scalp, cheek, 9.0), front, 5.0)

    def hu(self, p: Coordinates, blur_mm: float) -> Array:
        """HU of all layers at points; edges are smooth over `blur_mm`."""
        d = self.cavity(p)
        hu = np.full(d.shape, AIR_HU, dtype=np.float32)
        outside = (d > -blur_mm) & ((d < FARTHEST_SKIN_MM) | (p[2] < FACE_TOP_MM))
        if outside.any():
            hu[outside] = self._shell_hu(_at(p, outside), d[outside], blur_mm)
        inside = d < blur_mm
        if inside.any():
            share = np.clip(0.5 - d[inside] / np.float32(blur_mm), 0, 1)
            hu[inside] += share * (self.brain_hu(_at(p, inside), -d[inside]) - hu[inside])
        return hu

    def _shell_hu(self, p: Coordinates, d: Array, blur_mm: float) -> Array:
        """HU of scalp and skull outside of the cavity."""
        t = self.skull_thickness(p)
        temple = _bump(_fold(p), (72, -2, 4), (26, 34, 30))
        scalp_mm = self.build.scalp_mm + 10.0 * temple
        depth = -self.skin(p, d - t - scalp_mm)
        hu = np.full(d.shape, AIR_HU, dtype=np.float32)
        hu = _laid(hu, depth, SKIN_HU, blur_mm)
        hu = _laid(hu, depth - np.float32(1.8), FAT_HU, blur_mm)
        cheek = _bump(p, (0, -48, -38), (60, 42, 34)) + _bump(p, (0, 100, -60), (60, 30, 34))
        deep = depth - (4.8 - 1.5 * temple + 5.0 * cheek)
        within = t - d
        muscle = (deep > -blur_mm) & (within < blur_mm)
        if muscle.any():
            hu[muscle] = _laid(hu[muscle], deep[muscle], self._muscle_hu(_at(p, muscle)), blur_mm)
        bone = within > -blur_mm
        if bone.any():
            edge = np.minimum(d, within)[bone]
            value = self._bone_hu(_at(p, bone), edge, t[bone])
            hu[bone] = _laid(hu[bone], within[bone], value, blur_mm)
        return hu

    def _muscle_hu(self, p: Coordinates) -> Array:
        """Muscle with sheets of fat between its bellies."""
        sheet = np.abs(self._grain.at(p, 18.0))
        fat = np.clip(1.1 - sheet * 9.0, 0.0, 0.75)
        lobule = np.clip(self._grain.at(p, 20.0, shift=33.0) * 2.0 - 2.0, 0.0, 0.9)
        return np.asarray(
            MUSCLE_HU + (FAT_HU - MUSCLE_HU) * np.maximum(fat, lobule), dtype=np.float32
        )

    def _bone_hu(self, p: Coordinates, edge: Array, t: Array) -> Array:
        """Compact tables around a spongy core; `edge` is the depth below the nearer surface."""
        core = smooth_step(edge - 1.7, 1.0) * np.clip((t - 3.4) * 0.6, 0.0, 1.0)
        sponge = self.build.diploe_hu * (1.0 + 0.28 * self._grain.at(p, 5.0, shift=3.0))
        porous = (1.0 - self.build.base_density) * np.clip((3.8 - t) / 1.4, 0.0, 1.0)
        table = self.build.cortical_hu * (1.0 + 0.04 * self._grain.at(p, 22.0, shift=9.0))
        table = table * (1.0 - porous)
        return np.asarray(table + (sponge - table) * core, dtype=np.float32)

    def brain_hu(self, p: Coordinates, depth: Array) -> Array:
        """HU inside the cavity; `depth` is the distance below the inner table, mm."""
        atrophy = self.build.atrophy
        cortex = depth - (1.4 + 1.4 * atrophy)
        to_csf = np.minimum(cortex, self._sulci_mm(p, cortex))
        to_csf = np.minimum(to_csf, self._midline_mm(p))
        to_csf = np.minimum(to_csf, self._cisterns_mm(p))
        grey = np.clip(to_csf / 1.0 + 0.5, 0.0, 1.0)
        rim = 3.2 + 3.0 * self._cerebellum(p)
        white = smooth_step(to_csf - rim, 2.0) * (1.0 - self._nuclei(p))
        hu = CSF_HU + (GREY_HU - CSF_HU) * grey + (WHITE_HU - GREY_HU) * white
        return np.asarray(hu + 0.8 * self._grain.at(p, 18.0, shift=5.0), dtype=np.float32)

    def _sulci_mm(self, p: Coordinates, cortex: Array) -> Array:
        """Distance to the nearest sulcus; sulci run in from the surface and fade inside."""
        x, y, z = p[0], p[1] - np.float32(24.0), p[2] - np.float32(15.0)
        r = np.sqrt(x * x + y * y + z * z) + np.float32(1e-3)
        squeeze = (np.float32(52.0) + 0.30 * (r - np.float32(52.0))) / r
        q = (x * squeeze, y * squeeze, z * squeeze)
        ridge = np.abs(self._folds.at(q, 13.5)) * np.float32(3.4)
        width = (0.15 + 1.3 * self.build.atrophy) * np.clip(1.0 - cortex / 20.0, 0.0, 1.0)
        fade = np.clip(cortex - 15.0, 0.0, None) * np.float32(0.8)
        return np.asarray(ridge - width + fade + 4.0 * self._cerebellum(p), dtype=np.float32)

    def _cerebellum(self, p: Coordinates) -> Array:
        """1 below the tentorium, 0 above."""
        return smooth_step(tentorium_height(p) - p[2], 4.0) * smooth_step(p[1] - 18.0, 6.0)

    def _midline_mm(self, p: Coordinates) -> Array:
        """Distance to the fissure between the hemispheres, mm."""
        gap = np.abs(p[0]) - np.float32(0.6 + 0.9 * self.build.atrophy)
        callosum = ellipsoid(p, (0, 16, 22), (60, 44, 25))
        frontal = np.maximum(gap, -callosum)
        return np.asarray(np.maximum(frontal, tentorium_height(p) - p[2]), dtype=np.float32)

    def _cisterns_mm(self, p: Coordinates) -> Array:
        """Distance to ventricles and cisterns, mm; negative within."""
        a = 1.0 + 0.8 * self.build.atrophy
        q = _fold(p)
        parts = [
            Tube(
                ((5.5, -20, 33), (6.5, -8, 41), (9, 14, 46), (14, 36, 42), (21, 46, 34)),
                np.array([2.2, 3.0, 3.2, 4.2, 4.6]) * a,
            ).distance(q),
            Tube(((21, 46, 34), (29, 34, 16), (31, 18, 5)), np.array([4.0, 1.6, 1.6]) * a).distance(
                q
            ),
            Tube(((21, 46, 34), (20, 66, 33)), np.array([4.2, 1.5]) * a).distance(q),
            ellipsoid(p, (0, 14, 24), (1.6 * a, 11, 9)),
            ellipsoid(p, (0, 37, -8), (6.5 * a, 3.6 * a, 8)),
            ellipsoid(p, (0, 1, 10), (12, 9 + a, 4.5)),
            Tube(
                ((12, 0, 14), (24, -4, 14.5), (38, -5, 17), (46, 8, 26), (47, 28, 34)),
                np.array([2.6, 2.2, 1.8, 1.6, 1.0]) * a,
            ).distance(q),
            Tube(
                ((9, 14, 9), (17, 24, 10), (17, 36, 13), (4, 44, 17)),
                np.array([2.2, 1.8, 1.8, 2.4]) * a,
            ).distance(q),
            _before(p, ellipsoid(p, (0, 27, -9), (16, 11.5, 15)), (15.0, 25.0, 9.0)),
            _before(p, ellipsoid(p, (0, 33, -40), (8, 6.5, 26)), (12.0, 34.0, -18.0)),
            ellipsoid(p, (0, 66, -36), (10, 9, 5 * a)),
        ]
        best = np.asarray(parts[0], dtype=np.float32)
        for part in parts[1:]:
            best = np.minimum(best, part)
        return best

    def _nuclei(self, p: Coordinates) -> Array:
        """1 within the deep grey matter."""
        q = _fold(p)
        thalamus = ellipsoid(q, (9.5, 21, 25), (6.5, 14, 8))
        lentiform = ellipsoid(q, (21, 3, 24), (6, 16, 9))
        caudate = ellipsoid(q, (12, -8, 36), (4, 9, 6))
        return smooth_step(-np.minimum(np.minimum(thalamus, lentiform), caudate), 1.5)


def tentorium_height(p: Coordinates) -> Array:
    """Height of the tentorium above a place, mm; a tent that falls to the petrous ridges."""
    side, back = p[0] / np.float32(56.0), (p[1] - np.float32(50.0)) / np.float32(44.0)
    return np.asarray(27.0 - 26.0 * side * side - 27.0 * back * back, dtype=np.float32)


def _before(p: Coordinates, solid: Array, limits: tuple[float, float, float]) -> Array:
    """Distance to the cistern in front of a solid, within a half width, back and top, mm."""
    side, back, top = (np.float32(limit) for limit in limits)
    taper = np.abs(p[0]) + np.clip(p[1] - (back - 12.0), 0.0, None) - side
    walls = np.maximum(np.maximum(taper, p[1] - back), p[2] - top)
    return np.asarray(np.maximum(walls * np.float32(0.6), -solid), dtype=np.float32)


def _laid(hu: Array, depth: Array, value: Array | float, blur_mm: float) -> Array:
    """The HU with a layer painted wherever `depth` is positive."""
    share = np.clip(0.5 + depth / np.float32(blur_mm), 0.0, 1.0)
    return np.asarray(hu + share * (np.asarray(value, np.float32) - hu), dtype=np.float32)


def _at(p: Coordinates, where: NDArray[np.bool_]) -> Coordinates:
    """Some of the points."""
    return p[0][where], p[1][where], p[2][where]
