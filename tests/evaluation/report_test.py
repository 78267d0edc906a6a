"""The report's files, read back with the standard library and compared with values by hand."""

import csv
import dataclasses
import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest

from restore_tf.errors import UserError
from restore_tf.evaluation import report
from restore_tf.evaluation.page import write_html
from restore_tf.evaluation.report import Evaluation, ImageResult

HOSTILE = '<script>alert("1")</script>&\'.png'


def _scores(psnr, mse, degraded_psnr=20.0):
    return {
        "restored": {"psnr": psnr, "mse": mse},
        "degraded": {"psnr": degraded_psnr, "mse": 650.25},
    }


@pytest.fixture
def evaluation():
    """Three images: good, worst, middle; no unsharp masking; one note."""
    pictures = {
        "degraded": "pictures/50% #1?.png",
        "restored": "pictures/r:1.png",
        "sharp": "pictures/s 1.png",
    }
    rows = [
        ImageResult("b/good", (4, 6), _scores(40.0, 6.5), pictures),
        ImageResult("a/worst", (8, 6), _scores(10.0, 6502.5), {}, {"restored": "not aligned"}),
        ImageResult(HOSTILE, (4, 6), _scores(np.float32(25.0), 205.0)),
    ]
    provenance = {"dataset": "synthetic <1.0>", "versions": {"keras": "3.15.1"}, "command": "x & y"}
    return Evaluation("Toy & test", provenance, ("psnr", "mse"), rows)


