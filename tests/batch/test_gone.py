"""Cases whose studies are gone stay with their patients."""

from pathlib import Path

from iac_cli.batch.gone import Told, with_gone
from iac_cli.batch.job import Cells, Job
from iac_cli.batch.plan import MANIFEST, PLAN_COLUMNS, Plan


def plan(
    about: dict[str, Cells], columns: tuple[str, ...] = PLAN_COLUMNS, naming: str = ""
) -> Plan:
    jobs = tuple(Job(name, Path(name), None, "", about=cells) for name, cells in about.items())
    return Plan(jobs, columns, naming=naming)


def rows(made: Plan) -> dict[str, Cells]:
    return {job.case_id: job.about for job in made.jobs}


THREE = {"a": ("p1", "0"), "b": ("p1", "100"), "c": ("p1", "413"), "z": ("p2", "0")}


def test_a_later_study_that_is_gone_keeps_its_cells() -> None:
    left = {name: cells for name, cells in THREE.items() if name != "c"}
    made, kept = with_gone(plan(left), Told(PLAN_COLUMNS, THREE), ["c"])
    assert kept == {"c": ("p1", "413")}
    assert rows(made) == left


def test_where_the_first_study_is_gone_days_still_count_from_it() -> None:
    now = {"b": ("p9", "0"), "c": ("p9", "313"), "z": ("p2", "0")}
    made, kept = with_gone(plan(now), Told(PLAN_COLUMNS, THREE), ["a"])
    assert kept == {"a": ("p9", "0")}
    assert rows(made) == {"b": ("p9", "100"), "c": ("p9", "413"), "z": ("p2", "0")}


def test_a_new_first_study_moves_what_is_gone_too() -> None:
    now = {"new": ("p1", "0"), "b": ("p1", "150"), "c": ("p1", "463")}
    made, kept = with_gone(plan(now), Told(PLAN_COLUMNS, THREE), ["a", "z"])
    assert kept == {"a": ("p1", "50"), "z": ("p2", "0")}
    assert rows(made) == now


def test_a_study_without_a_date_has_no_day() -> None:
    then = {"a": ("p1", ""), "b": ("p1", "0")}
    _, kept = with_gone(plan({"b": ("p7", "0")}), Told(PLAN_COLUMNS, then), ["a"])
    assert kept == {"a": ("p7", "")}


def test_columns_that_the_plan_has_no_more_are_dropped_and_new_ones_are_empty() -> None:
    before = Told((*PLAN_COLUMNS, "site"), {"a": ("p1", "0", "north")})
    _, kept = with_gone(plan({"b": ("", "", "x")}, (*PLAN_COLUMNS, "arm")), before, ["a"])
    assert kept == {"a": ("p1", "0", "")}


def test_nothing_gone_changes_nothing() -> None:
    made, kept = with_gone(plan(THREE), Told((), {}), [])
    assert (rows(made), kept) == (THREE, {})


def test_what_a_manifest_told_is_never_moved() -> None:
    then = {"a": ("PA", "100"), "b": ("PA", "160"), "c": ("PA", "-5")}
    now = {"a": ("PB", "100"), "b": ("PA", "160")}
    made, kept = with_gone(plan(now, naming=MANIFEST), Told(PLAN_COLUMNS, then), ["c"])
    assert (rows(made), kept) == (now, {"c": ("PA", "-5")})


def test_a_part_does_not_know_from_where_days_count() -> None:
    now = {"c": ("p1", "313")}
    made, kept = with_gone(plan(now), Told(PLAN_COLUMNS, THREE), ["a"], alone=False)
    assert (rows(made), kept) == (now, {"a": ("", "")})
