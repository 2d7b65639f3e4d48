"""One series evaluated: the product's own main job, or a supplied mask, against the labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.labels import read_labels
from iac_cli.errors import IacError, Word
from iac_cli.evaluate.record import ArterySeen, Bins, LesionSeen, Overlap, Record
from iac_cli.evaluate.test_set import Series
from iac_cli.geometry.lines import Artery
from iac_cli.geometry.volume import Mask, Volume
from iac_cli.infer.models import Models
from iac_cli.locate.locator import Locator
from iac_cli.measure.lesions import Found, find_lesions, mean_probabilities
from iac_cli.measure.reliability import BINS
from iac_cli.measure.scores import score
from iac_cli.pipeline import CaseOptions, CaseOutput, measure_case, read_case, score_mask
from iac_cli.report.result import Status
from iac_cli.settings import Settings
from iac_cli.simulate.truth import LABELS

UNCERTAIN = 254
"""Label of voxels that count neither way."""

CANDIDATE_HU = 130.0

LABELLED = {value: artery for artery, value in LABELS.items()}

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judged:
    """What is judged and how."""

    models: Models | None
    """None: masks are supplied."""
    locator: Locator | None
    """Names the lesions of supplied masks; None leaves them without a name."""
    by_artery: bool
    gate: bool = True
    labels: tuple[int, ...] | None = None
    """Of supplied masks, the labels that count; () counts every one."""


@dataclass(frozen=True, slots=True, eq=False)
class _Truth:
    found: Found
    labels: NDArray[np.uint8]
    agatston: float
    volume_mm3: float


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """Mask and truth within the box that holds both, (slice, row, column) each."""

    ours: NDArray[np.int32]
    """Lesion numbers of the mask."""
    theirs: NDArray[np.int32]
    """Lesion numbers of the truth."""
    labels: NDArray[np.uint8]
    voxel_mm3: NDArray[np.float64]
    """(slice, 1, 1)."""

    @classmethod
    def of(cls, found: Found, truth: _Truth, volume: Volume) -> "_Sides":
        boxes = [side.box for side in (found, truth.found) if side.lesions]
        box = tuple(
            slice(min(one[axis].start for one in boxes), max(one[axis].stop for one in boxes))
            if boxes
            else slice(0, 0)
            for axis in range(3)
        )
        extent = volume.grid.voxel_mm3[box[0], None, None]
        return cls(found.labels[box], truth.found.labels[box], truth.labels[box], extent)

    @property
    def sure(self) -> BoolArray:
        """Voxels that count."""
        return np.asarray(self.labels != UNCERTAIN)


def evaluate_series(
    series: Series, judged: Judged, mask: Path | None = None, settings: Settings | None = None
) -> Record:
    """Judge one series; `mask` is the supplied one when the models are not asked.

    Raises: IacError: mask_mismatch, and the words of the main job.
    """
    about = CaseOptions(
        may_be_empty=True,
        case_id=series.case,
        save_probability=True,
        gate=judged.gate,
        labels=judged.labels,
        absent_labels_count_nothing=True,
    )
    read = read_case(series.image, settings, about)
    if isinstance(read, CaseOutput):
        return _not_measured(series, None, read)
    volume = read.reading.volume
    truth = _truth_of(volume, series)
    if judged.models is not None:
        output = measure_case(read, judged.models, settings, about)
    elif mask is not None:
        output = score_mask(mask, series.image, judged.locator, settings, about)
    else:
        raise ValueError("neither models nor a mask")
    if output.result.status is not Status.MEASURED or output.images is None:
        return _not_measured(series, truth, output)
    measured = _measured(output, volume, truth, judged)
    return Record(measured=True, **_common(series, truth), **measured)


def _common(series: Series, truth: _Truth | None) -> dict[str, Any]:
    names = ("thickness_mm", "kernel", "noise_hu", "anatomy", "study_day", "true_volume_mm3")
    return {
        "case": series.case,
        "patient": series.patient,
        "reconstruction": series.reconstruction,
        **{name: getattr(series, name) for name in names},
        "drawn_mm3": None if truth is None else truth.volume_mm3,
        "drawn_agatston": None if truth is None else truth.agatston,
    }


def _not_measured(series: Series, truth: _Truth | None, output: CaseOutput) -> Record:
    reasons = tuple(reason.code for reason in output.result.reasons)
    return Record(measured=False, reasons=reasons, **_common(series, truth))


def _truth_of(volume: Volume, series: Series) -> _Truth:
    labels = read_labels(series.label, volume.grid)
    given = Mask((labels > 0) & (labels != UNCERTAIN), volume.grid)
    found = find_lesions(volume, given)
    if given.voxels.any() and not found.lesions:
        raise IacError(
            Word.MASK_MISMATCH,
            "no labelled voxel counts as calcification on its scan: all are below 130 HU or single",
            way_out="check that the labels belong to this series and lie on its grid",
        )
    scores = score(found, volume, None, None)
    return _Truth(found, labels, float(scores.agatston or 0.0), float(scores.volume_mm3 or 0.0))


def _measured(
    output: CaseOutput, volume: Volume, truth: _Truth, judged: Judged
) -> Mapping[str, Any]:
    images, document = output.images, output.result.to_json_dict()
    assert images is not None
    sides = _Sides.of(images.found, truth, volume)
    low, high = document["volume_mm3_interval"] or (None, None)
    return {
        "volume_mm3": document["volume_mm3"],
        "low_mm3": low,
        "high_mm3": high,
        "agatston": document["agatston"],
        "overlap": overlap_of((sides.ours > 0) & sides.sure, sides.theirs > 0),
        "arteries": _arteries(images.found, sides) if judged.by_artery else None,
        "true_lesions": _true_lesions(truth, sides, judged.by_artery),
        "lesions": _lesions(output, sides),
        "bins": None if images.probability is None else _bins(volume, images.probability, truth),
    }


def overlap_of(mask: BoolArray, truth: BoolArray) -> Overlap:
    """Count the voxels of a mask and of its truth."""
    both = int((mask & truth).sum())
    return Overlap(both, int(mask.sum()) - both, int(truth.sum()) - both)


def _arteries(found: Found, sides: _Sides) -> dict[str, ArterySeen]:
    """Both sides by artery: the mask's as the product names its lesions, the truth's as labelled.

    The overlap takes what lies on the artery by either side's names.
    """
    names = np.zeros(len(found.lesions) + 1, dtype=np.uint8)
    for lesion in found.lesions:
        names[lesion.number] = 0 if lesion.artery is None else LABELS[lesion.artery]
    named = names[sides.ours]
    seen = {}
    for artery in Artery:
        ours = (named == LABELS[artery]) & sides.sure
        theirs = (sides.theirs > 0) & (sides.labels == LABELS[artery])
        seen[artery.value] = ArterySeen(
            fsum(one.volume_mm3 for one in found.lesions if one.artery == artery),
            float((theirs * sides.voxel_mm3).sum()),
            overlap_of(ours, theirs),
        )
    return seen


def _true_lesions(truth: _Truth, sides: _Sides, by_artery: bool) -> tuple[LesionSeen, ...]:
    seen = []
    for lesion in truth.found.lesions:
        own = sides.theirs == lesion.number
        artery = None
        if by_artery:
            artery = LABELLED[int(np.bincount(sides.labels[own]).argmax())].value
        seen.append(LesionSeen(lesion.volume_mm3, float((sides.ours[own] > 0).mean()), artery))
    return tuple(seen)


def _lesions(output: CaseOutput, sides: _Sides) -> tuple[LesionSeen, ...]:
    """The mask's lesions; one that lies mostly on uncertain voxels counts neither way."""
    images, told = output.images, output.result.to_json_dict()["lesions"]
    assert images is not None
    found, means = images.found, None
    if images.probability is not None:
        means = mean_probabilities(found, images.probability[found.box])
    seen = []
    for place, (lesion, entry) in enumerate(zip(found.lesions, told, strict=True)):
        own = sides.ours == lesion.number
        if sides.sure[own].mean() < 0.5:
            continue
        artery = None if lesion.artery is None else lesion.artery.value
        share = float((sides.theirs[own] > 0).mean())
        mean_p = None if means is None else means[place]
        seen.append(LesionSeen(lesion.volume_mm3, share, artery, entry.get("confidence"), mean_p))
    return tuple(seen)


def _bins(volume: Volume, probability: NDArray[np.float32], truth: _Truth) -> Bins:
    """Candidates that were looked at, or that are calcified, by their probability."""
    used = (probability > 0) & (volume.hu >= CANDIDATE_HU)
    used |= truth.found.mask
    used &= truth.labels != UNCERTAIN
    p = probability[used].astype(np.float64)
    label = truth.found.mask[used]
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    n = np.bincount(place, minlength=BINS)
    calcified = np.bincount(place, weights=label, minlength=BINS)
    stated = np.bincount(place, weights=p, minlength=BINS)
    return Bins(
        tuple(int(v) for v in n),
        tuple(float(v) for v in stated),
        tuple(int(v) for v in calcified),
        float(((p - label) ** 2).sum()),
    )
