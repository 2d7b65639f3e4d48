"""The preview shows lesions and never a face.

That no face shows is proven by changing every soft voxel of the face: not one byte may change.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iac_cli.dicom.read import read_series
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Mask, Volume
from iac_cli.measure.lesions import Found, find_lesions
from iac_cli.report.preview import COLOURS, frame_of, preview_png, slices_to_show
from tests.report.made_case import arteries_on, stack, volume_on

SPACING_MM = (4.0, 1.0, 1.0)
SIZE = (16, 230, 190)


def made_head() -> tuple[Volume, np.ndarray, list[CentreLine]]:
    """A skull with brain, nose and eyes in air; where its face is; and two carotid siphons."""
    grid = Grid.regular(SIZE, spacing_mm=SPACING_MM, origin_mm=(-95.0, -120.0, 0.0))
    x, y, _ = np.moveaxis(grid.to_world(np.argwhere(np.ones(SIZE))).reshape(*SIZE, 3), -1, 0)
    skull = np.hypot(x / 72, y / 92)
    hu = np.full(SIZE, -1000.0, dtype=np.float32)
    hu[(np.abs(x) < 12) & (y > -115) & (y < -80)] = 20  # nose
    hu[skull < 1] = 900
    hu[skull < 0.92] = 35
    for side in (-1, 1):
        hu[np.hypot(x - side * 32, y + 66) < 13] = 10  # eyes, 26 mm behind the skull's front
    face = (y < -53) & (hu < 300) & (hu > -500)
    lines = [
        CentreLine(
            artery,
            np.array([[side * 20.0, 8, 12], [side * 12.0, -18, 28], [side * 12.0, -14, 44]]),
            np.full(3, 2.5),
        )
        for artery, side in ((Artery.ICA_R, -1), (Artery.ICA_L, 1))
    ]
    return Volume(hu, grid), face, lines


def with_lesion(volume: Volume) -> tuple[Volume, Found]:
    """A bright lesion of 3 x 3 pixels in two slices at the left siphon."""
    hu = volume.hu.copy()
    centre = np.round(volume.grid.to_index([[12.0, -18.0, 28.0]])[0]).astype(int)
    part = tuple(slice(c - n, c + n + 1) for c, n in zip(centre, (0, 1, 1), strict=True))
    hu[part] = 450
    volume = Volume(hu, volume.grid)
    mask = np.zeros(hu.shape, dtype=bool)
    mask[part] = True
    return volume, find_lesions(volume, Mask(mask, volume.grid))


def nothing_in(volume: Volume) -> Found:
    return find_lesions(volume, Mask(np.zeros(volume.hu.shape, dtype=bool), volume.grid))


def pixels(png: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))


def assert_face_leaves_no_trace(
    volume: Volume, face: np.ndarray, found: Found, lines: list[CentreLine]
) -> None:
    assert face.sum() > 500
    before = preview_png(volume, found, lines)
    hu = volume.hu.copy()
    hu[face] = np.where(hu[face] > 0, -150.0, 150.0)
    assert preview_png(Volume(hu, volume.grid), found, lines) == before


@pytest.mark.parametrize("framed_by", ["arteries", "lesions", "nothing"])
def test_the_face_of_a_made_head_leaves_no_trace(framed_by: str) -> None:
    volume, face, lines = made_head()
    volume, found = with_lesion(volume)
    if framed_by == "nothing":
        found = nothing_in(volume)
    assert_face_leaves_no_trace(volume, face, found, lines if framed_by == "arteries" else [])


def test_a_mask_drawn_over_the_face_does_not_bring_it_into_the_picture() -> None:
    volume, face, _ = made_head()
    hu = volume.hu.copy()
    eyes = face & (np.abs(volume.hu - 10) < 1)
    hu[eyes] = 140
    volume = Volume(hu, volume.grid)
    found = find_lesions(volume, Mask(eyes, volume.grid))
    assert found.lesions
    before = pixels(preview_png(volume, found))
    hu = hu.copy()
    hu[face & ~eyes] = 120
    assert np.array_equal(pixels(preview_png(Volume(hu, volume.grid), found)), before)


REAL_FACES = {
    # where the eyes end: (path, lowest and highest slice that shows them, first row behind them)
    "head_ge_tilted": ("head_ge_tilted", 3, 9, 128),
    "head_pet_ct": ("head_pet_ct", 20, 27, 152),
    "head_healthy": ("head_healthy/head.nii.gz", 28, 48, 78),
    "head_cadaver": ("head_cadaver/head.nii.gz", 58, 72, 76),
}


@pytest.mark.parametrize("with_arteries", [True, False])
@pytest.mark.parametrize("name", REAL_FACES)
def test_the_face_of_a_real_head_leaves_no_trace(
    name: str, with_arteries: bool, data_dir: Path
) -> None:
    path, lowest, highest, behind = REAL_FACES[name]
    volume = read_series(data_dir / path).volume
    face = np.zeros(volume.hu.shape, dtype=bool)
    face[lowest : highest + 1, :behind] = True
    face &= (volume.hu < 200) & (volume.hu > -500)
    lines = real_lines(data_dir, name, volume.grid) if with_arteries else []
    assert_face_leaves_no_trace(volume, face, nothing_in(volume), lines)


def real_lines(data_dir: Path, name: str, grid: Grid) -> list[CentreLine]:
    """The traced centre lines of a real head."""
    if name == "head_ge_tilted":
        path = data_dir / "head_ge_tilted_truth" / "arteries.json"
        traced = json.loads(path.read_text())["lines"]
        points = {
            artery: grid.to_world([[p["slice"], p["y"], p["x"]] for p in line])
            for artery, line in traced.items()
        }
    else:
        traced = json.loads((data_dir / "anatomy" / f"{name}.json").read_text())["lines"]
        points = {artery: np.array([p[:3] for p in line], float) for artery, line in traced.items()}
    known = set(Artery)
    return [
        CentreLine(Artery(artery), line, np.ones(len(line)))
        for artery, line in points.items()
        if artery in known
    ]


def test_a_scan_that_begins_behind_the_face_still_shows_its_siphons() -> None:
    volume, _, lines = made_head()
    volume, found = with_lesion(volume)
    cut = 70  # rows: the scan begins 50 mm behind the skull's front
    grid = Grid.regular(
        (SIZE[0], SIZE[1] - cut, SIZE[2]), spacing_mm=SPACING_MM, origin_mm=(-95.0, -50.0, 0.0)
    )
    volume = Volume(volume.hu[:, cut:], grid)
    found = find_lesions(volume, Mask(found.mask[:, cut:], grid))
    tile_rows, _ = frame_of(volume, found, lines).pixels
    shown = pixels(preview_png(volume, found, lines))
    assert (shown[tile_rows // 4] > 0).mean() > 0.9


def test_the_lesion_is_outlined_in_its_arterys_colour_where_it_lies() -> None:
    volume, _, lines = made_head()
    volume, found = with_lesion(volume)
    shown = pixels(preview_png(volume, found, []))
    colour = dict(COLOURS)["not named"]
    tile_rows, tile_columns = frame_of(volume, found, []).pixels
    rows, columns = np.nonzero((shown[:tile_rows] == colour).all(axis=2))
    assert len(rows) > 30
    frame = frame_of(volume, found, [])
    middle_mm = (
        frame.front_mm
        + (rows.min() + rows.max() + 1) / 2 / tile_rows * (frame.back_mm - frame.front_mm),
        frame.right_mm
        + (columns.min() + columns.max() + 1) / 2 / tile_columns * (frame.left_mm - frame.right_mm),
    )
    assert middle_mm == pytest.approx((-18.0, 12.0), abs=0.5)
    inside = shown[rows.min() + 4 : rows.max() - 3, columns.min() + 4 : columns.max() - 3]
    assert inside.min() > 200  # 450 HU is white, and nothing is drawn over it


def test_the_patients_right_is_on_the_left() -> None:
    volume, _, lines = made_head()
    volume, found = with_lesion(volume)  # a lesion of the patient's left
    shown = pixels(preview_png(volume, found, lines))
    tile_rows, tile_columns = frame_of(volume, found, lines).pixels
    colour = dict(COLOURS)["not named"]
    _, columns = np.nonzero((shown[: 2 * tile_rows] == colour).all(axis=2))
    assert (columns % (tile_columns + 4) > tile_columns / 2).all()


def test_the_same_scan_gives_the_same_bytes_without_metadata() -> None:
    volume, _, lines = made_head()
    volume, found = with_lesion(volume)
    png = preview_png(volume, found, lines)
    assert png == preview_png(volume, found, lines)
    image = Image.open(io.BytesIO(png))
    assert image.info == {}
    kinds, at = [], 8
    while at < len(png):
        kinds.append(png[at + 4 : at + 8])
        at += 12 + int.from_bytes(png[at : at + 4], "big")
    assert set(kinds) == {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


def test_every_lesion_is_shown_in_a_thin_scan() -> None:
    shape = (200, 40, 40)
    grid = Grid.regular(shape, spacing_mm=(0.6, 1.0, 1.0))
    hu = np.full(shape, 40, dtype=np.float32)
    firsts = [11, 43, 60, 61, 99, 150, 188]
    for k, first in enumerate(firsts):
        hu[first : first + 3, 4 * k + 4 : 4 * k + 6, 10:12] = 300
    volume = Volume(hu, grid)
    found = find_lesions(volume, Mask(hu > 130, grid))
    shown = slices_to_show(grid, found, [])
    assert 12 <= len(shown) <= 16
    assert shown == sorted(set(shown))
    for lesion in found.lesions:
        assert any(lesion.first_slice <= number <= lesion.last_slice for number in shown)
    assert max(np.diff(shown)) <= 30


def test_slices_follow_the_arteries_of_a_tilted_uneven_stack() -> None:
    grid = stack(tilt=True, uneven=True)
    lines = list(arteries_on(grid).lines.values())
    shown = slices_to_show(grid, nothing_in(volume_on(grid)), lines)
    assert shown == list(range(12))


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 2, 400), (2, 64, 64)])
def test_odd_shapes_have_a_picture_too(shape: tuple[int, int, int]) -> None:
    hu = np.full(shape, 500, dtype=np.float32)
    volume = Volume(hu, Grid.regular(shape, spacing_mm=(5.0, 0.7, 0.5)))
    found = find_lesions(volume, Mask(hu > 0, volume.grid))
    assert pixels(preview_png(volume, found)).shape[1] > 200


def test_many_lesions_and_a_line_of_one_point() -> None:
    rng = np.random.default_rng(4)
    grid = stack()
    volume = Volume(np.where(rng.random(grid.shape) < 0.06, 400, 0).astype(np.float32), grid)
    found = find_lesions(volume, Mask(volume.hu > 130, grid))
    assert len(found.lesions) > 100
    line = CentreLine(Artery.M1_R, grid.to_world([[3.0, 20.0, 20.0]]), np.ones(1))
    assert preview_png(volume, found, [line]).startswith(b"\x89PNG")
