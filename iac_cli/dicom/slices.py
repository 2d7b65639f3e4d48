"""The slices of a stack, decoded each into its place; copies are compared and dropped.

A slice that cannot be decoded, or that is no image of its own, is left out and told.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.blank import Look, blank_slices, look_at
from iac_cli.dicom.header import SliceHeader
from iac_cli.dicom.hu_steps import judge_hu_steps
from iac_cli.dicom.pixels import (
    PixelSource,
    Seen,
    SliceError,
    check_coding,
    failure,
    read_hu,
    slice_digest,
)
from iac_cli.dicom.reading import ReadSettings
from iac_cli.dicom.scan import OnStep, Store
from iac_cli.dicom.sequence import judge_sequence
from iac_cli.dicom.stack import SAME_PLACE_MM, Axes, order, same_place
from iac_cli.errors import Finding, IacError, Word

SLICE_DAMAGE = frozenset(
    {Word.FILE_UNREADABLE, Word.PIXELS_TRUNCATED, Word.PIXELS_UNDECODABLE, Word.BLANK_SLICES}
)
"""Failures that cost one slice; any other failure of a slice is the failure of the series."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """The slices of a stack that could be read, and what was noticed."""

    hu: NDArray[np.float32]
    headers: list[SliceHeader]
    positions: NDArray[np.float64]
    damaged: list[SliceError]
    damaged_mm: NDArray[np.float64]
    seen: list[Seen]
    digests: list[bytes]
    n_copies: int
    findings: list[Finding]
    """What the pixels tell, taken together."""


def read_pixels(
    headers: list[SliceHeader],
    axes: Axes,
    store: Store,
    settings: ReadSettings,
    on_step: OnStep | None,
) -> Pixels:
    """Decode every slice into its place; copies are compared and dropped."""
    _check_codings(headers)
    ordered, positions = order(headers, axes)
    places = same_place(positions, axes)
    coding = headers[0].coding
    shape = (coding.columns, coding.rows) if axes.transpose else (coding.rows, coding.columns)
    _check_size(len(places), shape, settings)
    hu = np.empty((len(places), *shape), dtype=np.float32)

    outcomes: list[Seen | SliceError] = []
    source = PixelSource(store)
    with ThreadPoolExecutor(1) as beside:  # looks at one slice while the next is read
        looking = []
        for i, place in enumerate(places):
            outcomes.append(_fill_place([ordered[k] for k in place], source, axes, hu[i]))
            if isinstance(outcomes[-1], Seen):
                looking.append((i, beside.submit(_look, hu[i])))
            if on_step is not None:
                on_step("read", i + 1, len(places))
    _check_in_plane(ordered, positions, places)
    looks = {i: look.result() for i, look in looking}
    outcomes = _without_blank(outcomes, looks, [ordered[place[0]] for place in places])
    errors = [o for o in outcomes if isinstance(o, SliceError)]
    fatal = next((e for e in errors if e.word not in SLICE_DAMAGE), None)
    kept = [i for i, o in enumerate(outcomes) if isinstance(o, Seen)]
    if fatal is not None or len(kept) < max(2, len(places) // 2):
        raise failure(fatal or errors[0]) if errors else _too_few(len(kept))
    first = np.array([p[0] for p in places])
    labels = [ordered[first[i]].label for i in kept]
    kept_looks = [looks[i] for i in kept]
    normal = np.cross(axes.row_axis, axes.column_axis)
    lost = sorted(set(range(len(places))) - set(kept))
    return Pixels(
        hu=hu if not lost else hu[kept],
        headers=[ordered[first[i]] for i in kept],
        positions=positions[first[kept]],
        damaged=errors,
        damaged_mm=positions[first[lost]] @ normal if lost else np.zeros(0),
        seen=[o for o in outcomes if isinstance(o, Seen)],
        digests=[look.digest for look in kept_looks],
        n_copies=len(ordered) - len(places),
        findings=[*judge_sequence(kept_looks, labels), *judge_hu_steps(kept_looks, labels)],
    )


def _look(hu: NDArray[np.float32]) -> Look:
    return look_at(hu, slice_digest(hu))


def _without_blank(
    outcomes: list[Seen | SliceError], looks: dict[int, Look], headers: Sequence[SliceHeader]
) -> list[Seen | SliceError]:
    """The outcomes, where a slice that is no image of its own counts as damaged."""
    told, numbers = list(outcomes), list(looks)
    for k, wrong in blank_slices(list(looks.values())).items():
        i = numbers[k]
        told[i] = SliceError(Word.BLANK_SLICES, f"{headers[i].label} {wrong}")
    return told


def _check_codings(headers: Sequence[SliceHeader]) -> None:
    """Refuse a series of which no header describes usable pixels, before memory is taken."""
    first: SliceError | None = None
    for header in headers:
        try:
            check_coding(header)
        except SliceError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise failure(first) from first


def _too_few(n: int) -> IacError:
    return IacError(
        Word.TOO_FEW_SLICES,
        f"only {n} slices at different positions",
        way_out="send the whole series",
    )


def _check_size(n: int, shape: tuple[int, int], settings: ReadSettings) -> None:
    voxels = n * shape[0] * shape[1]
    if voxels > settings.max_voxels:
        raise IacError(
            Word.VOLUME_TOO_LARGE,
            f"{n} slices of {shape[0]} x {shape[1]} are more than {settings.max_voxels} voxels",
            way_out="crop the series to the head",
        )


def _fill_place(
    headers: list[SliceHeader], source: PixelSource, axes: Axes, out: NDArray[np.float32]
) -> Seen | SliceError:
    """Decode the slices at one place; the first sound one is kept, others must equal it."""
    stored_shape = out.shape[::-1] if axes.transpose else out.shape
    straight = not (axes.transpose or axes.flip_rows or axes.flip_columns)
    seen: Seen | None = None
    error: SliceError | None = None
    for header in headers:
        direct = straight and seen is None
        buffer = out if direct else np.empty(stored_shape, dtype=np.float32)
        try:
            now = read_hu(header, source, buffer)
        except SliceError as damage:
            error = error or damage
            continue
        if seen is None:
            seen = now
            if not direct:
                out[...] = axes.canonical(buffer)
        elif not np.array_equal(axes.canonical(buffer), out):
            what = f"{headers[0].label} and {header.label} hold different pixels at one position"
            return SliceError(Word.CONFLICTING_SLICES, what)
    if seen is not None:
        return seen
    assert error is not None
    return error


def _check_in_plane(
    ordered: list[SliceHeader], positions: NDArray[np.float64], places: list[tuple[int, ...]]
) -> None:
    for place in places:
        spread = float(np.ptp(positions[list(place)], axis=0).max())
        if spread > SAME_PLACE_MM:
            a, b = ordered[place[0]].label, ordered[place[-1]].label
            raise IacError(
                Word.CONFLICTING_SLICES,
                f"{a} and {b} share a plane and are shifted by {spread:.2f} mm",
                way_out="remove one of the two acquisitions",
            )
