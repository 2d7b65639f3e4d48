"""Scores of one scan, in all and by artery. Missing is not zero.

An artery whose course is not wholly inside the scan is None, never 0. The totals are of every
lesion that lies inside the scan; they are numbers only when both siphons are inside it, and a
lower bound, with a warning, while another artery is not. When a siphon is outside, nothing is
measured. Without known arteries (a supplied mask of another body part) only totals exist.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Protocol

import numpy as np

from iac_cli.errors import Finding, Word
from iac_cli.geometry.lines import SIPHON, Artery
from iac_cli.geometry.volume import Mask, Volume
from iac_cli.measure import agatston, lesions
from iac_cli.measure.agatston import CLASSIC_CUT_OFFS, CutOffs, agatston_by_lesion, cut_offs_of
from iac_cli.measure.lesions import Found, Lesion, find_lesions

VOLUME_DEFINITION = "volume 1"
"""Voxels x pixel area x slice extent (half the distance to each neighbouring slice)."""

HU_INTEGRAL_DEFINITION = "hu integral 1"
"""Sum of HU x voxel volume over all lesions: like a mass, without a calibration phantom."""

DEFINITIONS = {
    "lesion": lesions.DEFINITION,
    "volume": VOLUME_DEFINITION,
    "agatston": agatston.CLASSIC,
    "agatston_kvp": agatston.KVP_ADJUSTED,
    "hu_integral": HU_INTEGRAL_DEFINITION,
}
"""Name and version of each definition that a result carries."""

SENSITIVITY_HU = (110.0, 130.0, 160.0)
"""Thresholds at which the volume is told again, to show how much it hangs on the threshold."""

DENSE_HU = 1500.0
"""A lesion's peak that calcification hardly reaches (docs/scores.md says what was measured)."""

CAROTIDS = (Artery.ICA_R, Artery.ICA_L)


class Coverage(Protocol):
    """What scores need to know of the arteries; `locate.Arteries` is one."""

    @property
    def covered(self) -> Mapping[Artery, bool]:
        """For each artery: whether its whole course lies inside the scan."""


@dataclass(frozen=True, slots=True)
class ArteryScores:
    """Scores of one artery of one side; all None when it is not covered or not known."""

    artery: Artery
    covered: bool | None
    """None when the arteries are not known."""
    volume_mm3: float | None = None
    agatston: float | None = None
    agatston_kvp: float | None = None
    hu_mm3: float | None = None
    n_lesions: int | None = None


@dataclass(frozen=True, slots=True)
class LesionScores:
    """A lesion with its Agatston scores."""

    lesion: Lesion
    agatston: float
    agatston_kvp: float | None
    """None at a kVp without published cut-offs."""


@dataclass(frozen=True, slots=True)
class ThresholdScores:
    """The volume at another HU threshold, from the same probability."""

    threshold_hu: float
    volume_mm3: float
    n_lesions: int


@dataclass(frozen=True, slots=True)
class Scores:
    """Every number of one scan. When `reasons` is not empty the numbers are None."""

    volume_mm3: float | None
    ica_volume_mm3: float | None
    """Both ICAs, horizontal petrous segment to terminus; None when one is not covered."""
    siphon_volume_mm3: float | None
    """Both ICAs, cavernous segment to terminus."""
    agatston: float | None
    agatston_kvp: float | None
    hu_mm3: float | None
    n_lesions: int | None
    log1p_volume: float | None
    """ln(1 + volume in mm3)."""
    arteries: tuple[ArteryScores, ...]
    """One for each artery of the closed list, in its order."""
    lesions: tuple[LesionScores, ...]
    thresholds: tuple[ThresholdScores, ...] | None
    """None for a supplied mask, which has no probability."""
    reasons: tuple[Finding, ...] = ()
    """Why nothing could be measured; empty when it could."""
    findings: tuple[Finding, ...] = ()
    """What the reader of the numbers should know."""

    @property
    def measured(self) -> bool:
        """True when the totals are numbers."""
        return not self.reasons


