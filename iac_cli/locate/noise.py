"""How noisy a head is, from small blocks of its brain: noise hides faint calcification."""

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import Finding, Word
from iac_cli.settings import CheckSettings

BLOCK = 8
"""Pixels along a block's side: 3 to 4 mm, so that the noise of any kernel varies within."""

MOST_SLICES = 20
"""About so many slices, evenly picked, are looked at."""

BRAIN_HU = (5.0, 60.0)
"""Mean of a block of brain or cerebrospinal fluid."""

QUIET_PERCENTILE = 25.0
"""Of the blocks' standard deviations: the others hold edges besides noise."""

FEWEST_BLOCKS = 50


def noise_hu(hu: NDArray[np.float32]) -> float | None:
    """Standard deviation of the noise in the brain, HU; None where there is too little brain.

    With white noise of 15 to 45 HU added to four real heads it came out up to 3 HU too low
    (`benchmarks/pixels.py`).
    """
    rows, columns = (side // BLOCK for side in hu.shape[1:])
    every = -(-len(hu) // MOST_SLICES)
    some = hu[::every, : rows * BLOCK, : columns * BLOCK]
    blocks = some.reshape(len(some), rows, BLOCK, columns, BLOCK)
    means = blocks.mean(axis=(2, 4))
    brain = (means >= BRAIN_HU[0]) & (means <= BRAIN_HU[1])
    if int(brain.sum()) < FEWEST_BLOCKS:
        return None
    return float(np.percentile(blocks.std(axis=(2, 4))[brain], QUIET_PERCENTILE))


def judge_noise(hu: NDArray[np.float32], settings: CheckSettings) -> Finding | None:
    """Noise beyond what the networks were trained with; `hu` are the arteries' slices."""
    sigma = noise_hu(hu)
    if sigma is None or sigma <= settings.noise_hu:
        return None
    what = (
        f"the noise is {sigma:.0f} HU, the network was trained with at most "
        f"{settings.noise_hu:.0f}: the scores may be too low"
    )
    return Finding(Word.IMAGE_NOISY, what)
