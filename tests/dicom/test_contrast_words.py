"""Series descriptions and contrast tags: which tell of contrast, which deny it."""

from pathlib import Path

import pytest

from iac_cli.dicom.read import inspect_source
from iac_cli.errors import Word
from tests import make

CONTRAST = """
CTA HEAD; HEAD C+; head_c+_5mm; Kopf mit KM; CCT KM; Schädel nach KM; Hirn mit/ohne KM; venous;
Head arterial phase; Kopf venös; brain w/wo; HEAD W/O & W CONTRAST; with and without contrast;
HEAD W CONTRAST; Head post-contrast; CE-CT; enhanced; IV CONTRAST; ANGIO; HEAD WO/W; +C;
AVEC INJECTION; Crane apres injection; con mdc; C/MDC; CRANEO CON CIV; CT HEAD W CON; post inj;
HEADCTA; fase arteriosa
"""

NATIVE = """
HEAD W/O; WITHOUT INTRAVENOUS CONTRAST; without any contrast; Contrast: none; KM-frei;
contrast free; ohne KM; kein KM; CT ohne i.v. KM; nativ; Schaedel nativ 5mm; HEAD WITHOUT CONTRAST;
HEAD_WITHOUT_CONTRAST; non-contrast; NONCONTRAST HEAD; NCCT; w/o contrast; HEAD W/O IV CONTRAST;
no IV contrast; sans contraste; Unenhanced; non-enhanced; pre contrast; C- HEAD; w/o C+; STD+;
HEAD W C-SPINE; HEAD+C-SPINE; Head + C Spine; brain 5.0 H31s; CT BRAIN WO; low contrast;
no oral/iv contrast; without oral or IV contrast; nicht kontrastiert;
ohne jodhaltiges Kontrastmittel; utan kontrast; uden kontrast; bez kontrastu; sans injection;
senza mdc; sin civ; sem contraste; CT HEAD WO CON
"""


def listed(texts: str) -> list[str]:
    return [text.strip() for text in texts.split(";")]


def verdict(tmp_path: Path, **tags: str) -> str | None:
    (entry,) = inspect_source(make.save(make.slices(**tags), tmp_path / "in")).series
    return None if entry.used else entry.reason.partition(":")[0]


@pytest.mark.parametrize("text", listed(CONTRAST))
def test_a_description_tells_of_contrast(text: str, tmp_path: Path) -> None:
    told = verdict(tmp_path, SeriesDescription=text, SpecificCharacterSet="ISO_IR 192")
    assert told == Word.CONTRAST_SUSPECTED


@pytest.mark.parametrize("text", listed(NATIVE))
def test_a_description_denies_contrast(text: str, tmp_path: Path) -> None:
    assert verdict(tmp_path, SeriesDescription=text) is None


TAGS = {
    "volume": ({"ContrastBolusVolume": "75"}, True),
    "dose": ({"ContrastBolusTotalDose": "75"}, True),
    "route": ({"ContrastBolusRoute": "IV"}, True),
    "no volume": ({"ContrastBolusVolume": "0"}, False),
    "by mouth": ({"ContrastBolusRoute": "ORAL", "ContrastBolusVolume": "300"}, False),
    "none": ({"ContrastBolusAgent": "NONE", "ContrastBolusRoute": "IV"}, False),
}


@pytest.mark.parametrize("name", TAGS)
def test_a_contrast_agent_without_a_name(name: str, tmp_path: Path) -> None:
    tags, contrast = TAGS[name]
    assert (verdict(tmp_path, **tags) == Word.CONTRAST_SUSPECTED) is contrast
