"""Risk groups: borders of the shipped schemes, cohorts, and a user's own file."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from iac_cli.errors import IacError, Word
from iac_cli.measure.risk import (
    DEFAULT_SCHEME,
    group_within,
    limits_of_cohort,
    load_scheme,
    quantile_intervals,
    risk_of,
)
from iac_cli.measure.scheme import Scheme, SchemeKind, shipped_schemes

OWN = """
schema = 1
name = "own"
version = "3"
citation = "Nobody 2026"
validated_intracranially = false
kind = "cut_points"
score = "siphon_volume_mm3"
groups = ["low", "middle", "high"]

[[cuts]]
sex = "F"
up_to = [10, 20.5]

[[cuts]]
sex = "M"
age_from = 60
age_below = 70
up_to = [30, 60]
"""


def scores_of(measured: bool = True, **values: float | None) -> SimpleNamespace:
    return SimpleNamespace(measured=measured, **values)


def written(folder: Path, text: str, name: str = "own.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["presence", "coronary_by_analogy", "cohort_quartiles"])
def test_a_shipped_scheme_cites_its_source_and_claims_nothing(name: str) -> None:
    scheme = load_scheme(name)
    assert scheme.name == name
    assert scheme.version
    assert len(scheme.citation) > 20
    assert scheme.validated_intracranially is False


def test_every_shipped_scheme_loads() -> None:
    assert {load_scheme(name).name for name in shipped_schemes()} == set(shipped_schemes())
    assert DEFAULT_SCHEME in shipped_schemes()


@pytest.mark.parametrize(
    ("agatston", "group"),
    [
        (0.0, "0"),
        (0.1, "over 0 to 10"),
        (10.0, "over 0 to 10"),
        (10.01, "over 10 to 100"),
        (100.0, "over 10 to 100"),
        (100.5, "over 100 to 400"),
        (400.0, "over 100 to 400"),
        (400.1, "over 400"),
    ],
)
def test_coronary_cut_points_by_analogy(agatston: float, group: str) -> None:
    risk = risk_of(scores_of(agatston=agatston), load_scheme("coronary_by_analogy"), None, None)
    assert risk.group == group
    assert risk.probabilities is None


@pytest.mark.parametrize(("volume_mm3", "group"), [(0.0, "absent"), (0.2, "present")])
def test_presence(volume_mm3: float, group: str) -> None:
    assert risk_of(scores_of(volume_mm3=volume_mm3), load_scheme(), None, None).group == group


def test_a_case_that_was_not_measured_has_no_risk() -> None:
    assert risk_of(scores_of(measured=False), load_scheme(), "F", 70) is None


def test_a_score_that_is_null_has_no_group_and_says_why() -> None:
    risk = risk_of(scores_of(agatston=None), load_scheme("coronary_by_analogy"), None, None)
    assert risk.group is None
    assert risk.finding.word is Word.RISK_UNDEFINED


def test_one_case_has_no_group_in_a_cohort_scheme() -> None:
    risk = risk_of(scores_of(ica_volume_mm3=3.0), load_scheme("cohort_quartiles"), "F", 60)
    assert risk.group is None
    assert "export-risk" in risk.finding.what


@pytest.mark.parametrize(
    ("sex", "age", "value", "group"),
    [
        ("F", None, 10.0, "low"),
        ("F", 99.0, 20.6, "high"),
        ("M", 60.0, 31.0, "middle"),
        ("M", 69.9, 60.5, "high"),
        ("M", 70.0, 31.0, None),
        ("M", 59.9, 31.0, None),
        ("M", None, 31.0, None),
        (None, 65.0, 31.0, None),
    ],
)
def test_a_users_own_scheme_by_sex_and_age(
    tmp_path: Path, sex: str | None, age: float | None, value: float, group: str | None
) -> None:
    scheme = load_scheme(written(tmp_path, OWN))
    risk = risk_of(scores_of(siphon_volume_mm3=value), scheme, sex, age)
    assert risk.group == group
    assert (risk.finding is None) == (group is not None)
    assert (risk.scheme, risk.version) == ("own", "3")


def groups_in(values: list[float], scheme: Scheme) -> list[str]:
    """The groups of a cohort under its own quantiles."""
    limits = limits_of_cohort(values, scheme)
    assert limits.up_to is not None
    return [group_within(value, limits.up_to, scheme) for value in values]


def test_quartiles_of_a_cohort_agree_with_pandas() -> None:
    import pandas

    rng = np.random.default_rng(5)
    values = rng.gamma(0.5, 80, size=101)
    scheme = load_scheme("cohort_quartiles")
    theirs = pandas.qcut(values, 4, labels=list(scheme.groups))
    assert groups_in(list(values), scheme) == list(theirs)


def test_a_small_cohort_has_no_quartiles() -> None:
    limits = limits_of_cohort([1.0] * 19, load_scheme("cohort_quartiles"), intervals=True)
    assert limits.up_to is None
    assert limits.why == "19 measured cases, cohort_quartiles needs 20"


def test_zeros_share_the_lowest_group() -> None:
    values = [0.0] * 15 + [float(v) for v in range(1, 6)]
    groups = groups_in(values, load_scheme("cohort_quartiles"))
    assert groups[:15] == ["quartile 1"] * 15
    assert groups[15:] == ["quartile 4"] * 5


def test_the_interval_of_a_median_is_that_of_its_order_statistics() -> None:
    """Without a distribution's shape: ranks whose binomial chance is 95 % enclose the median."""
    from scipy.stats import binom

    values = np.sort(np.random.default_rng(3).gamma(0.6, 90, size=400))
    low, high = quantile_intervals(list(values), (0.5,))
    ranks = binom.ppf([0.025, 0.975], 400, 0.5)
    ours = np.searchsorted(values, [low[0], high[0]])
    np.testing.assert_allclose(ours, ranks, atol=4)


