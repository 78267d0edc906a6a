"""A photo restored without a run, a download or a training: the weights that come with the package.

Quality is tested here, not only plumbing: these are real weights on real pictures.
"""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data

import restore_tf
from restore_tf.commands import cli, train, training_plan
from restore_tf.commands import restore as restore_command
from restore_tf.evaluation import metrics
from restore_tf.weights import published


def shaken(sharp, length=9):
    """Blurred by a straight shake along a diagonal, in linear light, as a camera does it."""
    kernel = np.eye(length)[..., None] / length
    light = (sharp / 255.0) ** 2.2
    blurred = ndimage.convolve(light, kernel, mode="nearest")
    return np.rint(255 * blurred ** (1 / 2.2)).astype(np.uint8)


def test_photos_are_restored_without_anything_but_a_clone(tmp_path, capsys):
    """A shaken photo comes out sharper and a sharp one is left alone, by restore.py's own words."""
    photo = data.coffee()[100:356, 150:406]
    (tmp_path / "photos").mkdir()
    Image.fromarray(shaken(photo)).save(tmp_path / "photos" / "shaken.jpg", quality=95)
    Image.fromarray(photo).save(tmp_path / "photos" / "sharp.png")
    words = ["restore.py", str(tmp_path / "photos"), f"--output={tmp_path / 'restored'}"]
    assert restore_command.main(words) == 0
    said = capsys.readouterr().err
    assert "weights: maxim_deblurring_stage1" in said
    assert "maxim_deblurring restores more and takes longer" in said
    scores = {
        name: metrics.psnr(photo, np.asarray(Image.open(tmp_path / "restored" / name)))
        for name in ("shaken.jpg", "sharp.png")
    }
    # Measured: 22.4 -> 25.3 dB, and 37.0 dB from the sharp photo.
    assert scores["shaken.jpg"] > metrics.psnr(photo, shaken(photo)) + 2
    assert scores["sharp.png"] > 35


def test_tiles_of_the_training_size_are_what_it_is_run_in():
    model = restore_tf.load_model()
    assert (model.blended_tile.side, model.blended_tile.overlap) == (256, 64)
    sizes = []
    original = model.restore_padded
    model.restore_padded = lambda images, *rest: sizes.append(images.shape[1:3]) or images
    try:
        restore_tf.restore(model, np.zeros((720, 1280, 3), np.uint8))
    finally:
        model.restore_padded = original
    # 4 rows of 7 are the fewest that share 64 pixels; tiles at multiples of 64 would be 5 of 9.
    assert sizes == 28 * [(256, 256)]


def border_steps(tiled, whole, borders):
    """Mean step of their difference between neighbouring columns: across borders / elsewhere."""
    steps = np.abs(np.diff(tiled - whole, axis=1)).mean(axis=(0, 2))
    across = np.isin(np.arange(1, len(steps) + 1), borders)
    return steps[across].mean() / steps[~across].mean()


@pytest.mark.slow
def test_tiles_show_no_seams():
    """Beside each other and not blended they do, so the measure would see them."""
    model, borders = restore_tf.load_model(), []
    degraded = shaken(data.coffee()[100:228, 150:406]) / np.float32(255)
    original = model.restore_padded

    def watched(images, seed, origins):
        borders.extend([origins[0, 1], origins[0, 1] + images.shape[2]])
        return original(images, seed, origins)

    model.restore_padded = watched
    try:
        blended = restore_tf.restore(model, degraded, tile=128)
    finally:
        model.restore_padded = original
    whole = restore_tf.restore(model, degraded, whole=True)
    assert len(borders) == 6  # three tiles, each with a left and a right border
    inner = [border for border in borders if 0 < border < 256]
    assert border_steps(blended, whole, inner) < 1.2  # measured: 0.68
    halves = [restore_tf.restore(model, half, whole=True) for half in np.split(degraded, 2, axis=1)]
    assert border_steps(np.concatenate(halves, axis=1), whole, [128]) > 3  # measured: 6.6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weights=maxim_deblurrin"], "did you mean maxim_deblurring"),
        (["--weights=maxim_denoising"], "not fetched yet; restore-tf weights fetch"),
        (["--weights=maxim_denoising", "--workdir=x"], "choose one"),
        (["--set=batch=4"], "expected network.OPTION=VALUE"),
        (["--set=network.stages=2"], "weights of another network"),
        (["--set=network.depth=2"], "depth"),
    ],
)
def test_wrong_words_are_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setenv(published.HOME, str(tmp_path))
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    arguments = ["restore-tf", "restore", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png")]
    assert cli.main([*arguments, *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "b.png").exists()


def test_fine_tuning_takes_published_weights_by_name():
    """What train.py would do; a step of such a network takes minutes, and its gradient to trace."""
    values = train.define_flags()
    values(["train.py", "--model=maxim", "--init_from=maxim_deblurring_stage1"])
    experiment, run = training_plan.experiment_of(values)
    assert experiment.network == {"features": 32, "num_stages": 3, "stages": 1}
    assert (experiment.recipe, run.init_from) == ("quick", "maxim_deblurring_stage1")
    assert train.make_options(values).init_from == str(published.default().shipped)
    assert "npm" in training_plan.provenance(published.default().shipped)["converted"]["terms"]
