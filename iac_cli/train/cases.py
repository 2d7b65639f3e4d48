"""The scans that `--data` names: cohort folders, tables, DICOM folders and NIfTI files."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from iac_cli.dicom.nifti import is_nifti
from iac_cli.dicom.reading import Scope
from iac_cli.dicom.studies import find_studies
from iac_cli.errors import IacError, Word, forbidden
from iac_cli.train.splits import Split, key_of_row, patient_key

COHORT_TABLE = "cohort.csv"
COLUMNS = ("patient_id", "image", "label")


@dataclass(frozen=True, slots=True)
class Case:
    """One scan. Who it is of is known by a hash alone."""

    image: Path = field(repr=False)
    label: Path | None = field(repr=False)
    patient: str
    split: Split | None = None
    scope: Scope | None = field(default=None, repr=False)
    """The part of `image` that is meant; None means all of it."""


def find_cases(data: Sequence[Path]) -> list[Case]:
    """Every scan of every path, in a stable order.

    Raises: IacError: input_not_found, bad_case_list, empty_set.
    """
    cases = [case for path in data for case in _cases_of(path)]
    if not cases:
        raise IacError(
            Word.EMPTY_SET,
            "no scan was found at the paths that were given",
            way_out="give cohort folders, tables with patient_id,image,label, DICOM or NIfTI",
        )
    return cases


def labelled(cases: Sequence[Case]) -> list[Case]:
    """The same, when all of them carry labels. Raises: IacError: labels_missing."""
    without = sum(case.label is None for case in cases)
    if without:
        raise IacError(
            Word.LABELS_MISSING,
            f"{without} of {len(cases)} scans have no labels",
            way_out="give a cohort folder or a table with patient_id,image,label; scans without "
            "labels are for 'iac-seg train pretrain'",
        )
    return list(cases)


def _cases_of(path: Path) -> Iterator[Case]:
    if not path.exists():
        raise IacError(
            Word.INPUT_NOT_FOUND,
            "one of the paths given as data does not exist",
            way_out="check the path; in a container: is the folder mounted?",
        )
    table = path / COHORT_TABLE if path.is_dir() else path
    if table.suffix.lower() == ".csv" and table.is_file():
        yield from _of_table(table)
    elif path.is_file() and is_nifti(path):
        yield Case(path, None, patient_key(path.name))
    elif path.is_file():
        raise IacError(
            Word.BAD_CASE_LIST,
            "a file given as data is neither a table nor a NIfTI image",
            way_out="give a .csv with patient_id,image,label, a .nii.gz, or a folder",
        )
    else:
        for study in find_studies(path).studies:
            who = study.patient or study.study_uid or str(study.source)
            yield Case(study.source, None, patient_key(who), scope=study.scope)


def _of_table(table: Path) -> Iterator[Case]:
    reader = csv.DictReader(_text_of(table).splitlines())
    missing = [name for name in COLUMNS[:2] if name not in (reader.fieldnames or ())]
    if missing:
        raise _bad_line(1, f"the column {missing[0]} is missing")
    for number, row in enumerate(reader, start=2):
        yield _of_row(table.parent, number, row)


def _text_of(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except PermissionError as error:
        raise forbidden("the table of scans may not be read") from error
    except UnicodeDecodeError as error:
        raise _bad_line(1, "it is not UTF-8 text") from error


def _of_row(folder: Path, number: int, row: dict[str, str]) -> Case:
    patient, image = (row.get(name) or "" for name in COLUMNS[:2])
    label, split = (row.get(name) or "" for name in ("label", "split"))
    if not patient or not image:
        raise _bad_line(number, "patient_id or image is empty")
    if split and split not in set(Split):
        raise _bad_line(number, f"split must be one of {', '.join(Split)}")
    for name in filter(None, (image, label)):
        if not (folder / name).exists():
            raise _bad_line(number, "image or label does not exist; paths start from the table")
    return Case(
        folder / image,
        folder / label if label else None,
        key_of_row(row),
        Split(split) if split else None,
    )


def _bad_line(number: int, what: str) -> IacError:
    return IacError(
        Word.BAD_CASE_LIST,
        f"line {number} of the table: {what}",
        way_out="give a table with the columns patient_id,image,label and perhaps split",
    )
