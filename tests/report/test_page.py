"""The cohort page: it needs nothing else, names nobody, and is never broken by what it shows."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.cohort import write_table
from iac_cli.measure.scheme import load_scheme
from iac_cli.report.page import cohort_page, count, number, percent
from iac_cli.report.scored import read_scored
from iac_cli.report.summary import summarise
from tests.command import iac_seg
from tests.report.made_cohort import failed, row, table

EMPTY_TAGS = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """What a browser would meet: tags that close, attributes, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in EMPTY_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, words: str) -> None:
        self.words.append(words)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, attribute: str) -> list[str]:
        return [known[attribute] or "" for _, known in self.tags if attribute in known]


def page_of(source: Path, *, with_ids: bool = False, scheme: str = "presence") -> str:
    scored = read_scored(source)
    summary = summarise(scored, load_scheme(scheme))
    return cohort_page(summary, folder=scored.folder, with_ids=with_ids)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("cohort") / "scores.csv", 1200)


def test_the_page_needs_no_network_and_no_script(cohort: Path) -> None:
    text = page_of(cohort)
    page = Page(text)
    assert "://" not in text
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [name for _, known in page.tags for name in known if name.startswith("on")]
    assert "default-src 'none'" in page.values("content")[1]
    for attribute in ("src", "href", "xlink:href"):
        assert all(v.startswith(("#", "data:")) for v in page.values(attribute)), attribute
    assert "@import" not in text
    assert all(link.startswith("#") for link in re.findall(r"url\(([^)]*)\)", text))


def test_every_id_is_one_and_every_link_inside_leads_somewhere(cohort: Path) -> None:
    text = page_of(cohort)
    ids = Page(text).values("id")
    assert len(set(ids)) == len(ids)
    asked = re.findall(r'href="#([^"]+)"', text) + re.findall(r"url\(#([^)]+)\)", text)
    assert asked
    assert set(asked) <= set(ids)


def test_every_figure_is_told_in_words(cohort: Path) -> None:
    page = Page(page_of(cohort))
    told = [known["aria-label"] for tag, known in page.tags if known.get("role") == "img"]
    assert len(told) == sum(tag == "svg" for tag, _ in page.tags) >= 10
    assert all(told)


def test_the_same_table_gives_the_same_bytes(cohort: Path) -> None:
    assert page_of(cohort) == page_of(cohort)


def test_a_large_cohort_makes_no_large_page(tmp_path: Path) -> None:
    text = page_of(write_table(tmp_path / "scores.csv", 8000))
    assert len(text) < 400_000


IDENTIFIERS = {
    "case_id": "DOE-JANE-1950",
    "patient_key": "key-of-a-patient",
    "study_uid": "1.2.840.99.1",
    "series_uid": "1.2.840.99.2",
    "input_sha256": "feed" * 16,
}


def test_no_identifier_unless_asked_for(tmp_path: Path) -> None:
    source = tmp_path / "clinic of Dr X"
    source.mkdir()
    table(source, [row(3, **IDENTIFIERS, study_day=0), row(4, case_id="ROE-JOHN")])
    text = page_of(source)
    for word in (*IDENTIFIERS.values(), "ROE-JOHN", "clinic of"):
        assert word not in text
    assert "row 1" in text
    asked = page_of(source, with_ids=True)
    assert "DOE-JANE-1950" in asked
    assert "key-of-a-patient" not in asked
    assert "1.2.840.99" not in asked


