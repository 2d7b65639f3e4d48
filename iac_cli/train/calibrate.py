"""Calibrate a trained segmenter and choose its operating threshold, on simulated windows alone.

    python -m iac_cli.train.calibrate RUN --skulls FOLDER -o calibration.json

The windows come from a seed of their own and hold less calcium than the training windows do (heads
hold less still). Platt scaling is fitted on candidate voxels (HU >= 130 on acquired slices): over
all voxels everything looks calibrated. The threshold maximises the pooled Dice of the calibrated
probability on the second half of the windows, which the fit did not see.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from iac_cli.simulate.stream import StreamConfig, WindowStream
from iac_cli.train.export import load_network
from iac_cli.train.segmenter import LARGE_WINDOW, SKULL_SHARES, hu_channels, load_skulls

CALIBRATION_SEED = 20_000_003
EMPTY_SHARE = 0.55
CANDIDATE_HU = 130.0
THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.01), 2)
ECE_BINS = 15

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Candidate voxels of many windows: logit and label, both (k,), and each one's window."""

    logit: FloatArray
    label: FloatArray
    window: NDArray[np.int64]


def draw_candidates(run: Path, skulls: Path, n_windows: int, batch: int = 8) -> Candidates:
    """Run the network on fresh simulated windows of inference size."""
    network = load_network(run)
    heads = load_skulls(skulls)
    shares = {name: SKULL_SHARES.get(name, 0.3) for name in heads}
    config = StreamConfig(fine_mm=1.0, empty_share=EMPTY_SHARE, window=LARGE_WINDOW)
    stream = WindowStream(
        heads, shares, config, device=torch.device("cpu"), seed=CALIBRATION_SEED
    )
    logits, labels, windows = [], [], []
    for first in range(0, n_windows, batch):
        made = stream.batch(batch)
        with torch.inference_mode():
            answer = network(hu_channels(made.hu))[:, 0]
        used = (made.weight > 0.5) & (made.hu >= CANDIDATE_HU)
        logits.append(answer[used].double().numpy())
        labels.append(made.label[used].double().numpy())
        windows.append(used.nonzero()[:, 0].numpy() + first)
    return Candidates(*(np.concatenate(part) for part in (logits, labels, windows)))


def fit_platt(candidates: Candidates) -> tuple[float, float]:
    """a and b of p = sigmoid(a * logit + b), by negative log-likelihood."""
    from scipy.optimize import minimize

    def loss(parameters: FloatArray) -> float:
        z = parameters[0] * candidates.logit + parameters[1]
        return float((np.logaddexp(0.0, z) - candidates.label * z).mean())

    found = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead")
    return float(found.x[0]), float(found.x[1])


def dice_by_threshold(p: FloatArray, label: FloatArray) -> FloatArray:
    """Pooled Dice at each of `THRESHOLDS`."""
    scores = []
    for threshold in THRESHOLDS:
        drawn = p >= threshold
        scores.append(2.0 * label[drawn].sum() / max(1.0, drawn.sum() + label.sum()))
    return np.array(scores)


def expected_calibration_error(p: FloatArray, label: FloatArray) -> float:
    """Mean gap between stated and seen frequency over equal-width bins, weighted by count."""
    place = np.minimum((p * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [
        abs(p[place == i].mean() - label[place == i].mean()) * (place == i).mean()
        for i in range(ECE_BINS)
        if (place == i).any()
    ]
    return float(sum(gaps))


def unbiased_threshold(p: FloatArray, label: FloatArray) -> float:
    """The threshold at which as many voxels are drawn as are calcified."""
    drawn = np.array([(p >= threshold).sum() for threshold in THRESHOLDS])
    return float(THRESHOLDS[np.abs(drawn - label.sum()).argmin()])


def calibrate(candidates: Candidates) -> dict[str, object]:
    """Fit on one half of the windows, choose and report on the other; the card's fields."""
    middle = np.median(np.unique(candidates.window))
    fit, held = candidates.window < middle, candidates.window >= middle
    a, b = fit_platt(
        Candidates(candidates.logit[fit], candidates.label[fit], candidates.window[fit])
    )
    label = candidates.label[held]
    raw = 1.0 / (1.0 + np.exp(-candidates.logit[held]))
    p = 1.0 / (1.0 + np.exp(-(a * candidates.logit[held] + b)))
    dice = dice_by_threshold(p, label)
    return {
        "threshold": float(THRESHOLDS[dice.argmax()]),
        "threshold_unbiased_volume": unbiased_threshold(p, label),
        "calibration": {"method": "platt", "a": a, "b": b},
        "figures": {
            "data": "simulated windows along the arteries, seed of their own, second half",
            "n_windows": int(len(np.unique(candidates.window))),
            "candidates": int(held.sum()),
            "calcified_share": float(label.mean()),
            "dice_pooled": float(dice.max()),
            "ece_raw": expected_calibration_error(raw, label),
            "ece": expected_calibration_error(p, label),
        },
    }


def main() -> None:
    """Parse the command line, calibrate, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--skulls", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=400)
    chosen = parser.parse_args()
    fields = calibrate(draw_candidates(chosen.run, chosen.skulls, chosen.windows))
    chosen.output.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
