"""A whole simulated head: arteries in their canals, lesions in their walls, mimics unlabelled."""

import numpy as np
import pytest

from iac_cli.errors import IacError, Word
from iac_cli.geometry.lines import Artery
from iac_cli.simulate.anatomy.procedural import draw_head
from iac_cli.simulate.calcium import WALL_MM
from iac_cli.simulate.field_of_view import check_skull_inside
from iac_cli.simulate.head import SimulatedHead, simulate_head
from iac_cli.simulate.head_settings import HeadSettings, check_settings
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.scanner import POINT_SPREADS, Kernel, Scan, acquire, tilted_grid
from iac_cli.simulate.truth import LABELS


def test_tissues_have_their_hu(small_head: SimulatedHead) -> None:
    hu = small_head.hu
    middle = hu[-8, 80:112, 80:112]
    assert 20 < np.median(middle) < 45  # brain
    assert (hu[:, :4] < -900).mean() > 0.95  # air in front of the face
    assert 0.02 < (hu > 300).mean() < 0.25  # bone
    assert hu.max() > 1000


def test_arteries_are_of_adult_length(small_head: SimulatedHead) -> None:
    bounds = {  # mm, the range of traced adult heads
        "ICA": (58, 82),
        "M1": (14, 24),
        "A1": (9, 16),
        "P1": (9, 21),
        "V4": (20, 36),
        "BA": (25, 38),
    }
    for artery, line in small_head.anatomy.lines.items():
        low, high = bounds[artery.value.split("-")[0]]
        assert low <= line.arc_mm[-1] <= high, artery


