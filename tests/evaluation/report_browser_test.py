"""The evaluation report in a real browser: sorting, the divider, a phone's width."""

import numpy as np
import pytest
from browser import Watched, browser
from PIL import Image

from restore_tf.evaluation.page import write_html
from restore_tf.evaluation.report import Evaluation, ImageResult

pytestmark = pytest.mark.slow
PSNR = {"b/good": 40.0, "a/worst": 10.0, "c/middle": 25.0}
KINDS = ("degraded", "restored", "sharp")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("report"), []
    for number, (name, psnr) in enumerate(PSNR.items()):
        pictures = {kind: f"{number}_{kind}.png" for kind in KINDS}
        for level, file in enumerate(pictures.values()):
            Image.fromarray(np.full((90, 120, 3), 60 * level, np.uint8)).save(folder / file)
        scores = {"restored": {"psnr": psnr}, "degraded": {"psnr": 20.0}}
        rows.append(ImageResult(name, (90, 120), scores, pictures))
    provenance = {"dataset": "toy", "versions": {"keras": "3.15.1"}, "command": "evaluate.py"}
    write_html(folder / "index.html", Evaluation("Toy", provenance, ("psnr",), rows))
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture
def visit(chromium, report):
    opened = []

    def go(**options):
        watched = Watched(chromium.new_context(**options), "file://")
        opened.append(watched)
        watched.page.goto(report)
        return watched.page

    yield go
    for watched in opened:
        watched.page.context.close()
        assert (watched.outside, watched.errors) == ([], [])


def names(page):
    return page.eval_on_selector_all("#images > tbody", "all => all.map(e => e.dataset.name)")


def test_rows_are_sorted_by_a_click_and_by_keyboard(visit):
    page = visit()
    assert names(page)[0] == "a/worst"
    page.click("#images thead th:nth-child(1) button")
    assert names(page) == ["a/worst", "b/good", "c/middle"]
    head = "#images thead th:nth-child(2) button"
    page.focus(head)
    page.keyboard.press("Enter")
    first = names(page)
    page.keyboard.press("Enter")
    assert names(page) == first[::-1]
    assert {tuple(first), tuple(first[::-1])} == {
        ("a/worst", "c/middle", "b/good"),
        ("b/good", "c/middle", "a/worst"),
    }


def cut(stage):
    return float(stage.get_attribute("style").split("--cut:")[1].split("%")[0])


def test_the_divider_by_mouse_and_keyboard(visit):
    page = visit()
    stage = page.locator(".stage:visible").first
    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20)
    page.mouse.up()
    assert float(stage.locator("input").input_value()) == pytest.approx(25, abs=1)
    assert cut(stage) == pytest.approx(25, abs=1)
    page.keyboard.press("End")  # dragging gave it the focus
    assert cut(stage) == 100
    page.locator(".compare:visible").first.click()
    assert stage.locator(".tag.r").inner_text() == "sharp"


def test_on_a_phone(visit):
    page = visit(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator(".stage:visible").first.bounding_box()
    assert 0 < box["width"] <= 390
