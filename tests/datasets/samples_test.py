"""One function makes sample n for every backend: what it draws, and what it refuses."""

import numpy as np
import pytest

from restore_tf.datasets.augmentation import flip_rotate, saturation
from restore_tf.datasets.samples import Samples, pair_index
from restore_tf.datasets.sources import MemorySource, open_source
from restore_tf.errors import UserError


def source(count=5, height=24, width=32):
    """Colours say which picture and which pixel they are; sharp = 255 - degraded."""
    rows, columns = np.mgrid[:height, :width]
    pictures = [
        np.stack([np.full_like(rows, index), rows, columns], axis=-1).astype(np.uint8)
        for index in range(count)
    ]
    return MemorySource([f"p{i}" for i in range(count)], [(p, 255 - p) for p in pictures])


def samples(**changes):
    return Samples(**{"source": source(), "crop": 8, "seed": 4} | changes)


# Written down from the first version of these numbers: the samples of a run must never change.
# Of samples 0 to 11: pair; row and column of the first pixel; those of its right neighbour.
GOLDEN = [
    (2, 7, 24, 7, 25),
    (4, 16, 14, 16, 13),
    (0, 15, 30, 15, 29),
    (1, 15, 28, 15, 27),
    (3, 1, 14, 1, 15),
    (4, 8, 26, 9, 26),
    (3, 2, 14, 2, 13),
    (1, 16, 11, 17, 11),
    (2, 8, 19, 9, 19),
    (0, 13, 13, 13, 14),
    (0, 14, 1, 14, 2),
    (3, 5, 18, 5, 19),
]


@pytest.mark.parametrize("number", range(len(GOLDEN)))
def test_pair_crop_and_turn_of_a_sample_are_what_they_were(number):
    degraded, sharp, _ = samples(augment=("flip_rotate",))(number)
    levels = np.rint(255 * degraded).astype(int)
    assert (*levels[0, 0], *levels[0, 1, 1:]) == GOLDEN[number]
    np.testing.assert_allclose(degraded + sharp, 1, atol=1e-6)


# The first pixel of samples 3 to 6, saturation included.
GOLDEN_COLOURS = [
    (0.00865555, 0.05769027, 0.10322252),
    (0.01176471, 0.00392157, 0.05490196),
    (0.01393726, 0.03106436, 0.10813628),
    (0.01176471, 0.00784314, 0.05490196),
]
GOLDEN_GRAYS = (0.0482187, 0.01207726, 0.03472817, 0.01437922)


def test_colours_of_a_sample_are_what_they_were():
    both = ("flip_rotate", "saturation")
    for number, colour, gray in zip(range(3, 7), GOLDEN_COLOURS, GOLDEN_GRAYS, strict=True):
        pixels, _, _ = samples(augment=both)(number)
        np.testing.assert_allclose(pixels[0, 0], colour, rtol=1e-5)
        pixels, _, _ = samples(augment=both, channels=1)(number)
        assert pixels.shape == (8, 8, 1)
        np.testing.assert_allclose(pixels[0, 0], [gray], rtol=1e-5)


def test_pictures_in_any_order_of_memory_make_the_same_samples():
    planes = [
        tuple(p.transpose(2, 0, 1).copy().transpose(1, 2, 0) for p in source().read(index))
        for index in range(5)
    ]
    expected = samples(augment=("flip_rotate",))
    found = samples(source=MemorySource(list("abcde"), planes), augment=("flip_rotate",))
    for number in range(8):
        np.testing.assert_array_equal(found(number)[0], expected(number)[0])


def test_embedded_pictures_can_be_turned():
    embedded = open_source("synthetic", "defocus", "train")
    degraded, sharp, _ = samples(source=embedded, crop=64, augment=("flip_rotate",))(0)
    assert degraded.shape == sharp.shape == (64, 64, 3)


def test_gray_is_luma():
    # ITU-R BT.601, as TensorFlow 1's rgb_to_grayscale had it for the published models.
    colour, gray = samples()(0)[0], samples(channels=1)(0)[0]
    np.testing.assert_allclose(gray[..., 0], colour @ [0.2989, 0.5870, 0.1140], atol=1e-6)


