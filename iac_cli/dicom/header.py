"""One DICOM image header, typed: the tags that are used and nothing else.

Everything that later steps ask of a file is read here once; pixels are found again by their offset.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.tags import Tags, age_in_years, known_name, known_sex

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.2"
MULTI_FRAME = frozenset({ENHANCED_CT, LEGACY_ENHANCED_CT})

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
NATIVE_LITTLE = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE})

Triple = tuple[float, float, float]


FARTHEST_MM = 1e4
"""No scanner places a slice or a voxel further from its centre."""


@dataclass(frozen=True, slots=True)
class Coding:
    """How one file stores its pixels, and how they become HU."""

    transfer_syntax: str
    offset: int | None
    """Byte offset of native pixel values in the file; None when they must be decoded."""
    length: int | None
    """Number of bytes that the pixel element announces; None when undefined."""
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    samples: int
    photometric: str | None
    slope: float | None
    intercept: float | None
    rescale_type: str | None
    padding: int | None
    padding_limit: int | None
    lossy: bool
    burned_in: bool
    """Writing or drawings are part of the pixels, says a tag."""
    overlay_bits: bool
    """True when an overlay sits in the unused bits of the pixels."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one slice lies, as tagged: LPS mm, no check made yet."""

    position: Triple | None
    orientation: tuple[float, ...] | None
    """(6,) row direction, then column direction."""
    pixel_mm: tuple[float, float] | None
    """(row spacing, column spacing)."""
    thickness_mm: float | None
    tilt_tag_deg: float | None
    frame_of_reference_uid: str | None

    @property
    def normal(self) -> NDArray[np.float64] | None:
        """Unit vector normal to the slice, or None where the orientation is missing or void."""
        if self.orientation is None or len(self.orientation) != 6:
            return None
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        normal = np.cross(row, column)
        length = float(np.linalg.norm(normal))
        return normal / length if length > 1e-6 else None


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """The tags of one slice. `key` finds its file again."""

    name: str
    """Path inside the input. It can hold a patient's name: sentences use `label`."""
    key: object = field(repr=False)
    coding: Coding
    place: Place
    sop_class: str | None
    sop_uid: str | None
    series_uid: str | None
    study_uid: str | None
    patient: str | None = field(repr=False)
    modality: str | None
    image_type: tuple[str, ...]
    series_number: int | None
    acquisition_number: int | None
    instance_number: int | None
    when: str = field(repr=False)
    """Series date and time, only for ordering repeats; never shown."""
    kvp: float | None
    kernel: str | None
    manufacturer: str | None
    scanner_model: str | None
    sex: str | None
    age_years: float | None
    contrast_agent: str | None
    contrast_route: str | None
    contrast_ml: float | None
    """Volume, or else dose, of a contrast agent as tagged."""
    description: str = field(repr=False)
    """Series description, only for rules; never shown."""
    n_frames: int
    frame: int | None = None
    """Index of the frame in a multi-frame file."""
    number: int = 0
    """Of its file, in the order in which the files of the input are found, from 1."""

    @property
    def label(self) -> str:
        """What a sentence calls the slice: a number, never a name."""
        file = f"file {self.number}"
        return file if self.frame is None else f"frame {self.frame + 1} of {file}"


def read_header(name: str, key: object, tags: Tags, coding: Coding) -> SliceHeader:
    """Type the tags of one file."""
    description = tags.text(0x0008103E) or ""
    return SliceHeader(
        name=name,
        key=key,
        coding=coding,
        place=_place(tags),
        sop_class=tags.uid(0x00080016),
        sop_uid=tags.uid(0x00080018),
        series_uid=tags.uid(0x0020000E),
        study_uid=tags.uid(0x0020000D),
        patient=tags.text(0x00100020),
        modality=(tags.text(0x00080060) or "").upper() or None,
        image_type=tags.words(0x00080008),
        series_number=tags.whole(0x00200011),
        acquisition_number=tags.whole(0x00200012),
        instance_number=tags.whole(0x00200013),
        when=_moment(tags),
        kvp=_positive(tags.number(0x00180060)),
        kernel=known_name(tags.text(0x00181210)),
        manufacturer=known_name(tags.text(0x00080070)),
        scanner_model=known_name(tags.text(0x00081090)),
        sex=known_sex(tags.text(0x00100040)),
        age_years=age_in_years(tags.text(0x00101010)),
        contrast_agent=tags.text(0x00180010),
        contrast_route=tags.text(0x00181040),
        contrast_ml=_positive(tags.number(0x00181041)) or _positive(tags.number(0x00181044)),
        description=description,
        n_frames=tags.whole(0x00280008) or 1,
    )


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _moment(tags: Tags) -> str:
    """Series date and time as sortable digits; empty where they are not digits."""
    parts = []
    for tag in (0x00080021, 0x00080031):
        digits = (tags.text(tag) or "").split(".")[0]
        parts.append(digits if digits.isdigit() else "")
    return "".join(parts)


def _place(tags: Tags) -> Place:
    position, spacing = tags.numbers(0x00200032), tags.numbers(0x00280030)
    orientation = tags.numbers(0x00200037)
    return Place(
        position=usable_position(position),
        orientation=orientation if orientation and len(orientation) == 6 else None,
        pixel_mm=(spacing[0], spacing[1])
        if spacing and len(spacing) == 2 and min(spacing) > 0
        else None,
        thickness_mm=_positive(tags.number(0x00180050)),
        tilt_tag_deg=tags.number(0x00181120),
        frame_of_reference_uid=tags.uid(0x00200052),
    )


def usable_position(values: tuple[float, ...] | None) -> Triple | None:
    """A position (3,) mm that a scanner can reach, else None."""
    if not values or len(values) != 3 or max(map(abs, values)) > FARTHEST_MM:
        return None
    return (values[0], values[1], values[2])


def read_coding(
    tags: Tags, transfer_syntax: str, *, offset: int | None, length: int | None
) -> Coding:
    """Type the tags that describe the pixels."""
    signed = tags.short(0x00280103) == 1
    bits = tags.short(0x00280100) or 0
    stored, high = tags.short(0x00280101) or bits, tags.short(0x00280102)
    return Coding(
        transfer_syntax=transfer_syntax,
        offset=offset,
        length=length,
        rows=tags.short(0x00280010) or 0,
        columns=tags.short(0x00280011) or 0,
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=stored - 1 if high is None else high,
        signed=signed,
        samples=tags.short(0x00280002) or 1,
        photometric=(tags.text(0x00280004) or "").upper() or None,
        slope=tags.number(0x00281053),
        intercept=tags.number(0x00281052),
        rescale_type=(tags.text(0x00281054) or "").upper() or None,
        padding=_stored(tags.short(0x00280120), signed),
        padding_limit=_stored(tags.short(0x00280121), signed),
        lossy=tags.text(0x00282110) == "01",
        burned_in=(tags.text(0x00280301) or "").upper() == "YES",
        overlay_bits=bool(tags.short(0x60000102)),
    )


def _stored(value: int | None, signed: bool) -> int | None:
    """A 16-bit tag value in the sign of the pixels."""
    return value - 65536 if value is not None and signed and value >= 32768 else value
