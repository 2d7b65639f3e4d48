"""Model cards: what a model file is, and where model files lie.

A card is read strictly, and the model file's SHA-256 is checked before any runtime sees it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

from iac_cli.errors import IacError, Word, forbidden
from iac_cli.geometry.lines import Artery
from iac_cli.infer.calibrate import Calibration, calibration_of
from iac_cli.infer.operating import OperatingPoint, OperatingPoints, point_for

CARD_SCHEMA = 1
"""The layout of cards that this program reads."""

HASH_BLOCK_BYTES = 1 << 20


class Role(StrEnum):
    """What a model does; also the stem of its card's file name."""

    SEGMENTER = "segmenter"
    LOCATOR = "locator"
    LOCATOR_NEAR = "locator_near"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The facts of one model that the program relies on, and the rest for people."""

    name: str
    version: str
    role: Role
    path: Path
    """The model file."""
    sha256: str
    n_bytes: int
    opset: int
    ir_version: int
    grid_mm: tuple[float, float, float]
    """Spacing of the model's input along slice normal, column axis and row axis."""
    hu_windows: tuple[tuple[float, float], ...]
    """One input channel for each, clip((hu - low) / (high - low), 0, 1) * 2 - 1."""
    architecture: Mapping[str, Any]
    text: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The whole card, as read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterCard(ModelCard):
    """A model that says where calcium is in a window."""

    window: tuple[int, int, int]
    points: OperatingPoints
    """Where to draw, by the thickness of the slices."""
    calibration: Calibration
    reach_mm: float
    """Distance from a centre line up to which its answer is used."""
    prior_reach_mm: float | None = None
    """Where the network takes the artery-distance prior as its last channel: the distance to a
    centre line, mm, at which that channel is 1, having risen from -1 on the line."""

    def point_for(self, thickness_mm: float) -> OperatingPoint:
        """Where to draw on slices of some thickness (`NativeProbability.thickness_mm`)."""
        return point_for(self.points, thickness_mm)

    @property
    def n_channels(self) -> int:
        """Input channels: one for each HU window, and the prior's."""
        return len(self.hu_windows) + (self.prior_reach_mm is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatorCard(ModelCard):
    """A model that finds key points of the arteries in a head."""

    keypoints: tuple[tuple[Artery, float], ...]
    """Artery and fraction of its length, in order of flow within an artery."""


def shipped_models() -> Path:
    """The folder of models inside the installed package, else in the source tree."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def read_segmenter_card(folder: Path) -> SegmenterCard:
    """Read and check the segmenter's card and file.

    Raises:
        IacError: model_not_found, model_card_invalid, model_checksum_mismatch.

    """
    values = _read_values(folder, Role.SEGMENTER)
    try:
        return SegmenterCard(
            **_common(values, folder, Role.SEGMENTER),
            window=_triple(values, "window", int),
            points=_points(values),
            calibration=_calibration(values),
            reach_mm=_positive(values, "reach_mm"),
            prior_reach_mm=(
                None
                if values.get("prior_reach_mm") is None
                else _positive(values, "prior_reach_mm")
            ),
        )
    except _CardError as error:
        raise _invalid(Role.SEGMENTER, str(error)) from error


def read_locator_card(folder: Path, role: Role = Role.LOCATOR) -> LocatorCard:
    """Read and check the locator's card and file. Raises as `read_segmenter_card`."""
    values = _read_values(folder, role)
    try:
        return LocatorCard(**_common(values, folder, role), keypoints=_keypoints(values))
    except _CardError as error:
        raise _invalid(role, str(error)) from error


def read_locator_cards(folder: Path) -> tuple[LocatorCard, LocatorCard | None]:
    """The locator's card, and that of a second one that places finely, where the folder has one.

    Raises as `read_segmenter_card`.
    """
    whole = read_locator_card(folder)
    if not (folder / f"{Role.LOCATOR_NEAR}.json").is_file():
        return whole, None
    near = read_locator_card(folder, Role.LOCATOR_NEAR)
    if near.keypoints != whole.keypoints:
        raise _invalid(Role.LOCATOR_NEAR, "its key points are not those of the locator")
    return whole, near


def joint_sha256(first: str, *more: str) -> str:
    """One checksum for one file or several, from theirs; that of one file is its own."""
    return hashlib.sha256("".join((first, *more)).encode()).hexdigest() if more else first


def check_file(card: ModelCard) -> None:
    """Compare the model file with its card, before a runtime opens it.

    Raises:
        IacError: model_not_found, model_checksum_mismatch.

    """
    if not card.path.is_file():
        raise IacError(
            Word.MODEL_NOT_FOUND,
            f"the card names {card.path.name}, which is not beside it",
            way_out="copy the whole model folder, or reinstall",
        )
    n_bytes, sha256 = card.path.stat().st_size, sha256_of(card.path)
    if (n_bytes, sha256) != (card.n_bytes, card.sha256):
        raise IacError(
            Word.MODEL_CHECKSUM_MISMATCH,
            f"{card.path.name} is not the file that its card describes "
            f"({n_bytes} bytes, SHA-256 {sha256[:12]}..., the card says {card.sha256[:12]}...)",
            way_out="reinstall, or copy the model folder again",
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class _CardError(ValueError):
    """A field of a card is missing or wrong; the message names it."""


def _read_values(folder: Path, role: Role) -> Mapping[str, Any]:
    path = folder / f"{role}.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise forbidden(f"{path.name} in the model folder may not be read") from error
    except OSError as error:
        raise IacError(
            Word.MODEL_NOT_FOUND,
            f"no {path.name} in the model folder {folder.name}",
            way_out="give --model a folder with segmenter and locator, or reinstall",
        ) from error
    except ValueError as error:
        raise _invalid(role, "it is not valid JSON") from error
    if not isinstance(values, dict):
        raise _invalid(role, "it is not a JSON object")
    return values


def _invalid(role: Role, what: str) -> IacError:
    return IacError(
        Word.MODEL_CARD_INVALID,
        f"the model card {role}.json is not usable: {what}",
        way_out="reinstall, or export the model again",
    )


def _common(values: Mapping[str, Any], folder: Path, role: Role) -> dict[str, Any]:
    if _field(values, "schema", int) != CARD_SCHEMA:
        raise _CardError(f"schema is {values['schema']!r}, this program reads {CARD_SCHEMA}")
    if _field(values, "role", str) != role:
        raise _CardError(f"role is {values['role']!r}, expected {role}")
    return {
        "name": _field(values, "name", str),
        "version": _field(values, "version", str),
        "role": role,
        "path": folder / _file_name(values),
        "sha256": _sha256(values),
        "n_bytes": _field(values, "bytes", int),
        "opset": _field(values, "opset", int),
        "ir_version": _field(values, "ir_version", int),
        "grid_mm": _grid_mm(values),
        "hu_windows": _hu_windows(values),
        "architecture": _field(values, "architecture", dict),
        "text": values,
    }


def _field(values: Mapping[str, Any], name: str, kind: type) -> Any:
    if name not in values:
        raise _CardError(f"{name} is missing")
    value = values[name]
    wanted: tuple[type, ...] = (int, float) if kind is float else (kind,)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise _CardError(f"{name} must be of type {kind.__name__}")
    return value


def _file_name(values: Mapping[str, Any]) -> str:
    name: str = _field(values, "file", str)
    if Path(name).name != name or not name:
        raise _CardError("file must be a plain file name")
    return name


def _sha256(values: Mapping[str, Any]) -> str:
    digest: str = _field(values, "sha256", str)
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise _CardError("sha256 must be 64 lower-case hexadecimal digits")
    return digest


def _triple(values: Mapping[str, Any], name: str, kind: type) -> Any:
    triple = _field(values, name, list)
    if len(triple) != 3:
        raise _CardError(f"{name} must have three numbers")
    for number in triple:
        right = isinstance(number, int | float if kind is float else int)
        if not right or isinstance(number, bool) or not 0 < number < float("inf"):
            raise _CardError(f"{name} must hold positive numbers")
    return tuple(kind(number) for number in triple)


def _grid_mm(values: Mapping[str, Any]) -> Any:
    grid = values.get("grid_mm")
    if isinstance(grid, int | float) and not isinstance(grid, bool):
        return _triple({"grid_mm": [grid] * 3}, "grid_mm", float)
    return _triple(values, "grid_mm", float)


def _hu_windows(values: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    windows = _field(values, "hu_windows", list)
    if not windows:
        raise _CardError("hu_windows must not be empty")
    for window in windows:
        pair = isinstance(window, list) and len(window) == 2
        if not pair or not all(isinstance(v, int | float) for v in window):
            raise _CardError("hu_windows must be pairs of numbers")
        if not window[0] < window[1]:
            raise _CardError("each of hu_windows must rise")
    return tuple((float(low), float(high)) for low, high in windows)


def _probability(values: Mapping[str, Any], name: str) -> float:
    value = float(_field(values, name, float))
    if not 0.0 <= value <= 1.0:
        raise _CardError(f"{name} must lie in [0, 1]")
    return value


def _optional_probability(values: Mapping[str, Any], name: str) -> float | None:
    return None if values.get(name) is None else _probability(values, name)


def _points(values: Mapping[str, Any]) -> OperatingPoints:
    """The card's own thresholds, then those of `thicker_slices`."""
    points = [_point(values, 0.0)]
    for entry in _field(values, "thicker_slices", list) if "thicker_slices" in values else []:
        if not isinstance(entry, dict):
            raise _CardError("thicker_slices must hold JSON objects")
        _field(entry, "lesion_threshold", float)  # forgotten, every group would be drawn
        points.append(_point(entry, _positive(entry, "over_mm")))
    if any(a.over_mm >= b.over_mm for a, b in pairwise(points)):
        raise _CardError("over_mm of thicker_slices must rise")
    return tuple(points)


def _point(values: Mapping[str, Any], over_mm: float) -> OperatingPoint:
    return OperatingPoint(
        threshold=_probability(values, "threshold"),
        lesion_threshold=_optional_probability(values, "lesion_threshold") or 0.0,
        threshold_unbiased_volume=_optional_probability(values, "threshold_unbiased_volume"),
        over_mm=over_mm,
    )


def _positive(values: Mapping[str, Any], name: str) -> float:
    value = float(_field(values, name, float))
    if not 0.0 < value < float("inf"):
        raise _CardError(f"{name} must be positive")
    return value


def _calibration(values: Mapping[str, Any]) -> Calibration:
    try:
        return calibration_of(_field(values, "calibration", dict))
    except _CardError:
        raise
    except ValueError as error:
        raise _CardError(str(error)) from error


def _keypoints(values: Mapping[str, Any]) -> tuple[tuple[Artery, float], ...]:
    found = []
    for entry in _field(values, "keypoints", list):
        pair = isinstance(entry, list) and len(entry) == 2
        if not pair or entry[0] not in set(Artery) or not isinstance(entry[1], int | float):
            raise _CardError("keypoints must be pairs of an artery and a fraction")
        found.append((Artery(entry[0]), float(entry[1])))
    if not found:
        raise _CardError("keypoints must not be empty")
    return tuple(found)
