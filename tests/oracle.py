"""Model folders whose answers are known: a locator of the phantom head, a segmenter by HU."""

from collections.abc import Collection
from pathlib import Path

import heads
import numpy as np
from tiny_models import hu_segmenter, place_locator

from iac_cli.locate.keypoints import keypoints


def oracle_models(folder: Path, absent: Collection[str] = (), **card) -> Path:
    """Key points at the phantom's arteries (its middle is the origin); p = 0.5 at 200 HU.

    The arteries named in `absent` lie outside the scan, as the locator has it.
    """
    lines = heads.lines()
    places = [lines[artery].at_fractions([fraction])[0][::-1] for artery, fraction in keypoints()]
    names = [(artery.value, fraction) for artery, fraction in keypoints()]
    nowhere = [40.0 if name in absent else -40.0 for name, _ in names]
    place_locator(folder, names, np.array(places), nowhere)
    return hu_segmenter(folder, **({"window": [16, 48, 48]} | card))
