"""Exact tiles of SRN, blended tiles of MPRNet, and what fits into memory."""

import re

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf

from mprnet_tf.model import MPRNet
from restore_tf.errors import UserError
from restore_tf.inference import blended_tiles, exact_tiles, restore
from restore_tf.inference import memory as planning
from restore_tf.networks.reach import Reach, reach, spans
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import BlendedTile
from srn_tf import tiles
from srn_tf.model import SRN, VARIANTS


def srn(variant="srn", **changes):
    keras.utils.set_random_seed(1)
    model = SRN(**{**VARIANTS[variant], "width": 4, "res_blocks": 1, **changes})
    model.build()
    return model


def noise(*shape, dtype=np.float32):
    pixels = np.random.default_rng(0).random(shape).astype(np.float32)
    return pixels if dtype == np.float32 else (255 * pixels).astype(dtype)


def test_the_papers_reach_is_188_pixels():
    assert reach(SRN().scale_path()) == Reach(188, 4)
    assert reach(SRN(recurrent=False).scale_path()) == Reach(184, 4)


@pytest.mark.parametrize("recurrent", [True, False])
def test_the_reach_is_as_far_as_a_pixel_is_felt(recurrent):
    model = srn(res_blocks=1, recurrent=recurrent)
    for variable in model.trainable_variables:  # all positive: nothing cancels, no ReLU is shut
        variable.assign(np.full(variable.shape, 0.002))
    radius = reach(model.scale_path()).radius
    side = (2 * radius + 40) // 4 * 4
    image = tf.constant(noise(1, side, side, 3))
    felt = set()
    for place in range(side // 2, side // 2 + 4):  # strides make neighbours see differently
        with tf.GradientTape() as tape:
            tape.watch(image)
            output = tf.reduce_sum(model.restore_scale(image, image)[0][0, place, place])
        gradient = tape.gradient(output, image).numpy()
        felt |= set((np.flatnonzero(gradient.any(axis=(0, 2, 3))) - place).tolist())
    assert max(map(abs, felt)) <= radius
    assert max(map(abs, felt)) >= radius - 3

    far = image.numpy()
    far[0, side // 2 - radius - 1] += 100.0  # a row just beyond the reach
    whole, unfelt = (model.restore_scale(x, x)[0].numpy()[0, side // 2] for x in (image, far))
    np.testing.assert_array_equal(unfelt, whole)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(176, 240), (208, 144)])
def test_tiles_equal_the_whole_picture(variant, size):
    model = srn(variant, res_blocks=0)
    batch = noise(1, *size, model.channels)
    margin = reach(model.scale_path()).radius
    tile = 2 * margin + 24
    assert tile < min(size)
    whole = model.restore_padded(batch)
    tiled = exact_tiles.restore_exact(model, batch, tile)
    # The same kernels on other shapes may add in another order.
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6 * np.ptp(whole))


@pytest.mark.parametrize(("stride", "gate"), [(1, True), (2, True), (4, False)])
def test_tiles_equal_the_whole_picture_where_features_are_smaller_or_gate(stride, gate):
    model = srn(scales=2, res_blocks=0, stride=stride, gate=gate, global_skip=gate)
    if gate:  # which begins the same everywhere
        random = np.random.default_rng(2)
        for variable in model.trainable_variables:
            variable.assign(random.normal(0, 0.1, variable.shape))
    see = reach(model.scale_path())
    assert see.alignment == 4 * stride
    tile = 2 * see.margin + see.alignment
    side = -(-(tile + 40) // model.size_multiple) * model.size_multiple
    batch = noise(1, side, side + model.size_multiple, 3)
    whole = model.restore_padded(batch)
    tiled = exact_tiles.restore_exact(model, batch, tile)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6 * np.ptp(whole))


@pytest.mark.parametrize("variant", ["srn", "srn_gray"])
def test_odd_sizes_in_tiles(variant):
    model = srn(variant, res_blocks=0)
    image = noise(171, 229, 3)
    margin = reach(model.scale_path()).radius
    whole = restore.restore(model, image, memory=2**50)
    tiled = restore.restore(model, image, tile=2 * margin + 24)
    assert tiled.shape == image.shape
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6 * np.ptp(whole))