def test_the_interval_is_the_same_in_any_order_and_run() -> None:
    values = list(np.random.default_rng(3).gamma(0.6, 90, size=50))
    assert quantile_intervals(values, (0.25, 0.5)) == quantile_intervals(values[::-1], (0.25, 0.5))


def broken(old: str, new: str) -> str:
    assert old in OWN
    return OWN.replace(old, new)


@pytest.mark.parametrize(
    ("text", "word", "says"),
    [
        (broken("citation", "citaton"), Word.UNKNOWN_SETTING, "did you mean 'citation'"),
        (broken("age_from", "age_form"), Word.UNKNOWN_SETTING, "did you mean 'age_from'"),
        (broken("[10, 20.5]", "[20.5, 10]"), Word.BAD_SETTING, "must rise: 20.5, 10"),
        (broken("[10, 20.5]", "[10, 10]"), Word.BAD_SETTING, "must rise"),
        (broken("[10, 20.5]", "[10]"), Word.BAD_SETTING, "a list of 2 numbers"),
        (broken("[10, 20.5]", '[10, "20"]'), Word.BAD_SETTING, "finite numbers"),
        (broken("[10, 20.5]", "[10, true]"), Word.BAD_SETTING, "finite numbers"),
        (broken("[10, 20.5]", "[10, nan]"), Word.BAD_SETTING, "finite numbers"),
        (broken("[10, 20.5]", "7"), Word.BAD_SETTING, "a list of 2 numbers"),
        (broken("schema = 1", "schema = 2"), Word.BAD_SETTING, "'schema' must be 1"),
        (broken('version = "3"', "version = 3"), Word.BAD_SETTING, "'version' must be text"),
        (broken('name = "own"', ""), Word.BAD_SETTING, "'name' must be text"),
        (broken('citation = "Nobody 2026"', 'citation = " "'), Word.BAD_SETTING, "'citation'"),
        (broken("= false", '= "no"'), Word.BAD_SETTING, "must be true or false"),
        (broken("cut_points", "cutpoints"), Word.BAD_SETTING, "'kind' must be one of"),
        (broken("siphon_volume_mm3", "ct_volume"), Word.BAD_SETTING, "'score' must be one of"),
        (broken('"middle"', '"low"'), Word.BAD_SETTING, "the same name"),
        (broken('["low", "middle", "high"]', '"low"'), Word.BAD_SETTING, "'groups' must be"),
        (broken('sex = "M"', 'sex = "male"'), Word.BAD_SETTING, "'cuts.sex'"),
        (broken("age_below = 70", "age_below = 50"), Word.BAD_SETTING, "must be below"),
        (broken("[[cuts]]", "[cuts]").split('[cuts]\nsex = "M"')[0], Word.BAD_SETTING, "[[cuts]]"),
        (OWN.split("[[cuts]]")[0], Word.BAD_SETTING, "'cuts' is missing"),
        (broken("schema", "quantiles = [0.5]\nschema"), Word.BAD_SETTING, "does not belong"),
        (broken("cut_points", "cohort_quantiles"), Word.BAD_SETTING, "'quantiles' is missing"),
        ("schema = ", Word.BAD_SETTING, "not valid TOML"),
        ("", Word.BAD_SETTING, "'schema' must be 1"),
    ],
)
def test_a_broken_scheme_is_refused_with_what_is_wrong(
    tmp_path: Path, text: str, word: Word, says: str
) -> None:
    with pytest.raises(IacError) as refused:
        load_scheme(written(tmp_path, text))
    assert refused.value.word is word
    assert says in refused.value.what
    assert refused.value.what.startswith("own.toml")
    assert str(tmp_path) not in refused.value.what


def test_quantiles_must_lie_between_zero_and_one(tmp_path: Path) -> None:
    text = OWN.split("[[cuts]]")[0].replace("cut_points", "cohort_quantiles")
    own = load_scheme(written(tmp_path, text + "quantiles = [0.4, 0.8]\nleast_cases = 3\n"))
    assert (own.kind, own.quantiles) == (SchemeKind.COHORT_QUANTILES, (0.4, 0.8))
    for wrong in ("[0.5, 1.0]", "[0, 0.5]", "[0.5, 0.2]"):
        with pytest.raises(IacError, match="quantiles"):
            load_scheme(written(tmp_path, f"{text}quantiles = {wrong}\n"))
    with pytest.raises(IacError, match="least_cases"):
        load_scheme(written(tmp_path, f"{text}quantiles = [0.4, 0.8]\nleast_cases = 0\n"))


def test_a_scheme_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(IacError, match="no risk scheme is called") as refused:
        load_scheme("coronary")
    assert refused.value.word is Word.BAD_SETTING
    assert "coronary_by_analogy" in refused.value.way_out
    with pytest.raises(IacError) as refused:
        load_scheme(tmp_path / "absent.toml")
    assert refused.value.word is Word.INPUT_NOT_FOUND
    (tmp_path / "latin.toml").write_bytes(b'name = "caf\xe9"')
    with pytest.raises(IacError, match="not valid TOML.*utf-8") as refused:
        load_scheme(tmp_path / "latin.toml")
    assert refused.value.word is Word.BAD_SETTING
