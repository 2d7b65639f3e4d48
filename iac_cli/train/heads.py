"""Candidate voxels to calibrate on, of the whole heads of a cohort, located as at inference."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from iac_cli.dicom.labels import read_labels
from iac_cli.dicom.read import read_series
from iac_cli.dicom.reading import Reading
from iac_cli.errors import IacError, Word
from iac_cli.infer.calibrate import Platt
from iac_cli.infer.card import Role, SegmenterCard
from iac_cli.infer.engine import Provider
from iac_cli.infer.models import load_segmenter
from iac_cli.infer.operating import OperatingPoint
from iac_cli.infer.segment import Segmenter, segment_calcium
from iac_cli.locate.locator import Locator, locate_arteries
from iac_cli.simulate.skull import UNCERTAIN_LABEL
from iac_cli.train.cache import GRID
from iac_cli.train.candidates import CANDIDATE_HU, Candidates, joined
from iac_cli.train.cases import Case, find_cases, labelled
from iac_cli.train.export import REACH_MM, load_network, window_of
from iac_cli.train.segmenter import HU_WINDOWS, PRIOR_REACH_MM, takes_prior
from iac_cli.train.splits import Split, load_splits

FURTHEST_LOGIT = 15.0
"""A probability of exactly 0 or 1 is read back as this logit."""


class RunEngine:
    """A trained run's network as an engine: logits of windows (n, c, z, y, x)."""

    provider = Provider("torch", "CPU", "cpu", torch.__version__, torch.get_num_threads())
    batch = 8

    def __init__(self, network: torch.nn.Module) -> None:
        self._network = network

    def run(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Run the network."""
        with torch.inference_mode():
            return (self._network(torch.from_numpy(inputs)).numpy(),)


RAW = Platt(1.0, 0.0)
"""No calibration: the plain logistic of the logit."""


def raw_segmenter(place: Path) -> Segmenter:
    """A trained run, or a folder of exported models, whose probability is not calibrated.

    Raises: IacError: model_not_found, and the words of opening a model.
    """
    if (place / f"{Role.SEGMENTER}.json").is_file():
        exported = load_segmenter(place)
        return replace(exported, card=replace(exported.card, calibration=RAW))
    if not (place / "network.safetensors").is_file():
        raise IacError(
            Word.MODEL_NOT_FOUND,
            "the folder holds neither a finished run nor an exported segmenter",
            way_out="give a run with network.safetensors, or a folder with segmenter.json",
        )
    return _of_run(place)


def _of_run(run: Path) -> Segmenter:
    network = load_network(run)
    card = SegmenterCard(
        name="segmenter",
        version="not exported",
        role=Role.SEGMENTER,
        path=run / "network.safetensors",
        sha256="",
        n_bytes=0,
        opset=0,
        ir_version=0,
        grid_mm=GRID,
        hu_windows=tuple((float(low), float(high)) for low, high in HU_WINDOWS),
        architecture={},
        window=window_of(network),
        points=(OperatingPoint(threshold=0.5),),
        calibration=RAW,
        reach_mm=REACH_MM,
        prior_reach_mm=PRIOR_REACH_MM if takes_prior(network) else None,
    )
    return Segmenter(card, RunEngine(network))


def of_scans(
    segmenter: Segmenter,
    locator: Locator,
    cases: Sequence[Case],
    on_series: Callable[[int, int], None] | None = None,
) -> Candidates:
    """Run a segmenter on labelled scans, arteries located as at inference.

    `window` numbers the patients. Calcified voxels that were never looked at count with the lowest
    logit: what the locator loses is the network's loss too. Voxels of which readers were not sure
    only join groups.
    Raises: IacError: mask_mismatch, and the words of reading.
    """
    numbers = {name: n for n, name in enumerate(dict.fromkeys(case.patient for case in cases))}
    parts = []
    for done, case in enumerate(cases, start=1):
        assert case.label is not None
        reading = read_series(case.image)
        labels = read_labels(case.label, reading.volume.grid)
        number = numbers[case.patient]
        parts.append(_of_head(segmenter, locator, reading, labels, number, 2 * done))
        if on_series:
            on_series(done, len(cases))
    return joined(parts)


def development_cases(data: Path, run: Path) -> list[Case]:
    """The labelled scans of a cohort's folder or a table that may choose a calibration.

    Patients whom the run, or the table, puts into another split are left out.
    Raises: IacError: empty_set, labels_missing, and the words of the table.
    """
    known = load_splits(run)
    cases = [
        case
        for case in labelled(find_cases([data]))
        if known.get(case.patient, case.split) in (None, Split.DEVELOPMENT)
    ]
    if not cases:
        raise IacError(
            Word.EMPTY_SET,
            "no patient of the data may choose a calibration: all train, test or give intervals",
            way_out="give patients of their own, or put some into the split development",
        )
    return cases


def _of_head(
    segmenter: Segmenter,
    locator: Locator,
    reading: Reading,
    labels: NDArray[np.uint8],
    patient: int,
    series: int,
) -> Candidates:
    volume = reading.volume
    found = segment_calcium(volume, locate_arteries(volume, locator), segmenter)
    p = np.clip(found.p.astype(np.float64), 1e-12, 1.0 - 1e-12)
    logit = np.clip(np.log(p) - np.log1p(-p), -FURTHEST_LOGIT, FURTHEST_LOGIT)
    doubtful = labels == UNCERTAIN_LABEL
    calcified = (labels > 0) & ~doubtful
    lost = np.argwhere(calcified & ~found.looked)
    voxels = np.concatenate([found.voxels, lost])
    where = tuple(voxels.T)
    return Candidates(
        np.concatenate([logit, np.full(len(lost), -FURTHEST_LOGIT)]),
        calcified[where].astype(np.float64),
        np.full(len(voxels), patient, dtype=np.int64),
        ((volume.hu[where] >= CANDIDATE_HU) | ~found.looked[where]) & ~doubtful[where],
        np.column_stack([np.full(len(voxels), series), voxels]),
        np.full(len(voxels), found.thickness_mm(reading.series.thickness_mm)),
    )
