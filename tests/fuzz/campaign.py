"""Many mutated inputs in worker processes, and what they came to."""

import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests.fuzz.mutations import mutate
from tests.fuzz.seeds import Seeds, write_seeds
from tests.fuzz.worker import COMMANDS, Outcome, import_everything, run_case

SHARE = 25
"""Seeds that a worker takes at a time."""

Case = tuple[int, str, list[Outcome]]
"""A seed, what was done to the input, and how each command ended."""


@dataclass(slots=True)
class Tally:
    """What many cases came to."""

    codes: dict[str, Counter[int]] = field(default_factory=lambda: {c: Counter() for c in COMMANDS})
    kinds: Counter[str] = field(default_factory=Counter)
    n_cases: int = 0
    worst_s: float = 0.0
    worst_growth_mb: float = 0.0
    bad: list[str] = field(default_factory=list)

    def add(self, seed: int, what: str, outcomes: list[Outcome]) -> None:
        """Count one case's outcomes."""
        self.n_cases += 1
        self.kinds[what.split(":")[0]] += 1
        for outcome in outcomes:
            self.codes[outcome.command][outcome.code] += 1
            self.worst_s = max(self.worst_s, outcome.wall_s)
            self.worst_growth_mb = max(self.worst_growth_mb, outcome.peak_growth_mb)
            if outcome.complaints:
                reason = "; ".join(outcome.complaints)
                said = outcome.said.strip()
                self.bad.append(f"seed {seed} {outcome.command}: {reason}\n  {what}\n  {said}")

    def table(self) -> str:
        """The figures as text."""
        codes = sorted({code for counter in self.codes.values() for code in counter})
        lines = ["| command | " + " | ".join(f"exit {code}" for code in codes) + " |"]
        lines.append("|---" * (len(codes) + 1) + "|")
        for command, counter in self.codes.items():
            cells = " | ".join(str(counter[code]) for code in codes)
            lines.append(f"| `{command}` | {cells} |")
        lines.append("\n" + ", ".join(f"{n} {kind}" for kind, n in sorted(self.kinds.items())))
        lines.append(
            f"\n{self.n_cases} inputs, {self.n_cases * len(COMMANDS)} runs, "
            f"{len(self.bad)} complaints; slowest {self.worst_s:.1f} s, "
            f"largest growth of memory {self.worst_growth_mb:.0f} MB"
        )
        return "\n".join(lines)


def run_seed(seeds: Seeds, seed: int, folder: Path) -> Case:
    """All commands on the mutated input of one seed."""
    scratch = Path(tempfile.mkdtemp(dir=folder, prefix=f"case_{seed}_"))
    try:
        mutated = mutate(seeds, seed, scratch)
        outcomes = [run_case(command, mutated, scratch) for command in COMMANDS]
    finally:
        shutil.rmtree(scratch)
    return seed, mutated.what, outcomes


def _run_share(seeds: Seeds, numbers: range, folder: Path) -> list[Case]:
    import_everything()
    return [run_seed(seeds, seed, folder) for seed in numbers]


def fuzz(first_seed: int, n_cases: int, jobs: int) -> Tally:
    """Run the cases of consecutive seeds and tally them."""
    folder = Path(tempfile.mkdtemp(prefix="iac-seg-fuzz-"))
    tally = Tally()
    end = first_seed + n_cases
    try:
        seeds = write_seeds(folder)
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            shares = [
                pool.submit(_run_share, seeds, range(s, min(s + SHARE, end)), folder)
                for s in range(first_seed, end, SHARE)
            ]
            for share in as_completed(shares):
                for seed, what, outcomes in share.result():
                    known = len(tally.bad)
                    tally.add(seed, what, outcomes)
                    sys.stderr.writelines(f"{text}\n" for text in tally.bad[known:])
                sys.stderr.write(f"{tally.n_cases} cases, {len(tally.bad)} complaints\n")
    finally:
        shutil.rmtree(folder)
    return tally