def test_what_a_tag_says_is_only_ever_text(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>\"'><img src=x onerror=y>&lt; $\\frac{$ \u4e2d\u202e\x07"
    rows = [
        row(
            k,
            manufacturer=nasty,
            scanner_model=f"{k % 2}",
            kernel=f"{nasty}{k % 3}",
            warnings="<b>",
        )
        for k in range(1, 9)
    ]
    rows += [row(None, reasons="<i>x</i>"), failed("</style><script>")]
    for one in rows:
        one["case_id"] = nasty
    page = Page(page_of(table(tmp_path, rows), with_ids=True))
    assert not {"script", "img", "i"} & {tag for tag, _ in page.tags}
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in page.text


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "the table holds no case"),
        ([], "No case was measured, so there is no burden"),
        ([failed("no_dicom")], "No case was read"),
        ([row(None, reasons="too_thick")], "too_thick"),
        ([row(0)], "No measured case has an interval or lies near a cut-point"),
        ([row(1)], "no patient has two different measured reconstructions"),
        ([row(1)], "no patient has measured studies of several days"),
        ([row(1)], "does not tell patients apart"),
    ],
)
def test_a_tiny_cohort_has_a_page_that_says_why_it_is_empty(
    tmp_path: Path, rows: list, says: str
) -> None:
    page = Page(page_of(table(tmp_path, rows)))
    assert says in page.text
    assert "None" not in page.text
    assert "nan" not in page.text


def test_quartiles_tell_their_cut_points_with_intervals(cohort: Path) -> None:
    page = Page(page_of(cohort, scheme="cohort_quartiles"))
    assert page.text.count("this cohort,") == 3
    assert "Not validated inside the skull" in page.text


def picture(path: Path, size: tuple[int, int] = (1600, 400), form: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 90, 200)).save(path, form)


def shown(text: str) -> list[Image.Image]:
    found = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', text)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


def test_previews_are_shown_smaller_and_only_from_the_cases_own_folders(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ids = ["one", "two", "../outside", "three", "four", "", "."]
    out.mkdir()
    table(out, [row(k + 1, case_id=case_id) for k, case_id in enumerate(ids)])
    picture(out / "one" / "preview.png")
    picture(out / "two" / "preview.png", form="GIF")
    picture(tmp_path / "outside" / "preview.png")
    picture(out / "preview.png")
    (out / "three").mkdir()
    (out / "three" / "preview.png").write_bytes(b"no picture")
    picture(out / "four" / "preview.png", (9000, 5000))
    (image,) = shown(page_of(out))
    assert image.size == (1200, 300)
    assert shown(page_of(out / "scores.csv")) == []


def test_one_result_has_its_own_preview(tmp_path: Path) -> None:
    table(tmp_path, [row(3)])
    picture(tmp_path / "preview.png", (40, 20))
    (image,) = shown(page_of(tmp_path))
    assert image.size == (40, 20)


def test_the_command(cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    run = iac_seg("summarise", cohort, "-o", out)
    assert run.returncode == 0, run.stderr
    assert re.search(r"cases +1200", run.stdout)
    first = out.read_bytes()
    again = iac_seg("summarise", cohort, "-o", out)
    assert (again.returncode, again.stderr.split(":")[0]) == (7, "output_exists")
    more = iac_seg("summarise", cohort, "-o", out, "--overwrite", "--json", "--with-ids")
    told = json.loads(more.stdout)
    assert told["measured"] + told["not_measurable"] + told["failed"] == told["cases"] == 1200
    assert told["to_review"] == 20
    assert out.read_bytes() != first


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--scheme", "nobody"), 2, "bad_setting"),
        (("--overwrite",), 0, ""),
    ],
)
def test_bad_options_leave_no_page(
    tmp_path: Path, cohort: Path, arguments: tuple[str, ...], code: int, word: str
) -> None:
    run = iac_seg("summarise", cohort, "-o", tmp_path / "page.html", *arguments)
    assert run.returncode == code, run.stderr
    assert word in run.stderr
    assert (tmp_path / "page.html").exists() == (code == 0)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "absent.csv"):
        run = iac_seg("summarise", source, "-o", tmp_path / "page.html")
        assert (run.returncode, run.stderr.split(":")[0]) == (3, "input_not_found")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.1234, "0.123"),
        (-3.456, "−3.46"),
        (1234567.8, "1\u202f234\u202f568"),
    ],
)
def test_numbers_on_the_page(value: float | None, says: str) -> None:
    assert number(value) == says


def test_shares_and_counts_on_the_page() -> None:
    assert (percent(None), percent(0.256), count(12345)) == ("–", "26 %", "12\u202f345")