@pytest.mark.parametrize("seed", range(4))
def test_lumens_are_not_filled_with_bone(seed: int) -> None:
    """Along its whole course an artery holds blood: bone never covers it."""
    head = draw_head(np.random.default_rng([seed, 0]))
    axes = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
    line = head.lines[Artery.ICA_L]
    for point in line.at_fractions([0.05, 0.25, 0.5, 0.7, 0.9]):
        u, v, w = (float(point @ axis) for axis in axes)
        ranges = ((u - 0.5, u + 0.5), (v - 1.0, v + 1.0), (w - 1.0, w + 1.0))
        lattice = Lattice.spanning(ranges, (0.5, 0.25, 0.25), axes)
        field = head.painted(lattice)
        centre = field[field.shape[0] // 2, field.shape[1] // 2, field.shape[2] // 2]
        assert 38 <= centre <= 52


def test_both_sides_meet_and_the_ica_ends_where_its_branches_begin(
    small_head: SimulatedHead,
) -> None:
    lines = small_head.anatomy.lines
    for side in "LR":
        end = lines[Artery(f"ICA-{side}")].points_mm[-1]
        assert np.allclose(lines[Artery(f"M1-{side}")].points_mm[0], end)
        assert np.allclose(lines[Artery(f"A1-{side}")].points_mm[0], end)
        top = lines[Artery.BA].points_mm[-1]
        assert np.allclose(lines[Artery(f"P1-{side}")].points_mm[0], top)


def test_labels_lie_on_their_artery_and_nowhere_else(small_head: SimulatedHead) -> None:
    """Labelled voxels are within the wall, give or take the blur and a voxel's own diagonal."""
    grid, truth = small_head.grid, small_head.truth
    assert truth.arteries.any()
    blur_mm = 1.5 * grid.pixel_mm[0] + small_head.settings.thickness_mm
    for artery, value in LABELS.items():
        where = np.argwhere(truth.arteries == value)
        if not len(where):
            continue
        line = small_head.anatomy.lines[artery].resampled(0.2)
        points = grid.to_world(where)
        gap = np.linalg.norm(points[:, None] - line.points_mm[None], axis=2).min(axis=1)
        assert gap.max() <= line.radius_mm.max() + WALL_MM + blur_mm


def test_no_cell_of_a_lesion_lies_outside_its_wall(small_head: SimulatedHead) -> None:
    for lesion in small_head.lesions:
        line = small_head.anatomy.lines[lesion.shape.artery].resampled(0.1)
        where = np.argwhere(lesion.share > 0)
        points = lesion.lattice.points_mm((slice(None),) * 3)[tuple(where.T)]
        gaps = np.linalg.norm(points[:, None] - line.points_mm[None], axis=2)
        nearest = gaps.argmin(axis=1)
        edge = np.abs(gaps.min(axis=1) - line.radius_mm[nearest])
        assert edge.max() <= WALL_MM + 0.35


def test_mimics_are_bright_and_unlabelled(straight_head: SimulatedHead) -> None:
    """Without any burden nothing is labelled, though the scan holds calcified mimics."""
    truth, hu = straight_head.truth, straight_head.hu
    assert truth.protocol_volume_mm3 == truth.true_volume_mm3 == truth.agatston == 0.0
    assert not truth.arteries.any()
    around = [(0.0, 18.0, -2.0), (20.0, 28.0, 12.0), (-20.0, 28.0, 12.0)]
    index = straight_head.grid.to_index(around).round().astype(int)
    brightest = [hu[s - 1 : s + 3, r - 6 : r + 7, c - 6 : c + 7].max() for s, r, c in index]
    assert max(brightest) > 90  # pineal or choroid plexus, within the brain


def test_people_differ_with_the_seed() -> None:
    first, again, other = (draw_head(np.random.default_rng([n, 0])) for n in (1, 1, 2))
    line = first.tree.lines[Artery.ICA_L].points_mm
    assert np.array_equal(line, again.tree.lines[Artery.ICA_L].points_mm)
    assert not np.allclose(line[0], other.tree.lines[Artery.ICA_L].points_mm[0], atol=0.1)
    assert first.build != other.build


def test_sums_are_those_of_the_label_maps(small_head: SimulatedHead) -> None:
    truth, grid = small_head.truth, small_head.grid
    voxels = np.broadcast_to(grid.voxel_mm3[:, None, None], grid.shape)
    assert truth.protocol_volume_mm3 == pytest.approx(voxels[truth.arteries > 0].sum())
    assert truth.protocol_volume_mm3 == pytest.approx(
        sum(lesion.protocol_volume_mm3 for lesion in truth.lesions)
    )
    assert truth.true_volume_mm3 == pytest.approx(300.0, rel=0.03)
    assert ((truth.numbers > 0) == (truth.arteries > 0)).all()
    assert (small_head.hu[truth.arteries > 0] >= 130).all()


def test_the_same_lesions_lose_peak_hu_in_thicker_slices(small_head: SimulatedHead) -> None:
    def peaks(thickness_mm: float) -> np.ndarray:
        grid = tilted_grid(
            (int(120 / thickness_mm), 256, 256),
            pixel_mm=0.5,
            increment_mm=thickness_mm,
            tilt_deg=12.0,
            lowest_mm=-95.0,
        )
        scan = Scan(thickness_mm, POINT_SPREADS[Kernel.SOFT])
        found = []
        for lesion in small_head.lesions:
            excess = lesion.share * np.float32(lesion.shape.hu)
            found.append(acquire(excess, lesion.lattice, grid, scan)[0].max())
        return np.array(found)

    thin, middle, thick = peaks(1.0), peaks(3.0), peaks(7.0)
    assert thin.sum() > middle.sum() > thick.sum()
    assert (thick < thin).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"thickness_mm": 0.0},
        {"thickness_mm": float("nan")},
        {"thickness_mm": -3.0},
        {"increment_mm": 0.0},
        {"tilt_deg": 80.0},
        {"burden_mm3": -1.0},
        {"rows": 0},
        {"pixel_mm": 0.2},
        {"pixel_mm": 0.0},
        {"noise_hu": -1.0},
        {"seed": -1},
    ],
    ids=str,
)
def test_what_no_scanner_can_do_is_refused(bad: dict) -> None:
    with pytest.raises(IacError) as caught:
        check_settings(HeadSettings(**bad))
    assert caught.value.word == Word.BAD_SETTING


def test_a_picture_that_cuts_the_skull_is_refused() -> None:
    """Seen in the voxels: bone on the picture's rim, in a field that is narrower than usual."""
    hu = np.full((3, 64, 64), -1000.0, dtype=np.float32)
    hu[:, 1:-1, 1:-1] = 800.0
    check_skull_inside(hu, 200.0)
    hu[1, 0, 30] = 800.0
    check_skull_inside(hu, 230.0)
    with pytest.raises(IacError) as caught:
        check_skull_inside(hu, 200.0)
    assert caught.value.word == Word.BAD_SETTING


def test_too_few_slices_for_the_arteries_are_refused() -> None:
    with pytest.raises(IacError) as caught:
        simulate_head(HeadSettings(n_slices=5))
    assert caught.value.word == Word.BAD_SETTING
    assert "5 slices" in caught.value.what
