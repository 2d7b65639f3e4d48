"""The arithmetic phantom, read by this test's own short loop and by the product's reader."""

import json
from pathlib import Path

import numpy as np
import pytest

from iac_cli.geometry.grid import Grid, slice_extents_mm
from iac_cli.geometry.volume import Mask, Volume
from iac_cli.measure.lesions import find_lesions
from iac_cli.measure.scores import Scores, score

SERIES = ("even_3mm", "overlap_1p5mm", "uneven_2p5_5mm")


def read_plainly(folder: Path) -> Volume:
    """A straight axial series through pydicom alone: sorted by z, slope and intercept per slice."""
    import pydicom

    slices = [pydicom.dcmread(path) for path in folder.iterdir()]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    positions_mm = np.array([one.ImagePositionPatient for one in slices], dtype=float)
    hu = np.stack(
        [one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in slices]
    )
    spacing = [float(mm) for mm in slices[0].PixelSpacing]
    grid = Grid(
        shape=hu.shape,
        positions_mm=positions_mm,
        row_axis=np.array([1.0, 0, 0]),
        column_axis=np.array([0, 1.0, 0]),
        pixel_mm=(spacing[0], spacing[1]),
        extents_mm=slice_extents_mm(positions_mm[:, 2]),
    )
    return Volume(hu.astype(np.float32), grid)


def read_by_product(folder: Path) -> Volume:
    read = pytest.importorskip("iac_cli.dicom.read")
    return read.read_series(folder).volume


def scored(volume: Volume, mask_file: Path) -> tuple[Scores, np.ndarray]:
    import nibabel

    image = nibabel.load(mask_file)
    voxels = np.asarray(image.dataobj).transpose(2, 1, 0) > 0  # (slice, row, column)
    found = find_lesions(volume, Mask(voxels, volume.grid))
    return score(found, volume, None, 120.0), found.labels


@pytest.mark.parametrize("read", [read_plainly, read_by_product])
@pytest.mark.parametrize("name", SERIES)
def test_every_lesion_of_the_phantom(name: str, read, data_dir: Path) -> None:
    folder = data_dir / "agatston_phantom"
    expected = json.loads((folder / "expected.json").read_text())[name]
    scores, labels = scored(read(folder / name), folder / f"{name}_mask.nii.gz")
    assert scores.n_lesions == expected["n_lesions"]
    assert scores.volume_mm3 == pytest.approx(expected["volume_mm3"], abs=1e-5)
    assert scores.agatston == pytest.approx(expected["agatston_classic_1"], abs=1e-5)
    assert scores.agatston_kvp == pytest.approx(expected["agatston_classic_1"], abs=1e-5)
    assert scores.hu_mm3 == pytest.approx(expected["hu_mm3"], abs=1e-3)
    for lesion in expected["lesions"]:
        ours = scores.lesions[labels[tuple(lesion["first_voxel_zyx"])] - 1]
        assert ours.lesion.n_voxels == lesion["n_voxels"], lesion["name"]
        assert ours.lesion.volume_mm3 == pytest.approx(lesion["volume_mm3"], abs=1e-5)
        assert ours.agatston == pytest.approx(lesion["agatston_classic_1"], abs=1e-5)
        assert ours.lesion.hu_mm3 == pytest.approx(lesion["hu_mm3"], abs=1e-3)
    assert len({tuple(one["first_voxel_zyx"]) for one in expected["lesions"]}) == len(
        scores.lesions
    )
