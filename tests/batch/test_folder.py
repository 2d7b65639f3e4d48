"""The ledger, the log and the lock: what is kept comes back, what is damaged is said."""

from pathlib import Path

import pytest

from iac_cli.batch.folder import Log, RunFolder, is_locked, locked, open_ledger
from iac_cli.batch.job import Outcome, State
from iac_cli.batch.ledger import Entry, Keys, Ledger
from iac_cli.errors import IacError, Word

KEYS = Keys("input", "settings", "model")


def entry(case_id: str, state: State = State.MEASURED, **more) -> Entry:
    return Entry(KEYS, Outcome(case_id, state, (case_id, "1.5"), ((case_id, "1"),), **more))


def test_what_ended_comes_back_sorted(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.plan(("site",), {"b": ("Ä, site",), "a": ("",)})
    ledger.end([entry("b"), entry("a", State.FAILED, code="no_dicom", message="why")])
    ledger.close()
    again = Ledger(tmp_path / "ledger.sqlite")
    assert list(again.rows()) == [(("a", "1.5"), ("",)), (("b", "1.5"), ("Ä, site",))]
    assert list(again.lesions()) == [("a", "1"), ("b", "1")]
    assert [(one.case_id, one.code, one.message) for one in again.failures()] == [
        ("a", "no_dicom", "why")
    ]
    assert again.counts().by_state == {"measured": 1, "not_measurable": 0, "failed": 1}
    again.close()


def test_a_begun_case_is_not_ended(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.end([entry("a")])
    ledger.begin("a", KEYS)
    ledger.begin("a", KEYS)
    assert ledger.keys() == {"a": (KEYS, None, 2)}
    assert list(ledger.rows()) == []
    ledger.close()


def test_a_second_run_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with locked(folder):
        assert is_locked(folder)
        with pytest.raises(IacError) as caught, locked(folder):
            pass
        assert caught.value.word is Word.OUTPUT_LOCKED == "output_locked"
    assert not is_locked(folder)


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but long enough to be read"])
def test_a_damaged_ledger_is_said(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    ledger.end(entry(f"case-{i}") for i in range(400))
    ledger.close()
    whole = path.read_bytes()
    path.write_bytes(damage or whole[:4096] + b"\x5a" * 8192 + whole[12288:])
    with pytest.raises(IacError) as caught:
        Ledger(path)
    assert caught.value.word is Word.LEDGER_DAMAGED == "ledger_damaged"


def test_a_lost_ledger_is_made_anew_from_the_log(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    ledger, log = open_ledger(folder), Log(folder.log)
    entries = [entry("a", State.FAILED, code="no_dicom"), entry("b"), entry("a")]
    for one in entries:
        log.ended(one)
        ledger.end([one])
    log.close()
    before = (list(ledger.rows()), list(ledger.lesions()), ledger.keys())
    ledger.close()
    with folder.log.open("ab") as file:
        file.write(b'{"time": "2026-01-01T00:00:00", "event": "ended", "case_id": "c", "ro')
    folder.ledger.unlink()
    anew = open_ledger(folder)
    assert (list(anew.rows()), list(anew.lesions()), anew.keys()) == before
    anew.close()


def test_a_torn_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.log.write_bytes(b'{"time": "t", "event": "en')
    log = Log(folder.log)
    log.ended(entry("a"))
    log.close()
    ledger = open_ledger(folder)
    assert list(ledger.keys()) == ["a"]
    ledger.close()


def test_an_emptied_ledger_is_made_anew_too(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    log = Log(folder.log)
    log.ended(entry("a"))
    log.close()
    folder.ledger.touch()
    ledger = open_ledger(folder)
    assert list(ledger.keys()) == ["a"]
    ledger.close()