def test_a_margin_too_small_is_seen(monkeypatch):
    """The test above can fail: with half the margin the numbers differ."""
    model = srn(res_blocks=0)
    batch = noise(1, 176, 240, 3)
    see = reach(model.scale_path())
    shorter = Reach(see.radius // 4, see.alignment)
    monkeypatch.setattr(tiles, "reach", lambda path: shorter)
    whole = model.restore_padded(batch)
    tiled = exact_tiles.restore_exact(model, batch, 2 * see.radius + 24)
    assert np.abs(tiled - whole).max() > 10 * 2e-6 * np.ptp(whole)


def test_integers_are_restored_to_the_same_level():
    model = srn(res_blocks=0, global_skip=True)
    batch = noise(1, 144, 176, 3, dtype=np.uint8)
    whole = restore.restore(model, batch[0])
    tiled = exact_tiles.restore_exact(model, batch, 136)[0]
    assert tiled.dtype == np.uint8
    assert np.abs(tiled.astype(int) - whole).max() <= 1
    assert np.mean(tiled != whole) < 0.001


def test_tiles_that_see_nothing_but_surroundings_are_refused():
    with pytest.raises(UserError, match="sees 188 pixels around each; expected at least 380"):
        exact_tiles.restore_exact(SRN(), noise(1, 400, 400, 3), 376)


@pytest.mark.parametrize(("size", "tile", "margin"), [(100, 100, 8), (100, 40, 8), (96, 40, 16)])
def test_spans_cover_an_axis_once(size, tile, margin):
    found = spans(size, tile, margin)
    assert [x for span in found for x in range(span.begin, span.end)] == list(range(size))
    for span in found:
        assert span.outer_end - span.outer_begin <= tile
        assert span.outer_begin == max(0, span.begin - margin)
        assert span.outer_end == size or span.outer_end >= span.end + margin


class Local(Restorer):
    """Adds to each pixel nothing but itself: tiles cannot change it."""

    size_multiple = 4
    bytes_per_pixel = 100.0
    blended_tile = BlendedTile(smallest=32)

    def call(self, images, training=False):
        self.check_size(images)
        return [images * 0.5]


@pytest.mark.parametrize("size", [(64, 64), (100, 68), (40, 200)])
def test_blending_does_not_change_what_tiles_agree_on(size):
    batch = noise(2, *size, 3)
    restored, difference = blended_tiles.restore_blended(Local(), batch, (32, 32), (8, 8))
    np.testing.assert_allclose(restored, batch / 2, atol=1e-6)
    assert difference < 1e-6


def test_tiles_begin_at_multiples_of_the_networks_step(monkeypatch):
    """Not of its size multiple, where it asks for less: 6 tiles here in place of 7."""
    origins = []

    def restore_padded(model, images, seed, places):
        origins.append(tuple(places[0]))
        return images * 0.5

    monkeypatch.setattr(Local, "restore_padded", restore_padded)
    monkeypatch.setattr(Local, "size_multiple", 32)
    image = noise(128, 512, 3)
    for step, count in ((8, 6), (None, 7)):
        cut = BlendedTile(side=128, overlap=32, smallest=32, step=step)
        monkeypatch.setattr(Local, "blended_tile", cut)
        restored = restore.restore(Local(), image)
        np.testing.assert_allclose(restored, image / 2, atol=1e-6)
        assert len(origins) == len(set(origins)) == count
        assert all(place % (step or 32) == 0 for origin in origins for place in origin)
        origins.clear()


def test_no_tile_is_restored_twice():
    """Starts that the step brings together are one tile."""
    model, places = Local(), []
    model.size_multiple = 32
    model.restore_padded = lambda images, seed, origins: places.append(tuple(origins[0])) or images
    blended_tiles.restore_blended(model, noise(1, 192, 192, 3), (64, 64), (16, 16))
    assert len(places) == len(set(places)) == 25


@pytest.mark.slow
def test_blended_tiles_come_close_where_pooling_is_representative():
    keras.utils.set_random_seed(0)
    model = MPRNet(n_feat=8, scale_unetfeats=4, scale_orsnetfeats=4, num_cab=1, reduction=1)
    smooth = tf.image.resize(noise(1, 12, 16, 3), (192, 256), "bicubic").numpy()
    whole = model.restore_padded(smooth)
    errors = []
    for tile in (64, 160):
        tiled, _ = blended_tiles.restore_blended(model, smooth, (tile, tile), (32, 32))
        errors.append(np.abs(tiled - whole).mean())
    assert errors[1] < errors[0] < 0.1 * np.ptp(whole)


def test_little_memory_means_tiles(monkeypatch, caplog):
    image = noise(100, 132, 3, dtype=np.uint8)
    monkeypatch.setattr(planning, "memory_limit", lambda memory: memory)
    restored = restore.restore(Local(), image, memory=700_000)
    assert np.abs(restored - image / 2).max() <= 0.5
    assert "they differ by 0.00 of 255 levels" in caplog.text
    caplog.clear()
    restore.restore(Local(), image, memory=10**9)
    assert caplog.text == ""


def test_tiles_that_were_asked_for_are_named_as_such(caplog):
    restore.restore(Local(), noise(100, 132, 3), tile=64)
    assert "is restored in tiles of 64 pixels (--tile)" in caplog.text
    assert "fit into memory" not in caplog.text


def test_tiles_that_exceed_the_memory_given_are_an_error(monkeypatch):
    monkeypatch.setattr(planning, "memory_limit", lambda memory: memory)
    image = noise(100, 132, 3)
    needed = 64 * 64 * Local.bytes_per_pixel
    with pytest.raises(UserError, match="tiles of 64 pixels: local needs [0-9.]+ GB in all"):
        restore.restore(Local(name="local"), image, tile=64, memory=int(needed))
    assert restore.restore(Local(), image, tile=64, memory=10**9).shape == image.shape


def test_too_little_memory_is_an_error(monkeypatch):
    monkeypatch.setattr(planning, "memory_limit", lambda memory: memory)
    with pytest.raises(
        UserError, match="132x100 pixels do not fit into memory; local needs [0-9.]+ GB in all"
    ):
        restore.restore(Local(name="local"), noise(100, 132, 3), memory=1000)


def test_a_limit_leaves_room_for_what_the_process_takes_beside():
    """Measured with a light SRN: 310 MB more than planned, for 6 and for 12 megapixels."""
    held = psutil.Process().memory_info().rss
    assert planning.memory_limit(held + 2 * 10**9) < 1.7 * 10**9


def test_what_the_error_asks_for_is_enough(caplog):
    image = noise(100, 132, 3)
    with pytest.raises(UserError) as caught:
        restore.restore(Local(), image, memory=1000)
    needed = float(re.search("needs ([0-9.]+) GB in all", str(caught.value))[1])
    assert restore.restore(Local(), image, memory=int(needed * 1e9)).shape == image.shape


def test_running_out_of_memory_tries_smaller_tiles(monkeypatch, caplog):
    sizes = []
    monkeypatch.setattr(planning, "memory_limit", lambda memory: 10**9)

    def restore_padded(model, images, seed, origins=None):
        sizes.append(max(images.shape[1:3]))
        if sizes[-1] > 64:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory")
        return images * 0.5

    monkeypatch.setattr(Local, "restore_padded", restore_padded)
    image = noise(120, 132, 3)
    restored = restore.restore(Local(), image)
    np.testing.assert_allclose(restored, image / 2, atol=1e-6)
    assert "did not fit into memory" in caplog.text
    assert sizes[0] == 132


def test_strength_mixes_with_the_input():
    image = noise(9, 7, 3)
    for strength in (0.0, 0.25, 1.0):
        restored = restore.restore(Local(), image, strength=strength)
        expected = strength * image / 2 + (1 - strength) * image
        np.testing.assert_allclose(restored, expected, atol=1e-6)
    eight_bit = noise(9, 7, dtype=np.uint8)
    np.testing.assert_array_equal(restore.restore(Local(), eight_bit, strength=0), eight_bit)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_wrong_strength(strength):
    with pytest.raises(UserError, match="expected a number from 0 to 1"):
        restore.restore(Local(), noise(8, 8), strength=strength)


class LeftNeighbour(Local):
    """Returns each pixel's left neighbour: every symmetry gives another one."""

    def call(self, images, training=False):
        self.check_size(images)
        return [keras.ops.concatenate([images[:, :, :1], images[:, :, :-1]], axis=2)]


def test_the_ensemble_is_the_mean_over_flips_and_rotations():
    image = noise(8, 12, 3)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    neighbours = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
    restored = restore.restore(LeftNeighbour(), image, ensemble=True)
    # Rows and columns at the border are where padding to multiples of 4 differs.
    np.testing.assert_allclose(restored, np.mean(neighbours, axis=0), atol=1e-6)