def score(
    found: Found,
    volume: Volume,
    arteries: Coverage | None,
    kvp: float | None,
    *,
    likely: Mask | None = None,
    siphons: Mapping[Artery, bool] | None = None,
) -> Scores:
    """Every score of the lesions found in a volume.

    `likely` are the voxels at or above the operating probability, whatever their HU: the base of
    the threshold sensitivity. Leave it out for a supplied mask. `siphons` says for both ICAs
    whether the part from the cavernous segment on lies inside the scan; without it, a siphon is
    inside when its whole ICA is.
    """
    cover = _Cover.of(arteries, siphons)
    if cover is not None and not all(cover.siphons.values()):
        return _nothing(cover)
    each = _lesion_scores(found, volume, kvp)
    volume_mm3 = _volume(each)
    return Scores(
        volume_mm3=volume_mm3,
        ica_volume_mm3=_ica_volume(cover, each),
        siphon_volume_mm3=_siphon_volume(cover, each),
        agatston=fsum(one.agatston for one in each),
        agatston_kvp=_kvp_sum(each, kvp),
        hu_mm3=fsum(one.lesion.hu_mm3 for one in each),
        n_lesions=len(each),
        log1p_volume=float(np.log1p(volume_mm3)),
        arteries=tuple(_of_artery(artery, cover, each, kvp) for artery in Artery),
        lesions=each,
        thresholds=None if likely is None else threshold_sensitivity(volume, likely),
        findings=_findings(cover, each),
    )


def threshold_sensitivity(
    volume: Volume, likely: Mask, thresholds_hu: Iterable[float] = SENSITIVITY_HU
) -> tuple[ThresholdScores, ...]:
    """Volume and number of lesions at each threshold, by the same rules, at native voxels."""
    answers = []
    for threshold_hu in thresholds_hu:
        found = find_lesions(volume, likely, threshold_hu=threshold_hu)
        volume_mm3 = fsum(lesion.volume_mm3 for lesion in found.lesions)
        answers.append(ThresholdScores(threshold_hu, volume_mm3, len(found.lesions)))
    return tuple(answers)


@dataclass(frozen=True, slots=True)
class _Cover:
    """Which arteries and which siphons lie wholly inside the scan."""

    arteries: Mapping[Artery, bool]
    siphons: Mapping[Artery, bool]

    @classmethod
    def of(
        cls, arteries: Coverage | None, siphons: Mapping[Artery, bool] | None
    ) -> "_Cover | None":
        if arteries is None:
            return None
        known = siphons or {}
        return cls(
            {artery: bool(arteries.covered[artery]) for artery in Artery},
            {ica: known.get(ica, False) or arteries.covered[ica] for ica in CAROTIDS},
        )


def _nothing(cover: _Cover) -> Scores:
    missing = " and ".join(ica.value for ica in CAROTIDS if not cover.siphons[ica])
    reason = Finding(Word.HEAD_NOT_COVERED, f"the siphon of {missing} is not wholly in the scan")
    return Scores(
        volume_mm3=None,
        ica_volume_mm3=None,
        siphon_volume_mm3=None,
        agatston=None,
        agatston_kvp=None,
        hu_mm3=None,
        n_lesions=None,
        log1p_volume=None,
        arteries=tuple(ArteryScores(artery, cover.arteries[artery]) for artery in Artery),
        lesions=(),
        thresholds=None,
        reasons=(reason,),
    )


def _lesion_scores(found: Found, volume: Volume, kvp: float | None) -> tuple[LesionScores, ...]:
    if not found.lesions:
        return ()
    labels, hu = found.labels[found.box], volume.hu[found.box]
    extents_mm = volume.grid.extents_mm[found.box[0]]

    def at(cut_offs: CutOffs) -> list[float]:
        each = agatston_by_lesion(
            labels,
            hu,
            pixel_area_mm2=volume.grid.pixel_area_mm2,
            extents_mm=extents_mm,
            cut_offs=cut_offs,
        )
        return [float(value) for value in each]

    classic, cut_offs = at(CLASSIC_CUT_OFFS), cut_offs_of(kvp)
    by_kvp: Sequence[float | None] = [None] * len(classic) if cut_offs is None else at(cut_offs)
    return tuple(map(LesionScores, found.lesions, classic, by_kvp))


