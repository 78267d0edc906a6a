"""Chains: links one after the other, as a run that everything takes."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from tiny_training import toy
from tiny_training import toys as toys

import restore_tf
from restore_tf.commands import chain as command
from restore_tf.commands import restore as restore_command
from restore_tf.experiments import experiment as experiments
from restore_tf.export import checked, samples, saved_model
from restore_tf.export.tflite import make
from restore_tf.inference.restore import after_links
from restore_tf.inference.tflite_model import LiteModel
from restore_tf.networks.steps import step_network
from restore_tf.weights.run import save_half

pytestmark = pytest.mark.usefixtures("toys")


def write_run(folder, recipe, seed=3, half=False):
    """A run directory with drawn weights that change a picture, which fresh ones hardly do."""
    keras.utils.set_random_seed(seed)
    model = experiments.build(recipe)
    random = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(weight + random.normal(0, 0.03, weight.shape))
    experiments.write(folder, recipe, {})
    save_half(folder, model) if half else model.save_weights(folder / "best.weights.h5")


def small_srn():
    recipe = experiments.load_recipe("srn", "quick")
    network = {**recipe.network, "width": 4, "res_blocks": 1, "scales": 1}
    return dataclasses.replace(recipe, network=network)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, toys):
    """A folder with runs of a multiple of 4, of twice the size, of luminance, of noise."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "srn", small_srn())
    write_run(folder / "enlarger", toy("enlarger"), half=True)
    for name in ("onlyluma", "sampler"):
        write_run(folder / name, toy(name))
    return folder


@pytest.fixture
def join(runs, tmp_path, monkeypatch, capfd):
    """Returns the folder of a chain of runs, by the command."""
    monkeypatch.chdir(runs)

    def make_chain(*links, name="chain"):
        output = tmp_path / name
        code = command.main(["restore-tf chain", *links, f"--output={output}"])
        assert code == 0, capfd.readouterr().err
        return output

    return make_chain


