from pathlib import PureWindowsPath

import pytest

from iac_cli.dicom.case_id import case_id_of, hashed_id, safe_id
from iac_cli.dicom.reading import Identity
from iac_cli.errors import IacError, Word
from iac_cli.settings import IdFrom

WHO = Identity(patient_id="Doe^Jane/../1", study_uid="1.2.3", folder="scan 7")


def test_hash_is_of_the_study_and_the_salt() -> None:
    assert case_id_of(WHO, "ab", IdFrom.HASH, "s") == hashed_id("1.2.3", "s")
    assert case_id_of(Identity(), "ab", IdFrom.HASH, "s") == hashed_id("ab", "s")
    assert hashed_id("1.2.3", "s") != hashed_id("1.2.3", "t")
    assert len(hashed_id("1.2.3", "s")) == len("case-") + 12


def test_identity_appears_only_when_asked_for() -> None:
    assert case_id_of(WHO, "ab", IdFrom.STUDY_UID, "s") == "1.2.3"
    assert case_id_of(WHO, "ab", IdFrom.PATIENT_ID, "s").startswith("Doe_Jane_.._1-")
    assert case_id_of(WHO, "ab", IdFrom.FOLDER, "s").startswith("scan_7-")


@pytest.mark.parametrize(
    "text", ["../x", "a/b", "=HYPERLINK(1)", "a\x1b[31m", "x" * 200, ".hidden"]
)
def test_hostile_ids_become_plain_names(text: str) -> None:
    safe = safe_id(text)
    assert set(safe) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
    assert len(safe) <= 64
    assert not safe.startswith((".", "-"))


def test_ids_that_look_alike_stay_apart() -> None:
    assert len({safe_id("a/b"), safe_id("a_b"), safe_id("a b"), safe_id("a:b")}) == 4


@pytest.mark.parametrize("text", ["CON", "nul", "Aux.1", "com1", "LPT9.x"])
def test_names_that_windows_keeps_for_devices_are_never_ids(text: str) -> None:
    assert not PureWindowsPath(safe_id(text)).is_reserved()


@pytest.mark.parametrize("text", ["CONTROL", "com10", "nullipara", "connor.1"])
def test_names_that_only_look_like_devices_stay(text: str) -> None:
    assert safe_id(text) == text


@pytest.mark.parametrize("text", ["", "...", "///"])
def test_id_without_letters_is_refused(text: str) -> None:
    with pytest.raises(IacError) as caught:
        safe_id(text)
    assert caught.value.word == Word.BAD_SETTING
