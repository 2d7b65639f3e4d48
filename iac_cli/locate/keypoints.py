"""The key points that the locator finds: fractions of each artery's length, in order of flow."""

from iac_cli.geometry.lines import Artery

FRACTIONS = {
    "ICA": tuple(i / 8 for i in range(9)),
    "M1": (0.0, 0.5, 1.0),
    "A1": (0.5, 1.0),
    "P1": (0.5, 1.0),
    "V4": (0.0, 1 / 3, 2 / 3, 1.0),
    "BA": (0.0, 1 / 3, 2 / 3, 1.0),
}
"""The ICA runs from the carotid canal's entrance to the terminus, V4 from the dural ring."""

NEAR_LOWERED_MM = 8.0
"""How far the middle of what a second locator sees lies below the middle of the arteries' points,
most of which crowd at the top: the vertebral arteries begin 42 mm below it, the highest reach 24 mm
above (four real heads and ten procedural ones)."""

Keypoint = tuple[Artery, float]


def keypoints() -> tuple[Keypoint, ...]:
    """All key points, artery by artery."""
    return tuple(
        (artery, fraction)
        for artery in Artery
        for fraction in FRACTIONS[artery.value.partition("-")[0]]
    )


def mirror_order(points: tuple[Keypoint, ...]) -> tuple[int, ...]:
    """Index of each key point's mirror image: of the same fraction on the other side."""
    place = {point: i for i, point in enumerate(points)}
    return tuple(place[(artery.mirrored, fraction)] for artery, fraction in points)
