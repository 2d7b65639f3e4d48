"""Does the rescale of a series give HU? What reading can tell, for any object, head or not.

Nothing that was measured lies far below air; and neighbouring slices hold nearly the same tissue,
so a slice whose rescale differs from its neighbour's must still agree with it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.header import SliceHeader
from iac_cli.errors import IacError, Word

BELOW_AIR_HU = -1124.0
"""No measured air lies below this, but for noise."""

BELOW_AIR_SHARE = 0.15
"""Share of a slice that noise can put there at most."""

BIN_HU = 5.0
LEVELS_HU = (-1020.0, 600.0)
"""Range and width of the histograms by which two slices are compared."""

FARTHEST_BINS = 60
"""Shifts of up to 300 HU are tried."""

JUMP_HU = 20.0
"""A shift above this between two neighbouring slices is no anatomy."""


def below_air_share(hu: NDArray[np.float32]) -> float:
    """Share of a slice's pixels below all air, but for its lowest value, which is padding."""
    some = hu[::2, ::2]
    below = some[some < BELOW_AIR_HU]
    if not below.size:
        return 0.0
    return float((below > below.min()).sum()) / some.size


def check_below_air(shares: Sequence[float]) -> None:
    """Refuse a series whose air lies far below -1000 HU. Raises: IacError: not_hounsfield."""
    usual = float(np.median(shares)) if len(shares) else 0.0
    if usual > BELOW_AIR_SHARE:
        what = f"{usual:.0%} of a slice lies below {BELOW_AIR_HU:.0f} HU, where nothing can lie"
        raise _not_hu(what)


def check_rescales(hu: NDArray[np.float32], headers: Sequence[SliceHeader]) -> None:
    """Where the rescale changes from slice to slice, the tissue must not jump.

    `hu` (slice, row, column) in the order of the headers. Raises: IacError: not_hounsfield.
    """
    rescales = [(h.coding.slope, h.coding.intercept) for h in headers]
    for k in range(1, len(headers)):
        if rescales[k] == rescales[k - 1]:
            continue
        shift_hu = shift_between(hu[k - 1], hu[k])
        if abs(shift_hu) > JUMP_HU:
            what = (
                f"between {headers[k - 1].label} and {headers[k].label} the rescale changes and "
                f"the tissue jumps by about {shift_hu:.0f} HU"
            )
            raise _not_hu(what)


def shift_between(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """By how many HU the histogram of one slice must be moved to lie on another's."""
    a, b = _levels(one), _levels(other)
    n = len(a)
    shifts = range(-FARTHEST_BINS, FARTHEST_BINS + 1)
    fit = [float(a[max(0, -s) : n - max(0, s)] @ b[max(0, s) : n - max(0, -s)]) for s in shifts]
    return (int(np.argmax(fit)) - FARTHEST_BINS) * BIN_HU


def _levels(hu: NDArray[np.float32]) -> NDArray[np.float64]:
    """Square root of the histogram, so that neither air nor tissue outweighs the other."""
    bins = int((LEVELS_HU[1] - LEVELS_HU[0]) / BIN_HU)
    counts, _ = np.histogram(hu[::2, ::2], bins=bins, range=LEVELS_HU)
    return np.sqrt(counts.astype(np.float64))


def _not_hu(what: str) -> IacError:
    return IacError(
        Word.NOT_HOUNSFIELD, what, way_out="export the original CT series with its rescale tags"
    )
