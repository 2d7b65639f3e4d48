from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage
from scipy.spatial import cKDTree
from stacks import stack
from tiny_models import distance_segmenter, hu_segmenter, random_segmenter

from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid, slice_extents_mm
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Volume
from iac_cli.infer.models import load_segmenter
from iac_cli.infer.operating import OperatingPoint
from iac_cli.infer.segment import NativeProbability, Segmenter, segment_calcium
from iac_cli.settings import RunSettings, WindowSettings

CPU = RunSettings(device="cpu", threads=1)
NEVER = 2.0  # no probability reaches it: one look
MARGINS = WindowSettings(margin_voxels=(1, 4, 4), second_look_from=NEVER)
ALL_WINDOWS = WindowSettings(margin_voxels=(1, 4, 4), second_look_from=NEVER, cover_all=True)


@dataclass(frozen=True)
class Lines:
    lines: dict[Artery, CentreLine]

    @property
    def counted_lines(self) -> tuple[CentreLine, ...]:
        return tuple(self.lines.values())


def one_line(*points) -> Lines:
    course = CentreLine(Artery.BA, np.array(points, float), np.ones(len(points)))
    return Lines({Artery.BA: course})


def speckled(grid: Grid, seed: int = 0) -> Volume:
    """Soft tissue, with bright spots on one side: some windows hold no candidate."""
    rng = np.random.default_rng(seed)
    hu = rng.normal(40, 8, grid.shape)
    bright = rng.random(grid.shape) < 0.05 * (np.arange(grid.shape[2]) < 60)
    hu[bright] = rng.uniform(110, 900, bright.sum())
    return Volume(hu.astype(np.float32), grid)


@pytest.fixture(scope="module")
def by_hu(tmp_path_factory) -> Segmenter:
    return load_segmenter(hu_segmenter(tmp_path_factory.mktemp("model")), CPU)


@pytest.fixture(scope="module")
def by_neighbours(tmp_path_factory) -> Segmenter:
    return load_segmenter(random_segmenter(tmp_path_factory.mktemp("model")), CPU)


GRIDS = {
    "thick": stack(np.arange(12) * 4.0, sides=(120, 120)),
    "tilted": stack(np.arange(12) * 4.0, tilt_deg=18.5, sides=(120, 120)),
    "uneven": stack(np.cumsum([0, 4, 4, 4, 1.08, 7, 7, 7]), sides=(120, 120)),
    "thin": stack(np.arange(80) * 0.6, sides=(120, 120)),
}