def test_crops_reach_every_border():
    made = samples(source=source(1, 9, 10))
    corners = {tuple(np.rint(255 * made(n)[0][0, 0, 1:]).astype(int)) for n in range(200)}
    assert corners == {(top, left) for top in range(2) for left in range(3)}


def test_every_epoch_shows_every_pair_once_in_an_order_of_its_own():
    order = [pair_index(number, 7, 3) for number in range(21)]
    epochs = [order[start : start + 7] for start in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize(("seed", "number"), [(0, 0), (3, 2**31 - 1), (2**31, 5), (2**32 + 1, 6)])
def test_seeds_are_the_seed_and_the_number(seed, number):
    found = samples(seed=seed)(number)[2]
    assert (found.dtype, found.shape) == (np.int32, (2,))
    assert (found.astype(np.int64) % 2**32).tolist() == [seed % 2**32, number]


def test_flip_rotate_draws_the_papers_probabilities():
    square = np.arange(4, dtype=np.float32).reshape(2, 2, 1)
    random = np.random.default_rng(7)
    counts = {}
    for _ in range(1800):
        first, second = flip_rotate([square, -square], random)
        np.testing.assert_array_equal(first, -second)
        key = tuple(first.ravel())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 8
    identity = counts.pop((0, 1, 2, 3))
    # Binomial standard deviations: 17.6 around 400 and 13.3 around 200; five of them.
    assert abs(identity - 400) < 90
    assert all(abs(count - 200) < 67 for count in counts.values())


def test_saturation_by_hand():
    picture = np.full((1, 1, 3), (0.8, 0.4, 0.2), np.float32)
    gray = 0.2989 * 0.8 + 0.5870 * 0.4 + 0.1140 * 0.2
    random = np.random.default_rng(1)
    changed, factors = 0, []
    for _ in range(300):
        first, second = saturation([picture, picture], random)
        np.testing.assert_array_equal(first, second)
        factor = (first[0, 0] - gray) / (np.array([0.8, 0.4, 0.2]) - gray)
        np.testing.assert_allclose(factor, factor[0], atol=1e-3)
        changed += abs(factor[0] - 1) > 1e-3
        factors.append(factor[0])
    assert 60 < changed < 140  # a third of 300, within five standard deviations
    assert 0.8 - 1e-3 <= min(factors) < 0.85
    assert 1.15 < max(factors) <= 1.2 + 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": 64}, "p0: is 32x24 pixels, smaller than .* 64; .* or choose a smaller crop"),
        ({"crop": 64, "size_multiple": 1}, "leave it out or pass --set crop=24"),
        ({"crop": 64, "size_multiple": 16}, "pass --set crop=16"),
        ({"crop": 64, "size_multiple": 32}, "leave it out: 32 pixels are the least that the netw"),
        (
            {"crop": 18, "size_multiple": 16},
            "crop 18: expected a multiple of 16 for .*crop=16",
        ),
        ({"crop": 0}, r"crop 0: expected 1 or more\.$"),
        ({"crop": -16, "size_multiple": 16}, "crop -16: .* pass --set crop=16"),
        ({"augment": ("mixup",)}, "augment mixup: there are flip_rotate, saturation"),
        ({"source": MemorySource([], [])}, "no training pairs"),
        ({"output_scale": 2}, "1 times as large as the degraded ones, but the network .* 2 times"),
        ({"seed": -1}, "seed -1: expected 0 or more"),
    ],
)
def test_what_cannot_be_trained_on_is_said_first(changes, message):
    with pytest.raises(UserError, match=message):
        samples(**changes)


def test_the_crop_that_an_error_advises_fits_every_pair():
    pictures = [np.zeros((side, 50, 3), np.uint8) for side in (40, 20, 36)]
    small = MemorySource(["a", "b", "c"], [(p, p) for p in pictures])
    with pytest.raises(UserError, match="b: is 50x20 pixels, .* pass --set crop=16"):
        samples(source=small, crop=48, size_multiple=16)
    assert samples(source=small, crop=16, size_multiple=16)(0)[0].shape == (16, 16, 3)


def test_a_pair_whose_size_is_known_late_is_named():
    late = source()
    late.sizes = None
    late.read_crop = lambda index, place, crop: place((24, 32))
    with pytest.raises(UserError, match=r"p\d: is 32x24 pixels, smaller than .* crop of 64"):
        samples(source=late, crop=64)(0)
