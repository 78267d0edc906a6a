"""The page that restores inside the browser, in Chromium, against `restore_tf.restore`.

LiteRT.js is looked for in the folder that RESTORE_TF_LITERTJS names, as npm pack writes it.
"""

import dataclasses
import io
import json
import os
import re
import shutil

import browser
import export_program
import keras
import numpy as np
import pytest
import tiny_papers
from PIL import Image
from skimage import data

from restore_tf.commands import export
from restore_tf.experiments import experiment
from restore_tf.export import jobs
from restore_tf.export.web import litertjs
from restore_tf.inference.restore import restore
from restore_tf.inference.tflite_model import LiteModel
from srn_tf import recipes as srn

LITERTJS = os.environ.get("RESTORE_TF_LITERTJS")
MISSING = browser.missing() or ("" if LITERTJS else "RESTORE_TF_LITERTJS names no LiteRT.js")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING)]
SECONDS = 120_000


def written(top, recipe, flags):
    """The folder that the command writes of a network with random weights."""
    keras.utils.set_random_seed(0)
    experiment.write(top / "run", recipe, {})
    experiment.build(recipe).save_weights(top / "run" / "best.weights.h5")
    (top / "crops").mkdir()  # two small ones: the embedded pictures take longer than the page
    for name in ("astronaut", "coffee"):
        Image.fromarray(photo(name)[:96, :128]).save(top / "crops" / f"{name}.png")
    flags += f" --workdir {top / 'run'} --output {top / 'out'} --litertjs {LITERTJS}"
    flags += f" --calibrate {top / 'crops'}"
    words = ["export.py", "--format=web", "--max_psnr_drop=99", *flags.split()]
    with pytest.MonkeyPatch.context() as patched:  # one start of TensorFlow instead of six
        patched.setattr(jobs, "run_in_process", export_program.in_this_process)
        assert export.main(words) == 0
    assert export.main(words) == 2  # nothing is replaced in silence
    return top / "out" / "web"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    recipe = srn.gopro()
    small = {"width": 4, "res_blocks": 1, "scales": 2, "global_skip": True}
    recipe = dataclasses.replace(recipe, network={**recipe.network, **small})
    top = tmp_path_factory.mktemp("web")
    return written(top, recipe, "--size 96x128 --kinds float32,uint8")


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory):
    """Of convolutions alone, which WebGPU has all of."""
    recipe = tiny_papers.tiny("dncnn_color/sigma25")
    return written(tmp_path_factory.mktemp("plain"), recipe, "--size 64x64 --kinds float32")


@pytest.fixture(scope="module")
def launch():
    with browser.launcher() as start:
        yield start


@pytest.fixture(scope="module")
def chromium(launch):
    return launch()


@pytest.fixture(scope="module")
def watched(chromium, folder):
    """One page for all who need no other."""
    with browser.served(folder) as address:
        found = browser.Watched(chromium)
        found.page.goto(f"{address}/index.html")
        found.page.wait_for_selector("body[data-ready]")
        yield found
        found.close()


@pytest.fixture
def page(watched):
    """The page at its first model; nothing may be asked for elsewhere and nothing thrown."""
    watched.page.get_by_label("Model").select_option("0")
    watched.page.evaluate("document.getElementById('status').textContent = ''")
    yield watched.page
    assert (watched.outside, watched.errors) == ([], [])


def photo(name="chelsea"):
    return getattr(data, name)()