class _Page(HTMLParser):
    """Collects tags with their attributes, and all text outside style and script."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self._skip = [], [], False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._skip = tag in ("style", "script")

    def handle_endtag(self, tag):
        self._skip = False

    def handle_data(self, data):
        if not self._skip:
            self.text.append(data)

    def having(self, tag, attribute):
        return [attrs[attribute] for name, attrs in self.tags if name == tag and attribute in attrs]


@pytest.fixture
def page(tmp_path, evaluation):
    write_html(tmp_path / "report.html", evaluation)
    return _Page(tmp_path / "report.html")


def _with(evaluation, **changes):
    return dataclasses.replace(evaluation, **changes)


def test_summary_by_hand(evaluation):
    summary = report.summarise(evaluation)
    assert list(summary) == ["restored", "degraded"]
    mean, low, high, count = summary["restored"]["psnr"]
    assert mean == pytest.approx((40 + 10 + 25) / 3)
    # Of the 27 ways to draw three images, one in 27 (3.7 %) gives 10, 10, 10 and one 40, 40, 40:
    # more than the 2.5 % left out at each end.
    assert (low, high) == (10.0, 40.0)
    assert count == 3
    assert summary["degraded"]["psnr"] == (20.0, 20.0, 20.0, 3)


def test_missing_scores_are_not_counted(evaluation):
    rows = [*evaluation.rows, ImageResult("none", (4, 4), {"unsharp": {"psnr": 21.0}})]
    summary = report.summarise(_with(evaluation, rows=rows))
    assert summary["restored"]["psnr"].n == 3
    assert summary["unsharp"] == {"psnr": (21.0, 21.0, 21.0, 1)}


@pytest.mark.parametrize(("field", "what"), [("rows", "images"), ("metrics", "metrics")])
def test_nothing_to_report(evaluation, field, what):
    with pytest.raises(UserError, match=f"no {what} to report"):
        report.format_table(_with(evaluation, **{field: ()}))


def test_csv_by_hand(tmp_path, evaluation):
    path = tmp_path / "metrics.csv"
    report.write_csv(path, evaluation)
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["name", "height", "width", "method", "psnr", "mse", "note"]
    assert lines[1] == ["b/good", "4", "6", "restored", "40.0", "6.5", ""]
    assert lines[2] == ["b/good", "4", "6", "degraded", "20.0", "650.25", ""]
    assert lines[3] == ["a/worst", "8", "6", "restored", "10.0", "6502.5", "not aligned"]
    assert lines[5][0] == HOSTILE
    assert len(lines) == 1 + 3 * 2


def test_csv_of_missing_and_infinite(tmp_path, evaluation):
    rows = [ImageResult("x", (4, 4), {"restored": {"psnr": math.inf}})]
    report.write_csv(tmp_path / "x.csv", _with(evaluation, rows=rows))
    assert (tmp_path / "x.csv").read_text().splitlines()[1] == "x,4,4,restored,inf,,"


def test_json_by_hand(tmp_path, evaluation):
    path = tmp_path / "metrics.json"
    report.write_json(path, evaluation)
    content = json.loads(path.read_text())
    assert content["title"] == "Toy & test"
    assert content["provenance"]["versions"] == {"keras": "3.15.1"}
    assert content["metrics"] == ["psnr", "mse"]
    assert content["confidence"] == 0.95
    expected = {"mean": 25.0, "low": 10.0, "high": 40.0, "n": 3}
    assert content["summary"]["restored"]["psnr"] == expected
    worst = content["images"][1]
    assert (worst["name"], worst["height"], worst["width"]) == ("a/worst", 8, 6)
    assert worst["scores"]["restored"] == {"psnr": 10.0, "mse": 6502.5}
    assert worst["notes"] == {"restored": "not aligned"}


def test_json_is_strict(tmp_path, evaluation):
    rows = [
        ImageResult("same", (np.int64(4), 4), {"restored": {"psnr": np.float64(np.inf)}}),
        ImageResult("broken", (4, 4), {"restored": {"psnr": float("nan")}}),
    ]
    report.write_json(tmp_path / "x.json", _with(evaluation, rows=rows))

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse)
    assert [image["scores"]["restored"]["psnr"] for image in content["images"]] == ["inf", "nan"]
    assert content["images"][0]["height"] == 4
    assert float(content["images"][0]["scores"]["restored"]["psnr"]) == math.inf


def test_table(evaluation):
    lines = report.format_table(evaluation).splitlines()
    assert lines[0] == "Toy & test"
    assert "dataset: synthetic <1.0>" in lines
    cells = next(line for line in lines if line.startswith("restored  "))
    assert cells.split() == "restored 3 25.00 [10.00, 40.00] 2238.0 [6.5, 6502.5]".split()
    assert any(line.startswith("degraded input  3  20.00 [20.00, 20.00]") for line in lines)
    assert "restored: 1 of 3 not aligned." in lines
    assert "95%" in report.format_table(evaluation)


def test_table_of_infinite_psnr(evaluation):
    rows = [*evaluation.rows, ImageResult("same", (4, 4), {"restored": {"psnr": math.inf}})]
    text = report.format_table(_with(evaluation, rows=rows))
    assert "inf [" in text
    assert "restored, PSNR (dB): 1 of 4 values not finite; mean of the others 25.00." in text
    assert "(n = 3)" in text  # mse is known for three of the four


def test_table_of_one_image_has_no_interval(evaluation):
    text = report.format_table(_with(evaluation, rows=evaluation.rows[:1]))
    assert "40.00" in text
    assert "40.00 [" not in text


def test_worst_first(evaluation, page):
    names = ["a/worst", HOSTILE, "b/good"]
    assert [row.name for row in report.worst_first(evaluation)] == names
    assert page.having("tbody", "data-name") == names
    by_mse = _with(evaluation, metrics=("mse",))  # no PSNR: the largest error is the worst
    assert [row.name for row in report.worst_first(by_mse)] == names


def test_worst_first_of_odd_values(evaluation):
    odd = {"same": math.inf, "nan": math.nan, "fine": 30.0, "worse": 12.0}
    rows = [ImageResult(name, (4, 4), {"restored": {"psnr": odd[name]}}) for name in odd]
    rows.insert(0, ImageResult("missing", (4, 4), {}))
    ordered = report.worst_first(_with(evaluation, rows=rows))
    assert [row.name for row in ordered] == ["nan", "worse", "fine", "same", "missing"]


def test_names_are_escaped(tmp_path, page):
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;&amp;&#39;.png" in text
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert HOSTILE in page.text
    assert "synthetic <1.0>" in page.text
    assert "x & y" in page.text


def test_page_is_self_contained(tmp_path, page):
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "http:" not in text
    assert "https:" not in text
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object")]
    assert not page.having("script", "src")


def test_pictures_are_relative_lazy_and_quoted(page):
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert [image["src"] for image in images] == [
        "pictures/r%3A1.png",
        "pictures/50%25%20%231%3F.png",
    ]
    assert {image["loading"] for image in images} == {"lazy"}
    assert page.having("div", "data-sharp") == ["pictures/s%201.png"]
    sliders = [attrs for tag, attrs in page.tags if tag == "input" and attrs["type"] == "range"]
    assert len(sliders) == 1
    assert sliders[0]["aria-label"]


def test_absolute_pictures_are_refused(tmp_path, evaluation):
    rows = [ImageResult("x", (4, 4), _scores(1.0, 2.0), {"degraded": "/data/x.png"})]
    with pytest.raises(UserError, match="x: /data/x.png is absolute"):
        write_html(tmp_path / "x.html", _with(evaluation, rows=rows))
    assert not list(tmp_path.iterdir())


def test_sort_keys_and_first_direction(page):
    heads = [(a.get("data-first"), a.get("aria-sort")) for t, a in page.tags if t == "th"]
    # Image, PSNR (sorted now), MSE (worst is largest), gain.
    assert [head for head in heads if head[0]] == [
        ("ascending", None),
        ("ascending", "ascending"),
        ("descending", None),
        ("ascending", None),
    ]
    assert page.having("td", "data-value") == [
        *("10.0", "6502.5", "-10.0"),
        *("25.0", "205.0", "5.0"),
        *("40.0", "6.5", "20.0"),
    ]


def test_names_that_are_not_unicode(tmp_path, evaluation):
    """Linux file names are bytes; Python hands stray ones over as lone surrogates."""
    name = "b\udcff"
    pictures = {"degraded": f"{name}.png", "restored": "r.png"}
    odd = _with(evaluation, rows=[ImageResult(name, (4, 4), _scores(1.0, 2.0), pictures)])
    report.write_csv(tmp_path / "x.csv", odd)
    report.write_json(tmp_path / "x.json", odd)
    write_html(tmp_path / "x.html", odd)
    assert "b\\udcff" in (tmp_path / "x.csv").read_text()
    assert json.loads((tmp_path / "x.json").read_text())["images"][0]["name"] == name
    assert 'src="b%FF.png"' in (tmp_path / "x.html").read_text()


def test_a_failed_write_leaves_the_old_file(tmp_path, evaluation):
    path = tmp_path / "metrics.csv"
    path.write_text("old")
    rows = [ImageResult("x", (4, 4), {"restored": {"psnr": "thirty"}})]
    with pytest.raises(ValueError, match="thirty"):
        report.write_csv(path, _with(evaluation, rows=rows))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
