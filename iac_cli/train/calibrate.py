"""Calibrate a trained segmenter and choose its operating threshold, on simulated windows alone.

    python -m iac_cli.train.calibrate RUN --skulls FOLDER -o calibration.json

The windows come from a seed of their own. Platt scaling is fitted on candidate voxels (HU >= 130 on
acquired slices, within reach of an artery): over all voxels everything looks calibrated. Windows
hold far more calcium than heads do, so those that hold any are weighted down until calcium's share
of the candidates is a head's: published burden over the candidate volume of the training heads.
The threshold maximises the pooled Dice of the calibrated probability on the second half of the
windows, which the fit did not see.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iac_cli.simulate.skull import Skull, densify
from iac_cli.simulate.stream import StreamConfig, WindowStream
from iac_cli.train.export import load_network
from iac_cli.train.segmenter import LARGE_WINDOW, SKULL_SHARES, hu_channels, load_skulls

CALIBRATION_SEED = 20_000_003
EMPTY_SHARE = 0.55
CANDIDATE_HU = 130.0
REACH_MM = 8.0
THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.01), 2)
ECE_BINS = 15

MEAN_BURDEN_MM3 = 100.0
"""Mean calcification of a head. Published: 82 % of people about 70 years old have calcified ICAs,
median 44 mm3 (Bos 2012); 21 % have vertebrobasilar calcification, median 7.3 mm3 with quartiles 2.0
and 25.6 (van der Toorn 2019), which is log-normal with sigma 1.89. A log-normal of that width with
median 44, cut at 1,000 mm3, has mean 112; times its prevalence, and the other added, about 100."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Candidate voxels of many windows, all (k,): logit, label, and each one's window."""

    logit: FloatArray
    label: FloatArray
    window: NDArray[np.int64]

    def part(self, chosen: NDArray[np.bool_]) -> "Candidates":
        """Some of the candidates."""
        return Candidates(self.logit[chosen], self.label[chosen], self.window[chosen])

    def weights(self, calcified_share: float) -> FloatArray:
        """Weight of each candidate (k,), mean 1, with which calcium has the wanted share.

        Windows without calcium weigh 1 before scaling, the others as little as it takes.
        """
        holds = np.isin(self.window, np.unique(self.window[self.label > 0]))
        if holds.all():
            return np.ones(len(self.label))
        calcium, beside, empty = self.label.sum(), holds.sum(), (~holds).sum()
        factor = calcified_share * empty / max(1e-9, calcium - calcified_share * beside)
        weight = np.where(holds, min(1.0, factor) if factor > 0.0 else 1.0, 1.0)
        return np.asarray(weight / weight.mean())


def draw_candidates(run: Path, skulls: Path, n_windows: int, batch: int = 8) -> Candidates:
    """Run the network on fresh simulated windows of inference size."""
    network = load_network(run)
    heads = load_skulls(skulls)
    shares = {name: SKULL_SHARES.get(name, 0.3) for name in heads}
    config = StreamConfig(fine_mm=1.0, empty_share=EMPTY_SHARE, window=LARGE_WINDOW)
    stream = WindowStream(heads, shares, config, device=torch.device("cpu"), seed=CALIBRATION_SEED)
    logits, labels, windows = [], [], []
    for first in range(0, n_windows, batch):
        made = stream.batch(batch)
        answer = two_looks(network, hu_channels(made.hu))
        used = (made.weight > 0.5) & (made.hu >= CANDIDATE_HU) & (made.distance_mm <= REACH_MM)
        logits.append(answer[used].double().numpy())
        labels.append(made.label[used].double().numpy())
        windows.append(used.nonzero()[:, 0].numpy() + first)
    return Candidates(*(np.concatenate(part) for part in (logits, labels, windows)))


def two_looks(network: torch.nn.Module, windows: Tensor) -> Tensor:
    """Mean logit (b, z, y, x) of a window and its mirror image, as at inference."""
    with torch.inference_mode():
        first: Tensor = network(windows)
        mirrored: Tensor = network(windows.flip(-1)).flip(-1)
    return 0.5 * (first + mirrored)[:, 0]


def fit_platt(candidates: Candidates, weight: FloatArray) -> tuple[float, float]:
    """a and b of p = sigmoid(a * logit + b), by weighted negative log-likelihood."""
    from scipy.optimize import minimize

    def loss(parameters: FloatArray) -> float:
        z = parameters[0] * candidates.logit + parameters[1]
        return float((weight * (np.logaddexp(0.0, z) - candidates.label * z)).mean())

    found = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead")
    return float(found.x[0]), float(found.x[1])


def dice_by_threshold(p: FloatArray, label: FloatArray, weight: FloatArray) -> FloatArray:
    """Weighted pooled Dice at each of `THRESHOLDS`."""
    scores = []
    for threshold in THRESHOLDS:
        drawn = p >= threshold
        both = (weight * label)[drawn].sum()
        scores.append(2.0 * both / max(1e-9, weight[drawn].sum() + (weight * label).sum()))
    return np.array(scores)


def expected_calibration_error(p: FloatArray, label: FloatArray, weight: FloatArray) -> float:
    """Mean gap between stated and seen frequency over equal-width bins, by weight."""
    place = np.minimum((p * ECE_BINS).astype(int), ECE_BINS - 1)
    stated, seen = (
        np.bincount(place, weights=weight * values, minlength=ECE_BINS) for values in (p, label)
    )
    return float(np.abs(stated - seen).sum() / weight.sum())


def unbiased_threshold(p: FloatArray, label: FloatArray, weight: FloatArray) -> float:
    """The threshold at which as much is drawn as is calcified."""
    drawn = np.array([weight[p >= threshold].sum() for threshold in THRESHOLDS])
    return float(THRESHOLDS[np.abs(drawn - (weight * label).sum()).argmin()])


def calibrate(candidates: Candidates, calcified_share: float) -> dict[str, object]:
    """Fit on one half of the windows, choose and report on the other; the card's fields."""
    middle = np.median(np.unique(candidates.window))
    fit = candidates.part(candidates.window < middle)
    held = candidates.part(candidates.window >= middle)
    a, b = fit_platt(fit, fit.weights(calcified_share))
    weight, label = held.weights(calcified_share), held.label
    raw, p = _sigmoid(held.logit), _sigmoid(a * held.logit + b)
    dice = dice_by_threshold(p, label, weight)
    return {
        "threshold": float(THRESHOLDS[dice.argmax()]),
        "threshold_unbiased_volume": unbiased_threshold(p, label, weight),
        "calibration": {"method": "platt", "a": a, "b": b},
        "figures": {
            "data": "simulated windows along the arteries, seed of their own, second half",
            "n_windows": len(np.unique(candidates.window)),
            "candidates": len(label),
            "calcified_share_of_windows": float(label.mean()),
            "calcified_share_weighted_to": calcified_share,
            "dice_pooled": float(dice.max()),
            "ece_raw": expected_calibration_error(raw, label, weight),
            "ece": expected_calibration_error(p, label, weight),
        },
    }


def _sigmoid(z: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-z)))


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


def main() -> None:
    """Parse the command line, calibrate, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--skulls", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=400)
    chosen = parser.parse_args()
    drawn = draw_candidates(chosen.run, chosen.skulls, chosen.windows)
    np.savez_compressed(
        chosen.run / "candidates.npz", logit=drawn.logit, label=drawn.label, window=drawn.window
    )
    fields = calibrate(drawn, calcified_share_of_heads(load_skulls(chosen.skulls)))
    chosen.output.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
