from pathlib import Path

import pytest

from iac_cli.errors import IacError, Word
from iac_cli.settings import Backend, IdFrom, Settings, read_settings, with_flags


def read(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "s.toml").write_text(text)
    return read_settings(tmp_path / "s.toml", {})


def word_of(tmp_path: Path, text: str) -> Word:
    with pytest.raises(IacError) as caught:
        read(tmp_path, text)
    return caught.value.word


def test_later_sources_win(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[run]\ndevice = "cuda"\nthreads = 3\n')
    settings = read_settings(tmp_path / "s.toml", {"IAC_SEG_RUN_THREADS": "5", "HOME": "/"})
    assert (settings.run.device, settings.run.threads) == ("cuda", 5)
    flagged = with_flags(settings, "run", threads=7, device=None)
    assert (flagged.run.device, flagged.run.threads) == ("cuda", 7)


def test_values_keep_their_types(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        '[run]\nbackend = "torch"\n[case]\nid_from = "folder"\n[checks]\ntoo_thick_mm = 5\n'
        "[windows]\nmargin_voxels = [2, 8, 8]\n",
    )
    assert settings.run.backend is Backend.TORCH
    assert settings.case.id_from is IdFrom.FOLDER
    assert settings.checks.too_thick_mm == 5.0
    assert settings.windows.margin_voxels == (2, 8, 8)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[checks]\nlumen_hv = 1.0", Word.UNKNOWN_SETTING),
        ("[chekcs]\nlumen_hu = 1.0", Word.UNKNOWN_SETTING),
        ("checks = 3", Word.BAD_SETTING),
        ('[checks]\nlumen_hu = "high"', Word.BAD_SETTING),
        ("[run]\nthreads = 1.5", Word.BAD_SETTING),
        ("[run]\nthreads = true", Word.BAD_SETTING),
        ('[run]\nbackend = "tensorflow"', Word.BAD_SETTING),
        ("[windows]\nmargin_voxels = [1, 2]", Word.BAD_SETTING),
        ("not toml", Word.BAD_SETTING),
    ],
)
def test_typos_and_wrong_types_are_errors(tmp_path: Path, text: str, word: Word) -> None:
    assert word_of(tmp_path, text) == word


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(IacError) as caught:
        read_settings(tmp_path / "nowhere.toml", {})
    assert caught.value.word == Word.INPUT_NOT_FOUND
