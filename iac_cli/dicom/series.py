"""From headers to candidate series, each judged by the rules, and the choice between them.

Headers are grouped by series and split where orientation, matrix or acquisition differ. Every
candidate keeps its verdicts, so that `inspect` can tell why it was or was not used.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iac_cli.dicom.header import CT_IMAGE, ENHANCED_CT, LEGACY_ENHANCED_CT, SliceHeader
from iac_cli.dicom.interleaved import (
    FEWEST_OF_A_STACK,
    interleaved,
    mixed_up,
    offsets_along,
    overlap,
)
from iac_cli.dicom.pixels import WAYS_OUT, is_lossy, retired_slice
from iac_cli.dicom.rules import (
    Rules,
    Verdict,
    deciding_rank,
    judge,
    kernel_class,
    rank_key,
)
from iac_cli.dicom.stack import SAME_PLACE_MM
from iac_cli.errors import IacError, Word

OBJECTS = {
    CT_IMAGE: "CT Image",
    ENHANCED_CT: "Enhanced CT Image",
    LEGACY_ENHANCED_CT: "Legacy Converted Enhanced CT Image",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image",
}

CT_OBJECTS = frozenset({CT_IMAGE, ENHANCED_CT, LEGACY_ENHANCED_CT})

SAME_DIRECTION = 1e-3
"""Largest difference in any component of two directions that count as one."""

SAME_PIXEL = 1e-3
"""Relative difference of two pixel spacings that count as one."""

OTHER_VIEW_DEG = 30.0
"""Stacks further apart than this are different views, as a localizer is; nearer ones conflict."""

UNNAMED = "unnamed"
"""A contrast agent of which only the volume or the route is tagged."""

NO_AGENT = frozenset({"NONE", "NO", "N", "WITHOUT", "W/O", "NO CONTRAST", "NATIVE", "0"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """Slices of one series that belong together."""

    headers: tuple[SliceHeader, ...]
    part: str = ""
    """What sets it apart from other parts of its series; empty for a whole series."""
    trouble: tuple[tuple[Word, str], ...] = ()
    """Contradictions with other parts of the same series."""

    @property
    def first(self) -> SliceHeader:
        """A header that stands for all."""
        return self.headers[0]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A candidate with its facts and the verdict of each rule."""

    candidate: Candidate
    facts: dict[str, Any]
    verdicts: tuple[Verdict, ...]

    @property
    def usable(self) -> bool:
        """True when every rule holds."""
        return all(v.passed for v in self.verdicts)

    @property
    def first_failure(self) -> Verdict | None:
        """The first rule that does not hold."""
        return next((v for v in self.verdicts if not v.passed), None)


def find_candidates(headers: Iterable[SliceHeader]) -> list[Candidate]:
    """Group headers into candidates, in the order of their series numbers and UIDs."""
    by_series: dict[Hashable, list[SliceHeader]] = defaultdict(list)
    for header in headers:
        by_series[(header.patient, header.study_uid, header.series_uid)].append(header)
    candidates: list[Candidate] = []
    for members in by_series.values():
        candidates += _split_series(members)
    candidates.sort(
        key=lambda c: (
            c.first.series_number if c.first.series_number is not None else 1 << 40,
            c.first.series_uid or "",
            c.part,
            c.first.name,
        )
    )
    return candidates


def _split_series(members: list[SliceHeader]) -> list[Candidate]:
    """Split one series by kind of image, then by geometry, then by repeated positions."""
    kinds: dict[Hashable, list[SliceHeader]] = defaultdict(list)
    for header in members:
        localizer = "LOCALIZER" in header.image_type
        kinds[(header.sop_class, header.modality, header.image_type[:2], localizer)].append(header)
    candidates = []
    for kind in kinds.values():
        if kind[0].sop_class not in CT_OBJECTS:
            candidates.append(Candidate(tuple(kind)))
            continue
        stacks = _by_geometry(kind)
        for i, stack in enumerate(stacks):
            trouble = tuple(
                found
                for j, other in enumerate(stacks)
                if j != i and (found := _conflict(stack, other)) is not None
            )
            label = f"stack {i + 1} of {len(stacks)}" if len(stacks) > 1 else ""
            candidates += [
                Candidate(
                    tuple(part), ", ".join(filter(None, (label, name))), trouble + mixed_up(part)
                )
                for part, name in _by_acquisition(stack)
            ]
    return candidates


