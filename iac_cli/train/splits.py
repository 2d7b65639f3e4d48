"""Which patients train, which choose, which are kept apart. A patient is in one split, always.

A patient is known by a hash of the id, so that a run's folder names nobody; whoever has the ids can
make the hashes again and check that no patient of a test was trained on.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from iac_cli.errors import IacError, Word
from iac_cli.report.files import write_text
from iac_cli.train.documents import read_document

FILE = "splits.json"

SIMULATED = "protocol_volume_mm3"
"""A column that only tables of simulated cohorts have."""

HASH_DIGITS = 16


class Split(StrEnum):
    """Parts of a labelled set."""

    TRAIN = "train"
    DEVELOPMENT = "development"
    """Watched while training, and for calibration."""
    INTERVAL = "interval"
    """Chooses nothing: for the intervals of the volume."""
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitShares:
    """How many of the patients without a split of their own go where; the rest trains."""

    development: float = 0.15
    interval: float = 0.15
    test: float = 0.0


def patient_key(patient_id: str) -> str:
    """The hash that stands for a patient in a run's folder."""
    return hashlib.sha256(f"iac-seg patient\0{patient_id}".encode()).hexdigest()[:HASH_DIGITS]


def key_of_row(row: Mapping[str, str]) -> str:
    """The hash of the patient of a table's row.

    Simulated cohorts all begin with P0001; the patient's seed tells theirs apart.
    """
    patient = row["patient_id"]
    if row.get("seed") and SIMULATED in row:
        return patient_key(f"{patient} of seed {row['seed']}")
    return patient_key(patient)


def assign(patients: Iterable[tuple[str, Split | None]], shares: SplitShares) -> dict[str, Split]:
    """Split by patient key. Those with a split keep it; the others are dealt out by their hash.

    Raises: IacError: patient_in_two_splits, bad_setting.
    """
    given: dict[str, Split] = {}
    free: set[str] = set()
    for key, split in patients:
        if split is None:
            free.add(key)
        elif given.setdefault(key, split) != split:
            raise IacError(
                Word.PATIENT_IN_TWO_SPLITS,
                f"one patient is in {given[key]} and in {split} (hash {key})",
                way_out="give each patient one split in the table",
            )
    return given | _dealt(sorted(free - given.keys()), shares)


def _dealt(keys: list[str], shares: SplitShares) -> dict[str, Split]:
    """Hashes in their order are as good as drawn; at least one patient trains."""
    wanted = (
        (Split.DEVELOPMENT, shares.development),
        (Split.INTERVAL, shares.interval),
        (Split.TEST, shares.test),
    )
    if any(share < 0 for _, share in wanted) or sum(share for _, share in wanted) >= 1.0:
        raise IacError(
            Word.BAD_SETTING,
            "the shares of development, interval and test must leave something to train on",
            way_out="give shares whose sum is below 1",
        )
    dealt, first = dict.fromkeys(keys, Split.TRAIN), 0
    for split, share in wanted:
        n = round(share * len(keys))
        dealt |= dict.fromkeys(keys[first : first + n], split)
        first += n
    return dealt


def save_splits(run: Path, splits: Mapping[str, Split]) -> None:
    """Store them with the run, or check that they are those that it was begun with.

    Raises: IacError: output_exists.
    """
    document = json.dumps({"patients": dict(sorted(splits.items()))}, indent=1) + "\n"
    path = run / FILE
    if path.is_file() and path.read_text(encoding="utf-8") != document:
        raise IacError(
            Word.OUTPUT_EXISTS,
            "the run was begun with other patients",
            way_out="choose another folder, or give the data that it was begun with",
        )
    write_text(path, document)


def load_splits(run: Path) -> dict[str, Split]:
    """A run's splits by patient key; empty for one that trained on simulated windows alone.

    Raises: IacError: model_unreadable.
    """
    path = run / FILE
    if not path.is_file():
        return {}
    stored = read_document(path).get("patients", {})
    return {key: Split(split) for key, split in stored.items()}
