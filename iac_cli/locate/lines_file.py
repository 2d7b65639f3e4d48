"""Located arteries as a file for people: to look at, to correct, and to simulate with.

The form is that of traced heads (docs/simulator.md), so that what is corrected can be given to
`iac-seg simulate` as it is.
"""

from typing import Any

from iac_cli.geometry.lines import Artery
from iac_cli.locate.arteries import Arteries
from iac_cli.locate.locator import Card, Locator

HOW = "located"
"""Stands in each point where a tracer writes seen or inferred."""


def lines_document(arteries: Arteries, locator: Locator, image: str | None) -> dict[str, Any]:
    """The file's content; `image` is the scan's path from the file's own folder, when told."""
    named = {} if image is None else {"image": image}
    return {
        "frame": "LPS mm",
        **named,
        "lines": {
            artery.value: [
                [*(round(float(v), 2) for v in point), round(float(radius), 2), HOW]
                for point, radius in zip(line.points_mm, line.radius_mm, strict=True)
            ]
            for artery, line in arteries.lines.items()
        },
        "landmarks": {},
        "arteries": {
            artery.value: {
                "covered": arteries.covered[artery],
                "confidence": round(arteries.confidence[artery], 4),
                "length_mm": _length_mm(arteries, artery),
            }
            for artery in Artery
        },
        "locator": _about(locator.card),
        **({} if locator.near is None else {"locator_near": _about(locator.near.card)}),
    }


def _about(card: Card) -> dict[str, str]:
    return {"name": card.name, "version": card.version, "sha256": card.sha256}


def _length_mm(arteries: Arteries, artery: Artery) -> float | None:
    line = arteries.lines.get(artery)
    return None if line is None else round(float(line.arc_mm[-1]), 1)
