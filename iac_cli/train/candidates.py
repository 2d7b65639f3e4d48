"""Candidate voxels to calibrate on, here of simulated windows; `heads` has those of whole heads.

A candidate has at least 130 HU on an acquired slice, within reach of an artery: over all voxels
everything looks calibrated. In whole heads fainter voxels are kept beside them, since they belong
to the groups of which a lesion is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iac_cli.simulate.skull import Skull, densify
from iac_cli.simulate.stream import StreamConfig, WindowStream
from iac_cli.train.export import load_network
from iac_cli.train.segmenter import LARGE_WINDOW, load_skulls, network_input, shares_of

CALIBRATION_SEED = 20_000_003
EMPTY_SHARE = 0.55
CANDIDATE_HU = 130.0
REACH_MM = 8.0
BATCH = 8

MEAN_BURDEN_MM3 = 100.0
"""Mean calcification of a head. Published: 82 % of people about 70 years old have calcified ICAs,
median 44 mm3 (Bos 2012); 21 % have vertebrobasilar calcification, median 7.3 mm3 with quartiles 2.0
and 25.6 (van der Toorn 2019), which is log-normal with sigma 1.89. A log-normal of that width with
median 44, cut at 1,000 mm3, has mean 112; times its prevalence, and the other added, about 100."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Voxels that were looked at, all (k,): logit, label, and the window or patient of each."""

    logit: FloatArray
    label: FloatArray
    window: NDArray[np.int64]
    bright: NDArray[np.bool_]
    """A candidate; the others, too faint or in doubt, only join groups."""
    place: NDArray[np.intp] | None = None
    """(k, 4): series, slice, row and column, in whole heads. Series lie two numbers apart, so that
    no voxel touches one of another series."""
    thickness_mm: FloatArray | None = None
    """(k,) of the slices, in whole heads."""

    def part(self, chosen: NDArray[np.bool_]) -> "Candidates":
        """Some of the voxels."""
        return Candidates(
            self.logit[chosen],
            self.label[chosen],
            self.window[chosen],
            self.bright[chosen],
            None if self.place is None else self.place[chosen],
            None if self.thickness_mm is None else self.thickness_mm[chosen],
        )

    def weights(self, calcified_share: float | None) -> FloatArray:
        """Weight of each voxel (k,), mean 1, with which calcium has the wanted share.

        Windows without calcium weigh 1 before scaling, the others as little as it takes. None:
        the share is a head's as it is, and all weigh 1.
        """
        holds = np.isin(self.window, np.unique(self.window[self.label > 0]))
        if calcified_share is None or holds.all():
            return np.ones(len(self.label))
        calcium, beside, empty = self.label.sum(), holds.sum(), (~holds).sum()
        factor = calcified_share * empty / max(1e-9, calcium - calcified_share * beside)
        weight = np.where(holds, min(1.0, factor) if factor > 0.0 else 1.0, 1.0)
        return np.asarray(weight / weight.mean())


def joined(parts: list[Candidates]) -> Candidates:
    """Voxels of several windows or patients as one; what not all have is left out."""
    places = [one.place for one in parts if one.place is not None]
    thickness_mm = [one.thickness_mm for one in parts if one.thickness_mm is not None]
    return Candidates(
        np.concatenate([one.logit for one in parts]),
        np.concatenate([one.label for one in parts]),
        np.concatenate([one.window for one in parts]),
        np.concatenate([one.bright for one in parts]),
        np.concatenate(places) if len(places) == len(parts) else None,
        np.concatenate(thickness_mm) if len(thickness_mm) == len(parts) else None,
    )


def of_windows(
    run: Path,
    skulls: Path,
    n_windows: int,
    *,
    window: tuple[int, int, int] = LARGE_WINDOW,
    on_window: Callable[[int, int], None] | None = None,
) -> Candidates:
    """Run the network on fresh simulated windows of inference size, its prior as located."""
    network = load_network(run)
    heads = load_skulls(skulls)
    config = StreamConfig(fine_mm=1.0, empty_share=EMPTY_SHARE, window=window)
    stream = WindowStream(
        heads, shares_of(heads), config, device=torch.device("cpu"), seed=CALIBRATION_SEED
    )
    parts = []
    random = torch.Generator().manual_seed(CALIBRATION_SEED)
    for first in range(0, n_windows, BATCH):
        made = stream.batch(BATCH)
        answer = two_looks(network, network_input(made, network, random, absent_share=0.0))
        used = (made.weight > 0.5) & (made.hu >= CANDIDATE_HU) & (made.distance_mm <= REACH_MM)
        parts.append(
            Candidates(
                answer[used].double().numpy(),
                made.label[used].double().numpy(),
                used.nonzero()[:, 0].numpy() + first,
                np.ones(int(used.sum()), dtype=bool),
            )
        )
        if on_window:
            on_window(min(n_windows, first + BATCH), n_windows)
    return joined(parts)


def two_looks(network: torch.nn.Module, windows: Tensor) -> Tensor:
    """Mean logit (b, z, y, x) of a window and its mirror image, as at inference."""
    with torch.inference_mode():
        first: Tensor = network(windows)
        mirrored: Tensor = network(windows.flip(-1)).flip(-1)
    return 0.5 * (first + mirrored)[:, 0]


def calcified_share_of_heads(skulls: dict[str, Skull]) -> float:
    """Published burden over the mean volume of candidates within reach of the arteries."""
    from scipy.spatial import cKDTree

    volumes = []
    for skull in skulls.values():
        bright = np.argwhere(skull.hu >= CANDIDATE_HU) * skull.spacing_mm
        dense = np.concatenate([densify(line, 0.5)[:, :3] for line in skull.lines.values()])
        near = np.isfinite(cKDTree(dense).query(bright, distance_upper_bound=REACH_MM)[0])
        volumes.append(near.sum() * float(np.prod(skull.spacing_mm)))
    return MEAN_BURDEN_MM3 / float(np.mean(volumes))