def _by_geometry(headers: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Stacks of equal orientation, matrix, pixel size and frame of reference, largest first."""
    stacks: list[list[SliceHeader]] = []
    for header in headers:
        for stack in stacks:
            if _same_geometry(stack[0], header):
                stack.append(header)
                break
        else:
            stacks.append([header])
    return sorted(stacks, key=len, reverse=True)


def _same_geometry(a: SliceHeader, b: SliceHeader) -> bool:
    if (a.coding.rows, a.coding.columns) != (b.coding.rows, b.coding.columns):
        return False
    if a.place.frame_of_reference_uid != b.place.frame_of_reference_uid:
        return False
    return _close(a.place.orientation, b.place.orientation, SAME_DIRECTION) and _close(
        a.place.pixel_mm, b.place.pixel_mm, SAME_PIXEL * (a.place.pixel_mm or (1.0,))[0]
    )


def _close(a: tuple[float, ...] | None, b: tuple[float, ...] | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))


def _conflict(stack: list[SliceHeader], other: list[SliceHeader]) -> tuple[Word, str] | None:
    """How another stack of the same series contradicts this one, if it does.

    Another view is no contradiction, nor is a second whole stack over the same region.
    """
    mine, theirs = stack[0].place, other[0].place
    n = len(other)
    if theirs.orientation is None or mine.orientation is None:
        what = f"{n} slices of the series have no orientation, as {other[0].label}"
        return (Word.GEOMETRY_MISSING, what)
    normal, their_normal = mine.normal, theirs.normal
    if normal is None or their_normal is None:
        return None
    angle = np.degrees(np.arccos(np.clip(abs(float(normal @ their_normal)), 0, 1)))
    if angle > OTHER_VIEW_DEG or overlap(stack, other):
        return None
    if not _close(mine.orientation, theirs.orientation, SAME_DIRECTION):
        what = f"{n} slices of the series have another orientation, as {other[0].label}"
        return (Word.MIXED_ORIENTATION, what)
    what = f"{n} slices of the series have another matrix, pixel size or frame of reference"
    return (Word.MIXED_GEOMETRY, f"{what}, as {other[0].label}")


_APART: tuple[tuple[str, Callable[[SliceHeader], Hashable]], ...] = (
    ("kVp", lambda h: h.kvp),
    ("kernel", lambda h: h.kernel),
    ("image type", lambda h: h.image_type),
    ("thickness", lambda h: h.place.thickness_mm),
    ("contrast agent", lambda h: h.contrast_agent),
    ("acquisition", lambda h: h.acquisition_number),
    ("time", lambda h: h.when),
)
"""What may tell apart slices that repeat a position, in the order in which it is tried."""


def _by_acquisition(stack: list[SliceHeader]) -> list[tuple[list[SliceHeader], str]]:
    """Split a stack whose positions repeat by the first tag that leaves each position once.

    Where none repeats, by the first tag that tells whole stacks of one region apart.
    """
    if not _repeats(stack):
        return interleaved(stack)
    for name, key in _APART:
        parts: dict[Hashable, list[SliceHeader]] = defaultdict(list)
        for header in stack:
            parts[key(header)].append(header)
        whole = all(len(p) >= FEWEST_OF_A_STACK and not _repeats(p) for p in parts.values())
        if len(parts) > 1 and whole:
            shown = name not in ("time", "contrast agent")
            return [
                (part, f"{name} {value}" if shown else f"{name} {i + 1}")
                for i, (value, part) in enumerate(parts.items())
            ]
    return [(stack, "")]


def _repeats(stack: list[SliceHeader]) -> bool:
    """True when two different images lie at one position; copies of a file are one image."""
    distinct = {(h.sop_uid or h.name, h.frame): h for h in stack}
    steps = np.diff(offsets_along(list(distinct.values()), stack[0]))
    return bool((steps <= SAME_PLACE_MM).any())


def facts_of(candidate: Candidate, rules: Rules) -> dict[str, Any]:
    """What the rules look at."""
    first = candidate.first
    offsets = offsets_along(candidate.headers, first)
    images = {(h.sop_uid or h.name, h.frame) for h in candidate.headers}
    steps = np.diff(offsets)
    steps = steps[steps > SAME_PLACE_MM]
    normal = first.place.normal
    agents = {_agent(h) for h in candidate.headers}
    words = {w for h in candidate.headers for w in h.image_type}
    kept = first.image_type + tuple(sorted(words - set(first.image_type)))
    units = {h.coding.rescale_type for h in candidate.headers} - {None}
    return {
        "modality": first.modality,
        "object": OBJECTS.get(first.sop_class or "", first.sop_class),
        "image_type": tuple(w for w in kept if w),
        "description": first.description or None,
        "contrast_agent": " ".join(sorted(filter(None, agents))) or None,
        "rescale_type": _odd_unit(units),
        "kernel": first.kernel,
        "kernel_class": _worst_class(candidate.headers, rules),
        "manufacturer": first.manufacturer,
        "n_slices": len(images),
        "angle_deg": _angle_deg(normal),
        "step_mm": float(np.percentile(steps, 25)) if len(steps) else None,
        "thickness_mm": first.place.thickness_mm,
        "coverage_mm": float(offsets[-1] - offsets[0]) if len(offsets) else None,
        "kvp_from_120": abs(first.kvp - 120.0) if first.kvp is not None else None,
        "lossy": any(is_lossy(h.coding) for h in candidate.headers),
        "burned_in": "YES" if any(h.coding.burned_in for h in candidate.headers) else None,
        "when": max(h.when for h in candidate.headers) or None,
        "series_number": first.series_number,
        "acquisition_number": first.acquisition_number,
    }


def _worst_class(headers: Sequence[SliceHeader], rules: Rules) -> str:
    """The class of the kernel; where slices have several, the one that is trusted least."""
    classes = {kernel_class(h.kernel, rules) for h in headers}
    doubted = [name for name in ("sharp", "unknown") if name in classes]
    return doubted[0] if doubted else classes.pop()


def _odd_unit(units: set[str | None]) -> str | None:
    """A unit that is not HU where there is one, else HU, else None."""
    odd = sorted(u for u in units if u and u != "HU")
    return odd[0] if odd else ("HU" if units else None)


def _angle_deg(normal: np.ndarray[Any, Any] | None) -> float | None:
    if normal is None:
        return None
    return float(np.degrees(np.arccos(np.clip(abs(float(normal[2])), 0, 1))))


def _agent(header: SliceHeader) -> str | None:
    """The contrast agent of a slice, by its name, volume or route; None where it had none."""
    agent = (header.contrast_agent or "").upper().rstrip(".")
    route = (header.contrast_route or "").upper()
    if "ORAL" in route or agent in NO_AGENT:
        return None
    if agent:
        return agent
    by_vein = any(way in route for way in ("IV", "I.V", "INTRAVEN", "INTRA-ART", "INTRAART"))
    return UNNAMED if by_vein or header.contrast_ml else None


def judge_all(candidates: Sequence[Candidate], rules: Rules, *, uid: str | None) -> list[Judged]:
    """Facts and verdicts of every candidate; `uid` is the series that the user named, if any."""
    judged = []
    for candidate in candidates:
        facts = facts_of(candidate, rules)
        named = uid is not None and candidate.first.series_uid == uid
        verdicts = judge(facts, rules, named=named)
        own = tuple(
            Verdict("series is consistent", False, w, word) for word, w in candidate.trouble
        )
        judged.append(Judged(candidate, facts, verdicts + own + _retired(candidate)))
    return judged


def _retired(candidate: Candidate) -> tuple[Verdict, ...]:
    """The verdict on a series that no decoder here reads, which its headers say."""
    refused = retired_slice(candidate.headers)
    if refused is None:
        return ()
    return (Verdict("encoding is read", False, refused.what, refused.word),)


def choose(judged: Sequence[Judged], rules: Rules, *, uid: str | None) -> Judged:
    """The best usable series.

    Raises: IacError: series_not_found, mixed_patients, ambiguous_series, or the word of the rule
    that the last excluded series broke.
    """
    pool = list(judged)
    if uid is not None:
        pool = [j for j in pool if j.candidate.first.series_uid == uid]
        if not pool:
            raise IacError(
                Word.SERIES_NOT_FOUND,
                f"none of {len(judged)} series has the UID that was given",
                way_out="list the series with 'iac-seg inspect'",
            )
    usable = [j for j in pool if j.usable]
    if not usable:
        raise _none_usable(pool, rules)
    patients = {j.candidate.first.patient for j in usable} - {None}
    _check_one_patient_a_series(usable, judged)
    if len(patients) > 1:
        raise IacError(
            Word.MIXED_PATIENTS,
            f"the usable series belong to {len(patients)} patients",
            way_out="give one patient's folder, or name the series with --series",
        )
    ranked = sorted(usable, key=lambda j: rank_key(j.facts, rules))
    if len(ranked) > 1 and deciding_rank(ranked[1].facts, ranked[0].facts, rules) is None:
        raise IacError(
            Word.AMBIGUOUS_SERIES,
            "two usable series are equal in every rank",
            way_out="name one with --series UID; 'iac-seg inspect' lists them",
        )
    return ranked[0]


def _check_one_patient_a_series(usable: Sequence[Judged], judged: Sequence[Judged]) -> None:
    """Slices of somebody else inside a usable series: nobody can tell whose head it is."""
    owners: dict[str | None, set[str | None]] = defaultdict(set)
    for one in judged:
        owners[one.candidate.first.series_uid].add(one.candidate.first.patient)
    for one in usable:
        found = owners[one.candidate.first.series_uid] - {None}
        if len(found) > 1:
            raise IacError(
                Word.MIXED_PATIENTS,
                f"one series holds images of {len(found)} patients",
                way_out="take the other patient's images out; 'iac-seg inspect -v' lists the files",
            )


def _none_usable(pool: Sequence[Judged], rules: Rules) -> IacError:
    """The failure of the series that came furthest through the rules."""
    nearest, furthest = _furthest(pool, rules)
    number = nearest.candidate.first.series_number
    name = f"series {number}" if number is not None else "a series without a number"
    modalities = ", ".join(sorted({str(j.facts["modality"]) for j in pool}))
    what = f"none of {len(pool)} series can be used (modalities: {modalities}); "
    advice = "see each rule's verdict with 'iac-seg inspect'; send the native axial head series"
    return IacError(
        furthest.word,
        f"{what}the nearest ({name}) fails at '{furthest.rule}': {furthest.what}",
        way_out=WAYS_OUT.get(furthest.word, advice),
    )


def _furthest(pool: Sequence[Judged], rules: Rules) -> tuple[Judged, Verdict]:
    """Of unusable series, the one that came furthest through the rules, and what ended it."""
    order = {rule.name: i for i, rule in enumerate(rules.rules)}
    failures = [(j, v) for j in pool if (v := j.first_failure) is not None]
    return max(failures, key=lambda f: order.get(f[1].rule, len(order)))


def nearest_series(judged: Sequence[Judged], rules: Rules, *, uid: str | None) -> list[Judged]:
    """Those among which `choose` chooses; where it refuses all, the one that its refusal names."""
    named = [j for j in judged if uid is None or j.candidate.first.series_uid == uid]
    pool = named or judged
    usable = [j for j in pool if j.usable]
    return usable or [_furthest(pool, rules)[0]]


def why_not(judged: Judged, chosen: Judged, rules: Rules) -> str:
    """Why a series was not used, in one phrase."""
    failure = judged.first_failure
    if failure is not None:
        return f"{failure.word}: {failure.rule}: {failure.what}"
    rank = deciding_rank(judged.facts, chosen.facts, rules)
    return f"usable, but another is better: {rank}" if rank else "equal to the series used"
