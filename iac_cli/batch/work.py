"""One case, as every engine's workers do it: read, segment, measure, write its folder.

The two halves, reading and measuring, may be done in two processes or on two machines. Whatever
happens to a case becomes an `Outcome`. Nothing in an outcome names a path.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from iac_cli.batch.job import Cells, Job, Outcome, State, Work
from iac_cli.dicom.reading import Identity, ReadSettings
from iac_cli.errors import Exit, IacError, Word, system_failure
from iac_cli.infer.models import Models, load_models
from iac_cli.measure.scheme import Scheme, load_scheme
from iac_cli.pipeline import CaseOptions, CaseOutput, ReadCase, measure_case, read_case
from iac_cli.report.case import write_case
from iac_cli.report.files import remove_case
from iac_cli.report.result import Result
from iac_cli.report.tables import SCORES_COLUMNS, lesion_cells, score_cells

NO_CASE_BETTER = frozenset({Exit.DEVICE, Exit.OUTPUT, Exit.MODEL})
"""Failures that every later case would share."""

INTERNAL = "internal"
"""Code of a bug: an error that was not foreseen."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """A case after its reading: a head to measure, the result of a refused one, or a failure."""

    read: ReadCase | CaseOutput | Outcome
    wall_s: float


def read_job(work: Work, job: Job) -> Begun:
    """The first half of a case. Who it is stays here: the case has its id."""
    began = perf_counter()
    read = _guarded(job, lambda: read_case(job.source, work.settings, _options(work, job)))
    if isinstance(read, ReadCase):
        read = replace(read, reading=replace(read.reading, identity=Identity()))
    return Begun(read, perf_counter() - began)


class Worker:
    """Holds the models and the options that all cases share."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._models: Models = load_models(work.model, work.settings.run)
        self._scheme = load_scheme(work.scheme) if work.scheme else None

    def do(self, job: Job) -> Outcome:
        """Score one case and write its folder."""
        return self.measure(job, read_job(self._work, job))

    def measure(self, job: Job, begun: Begun) -> Outcome:
        """The second half of a case: measure what was read and write its folder."""
        began = perf_counter()
        outcome = _guarded(job, lambda: self._measured(job, begun.read))
        if outcome.state == State.FAILED and outcome.stops is None:
            outcome = self._without_folder(job, outcome)
        return replace(outcome, wall_s=begun.wall_s + perf_counter() - began)

    def _measured(self, job: Job, read: ReadCase | CaseOutput | Outcome) -> Outcome:
        if isinstance(read, Outcome):
            return read
        if isinstance(read, ReadCase):
            options = _options(self._work, job, self._scheme)
            read = measure_case(read, self._models, self._work.settings, options)
        write_case(self._work.out / job.case_id, read.result, read.images, overwrite=True)
        return _outcome_of(read.result)

    def _without_folder(self, job: Job, outcome: Outcome) -> Outcome:
        """A failed case leaves no folder behind, unless somebody put files of his own into it."""
        try:
            remove_case(self._work.out / job.case_id)
        except IacError as error:
            return outcome if error.word is Word.OUTPUT_EXISTS else failed(job, error)
        return outcome


def _options(work: Work, job: Job, scheme: Scheme | None = None) -> CaseOptions:
    return CaseOptions(
        read=ReadSettings(rules=work.rules, series=job.series, scope=job.scope),
        scheme=scheme,
        sex=job.sex,
        age_years=job.age_years,
        case_id=job.case_id,
        save_probability=work.save_probability,
    )


def _guarded(job: Job, step: Callable[[], T]) -> T | Outcome:
    """What a step of a case answers, or the failure that it became."""
    try:
        return step()
    except IacError as error:
        return failed(job, error)
    except Exception as error:  # noqa: BLE001 - the border of a case: a bug fails it alone
        known = system_failure(error)
        return failed(job, known) if known else _bug(job, error)


def _outcome_of(result: Result) -> Outcome:
    document = result.to_json_dict()
    return Outcome(
        result.case_id,
        State(result.status.value),
        score_cells(document),
        tuple(lesion_cells(document)),
        code=result.reasons[0].code if result.reasons else "",
    )


def failed(job: Job, error: IacError) -> Outcome:
    """The outcome of a case that could not be read, or that a resource failed."""
    code = error.exit_code
    own = error.word is Word.OUTPUT_EXISTS  # of this case's folder alone
    return Outcome(
        job.case_id,
        State.FAILED,
        failed_row(job, error.word.value),
        code=error.word.value,
        message=nameless(error.what, job),
        stops=code if code in NO_CASE_BETTER and not own else None,
        way_out=error.way_out,
    )


def lost(job: Job, word: Word, what: str) -> Outcome:
    """The outcome of a case that was ended from outside, or that took its worker along."""
    way_out = "look at the study with 'iac-seg segment', then pass --retry-failed"
    return failed(job, IacError(word, what, way_out=way_out))


def _bug(job: Job, error: Exception) -> Outcome:
    """The place of the error in the code, and none of the values, which could name somebody."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = ""
    if last is not None:
        where = f" at line {last.tb_lineno} of {_module(last.tb_frame.f_code.co_filename)}"
    return Outcome(
        job.case_id,
        State.FAILED,
        failed_row(job, INTERNAL),
        code=INTERNAL,
        message=f"a bug ({type(error).__name__}{where})",
    )


def _module(file: str) -> str:
    return "/".join(Path(file).parts[-2:])


def failed_row(job: Job, code: str) -> Cells:
    """A row of scores.csv that holds no number, only who it is and why."""
    known = {
        "case_id": job.case_id,
        "status": State.FAILED.value,
        "reasons": code,
        "study_uid": job.study_uid or "",
        "series_uid": job.series or "",
    }
    return tuple(known.get(column.name, "") for column in SCORES_COLUMNS)


def nameless(message: str, job: Job) -> str:
    """The message without the name of the case's folder or file, which could be a person's."""
    for place in (job.source, *(job.scope.folders if job.scope else ())):
        message = message.replace(repr(place.name), "the input")
    return message
