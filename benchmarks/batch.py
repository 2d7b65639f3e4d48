"""What a batch costs beyond its cases: `python benchmarks/batch.py [--out FILE.json] [--quick]`.

Simulated heads, copied under new UIDs, go through `iac-seg batch-score` with the shipped models.
Printed are ratios, taken in turn on the same cores: two cores against one, the batch against a
plain loop over the same cases, the machinery's share of the time, the workers' memory over many
cases, and a ledger of 10,000 cases. Parts can be asked for by name: `throughput`, `loop`, `memory`,
`ledger`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pydicom

PROGRAM = str(Path(sys.executable).parent / "iac-seg")
PARTS = ("throughput", "loop", "memory", "ledger")
LARGE, SMALL = "512x512", "96x96"
MB = 1 << 20


def simulated(folder: Path, seeds: int, size: str) -> list[Path]:
    """Some simulated heads of 5 mm slices."""
    studies = []
    for seed in range(seeds):
        made = folder / f"{size}-{seed}"
        command = ["simulate", "head", "-o", str(made), "--seed", str(seed), "--size", size, "-q"]
        subprocess.run([PROGRAM, *command], check=True)
        studies.append(made / "study")
    return studies


def copied(studies: list[Path], tree: Path, n: int) -> Path:
    """A tree of `n` studies: copies under UIDs of their own."""
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    for k, study in enumerate(studies):
        for number, path in enumerate(sorted(study.iterdir())):
            ds = pydicom.dcmread(path)
            for i in range(k, n, len(studies)):
                folder = tree / f"{i:04d}"
                folder.mkdir(parents=True, exist_ok=True)
                for level, name in enumerate(names):
                    setattr(ds, name, f"1.2.3.{level}.{i}" + f".{number}" * (level == 2))
                ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
                ds.save_as(folder / path.name)
    return tree


def batch(
    tree: Path, out: Path, cores: str, workers: int, *more: str | Path
) -> "subprocess.Popen[bytes]":
    """A batch on some cores, a thread a worker; begun."""
    command = ["batch-score", tree, "-o", out, "-d", "cpu", "-q", "-j", workers, *more]
    pinned = ["taskset", "-c", cores, PROGRAM, *command, "--threads", workers]
    return subprocess.Popen([str(one) for one in pinned], stdout=subprocess.DEVNULL)


def finished(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a batch."""
    if process.wait():
        raise SystemExit(f"the batch ended with {process.returncode}")


