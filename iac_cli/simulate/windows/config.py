"""What the window stream varies, and how much: every family can be switched off by its name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from iac_cli.errors import IacError, Word

Range = tuple[float, float]

PLANE_MM = 1.0
PIXEL_MM = 0.44
"""The network's grid: 1 x 0.44 x 0.44 mm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """Ranges are (low, high), uniform unless said; a share is a share of the windows."""

    window: tuple[int, int, int] = (16, 48, 48)
    fine_mm: float = 0.5
    """Step of the fine planes along the slice normal; in plane the network's pixels serve."""
    margin_mm: float = 8.0
    margin_pixels: int = 8

    # where a window lies

    away_share: float = 0.15
    """Placed anywhere in the skull base instead of along an artery."""
    jitter_mm: float = 5.0
    rotation_deg: float = 22.0
    tilt_share: float = 0.35
    tilt_deg: float = 15.0
    """Most that the gantry is tilted, on top of how the head lies."""
    scale: Range = (0.88, 1.14)
    mirror_share: float = 0.5
    warp_mm: float = 2.5
    bone_shift_mm: float = 0.6
    """How far bone moves against the arteries."""
    line_jitter_mm: float = 0.8
    mix_share: float = 0.25
    """A part of the window comes from another head, laid on the same place of the same artery."""

    # bone

    source_sharpen: Range = (-0.3, 1.6)
    """In-plane detail added to (or taken from) the source, as a multiple."""
    bone_gain: Range = (0.65, 1.45)
    near_gain: float = 0.5
    """How much more bone varies, log, within some mm of an artery."""
    bone_edge_hu: float = 170.0
    tube_gain: Range = (0.88, 1.15)
    """What the tube's voltage does to bone and calcium alike."""
    cells_share: float = 0.25
    filled_share: float = 0.15
    spur_share: float = 0.5
    spur_hu: float = 600.0
    bar_share: float = 0.35
    """A bar of bone from a bone into the soft tissue: bridges between clinoids, ligaments."""

    # what looks like calcification of an artery and is none

    dura_share: float = 0.15
    blob_share: float = 0.2
    """Calcified choroid plexus, pineal gland and the like, away from arteries."""
    bleed_share: float = 0.08
    dense_vessel_share: float = 0.15

    # calcium

    lesions: int = 6
    """Implants a window at most."""
    empty_share: float = 0.25
    implant_hu: Range = (220.0, 1600.0)
    """Log-uniform."""

    # scanner

    thin_only: bool = False
    """Slices of 1 mm alone instead of 0.9 to 7.5 mm with overlap and gaps."""
    uneven_share: float = 0.12
    """Thin slices below and thick ones above within one window."""
    slope_mm: Range = (0.15, 0.45)
    """Standard deviation that rounds the slice profile."""
    psf_sigma_mm: Range = (0.28, 0.75)
    sharpen: float = 0.9
    """Most edge enhancement; half of the windows have none."""
    coarse_pixels_share: float = 0.2
    """Pixels of 0.55 to 1 mm instead of 0.35 to 0.55 mm."""
    motion_share: float = 0.06
    noise_hu: Range = (2.0, 20.0)
    """Log-uniform."""
    uneven_noise: float = 0.35
    shading_hu: float = 12.0
    gain_spread: float = 0.03
    offset_hu: float = 4.0
    band_share: float = 0.12
    """Dark bands between thick bones."""
    streak_share: float = 0.08
    """Streaks of metal or teeth outside the window."""
    clip_share: float = 0.06
    padding_share: float = 0.03


FAMILIES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "turn": {"rotation_deg": 0.0, "mirror_share": 0.0},
        "tilt": {"tilt_share": 0.0},
        "warp": {"warp_mm": 0.0, "scale": (1.0, 1.0)},
        "bone_shift": {"bone_shift_mm": 0.0},
        "mixing": {"mix_share": 0.0},
        "source_sharpness": {"source_sharpen": (0.0, 0.0)},
        "bone_density": {
            "bone_gain": (1.0, 1.0),
            "near_gain": 0.0,
            "bone_edge_hu": 0.0,
            "tube_gain": (1.0, 1.0),
        },
        "cells": {"cells_share": 0.0, "filled_share": 0.0},
        "spurs": {"spur_share": 0.0, "bar_share": 0.0},
        "mimics": {
            "dura_share": 0.0,
            "blob_share": 0.0,
            "bleed_share": 0.0,
            "dense_vessel_share": 0.0,
        },
        "thickness": {"thin_only": True, "uneven_share": 0.0, "slope_mm": (0.25, 0.25)},
        "kernel": {
            "psf_sigma_mm": (0.42, 0.42),
            "sharpen": 0.0,
            "coarse_pixels_share": 0.0,
        },
        "motion": {"motion_share": 0.0},
        "noise": {"noise_hu": (3.5, 3.5), "uneven_noise": 0.0},
        "scale_of_hu": {"shading_hu": 0.0, "gain_spread": 0.0, "offset_hu": 0.0},
        "streaks": {"band_share": 0.0, "streak_share": 0.0},
        "cut_values": {"clip_share": 0.0, "padding_share": 0.0},
    }
)
"""The families of randomisation, and the settings that switch each of them off."""


def without(config: StreamConfig, families: Iterable[str]) -> StreamConfig:
    """The stream's settings with some families switched off.

    Raises: IacError: unknown_setting.
    """
    for name in families:
        if name not in FAMILIES:
            raise IacError(
                Word.UNKNOWN_SETTING,
                f"no family of randomisation is called {name}",
                way_out=f"known families: {', '.join(FAMILIES)}",
            )
        config = replace(config, **FAMILIES[name])
    return config
