"""A short run of the fuzzer, and proof that its judge would see what it looks for."""

from pathlib import Path

import pytest

from tests.fuzz.campaign import fuzz
from tests.fuzz.mutations import MUTATIONS, mutate
from tests.fuzz.seeds import write_seeds


def test_a_seed_always_makes_the_same_input(tmp_path: Path) -> None:
    seeds_folder = tmp_path / "seeds"
    seeds_folder.mkdir()
    seeds = write_seeds(seeds_folder)
    for seed in range(40):
        made = []
        for turn in ("first", "second"):
            into = tmp_path / f"{seed}_{turn}"
            into.mkdir()
            what = mutate(seeds, seed, into).what
            files = [p for p in sorted(into.rglob("*")) if p.is_file() and p.suffix != ".zip"]
            made.append((what, [(p.relative_to(into), p.read_bytes()) for p in files]))
        assert made[0] == made[1], seed


def test_every_kind_of_mutation_is_met(tmp_path: Path) -> None:
    seeds_folder = tmp_path / "seeds"
    seeds_folder.mkdir()
    seeds = write_seeds(seeds_folder)
    kinds = set()
    for seed in range(120):
        into = tmp_path / str(seed)
        into.mkdir()
        kinds.add(mutate(seeds, seed, into).what.split(":")[0])
    assert kinds == {mutation.__name__ for mutation in MUTATIONS}


@pytest.mark.timeout(280)
def test_no_mutated_input_gets_past_the_documented_exit_codes() -> None:
    tally = fuzz(first_seed=1_000_000, n_cases=150, jobs=2)
    assert tally.n_cases == 150
    assert not tally.bad, "\n".join(tally.bad)
    assert {0, 3, 4} <= set(tally.codes["convert"])
