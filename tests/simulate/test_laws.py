"""The scanner's laws, through the full studies' path (numpy) and the windows' path (torch)."""

import math

import numpy as np
import pytest
import torch

from iac_cli.geometry.lines import Artery
from iac_cli.simulate import laws, scanner, truth
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.scanner import Kernel, PointSpread, Scan, tilted_grid
from iac_cli.simulate.skull import Skull
from iac_cli.simulate.windows import operators
from iac_cli.simulate.windows.artefacts import unit_noise
from iac_cli.simulate.windows.atlas import look_up, make_atlas
from iac_cli.simulate.windows.config import PIXEL_MM
from iac_cli.simulate.windows.operators import Optics, Slices, Spread, protocol_label

CONTRAST_HU = 700.0
CPU = torch.device("cpu")
SOFT, SHARP = (scanner.POINT_SPREADS[kernel] for kernel in (Kernel.SOFT, Kernel.SHARP))
MARGIN, SIDE = 14, 72
"""The wide Gaussian of the sharp kernel reaches 3 mm."""


def _optics(thickness_mm, step_mm, fine_mm, spread: PointSpread, slope_mm=0.25):
    n = int(28 / step_mm)
    centre = torch.tensor([[(k - n / 2 + 0.3) * step_mm for k in range(n)]])
    everywhere = torch.ones_like(centre, dtype=torch.bool)
    slices = Slices(centre, centre, everywhere, torch.full_like(centre, thickness_mm))
    profile = operators.profile_matrix(slices, torch.tensor([slope_mm]), fine_mm)

    def pair(sigma_mm):
        rows = operators.spread_matrix(torch.tensor([sigma_mm]), MARGIN, SIDE)
        return rows, rows

    optics = Optics(
        profile, pair(spread.narrow_mm), pair(spread.wide_mm), torch.tensor([spread.edge])
    )
    return optics, centre[0]


def _sphere_skull(radius_mm, step_mm=0.4):
    """A sphere in the middle of a head of nothing else, each voxel holding its true share."""
    n = 101
    axis = (torch.arange(n * 4) - (n * 4 - 1) / 2) * step_mm / 4
    inside = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None] ** 2
    share = torch.nn.functional.avg_pool3d((inside <= radius_mm**2).float()[None, None], 4)[0, 0]
    line = np.array([[5.0, 5, 5, 2], [30, 5, 5, 2]])
    hu = (share * CONTRAST_HU).numpy().astype(np.float16)
    return Skull("sphere", hu, np.full(3, step_mm), {Artery.BA: line})


def _seen_through_the_stream(radius_mm, tilt_deg, thickness_mm, step_mm, spread):
    """Slices (s, y, x) of the sphere in a head that is tilted about two axes."""
    atlas = make_atlas([_sphere_skull(radius_mm)], CPU)
    fine_mm = torch.arange(-16.0, 16.01, 0.5)
    sides = (torch.arange(SIDE + 2 * MARGIN) - (SIDE + 2 * MARGIN - 1) / 2) * PIXEL_MM
    ends = [torch.tensor([float(axis[0]), float(axis[-1])]) for axis in (fine_mm, sides, sides)]
    local = torch.stack(torch.meshgrid(*ends, indexing="ij"))  # (3, 2, 2, 2)
    a, b = math.radians(tilt_deg), math.radians(tilt_deg / 2)
    about_x = [[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]]
    about_y = [[math.cos(b), 0, -math.sin(b)], [0, 1, 0], [math.sin(b), 0, math.cos(b)]]
    turn = torch.tensor(about_y) @ torch.tensor(about_x)
    knots = torch.einsum("ij,jzyx->izyx", turn, local)[None] + 50 * 0.4
    size = (len(fine_mm), len(sides), len(sides))
    field = look_up(atlas, atlas.hu, torch.zeros(1, dtype=torch.long), knots, size)[:, 0]
    optics, _ = _optics(thickness_mm, step_mm, fine_mm, spread)
    return operators.acquire(field, optics)[0]


@pytest.mark.parametrize("spread", [SOFT, SHARP], ids=["soft", "sharp"])
@pytest.mark.parametrize("tilt_deg", [0.0, 20.0])
@pytest.mark.parametrize(("thickness_mm", "step_mm"), [(0.8, 0.8), (2.5, 1.25), (5.0, 5.0), (7, 7)])
def test_a_sphere_s_excess_is_its_volume_in_windows_too(thickness_mm, step_mm, tilt_deg, spread):
    radius_mm = 2.6
    seen = _seen_through_the_stream(radius_mm, tilt_deg, thickness_mm, step_mm, spread)
    volume = float(seen.double().sum()) * step_mm * PIXEL_MM**2 / CONTRAST_HU
    assert volume == pytest.approx(4 / 3 * math.pi * radius_mm**3, rel=0.01)


