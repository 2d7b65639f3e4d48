"""What a result says of how it was made: networks, provider, versions, settings, seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from time import perf_counter
from typing import Any

from iac_cli import __version__
from iac_cli.infer.card import SegmenterCard
from iac_cli.infer.models import Models
from iac_cli.infer.operating import OperatingPoint
from iac_cli.locate.locator import Card as LocatorCard
from iac_cli.locate.locator import Locator
from iac_cli.report.result import Made, ModelInfo, Provider
from iac_cli.settings import Settings

VERSIONED = ("numpy", "scipy", "pydicom", "onnxruntime", "onnxruntime-gpu", "torch", "openvino")
"""Libraries whose versions a result carries, where they are installed."""

OnStep = Callable[[str, int, int], None]
"""Told (stage, done, of how many) as a case goes on."""


def made_by(
    models: Models, settings: Settings, clock: "Clock", point: OperatingPoint | None = None
) -> Made:
    """Of a case that was segmented at an operating point, or refused with the models at hand."""
    ran, card = models.segmenter.engine.provider, models.segmenter.card
    return Made(
        model=model_info(card),
        locator=model_info(models.locator.card),
        locator_near=near_info(models.locator),
        provider=Provider(ran.backend, ran.name, ran.device),
        versions=versions(),
        settings=settings_of(settings) | _thresholds(point) | {"reach_mm": card.reach_mm},
        timings=clock.seconds,
    )


def _thresholds(point: OperatingPoint | None) -> dict[str, float]:
    if point is None:
        return {}
    return {"threshold": point.threshold, "lesion_threshold": point.lesion_threshold}


def model_info(card: SegmenterCard | LocatorCard) -> ModelInfo:
    """A network by name, version and checksum."""
    return ModelInfo(card.name, card.version, card.sha256)


def near_info(locator: Locator) -> ModelInfo | None:
    """The second locator, where there is one."""
    return None if locator.near is None else model_info(locator.near.card)


def settings_of(settings: Settings) -> dict[str, Any]:
    """The settings that shape the numbers; where and how fast they are computed is not one."""
    groups = asdict(settings)
    return {name: groups[name] for name in ("locate", "windows", "checks")}


def versions() -> dict[str, str]:
    """Of this package and of the libraries that shape numbers."""
    found = {"iac-cli": __version__}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


class Clock:
    """Seconds by stage, and the way to tell of progress."""

    def __init__(self, on_step: OnStep | None, **seconds: float) -> None:
        self.seconds = seconds
        self._on_step = on_step

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage; a stage that fails has no time."""
        if self._on_step:
            self._on_step(stage, 0, 0)
        start = perf_counter()
        yield
        self.seconds[stage] = perf_counter() - start

    def steps_of(self, stage: str) -> Callable[[int, int], None] | None:
        """A callback (done, of how many) for the steps of one stage."""
        tell = self._on_step
        if tell is None:
            return None
        return lambda done, total: tell(stage, done, total)
