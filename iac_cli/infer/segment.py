"""Probability of calcium at the source voxels along the arteries of one scan."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Mask, Volume
from iac_cli.infer.blend import Blend
from iac_cli.infer.calibrate import Calibration, calibrated
from iac_cli.infer.card import SegmenterCard
from iac_cli.infer.groups import groups_of, mean_in_groups
from iac_cli.infer.operating import OperatingPoint
from iac_cli.infer.prior import as_prior, distances, points_of
from iac_cli.infer.runtime import Engine
from iac_cli.infer.sample import Lattice, Sides, as_channels, sample_windows
from iac_cli.infer.windows import plan_windows, voxels_near
from iac_cli.settings import WindowSettings

IndexArray = NDArray[np.intp]


class HasLines(Protocol):
    """Anything with centre lines; `locate.Arteries` is one."""

    @property
    def lines(self) -> Mapping[Artery, CentreLine]:
        """Centre lines by artery."""

    @property
    def counted_lines(self) -> Sequence[CentreLine]:
        """The parts along which calcification counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Segmenter:
    """A segmentation model, ready to run."""

    card: SegmenterCard
    engine: Engine


@dataclass(frozen=True, slots=True, eq=False)
class NativeProbability:
    """Calibrated probability at the source voxels that were looked at, kept sparse.

    `voxels` (k, 3) are (slice, row, column) in scan order, `p` (k,) float32 in [0, 1]. A voxel
    below the lowest scored threshold can never count and is not among them.
    """

    grid: Grid
    voxels: IndexArray
    p: NDArray[np.float32]
    n_windows: int
    """Windows that were run, in both looks."""

    @property
    def probability(self) -> NDArray[np.float32]:
        """(slice, row, column) float32; 0 where not looked."""
        full = np.zeros(self.grid.shape, dtype=np.float32)
        full[tuple(self.voxels.T)] = self.p
        return full

    @property
    def looked(self) -> NDArray[np.bool_]:
        """(slice, row, column) True where the network was asked."""
        full = np.zeros(self.grid.shape, dtype=bool)
        full[tuple(self.voxels.T)] = True
        return full

    def thickness_mm(self, tagged_mm: float | None) -> float:
        """Of the slices that were looked at: their usual extent, or what is tagged if that is more.

        Slices may overlap, and those at the skull base are often thinner than those above. In
        hundredths of a mm: an oblique affine in single precision knows no more.
        """
        extents_mm = self.grid.extents_mm
        seen = extents_mm[self.voxels[:, 0]] if len(self.voxels) else extents_mm
        return round(max(tagged_mm or 0.0, float(np.median(seen))), 2)

    def drawn(self, point: OperatingPoint) -> Mask:
        """The voxels with a probability at or above a threshold, in groups that are likely.

        A group of such voxels, 26-connected, is drawn where the mean of its probabilities is at
        or above `lesion_threshold`: many voxels that are all just likely enough are rather bone.
        """
        likely = self.p >= point.threshold
        voxels, p = self.voxels[likely], self.p[likely]
        if point.lesion_threshold > point.threshold:
            voxels = voxels[mean_in_groups(groups_of(voxels), p) >= point.lesion_threshold]
        full = np.zeros(self.grid.shape, dtype=bool)
        full[tuple(voxels.T)] = True
        return Mask(full, self.grid)


