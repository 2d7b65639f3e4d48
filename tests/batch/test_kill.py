"""SIGKILL at random moments, parent and workers: after resume nothing tells of it."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from oracle import oracle_models

from iac_cli.batch.status import read_status
from iac_cli.errors import Exit
from tests.batch import cohort
from tests.command import PROGRAM, environment

TABLES = ("scores.csv", "lesions.csv", "failures.csv", "scores.parquet", "scores.schema.json")

WORKER_KILLS = 2
"""In one run at most: a case whose worker died three times is given up, rightly."""


def start(tree: Path, out: Path, models: Path, *more: str) -> "subprocess.Popen[bytes]":
    """A batch, begun, that says nothing."""
    command = [PROGRAM, "batch-score", tree, "-o", out, "--model", models, "-d", "cpu", "-q"]
    nowhere = subprocess.DEVNULL
    options = ["-j", "2", *more]
    return subprocess.Popen([*command, *options], stdout=nowhere, stderr=nowhere, env=environment())


def children(pid: int) -> list[int]:
    """Processes that a process has started, as long as it lives."""
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


class Killer:
    """Kills at moments of a seeded generator, and counts."""

    def __init__(self, seed: int, longest_s: float) -> None:
        self._rng = random.Random(seed)
        self._longest_s = longest_s
        self.n_parents = self.n_workers = 0

    @property
    def n_kills(self) -> int:
        return self.n_parents + self.n_workers

    def disturb(self, child: "subprocess.Popen[bytes]", at_most: int) -> None:
        """Kill workers of a run, then most often the run itself; return when it has ended."""
        for _ in range(WORKER_KILLS):
            if self._ended(child) or self.n_kills >= at_most:
                break
            workers = children(child.pid)
            if not workers or self._rng.random() < 0.6:
                break
            with suppress(ProcessLookupError):
                os.kill(self._rng.choice(workers), signal.SIGKILL)
                self.n_workers += 1
        if child.poll() is None and self.n_kills < at_most and not self._ended(child):
            child.kill()
            self.n_parents += 1
        child.wait()

    def _ended(self, child: "subprocess.Popen[bytes]") -> bool:
        """Wait for a random moment; whether the run had ended by then."""
        with suppress(subprocess.TimeoutExpired):
            child.wait(self._rng.uniform(0.0, self._longest_s))
        return child.poll() is not None


def content(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Files of a case's folder; of result.json without its timings."""
    for path in sorted(folder.iterdir()):
        raw = path.read_bytes()
        if path.name == "result.json":
            document = json.loads(raw)
            document.pop("timings")
            raw = json.dumps(document).encode()
        yield path.name, raw


def cases(out: Path) -> list[Path]:
    """Every case's folder."""
    return sorted(path for path in out.iterdir() if path.is_dir() and path.name[0] != ".")


def assert_nothing_half_written(out: Path, whole: Path) -> None:
    """What is visible after a kill is whole: rows, folders, the ledger."""
    if (out / "scores.csv").exists():
        known = (whole / "scores.csv").read_bytes().splitlines(keepends=True)
        assert set((out / "scores.csv").read_bytes().splitlines(keepends=True)) <= set(known)
    if (out / "ledger.sqlite").exists():
        assert read_status(out).running is False
    for folder in cases(out) if out.exists() else ():
        expected = {path.name for path in (whole / folder.name).iterdir()}
        assert {path.name for path in folder.iterdir()} == expected


@pytest.mark.parametrize(
    ("n_studies", "n_hard", "n_kills"),
    [
        (12, 6, 5),
        pytest.param(60, 24, 30, marks=[pytest.mark.slow, pytest.mark.timeout(3000)]),
    ],
)
def test_killed_at_random_moments(
    n_studies: int, n_hard: int, n_kills: int, tmp_path: Path
) -> None:
    models = oracle_models(tmp_path / "models")
    tree = cohort.archive(tmp_path / "in", n_studies, n_hard)
    whole, out = tmp_path / "whole", tmp_path / "out"
    began = time.monotonic()
    assert start(tree, whole, models).wait() == Exit.BATCH_PARTIAL
    killer = Killer(seed=n_studies, longest_s=(time.monotonic() - began) * 0.4)
    manner: list[str] = []
    while killer.n_kills < n_kills:
        child = start(tree, out, models, *manner)
        killer.disturb(child, n_kills)
        manner = ["--resume"] if child.returncode < 0 else ["--overwrite"]
        assert child.returncode in (-signal.SIGKILL, Exit.BATCH_PARTIAL)
        assert_nothing_half_written(out, whole)
    assert start(tree, out, models, *manner).wait() == Exit.BATCH_PARTIAL
    print(f"killed {killer.n_parents} runs and {killer.n_workers} workers")  # noqa: T201
    rows = (out / "scores.csv").read_text().splitlines()[1:]
    assert len({row.split(",")[0] for row in rows}) == len(rows) == n_studies
    for name in TABLES:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert [path.name for path in cases(out)] == [path.name for path in cases(whole)]
    for folder in cases(out):
        assert dict(content(folder)) == dict(content(whole / folder.name)), folder.name
    assert [path.name for path in out.rglob(".*")] == [".lock"]