def course_in(grid: Grid) -> Lines:
    """A line from the lowest to the highest slice, off the middle."""
    ends = grid.to_world([[0, 40, 40], [grid.shape[0] // 2, 80, 50], [grid.shape[0] - 1, 70, 80]])
    return one_line(*ends)


@pytest.mark.parametrize("kind", GRIDS)
def test_windows_where_nothing_can_count_are_not_needed(kind: str, by_hu: Segmenter) -> None:
    """The skip is exact: with windows over the whole reach no probability differs."""
    volume = speckled(GRIDS[kind])
    lines = course_in(GRIDS[kind])
    few = segment_calcium(volume, lines, by_hu, MARGINS)
    all_of_them = segment_calcium(volume, lines, by_hu, ALL_WINDOWS)
    assert few.n_windows < all_of_them.n_windows
    assert (few.voxels == all_of_them.voxels).all()
    assert_allclose(few.p, all_of_them.p, atol=1e-6)
    assert len(few.p) > 20


@pytest.mark.parametrize("kind", GRIDS)
def test_other_windows_change_a_near_sighted_answer_by_little(
    kind: str, by_neighbours: Segmenter
) -> None:
    """A network that looks one voxel far differs only through the border of its windows."""
    volume = speckled(GRIDS[kind])
    few = segment_calcium(volume, course_in(GRIDS[kind]), by_neighbours, MARGINS)
    full = segment_calcium(volume, course_in(GRIDS[kind]), by_neighbours, ALL_WINDOWS)
    assert np.abs(few.p - full.p).max() < 0.02


@pytest.mark.parametrize("kind", ["tilted", "uneven"])
def test_a_network_that_takes_the_prior_is_told_how_far_the_lines_are(
    kind: str, tmp_path: Path
) -> None:
    """Read back at the source voxels, after two looks of which one is mirrored."""
    model = load_segmenter(distance_segmenter(tmp_path, 10.0), CPU)
    grid, lines = GRIDS[kind], course_in(GRIDS[kind])
    volume = Volume(np.full(grid.shape, 300.0, np.float32), grid)
    found = segment_calcium(volume, lines, model, WindowSettings(margin_voxels=(1, 4, 4)))
    course = lines.lines[Artery.BA].resampled(0.1).points_mm
    world = grid.to_world(found.voxels)
    wanted, _ = cKDTree(course).query(world)
    read = 5.0 * (1.0 + np.log(found.p / (1.0 - found.p)) / 4.0)
    off_plane_mm = 0.5 if kind == "uneven" else 0.1  # a slice sits on its nearest plane
    assert len(read) > 1000 and np.ptp(wanted) > 5.0
    assert np.abs(read - wanted).max() < off_plane_mm + 0.6  # to points a millimetre apart
    assert np.abs(read - wanted).mean() < 0.2


def test_looked_at_are_the_candidates_within_reach(by_hu: Segmenter) -> None:
    grid = GRIDS["thick"]
    volume, lines = speckled(grid), course_in(grid)
    found = segment_calcium(volume, lines, by_hu, MARGINS)
    course = lines.lines[Artery.BA].resampled(0.05).points_mm
    bright = np.argwhere(volume.hu >= 110)
    distance = np.array([np.linalg.norm(course - p, axis=1).min() for p in grid.to_world(bright)])
    assert {tuple(v) for v in found.voxels} == {tuple(v) for v in bright[distance <= 6.0]}
    assert found.looked.sum() == len(found.voxels)
    assert (found.probability[~found.looked] == 0).all()


@pytest.mark.parametrize("kind", ["thick", "tilted", "uneven"])
def test_probability_is_read_at_the_slices_own_plane(kind: str, by_hu: Segmenter) -> None:
    """In-plane constant slices: the answer at a voxel is the logistic of its own slice's HU."""
    grid = GRIDS[kind]
    levels = 120.0 + 40.0 * (np.arange(grid.shape[0]) % 5)
    hu = np.broadcast_to(levels[:, None, None], grid.shape).astype(np.float32)
    middle = grid.to_world([[1, 60, 60], [grid.shape[0] - 2, 60, 60]])
    found = segment_calcium(Volume(hu, grid), one_line(*middle), by_hu, MARGINS)
    expected = 1 / (1 + np.exp(-(levels[found.voxels[:, 0]] - 200) / 50))
    assert len(found.p) > 1000
    assert_allclose(found.p, expected, atol=2e-4)


def test_thin_slices_are_averaged_over_a_plane(by_hu: Segmenter) -> None:
    """A ramp along the normal survives averaging and reading back between planes."""
    grid = GRIDS["thin"]
    levels = 150.0 + 2.0 * np.arange(grid.shape[0])
    hu = np.broadcast_to(levels[:, None, None], grid.shape).astype(np.float32)
    middle = grid.to_world([[10, 60, 60], [70, 60, 60]])
    found = segment_calcium(Volume(hu, grid), one_line(*middle), by_hu, MARGINS)
    inside = (found.voxels[:, 0] > 4) & (found.voxels[:, 0] < 75)
    expected = 1 / (1 + np.exp(-(levels[found.voxels[:, 0]] - 200) / 50))
    assert_allclose(found.p[inside], expected[inside], atol=2e-3)


def test_window_count_does_not_change_a_local_answer(tmp_path: Path) -> None:
    """A voxelwise network gives the same on small and on large windows: nothing is lost."""
    grid = GRIDS["thick"]
    volume, lines = speckled(grid), course_in(grid)
    small = load_segmenter(hu_segmenter(tmp_path / "small"), CPU)
    large = load_segmenter(hu_segmenter(tmp_path / "large", window=[16, 64, 64]), CPU)
    first = segment_calcium(volume, lines, small, MARGINS)
    second = segment_calcium(volume, lines, large, MARGINS)
    assert second.n_windows < first.n_windows
    assert_allclose(first.p, second.p, atol=1e-6)


def test_threshold_takes_voxels_at_or_above_it(by_hu: Segmenter) -> None:
    grid = GRIDS["thick"]
    found = segment_calcium(speckled(grid), course_in(grid), by_hu, MARGINS)
    p = np.sort(found.p)[len(found.p) // 2]
    assert found.drawn(OperatingPoint(threshold=float(p))).voxels.sum() == (found.p >= p).sum()


def test_a_group_of_voxels_is_drawn_where_its_mean_is_likely(by_hu: Segmenter) -> None:
    """Against ndimage's groups and means."""
    grid = GRIDS["thick"]
    found = segment_calcium(speckled(grid), course_in(grid), by_hu, MARGINS)
    threshold, lesion_threshold = map(float, np.quantile(found.p, [0.5, 0.9]))
    every = found.drawn(OperatingPoint(threshold=threshold)).voxels
    labels, n = ndimage.label(every, structure=np.ones((3, 3, 3)))
    means = ndimage.mean(found.probability, labels, np.arange(1, n + 1))
    wanted = np.isin(labels, 1 + np.flatnonzero(means >= lesion_threshold))
    point = OperatingPoint(threshold=threshold, lesion_threshold=lesion_threshold)
    drawn = found.drawn(point).voxels
    assert n > 3 and 0 < drawn.sum() < every.sum()
    assert (drawn == wanted).all()
    assert not found.drawn(OperatingPoint(threshold=1.1, lesion_threshold=1.2)).voxels.any()


def test_thickness_is_that_of_the_slices_looked_at_or_what_is_tagged_if_more() -> None:
    """Slices of 2 mm below and of 8 mm above; what was looked at lies below."""
    offsets_mm = np.array([0.0, 2.0, 4.0, 6.0, 14.0, 22.0, 30.0, 38.0])
    grid = Grid(
        shape=(8, 4, 4),
        positions_mm=np.column_stack([np.zeros((8, 2)), offsets_mm]),
        row_axis=np.array([1.0, 0.0, 0.0]),
        column_axis=np.array([0.0, 1.0, 0.0]),
        pixel_mm=(1.0, 1.0),
        extents_mm=slice_extents_mm(offsets_mm),
    )
    low = np.array([[0, 1, 1], [1, 1, 1], [2, 1, 1], [4, 1, 1]])
    looked = NativeProbability(grid, low, np.full(4, 0.5, np.float32), 1)
    assert looked.thickness_mm(None) == 2.0
    assert looked.thickness_mm(1.0) == 2.0
    assert looked.thickness_mm(4.0) == 4.0  # slices that overlap
    assert looked.thickness_mm(3.4999998) == 3.5  # an affine in single precision
    nothing = NativeProbability(grid, low[:0], np.zeros(0, np.float32), 0)
    assert nothing.thickness_mm(None) == pytest.approx(6.5)  # 2 2 2 5 8 8 8 8


def test_voxels_are_looked_at_along_what_counts_of_a_line(by_hu: Segmenter) -> None:
    grid = GRIDS["thick"]
    whole = course_in(grid)
    (line,) = whole.lines.values()
    half = line.part_from(line.arc_mm[-1] / 2)

    @dataclass(frozen=True)
    class Half(Lines):
        @property
        def counted_lines(self) -> tuple[CentreLine, ...]:
            return (half,)

    found = segment_calcium(speckled(grid), Half(whole.lines), by_hu, MARGINS)
    alone = segment_calcium(speckled(grid), Lines({Artery.BA: half}), by_hu, MARGINS)
    assert 0 < len(found.p) < len(segment_calcium(speckled(grid), whole, by_hu, MARGINS).p)
    assert (found.voxels == alone.voxels).all()


def test_nothing_to_look_at_runs_no_window(by_hu: Segmenter) -> None:
    grid = GRIDS["thick"]
    tissue = Volume(np.full(grid.shape, 40.0, np.float32), grid)
    assert segment_calcium(tissue, course_in(grid), by_hu, MARGINS).n_windows == 0
    assert segment_calcium(tissue, Lines({}), by_hu, MARGINS).n_windows == 0


def test_answer_that_is_not_finite_is_refused(by_hu: Segmenter) -> None:
    @dataclass
    class Broken:
        batch: int = 1

        def run(self, inputs):
            return (np.full((len(inputs), 1, *inputs.shape[2:]), np.nan, np.float32),)

    grid = GRIDS["thick"]
    with pytest.raises(IacError) as caught:
        segment_calcium(speckled(grid), course_in(grid), Segmenter(by_hu.card, Broken()))
    assert caught.value.word == Word.OUTPUT_NOT_FINITE


def test_progress_tells_every_window(by_hu: Segmenter) -> None:
    grid = GRIDS["thick"]
    told = []
    found = segment_calcium(
        speckled(grid), course_in(grid), by_hu, MARGINS, on_window=lambda *n: told.append(n)
    )
    assert told == [(k, found.n_windows) for k in range(1, found.n_windows + 1)]


class Recorded:
    """An engine that answers 1 in the first look and 3 in the second, and keeps what it saw."""

    def __init__(self, engine, n_first: int) -> None:
        self.provider, self.batch = engine.provider, 1
        self.n_first = n_first
        self.seen = []

    def run(self, inputs):
        self.seen.append(inputs.copy())
        value = 1.0 if len(self.seen) <= self.n_first else 3.0
        return (np.full((1, 1, *inputs.shape[2:]), value, dtype=np.float32),)


def test_a_second_look_is_averaged_with_the_first_as_logits(by_hu: Segmenter) -> None:
    grid = GRIDS["thick"]
    volume, lines = speckled(grid), course_in(grid)
    n_first = segment_calcium(volume, lines, by_hu, MARGINS).n_windows
    engine = Recorded(by_hu.engine, n_first)
    margins = WindowSettings(margin_voxels=(1, 4, 4), second_margin_voxels=(1, 4, 4))

    found = segment_calcium(volume, lines, Segmenter(by_hu.card, engine), margins)

    platt = by_hu.card.calibration
    assert_allclose(found.p, 1.0 / (1.0 + np.exp(-(platt.a * 2.0 + platt.b))), rtol=1e-5)
    assert found.n_windows == len(engine.seen) == 2 * n_first
    for first, second in zip(engine.seen[:n_first], engine.seen[n_first:], strict=True):
        assert np.array_equal(first[..., ::-1], second)


def test_a_mirrored_look_by_a_network_that_sees_single_voxels_changes_nothing(
    by_hu: Segmenter,
) -> None:
    grid = GRIDS["tilted"]
    volume, lines = speckled(grid), course_in(grid)
    twice = WindowSettings(margin_voxels=(1, 4, 4), second_margin_voxels=(2, 5, 5))

    one, two = (segment_calcium(volume, lines, by_hu, s) for s in (MARGINS, twice))

    assert two.n_windows > one.n_windows
    assert_allclose(two.p, one.p, atol=1e-5)


def test_what_the_first_look_rules_out_is_not_looked_at_again(by_hu: Segmenter) -> None:
    grid = GRIDS["thick"]
    volume, lines = speckled(grid), course_in(grid)
    first = segment_calcium(volume, lines, by_hu, MARGINS)
    strict = WindowSettings(margin_voxels=(1, 4, 4), second_look_from=float(first.p.max()) + 1e-3)
    assert segment_calcium(volume, lines, by_hu, strict).n_windows == first.n_windows
