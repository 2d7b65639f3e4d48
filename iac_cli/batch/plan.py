"""What a batch will do: a job for every study of a tree, or for every row of a manifest."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from iac_cli.batch.folder import OWN_NAMES
from iac_cli.batch.job import Job
from iac_cli.dicom.case_id import hashed_id, safe_id, short_hash
from iac_cli.dicom.read import inspect_source
from iac_cli.dicom.reading import ReadSettings
from iac_cli.dicom.studies import OnFolder, Study, find_studies
from iac_cli.errors import IacError, Word
from iac_cli.settings import CaseSettings, IdFrom

MANIFEST = "manifest"
"""The naming of a plan that is a manifest's."""

PLAN_COLUMNS = ("patient_key", "study_day")
"""Columns of scores.csv that only a batch can know."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of a batch, sorted by case id, and what was met on the way."""

    jobs: tuple[Job, ...]
    columns: tuple[str, ...]
    """Names of the cells in `Job.about`."""
    remarks: tuple[str, ...] = ()
    """Sentences for people: what was left out."""
    naming: str = ""
    """How cases get their ids, as a hash: plans that name them otherwise are of other batches."""

    whole: str = ""
    """Of one part of a plan: hash of the ids of all cases. Parts of one batch share it."""

    @property
    def from_manifest(self) -> bool:
        """Whether a manifest tells who the cases are."""
        return self.naming == MANIFEST


def plan_tree(
    root: Path,
    naming: CaseSettings,
    *,
    rules: Path | None = None,
    all_series: bool = False,
    on_folder: OnFolder | None = None,
) -> Plan:
    """A job for every study below `root`, or for every usable series of it.

    Raises: IacError: input_not_found, no_dicom, bad_setting.
    """
    found = find_studies(root, on_folder=on_folder)
    if not found.studies:
        raise IacError(
            Word.NO_DICOM,
            "no CT study was found below the folder",
            way_out="point at the folder that holds the studies",
        )
    names = _case_ids(found.studies, root, naming)
    about = _about(found.studies, naming.salt)
    jobs: list[Job] = []
    for study, case_id, cells in zip(found.studies, names, about, strict=True):
        job = Job(
            case_id,
            study.source,
            study.scope,
            study.fingerprint,
            study_uid=study.study_uid,
            about=cells,
        )
        jobs += _each_series(job, rules) if all_series else [job]
    remarks = [
        (found.n_without_ct, "studies or zip files left out, for they hold no CT image"),
        (found.n_copies, "copies of studies left out: zip files, or folders beside a fuller zip"),
        (found.n_unreadable, "folders that may not be listed"),
    ]
    told = tuple(f"{what}: {n}" for n, what in remarks if n)
    how = short_hash(json.dumps([naming.id_from, naming.salt, all_series]))
    return Plan(tuple(sorted(jobs, key=lambda job: job.case_id)), PLAN_COLUMNS, told, how)


def part_of(plan: Plan, part: int, n_parts: int) -> Plan:
    """One part of a plan. A case's part follows from its id alone, whatever else is there."""
    jobs = tuple(job for job in plan.jobs if _part(job.case_id, n_parts) == part)
    return replace(plan, jobs=jobs, whole=short_hash("\n".join(job.case_id for job in plan.jobs)))


def _part(case_id: str, n_parts: int) -> int:
    """Number of the part, from 1."""
    return int(hashlib.sha256(case_id.encode()).hexdigest(), 16) % n_parts + 1


def _case_ids(studies: Sequence[Study], root: Path, naming: CaseSettings) -> list[str]:
    """A case id for each study; ids that would name one folder are told apart by a hash.

    On some systems folders whose names differ by case alone are one.
    """
    names = [_name_of(study, root, naming) for study in studies]
    times = Counter(name.casefold() for name in names)
    return [
        f"{name[:57]}-{short_hash(study.study_uid or _place(study, root))}"
        if times[name.casefold()] > 1
        else name
        for name, study in zip(names, studies, strict=True)
    ]


def _name_of(study: Study, root: Path, naming: CaseSettings) -> str:
    place = _place(study, root)
    if naming.id_from == IdFrom.HASH:
        return hashed_id(study.study_uid or place, naming.salt)
    if naming.id_from == IdFrom.FOLDER:
        return plain_id(place.replace("/", "_") or "study", naming.salt)
    text = study.study_uid if naming.id_from == IdFrom.STUDY_UID else study.patient
    # A study without the asked-for tag still needs a name; a hash is one, and fails nobody.
    return plain_id(text, naming.salt) if text else hashed_id(place, naming.salt)


def plain_id(text: str, salt: str) -> str:
    """The text as a case id that names a folder of its own; a hash where that cannot be."""
    try:
        safe = safe_id(text)
    except IacError:  # no letter and no digit is left of it
        return hashed_id(text, salt)
    return f"{safe}-{short_hash(text)}" if safe.casefold() in OWN_NAMES else safe


def _place(study: Study, root: Path) -> str:
    place = study.source.relative_to(root).as_posix()
    return "" if place == "." else place


def _about(studies: Sequence[Study], salt: str) -> list[tuple[str, str]]:
    """For each study: an opaque key of its patient, and its day from the patient's first.

    The key is made from the patient's first study UID: a hash of a short patient id could be
    undone by trying all of them.
    """
    of_patient: dict[str, list[Study]] = defaultdict(list)
    for study in studies:
        if study.patient:
            of_patient[study.patient].append(study)
    cells = []
    for study in studies:
        mates = of_patient.get(study.patient or "", [study])
        uids = sorted(mate.study_uid for mate in mates if mate.study_uid)
        key = "" if not uids else hashed_id(uids[0], salt).replace("case-", "patient-")
        days = [day for mate in mates if (day := _day(mate)) is not None]
        mine = _day(study)
        cells.append((key, "" if mine is None else str(mine - min(days))))
    return cells


def _day(study: Study) -> int | None:
    try:
        return date.fromisoformat(study.day).toordinal()
    except ValueError:
        return None


def _each_series(job: Job, rules: Path | None) -> Iterable[Job]:
    """A job for each usable series of a study; where none is, the study's job says why."""
    try:
        inspection = inspect_source(job.source, ReadSettings(rules=rules, scope=job.scope))
    except IacError:
        return [job]
    usable = {
        entry.series_uid
        for entry in inspection.series
        if entry.series_uid and all(verdict.passed for verdict in entry.verdicts)
    }
    if not usable:
        return [job]
    return [
        replace(job, case_id=f"{job.case_id[:56]}-s{short_hash(uid)}", series=uid)
        for uid in sorted(usable)
    ]
