"""The pages in a real browser: sorting, sliders, keys, a phone's width, votes, no request."""

import json

import browser
import pytest
from toy_comparison import with_pictures

from restore_tf.evaluation.comparison import blind, report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(browser.missing()), reason=browser.missing()),
]
DESK, PHONE = browser.DESKTOP, browser.PHONE


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    found = with_pictures(tmp_path_factory.mktemp("browser"), 5, ("psnr", "gmsd"))
    report.write(found, crop=64)
    blind.write_blind(found, crop=64)
    return found


@pytest.fixture(scope="module")
def chromium():
    with browser.opened() as running:
        yield running


@pytest.fixture
def open_page(chromium, comparison):
    """Opens a page of the comparison; in the end nothing may have failed or left the folder."""
    troubles, contexts = [], []

    def opened(name, viewport, **options):
        context = chromium.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(request.url[:80]))
        page.on("request", lambda request: _note(request.url, comparison.folder, troubles))
        page.goto((comparison.folder / name).as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def _note(url, folder, troubles):
    if not url.startswith(("data:", "blob:", folder.as_uri())):
        troubles.append(url)


def _column(page, number):
    """Texts of a column of the first table, top to bottom."""
    return page.evaluate(
        """number => Array.from(document.querySelector("table.sortable").tBodies,
             body => body.rows[0].children[number].dataset.value)""",
        number,
    )


def test_tables_are_sorted_best_first_then_the_other_way(open_page):
    page = open_page("index.html", DESK)
    table = page.locator("table.sortable").first
    table.get_by_role("button", name="PSNR (dB)").click()
    values = [float(value) for value in _column(page, 1) if value]
    assert values == sorted(values, reverse=True)
    assert _column(page, 1)[-1] == ""  # what has no score stays last
    table.get_by_role("button", name="PSNR (dB)").click()
    assert [float(value) for value in _column(page, 1) if value] == sorted(values)
    assert _column(page, 1)[-1] == ""
    button = table.get_by_role("button", name="GMSD")
    button.focus()
    page.keyboard.press("Enter")
    values = [float(value) for value in _column(page, 2) if value]
    assert values == sorted(values)
    assert table.locator("th[aria-sort]").inner_text().startswith("GMSD")


def test_sliders_follow_pointer_and_keys(open_page):
    page = open_page("index.html", DESK)
    stage = page.locator(".stage").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    page.mouse.up()
    assert abs(float(stage.locator("input").input_value()) - 25) <= 1
    page.keyboard.press("ArrowRight")
    assert abs(float(stage.locator("input").input_value()) - 26) <= 1
    assert stage.evaluate("it => it.style.getPropertyValue('--cut')") in ("25%", "26%", "27%")


def test_any_two_rows_can_be_compared(open_page):
    page = open_page("index.html", DESK)
    entry = page.locator(".entry").first
    entry.locator("select.left").select_option("sharp")
    entry.locator("select.right").select_option("gan@all")
    assert entry.locator(".tag.l").inner_text() == "sharp"
    assert entry.locator(".tag.r").inner_text() == "DeblurGAN"
    sources = [
        entry.locator(place).get_attribute("src")
        for place in ("img.left", ".strip figure[data-row='sharp'] img")
    ]
    assert sources[0] == sources[1]
    entry.locator(".strip figure[data-row='maxim'] img").click()
    assert entry.locator(".tag.r").inner_text() == "MAXIM, stage 1"
    assert entry.locator("select.right").input_value() == "maxim"


@pytest.mark.parametrize("name", ["index.html", "blind.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_down_only(open_page, name, scheme):
    page = open_page(name, PHONE, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(each) for each in background[4:-1].split(","))
    assert (brightness < 200) == (scheme == "dark")


def test_without_scripts_all_crops_are_shown(open_page):
    page = open_page("index.html", DESK, java_script_enabled=False)
    assert page.locator(".strip img").first.is_visible()
    assert not page.locator(".stage").first.is_visible()


def test_votes_are_saved_and_counted(open_page, comparison, tmp_path):
    page = open_page("blind.html", DESK)
    questions = page.locator("fieldset").count()
    page.locator("fieldset").nth(0).get_by_label("B", exact=True).check()
    page.locator("fieldset").nth(2).get_by_label("A", exact=True).check()
    assert page.get_by_role("status").inner_text() == f"2 of {questions} answered"
    with page.expect_download() as download:
        page.get_by_role("button", name="Save").click()
    download.value.save_as(tmp_path / "votes.json")
    assert json.loads((tmp_path / "votes.json").read_text())["votes"] == {"1": "B", "3": "A"}
    assert blind.tally(comparison, tmp_path / "votes.json").answered == 2
