"""Enhanced CT: one object of many frames, turned into one header a frame.

Geometry, rescale and frame type are read from the functional groups, shared or per frame.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import Any, BinaryIO

from iac_cli.dicom.header import MULTI_FRAME, SliceHeader, usable_position
from iac_cli.dicom.parse import FOREIGN
from iac_cli.dicom.scan import Damaged, Store
from iac_cli.dicom.tags import clean_text
from iac_cli.errors import Word

MOST_FRAMES = 5000
"""More frames than this in one object is not a head series."""


def expand_all(
    headers: Sequence[SliceHeader], store: Store
) -> tuple[list[SliceHeader], list[Damaged]]:
    """Every header, with each multi-frame CT replaced by one header a frame."""
    slices: list[SliceHeader] = []
    damaged: list[Damaged] = []
    for header in headers:
        if header.sop_class not in MULTI_FRAME:
            slices.append(header)
            continue
        try:
            with store.open(header.key) as stream:
                slices += frames_of(header, stream)
        except (*FOREIGN, OSError):
            what = f"{header.label} has frames that cannot be told apart"
            word = Word.MULTIFRAME_UNSUPPORTED
            damaged.append(Damaged(header.name, word, what, header.series_uid))
    return slices, damaged


def frames_of(header: SliceHeader, stream: BinaryIO) -> list[SliceHeader]:
    """One header for each frame of a multi-frame object. Raises: what pydicom raises."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
        shared = _first(dataset, "SharedFunctionalGroupsSequence")
        frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
        if not frames or len(frames) != header.n_frames or len(frames) > MOST_FRAMES:
            raise ValueError(f"{len(frames)} functional groups for {header.n_frames} frames")
        return [_frame(header, shared, own, i) for i, own in enumerate(frames)]


def _first(dataset: Any, keyword: str) -> Any:
    """The first item of a sequence, or None."""
    items = dataset.get(keyword) if dataset is not None else None
    return items[0] if items else None


def _frame(header: SliceHeader, shared: Any, own: Any, index: int) -> SliceHeader:
    def group(keyword: str) -> Any:
        found = _first(own, keyword)
        return found if found is not None else _first(shared, keyword)

    transform = group("PixelValueTransformationSequence")
    measures = group("PixelMeasuresSequence")
    position = usable_position(_floats(group("PlanePositionSequence"), "ImagePositionPatient", 3))
    orientation = _floats(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    spacing = _floats(measures, "PixelSpacing", 2)
    kind = group("CTImageFrameTypeSequence")
    exposure, kernel = group("CTXRayDetailsSequence"), group("CTReconstructionSequence")
    place = replace(
        header.place,
        position=position,
        orientation=orientation,
        pixel_mm=spacing if spacing and min(spacing) > 0 else None,
        thickness_mm=_positive(measures, "SliceThickness"),
    )
    coding = replace(
        header.coding,
        slope=_number(transform, "RescaleSlope"),
        intercept=_number(transform, "RescaleIntercept"),
        rescale_type=_text(transform, "RescaleType"),
    )
    return replace(
        header,
        place=place,
        coding=coding,
        image_type=_words(kind, "FrameType") or header.image_type,
        kernel=header.kernel or _text(kernel, "ConvolutionKernel"),
        kvp=header.kvp or _positive(exposure, "KVP"),
        instance_number=index + 1,
        frame=index,
    )


def _floats(item: Any, keyword: str, n: int) -> Any:
    """n finite numbers as a tuple, or None."""
    value = item.get(keyword) if item is not None else None
    if value is None or isinstance(value, str | bytes) or len(value) != n:
        return None
    numbers = tuple(float(v) for v in value)
    return numbers if all(map(isfinite, numbers)) else None


def _number(item: Any, keyword: str) -> float | None:
    value = item.get(keyword) if item is not None else None
    if value is None or value == "":
        return None
    number = float(value)
    return number if isfinite(number) else None


def _positive(item: Any, keyword: str) -> float | None:
    number = _number(item, keyword)
    return number if number is not None and number > 0 else None


def _text(item: Any, keyword: str) -> str | None:
    value = item.get(keyword) if item is not None else None
    if isinstance(value, str) or value is None:
        return clean_text(value or "").upper() or None
    return clean_text("\\".join(str(v) for v in value)).upper() or None


def _words(item: Any, keyword: str) -> tuple[str, ...]:
    value = item.get(keyword) if item is not None else None
    if value is None:
        return ()
    parts = [value] if isinstance(value, str) else list(value)
    return tuple(clean_text(str(v)).upper() for v in parts)
