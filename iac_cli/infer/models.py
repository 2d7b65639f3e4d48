"""Both networks of a model folder, opened once and used for every case."""

from dataclasses import dataclass
from pathlib import Path

from iac_cli.infer.card import read_locator_cards, read_segmenter_card, shipped_models
from iac_cli.infer.runtime import open_engine
from iac_cli.infer.segment import Segmenter
from iac_cli.locate.locator import Locator
from iac_cli.settings import RunSettings


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """The segmenter and the locator, ready to run."""

    segmenter: Segmenter
    locator: Locator


def load_models(folder: Path | None = None, settings: RunSettings | None = None) -> Models:
    """Open the networks of a folder; without one, those that ship with the package.

    Raises: IacError: the words of `open_engine` and of the cards.
    """
    place, run = folder or shipped_models(), settings or RunSettings()
    return Models(load_segmenter(place, run), load_locator(place, run))


def load_segmenter(folder: Path, settings: RunSettings | None = None) -> Segmenter:
    """Open a folder's segmenter."""
    card = read_segmenter_card(folder)
    return Segmenter(card, open_engine(card, settings or RunSettings()))


def load_locator(folder: Path, settings: RunSettings | None = None) -> Locator:
    """Open a folder's locator, and the second one that places finely where there is one."""
    run = settings or RunSettings()
    whole, near = read_locator_cards(folder)
    finely = None if near is None else Locator(near, open_engine(near, run))
    return Locator(whole, open_engine(whole, run), finely)
