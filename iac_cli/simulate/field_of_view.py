"""Whether a head fits into the picture."""

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import IacError, Word

USUAL_FOV_MM = 230.0
NARROWEST_FOV_MM = 180.0
WIDEST_FOV_MM = 500.0
BONE_HU = 300.0
WAY_OUT = "change --pixel-mm or --size"


def check_field_of_view(fov_mm: float) -> None:
    """Refuse a field of view that no head fits in. Raises: IacError: bad_setting."""
    if not NARROWEST_FOV_MM <= fov_mm <= WIDEST_FOV_MM:
        raise IacError(
            Word.BAD_SETTING,
            f"the field of view is {fov_mm:.0f} mm; a head needs {NARROWEST_FOV_MM:g} to "
            f"{WIDEST_FOV_MM:g} mm",
            way_out=WAY_OUT,
        )


def check_skull_inside(clean_hu: NDArray[np.float32], fov_mm: float) -> None:
    """Refuse a field narrower than usual that cuts this skull; (slice, row, column), no noise.

    Raises: IacError: bad_setting.
    """
    if fov_mm >= USUAL_FOV_MM - 1.0:
        return
    rims = (clean_hu[:, 0], clean_hu[:, -1], clean_hu[:, :, 0], clean_hu[:, :, -1])
    if any((rim > BONE_HU).any() for rim in rims):
        raise IacError(
            Word.BAD_SETTING,
            f"the field of view of {fov_mm:.0f} mm cuts the skull of this head",
            way_out=f"{WAY_OUT}; {USUAL_FOV_MM:g} mm hold every head",
        )
