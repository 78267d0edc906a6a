"""The page in a real browser: what a visitor does, by mouse, keyboard and on a phone."""

import io
import json
import time
import zipfile

import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs restore_tf[app]")
import browser  # noqa: E402
import prefix_proxy  # noqa: E402
import tiny_app  # noqa: E402
from tiny_app import decoded, pixels, png  # noqa: E402

from restore_tf.app import assembly, server  # noqa: E402
from restore_tf.commands import restore  # noqa: E402
from restore_tf.inference.restore import restore as restore_pixels  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(browser.missing()), reason=browser.missing()),
]
PICTURE = pixels(120, 160)
BLACK = np.zeros((40, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def network():
    return tiny_app.Inverting()


@pytest.fixture(scope="module")
def served(network):
    limits = {"bytes": 10**6, "pixels": 2 * 10**6, "queue": 4, "pictures": 3, "clip_frames": 12}
    service = tiny_app.make(network, tiny_app.Doubling(), **limits)
    bound = server.listen("127.0.0.1", 0)
    app = assembly.assemble(service, ["127.0.0.1"])
    with server.running(app, service, bound):
        yield service, f"http://127.0.0.1:{bound.getsockname()[1]}"
        network.go_on.set()
    assert not service.store.folder.exists()


@pytest.fixture(scope="module")
def chromium():
    with browser.opened() as started:
        yield started


@pytest.fixture(scope="module")
def desk(chromium, served):
    """One page for all who need no other: loading Gradio's takes seconds."""
    watched = browser.Watched(chromium, own=served[1], console=True)
    watched.page.goto(f"{served[1]}/")
    watched.page.wait_for_selector("#photos .rtf-area")
    yield watched
    watched.close()


@pytest.fixture
def page(desk, network):
    """The page without files; at the end, nothing was asked for elsewhere, nothing complained."""
    found = desk.page
    found.get_by_role("tab", name="Photos").click()
    remove_files(found)
    yield found
    network.go_on.set()  # a test that failed holds nobody up
    assert (desk.outside, desk.errors) == ([], [])


def remove_files(page):
    while page.locator("[data-remove]").count():
        page.locator("[data-remove]").first.dispatch_event("click")


def files(*named):
    return [{"name": n, "mimeType": "image/png", "buffer": content} for n, content in named]


def give(page, *named, area="#photos"):
    page.set_input_files(f"{area} input[type=file]", files(*named))
    page.wait_for_selector(f"{area} .rtf-files li:nth-child({len(named)})")


def press(page, name="Restore"):
    """Presses a button; results that are shown by then are marked as old."""
    old = ".rtf-viewer, .rtf-error, #clip video"
    page.evaluate("old => document.querySelectorAll(old).forEach(e => { e.dataset.old = 1; })", old)
    page.locator("button:visible", has_text=name).first.click()


def wait_for_new(page, what=".rtf-viewer"):
    page.wait_for_selector(f"{what}:not([data-old])")


def divider(page):
    """Where the divider is, in %."""
    style = page.get_attribute(".rtf-stage", "style")
    return float(style.split("--cut:")[1].split("%")[0])


def test_a_picture_is_restored_as_restore_py_does(page, network, tmp_path, monkeypatch):
    given = tmp_path / "holiday.png"
    given.write_bytes(png(PICTURE, dpi=(72, 72)))
    give(page, ("holiday.png", given.read_bytes()))
    press(page)
    wait_for_new(page)
    with page.expect_download() as download:
        page.click("#results a.rtf-download")
    assert download.value.suggested_filename == "holiday_restored.png"
    monkeypatch.setattr(
        restore, "make_restorer", lambda values: lambda p: restore_pixels(network, p)
    )
    output = tmp_path / "sharp.png"
    assert restore.main(["restore.py", str(given), "--output", str(output)]) == 0
    assert download.value.path().read_bytes() == output.read_bytes()


def test_the_divider_by_mouse_and_keyboard_and_the_zoom(page):
    give(page, ("a.png", png(pixels(240, 1200))))
    press(page)
    wait_for_new(page)
    box = page.locator(".rtf-stage").bounding_box()
    assert box["width"] < 1200
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 100)
    page.mouse.up()
    assert divider(page) == pytest.approx(80, abs=0.5)
    page.focus(".rtf-cut")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    assert divider(page) == pytest.approx(75, abs=1)
    page.keyboard.press("Home")
    assert divider(page) == 0
    page.focus(".rtf-zoom")
    page.keyboard.press("Enter")
    assert page.locator(".rtf-stage").bounding_box()["width"] == 1200
    natural = page.eval_on_selector(".rtf-stage img.right", "e => e.naturalWidth")
    assert natural == 1200  # in full resolution
    assert page.eval_on_selector(".rtf-pane", "e => e.scrollWidth > e.clientWidth")
    page.keyboard.press("Enter")
    assert page.locator(".rtf-stage").bounding_box()["width"] < 1200


def test_cancel(page, network, served):
    network.started.clear()
    network.go_on.clear()
    give(page, ("black.png", png(BLACK)))
    press(page)
    assert network.started.wait(60)
    page.wait_for_selector("#status progress")
    # Where no share can be estimated the bar moves; Gradio takes the browser's own look away.
    look = "e => { e.removeAttribute('value'); return getComputedStyle(e).animationName; }"
    assert page.eval_on_selector("#status progress", look) == "rtf-busy"
    press(page, "Cancel")
    page.wait_for_selector("#status >> text=Cancelled.")
    assert served[0].line.taken == 1  # until the computation looks up
    network.go_on.set()
    while served[0].line.taken:
        time.sleep(0.01)
    press(page)
    wait_for_new(page)


def test_errors_are_shown(page):
    press(page)
    page.wait_for_selector("#status >> text=Choose a picture first.")
    hostile = "<img src=x onerror=alert(1)>${1}{{2}}.png"
    give(page, (hostile, b"not a picture"))
    press(page)
    wait_for_new(page, ".rtf-error")
    assert "cannot be read as a picture" in page.inner_text(".rtf-error")
    assert page.inner_text("#photos .rtf-files span") == hostile
    assert page.inner_text("#results summary") == hostile
    assert page.locator("#photos img, #results img").count() == 0
    page.click("[data-remove]")
    page.set_input_files("#photos input[type=file]", files(("large.png", b"x" * (10**6 + 1))))
    page.wait_for_selector("#photos >> text=more than 0.954 MiB")
    errors = page.locator("#photos .rtf-files li").count()
    assert errors == 0


def test_several_come_back_as_a_zip(page):
    second = pixels(50, 60, seed=2)
    give(page, ("../a.png", png(PICTURE)), ("a.png", png(second)), ("broken.png", b"x"))
    press(page)
    page.wait_for_selector("#status >> text=2 of 3 pictures restored.")
    with page.expect_download() as download:
        page.locator("a.rtf-download", has_text="ZIP").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.namelist() == ["a_restored.png", "a_restored_2.png"]
        np.testing.assert_array_equal(decoded(archive.read("a_restored_2.png")), 255 - second)


def test_more_files_than_are_taken(page):
    page.set_input_files("#photos input[type=file]", files(*[("a.png", png(PICTURE))] * 4))
    page.wait_for_selector("#photos >> text=At most 3 at a time.")
    assert page.locator("#photos .rtf-files li").count() == 3


@pytest.mark.parametrize("how", ["drop", "beside", "paste"])
def test_dropped_and_pasted(page, how):
    page.evaluate(
        """([how, bytes]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "given.png", {type: "image/png"}));
          const area = document.querySelector("#photos .rtf-area");
          const target = how === "drop" ? area : document.body;
          const event = how === "paste"
            ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true})
            : new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
          target.dispatchEvent(event);
          if (!event.defaultPrevented) throw new Error("the browser would open the file itself");
        }""",
        [how, list(png(pixels(20, 20)))],
    )
    page.wait_for_selector("#photos .rtf-files >> text=given.png")
    assert page.locator("#photos .rtf-files li").count() == 1
    press(page)
    wait_for_new(page)


def test_files_that_are_given_while_others_are_sent(page):
    held = []
    page.route("**/page/upload*", lambda route: held.append(route))
    for count, name in enumerate(("first.png", "second.png"), 1):
        page.set_input_files("#photos input[type=file]", files((name, png(PICTURE))))
        while len(held) < count:
            page.wait_for_timeout(10)  # in which Playwright hands requests over
    for count, route in enumerate(reversed(held), 1):
        route.continue_()
        page.wait_for_selector(f"#photos .rtf-files li:nth-child({count})")
    page.unroute("**/page/upload*")
    assert page.locator("#photos .rtf-files span").all_inner_texts() == ["second.png", "first.png"]


def test_an_example_has_scores(page):
    press(page, "Cat")
    page.wait_for_selector("#photos >> text=Cat.png")
    press(page)
    page.wait_for_selector(".rtf-scores")
    text = page.inner_text(".rtf-scores")
    assert "PSNR" in text and "restored" in text and "degraded" in text
    page.select_option(".rtf-side[data-side=right]", label="sharp")
    assert page.inner_text(".rtf-stage .tag.r") == "sharp"


def test_two_models_beside_each_other(page):
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_selector("#compared .rtf-area")
    give(page, ("a.png", png(PICTURE)), area="#compared")
    press(page)
    wait_for_new(page, "#comparison .rtf-viewer")
    assert page.inner_text("#comparison .tag.l") == "1: inverting"
    assert page.inner_text("#comparison .tag.r") == "2: doubling"
    # The crop is as large as the picture allows; the network that enlarges doubles it.
    assert page.get_attribute("#comparison .rtf-stage", "data-width") == "240"


def test_cancel_of_one_tab_leaves_the_others_alone(page, network, served):
    network.started.clear()
    network.go_on.clear()
    give(page, ("black.png", png(BLACK)))
    press(page)
    assert network.started.wait(60)
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_selector("#compared .rtf-area")
    give(page, ("a.png", png(PICTURE)), area="#compared")
    press(page)
    page.wait_for_selector(".rtf-status:visible >> text=1 before it")
    press(page, "Cancel")
    page.wait_for_selector(".rtf-status:visible >> text=Cancelled.")
    page.get_by_role("tab", name="Photos").click()
    page.wait_for_selector("#status >> text=is being restored")
    press(page, "Cancel")
    page.wait_for_selector("#status >> text=Cancelled.")
    network.go_on.set()
    while served[0].line.taken:
        time.sleep(0.01)


def clip(frames):
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            picture = np.full((48, 64, 3), 60 + 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def test_a_video_and_its_limit(page):
    page.get_by_role("tab", name="Video").click()
    page.wait_for_selector("#video .rtf-area")
    give(page, ("clip.mp4", clip(6)), area="#video")
    press(page)
    wait_for_new(page, "#clip video")
    with page.expect_download() as download:
        page.locator("#clip a.rtf-download").click()
    av = pytest.importorskip("av")
    with av.open(str(download.value.path())) as container:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert abs(first.mean() - 195) < 5
    give(page, ("long.mp4", clip(13)), area="#video")
    press(page)
    page.wait_for_selector("text=the video: has more than 12 frames")


def brightness(page):
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(json.loads("[" + background.split("(")[1].rstrip(")") + "]")[:3])


@pytest.fixture(scope="module")
def phone(chromium, served):
    """A page of its own, of which two tests are made: the latter closes it."""
    options = {"color_scheme": "light", "has_touch": True, "is_mobile": True}
    watched = browser.Watched(chromium, browser.PHONE, own=served[1], console=True, **options)
    watched.page.goto(f"{served[1]}/")
    watched.page.wait_for_selector("#photos .rtf-area")
    yield watched
    watched.close()
    assert (watched.outside, watched.errors) == ([], [])


def test_on_a_phone(phone):
    page = phone.page
    give(page, ("a.png", png(pixels(300, 500))))
    press(page)
    wait_for_new(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= browser.PHONE["width"]
    assert page.locator(".rtf-stage").bounding_box()["width"] > 280
    page.wait_for_function(
        "document.querySelector('.rtf-stage').getBoundingClientRect().bottom < innerHeight"
    )
    page.locator(".rtf-zoom").tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= browser.PHONE["width"]
    assert brightness(page) > 700
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.body.classList.contains('dark')")
    assert brightness(page) < 200


def test_a_tab_that_is_closed_gives_its_place_back(phone, network, served):
    """A phone's browser closes what it does not show."""
    page = phone.page
    remove_files(page)
    network.started.clear()
    network.go_on.clear()
    give(page, ("black.png", png(BLACK)), ("waits.png", png(PICTURE)))
    press(page)
    assert network.started.wait(60)
    page.close()
    network.go_on.set()
    while served[0].line.taken:
        time.sleep(0.01)


def test_by_keyboard_alone(page):
    give(page, ("a.png", png(PICTURE)))  # the picker itself is the system's
    reached = []
    page.locator("h1").click()  # keys begin there
    for _ in range(40):
        page.keyboard.press("Tab")
        what = page.evaluate(
            "() => { const e = document.activeElement;"
            " return e.matches('#photos input[type=file]') ? 'area' : e.textContent.trim(); }"
        )
        reached.append(what)
        if what == "Restore":
            break
    assert "area" in reached and reached[-1] == "Restore"
    page.keyboard.press("Enter")
    wait_for_new(page)


def test_below_a_path_of_a_proxy_with_a_password(chromium):
    service, user = tiny_app.make(), {"username": "ada", "password": "secret"}
    inside, outside = (server.listen("127.0.0.1", 0) for _ in range(2))
    address, shown = (f"http://127.0.0.1:{bound.getsockname()[1]}" for bound in (inside, outside))
    app = assembly.assemble(service, ["127.0.0.1"], {"ada": "secret"}, root_path="/photos")
    own = f"{shown}/photos/"
    with (
        server.running(app, service, inside, "/photos"),
        prefix_proxy.below("/photos", address, outside),
    ):
        watched = browser.Watched(chromium, own=own, console=True, http_credentials=user)
        page = watched.page
        page.goto(own)
        page.wait_for_selector("#photos .rtf-area")
        give(page, ("a.png", png(PICTURE)))
        press(page)
        wait_for_new(page)
        with page.expect_download() as download:
            page.click("a.rtf-download")
        np.testing.assert_array_equal(decoded(download.value.path().read_bytes()), 255 - PICTURE)
        watched.close()
        stranger = chromium.new_context(http_credentials={**user, "password": "wrong"})
        assert stranger.new_page().goto(own).status == 401
        stranger.close()
    assert (watched.outside, watched.errors) == ([], [])
