"""The scanner's laws on fields of known integral."""

import math

import pytest
import torch

from iac_cli.simulate.acquire import (
    Slices,
    acquire,
    in_plane_matrix,
    noise_matrix,
    on_planes,
    plane_matrix,
    profile_matrix,
    protocol_label,
    slice_planes,
)


def _slices(centres, thickness, planes=None, valid=None):
    centre = torch.tensor([centres], dtype=torch.float32)
    return Slices(
        centre_mm=centre,
        plane=centre.round() if planes is None else torch.tensor([planes], dtype=torch.float32),
        valid=torch.ones_like(centre, dtype=torch.bool) if valid is None else torch.tensor([valid]),
        thickness_mm=torch.tensor([float(thickness)]),
        step_mm=torch.tensor([float(centres[1] - centres[0])]),
    )


def _kernel(sigma, sharpen, n=40, margin=12):
    values = (torch.tensor([v]) for v in (sigma, sharpen, 2.0))
    return in_plane_matrix(*values, margin, n)


@pytest.mark.parametrize("thickness", [1.0, 2.5, 5.0, 7.0])
@pytest.mark.parametrize(("sigma", "sharpen"), [(0.6, 0.0), (1.5, 0.0), (1.0, 0.8)])
def test_a_spheres_excess_gives_its_volume_at_every_thickness_and_kernel(thickness, sigma, sharpen):
    fine_mm, pixel, contrast, radius = 0.25, 0.44, 500.0, 3.0
    z = torch.arange(-16.0, 16.0, fine_mm)
    y = (torch.arange(64) - 31.5) * pixel
    distance = (z[:, None, None] ** 2 + y[None, :, None] ** 2 + y[None, None] ** 2).sqrt()
    field = (contrast * (distance <= radius).float())[None]
    n = int(24 / thickness)
    slices = _slices([(i - n / 2 + 0.3) * thickness for i in range(n)], thickness)

    seen = acquire(
        field, profile_matrix(slices, z), _kernel(sigma, sharpen), _kernel(sigma, sharpen)
    )

    volume = float(seen.sum()) * thickness * pixel**2 / contrast
    drawn = float((distance <= radius).sum()) * fine_mm * pixel**2
    assert volume == pytest.approx(drawn, rel=0.01)
    assert volume == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.03)


def test_the_peak_falls_as_slices_thicken():
    z = torch.arange(-16.0, 16.0, 0.25)
    y = (torch.arange(64) - 31.5) * 0.44
    distance = (z[:, None, None] ** 2 + y[None, :, None] ** 2 + y[None, None] ** 2).sqrt()
    field = (800.0 * (distance <= 1.2).float())[None]
    peaks = []
    for thickness in (1.0, 3.0, 5.0):
        slices = _slices([-thickness, 0.0, thickness], thickness)
        seen = acquire(field, profile_matrix(slices, z), _kernel(1.0, 0.0), _kernel(1.0, 0.0))
        peaks.append(float(seen.max()))
    assert peaks[0] > 1.5 * peaks[1] > 1.5 * 1.4 * peaks[2]


def test_kernels_have_unit_gain_and_noise_unit_variance():
    assert torch.allclose(_kernel(1.0, 0.9).sum(-1), torch.ones(1, 40))
    colour = noise_matrix(torch.tensor([0.9]), torch.tensor([0.7]), 48)[0]
    white = torch.randn(4000, 48, generator=torch.Generator().manual_seed(1))
    assert (white @ colour.T).std(dim=0).mean().item() == pytest.approx(1.0, abs=0.02)


def test_planes_between_slices_are_interpolated_and_slices_keep_their_own():
    slices = _slices([0.2, 3.9, 7.1], 4.0)  # snapped to planes 0, 4 and 7
    values = torch.tensor([10.0, 50.0, 80.0]).reshape(1, 3, 1, 1)

    planes = on_planes(plane_matrix(slices, 9), values).flatten().tolist()

    assert planes == pytest.approx([10, 20, 30, 40, 50, 60, 70, 80, 80])
    assert slice_planes(slices, 9).sum(-1).flatten().tolist() == [1, 0, 0, 0, 1, 0, 0, 1, 0]


def test_slices_that_do_not_count_are_left_out():
    slices = _slices([0.0, 4.0, 8.0], 4.0, valid=[True, False, True])
    values = torch.tensor([10.0, 999.0, 90.0]).reshape(1, 3, 1, 1)
    planes = on_planes(plane_matrix(slices, 9), values).flatten().tolist()
    assert planes == pytest.approx([10 * (1 + i) for i in range(9)])


def test_the_protocol_asks_for_130_hu_half_the_excess_and_a_neighbour():
    hu = torch.full((1, 3, 5, 5), 40.0)
    calcium = torch.zeros_like(hu)
    hu[0, 1, 1, 1:3], calcium[0, 1, 1, 1:3] = 130.0, 45.0  # exactly half of 130 - 40
    hu[0, 1, 3, 1:3], calcium[0, 1, 3, 1:3] = 300.0, 100.0  # mostly bone
    hu[0, 0, 4, 4], calcium[0, 0, 4, 4] = 300.0, 260.0  # alone
    hu[0, 2, 0, 3:5], calcium[0, 2, 0, 3:5] = 129.0, 89.0  # too faint

    drawn = protocol_label(hu, calcium, torch.zeros_like(hu))

    assert drawn.nonzero().tolist() == [[0, 1, 1, 1], [0, 1, 1, 2]]


def test_what_readers_drew_counts_without_an_implant():
    hu = torch.full((1, 3, 3, 3), 200.0)
    real = torch.zeros_like(hu)
    real[0, 1, 0, :2] = 0.6
    assert protocol_label(hu, torch.zeros_like(hu), real).sum() == 2
