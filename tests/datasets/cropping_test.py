"""Crops cut from files, records and memory equal pieces of the whole pictures."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from restore_tf.datasets import cropping, sources, synthetic
from restore_tf.datasets.augmentation import paired_crop
from restore_tf.datasets.pairing import Pair
from restore_tf.errors import UserError

SIZE = (50, 70)


def noise(shape=(*SIZE, 3)):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def saved(kind, pixels, **options):
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def interlaced(pixels):
    """An Adam7 PNG by hand, as the PNG specification gives its seven passes."""
    passes = [
        pixels[0::8, 0::8],
        pixels[0::8, 4::8],
        pixels[4::8, 0::4],
        pixels[0::4, 2::4],
        pixels[2::4, 0::2],
        pixels[0::2, 1::2],
        pixels[1::2, :],
    ]
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def small_chunks(data, size=100):
    """The same PNG with its pixels in chunks of a few bytes, as libpng writes chunks of 8 KB."""
    place, parts, pixels = 8, [], b""
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        name, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        pixels += body if name == b"IDAT" else b""
        parts += [] if name == b"IDAT" else [chunk(name, body)]
        place += 12 + length
    pieces = [chunk(b"IDAT", pixels[i : i + size]) for i in range(0, len(pixels), size)]
    return data[:8] + b"".join(parts[:1] + pieces + parts[1:])


def turned(pixels, behind=False):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved("PNG", pixels, exif=exif)
    if not behind:
        return data
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    return data[:start] + data[end:-12] + data[start:end] + data[-12:]


def palette(pixels):
    return saved("PNG", Image.fromarray(pixels).quantize(16))


@pytest.fixture(params=["libvips", "pillow"])
def decoder(request, monkeypatch):
    if request.param == "libvips":
        pytest.importorskip("pyvips")
    else:
        monkeypatch.setattr(cropping, "_vips", lambda: None)
    return request.param


PICTURES = {
    "png": saved("PNG", noise()),
    "png_in_small_chunks": small_chunks(saved("PNG", noise())),
    "png_stored": saved("PNG", noise(), compress_level=0),
    "png_interlaced": interlaced(noise()),
    "png_turned_by_exif": turned(noise()),
    "png_turned_by_exif_behind_its_pixels": turned(noise(), behind=True),
    "png_gray": saved("PNG", noise(SIZE)),
    "png_palette": palette(noise()),
    "png_alpha": saved("PNG", noise((*SIZE, 4))),
    "png_transparent_colour": saved("PNG", noise(), transparency=(1, 2, 3)),
    "jpeg": saved("JPEG", noise()),
    "bmp": saved("BMP", noise()),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_crop_of_a_file_is_a_piece_of_the_picture(tmp_path, decoder, name):
    path = tmp_path / "picture"
    path.write_bytes(PICTURES[name])
    whole = cropping.decode(path)
    if name in ("png", "png_in_small_chunks", "png_stored", "png_interlaced", "bmp"):
        np.testing.assert_array_equal(whole, noise())
    assert whole.shape[:2] == (SIZE[::-1] if "turned" in name else SIZE)
    room = np.array(whole.shape[:2]) - 16
    for corner in ((0, 0), (0, room[1]), (room[0], 0), room, room // 2):
        top, left = corner
        found = cropping.cut_file(path, corner, 16)
        np.testing.assert_array_equal(found, whole[top : top + 16, left : left + 16])


def test_bytes_are_cut_like_files(decoder):
    for name in ("png", "jpeg"):
        found = cropping.cut_file(PICTURES[name], (20, 30), 16)
        np.testing.assert_array_equal(found, cropping.decode(PICTURES[name])[20:36, 30:46])


def test_nothing_far_below_the_crop_is_decoded(tmp_path, decoder):
    path = tmp_path / "picture.png"
    pixels = noise((400, 300, 3))
    data = saved("PNG", pixels)
    place = len(data) * 3 // 4
    path.write_bytes(data[:place] + bytes(1000) + data[place + 1000 :])
    np.testing.assert_array_equal(cropping.cut_file(path, (4, 30), 16), pixels[4:20, 30:46])
    with pytest.raises(UserError, match=r"picture\.png: cannot be read as a picture"):
        cropping.cut_file(path, (384, 30), 16)


def test_the_corner_is_that_of_paired_crop():
    pair = np.stack([noise(), 255 - noise()])
    for number in range(20):
        seed = tf.constant([3, number], tf.int64)
        draw = tf.random.stateless_uniform([2], seed, 0, tf.int32.max, tf.int32).numpy()
        np.testing.assert_array_equal(
            cropping.cut(pair, draw, 16), paired_crop(tf.constant(pair), 16, seed)
        )


def on_disk(folder, count=3):
    found = []
    for index in range(count):
        paths = [folder / f"{side}_{index}.png" for side in ("degraded", "sharp")]
        for path, pixels in zip(paths, (noise() ^ index, 255 - (noise() ^ index)), strict=True):
            path.write_bytes(saved("PNG", pixels))
        found.append(Pair(f"p{index}", *paths))
    return found


def crops(source, threads, count=12, side=16):
    def example(number):
        draw = tf.stack([tf.cast(number, tf.int32) * 7919, tf.cast(number, tf.int32) * 104729])
        return source.crops(number % len(source), draw, side)

    dataset = tf.data.Dataset.range(count).map(example, num_parallel_calls=threads)
    assert dataset.element_spec == tf.TensorSpec((2, side, side, 3), tf.uint8)
    return np.stack(list(dataset.as_numpy_iterator()))


def test_files_and_memory_give_the_same_crops_on_any_number_of_threads(tmp_path):
    files = sources.FileSource(on_disk(tmp_path))
    expected = crops(files, 1)
    np.testing.assert_array_equal(expected[:, 0], 255 - expected[:, 1])
    np.testing.assert_array_equal(crops(files, 8), expected)
    np.testing.assert_array_equal(crops(sources.cached(files), 8), expected)


def test_embedded_pictures_are_made_when_they_are_read(monkeypatch):
    made = []
    make = synthetic.Synthetic.__getitem__
    monkeypatch.setattr(
        synthetic.Synthetic, "__getitem__", lambda self, i: made.append(i) or make(self, i)
    )
    source = sources.open_source("synthetic", "defocus", "train")
    assert (len(source), source.sizes[0], made) == (480, (192, 192), [])
    first, again = source.read(7), source.read(7)
    crop = source.read_crop(7, (50, 60), 64)
    assert made == [7]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(crop, np.stack(first)[:, 50:114, 60:124])


def test_a_pair_that_cannot_be_read_is_named(tmp_path):
    pairs = on_disk(tmp_path)
    source = sources.FileSource(pairs)
    pairs[1].sharp.write_bytes(b"no picture")
    with pytest.raises(tf.errors.OpError, match=r"p1: .*sharp_1\.png: cannot be read as a picture"):
        crops(source, 2)


def test_a_pair_smaller_than_the_crop_is_named():
    source = sources.MemorySource(["a"], [(noise(), noise())])
    with pytest.raises(tf.errors.OpError, match="a: is 70x50 pixels, smaller than .* crop of 64"):
        crops(source, 1, side=64)
