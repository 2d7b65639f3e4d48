"""The public API: every name is there, loaded only when it is used."""

import subprocess
import sys

import pytest

import iac_cli


@pytest.mark.parametrize("name", iac_cli.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(iac_cli, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = iac_cli.nothing


def test_import_loads_nothing_heavy() -> None:
    code = "import iac_cli, sys; assert not {'numpy', 'pydicom', 'onnxruntime'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
