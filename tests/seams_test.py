"""What a paper may decide, proven by papers that no shared code knows (tests/toys)."""

import keras
import numpy as np
import pytest
import skimage.color
import tensorflow as tf
from PIL import Image
from tiny_training import toys as toys

import restore_tf
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments import papers
from restore_tf.export import checked, fresh_process, samples, saved_model
from restore_tf.networks import noise

TOYS = ["enlarger", "onlyluma", "sampler"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, toys):
    """{toy: run directory with drawn weights}."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    for name in TOYS:
        recipe = experiments.load_recipe(name, "tiny")
        keras.utils.set_random_seed(3)
        model = experiments.build(recipe)
        experiments.write(folder / name, recipe, {})
        model.save_weights(folder / name / "best.weights.h5")
        made[name] = folder / name
    return made


def photo(height, width, dtype=np.float32):
    rows, columns = np.mgrid[:height, :width]
    waves = [0.5 + 0.4 * np.sin(rows / a + columns / b) for a, b in ((3, 5), (7, 4), (5, 9))]
    pixels = np.stack(waves, axis=-1).astype(np.float32)
    return pixels if dtype == np.float32 else np.rint(np.iinfo(dtype).max * pixels).astype(dtype)


def test_strangers_papers_are_found_by_their_entry_points():
    assert set(TOYS) <= set(papers.names())
    with pytest.raises(UserError, match=r"no such paper.* \(did you mean sampler\?\)"):
        papers.find("sampel")
    with pytest.raises(UserError, match="no published weights"):
        papers.converter("sampler")


@pytest.mark.parametrize("shape", [(5, 7, 3), (33, 21, 3), (9, 8), (9, 8, 1)])
def test_a_larger_picture_comes_out_whole(runs, shape):
    model = restore_tf.load_model(runs["enlarger"])
    image = photo(*shape[:2])[..., : (shape[2:] or (1,))[0]].reshape(shape)
    restored = restore_tf.restore(model, image)
    assert restored.shape == (2 * shape[0], 2 * shape[1], *shape[2:])
    if shape[2:] == (3,):
        expected = np.asarray(model(image[None])[-1])[0]
        np.testing.assert_allclose(restored, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.uint16])
def test_a_larger_picture_in_tiles_is_the_whole(runs, dtype):
    model = restore_tf.load_model(runs["enlarger"])
    image = photo(50, 37, dtype)
    whole = restore_tf.restore(model, image, whole=True)
    tiled = restore_tf.restore(model, image, tile=16)
    assert tiled.dtype == whole.dtype == dtype
    if dtype == np.float32:
        np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-6)
    else:  # float sums in another order may round a level otherwise
        assert np.abs(tiled.astype(int) - whole).max() <= 1
        assert np.mean(tiled != whole) < 0.001


def test_strength_mixes_a_larger_picture_with_bicubics(runs):
    model = restore_tf.load_model(runs["enlarger"])
    image = photo(12, 10)
    plane = Image.fromarray(image[..., 1]).resize((20, 24), Image.BICUBIC)
    np.testing.assert_allclose(
        restore_tf.restore(model, image, strength=0)[..., 1], np.asarray(plane), atol=1e-6
    )


def test_luminance_is_restored_and_chroma_stays(runs):
    model = restore_tf.load_model(runs["onlyluma"])
    image = photo(20, 14)
    restored = restore_tf.restore(model, image)
    # scikit-image's YCbCr has 16-235 for Y and 16-240 for the others, of the same matrix.
    before, after = skimage.color.rgb2ycbcr(image), skimage.color.rgb2ycbcr(restored)
    np.testing.assert_allclose(after[..., 1:], before[..., 1:], atol=1e-3)
    alone = np.asarray(model(((before[..., :1] - 16) / 219)[None].astype(np.float32))[-1])[0]
    np.testing.assert_allclose((after[..., :1] - 16) / 219, alone, atol=1e-5)
    gray = restore_tf.restore(model, image[..., 0])
    np.testing.assert_allclose(gray, np.asarray(model(image[None, ..., :1])[-1])[0, ..., 0])


def test_luminance_keeps_integers_and_alike_in_tiles(runs):
    model = restore_tf.load_model(runs["onlyluma"])
    image = photo(300, 40, np.uint8)
    whole = restore_tf.restore(model, image, whole=True)
    tiled = restore_tf.restore(model, image, tile=256)
    assert whole.dtype == np.uint8
    assert np.abs(whole.astype(int) - tiled).max() <= 1


@pytest.mark.parametrize("tile", [16, 32, 48])
def test_noise_has_no_seams_whatever_the_tiles(runs, tile):
    model = restore_tf.load_model(runs["sampler"])
    image = photo(50, 70)
    whole = restore_tf.restore(model, image, whole=True, seed=5)
    tiled = restore_tf.restore(model, image, tile=tile, seed=5)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5)
    other = restore_tf.restore(model, image, whole=True, seed=6)
    assert np.abs(other - whole).mean() > 0.05


def test_noise_does_not_depend_on_the_batch(runs):
    model = restore_tf.load_model(runs["sampler"])
    images = np.stack([photo(16, 24), photo(24, 16).transpose(1, 0, 2)])
    together = model.restore_padded(images, 7)
    alone = [model.restore_padded(image[None], 7)[0] for image in images]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-6)


def test_noise_is_normal_and_each_field_another():
    fields = [np.asarray(noise.normal((1, 256, 256, 3), tf.constant([[s, 0]]), None, d)).ravel()
              for s, d in ((0, 0), (0, 1), (1, 0))]  # fmt: skip
    count = fields[0].size
    for field in fields:
        # The standard errors of the first four moments, times sqrt n: 1, sqrt 2, sqrt 15, sqrt 96.
        moments = [np.mean(field**power) for power in (1, 2, 3, 4)]
        errors = np.abs(np.subtract(moments, [0, 1, 0, 3])) * np.sqrt(count)
        assert (errors < 5 * np.array([1, 2**0.5, 15**0.5, 96**0.5])).all()
    correlations = np.corrcoef([*fields, np.roll(fields[0], 3), np.roll(fields[0], 768)])
    np.testing.assert_allclose(correlations, np.eye(5), atol=5 / np.sqrt(count))


@pytest.mark.parametrize("name", TOYS)
def test_saved_models_give_keras_numbers(runs, name, tmp_path):
    """In process: both signatures against `restore`; a fresh process is export_test's business."""
    model = restore_tf.load_model(runs[name])
    saved_model.write(model, tmp_path / "1")
    signatures = tf.saved_model.load(tmp_path / "1").signatures
    batch = np.stack([photo(21, 35)[..., : model.channels]] * 2)
    found = signatures["serving_default"](images=tf.constant(batch))["restored"].numpy()
    expected = np.stack([restore_tf.restore(model, image, whole=True) for image in batch])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    pixels = photo(21, 35, np.uint8)
    file = tf.io.encode_png(pixels)
    answer = signatures["serving_bytes"](image_bytes=file[None])["restored_bytes"][0]
    expected = restore_tf.restore(model, pixels, whole=True).astype(int)
    assert np.abs(tf.io.decode_png(answer).numpy() - expected).max() <= 1


@pytest.mark.slow
def test_an_enlargers_saved_model_is_checked_and_written(runs, tmp_path):
    model = restore_tf.load_model(runs["enlarger"])
    entry = checked.export_saved_model(model, tmp_path, samples.load(count=1))
    assert entry["parameters"] == model.count_params()


def test_saved_models_run_without_the_papers_package():
    """`conformance_export_test` runs the toys' so."""
    assert "toy_papers" in fresh_process.packages()
