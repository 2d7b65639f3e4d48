"""A case's name in outputs: by default a salted hash, so that no identity leaves the scan."""

import hashlib
import re

from iac_cli.dicom.reading import Identity
from iac_cli.errors import IacError, Word
from iac_cli.settings import IdFrom

LONGEST = 64
"""Characters of a case id at most."""

HASH_DIGITS = 12

UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
"""Whatever a file name, a table or a terminal could stumble over."""

RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Device names in Windows, with or without an extension: no folder on a share can be called so."""


def hashed_id(text: str, salt: str) -> str:
    """`case-` and twelve hexadecimal digits of the salted SHA-256."""
    return "case-" + short_hash(f"{salt}\0{text}", HASH_DIGITS)


def short_hash(text: str, digits: int = 6) -> str:
    """So many hexadecimal digits of the SHA-256; file names that are no UTF-8 have one too."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:digits]


def safe_id(text: str) -> str:
    """The text as a plain file name on any system; where that changes it, a hash keeps ids apart.

    Raises:
        IacError: bad_setting when nothing is left.

    """
    safe = UNSAFE.sub("_", text.strip()).strip("._-")
    if not safe:
        raise IacError(
            Word.BAD_SETTING,
            "the case id holds no letter or digit",
            way_out="give --case-id letters, digits, '.', '_' or '-'",
        )
    if safe == text and len(safe) <= LONGEST and not RESERVED.fullmatch(safe):
        return safe
    stem = safe.split(".")[0] if RESERVED.fullmatch(safe) else safe[: LONGEST - 7]
    return f"{stem}-{short_hash(text)}"


def case_id_of(identity: Identity, otherwise: str, source: IdFrom, salt: str) -> str:
    """The case id of one reading: it names the study, not the series.

    The hash is of the study's UID, and of `otherwise` (the pixels' hash) where there is none.
    Raises: IacError: bad_setting when the input does not hold what was asked for.
    """
    if source == IdFrom.HASH:
        return hashed_id(identity.study_uid or otherwise, salt)
    known = {
        IdFrom.FOLDER: identity.folder,
        IdFrom.STUDY_UID: identity.study_uid,
        IdFrom.PATIENT_ID: identity.patient_id,
    }
    text = known[source]
    if not text:
        raise IacError(
            Word.BAD_SETTING,
            f"the input holds no {source} to make a case id from",
            way_out="give --case-id, or --id-from hash",
        )
    return safe_id(text)
