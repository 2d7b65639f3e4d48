"""Stored pixel values in their true sign and width, where the header contradicts them.

The standard lets anything stand above BitsStored, so foreign bits are removed; but a header that
is wrong about the sign or the width would then wrap bone into air. An image is smooth and a
wrapped one is not: of the possible readings the one that changes least from pixel to pixel wins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.header import Coding


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Stored values (row, column) as they are meant."""

    stored: NDArray[Any]
    sign_corrected: bool = False
    """The header was wrong about the sign."""
    width_corrected: bool = False
    """BitsStored was too small: all bits were read."""
    bits_removed: bool = False
    """Bits above BitsStored were removed, and no overlay explains them."""


def true_values(stored: NDArray[Any], coding: Coding) -> Values:
    """The values without foreign bits above BitsStored, in their true sign and width."""
    bits = coding.bits_stored
    if bits >= coding.bits_allocated or stored.dtype.itemsize * 8 != coding.bits_allocated:
        return Values(stored)
    half = 1 << (bits - 1)
    low, high = (-half, half - 1) if coding.signed else (0, 2 * half - 1)
    largest, smallest = int(stored.max()), int(stored.min())
    if largest <= high and smallest >= low:
        return Values(stored)
    masked = _masked(stored, coding)
    if coding.overlay_bits:
        return Values(masked)
    other = stored.view(stored.dtype.str.translate(str.maketrans("iu", "ui")))
    only_not_extended = coding.signed and smallest >= 0 and largest < 2 * half
    readings = (
        Values(masked, bits_removed=not only_not_extended),
        Values(stored, sign_corrected=only_not_extended, width_corrected=not only_not_extended),
        Values(other, sign_corrected=True),
    )
    return min(readings, key=lambda one: _roughness(one.stored))


def _roughness(values: NDArray[Any]) -> int:
    """Sum of the changes from each pixel to the next in its row."""
    return int(np.abs(np.diff(values.astype(np.int64), axis=1)).sum())


def _masked(stored: NDArray[Any], coding: Coding) -> NDArray[Any]:
    """The BitsStored lowest bits, sign-extended where the header says signed."""
    masked = stored & ((1 << coding.bits_stored) - 1)
    if coding.signed:
        sign = 1 << (coding.bits_stored - 1)
        masked = (masked ^ sign) - sign
    return masked
