"""What one person's parts are made with: places moved by the wobble, sizes, and kinds of bone."""

import numpy as np
from numpy.typing import NDArray

from iac_cli.simulate.anatomy.build import Build, Wobble
from iac_cli.simulate.anatomy.parts.part import Paint, Point
from iac_cli.simulate.anatomy.shapes import Array, Coordinates, smooth_step
from iac_cli.simulate.anatomy.texture import Texture
from iac_cli.simulate.anatomy.variety import ORDINARY, Variety

Float = NDArray[np.float64]


class PartMaker:
    """Makes one person's parts: knows the build, the wobble and the textures."""

    def __init__(
        self,
        build: Build,
        wobble: Wobble,
        rng: np.random.Generator,
        variety: Variety = ORDINARY,
    ) -> None:
        self.build = build
        self.variety = variety
        self.wobble = wobble
        self.rng = rng
        self.grain = Texture(rng)
        self.cells = Texture(rng)

    def at(self, *points: Point, side: float = 1.0) -> Float:
        """Places on one side (1 left, -1 right), moved by the wobble, (k, 3)."""
        return self.wobble.moved(np.array(points, dtype=np.float64) * np.array([side, 1.0, 1.0]))

    def one(self, point: Point, side: float = 1.0) -> Float:
        """One place, (3,)."""
        return np.asarray(self.at(point, side=side)[0])

    def vary(self, value: float, share: float = 0.12) -> float:
        """A size that differs between people and sides by about `share`."""
        return float(value * np.clip(self.rng.normal(1.0, share), 0.6, 1.5))

    def compact(self, p: Coordinates, d: Array) -> Array:
        """Bone that is dense at its surface and spongy within."""
        core = smooth_step(-d - 1.3, 1.2)
        sponge = 0.75 * self.build.diploe_hu * (1.0 + 0.35 * self.grain.at(p, 5.0))
        wave = 0.08 * self.grain.at(p, 9.0, shift=4.0) + 0.1 * self.grain.at(p, 3.0, shift=8.0)
        table = self.build.cortical_hu * 0.8 * (1.0 + wave)
        return np.asarray(table + (sponge - table) * core, dtype=np.float32)

    def lamella(self, p: Coordinates, d: Array) -> Array:
        """A thin plate of finely porous bone, denser in some places than in others."""
        table = self.build.cortical_hu * self.build.base_density * self.variety.plate_density
        wave = 1.0 + 0.25 * self.grain.at(p, 7.0, shift=6.0)
        return np.asarray(table * np.clip(wave, 0.4, 1.6), dtype=np.float32)

    def canal(self, side: float) -> Paint:
        """The denser wall of the carotid canal of one side."""
        times = 1.25 * self.variety.of(side).canal_density

        def paint(p: Coordinates, d: Array) -> Array:
            return np.asarray(times * self.lamella(p, d), dtype=np.float32)

        return paint

    def marrow(self, p: Coordinates, d: Array) -> Array:
        """Bone with a thin cortex and a fatty core."""
        core = smooth_step(-d - 0.55 * self.build.base_mm, 0.6)
        mean = 0.42 * self.build.diploe_hu * self.variety.marrow_density
        sponge = mean * (1.0 + 0.45 * self.grain.at(p, 4.0, shift=2.0))
        table = self.lamella(p, d)
        return np.asarray(table + (sponge - table) * core, dtype=np.float32)

    def honeycomb(self, cell_mm: float, fill: float) -> Paint:
        """Air cells with thin bony walls: the share of a place that is air."""

        def share(p: Coordinates, d: Array) -> Array:
            wall = np.minimum(
                np.abs(self.cells.at(p, cell_mm)), np.abs(self.cells.at(p, cell_mm, shift=7.0))
            )
            air = np.clip((wall - 0.16) * 6.0, 0.0, 1.0)
            rest = self.cells.at(p, cell_mm * 3.0, shift=13.0)
            open_cells = smooth_step(rest - np.float32(1.4 - 3.2 * fill), 0.8)
            return np.asarray(air * open_cells, dtype=np.float32)

        return share
