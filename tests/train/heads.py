"""Made heads and windows to train on in seconds."""

from dataclasses import replace

import numpy as np
import torch

from iac_cli.geometry.lines import Artery
from iac_cli.simulate.skull import Skull
from iac_cli.simulate.stream import StreamConfig
from iac_cli.train.cache import Entry, write_index
from iac_cli.train.decoders import Decoder
from iac_cli.train.loop import Budget, Place, Precision
from iac_cli.train.mae import MaeConfig
from iac_cli.train.networks import decoder_config
from iac_cli.train.splits import Split, patient_key
from iac_cli.train.vit import VitConfig

STREAM = StreamConfig(window=(8, 16, 16), fine_mm=1.0, margin_mm=4.0, margin_pixels=4, lesions=2)
VIT = VitConfig(dim=64, depth=1)
NETWORK = decoder_config(Decoder.HYBRID, VIT).to_dict() | {"path": (4, 4, 8, 8)}
MAE = MaeConfig(vit=VIT, decoder_dim=64, decoder_depth=1, mask_ratio=0.75)
MAE_STILL = replace(MAE, vit=replace(VIT, drop_path=0.0))
CPU = Place(device=torch.device("cpu"), precision=Precision.FP32)


def make_skulls(folder):
    z = np.linspace(15.0, 65.0, 6)
    line = np.column_stack([z, np.full(6, 30.0), np.full(6, 30.0), np.full(6, 2.5)])
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("first", "second"):
        hu = np.full((40, 60, 60), 40.0, np.float16)
        Skull(name, hu, np.array([2.0, 1.0, 1.0]), {Artery.ICA_R: line}).save(
            folder / f"{name}.npz"
        )
    return folder


def make_windows(folder, patients=3, labelled=True, split=Split.TRAIN):
    """Cached windows of (8, 24, 24): bright cubes, which are calcified, on noise."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(patients):
        hu = rng.normal(40.0, 20.0, (6, 8, 24, 24))
        label = np.zeros(hu.shape, bool)
        for k in range(6):
            z, y, x = rng.integers(1, 5), rng.integers(2, 18), rng.integers(2, 18)
            label[k, z : z + 2, y : y + 4, x : x + 4] = True
        hu[label] += 400.0
        np.savez_compressed(
            folder / f"{number}.npz",
            hu=hu.astype(np.float16),
            label=label,
            weight=hu > 0.0,
            distance=np.full(hu.shape, 16, np.uint8),
        )
        entries.append(Entry(folder / f"{number}.npz", patient_key(str(number)), split, labelled))
    write_index(folder, entries)
    return entries


def steps(n, seed=1):
    return Budget(steps=n, seed=seed)