def events(out: Path, name: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """Events of a batch's log, with their times."""
    for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == name:
            yield datetime.fromisoformat(event["time"]).timestamp(), event


def span(out: Path, workers: int) -> dict[str, float]:
    """Seconds from the first case's start to where a worker may have run dry, and work in them."""
    ended = [(at_s, event["wall_s"]) for at_s, event in events(out, "ended")]
    begin = min(at_s - wall_s for at_s, wall_s in ended)
    end = ended[-workers][0]
    inside = [min(wall_s, max(0.0, end - (at_s - wall_s))) for at_s, wall_s in ended]
    done = sum(part / wall_s for part, (_, wall_s) in zip(inside, ended, strict=True))
    return {
        "cases": float(len(ended)),
        "span_s": end - begin,
        "work_s": sum(inside),
        "machinery": 1 - sum(inside) / ((end - begin) * workers),
        "per_hour": 3600 * done / (end - begin),
    }


def throughput(tree: Path, scratch: Path, repeats: int) -> dict[str, Any]:
    """One core, two cores, and two batches of a core each at once: what the machine can give."""
    runs: list[dict[str, Any]] = []
    for k in range(repeats):
        run: dict[str, Any] = {"load": os.getloadavg()[0]}
        for name, cores, workers in (("one", "0", 1), ("two", "0,1", 2)):
            out = scratch / f"{name}{k}"
            start = time.perf_counter()
            finished(batch(tree, out, cores, workers))
            run[name] = {"wall_s": time.perf_counter() - start} | span(out, workers)
        run["ratio"] = run["two"]["per_hour"] / run["one"]["per_hour"]
        run["ceiling"] = apart(tree, scratch / f"apart{k}") / run["one"]["per_hour"]
        run["ratio_of_whole_runs"] = run["one"]["wall_s"] / run["two"]["wall_s"]
        runs.append(run)
        print(
            f"two cores against one: {run['ratio']:.2f} times the cases"
            f" ({run['ratio_of_whole_runs']:.2f} with start-up; two batches apart"
            f" {run['ceiling']:.2f});"
            f" machinery {run['one']['machinery']:.1%} and {run['two']['machinery']:.1%}"
            f" of {run['two']['per_hour']:.0f} cases an hour; load was {run['load']:.1f}"
        )
    return {"runs": runs, "ratio": statistics.median(run["ratio"] for run in runs)}


def apart(tree: Path, scratch: Path) -> float:
    """Cases an hour of two batches at once that share nothing, each on a core of its own."""
    outs = [scratch.with_suffix(f".{core}") for core in "01"]
    for process in [batch(tree, out, core, 1) for out, core in zip(outs, "01", strict=True)]:
        finished(process)
    return sum(span(out, 1)["per_hour"] for out in outs)


def plain_loop(tree: Path, out: Path) -> float:
    """Seconds of a loop over the same studies in this process, the models loaded before."""
    from iac_cli.infer.models import load_models
    from iac_cli.pipeline import CaseOptions, segment_case
    from iac_cli.report.case import write_case
    from iac_cli.settings import RunSettings, Settings

    settings = Settings(run=RunSettings(device="cpu", threads=1))
    models = load_models(None, settings.run)
    start = time.perf_counter()
    for study in sorted(tree.iterdir()):
        options = CaseOptions(case_id=study.name)
        output = segment_case(study, models, settings, options)
        write_case(out / study.name, output.result, output.images)
    return time.perf_counter() - start


def against_loop(tree: Path, scratch: Path, repeats: int) -> dict[str, Any]:
    """A batch of one worker and a plain loop, in turn on one core."""
    ratios = []
    for k in range(repeats):
        command = [sys.executable, __file__, "--loop", tree, scratch / f"loop{k}"]
        pinned = ["taskset", "-c", "0", *map(str, command)]
        told = subprocess.run(pinned, capture_output=True, text=True, check=True).stdout
        out = scratch / f"batch{k}"
        finished(batch(tree, out, "0", 1))
        batch_s = span(out, 1)["span_s"]
        ratios.append(batch_s / float(told))
        seconds = f"{batch_s:.1f} s, {float(told):.1f} s"
        print(f"batch against a plain loop: {ratios[-1]:.3f} ({seconds})")
    return {"ratios": ratios, "ratio": statistics.median(ratios)}


def workers_of(pid: int) -> list[int]:
    """A batch's workers, without the other process that Python keeps beside them."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    told = {one: Path(f"/proc/{one}/cmdline").read_bytes() for one in children}
    return [int(one) for one, line in told.items() if b"spawn_main" in line]


def memory(tree: Path, scratch: Path, model: Path | None) -> dict[str, Any]:
    """Memory of the workers and their parent early and late in a long batch."""
    out = scratch / "long"
    process = batch(tree, out, "0,1", 2, *(["--model", model] if model else []))
    samples: list[tuple[int, float, float]] = []
    while process.poll() is None:
        time.sleep(0.1)
        try:
            n_done = (out / "scores.csv").read_bytes().count(b"\n") - 1
            workers = [_resident_mb(one) for one in workers_of(process.pid)]
            samples.append((n_done, max(workers), _resident_mb(process.pid)))
        except (OSError, ValueError, IndexError):  # not begun, or just ended
            continue
    finished(process)
    n = max(n_done for n_done, _, _ in samples)
    windows = {"early": range(20, 20 + n // 10), "late": range(n - n // 10, n)}
    figures: dict[str, Any] = {"cases": n}
    for name, window in windows.items():
        inside = [sample for sample in samples if sample[0] in window]
        figures[f"worker_{name}_mb"] = max(worker for _, worker, _ in inside)
        figures[f"parent_{name}_mb"] = max(parent for _, _, parent in inside)
    for who in ("worker", "parent"):
        early, late = figures[f"{who}_early_mb"], figures[f"{who}_late_mb"]
        figures[f"{who}_growth"] = late / early - 1
        growth = figures[f"{who}_growth"]
        print(f"{who}: {early:.0f} MB after 20 cases, {late:.0f} MB after {n}: {growth:+.1%}")
    return figures | {"machinery": span(out, 2)["machinery"]}


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def ledger(scratch: Path, n: int = 10_000) -> dict[str, float]:
    """Start, decision, status and tables of a batch of many cases, nothing being left to do."""
    from iac_cli.batch.folder import RunFolder, open_ledger
    from iac_cli.batch.job import Work
    from iac_cli.batch.plan import PLAN_COLUMNS, Plan
    from iac_cli.batch.run import Manner, decide, run_batch, shared_keys
    from iac_cli.batch.status import read_status
    from iac_cli.settings import Settings

    folder = RunFolder(scratch / "ledger")
    folder.out.mkdir()
    work = Work(out=folder.out, settings=Settings())
    plan = Plan(_fill_ledger(folder, shared_keys(work), n), PLAN_COLUMNS)
    seconds: dict[str, float] = {}
    with _timed("opening the ledger", seconds):
        books = open_ledger(folder)
    with _timed("deciding what is left", seconds):
        decision = decide(plan, books.keys(), shared_keys(work), Manner(resume=True))
    books.close()
    assert not decision.todo
    with _timed("a resumed run that only writes its tables", seconds):
        run_batch(plan, folder, work, _Nobody(), Manner(resume=True), _Silent())
    with _timed("status", seconds):
        status = read_status(folder.out)
    assert (status.counts.ended, status.left) == (n, 0)
    return seconds


@contextmanager
def _timed(name: str, seconds: dict[str, float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
    print(f"10,000 cases: {name} {seconds[name]:.2f} s")


def _fill_ledger(folder: Any, shared: Any, n: int) -> tuple[Any, ...]:
    """A ledger and a log of `n` measured cases with five lesions each; answers their jobs."""
    from iac_cli.batch.folder import Log, open_ledger
    from iac_cli.batch.job import Job, Outcome, State
    from iac_cli.batch.ledger import Entry
    from iac_cli.batch.run import keys_of
    from iac_cli.report.tables import LESION_COLUMNS, SCORES_COLUMNS

    about = ("patient-1", "0")
    jobs = tuple(
        Job(f"case-{i:012x}", Path(f"/archive/{i}"), None, str(i), about=about) for i in range(n)
    )
    row = ("measured",) + ("",) * (len(SCORES_COLUMNS) - 2)
    lesion = ("1",) + ("12.5",) * (len(LESION_COLUMNS) - 2)
    entries = []
    for job in jobs:
        name = job.case_id
        outcome = Outcome(name, State.MEASURED, (name, *row), ((name, *lesion),) * 5)
        entries.append(Entry(keys_of(job, shared), outcome))
    log, books = Log(folder.log), open_ledger(folder)
    for entry in entries:
        log.ended(entry)
    books.end(entries)
    log.close()
    books.close()
    return jobs


class _Nobody:
    """An engine that is given nothing to do."""

    def run(self, jobs: Iterator[Any], should_stop: Any) -> Iterator[Any]:
        assert not list(jobs)
        return iter(())


class _Silent:
    """Nobody looks on."""

    def decided(self, decision: Any) -> None:
        """Nothing."""

    def saw(self, event: Any) -> None:
        """Nothing."""

    def should_stop(self) -> bool:
        """Never."""
        return False


def main() -> None:
    """Measure what was asked for, print it, and write JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="of " + ", ".join(PARTS))
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--cases", type=int, default=24, help="for throughput and loop")
    parser.add_argument("--long", type=int, default=500, help="cases for memory")
    parser.add_argument("--model", type=Path, help="other networks, for memory: quicker ones, say")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few cases, once")
    parser.add_argument("--loop", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.loop:
        print(plain_loop(*given.loop))
        return
    if given.quick:
        given.cases, given.long, given.repeats = 6, 40, 1
    figures = measured(given)
    if given.out:
        given.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """The figures of each part."""
    wanted = given.parts or PARTS
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if {"throughput", "loop"} & set(wanted):
            tree = copied(simulated(scratch, 3, LARGE), scratch / "large", given.cases)
            if "throughput" in wanted:
                figures["throughput"] = throughput(tree, scratch, given.repeats)
            if "loop" in wanted:
                figures["loop"] = against_loop(tree, scratch, given.repeats)
        if "memory" in wanted:
            tree = copied(simulated(scratch, 3, SMALL), scratch / "small", given.long)
            figures["memory"] = memory(tree, scratch, given.model)
        if "ledger" in wanted:
            figures["ledger"] = ledger(scratch)
    return figures


if __name__ == "__main__":
    main()
