"""Raw tag values turned into typed, cleaned facts.

A header is hostile until proven otherwise: text loses control and formatting characters and is cut
to a bounded length, numbers must be finite, placeholders of pseudonymised files become None.
"""

import hashlib
import math
import re
import struct
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

TEXT_LIMIT = 64
"""Longest text, in characters, that enters a value object."""

_UID = re.compile(r"[0-9A-Za-z][0-9A-Za-z.\-]{0,63}")
_AGE = re.compile(r"(\d{3})([DWMY])")
_HASH_LIKE = re.compile(r"(?:[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.I)
_PLACEHOLDERS = frozenset(
    (
        "REMOVED",
        "ANON",
        "ANONYMOUS",
        "ANONYMIZED",
        "ANONYMISED",
        "NONE",
        "UNKNOWN",
        "UNDEFINED",
        "N/A",
        "NA",
        "NULL",
        "X",
        "XX",
        "XXX",
    )  # fmt: skip
)
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
OLDEST_YEARS = 120.0
"""An age above this is a placeholder."""


def clean_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """The text on one line, without control and format characters, at most `limit` long."""
    kept = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in text[: 4 * limit])
    return " ".join(kept.split())[:limit].strip()


def visible(text: str, limit: int = 200) -> str:
    """A file name for a message: control characters escaped, bounded; the end is kept."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= limit else "..." + shown[-limit:]


def decoded(value: bytes) -> str:
    """Bytes of a text tag as text: UTF-8 where it is valid, else Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def clean_uid(text: str) -> str | None:
    """A UID that is safe in paths and messages; a malformed one is replaced by a derived UID."""
    stripped = text.strip(" \0\t\r\n")
    if not stripped:
        return None
    if _UID.fullmatch(stripped):
        return stripped
    digest = hashlib.sha256(stripped.encode("utf-8", "surrogateescape")).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def age_in_years(text: str | None) -> float | None:
    """The age of an AS value in years; None for 000Y, absurd ages and anything else."""
    match = _AGE.fullmatch(text.strip()) if text else None
    if match is None:
        return None
    years = int(match[1]) * _YEARS[match[2]]
    return years if 0 < years <= OLDEST_YEARS else None


def known_sex(text: str | None) -> str | None:
    """ "M" or "F"; None for O, empty, hashes and anything else."""
    letter = (text or "").strip().upper()
    return letter if letter in ("M", "F") else None


def known_name(text: str | None) -> str | None:
    """A manufacturer, model or kernel; None for a placeholder or what looks like a hash."""
    if not text or text.upper() in _PLACEHOLDERS or _HASH_LIKE.fullmatch(text):
        return None
    return text


@dataclass(frozen=True, slots=True)
class Tags:
    """Top-level tags of one file as raw bytes, keyed by tag number. Absent and empty are alike."""

    raw: Mapping[int, bytes]
    little_endian: bool = True

    def text(self, tag: int) -> str | None:
        """Cleaned text; None when absent or empty."""
        value = self.raw.get(tag)
        return (clean_text(decoded(value[: 8 * TEXT_LIMIT])) or None) if value else None

    def words(self, tag: int) -> tuple[str, ...]:
        """The values of a multi-valued code string, upper case."""
        value = self.raw.get(tag)
        if not value:
            return ()
        return tuple(clean_text(w).upper() for w in decoded(value[:1024]).split("\\"))

    def numbers(self, tag: int) -> tuple[float, ...] | None:
        """The values of a decimal or integer string; None unless all are finite numbers."""
        value = self.raw.get(tag)
        if not value or len(value) > 1024:
            return None
        try:
            found = tuple(float(v) for v in value.rstrip(b" \0").split(b"\\"))
        except ValueError:
            return None
        return found if all(map(math.isfinite, found)) else None

    def number(self, tag: int) -> float | None:
        """The first value of a decimal or integer string."""
        found = self.numbers(tag)
        return found[0] if found else None

    def whole(self, tag: int) -> int | None:
        """An integer string."""
        found = self.number(tag)
        return int(found) if found is not None and abs(found) < 2**31 else None

    def short(self, tag: int) -> int | None:
        """A 16-bit unsigned value."""
        value = self.raw.get(tag)
        if not value or len(value) < 2:
            return None
        return int(struct.unpack_from("<H" if self.little_endian else ">H", value)[0])

    def uid(self, tag: int) -> str | None:
        """A UID, safe to print."""
        value = self.raw.get(tag)
        return clean_uid(decoded(value[:256])) if value else None
