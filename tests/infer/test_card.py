from pathlib import Path

import pytest
from tiny_models import hu_segmenter, place_locator, rewrite_card

from iac_cli.errors import IacError, Word
from iac_cli.geometry.lines import Artery
from iac_cli.infer.card import (
    check_file,
    read_locator_card,
    read_segmenter_card,
    sha256_of,
)
from iac_cli.infer.operating import as_card, thresholds_of


def word_of(call, *arguments) -> Word:
    with pytest.raises(IacError) as caught:
        call(*arguments)
    return caught.value.word


def test_card_says_what_the_file_is(tmp_path: Path) -> None:
    card = read_segmenter_card(hu_segmenter(tmp_path))
    assert card.window == (8, 24, 24)
    assert card.hu_windows == ((-200.0, 1500.0), (0.0, 300.0))
    assert card.calibration.a == 1.0
    check_file(card)


def test_locator_card_holds_key_points_in_order(tmp_path: Path) -> None:
    folder = place_locator(tmp_path, [("ICA-R", 0.5), ("BA", 0.0)], [[0, 0, 0], [9, 0, 0]])
    assert read_locator_card(folder).keypoints == ((Artery.ICA_R, 0.5), (Artery.BA, 0.0))


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"schema": None},
        {"role": "locator"},
        {"file": "../segmenter.onnx"},
        {"file": ""},
        {"sha256": "abc"},
        {"bytes": "many"},
        {"grid_mm": [1.0, 0.44]},
        {"grid_mm": [1.0, 0.44, -0.44]},
        {"window": [8.5, 24, 24]},
        {"window": [0, 24, 24]},
        {"hu_windows": []},
        {"hu_windows": [[300, 0]]},
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"threshold": True},
        {"lesion_threshold": 1.5},
        {"threshold_unbiased_volume": -1.0},
        {"thicker_slices": {"over_mm": 3.0, "threshold": 0.3, "lesion_threshold": 0.0}},
        {"thicker_slices": [3.0]},
        {"thicker_slices": [{"over_mm": 3.0, "threshold": 0.3}]},
        {"thicker_slices": [{"over_mm": 3.0, "lesion_threshold": 0.3}]},
        {"thicker_slices": [{"over_mm": 0.0, "threshold": 0.3, "lesion_threshold": 0.0}]},
        {
            "thicker_slices": [
                {"over_mm": 5.0, "threshold": 0.3, "lesion_threshold": 0.0},
                {"over_mm": 3.0, "threshold": 0.2, "lesion_threshold": 0.0},
            ]
        },
        {"calibration": {"method": "isotonic"}},
        {"calibration": {"method": "platt", "a": -1.0, "b": 0.0}},
        {"reach_mm": 0},
        {"architecture": "hybrid"},
        {"version": 3},
    ],
)
def test_card_with_a_wrong_field_is_refused(tmp_path: Path, change: dict) -> None:
    folder = hu_segmenter(tmp_path)
    rewrite_card(folder, "segmenter", **change)
    assert word_of(read_segmenter_card, folder) == Word.MODEL_CARD_INVALID


def test_a_card_says_where_to_draw_by_thickness(tmp_path: Path) -> None:
    thicker = [
        {"over_mm": 3.5, "threshold": 0.3, "lesion_threshold": 0.5},
        {"over_mm": 5.5, "threshold": 0.2, "lesion_threshold": 0.4},
    ]
    folder = hu_segmenter(tmp_path, lesion_threshold=0.6, thicker_slices=thicker)
    card = read_segmenter_card(folder)
    drawn = [card.point_for(mm).lesion_threshold for mm in (0.0, 1.0, 3.5, 3.51, 5.5, 7.5)]
    assert drawn == [0.6, 0.6, 0.6, 0.5, 0.5, 0.4]
    told = thresholds_of(card.points)
    assert told == {"threshold": 0.5, "lesion_threshold": 0.6, "thicker_slices": thicker}
    rewrite_card(folder, "segmenter", **as_card(card.points))
    assert read_segmenter_card(folder).points == card.points


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"])
def test_card_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "segmenter.json").write_bytes(text.encode("latin-1"))
    assert word_of(read_segmenter_card, tmp_path) == Word.MODEL_CARD_INVALID


def test_missing_card_and_missing_file_are_not_found(tmp_path: Path) -> None:
    assert word_of(read_segmenter_card, tmp_path) == Word.MODEL_NOT_FOUND
    card = read_segmenter_card(hu_segmenter(tmp_path))
    card.path.unlink()
    assert word_of(check_file, card) == Word.MODEL_NOT_FOUND


@pytest.mark.parametrize("position", [0, 100, -1])
def test_one_flipped_bit_is_noticed(tmp_path: Path, position: int) -> None:
    card = read_segmenter_card(hu_segmenter(tmp_path))
    data = bytearray(card.path.read_bytes())
    data[position] ^= 1
    card.path.write_bytes(data)
    assert word_of(check_file, card) == Word.MODEL_CHECKSUM_MISMATCH


def test_digest_is_the_published_one(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(path) == expected
