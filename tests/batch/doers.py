"""Workers that do as their case's id says, to see what becomes of the others."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from iac_cli.batch.job import Job, Outcome, State, Work
from iac_cli.batch.work import failed
from iac_cli.errors import IacError, Word
from iac_cli.report.tables import SCORES_COLUMNS


def measured(job: Job) -> Outcome:
    """A row that depends on the case alone."""
    known = {"case_id": job.case_id, "status": "measured", "volume_mm3": f"{len(job.case_id)}.5"}
    row = tuple(known.get(column.name, "") for column in SCORES_COLUMNS)
    return Outcome(job.case_id, State.MEASURED, row)


class Obedient:
    """Case ids begin with what is done: ok, die, once (dies the first time), hang, grow, full."""

    def __init__(self, work: Work) -> None:
        self._out = work.out

    def do(self, job: Job) -> Outcome:
        order = job.case_id.partition("-")[0]
        if order == "die" or (order == "once" and _first_time(self._out / f"{job.case_id}.seen")):
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "hang":
            time.sleep(3600)
        if order == "grow":
            held = bytearray(os.urandom(1 << 20) * 600)
            time.sleep(3600)
            del held
        if order == "full":
            return failed(job, IacError(Word.DISK_FULL, "full", way_out="free some space"))
        if order == "slow":
            time.sleep(0.3)
        return measured(job)


class Slothful(Obedient):
    """The first one hangs before it is ready; those after it work."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        if _first_time(work.out / "slothful.seen"):
            time.sleep(3600)


class NeverReady(Obedient):
    """Hangs before it is ready."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        time.sleep(3600)


class Homeless:
    """Cannot be made: its model is not there."""

    def __init__(self, work: Work) -> None:
        raise IacError(Word.MODEL_NOT_FOUND, "no model", way_out="give one")

    def do(self, job: Job) -> Outcome:
        raise AssertionError(job)


class Counting:
    """Says how many threads its linear algebra takes."""

    def __init__(self, work: Work) -> None:
        pass

    def do(self, job: Job) -> Outcome:
        return replace(measured(job), message=os.environ.get("OMP_NUM_THREADS", ""))


def _first_time(mark: Path) -> bool:
    if mark.exists():
        return False
    mark.touch()
    return True
