"""Raw tag values: cleaned, bounded, placeholders turned into None."""

import pytest

from iac_cli.dicom.tags import (
    TEXT_LIMIT,
    Tags,
    age_in_years,
    clean_text,
    clean_uid,
    known_name,
    known_sex,
    visible,
)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("STANDARD ", "STANDARD"),
        ("\x1b[31mRED\x1b[0m", "[31mRED [0m"),
        ("a\r\nb\x00c", "a b c"),
        ("left\u202eright", "left right"),
        ("x" * 500, "x" * TEXT_LIMIT),
        ("H30s\\3", "H30s\\3"),
        ("Größe 中", "Größe 中"),
    ],
)
def test_text_is_one_bounded_line_without_control_characters(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("071Y", 71.0),
        ("006M", 0.5),
        ("052W", 52 * 7 / 365.25),
        ("000Y", None),
        ("999Y", None),
        ("71", None),
        ("b6589fc6ab0dc82cf12099d1c2d40ab994e8410c", None),
        ("", None),
        (None, None),
    ],
)
def test_ages_and_their_placeholders(text: str | None, years: float | None) -> None:
    assert age_in_years(text) == (years if years is None else pytest.approx(years))


@pytest.mark.parametrize(
    ("text", "sex"), [("M", "M"), ("f ", "F"), ("O", None), ("", None), ("3f2a9c", None)]
)
def test_sex_is_m_f_or_unknown(text: str, sex: str | None) -> None:
    assert known_sex(text) == sex


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("GE MEDICAL SYSTEMS", "GE MEDICAL SYSTEMS"),
        ("REMOVED", None),
        ("Anonymous", None),
        ("da39a3ee5e6b4b0d3255bfef95601890afd80709", None),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", None),
        ("STD+", "STD+"),
    ],
)
def test_names_and_their_placeholders(text: str, name: str | None) -> None:
    assert known_name(text) == name


def test_a_sound_uid_is_kept_and_a_hostile_one_replaced_by_a_derived_one() -> None:
    assert clean_uid("1.2.840.10008.1.2\0") == "1.2.840.10008.1.2"
    hostile = clean_uid("../../etc/passwd")
    assert hostile is not None
    assert hostile.startswith("2.25.")
    assert hostile == clean_uid("../../etc/passwd")
    assert hostile != clean_uid("../../etc/shadow")
    assert clean_uid(" \0") is None


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (b"1.5\\-2 ", (1.5, -2.0)),
        (b"NaN\\1", None),
        (b"inf", None),
        (b"1e400", None),
        (b"one", None),
        (b"", None),
        (b"9" * 5000, None),
    ],
)
def test_decimal_strings_are_finite_numbers_or_nothing(
    value: bytes, numbers: tuple[float, ...] | None
) -> None:
    assert Tags({1: value}).numbers(1) == numbers


def test_a_short_follows_the_byte_order() -> None:
    assert Tags({1: b"\x02\x00"}).short(1) == 2
    assert Tags({1: b"\x00\x02"}, little_endian=False).short(1) == 2
    assert Tags({1: b"\x02"}).short(1) is None


def test_a_file_name_is_shown_without_escape_codes() -> None:
    assert visible("a\x1b[2Jb\ud800") == "a\\x1b[2Jb\\ud800"
    assert len(visible("x" * 1000)) <= 203
