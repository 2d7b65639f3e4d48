"""The result tree: every promised field, null against zero, and the schema as a gate."""

import copy
import json

import pytest
from jsonschema import Draft202012Validator, ValidationError

from iac_cli.errors import Finding, Word
from iac_cli.geometry.lines import Artery
from iac_cli.measure.risk import load_scheme, risk_of
from iac_cli.report.result import Case, Result, Status, check_document, result_schema
from tests.report.made_case import (
    case_of,
    made,
    reading_of,
    scored,
    stack,
    supplied_mask_case,
    volume_on,
)


def document(**options: object) -> dict:
    return json.loads(case_of(stack(), **options)[0].to_json())


def test_the_schema_is_a_valid_schema_of_the_draft_that_it_names() -> None:
    schema = result_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_a_measured_case_holds_every_promised_field() -> None:
    told = document()
    assert told["schema_version"] == 1
    assert (told["case_id"], told["status"], told["reasons"]) == ("case-1", "measured", [])
    assert told["n_lesions"] == 3
    voxel_mm3 = 0.9 * 0.8 * 2.5
    assert told["volume_mm3"] == pytest.approx(voxel_mm3 * (9 + 12 + 2))
    assert told["ica_volume_mm3"] == pytest.approx(voxel_mm3 * (9 + 12))
    assert told["agatston_definition"] == "classic 1"
    assert told["volume_mm3_interval"] is None
    assert told["arteries"]["BA"]["volume_mm3"] == pytest.approx(voxel_mm3 * 2)
    assert told["arteries"]["V4-L"] == {
        "covered": True,
        "volume_mm3": 0.0,
        "agatston": 0.0,
        "agatston_kvp": 0.0,
        "hu_mm3": 0.0,
        "n_lesions": 0,
    }
    assert [one["threshold_hu"] for one in told["threshold_sensitivity"]] == [110, 130, 160]
    assert told["risk"]["group"] == "present"
    assert told["risk"]["probabilities"] is None
    assert told["risk"]["validated_intracranially"] is False
    assert told["model"] == {"name": "segmenter", "version": "1.0", "sha256": "cd" * 32}
    assert told["provider"]["name"] == "CPUExecutionProvider"
    assert told["versions"]["iac-cli"] == "0.1.0"
    assert told["input_sha256"] == "ab" * 32
    assert told["timings"] == {"read": 0.1235, "infer": 1.5}
    assert (told["sex"], told["age_years"]) == ("F", 71.0)


def test_the_series_tells_where_every_slice_lies() -> None:
    told = json.loads(case_of(stack(tilt=True, uneven=True))[0].to_json())["series"]
    grid = stack(tilt=True, uneven=True)
    assert [one["sop_instance_uid"] for one in told["slices"]] == [
        f"1.2.3.4.{k}" for k in range(12)
    ]
    for one, position, extent in zip(
        told["slices"], grid.positions_mm, grid.extents_mm, strict=True
    ):
        assert one["position_mm"] == pytest.approx(position.tolist())
        assert one["extent_mm"] == pytest.approx(extent)
    assert told["increments_mm"] == pytest.approx([2.5] * 5 + [1.1] + [5.0] * 5)
    assert abs(told["tilt_deg"]) == pytest.approx(18.5, abs=0.01)
    assert told["evenly_spaced"] is False
    assert told["shape"] == [12, 60, 64]
    assert told["pixel_mm"] == [0.9, 0.8]
    assert (told["manufacturer"], told["kvp"], told["thickness_mm"]) == ("Maker", 120.0, 2.5)


def test_a_nifti_series_has_slices_without_uids() -> None:
    volume, _, _, scores = scored(stack())
    reading = reading_of(volume, kind="nifti", sop_instance_uids=(), kvp=float("nan"), sex=None)
    told = Result.of(Case("n", reading, made=made()), scores, None).to_json_dict()
    assert {one["sop_instance_uid"] for one in told["series"]["slices"]} == {None}
    assert told["series"]["kvp"] is None
    assert (told["sex"], told["risk"]) == (None, None)
    check_document(told)


def test_findings_are_told_once_and_by_how_loud_they_are() -> None:
    told = document(absent=(Artery.V4_R,))
    assert [note["code"] for note in told["warnings"]] == ["sharp_kernel", "artery_not_covered"]
    assert told["notes"] == [{"code": "padding_masked", "message": "padding set to air"}]


def test_an_artery_outside_the_scan_is_null_never_zero() -> None:
    told = document(absent=(Artery.V4_R,))["arteries"]["V4-R"]
    assert told.pop("covered") is False
    assert set(told.values()) == {None}


def test_a_siphon_outside_the_scan_makes_the_case_not_measurable() -> None:
    told = document(absent=(Artery.ICA_R,))
    assert told["status"] == "not_measurable"
    assert [note["code"] for note in told["reasons"]] == ["head_not_covered"]
    for name in ("volume_mm3", "agatston", "n_lesions", "risk", "lesions", "siphon_volume_mm3"):
        assert told[name] is None, name


