"""From logits to probabilities that mean what they say."""

import numpy as np
from numpy.typing import NDArray

from iac_cli.infer.card import Platt


def calibrated(logits: NDArray[np.float32], platt: Platt) -> NDArray[np.float32]:
    """Probability [0, 1] of each logit, sigmoid(a * logit + b); never overflows."""
    z = np.clip(platt.a * logits + platt.b, -80.0, 80.0)
    return np.asarray(1.0 / (1.0 + np.exp(-z)), dtype=np.float32)