def segment_calcium(
    volume: Volume,
    arteries: HasLines,
    model: Segmenter,
    settings: WindowSettings | None = None,
    *,
    on_window: Callable[[int, int], None] | None = None,
) -> NativeProbability:
    """Look for calcium within the model's reach of where it counts on the centre lines.

    Windows cover the voxels that can count at all, those of at least the lowest scored threshold;
    where there is none, as along most of the arteries in the cisterns, no window is run. What the
    first look does not rule out is looked at again, mirrored and nearer to the middle of a window,
    and both logits are averaged: a network's answer depends on where its window lies, and the mean
    of two depends on it less.
    `on_window` is told (windows done, windows planned so far).

    Raises:
        IacError: output_not_finite, and the runtime's words.

    """
    settings = settings or WindowSettings()
    card = model.card
    lattice = Lattice.over(volume.grid, card.grid_mm)
    near = voxels_near(volume.grid, arteries.counted_lines, card.reach_mm)
    candidates = near[volume.hu[tuple(near.T)] >= settings.candidate_hu]
    places = lattice.of_voxels(candidates)
    cover = lattice.of_voxels(near) if settings.cover_all else places
    starts = plan_windows(cover, card.window, settings.margin_voxels)
    if not len(candidates):
        return NativeProbability(volume.grid, candidates, np.zeros(0, np.float32), 0)
    view = _View(volume, lattice, model, on_window)
    if card.prior_reach_mm is not None:
        view.points_mm = points_of(arteries.lines.values())
    looks = [view.look(starts, settings.margin_voxels)]
    p = _read_back(looks, places, card.calibration)
    again = p >= settings.second_look_from
    if again.any():
        margin = settings.second_margin_voxels
        centred = plan_windows(places[again], card.window, margin)
        looks.append(view.look(centred, margin, mirrored=True))
        p[again] = _read_back(looks, places[again], card.calibration)
    return NativeProbability(volume.grid, candidates, p, view.done)


class _View:
    """One scan seen through the network, window by window."""

    def __init__(
        self,
        volume: Volume,
        lattice: Lattice,
        model: Segmenter,
        on_window: Callable[[int, int], None] | None,
    ) -> None:
        self._volume, self._lattice, self._model = volume, lattice, model
        self._on_window = on_window
        self.done = 0
        self.points_mm = np.empty((0, 3))
        """Of the centre lines, for a network that takes the prior."""

    def look(self, starts: IndexArray, margin: Sides, *, mirrored: bool = False) -> Blend:
        """Run the network on windows at `starts` (n, 3) and blend its logits."""
        blend = Blend(starts, self._model.card.window, margin)
        total = self.done + len(starts)
        for start, logits in self._logits(starts, mirrored):
            blend.add(start, logits)
            self.done += 1
            if self._on_window:
                self._on_window(self.done, total)
        return blend

    def _logits(
        self, starts: IndexArray, mirrored: bool
    ) -> Iterator[tuple[IndexArray, NDArray[np.float32]]]:
        """Each window's first voxel and its logits (z, y, x), in batches that suit the device."""
        engine = self._model.engine
        along = slice(None, None, -1 if mirrored else 1)  # the network sees the row reversed
        for first in range(0, len(starts), engine.batch):
            some = starts[first : first + engine.batch]
            (logits,) = engine.run(np.ascontiguousarray(self._inputs(some)[..., along]))
            check_finite(logits)
            yield from zip(some, logits[:, 0, ..., along], strict=True)

    def _inputs(self, starts: IndexArray) -> NDArray[np.float32]:
        """The network's input for windows at `starts`: (n, channels, z, y, x)."""
        card = self._model.card
        hu = sample_windows(self._volume, self._lattice, starts, card.window)
        channels = as_channels(hu, card.hu_windows)
        reach_mm = card.prior_reach_mm
        if reach_mm is None:
            return channels
        far = distances(self._lattice, starts, card.window, self.points_mm, reach_mm)
        return np.concatenate([channels, as_prior(far, reach_mm)], axis=1)


def check_finite(output: NDArray[np.float32]) -> None:
    """Refuse an answer that holds NaN or infinity.

    Raises:
        IacError: output_not_finite.

    """
    if not np.isfinite(output).all():
        raise IacError(
            Word.OUTPUT_NOT_FINITE,
            "the network's answer holds values that are not finite",
            way_out="run again with --device cpu, and report it with the result of iac-seg doctor",
        )


def _read_back(
    looks: Sequence[Blend], places: NDArray[np.float64], calibration: Calibration
) -> NDArray[np.float32]:
    """Calibrated probability (k,) at places (k, 3) between lattice voxels, linear in each axis.

    On a lattice voxel the looks' logits are averaged.
    """
    lower = np.floor(places)
    fraction = places - lower
    p = np.zeros(len(places), dtype=np.float64)
    for corner in product((0, 1), repeat=3):
        share = np.where(corner, fraction, 1.0 - fraction).prod(axis=1)
        used = share > 0.0
        voxels = (lower[used] + corner).astype(np.intp)
        logits = np.stack([look.at(voxels)[0] for look in looks]).mean(axis=0)
        p[used] += share[used] * calibrated(logits, calibration)
    return p.astype(np.float32)