def test_a_refusal_before_scoring_holds_its_reasons_and_nulls() -> None:
    reading = reading_of(volume_on(stack()))
    reason = Finding(Word.TOO_THICK, "slices of 10.0 mm")
    result = Result.refused(Case("thick", reading, made=made(model=None)), [reason])
    told = json.loads(result.to_json())
    assert result.status is Status.NOT_MEASURABLE
    assert told["reasons"] == [{"code": "too_thick", "message": "slices of 10.0 mm"}]
    assert told["volume_mm3"] is None
    assert told["arteries"] is None
    assert told["series"]["kernel"] == "H31s"
    unread = Result.refused(Case("unread"), [reason])
    assert json.loads(unread.to_json())["series"] is None
    with pytest.raises(ValueError, match="reason"):
        Result.refused(Case("none"), [])


def test_a_supplied_mask_says_what_it_lost_and_has_no_model() -> None:
    told = json.loads(supplied_mask_case(stack()).to_json())
    assert told["mask"]["left_out_below_threshold"] == 12 * 60 * 64 - 24
    assert told["mask"]["left_out_single_voxels"] == 1
    assert told["threshold_sensitivity"] is None
    assert (told["model"], told["provider"]) == (None, None)
    assert told["agatston_kvp"] is None
    assert told["arteries"]["ICA-R"]["covered"] is None
    assert told["volume_mm3"] > 0


def test_sex_and_age_that_the_user_gives_stand_above_the_tags() -> None:
    volume, _, _, scores = scored(stack())
    case = Case("c", reading_of(volume), sex="M", age_years=50.0, made=made())
    told = Result.of(case, scores, None).to_json_dict()
    assert (told["sex"], told["age_years"]) == ("M", 50.0)
    assert (told["series"]["sex"], told["series"]["age_years"]) == ("F", 71.0)


def test_a_scheme_that_does_not_cover_the_case_is_a_warning() -> None:
    volume, _, _, scores = scored(stack())
    risk = risk_of(scores, load_scheme("cohort_quartiles"), "F", 71)
    told = Result.of(Case("c", reading_of(volume), made=made()), scores, risk).to_json_dict()
    assert told["risk"]["group"] is None
    assert "risk_undefined" in [note["code"] for note in told["warnings"]]
    check_document(told)


def test_the_text_is_ascii_holds_no_identity_and_ends_with_the_timings() -> None:
    volume, _, _, scores = scored(stack())
    reading = reading_of(volume, manufacturer="M\u00fcller\x1b[31m\u202e", kernel="=HYPERLINK(1)")
    text = Result.of(Case("c", reading, made=made()), scores, None).to_json()
    assert text.isascii()
    assert "\x1b" not in text
    assert "SECRET" not in text
    assert list(json.loads(text))[-1] == "timings"


def test_two_results_differ_by_their_timings_alone() -> None:
    volume, _, _, scores = scored(stack())
    texts = [
        Result.of(
            Case("c", reading_of(volume), made=made(timings={"read": wall_s})), scores, None
        ).to_json()
        for wall_s in (0.1, 0.2)
    ]
    assert texts[0] != texts[1]
    assert texts[0].split('"timings"')[0] == texts[1].split('"timings"')[0]


def broken(path: str, value: object) -> dict:
    """The document of a measured case with one value replaced, or removed."""
    told = copy.deepcopy(document())
    *way, last = path.split(".")
    part = told
    for name in way:
        part = part[int(name)] if name.isdigit() else part[name]
    if value is REMOVED:
        del part[last]
    else:
        part[last] = value
    return told


REMOVED = object()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("volume_mm3", None),
        ("volume_mm3", -1.0),
        ("volume_mm3", "3"),
        ("volume_mm3", REMOVED),
        ("n_lesions", 2.5),
        ("status", "done"),
        ("status", "not_measurable"),
        ("extra", 1),
        ("schema_version", 2),
        ("case_id", ""),
        ("reasons", [{"code": "too_thick", "message": "x"}]),
        ("warnings", [{"code": "Too Thick", "message": "x"}]),
        ("warnings", ["text"]),
        ("arteries", None),
        ("arteries.BA", REMOVED),
        ("arteries.XX", {}),
        ("arteries.BA.covered", False),
        ("arteries.BA.n_lesions", 1.5),
        ("lesions.0.artery", "MCA"),
        ("lesions.0.segment", "C4"),
        ("lesions.0.volume_mm3", 0.0),
        ("threshold_sensitivity.0.n_lesions", REMOVED),
        ("risk.probabilities", {"present": 1.5}),
        ("risk.citation", REMOVED),
        ("sex", "female"),
        ("series.slices.0.extent_mm", 0.0),
        ("series.slices.0.position_mm", [1.0, 2.0]),
        ("series.patient_name", "x"),
        ("input_sha256", "XYZ"),
        ("model.sha256", "short"),
        ("timings.read", "fast"),
    ],
)
def test_the_schema_refuses_what_is_wrong(path: str, value: object) -> None:
    with pytest.raises(ValidationError):
        check_document(broken(path, value))


def test_a_result_that_breaks_its_schema_is_never_written() -> None:
    volume, _, _, scores = scored(stack())
    result = Result.of(Case("", reading_of(volume), made=made()), scores, None)
    with pytest.raises(ValidationError):
        result.to_json()
