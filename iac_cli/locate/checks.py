"""Whether a case can be measured: small judges, each of one question, each with its stable word.

A judge returns what it saw and decides nothing; a finding whose word has an exit code in
`errors.EXIT_OF` is a reason not to measure, any other a warning. Thresholds stand in settings.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import EXIT_OF, Finding, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Volume
from iac_cli.infer.windows import voxels_near
from iac_cli.locate.arteries import Arteries
from iac_cli.locate.head import CoarseHead
from iac_cli.locate.hounsfield import judge_ceiling, judge_scale
from iac_cli.locate.noise import judge_noise
from iac_cli.locate.skull import find_skull, judge_skull
from iac_cli.settings import CheckSettings

CISTERNAL = tuple(a for a in Artery if a.value[:2] in ("M1", "A1", "P1", "BA"))
"""Arteries in cerebrospinal fluid, away from bone: their lumen tells contrast from blood."""

FEWEST_LUMENS = 3
"""Located arteries from which contrast is judged."""

METAL_BLOCK = 20_000
"""Bright voxels whose distance to the lines is computed at once."""


def is_reason(finding: Finding) -> bool:
    """True for a finding that makes a case not measurable."""
    return finding.word in EXIT_OF


def judge_head(volume: Volume, head: CoarseHead, settings: CheckSettings) -> tuple[Finding, ...]:
    """What can be said before the arteries are known: is it in HU, and a head?"""
    seen = (judge_scale(volume, settings), judge_skull(find_skull(head, settings), settings))
    return tuple(finding for finding in seen if finding is not None)


def judge_case(
    volume: Volume,
    arteries: Arteries,
    gaps_mm: Sequence[tuple[float, float]],
    settings: CheckSettings,
) -> tuple[Finding, ...]:
    """All that the located arteries' region tells, reasons and warnings together."""
    seen = [
        judge_coverage(arteries),
        judge_ceiling(volume, settings),
        judge_gaps(volume.grid, arteries, gaps_mm, settings),
        judge_increment(volume.grid, arteries, settings),
        judge_noise(volume.hu[_region(volume.grid, arteries, settings)], settings),
        judge_contrast(volume, arteries, settings),
        judge_metal(volume, arteries, settings),
    ]
    return tuple(finding for finding in seen if finding is not None)


def judge_coverage(arteries: Arteries) -> Finding | None:
    """Both siphons must lie inside the scan: without one the total would be too low."""
    missing = [ica.value for ica, inside in arteries.siphons.items() if not inside]
    if not missing:
        return None
    what = f"the siphon of {' and '.join(missing)} is not wholly inside the scan"
    return Finding(Word.HEAD_NOT_COVERED, what)


def region_mm(grid: Grid, arteries: Arteries, margin_mm: float) -> tuple[float, float] | None:
    """Lowest and highest offset along the normal that the arteries reach; None without lines."""
    if not arteries.lines:
        return None
    heights = np.concatenate([line.points_mm @ grid.normal for line in arteries.lines.values()])
    return float(heights.min() - margin_mm), float(heights.max() + margin_mm)


def _region(grid: Grid, arteries: Arteries, settings: CheckSettings) -> slice:
    """The slices of the arteries' region; all of them without lines."""
    region = region_mm(grid, arteries, settings.region_margin_mm)
    if region is None:
        return slice(None)
    first, last = np.searchsorted(grid.offsets_mm, region)
    return slice(int(first), int(last))


def judge_gaps(
    grid: Grid,
    arteries: Arteries,
    gaps_mm: Sequence[tuple[float, float]],
    settings: CheckSettings,
) -> Finding | None:
    """Missing slices among the arteries: what lies there is unknown."""
    region = region_mm(grid, arteries, settings.region_margin_mm)
    if region is None:
        return None
    within = [(a, b) for a, b in gaps_mm if a < region[1] and b > region[0]]
    if not within:
        return None
    widest = max(b - a for a, b in within)
    what = f"{len(within)} gap(s) within the arteries' region, the widest {widest:.1f} mm"
    return Finding(Word.MISSING_SLICES, what)


