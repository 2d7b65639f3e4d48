"""One case, as every engine's workers do it: read, segment, measure, write its folder.

Whatever happens to a case becomes an `Outcome`. Nothing in an outcome names a path.
"""

from dataclasses import replace
from pathlib import Path
from time import perf_counter

from iac_cli.batch.job import Cells, Job, Outcome, State, Work
from iac_cli.dicom.reading import ReadSettings
from iac_cli.errors import Exit, IacError, resource_failure
from iac_cli.infer.models import Models, load_models
from iac_cli.measure.scheme import load_scheme
from iac_cli.pipeline import CaseOptions, segment_case
from iac_cli.report.case import write_case
from iac_cli.report.files import remove_case
from iac_cli.report.result import Result
from iac_cli.report.tables import SCORES_COLUMNS, lesion_cells, score_cells

NO_CASE_BETTER = frozenset({Exit.DEVICE, Exit.OUTPUT, Exit.MODEL})
"""Failures that every later case would share."""

INTERNAL = "internal"
"""Code of a bug: an error that was not foreseen."""


class Worker:
    """Holds the models and the options that all cases share."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._models: Models = load_models(work.model, work.settings.run)
        self._scheme = load_scheme(work.scheme) if work.scheme else None

    def do(self, job: Job) -> Outcome:
        """Score one case and write its folder."""
        began = perf_counter()
        try:
            outcome = self._measured(job)
        except IacError as error:
            outcome = failed(job, error)
        except Exception as error:  # noqa: BLE001 - the border of a case: a bug fails it alone
            resource = resource_failure(error)
            outcome = failed(job, resource) if resource else _bug(job, error)
        if outcome.state == State.FAILED and outcome.stops is None:
            remove_case(self._work.out / job.case_id)
        return replace(outcome, wall_s=perf_counter() - began)

    def _measured(self, job: Job) -> Outcome:
        work = self._work
        options = CaseOptions(
            read=ReadSettings(rules=work.rules, series=job.series, scope=job.scope),
            scheme=self._scheme,
            sex=job.sex,
            age_years=job.age_years,
            case_id=job.case_id,
            save_probability=work.save_probability,
        )
        output = segment_case(job.source, self._models, work.settings, options)
        write_case(work.out / job.case_id, output.result, output.images, overwrite=True)
        return _outcome_of(output.result)


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
    return Outcome(
        job.case_id,
        State.FAILED,
        failed_row(job, error.word.value),
        code=error.word.value,
        message=nameless(error.what, job),
        stops=code if code in NO_CASE_BETTER else None,
        way_out=error.way_out,
    )


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
