"""Readers and measurers on a cluster's nodes that do as their case's id says."""

import os
import signal

from iac_cli.batch.job import Job, Outcome, Work
from iac_cli.batch.work import Begun, failed
from iac_cli.errors import IacError, Word
from tests.batch.doers import Homeless, Obedient, measured


def read(work: Work, job: Job) -> Begun:
    """Reads nothing; `unread` dies the first time, `unseen` is not there."""
    order = job.case_id.partition("-")[0]
    mark = work.out / f"{job.case_id}.seen"
    if order == "unread" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "unseen":
        error = IacError(Word.INPUT_NOT_FOUND, "it is not there", way_out="look elsewhere")
        return Begun(failed(job, error), 0.0)
    return Begun(measured(job), 0.0)


class ObedientMeasurer(Obedient):
    def measure(self, job: Job, begun: Begun) -> Outcome:
        return begun.read if job.case_id.startswith("unseen") else self.do(job)


class HomelessMeasurer(Homeless):
    def measure(self, job: Job, begun: Begun) -> Outcome:
        raise AssertionError(job)
