"""An engine that does its jobs in this process: what a batch keeps does not depend on where."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from iac_cli.batch.engines import ShouldStop
from iac_cli.batch.folder import RunFolder
from iac_cli.batch.job import Job, Outcome, Started, Work
from iac_cli.batch.plan import Plan
from iac_cli.batch.run import Decision, Ended, Manner, run_batch
from iac_cli.batch.work import Worker
from iac_cli.settings import RunSettings, Settings

ON_CPU = Settings(run=RunSettings(device="cpu", threads=1))


@dataclass
class Inline:
    """Does one job after the other."""

    work: Work

    def run(self, jobs: Iterator[Job], should_stop: ShouldStop) -> Iterator[Started | Outcome]:
        worker = Worker(self.work)
        for job in jobs:
            if should_stop():
                return
            yield Started(job.case_id, 0)
            yield worker.do(job)


@dataclass
class Looker:
    """Remembers what it was told, and asks to stop after some cases."""

    stop_after: int | None = None
    decision: Decision | None = None
    ended: list[Outcome] = field(default_factory=list)

    def decided(self, decision: Decision) -> None:
        self.decision = decision

    def saw(self, event: Started | Outcome) -> None:
        if isinstance(event, Outcome):
            self.ended.append(event)

    def should_stop(self) -> bool:
        return self.stop_after is not None and len(self.ended) >= self.stop_after


def score(
    plan: Plan,
    out: Path,
    models: Path,
    *,
    watch: Looker | None = None,
    part: Sequence[int] = (0, 0),
    settings: Settings = ON_CPU,
    **manner: bool,
) -> tuple[Ended, Looker]:
    """Run a batch in this process."""
    work = Work(out=out, settings=settings, model=models)
    watch = watch or Looker()
    folder = RunFolder(out, *part)
    return run_batch(plan, folder, work, Inline(work), Manner(**manner), watch), watch
