"""The training pipeline, run the way training runs it: inside tf.data."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from restore_tf.datasets import cropping, pairs, sources
from restore_tf.datasets.numpy_pairs import Batches
from restore_tf.datasets.pairing import Pair
from restore_tf.datasets.samples import Samples
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
    for degraded, sharp, _ in seen:
        assert degraded.shape == sharp.shape == (3, 8, 8, 3)
        assert degraded.dtype == np.float32
        np.testing.assert_allclose(degraded + sharp, 1.0, atol=1e-6)
        corners |= {tuple(c) for c in np.rint(255 * degraded.min(axis=(1, 2))).astype(int)}
    assert len(corners) > 12  # 18 samples of 5 pictures with 17 x 25 places for a crop


def test_a_crop_is_a_piece_of_the_picture():
    for degraded, _, _ in batches(memory()):
        for crop in np.rint(255 * degraded).astype(int):
            index, top, left = crop[0, 0]
            expected = coded_pairs()[index][0][top : top + 8, left : left + 8]
            np.testing.assert_array_equal(crop, expected)


@pytest.mark.parametrize("augment", [(), ("flip_rotate", "saturation")])
def test_starting_at_a_step_gives_the_batches_from_there_on(augment):
    whole = batches(memory(), augment=augment)
    rest = batches(memory(), augment=augment, steps=2, first_sample=4 * 3)
    assert len(rest) == 2
    for expected, found in zip(whole[4:], rest, strict=True):
        assert_equal(found, expected)


def test_workers_and_replicas_deal_out_every_step():
    whole = batches(memory(), batch=8, steps=3)
    shared = [
        batches(memory(), batch=8, steps=3, pipeline=p, pipelines=2, replicas=2) for p in (0, 1)
    ]
    for step, expected in enumerate(whole):
        parts = [part for worker in shared for part in worker[2 * step : 2 * step + 2]]
        assert_equal([np.concatenate(part) for part in zip(*parts, strict=True)], expected)


def test_without_an_end_it_goes_on():
    dataset = pairs.training_batches(memory(), crop=8, batch=3, steps=None, seed=4)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    for found, expected in zip(dataset.take(6), batches(memory()), strict=True):
        assert_equal(found, expected)


def test_another_seed_gives_other_batches():
    assert not np.array_equal(batches(memory())[0][0], batches(memory(), seed=5)[0][0])


def test_files_and_memory_give_the_same_batches(tmp_path):
    files = sources.FileSource(on_disk(tmp_path))
    for from_files, from_memory in zip(batches(files), batches(sources.cached(files)), strict=True):
        assert_equal(from_files, from_memory)


def test_pictures_of_several_sizes_lie_in_one_memory_source():
    arrays = [coded_pairs(1, 16, 24)[0], coded_pairs(1, 32, 8)[0]]
    source = sources.MemorySource(["a", "b"], arrays)
    for index, (degraded, sharp) in enumerate(arrays):
        assert_equal(source.read(index), (degraded, sharp))
    assert batches(source)[0][0].shape == (3, 8, 8, 3)


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", [(), ("flip_rotate",), ("flip_rotate", "saturation")])
def test_tensorflow_and_other_backends_get_the_same_batches(channels, augment):
    arguments = {"crop": 8, "seed": 4, "augment": augment, "channels": channels}
    found = batches(memory(), first_sample=5, **arguments)
    others = Batches(memory(), batch=3, steps=6, first_sample=5, **arguments)
    samples = Samples(memory(), **arguments)
    for step in range(6):
        assert [part.dtype for part in found[step]] == [np.float32, np.float32, np.int32]
        assert_equal(found[step], others[step])
        for position, sample in enumerate(zip(*found[step], strict=True)):
            assert_equal(sample, samples(5 + 3 * step + position))


def test_a_sample_brings_the_seed_and_its_number():
    found = [batch[2].tolist() for batch in batches(memory(), batch=2, steps=2, first_sample=7)]
    assert found == [[[4, 7], [4, 8]], [[4, 9], [4, 10]]]


def test_sharp_pictures_can_be_larger():
    arrays = []
    for degraded, _ in coded_pairs():
        sharp = np.repeat(np.repeat(degraded, 2, axis=0), 2, axis=1)
        arrays.append((degraded, 255 - sharp))
    source = sources.MemorySource([f"p{i}" for i in range(5)], arrays, output_scale=2)
    for degraded, sharp, _ in batches(source, output_scale=2, augment=("flip_rotate",)):
        assert (degraded.shape, sharp.shape) == ((3, 8, 8, 3), (3, 16, 16, 3))
        for row in (0, 1):
            for column in (0, 1):
                np.testing.assert_allclose(degraded + sharp[:, row::2, column::2], 1, atol=1e-6)
    with pytest.raises(UserError, match="are 2 times as large as the degraded ones, but the netw"):
        batches(source)


def whole_pictures(monkeypatch):
    """Lists what is decoded or read whole from now on."""
    seen = []
    for owner, name in [
        (cropping, "decode"),
        *((kind, "read") for kind in (sources.FileSource, sources.RecordSource)),
    ]:
        function = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *a, function=function: seen.append(a[-1]) or function(*a)
        )
    return seen


@pytest.mark.parametrize("encoding", ["files", "png", "raw"])
def test_no_whole_picture_is_read_in_training(tmp_path, monkeypatch, encoding):
    from restore_tf.datasets import records
    from restore_tf.datasets.gopro import layout

    published = data_dir = Path(layout.__file__).parent / "dummy_data"
    if encoding != "files":
        data_dir = tmp_path
        records.prepare("gopro", "blur", published, data_dir, encoding)
    source = sources.open_source("gopro", "blur", "train", data_dir=data_dir)
    seen = whole_pictures(monkeypatch)
    assert len(batches(source)) == 6
    assert seen == []
    Batches(source, crop=8, batch=3, steps=1, seed=0)[0]
    assert seen == []


def test_only_pictures_that_cannot_be_cut_are_read_whole(tmp_path, monkeypatch):
    found = on_disk(tmp_path)
    Image.fromarray(coded_pairs()[1][1]).save(tmp_path / "sharp_1.jpg")
    found[1] = Pair("p1", found[1].degraded, tmp_path / "sharp_1.jpg")
    source = sources.FileSource(found)
    seen = whole_pictures(monkeypatch)
    batches(source, batch=3, steps=2)  # every pair twice
    assert seen == [tmp_path / "sharp_1.jpg"] * 2


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
    with pytest.raises(tf.errors.OpError, match=r"p1: .*sharp_1\.png: cannot be read as a picture"):
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