def _volume(each: Iterable[LesionScores]) -> float:
    return fsum(one.lesion.volume_mm3 for one in each)


def _kvp_sum(each: Iterable[LesionScores], kvp: float | None) -> float | None:
    if cut_offs_of(kvp) is None:
        return None
    return fsum(one.agatston_kvp for one in each if one.agatston_kvp is not None)


def _ica_volume(cover: _Cover | None, each: Iterable[LesionScores]) -> float | None:
    if cover is None or not all(cover.arteries[ica] for ica in CAROTIDS):
        return None
    return _volume(one for one in each if one.lesion.artery in CAROTIDS)


def _siphon_volume(cover: _Cover | None, each: Iterable[LesionScores]) -> float | None:
    if cover is None:
        return None
    return _volume(
        one for one in each if one.lesion.artery in CAROTIDS and one.lesion.segment in SIPHON
    )


def _of_artery(
    artery: Artery, cover: _Cover | None, each: tuple[LesionScores, ...], kvp: float | None
) -> ArteryScores:
    if cover is None or not cover.arteries[artery]:
        return ArteryScores(artery, None if cover is None else False)
    own = [one for one in each if one.lesion.artery == artery]
    return ArteryScores(
        artery=artery,
        covered=True,
        volume_mm3=_volume(own),
        agatston=fsum(one.agatston for one in own),
        agatston_kvp=_kvp_sum(own, kvp),
        hu_mm3=fsum(one.lesion.hu_mm3 for one in own),
        n_lesions=len(own),
    )


def _findings(cover: _Cover | None, each: tuple[LesionScores, ...]) -> tuple[Finding, ...]:
    """What a reader of the numbers should know, in a fixed order."""
    seen = []
    missing = [] if cover is None else [a.value for a in Artery if not cover.arteries[a]]
    if missing:
        what = f"not wholly in the scan: {', '.join(missing)}; the totals are a lower bound"
        seen.append(Finding(Word.ARTERY_NOT_COVERED, what))
    at_edge = [one.lesion.number for one in each if one.lesion.at_edge]
    if at_edge:
        seen.append(Finding(Word.LESION_AT_EDGE, _listed("at the border of the scan", at_edge)))
    dense = [one.lesion for one in each if one.lesion.peak_hu >= DENSE_HU]
    if dense:
        peak = max(lesion.peak_hu for lesion in dense)
        what = f"reaches {peak:.0f} HU, which calcification hardly does; look for metal or bone"
        seen.append(Finding(Word.LESION_VERY_DENSE, _listed(what, [one.number for one in dense])))
    nameless = [one.lesion.number for one in each if one.lesion.artery is None]
    if cover is not None and nameless:
        what = f"more than {lesions.NAMING_REACH_MM:g} mm from every artery"
        seen.append(Finding(Word.LESION_FAR_FROM_ARTERIES, _listed(what, nameless)))
    return tuple(seen)


def _listed(what: str, numbers: list[int], most: int = 8) -> str:
    named = ", ".join(str(number) for number in numbers[:most])
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return f"lesion {named}{more}: {what}"


def left_out_finding(found: Found) -> Finding | None:
    """What a supplied mask lost to the rules, in words; None when it lost nothing."""
    lost = found.left_out
    if not lost.total:
        return None
    what = (
        f"{lost.total} supplied voxels left out: {lost.below_threshold} below "
        f"{found.threshold_hu:g} HU, {lost.single_voxels} without a neighbour"
    )
    n_kept = sum(lesion.n_voxels for lesion in found.lesions)
    if lost.below_threshold > n_kept + lost.single_voxels:
        what += "; most of the mask is no calcification: check that it belongs to this scan"
    return Finding(Word.MASK_VOXELS_LEFT_OUT, what)


def outside_finding(n_outside: int) -> Finding | None:
    """Supplied voxels that lie outside the scan, in words; None without any."""
    if not n_outside:
        return None
    what = f"{n_outside} supplied voxels lie outside the scan: check that the mask belongs to it"
    return Finding(Word.MASK_OUTSIDE_SCAN, what)