def photo(height, width, dtype=np.uint8):
    """Waves with edges and some noise: an 8-bit picture of any contents."""
    rows, columns = np.mgrid[:height, :width]
    waves = [0.5 + 0.3 * np.sin(rows / a + columns / b) for a, b in ((3, 5), (7, 4), (5, 9))]
    pixels = np.stack(waves, axis=-1) + 0.15 * ((rows // 9 + columns // 7) % 2)[..., None]
    pixels += np.random.default_rng(0).normal(0, 0.01, pixels.shape)
    pixels = np.clip(pixels, 0, 1).astype(np.float32)
    return pixels if dtype == np.float32 else np.rint(255 * pixels).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_one_link_is_that_run_bit_for_bit(join, runs, dtype):
    alone, chain = restore_tf.load_model(runs / "srn"), restore_tf.load_model(join("srn"))
    image = photo(45, 170, dtype)
    for options in ({"whole": True}, {"tile": 160}):
        np.testing.assert_array_equal(
            restore_tf.restore(chain, image, **options), restore_tf.restore(alone, image, **options)
        )


def test_floats_between_links_and_8_bits_on_request(join, runs):
    """Against the links one after the other, of a size that none of them takes unpadded."""
    folder, image = join("srn", "enlarger"), photo(21, 35)
    links = [restore_tf.load_model(runs / name) for name in ("srn", "enlarger")]
    floats = image / np.float32(255)
    for link in links:
        floats = restore_tf.restore(link, floats)
    chain = restore_tf.load_model(folder)
    assert (chain.output_scale, floats.shape) == (2, (42, 70, 3))
    expected = np.rint(255 * np.clip(floats, 0, 1)).astype(np.uint8)
    np.testing.assert_array_equal(restore_tf.restore(chain, image), expected)

    files = image
    for link in links:
        files = restore_tf.restore(link, files)
    rounded = restore_tf.restore(restore_tf.load_model(folder, eight_bit=True), image)
    np.testing.assert_array_equal(rounded, files)
    assert (rounded != expected).any()


def test_stages_are_what_the_links_give(join):
    chain = restore_tf.load_model(join("srn", "enlarger", "unsharp:2:1.5:0"))
    images = photo(20, 24, np.float32)[None]
    stages = chain(images)
    assert [stage.shape[1:3] for stage in stages] == [(20, 24), (40, 48), (40, 48)]
    for stage, picture in zip(stages, after_links(chain, images[0]), strict=True):
        np.testing.assert_allclose(stage[0], picture, atol=1e-5)
    first = restore_tf.load_model(join("srn", "enlarger"), stages=1)
    np.testing.assert_allclose(restore_tf.restore(first, images[0]), stages[0][0], atol=1e-6)


def test_tiles_of_exact_links_are_the_whole(join):
    chain = restore_tf.load_model(join("srn", "enlarger", "unsharp:1:1.5:0"))
    image, done = photo(200, 180, np.float32), []
    whole = restore_tf.restore(chain, image, whole=True)
    tiled = restore_tf.restore(chain, image, tile=160, progress=lambda *now: done.append(now))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5)
    assert done == sorted(done)
    assert done[-1] == (3 * 200 * 180, 3 * 200 * 180)


def test_noise_of_links_has_no_seams(join):
    chain = restore_tf.load_model(join("sampler", "enlarger"))
    image = photo(50, 70, np.float32)
    whole = restore_tf.restore(chain, image, whole=True, seed=5)
    np.testing.assert_allclose(restore_tf.restore(chain, image, tile=32, seed=5), whole, atol=1e-5)


def test_luminance_chains_keep_colours(join):
    chain = restore_tf.load_model(join("onlyluma", "unsharp:1:1:0"))
    image = photo(20, 14, np.float32)
    restored = restore_tf.restore(chain, image)
    differences = (restored - image).reshape(-1, 3)
    np.testing.assert_allclose(differences - differences[:, :1], 0, atol=1e-5)  # Y alone moved
    assert np.abs(differences).max() > 0.01


def test_links_are_found_wherever_one_stands(join, runs, tmp_path, monkeypatch):
    folder = join("srn", "unsharp:2:1.5:3")
    content = json.loads((folder / "experiment.json").read_text())
    first, step = content["experiment"]["network"]["links"]
    assert not Path(first).is_absolute()
    assert step == "unsharp:2:1.5:3"
    assert (folder / first).resolve() == (runs / "srn").resolve()
    monkeypatch.chdir("/")
    assert restore_tf.load_model(folder).count_params() > 0
    inner = join(
        str(folder), str(runs / "enlarger"), name="outer"
    )  # a chain is a link like any other
    outer = restore_tf.load_model(inner)
    image = photo(16, 16)
    links = [restore_tf.load_model(folder), restore_tf.load_model(runs / "enlarger")]
    floats = restore_tf.restore(links[1], restore_tf.restore(links[0], image / np.float32(255)))
    expected = np.rint(255 * np.clip(floats, 0, 1)).astype(np.uint8)
    np.testing.assert_array_equal(restore_tf.restore(outer, image), expected)


@pytest.mark.slow
def test_published_names_are_links(join):
    """MAXIM's weights get their paths from its constructor."""
    chain = restore_tf.load_model(join("maxim_deblurring_stage1", "unsharp:2:1:0"))
    content = json.loads((join("maxim_deblurring_stage1") / "experiment.json").read_text())
    assert content["experiment"]["network"]["links"] == ["maxim_deblurring_stage1"]
    assert [link.name for link in chain.links] == ["maxim", "unsharp"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no links"),
        (["srn", "nothere", "--output=x"], "nothere: neither a run directory nor published"),
        (["srn"], "--output: missing"),
        (["srn", "onlyluma", "--output=x"], "link 2, onlyluma, takes pictures of 1 channel"),
        (["srn", "unsharp:2:150:3", "--output=x"], "1.5 is 150 percent"),
        (["unsharp:2:1:3", "--output=x"], "no run among its links"),
        (["srn", "--output=srn"], "is a run of srn"),
        (["--table=srn"], "not a chain"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(runs, monkeypatch, capfd, words, message):
    monkeypatch.chdir(runs)
    assert command.main(["restore-tf chain", *words]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (runs / "x").exists()


def test_missing_links_are_named(join, runs, tmp_path, capfd):
    shutil.copytree(runs / "enlarger", tmp_path / "own")
    folder = join(str(tmp_path / "own"))
    shutil.rmtree(tmp_path / "own")
    Image.fromarray(photo(8, 8)).save(tmp_path / "a.png")
    words = [str(tmp_path / "a.png"), f"--workdir={folder}", f"--output={tmp_path / 'out'}"]
    assert restore_command.main(["restore.py", *words]) == 2
    error = capfd.readouterr().err
    assert f"{tmp_path / 'own'}: not a run directory" in error
    assert "Traceback" not in error


def test_changed_links_are_told(join, runs, tmp_path, capfd):
    shutil.copytree(runs / "srn", tmp_path / "own")
    folder = join(str(tmp_path / "own"))
    write_run(tmp_path / "own", small_srn(), seed=9)
    restore_tf.load_model(folder)
    assert "its weights changed since the chain was made" in capfd.readouterr().err


def test_unsharp_is_pillows_in_floats():
    """Pillow takes three box blurs, rounds each to 8 bits, and repeats its edges."""
    image = photo(60, 80)
    for radius, amount in ((1, 0.5), (2, 1.5), (3.5, 1.0)):
        pillow = Image.fromarray(image).filter(
            ImageFilter.UnsharpMask(radius, round(100 * amount), 0)
        )
        found = restore_tf.restore(step_network(f"unsharp:{radius}:{amount}:0"), image)
        difference = np.abs(found.astype(int) - np.asarray(pillow))
        assert difference.mean() < 1.3
        assert difference[15:-15, 15:-15].max() <= 4
        assert np.abs(found.astype(int) - image).mean() > 3  # it does sharpen


def test_unsharp_leaves_small_differences_alone():
    image = photo(60, 80, np.float32)
    blurred = np.stack(
        [gaussian_filter(image[..., c], 2, mode="nearest") for c in range(3)], axis=-1
    )
    difference = image - blurred
    expected = image + 1.5 * np.where(np.abs(difference) > 3 / 255, difference, 0)
    found = restore_tf.restore(step_network("unsharp:2:1.5:3"), image)
    sure = np.abs(np.abs(difference) - 3 / 255) > 1e-5
    np.testing.assert_allclose(found[sure], expected[sure], atol=1e-5)
    assert np.mean(found == image) > 0.05
    tiled = restore_tf.restore(step_network("unsharp:2:1.5:0"), image, tile=40)
    whole = restore_tf.restore(step_network("unsharp:2:1.5:0"), image)
    np.testing.assert_allclose(tiled, whole, atol=1e-6)


@pytest.mark.parametrize("eight_bit", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_one_saved_model_gives_the_chains_numbers(join, tmp_path, eight_bit):
    folder = join("srn", "enlarger", "unsharp:2:1.5:0")
    chain = restore_tf.load_model(folder, eight_bit=eight_bit)
    saved_model.write(chain, tmp_path / "saved" / "1")
    signatures = tf.saved_model.load(tmp_path / "saved" / "1").signatures
    image = photo(21, 35, np.float32)
    found = signatures["serving_default"](images=tf.constant(image[None]))["restored"].numpy()[0]
    difference = np.abs(found - restore_tf.restore(chain, image, whole=True))
    assert found.shape == (42, 70, 3)
    assert np.quantile(difference, 0.99 if eight_bit else 1) < 1e-5


@pytest.mark.slow
def test_exports_run_without_this_package(join, tmp_path):
    folder = join("sampler", "enlarger", "unsharp:2:1.5:3")
    entry = checked.export_saved_model(
        restore_tf.load_model(folder), tmp_path / "out", samples.load(count=1)
    )
    assert "continuous" in entry["differences"]["compared with"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(32, 38), None])
def test_tflite_files_pad_inside(join, runs, tmp_path, size):
    """The first link takes multiples of 16; 38 and any size are none."""
    recipe = experiments.load_recipe("unet", "quick")
    write_run(runs / "unet", dataclasses.replace(recipe, network={"width": 2}))
    folder, pictures = join("unet", "enlarger"), samples.Samples((photo(48, 48),), None, "here")
    (row,) = make.export(folder, {}, tmp_path, sizes=[size], kinds=["float32"], samples=pictures)
    assert row["reason"] is None
    model, image = restore_tf.load_model(folder), photo(*(size or (33, 45)), np.float32)
    found = restore_tf.restore(LiteModel(tmp_path / row["file"]), image)
    np.testing.assert_allclose(found, restore_tf.restore(model, image), atol=1e-5)


def test_the_restore_command_takes_a_chain(join, tmp_path, capfd):
    folder = join("srn", "enlarger", "unsharp:2:1.5:3")
    Image.fromarray(photo(30, 26)).save(tmp_path / "a.png")
    words = [str(tmp_path / "a.png"), f"--workdir={folder}", f"--output={tmp_path / 'b.png'}"]
    assert restore_command.main(["restore.py", *words, "--tile=160"]) == 0, capfd.readouterr().err
    with Image.open(tmp_path / "b.png") as picture:
        found = np.asarray(picture)
    model = restore_tf.load_model(folder)
    np.testing.assert_array_equal(found, restore_tf.restore(model, photo(30, 26)))
