"""Fixtures that every room shares."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real and arithmetic test scans; skips where they are absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("IAC_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no test scans at {folder}: set IAC_TEST_DATA")
    return folder