def png(pixels, name="photo.png"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": buffer.getvalue()}


def wait_for(page, text):
    page.get_by_role("status").filter(has_text=text).wait_for(timeout=SECONDS)


def choose(page, file):
    page.evaluate("document.getElementById('status').textContent = ''")
    page.set_input_files("#file", file)
    wait_for(page, "Restored")


def saved(page, button="Save as PNG"):
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return download.value.suggested_filename, np.asarray(Image.open(download.value.path()))


def native(folder, kind):
    return LiteModel(next((folder / "models").glob(f"*_{kind}.tflite")))


def test_the_folder_holds_what_the_manifest_says(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, digest in manifest["runtime"]["files"].items():
        assert len(digest) == 64 and (folder / name).is_file()
    assert [model["kind"] for model in manifest["models"]] == ["float32", "uint8"]
    for entry in manifest["models"]:
        model = native(folder, entry["kind"])
        assert (tuple(entry["size"]), tuple(entry["overlap"])) == (model.size, model.overlap)
        assert (folder / entry["file"]).stat().st_size == entry["bytes"]
        assert entry["psnr_to_float"] > 20
    record = json.loads((folder.parent / "export.json").read_text())["artefacts"]
    assert [(entry["path"], entry["format"]) for entry in record] == [("web", "web")]


@pytest.mark.parametrize(("index", "kind"), [(0, "float32"), (1, "uint8")])
def test_a_photo_is_restored_as_natively(page, folder, index, kind):
    pixels = photo()
    page.get_by_label("Model").select_option(str(index))
    choose(page, png(pixels, "my photo.PNG"))
    name, restored = saved(page)
    assert name == "my photo_restored.png"
    expected = restore(native(folder, kind), pixels)
    assert np.abs(restored[..., :3].astype(int) - expected).max() <= 1
    assert "CPU (WebAssembly, " in page.get_by_role("status").inner_text()
    name, lossy = saved(page, "Save as JPEG")
    assert name == "my photo_restored.jpg"
    assert np.abs(lossy.astype(int) - restored[..., :3]).mean() < 3


def test_a_jpeg_is_turned_as_its_exif_says(page, folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    buffer = io.BytesIO()
    Image.fromarray(photo()[:100, :160]).save(buffer, "JPEG", exif=exif)
    choose(page, {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()})
    _, restored = saved(page)
    pixels = np.rot90(np.asarray(Image.open(buffer)), -1)
    expected = restore(native(folder, "float32"), pixels)
    assert restored.shape[:2] == (160, 100)
    assert np.abs(restored[..., :3].astype(int) - expected).max() <= 1


def test_gray_stays_gray_and_transparency_stays(page, folder):
    gray = photo("camera")[:120, :150]
    choose(page, png(gray))
    _, restored = saved(page)
    expected = restore(native(folder, "float32"), gray)
    assert np.abs(restored[..., :3].astype(int) - expected[..., None]).max() <= 1
    clear = np.dstack([photo()[:120, :150], np.full((120, 150), 255, np.uint8)])
    clear[:40, :, 3] = 0
    choose(page, png(clear))
    _, restored = saved(page)
    np.testing.assert_array_equal(restored[..., 3], clear[..., 3])


def transfer(page, pixels):
    """What a browser hands over of a picture that is dropped or pasted."""
    return page.evaluate_handle(
        """bytes => {
          const held = new DataTransfer();
          held.items.add(new File([Uint8Array.from(bytes)], "held.png", {type: "image/png"}));
          return held;
        }""",
        list(png(pixels)["buffer"]),
    )


def test_a_picture_can_be_dropped_pasted_and_chosen(page):
    dropped = transfer(page, photo()[:50, :70])
    page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    wait_for(page, "Restored 70 × 50")
    # Of another size each: a small one is done before "Cancel" could be seen.
    paste = "held => dispatchEvent(new ClipboardEvent('paste', {clipboardData: held}))"
    page.evaluate(paste, transfer(page, photo()[:40, :90]))
    wait_for(page, "Restored 90 × 40")
    with page.expect_file_chooser() as chooser:
        page.locator("#drop").click()
    chooser.value.set_files(png(photo()[:60, :80]))
    wait_for(page, "Restored 80 × 60")


def test_keys_reach_everything_in_order(page):
    choose(page, png(photo()[:50, :70]))
    page.locator("header").click()
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    expected = ["file", "model", "accelerator", "again", "slider", "png", "jpeg", "zoom"]
    assert reached == expected


def divider(page):
    """Where the divider stands, in per cent of the stage's width."""
    stage, line = (page.locator(name).bounding_box() for name in (".stage", ".divider"))
    return 100 * (line["x"] + line["width"] / 2 - stage["x"]) / stage["width"]


def test_the_slider_follows_mouse_and_keys(page):
    choose(page, png(photo()[:96, :256]))
    assert divider(page) == pytest.approx(50, abs=0.5)
    box = page.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 60, steps=4)
    page.mouse.up()
    assert divider(page) == pytest.approx(20, abs=1)
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 60)  # nothing is held
    assert divider(page) == pytest.approx(20, abs=1)
    before = divider(page)
    page.keyboard.press("ArrowRight")
    assert divider(page) == pytest.approx(before + 1, abs=0.5)
    page.keyboard.press("End")
    assert divider(page) == pytest.approx(100, abs=0.5)
    assert page.get_by_role("slider").input_value() == "100"


def test_a_picture_can_be_cancelled_and_restored_again(page):
    page.set_input_files("#file", png(np.tile(photo(), (4, 4, 1))))
    wait_for(page, "Restoring")
    page.get_by_role("button", name="Cancel").click()
    wait_for(page, "Cancelled")
    assert page.locator("#work").is_hidden() and page.locator("#viewer").is_hidden()
    choose(page, png(photo()[:90, :90]))
    page.get_by_role("button", name="Restore again").click()
    wait_for(page, "Restored 90 × 90")


def test_errors_are_shown_and_the_page_goes_on(page):
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"\x89PNG not really"}
    page.set_input_files("#file", broken)
    alert = page.get_by_role("alert")
    alert.filter(has_text="broken.png cannot be read").wait_for(timeout=SECONDS)
    large = np.zeros((8001, 8000), bool)
    page.set_input_files("#file", png(large, "large.png"))
    alert.filter(has_text="large.png is too large: 8000 × 8001 pixels").wait_for(timeout=SECONDS)
    choose(page, png(photo()[:60, :60]))
    assert page.locator("#error").text_content() == ""