def judge_increment(grid: Grid, arteries: Arteries, settings: CheckSettings) -> Finding | None:
    """The distance between neighbouring slices in the arteries' region."""
    region = region_mm(grid, arteries, 0.0)
    if region is None or grid.shape[0] < 2:
        return None
    lower, upper = grid.offsets_mm[:-1], grid.offsets_mm[1:]
    steps = (upper - lower)[(lower < region[1]) & (upper > region[0])]
    if not len(steps) or steps.max() <= settings.too_thick_mm:
        return None
    what = (
        f"slices are {steps.max():.1f} mm apart at the arteries, "
        f"at most {settings.too_thick_mm:g} mm can be measured"
    )
    return Finding(Word.TOO_THICK, what)


def judge_contrast(volume: Volume, arteries: Arteries, settings: CheckSettings) -> Finding | None:
    """The lumen's HU along the arteries in the cisterns, their median over the arteries.

    Of each artery the 90th percentile within reach of its line: the lumen fills more than a tenth
    of that tube, also where the line is a few millimetres off; bone beside one artery or
    calcification in one cannot move the median of all.
    """
    lumens = []
    for artery in CISTERNAL:
        if artery in arteries.lines:
            hu = _hu_near(volume, arteries.lines[artery], settings.lumen_reach_mm)
            if len(hu):
                lumens.append(float(np.percentile(hu, settings.lumen_percentile)))
    if len(lumens) < FEWEST_LUMENS or np.median(lumens) <= settings.lumen_hu:
        return None
    what = f"the arteries hold {np.median(lumens):.0f} HU, blood without contrast at most 75"
    return Finding(Word.CONTRAST_SUSPECTED, what)


def _hu_near(volume: Volume, line: CentreLine, reach_mm: float) -> NDArray[np.float32]:
    near = voxels_near(volume.grid, [line], reach_mm)
    return np.asarray(volume.hu[tuple(near.T)])


def judge_metal(volume: Volume, arteries: Arteries, settings: CheckSettings) -> Finding | None:
    """Metal near the arteries spoils the reading; elsewhere it is mentioned."""
    if not arteries.lines or volume.hu.max() < settings.metal_hu:
        return None
    bright = np.argwhere(volume.hu >= settings.metal_hu)
    volumes_mm3 = volume.grid.voxel_mm3[bright[:, 0]]
    near = _distances_mm(volume.grid.to_world(bright), arteries) <= settings.metal_near_mm
    near_mm3, all_mm3 = float(volumes_mm3[near].sum()), float(volumes_mm3.sum())
    if near_mm3 >= settings.metal_mm3:
        what = (
            f"{near_mm3:.0f} mm3 of {settings.metal_hu:.0f} HU and more within "
            f"{settings.metal_near_mm:g} mm of the arteries: metal or a clip"
        )
        return Finding(Word.ARTEFACT_SEVERE, what)
    what = f"{all_mm3:.0f} mm3 of {settings.metal_hu:.0f} HU and more, away from the arteries"
    return Finding(Word.METAL_SUSPECTED, what)


def _distances_mm(points_mm: NDArray[np.float64], arteries: Arteries) -> NDArray[np.float64]:
    """Distance (k,) of points (k, 3) to the nearest centre line."""
    places = np.concatenate([line.resampled(2.0).points_mm for line in arteries.lines.values()])
    blocks = []
    for first in range(0, len(points_mm), METAL_BLOCK):
        some = points_mm[first : first + METAL_BLOCK]
        squares = (some**2).sum(1)[:, None] + (places**2).sum(1)[None] - 2.0 * some @ places.T
        blocks.append(np.sqrt(np.clip(squares.min(axis=1), 0.0, None)))
    return np.concatenate(blocks)