@pytest.mark.parametrize(("thickness_mm", "sigma_mm"), [(1.0, 0.42), (2.5, 0.42), (0.8, 0.8)])
def test_the_peak_comes_back_only_from_a_sphere_three_times_as_wide_as_blur_and_slice(
    thickness_mm, sigma_mm
):
    spread = PointSpread(sigma_mm, 1.0, 0.0, 1.0, "")
    widest = max(thickness_mm, 2.355 * sigma_mm)
    peaks = [
        float(_seen_through_the_stream(share * widest / 2, 0.0, thickness_mm, 0.4, spread).max())
        for share in (3.0, 1.0, 0.5)
    ]
    # the fine planes of 0.5 mm blur a little, too
    assert peaks[0] == pytest.approx(CONTRAST_HU, rel=0.035)
    assert peaks[1] < 0.9 * CONTRAST_HU
    assert peaks[2] < 0.6 * peaks[1]


@pytest.mark.parametrize("thickness_mm", [1.0, 4.0])
@pytest.mark.parametrize("spread", [SOFT, SHARP], ids=["soft", "sharp"])
def test_both_paths_see_the_same_picture_of_the_same_field(thickness_mm, spread):
    rng = np.random.default_rng(1)
    fine_mm = torch.arange(-16.0, 16.01, 0.5)
    n = SIDE + 2 * MARGIN
    field = np.zeros((len(fine_mm), n, n), dtype=np.float32)
    field[20:45, 40:60, 35:65] = rng.uniform(0, 900, (25, 20, 30))
    optics, centre = _optics(thickness_mm, thickness_mm, fine_mm, spread)
    windows = operators.acquire(torch.tensor(field)[None], optics)[0].numpy()

    grid = tilted_grid(
        (len(centre), SIDE, SIDE),
        pixel_mm=PIXEL_MM,
        increment_mm=thickness_mm,
        tilt_deg=0.0,
        lowest_mm=float(centre[0]),
    )
    corner = -(n - 1) / 2 * PIXEL_MM
    start = (float(fine_mm[0]), corner, corner)
    axes = scanner.gantry_axes(grid)
    lattice = Lattice(start, (0.5, PIXEL_MM, PIXEL_MM), field.shape, axes)
    part, window = scanner.acquire(field, lattice, grid, Scan(thickness_mm, spread))
    study = np.zeros(grid.shape, dtype=np.float32)
    study[window.cut] = part

    assert study.max() > 300.0
    assert np.abs(windows - study).max() < 0.02


def test_both_paths_draw_the_same_voxels():
    """Within the background's reach of the border the two fill differently, so it is left out."""
    rng = np.random.default_rng(5)
    shape = (4, 64, 64)
    base = rng.normal(45, 12, shape).astype(np.float32)
    base[:, :, 40:] += 500.0
    excess = np.zeros(shape, dtype=np.float32)
    excess[1:3, 20:44, 10:50] = rng.uniform(0, 300, (2, 24, 40))
    hu = np.rint(base + excess).astype(np.int16)
    grid = tilted_grid(shape, pixel_mm=PIXEL_MM, increment_mm=3.0, tilt_deg=0.0, lowest_mm=0.0)
    study = truth.protocol_mask(hu, excess, hu - excess, grid)
    windows = protocol_label(torch.tensor(hu).float()[None], torch.tensor(excess)[None])[0]
    assert study.sum() > 200
    assert (study != windows.numpy()).mean() < 1e-4


@pytest.mark.parametrize("spread", [SOFT, SHARP], ids=["soft", "sharp"])
def test_noise_has_one_colour_in_both_paths(spread):
    n, slices = 128, 40
    white = torch.randn(1, slices, n, n, generator=torch.Generator().manual_seed(3))
    one = [torch.tensor([v]) for v in (spread.narrow_mm, spread.wide_mm, spread.edge)]
    windows = unit_noise(white, Spread(*one))[0].numpy()
    grid = tilted_grid(
        (slices, n, n), pixel_mm=PIXEL_MM, increment_mm=5.0, tilt_deg=0.0, lowest_mm=0.0
    )
    water = np.full((slices, n, n), 30.0, dtype=np.float32)
    study = scanner.noise_like(water, grid, Scan(5.0, spread), np.random.default_rng(4))

    assert windows.std() == pytest.approx(1.0, rel=0.02)
    f = np.fft.fftfreq(n, PIXEL_MM)
    ring = (np.hypot(f[:, None], f[None]) / 0.1).astype(int)
    found = []
    for noise in (windows, study / study.std()):
        power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0)
        found.append(np.array([power[ring == k].mean() for k in range(9)]))
    assert found[0] == pytest.approx(found[1], rel=0.1, abs=0.01 * float(found[1].max()))


def test_noise_falls_with_the_root_of_thickness():
    assert laws.noise_level(4.0, 1.0, 1.25) == pytest.approx(8.0)
    assert laws.noise_level(4.0, 2.0, 5.0) == pytest.approx(8.0)


@pytest.mark.parametrize(("narrow", "wide", "edge"), [(0.42, 0.9, 0.0), (0.3, 0.75, 0.75)])
def test_a_kernel_s_transfer_function_is_the_fourier_transform_of_its_spread(narrow, wide, edge):
    step = 0.02
    x = np.arange(-400, 401) * step
    # a line spread: the point spread summed over the other axis
    spread = laws.with_edge(
        laws.spread_share(x, step, narrow), laws.spread_share(x, step, wide), edge
    )
    for f in (0.0, 0.2, 0.5, 0.9):
        expected = float((spread * np.cos(2 * np.pi * f * x)).sum())
        assert laws.transfer(f, narrow, wide, edge) == pytest.approx(expected, abs=1e-3)
