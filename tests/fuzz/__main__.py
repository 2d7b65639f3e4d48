"""Fuzz the command line: `python -m tests.fuzz --cases 10000 [--first-seed N] [--jobs N]`.

Prints a table of exit codes for each command and every case with a complaint, with the seed that
repeats it (`--first-seed SEED --cases 1`). Ends with 1 when there was any complaint.
"""

import argparse
import multiprocessing
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.mutations import mutate
from tests.fuzz.seeds import Seeds, write_seeds
from tests.fuzz.worker import COMMANDS, Outcome, import_everything, run_case


@dataclass(slots=True)
class Tally:
    """What many cases came to."""

    codes: dict[str, Counter] = field(default_factory=lambda: {c: Counter() for c in COMMANDS})
    n_cases: int = 0
    worst_s: float = 0.0
    worst_growth_mb: float = 0.0
    bad: list[str] = field(default_factory=list)

    def add(self, seed: int, what: str, outcomes: list[Outcome]) -> None:
        """Count one case's outcomes."""
        self.n_cases += 1
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
        lines.append(
            f"\n{self.n_cases} inputs, {self.n_cases * len(COMMANDS)} runs, "
            f"{len(self.bad)} complaints; slowest {self.worst_s:.1f} s, "
            f"largest growth of memory {self.worst_growth_mb:.0f} MB"
        )
        return "\n".join(lines)


def run_seed(seeds: Seeds, seed: int, folder: Path) -> tuple[int, str, list[Outcome]]:
    """All commands on the mutated input of one seed."""
    scratch = Path(tempfile.mkdtemp(dir=folder, prefix=f"case_{seed}_"))
    try:
        mutated = mutate(seeds, seed, scratch)
        outcomes = [run_case(command, mutated, scratch) for command in COMMANDS]
    finally:
        shutil.rmtree(scratch)
    return seed, mutated.what, outcomes


def _run_share(share: tuple[Seeds, list[int], Path]) -> list[tuple[int, str, list[Outcome]]]:
    seeds, numbers, folder = share
    import_everything()
    return [run_seed(seeds, seed, folder) for seed in numbers]


def fuzz(first_seed: int, n_cases: int, jobs: int) -> Tally:
    """Run the cases of consecutive seeds and tally them."""
    folder = Path(tempfile.mkdtemp(prefix="iac-seg-fuzz-"))
    tally = Tally()
    try:
        seeds = write_seeds(folder)
        numbers = list(range(first_seed, first_seed + n_cases))
        shares = [(seeds, numbers[i : i + 50], folder) for i in range(0, n_cases, 50)]
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            for results in pool.imap_unordered(_run_share, shares):
                for seed, what, outcomes in results:
                    tally.add(seed, what, outcomes)
                print(f"{tally.n_cases} cases, {len(tally.bad)} complaints", file=sys.stderr)
    finally:
        shutil.rmtree(folder)
    return tally


def main() -> int:
    """Parse the command line, fuzz, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    tally = fuzz(options.first_seed, options.cases, options.jobs)
    print(tally.table())
    print("\n".join(tally.bad))
    return 1 if tally.bad else 0


if __name__ == "__main__":
    sys.exit(main())
