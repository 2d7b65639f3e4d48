"""What a simulated head is called: its settings as plain values, and identifiers made from them."""

import hashlib
from dataclasses import fields
from enum import StrEnum
from typing import Any

from iac_cli.simulate.head import SimulatedHead

PROCEDURAL = "procedural head"

SIMULATOR_VERSION = "2"
"""Changes whenever the same settings give other voxels."""


def seeded_uid(*parts: object) -> str:
    """A valid UID under 2.25 that depends on `parts` alone."""
    text = "|".join(["iac-seg simulator", SIMULATOR_VERSION, *map(str, parts)])
    digest = hashlib.sha256(text.encode()).digest()[:16]
    value = bytearray(digest)
    value[6] = (value[6] & 0x0F) | 0x80  # UUID version 8: made from one's own rule
    value[8] = (value[8] & 0x3F) | 0x80
    return f"2.25.{int.from_bytes(value, 'big')}"


def settings_dict(head: SimulatedHead) -> dict[str, Any]:
    """The settings with every default filled in, as plain values."""
    settings = head.settings
    plain: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value is None and field.name == "vertebrobasilar_mm3":
            continue
        plain[field.name] = value.value if isinstance(value, StrEnum) else value
    plain["rates"] = settings.rates.facts
    plain |= {
        "increment_mm": settings.step_mm,
        "pixel_mm": settings.pixel,
        "n_slices": head.grid.shape[0],
    }
    if head.anatomy.kind != PROCEDURAL:
        plain["anatomy"] = head.anatomy.kind
    return plain
