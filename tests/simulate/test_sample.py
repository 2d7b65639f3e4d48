"""The shipped sample is what its README's command makes."""

import json
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest

from iac_cli.simulate.findings.rates import rates_of
from iac_cli.simulate.head import simulate_head
from iac_cli.simulate.head_settings import HeadSettings
from iac_cli.simulate.identity import settings_dict
from iac_cli.simulate.scanner import Kernel

SAMPLE = Path(__file__).parents[2] / "sample_data"


def sample_settings() -> dict[str, object]:
    return dict(json.loads((SAMPLE / "truth" / "truth.json").read_text())["settings"])


def test_readme_names_the_command_and_the_figures() -> None:
    readme = (SAMPLE / "README.md").read_text()
    settings = sample_settings()
    for option, name in (
        ("seed", "seed"),
        ("thickness-mm", "thickness_mm"),
        ("tilt-deg", "tilt_deg"),
        ("burden-mm3", "burden_mm3"),
    ):
        found = re.search(rf"--{option} (\S+)", readme)
        assert found is not None
        assert float(found[1]) == settings[name]
    truth = json.loads((SAMPLE / "truth" / "truth.json").read_text())
    for name in ("true_volume_mm3", "protocol_volume_mm3", "agatston"):
        assert f"{truth[name]:.1f}" in readme


def test_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 10_000_000


@pytest.mark.slow
def test_sample_is_made_by_this_code() -> None:
    settings = sample_settings() | {"n_slices": None}
    settings["kernel"] = Kernel(str(settings["kernel"]))
    settings["rates"] = rates_of(settings["rates"])  # type: ignore[arg-type]
    head = simulate_head(HeadSettings(**settings))  # type: ignore[arg-type]
    assert settings_dict(head)["n_slices"] == sample_settings()["n_slices"]
    paths = sorted((SAMPLE / "study").glob("*.dcm"))
    stored = np.stack([pydicom.dcmread(path).pixel_array for path in paths]).astype(int) - 1024
    assert np.abs(stored - head.hu).max() <= 1