def test_memory_stays_what_it_was(page):
    held = []
    for _ in range(3):
        choose(page, png(photo()))
        held.append(page.get_attribute("body", "data-memory"))
        page.evaluate("document.getElementById('status').textContent = ''")
    assert len(set(held[1:])) == 1


def test_a_plain_server_does_with_one_thread(chromium, folder):
    with browser.served(folder, headers={}) as address:
        watched = browser.Watched(chromium, color_scheme="dark")
        watched.page.goto(f"{address}/index.html")
        watched.page.wait_for_selector("body[data-ready]")
        assert "Cross-Origin-Opener-Policy" in watched.page.locator("#facts").text_content()
        choose(watched.page, png(photo()[:90, :90]))
        assert "1 thread)" in watched.page.get_by_role("status").inner_text()
        assert (watched.outside, watched.errors) == ([], [])
        watched.close()


def test_a_page_opened_from_disk_says_what_to_do(chromium, folder):
    watched = browser.Watched(chromium)
    watched.page.goto(f"file://{folder}/index.html")
    hint = watched.page.locator("#hint")
    assert hint.is_visible() and "python -m http.server" in hint.inner_text()
    assert watched.page.locator("main").is_hidden()
    watched.close()


def test_the_app_serves_it_with_threads(chromium, folder):
    pytest.importorskip("gradio", reason="needs restore_tf[app]")
    import tiny_app

    from restore_tf.app import assembly, server

    service, bound = tiny_app.make(), server.listen("127.0.0.1", 0)
    app = assembly.assemble(service, ["127.0.0.1"], web=folder)
    with server.running(app, service, bound):
        watched = browser.Watched(chromium)
        page = watched.page
        page.goto(f"http://127.0.0.1:{bound.getsockname()[1]}/web")
        page.wait_for_selector("body[data-ready]")
        pixels = photo()[:90, :120]
        choose(page, png(pixels))
        threads = re.search(r"(\d+) threads\)", page.get_by_role("status").inner_text())
        assert threads and int(threads[1]) > 1
        _, restored = saved(page)
        watched.close()
    expected = restore(native(folder, "float32"), pixels)
    assert np.abs(restored[..., :3].astype(int) - expected).max() <= 1
    assert (watched.outside, watched.errors) == ([], [])


def test_nothing_is_wider_than_the_window(page):
    choose(page, png(np.tile(photo()[:100], (1, 3, 1))))
    page.locator("summary").click()
    for viewport in (browser.PHONE, browser.DESKTOP):
        page.set_viewport_size(viewport)
        for _ in range(2):
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
            page.get_by_role("button", name="100 %").click()


@pytest.fixture(scope="module")
def with_webgpu(launch):
    """A Chromium whose WebGPU runs in software: it brings SwiftShader."""
    return launch("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")


def restored_on_webgpu(running, folder, pixels):
    """What the page says and makes of a picture."""
    with browser.served(folder) as address:
        watched = browser.Watched(running)
        watched.page.goto(f"{address}/index.html")
        watched.page.wait_for_selector("body[data-ready]")
        if not watched.page.get_attribute("body", "data-ready").startswith("WebGPU"):
            pytest.skip("this Chromium has no WebGPU in software")
        choose(watched.page, png(pixels))
        answer = watched.page.get_by_role("status").inner_text(), saved(watched.page)[1][..., :3]
        watched.close()
    return answer


def test_webgpu_is_named_where_it_ran(with_webgpu, plain_folder):
    pixels = photo()[:60, :100]
    said, restored = restored_on_webgpu(with_webgpu, plain_folder, pixels)
    assert "on WebGPU." in said
    expected = restore(native(plain_folder, "float32"), pixels)
    assert np.abs(restored.astype(int) - expected).max() <= 1


def test_what_webgpu_lacks_runs_on_the_cpu_and_the_page_says_why(with_webgpu, folder):
    """SRN enlarges through arrays of five axes."""
    pixels = photo()[:90, :120]
    said, restored = restored_on_webgpu(with_webgpu, folder, pixels)
    assert "CPU (WebAssembly, " in said
    assert said.endswith("WebGPU lacks operations of this model.")
    expected = restore(native(folder, "float32"), pixels)
    assert np.abs(restored.astype(int) - expected).max() <= 1


def test_webgpu_that_computes_wrongly_is_not_used(with_webgpu, plain_folder, tmp_path):
    """The tile that the exporter saw comes out otherwise: here, because its answer was changed."""
    folder = shutil.copytree(plain_folder, tmp_path / "web")
    (path,) = (folder / "models").glob("*_probe_restored.png")
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    said, _ = restored_on_webgpu(with_webgpu, folder, photo()[:60, :60])
    assert "CPU (WebAssembly, " in said and "WebGPU's result is off by" in said


def test_litertjs_is_what_is_pinned():
    files = litertjs.files(LITERTJS)
    assert sum(name.endswith(".wasm") for name in files) == 3
    assert b"@litertjs/" not in files["core/index.js"]
