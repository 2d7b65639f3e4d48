"""What is known about a simulated scan, as plain files: label maps, lesions, lines and sums."""

import csv
import gzip
import io
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.grid import Grid
from iac_cli.simulate.head import SimulatedHead
from iac_cli.simulate.identity import SIMULATOR_VERSION, seeded_uid, settings_dict
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.truth import LABELS, LesionTruth

SCHEMA = 1


def write_truth(folder: Path, head: SimulatedHead, image: str = "../study") -> None:
    """Write label maps, lesion table, centre lines, sums and settings."""
    folder.mkdir()
    truth = head.truth
    _write_nifti(folder / "labels.nii.gz", truth.arteries, head.grid)
    _write_nifti(folder / "lesions.nii.gz", truth.numbers.astype(np.int16), head.grid)
    _write_text(folder / "lesions.csv", lesion_table(truth.lesions))
    _write_nifti(folder / "labels_fine.nii.gz", fine_labels(head), fine_grid(head.fine))
    _write_json(folder / "arteries.json", arteries_dict(head, image))
    _write_json(folder / "truth.json", truth_dict(head))


def lesion_table(lesions: tuple[LesionTruth, ...]) -> str:
    """The lesion table as CSV text, one row a lesion."""
    names = [field.name for field in fields(LesionTruth) if field.name != "centre_mm"]
    columns = [*names, "centre_x_mm", "centre_y_mm", "centre_z_mm"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for lesion in lesions:
        row = [_cell(getattr(lesion, name)) for name in names]
        writer.writerow([*row, *(_cell(value) for value in lesion.centre_mm)])
    return stream.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def fine_grid(lattice: Lattice) -> Grid:
    """A lattice as a grid: its axes are the gantry's."""
    return Grid.regular(
        lattice.shape,
        spacing_mm=lattice.spacing_mm,
        origin_mm=np.array(lattice.start_mm) @ lattice.axes,
        row_axis=lattice.axes[2],
        column_axis=lattice.axes[1],
    )


def fine_labels(head: SimulatedHead) -> NDArray[np.uint8]:
    """The artery's number in every fine cell of which at least half is calcified."""
    labels = np.zeros(head.fine.shape, dtype=np.uint8)
    for lesion in head.lesions:
        labels[lesion.block][lesion.share >= 0.5] = LABELS[lesion.shape.artery]
    return labels


def arteries_dict(head: SimulatedHead, image: str = "../study") -> dict[str, Any]:
    """Centre lines and landmarks in the form that traced heads use: [x, y, z, radius_mm, how]."""
    lines = {}
    for artery, line in head.anatomy.lines.items():
        coarse = line.resampled(1.5)
        points = zip(coarse.points_mm, coarse.radius_mm, strict=True)
        lines[artery.value] = [
            [*(round(float(v), 2) for v in point), round(float(radius), 2), "seen"]
            for point, radius in points
        ]
    landmarks = {
        name: [round(value, 2) for value in place] for name, place in head.anatomy.landmarks.items()
    }
    return {"frame": "LPS mm", "image": image, "lines": lines, "landmarks": landmarks}


def truth_dict(head: SimulatedHead) -> dict[str, Any]:
    """Sums, settings and what they mean."""
    truth = head.truth
    by_artery = {
        artery.value: {"true_volume_mm3": 0.0, "protocol_volume_mm3": 0.0} for artery in LABELS
    }
    for lesion in truth.lesions:
        sums = by_artery[lesion.artery.value]
        sums["true_volume_mm3"] += lesion.true_volume_mm3
        sums["protocol_volume_mm3"] += lesion.protocol_volume_mm3
    for sums in by_artery.values():
        sums |= {name: round(value, 4) for name, value in sums.items()}
    return {
        "schema": SCHEMA,
        "simulator_version": SIMULATOR_VERSION,
        "settings": settings_dict(head),
        "series_uid": seeded_uid("series", json.dumps(settings_dict(head), sort_keys=True)),
        "true_volume_mm3": round(truth.true_volume_mm3, 4),
        "protocol_volume_mm3": round(truth.protocol_volume_mm3, 4),
        "agatston": round(truth.agatston, 6),
        "agatston_definition": "classic 1",
        "n_lesions": len(truth.lesions),
        "n_lesions_with_voxels": sum(lesion.n_voxels > 0 for lesion in truth.lesions),
        "protocol": "HU >= 130, own share above local background >= 0.5, no single voxels",
        "labels": {artery.value: value for artery, value in LABELS.items()},
        "by_artery": by_artery,
        "anatomy": head.anatomy.kind,
        "build": dict(head.anatomy.facts),
        **head.told,
    }


def _write_json(path: Path, document: dict[str, Any]) -> None:
    _write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)


def _write_nifti(path: Path, values: NDArray[Any], grid: Grid) -> None:
    """The stack of slices as (column, row, slice); its affine is sheared when the gantry tilts."""
    import nibabel

    affine = grid.affine[:, [2, 1, 0, 3]]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0), None)
    image.set_sform(affine, code=1)
    if grid.is_regular:
        image.set_qform(affine, code=1)
    else:
        image.header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
    image.header.set_xyzt_units("mm")
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=9, mtime=0))
