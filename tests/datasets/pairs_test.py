"""The training pipeline, run the way training runs it: inside tf.data."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from restore_tf.datasets import pairs, sources
from restore_tf.datasets.augmentation import flip_rotate, paired_crop, saturation
from restore_tf.datasets.pairing import Pair
from restore_tf.errors import UserError


def coded_pairs(count=5, height=24, width=32):
    """Pictures whose colours say which picture and which pixel they are; sharp = 255 - degraded."""
    rows, columns = np.mgrid[:height, :width]
    arrays = []
    for index in range(count):
        degraded = np.stack([np.full_like(rows, index), rows, columns], axis=-1).astype(np.uint8)
        arrays.append((degraded, 255 - degraded))
    return arrays


def memory(count=5, **kwargs):
    return sources.MemorySource([f"p{i}" for i in range(count)], coded_pairs(count, **kwargs))


def on_disk(folder, count=3, suffix=".png"):
    found = []
    for index, arrays in enumerate(coded_pairs(count)):
        paths = [folder / f"{side}_{index}{suffix}" for side in ("degraded", "sharp")]
        for path, array in zip(paths, arrays, strict=True):
            Image.fromarray(array).save(path)
        found.append(Pair(f"p{index}", *paths))
    return found


def batches(source, **kwargs):
    arguments = {"crop": 8, "batch": 3, "steps": 6, "seed": 4} | kwargs
    dataset = pairs.training_batches(source, **arguments)
    return [tuple(part.numpy() for part in batch) for batch in dataset]


@pytest.mark.parametrize("augment", [(), ("flip_rotate",)])
def test_both_pictures_get_the_same_crop_and_flip(augment):
    seen = batches(memory(), augment=augment)
    assert len(seen) == 6
    corners = set()
    for degraded, sharp in seen:
        assert degraded.shape == sharp.shape == (3, 8, 8, 3)
        assert degraded.dtype == np.float32
        np.testing.assert_allclose(degraded + sharp, 1.0, atol=1e-6)
        corners |= {tuple(c) for c in np.rint(255 * degraded.min(axis=(1, 2))).astype(int)}
    assert len(corners) > 12  # 18 samples of 5 pictures with 17 x 25 places for a crop


def test_a_crop_is_a_piece_of_the_picture():
    for degraded, _ in batches(memory()):
        for crop in np.rint(255 * degraded).astype(int):
            index, top, left = crop[0, 0]
            expected = coded_pairs()[index][0][top : top + 8, left : left + 8]
            np.testing.assert_array_equal(crop, expected)


def test_crops_reach_every_border():
    pair = tf.constant(np.stack(coded_pairs(1, 9, 10)[0]))
    corners = {
        tuple(paired_crop(pair, 8, tf.constant([0, n], tf.int64)).numpy()[0, 0, 0, 1:])
        for n in range(200)
    }
    assert corners == {(top, left) for top in range(2) for left in range(3)}


def test_every_epoch_shows_every_pair_once_in_an_order_of_its_own():
    count = tf.constant(7, tf.int64)
    order = [int(pairs.pair_index(tf.constant(n, tf.int64), count, 3)) for n in range(21)]
    epochs = [order[start : start + 7] for start in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("augment", [(), ("flip_rotate", "saturation")])
def test_starting_at_a_step_gives_the_batches_from_there_on(augment):
    whole = batches(memory(), augment=augment)
    rest = batches(memory(), augment=augment, steps=2, first_sample=4 * 3)
    assert len(rest) == 2
    for (a, b), (c, d) in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


def test_workers_and_replicas_deal_out_every_step():
    whole = batches(memory(), batch=8, steps=3)
    shared = [
        batches(memory(), batch=8, steps=3, pipeline=p, pipelines=2, replicas=2) for p in (0, 1)
    ]
    for step, (degraded, sharp) in enumerate(whole):
        parts = [part for worker in shared for part in worker[2 * step : 2 * step + 2]]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), degraded)
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), sharp)


def test_without_an_end_it_goes_on():
    dataset = pairs.training_batches(memory(), crop=8, batch=3, steps=None, seed=4)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    for (a, _), (b, _) in zip(dataset.take(6), batches(memory()), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_seed_gives_other_batches():
    assert not np.array_equal(batches(memory())[0][0], batches(memory(), seed=5)[0][0])


def test_files_and_memory_give_the_same_batches(tmp_path):
    files = sources.FileSource(on_disk(tmp_path))
    for from_files, from_memory in zip(batches(files), batches(sources.cached(files)), strict=True):
        np.testing.assert_array_equal(from_files[0], from_memory[0])
        np.testing.assert_array_equal(from_files[1], from_memory[1])


def test_pictures_of_several_sizes_lie_in_one_memory_source():
    arrays = [coded_pairs(1, 16, 24)[0], coded_pairs(1, 32, 8)[0]]
    source = sources.MemorySource(["a", "b"], arrays)
    for index, (degraded, sharp) in enumerate(arrays):
        for expected, read, tensor in zip(
            (degraded, sharp), source.read(index), source.tensors(tf.constant(index)), strict=True
        ):
            np.testing.assert_array_equal(read, expected)
            np.testing.assert_array_equal(tensor, expected)
    assert batches(source)[0][0].shape == (3, 8, 8, 3)


def test_gray_networks_get_gray_crops():
    degraded, _ = batches(memory(), channels=1)[0]
    colour, _ = batches(memory())[0]
    assert degraded.shape == (3, 8, 8, 1)
    # ITU-R BT.601 luma, as TensorFlow 1's rgb_to_grayscale had it for the published models.
    np.testing.assert_allclose(
        degraded[..., 0], colour @ np.array([0.2989, 0.5870, 0.1140], np.float32), atol=1e-6
    )


def test_flip_rotate_draws_the_papers_probabilities():
    square = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    pair = tf.constant(np.concatenate([square, -square]))
    draw = tf.function(lambda n: flip_rotate(pair, tf.stack([tf.constant(7, tf.int64), n])))
    counts = {}
    for number in range(1800):
        result = draw(tf.constant(number, tf.int64)).numpy()
        np.testing.assert_array_equal(result[0], -result[1])
        key = tuple(result[0].ravel())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 8
    identity = counts.pop((0, 1, 2, 3))
    # Binomial standard deviations: 17.6 around 400 and 13.3 around 200; five of them.
    assert abs(identity - 400) < 90
    assert all(abs(count - 200) < 67 for count in counts.values())


def test_saturation_by_hand():
    pair = tf.constant(np.full((2, 1, 1, 3), (0.8, 0.4, 0.2), np.float32))
    gray = 0.2989 * 0.8 + 0.5870 * 0.4 + 0.1140 * 0.2
    changed, factors = 0, []
    for number in range(300):
        result = saturation(pair, tf.constant([1, number], tf.int64)).numpy()
        np.testing.assert_array_equal(result[0], result[1])
        factor = (result[0, 0, 0] - gray) / (np.array([0.8, 0.4, 0.2]) - gray)
        np.testing.assert_allclose(factor, factor[0], atol=1e-3)
        changed += abs(factor[0] - 1) > 1e-3
        factors.append(factor[0])
    assert 60 < changed < 140  # a third of 300, within five standard deviations
    assert 0.8 - 1e-3 <= min(factors) < 0.85
    assert 1.15 < max(factors) <= 1.2 + 1e-3


def test_a_crop_larger_than_a_picture_is_named():
    with pytest.raises(
        UserError, match="p0: is 32x24 pixels, smaller than the training crop of 64"
    ):
        pairs.training_batches(memory(), crop=64, batch=1, steps=1, seed=0)


def test_an_unknown_augmentation_is_named():
    with pytest.raises(UserError, match="augment mixup: there are flip_rotate"):
        pairs.training_batches(memory(), crop=8, batch=1, steps=1, seed=0, augment=("mixup",))


def test_a_picture_damaged_in_the_middle_is_named(tmp_path):
    found = on_disk(tmp_path, suffix=".png")
    data = bytearray(found[1].sharp.read_bytes())
    middle = data.index(b"IDAT") + 12
    data[middle : middle + 8] = bytes(8)
    found[1].sharp.write_bytes(data)
    source = sources.FileSource(found)  # header and end are whole
    assert pairs.name_damage(source, range(3), seed=0) == "p1"
    with pytest.raises(tf.errors.OpError):
        batches(source)


def test_unknown_data_sets_are_named():
    with pytest.raises(UserError, match="--dataset gopr: no such data set; there are gopro"):
        sources.open_source("gopr", None, "train")
    with pytest.raises(UserError, match="needs --data_dir"):
        sources.open_source("gopro", None, "train")


def test_held_out_synthetic_pictures_do_not_depend_on_the_seed():
    first, second = (
        sources.open_source("synthetic", "defocus", "validation", seed=seed) for seed in (0, 1)
    )
    np.testing.assert_array_equal(first.read(0)[0], second.read(0)[0])
