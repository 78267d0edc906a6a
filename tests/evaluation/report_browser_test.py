"""The report page in Chromium: sorting, slider, a phone's width; nothing comes from elsewhere."""

import browser
import numpy as np
import pytest
from PIL import Image

from restore_tf.evaluation.page import write_html
from restore_tf.evaluation.report import Evaluation, ImageResult

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(browser.missing()), reason=browser.missing()),
]
PSNR = {"photo2": 31.0, "photo10": 24.5, "a_very_long_name_of_a_picture_from_a_phone": 28.25}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report of three pictures, 400 pixels wide."""
    top = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(0)
    rows = []
    for name, psnr in PSNR.items():
        pictures = {}
        for kind in ("degraded", "restored", "sharp"):
            pictures[kind] = f"{kind}_{name}.png"
            pixels = random.integers(0, 256, (300, 400, 3), np.uint8)
            Image.fromarray(pixels).save(top / pictures[kind])
        scores = {
            "restored": {"psnr": psnr, "ssim": psnr / 40, "mse": 900 - psnr},
            "degraded": {"psnr": 25.0, "ssim": 0.7, "mse": 880.0},
        }
        rows.append(ImageResult(name, (300, 400), scores, pictures))
    provenance = {"dataset": "three pictures", "command": "evaluate.py " + "--flag value " * 20}
    metrics = ("psnr", "ssim", "mse")
    write_html(top / "index.html", Evaluation("A report", provenance, metrics, rows))
    return top


@pytest.fixture(scope="module")
def chromium():
    with browser.opened() as running:
        yield running


@pytest.fixture(params=[browser.DESKTOP, browser.PHONE], ids=["desktop", "phone"])
def page(request, chromium, folder):
    watched = browser.Watched(chromium, request.param)
    watched.page.goto(f"file://{folder}/index.html")  # as reports are opened
    yield watched.page
    assert (watched.outside, watched.errors) == ([], [])
    watched.close()


def names(page):
    bodies = page.locator("#images > tbody")
    return bodies.evaluate_all("bodies => bodies.map(body => body.dataset.name)")


def test_columns_are_sorted(page):
    worst_first = sorted(PSNR, key=PSNR.get)
    assert names(page) == worst_first
    column = page.locator("#images thead").get_by_role("button", name="PSNR")
    column.click()
    assert names(page) == worst_first[::-1]
    page.locator("#images thead").get_by_role("button", name="image").click()
    assert names(page) == ["a_very_long_name_of_a_picture_from_a_phone", "photo2", "photo10"]
    column.press("Enter")
    assert names(page) == worst_first


def divider(page):
    """Where the first open picture's divider stands, in per cent of its width."""
    names = (".stage", ".divider")
    stage, line = (page.locator(f"{name}:visible").first.bounding_box() for name in names)
    return 100 * (line["x"] + line["width"] / 2 - stage["x"]) / stage["width"]


def test_the_slider_follows_mouse_and_keys(page):
    assert divider(page) == pytest.approx(50, abs=1)
    stage = page.locator(".stage:visible").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 30, steps=3)
    page.mouse.up()
    before = divider(page)
    assert before == pytest.approx(25, abs=1)
    page.keyboard.press("ArrowRight")
    assert divider(page) == pytest.approx(before + 1, abs=0.5)
    page.keyboard.press("Home")
    assert divider(page) == pytest.approx(0, abs=0.5)


def test_pictures_open_by_name_and_are_filtered(page):
    second = page.locator("#images > tbody").nth(1)
    assert second.locator(".detail").is_hidden()
    second.locator(".open").press("Enter")
    assert second.locator(".detail").is_visible()
    restored = second.locator("img.right")
    restored.scroll_into_view_if_needed()
    page.wait_for_function("image => image.naturalWidth === 400", arg=restored.element_handle())
    page.get_by_label("filter by name").fill("PHOTO1")
    assert page.locator("#images > tbody:visible").count() == 1


def test_nothing_is_wider_than_the_window(page):
    page.get_by_role("button", name="Open all").click()
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
