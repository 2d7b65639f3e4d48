"""Tables of the docs are those of the committed figures."""

import importlib
import json
from pathlib import Path

import pytest

from iac_cli.evaluate.page import group_table, report_page

DOCS = Path(__file__).parents[2] / "docs"
FIGURES = sorted((DOCS / "figures").glob("[ei]*_*.json"))
"""Of the exams and of implants."""


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_the_validation_page_shows_the_committed_figures(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    text = (DOCS / "validation.md").read_text(encoding="utf-8")
    assert path.name in text
    table = group_table(document, "all", "thickness", "anatomy")
    assert len(table) > 3
    assert not [line for line in table if line not in text]


def test_there_are_committed_figures() -> None:
    assert len(FIGURES) > 2


def test_the_stream_page_shows_the_runs_that_left_one_anatomy_out(monkeypatch) -> None:
    monkeypatch.syspath_prepend(DOCS.parent / "benchmarks")
    table = importlib.import_module("left_out").table
    document = json.loads((DOCS / "figures" / "left_out.json").read_text(encoding="utf-8"))
    lines = list(table(document))
    assert len(lines) == 2 + len(document["runs"])
    text = (DOCS / "stream.md").read_text(encoding="utf-8")
    assert not [line for line in lines if line not in text]


def test_a_page_shows_signs_and_digits_as_people_read_them() -> None:
    figures = [
        {"name": "bias_mm3_drawn", "value": -12.345, "n": 3, "low": -20.0, "high": 1.0},
        {"name": "lesion_ppv_under_3_mm3", "value": 0.5, "n": 3, "low": None, "high": None},
        {"name": "dice_mean", "value": None, "n": 0, "low": None, "high": None},
    ]
    document = {
        "asked": {"judged": "masks", "gate": False},
        "n_patients": 3,
        "n_series": 3,
        "not_measured": {"too_thick": 1},
        "groups": [{"by": "all", "level": "all", "figures": figures}],
        "arteries": [],
        "pairs": [],
        "calibration": None,
    }
    by_thickness = {
        "judged": "model",
        "gate": True,
        "segmenter": {"name": "segmenter", "version": "9", "sha256": "a" * 64},
        "threshold": 0.4,
        "lesion_threshold": 0.7,
        "thicker_slices": [{"over_mm": 3.5, "threshold": 0.2, "lesion_threshold": 0.5}],
        "calibration": {"method": "platt"},
    }
    lines = report_page(document | {"asked": by_thickness}, []).splitlines()
    assert "- threshold 0.4, of a lesion's mean 0.7, platt scaling" in lines
    assert "- on slices over 3.5 mm threshold 0.2, of a lesion's mean 0.5" in lines
    page = report_page(document, ["dice.png"])
    assert "| `bias_mm3_drawn` | −12.3 | −20.0 to 1.0 | 3 |" in page
    assert "| `lesion_ppv_under_3_mm3` | 0.500 | – | 3 |" in page
    assert "| `dice_mean` | – | – | 0 |" in page
    assert "too_thick, 1 series" in page
    assert "gate off" in page
