"""From logits to probabilities that mean what they say: three ways, of which a card names one."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

LARGEST = 80.0
"""Logits are cut here, so that no exponential overflows."""


class Calibration(Protocol):
    """A rising function of the logit."""

    def scaled(self, logits: NDArray[Any]) -> NDArray[Any]:
        """Logits whose logistic function is the calibrated probability."""

    def to_json_dict(self) -> dict[str, Any]:
        """The card's entry."""


@dataclass(frozen=True, slots=True)
class Platt:
    """Platt 1999: p = sigmoid(a * logit + b)."""

    a: float
    b: float

    def scaled(self, logits: NDArray[Any]) -> NDArray[Any]:
        """Logits whose logistic function is the calibrated probability."""
        return np.asarray(self.a * logits + self.b)

    def to_json_dict(self) -> dict[str, Any]:
        """The card's entry."""
        return {"method": "platt", "a": self.a, "b": self.b}


@dataclass(frozen=True, slots=True)
class Temperature:
    """Guo 2017 (arXiv 1706.04599): p = sigmoid(logit / temperature)."""

    temperature: float

    def scaled(self, logits: NDArray[Any]) -> NDArray[Any]:
        """Logits whose logistic function is the calibrated probability."""
        return np.asarray(logits / self.temperature)

    def to_json_dict(self) -> dict[str, Any]:
        """The card's entry."""
        return {"method": "temperature", "temperature": self.temperature}


@dataclass(frozen=True, slots=True)
class Beta:
    """Kull 2017 (AISTATS): with q = sigmoid(logit), logit(p) = a ln q - b ln(1 - q) + c."""

    a: float
    b: float
    c: float

    def scaled(self, logits: NDArray[Any]) -> NDArray[Any]:
        """Logits whose logistic function is the calibrated probability."""
        zero = np.zeros((), dtype=np.asarray(logits).dtype)
        rise, fall = np.logaddexp(zero, logits), np.logaddexp(zero, -logits)
        return np.asarray(self.b * rise - self.a * fall + self.c)

    def to_json_dict(self) -> dict[str, Any]:
        """The card's entry."""
        return {"method": "beta", "a": self.a, "b": self.b, "c": self.c}


def calibrated(logits: NDArray[np.float32], calibration: Calibration) -> NDArray[np.float32]:
    """Probability [0, 1] of each logit; never overflows."""
    z = np.clip(calibration.scaled(logits), -LARGEST, LARGEST)
    return np.asarray(1.0 / (1.0 + np.exp(-z)), dtype=np.float32)


def calibration_of(entry: Mapping[str, Any]) -> Calibration:
    """The calibration that a card's entry names.

    Raises: ValueError: which field is missing or wrong.
    """
    method = entry.get("method")
    if method == "platt":
        return Platt(_number(entry, "a", positive=True), _number(entry, "b"))
    if method == "temperature":
        return Temperature(_number(entry, "temperature", positive=True))
    if method == "beta":
        a, b = _number(entry, "a"), _number(entry, "b")
        if a < 0.0 or b < 0.0 or a + b == 0.0:
            raise ValueError("calibration.a and .b must not be negative, nor both 0")
        return Beta(a, b, _number(entry, "c"))
    raise ValueError("calibration.method must be 'platt', 'temperature' or 'beta'")


def _number(entry: Mapping[str, Any], name: str, *, positive: bool = False) -> float:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"calibration.{name} must be a finite number")
    if positive and value <= 0:
        raise ValueError(f"calibration.{name} must be positive")
    return float(value)
