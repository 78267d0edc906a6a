"""The configurations of the synthetic set against OpenCV, Pillow and hand calculation."""

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from restore_tf.datasets import degradations, sources
from restore_tf.datasets.samples import Samples
from restore_tf.datasets.synthetic import CONFIGS, Synthetic
from restore_tf.errors import UserError


def picture(height=120, width=160, seed=0):
    """Smooth colours with some contrast, uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def opencv_blur(kind, pixels):
    if kind == "gaussian":
        return cv2.GaussianBlur(pixels, (0, 0), 3, borderType=cv2.BORDER_REPLICATE)
    if kind == "box":
        return cv2.blur(pixels, (7, 7), borderType=cv2.BORDER_REPLICATE)
    kernel = np.zeros((15, 15), np.float32)
    kernel[7] = 1 / 15
    return cv2.filter2D(pixels, -1, kernel)  # borders reflected (101) by default


def opencv_jpeg(pixels, quality):
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize(
    ("kind", "most", "mean"),  # Pillow's Gaussian is three box passes
    [("gaussian", 8, 1.5), ("box", 1, 0.5), ("motion", 0, 0)],
)
def test_blurs_are_opencvs(kind, most, mean):
    blur = getattr(degradations, f"{kind}_blur")
    difference = np.abs(blur(picture()).astype(int) - opencv_blur(kind, picture()))
    assert difference.max() <= most
    assert difference.mean() <= mean


@pytest.mark.parametrize("quality", [75, 95])
def test_jpeg_damage_is_opencvs(quality):
    found = degradations.jpeg(picture(), quality)
    assert np.any(found != picture())
    np.testing.assert_array_equal(found, opencv_jpeg(picture(), quality))


@pytest.mark.parametrize(("kind", "quality"), [("gaussian", 75), ("box", 75), ("motion", 95)])
def test_a_pair_is_blurred_whole_and_stored_as_jpeg(kind, quality):
    degraded, sharp = Synthetic(kind, "validation")[0]
    assert degraded.shape == sharp.shape == (256, 256, 3)
    expected = opencv_jpeg(opencv_blur(kind, sharp), quality)
    difference = np.abs(degraded.astype(int) - expected)
    assert difference.mean() < {"gaussian": 2, "box": 1, "motion": 0.01}[kind]
    assert peak_signal_noise_ratio(sharp, degraded) < 30


@pytest.mark.parametrize("kind", ["gaussian", "box", "motion"])
def test_gray_twins_show_opencvs_gray_of_the_same_pictures(kind):
    degraded, sharp = Synthetic(f"{kind}_gray", "validation")[0]
    for pixels in (degraded, sharp):
        assert (pixels == pixels[..., :1]).all()
    colour = Synthetic(kind, "validation")[0]
    luma = cv2.cvtColor(colour[1], cv2.COLOR_RGB2GRAY)
    assert np.abs(sharp[..., 0].astype(int) - luma).max() <= 1
    # What one-channel networks train on without the twin: luma of the colour pair.
    luma = colour[0] @ [0.299, 0.587, 0.114]
    assert np.abs(degraded[..., 0] - luma).mean() < 1  # clipped colours differ more


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrinking_is_pillows_antialiased_bicubic_inside(scale):
    pixels = np.random.default_rng(scale).integers(0, 256, (30 * scale, 20 * scale, 3), np.uint8)
    planes = [
        np.asarray(Image.fromarray(plane).resize((20, 30), Image.Resampling.BICUBIC))
        for plane in np.moveaxis(pixels.astype(np.float32), -1, 0)
    ]
    expected = np.clip(np.stack(planes, -1), 0, 255)
    found = degradations.bicubic_shrink(pixels, scale)
    np.testing.assert_allclose(found[2:-2, 2:-2], expected[2:-2, 2:-2], atol=0.501)


def test_shrinking_by_hand():
    # Keys' cubic with a = -0.5 at 0.25, 0.75, 1.25, 1.75 pixels, halved: 111, 29, -9, -3 of 256.
    # One bright column, six pixels from the border.
    pixels = np.zeros((16, 24, 1), np.uint8)
    pixels[:, 6] = 200
    row = degradations.bicubic_shrink(pixels, 2)[4, :, 0]
    expected = [0, 0, 200 * 29 / 256, 200 * 111 / 256, 0, 0]  # -9 and -3 parts are clipped
    np.testing.assert_allclose(row[:6], expected, atol=0.5)
    # Beyond the border lies the mirror image, the outermost pixel twice: 111 + 29 of the first.
    pixels = np.zeros((16, 24, 1), np.uint8)
    pixels[:, 0] = 200
    row = degradations.bicubic_shrink(pixels, 2)[4, :, 0]
    np.testing.assert_allclose(row[:2], [200 * (111 + 29) / 256, 0], atol=0.5)


@pytest.mark.parametrize(
    ("scale", "train", "held_out"),
    [(2, (96, 192), (128, 256)), (3, (96, 288), (85, 255)), (4, (96, 384), (64, 256))],
)
def test_pairs_of_two_sizes(scale, train, held_out):
    for split, sides in (("train", train), ("validation", held_out)):
        source = sources.open_source("synthetic", f"bicubic{scale}", split, output_scale=scale)
        degraded, sharp = source.read(1)
        assert (degraded.shape[0], sharp.shape[1]) == sides
        assert source.sizes[1] == degraded.shape[:2]
    samples = Samples(source, crop=16, seed=0, output_scale=scale)
    degraded, sharp, _ = samples(0)
    assert (len(degraded), len(sharp)) == (16, 16 * scale)


@pytest.mark.parametrize(
    ("config", "scale", "message"),
    [
        ("bicubic2", 1, "bicubic2: its sharp pictures are 2 times .* makes them 1 .* as shake"),
        ("bicubic2", 4, "bicubic2: its sharp pictures are 2 times .* as bicubic4"),
        (None, 2, "shake: its sharp pictures are 1 times .* as bicubic2"),
    ],
)
def test_the_networks_scale_has_to_be_the_configs(config, scale, message):
    with pytest.raises(UserError, match=message):
        sources.open_source("synthetic", config, "train", output_scale=scale)


def test_a_size_that_does_not_divide_is_refused():
    with pytest.raises(UserError, match="bicubic3 takes multiples of 3"):
        Synthetic("bicubic3", size=(32, 30))


# Noise.


@pytest.mark.parametrize("sigma", [15, 25, 50])
def test_held_out_noise_is_stored_in_8_bits(sigma):
    pairs = Synthetic(f"noise{sigma}", "validation", count=9)
    errors = []
    for degraded, sharp in pairs:
        inside = (sharp > 120) & (sharp < 136)  # hardly clipped: 120 is 2.4 times 50
        errors.append((degraded.astype(float) - sharp)[inside])
    errors = np.concatenate(errors)
    assert len(errors) > 10_000
    assert abs(errors.std() / sigma - 1) < 0.03
    assert abs(errors.mean()) < 0.03 * sigma


def errors_of_samples(config, channels, count=24, crop=64):
    source = sources.open_source("synthetic", config, "train")
    samples = Samples(source, crop=crop, seed=5, channels=channels)
    pairs = [samples(number)[:2] for number in range(count)]
    return [degraded - sharp for degraded, sharp in pairs], pairs


@pytest.mark.parametrize(("config", "channels"), [("noise25", 3), ("noise25", 1)])
def test_training_noise_is_neither_clipped_nor_weakened_by_gray(config, channels):
    errors, pairs = errors_of_samples(config, channels)
    for error in errors:  # standard errors: below 1 % and 0.4 levels; five of them
        assert abs(error.std() * 255 / 25 - 1) < 0.06
        assert abs(error.mean() * 255) < 2
    assert min(degraded.min() for degraded, _ in pairs) < 0
    sharp = pairs[0][1]
    if channels == 3:  # untouched
        np.testing.assert_allclose(255 * sharp, np.rint(255 * sharp), atol=1e-4)


def test_noise_of_gray_pictures_is_gray():
    errors, _ = errors_of_samples("noise25_gray", 3, count=2)
    np.testing.assert_allclose(errors[0][..., 0], errors[0][..., 2], atol=1e-6)
    degraded, _ = Synthetic("noise25_gray", "validation")[0]
    assert (degraded == degraded[..., :1]).all()


def test_blind_noise_has_every_sigma():
    errors, _ = errors_of_samples("noise_blind", 3, count=60, crop=32)
    sigmas = np.array([error.std() * 255 for error in errors])
    assert sigmas.min() < 8
    assert 47 < sigmas.max() < 58
    assert abs(sigmas.mean() - 27.5) < 10  # 55 / sqrt(12 * 60) = 2.05; five of them


def test_noise_is_new_for_every_sample_and_the_same_for_every_run():
    source = sources.open_source("synthetic", "noise25", "train")
    first, second = (Samples(source, crop=32, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first(7)[0], second(7)[0])
    # The same pair an epoch later.
    later = next(n for n in range(480, 960) if source.pair_of(n, 5) == source.pair_of(7, 5))
    assert (
        abs(
            np.corrcoef(
                (first(7)[0] - first(7)[1]).ravel(), (first(later)[0] - first(later)[1]).ravel()
            )[0, 1]
        )
        < 0.1
    )
    other = Samples(source, crop=32, seed=6)
    assert np.any(other(7)[0] != first(7)[0])


def test_a_cached_source_adds_the_same_noise():
    plain = sources.open_source("synthetic", "noise25", "validation")
    cached = sources.cached(sources.open_source("synthetic", "noise25", "validation"))
    for number in range(3):
        np.testing.assert_array_equal(
            Samples(plain, crop=32, seed=1)(number)[0], Samples(cached, crop=32, seed=1)(number)[0]
        )


@pytest.mark.parametrize("config", [config for config in CONFIGS if config != "photo"])
def test_every_config_makes_pictures(config):
    side = 48  # of which 2, 3 and 4 are divisors
    for degraded, sharp in Synthetic(config, "train", count=2, size=(side, side)):
        assert degraded.dtype == sharp.dtype == np.uint8
        assert sharp.shape == (side, side, 3)
        assert len(degraded) * Synthetic(config).scale == side
        assert degraded.shape != sharp.shape or np.any(degraded != sharp)


# A folder of sharp photos.


@pytest.fixture
def photos(tmp_path):
    for index in range(20):
        folder = tmp_path / "photos" / f"trip{index % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(320, 400, index)).save(folder / f"{index}.png")
    return tmp_path / "photos"


def test_a_folder_of_photos_takes_the_place_of_the_embedded_ones(photos):
    shown = {}
    for split in ("train", "validation", "test"):
        data = Synthetic("motion", split, folder=photos)
        shown[split] = {name.rpartition("-")[0] for name in data.names}
        assert data.names == Synthetic("motion", split, folder=photos).names
        np.testing.assert_array_equal(data[3][0], data[3][0])
    assert len(shown["validation"]) == len(shown["test"]) == 2
    assert len(shown["train"] - {"leaves"}) == 16
    assert shown["train"].isdisjoint(shown["validation"] | shown["test"])
    assert shown["validation"].isdisjoint(shown["test"])
    leaves = [name.startswith("leaves") for name in Synthetic(folder=photos).names]
    assert np.mean(leaves) == pytest.approx(0.2)


def test_another_photo_moves_no_more_than_its_share(photos):
    before = {name.rpartition("-")[0] for name in Synthetic(split="test", folder=photos).names}
    (photos / "trip1" / "19.png").rename(photos / "trip1" / "another.png")
    after = {name.rpartition("-")[0] for name in Synthetic(split="test", folder=photos).names}
    assert before & after


def test_a_views_pixels_are_its_photos(photos):
    """At full scale a view is cut out of the photo as it is."""
    data = Synthetic("motion", "validation", size=(64, 64), count=20, folder=photos)
    found = 0
    for name, (_, sharp) in zip(data.names, data, strict=True):
        whole = np.asarray(Image.open(photos / f"{name.rpartition('-')[0]}.png"))
        scores = cv2.matchTemplate(whole, sharp, cv2.TM_SQDIFF)
        found += scores.min() < 1000
    assert 2 <= found < 20  # a third of the views; the others are shrunk


@pytest.mark.parametrize(
    ("count", "side", "message"),
    [(2, 100, "holds 2 photos; expected at least 3"), (3, 40, "is 40x40 pixels; .* at least 64")],
)
def test_a_folder_that_does_not_serve_is_refused(tmp_path, count, side, message):
    for index in range(count):
        Image.new("RGB", (side, side)).save(tmp_path / f"{index}.png")
    with pytest.raises(UserError, match=message):
        sources.open_source("synthetic", "shake", "train", data_dir=tmp_path)
    with pytest.raises(UserError, match="no such folder; expected a folder of sharp photos"):
        sources.open_source("synthetic", "shake", "train", data_dir=tmp_path / "none")
