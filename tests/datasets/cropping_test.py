"""Crops cut from files, records and memory equal pieces of the whole pictures."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from restore_tf.datasets import cropping, headers, sources, synthetic
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
        monkeypatch.setattr(cropping, "libvips", lambda: None)
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
    "png_alpha_visible": saved("PNG", noise((*SIZE, 4)) | 1),
    "png_gray_alpha": saved("PNG", Image.fromarray(noise((*SIZE, 4))).convert("LA")),
    "png_gray_alpha_visible": saved("PNG", Image.fromarray(noise((*SIZE, 4)) | 1).convert("LA")),
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
        top, left = corner = [int(side) for side in corner]
        found = cropping.cut_file(path, corner, 16)
        np.testing.assert_array_equal(found, whole[top : top + 16, left : left + 16])


def test_what_is_decoded_whole(decoder, monkeypatch):
    whole = []
    decode = cropping.decode
    monkeypatch.setattr(cropping, "decode", lambda file: whole.append(file) or decode(file))
    for data in PICTURES.values():
        cropping.cut_file(data, (20, 30), 16)
    cut = (
        "png png_in_small_chunks png_stored png_gray png_alpha_visible png_gray_alpha_visible"
    ).split()
    assert [name for name, data in PICTURES.items() if data not in whole] == cut


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


@pytest.mark.parametrize("scale", [1, 2])
def test_files_and_memory_give_the_same_crops(tmp_path, scale):
    files = sources.FileSource(on_disk(tmp_path, scale=scale), scale)
    memory = sources.cached(files)
    assert files.sizes == memory.sizes == [SIZE] * 3
    for index in range(3):
        for source in (files, memory):
            degraded, sharp = source.read_crop(index, lambda size: (size[0] - 16, 7), 16)
            np.testing.assert_array_equal(degraded, noise()[-16:, 7:23] ^ index)
            np.testing.assert_array_equal(sharp[::scale, ::scale], 255 - degraded)
            assert sharp.shape == (16 * scale, 16 * scale, 3)


def on_disk(folder, count=3, scale=1):
    found = []
    for index in range(count):
        paths = [folder / f"{side}_{index}.png" for side in ("degraded", "sharp")]
        sharp = np.repeat(np.repeat(255 - (noise() ^ index), scale, axis=0), scale, axis=1)
        for path, pixels in zip(paths, (noise() ^ index, sharp), strict=True):
            path.write_bytes(saved("PNG", pixels))
        found.append(Pair(f"p{index}", *paths))
    return found


def test_embedded_pictures_are_made_when_they_are_read(monkeypatch):
    made = []
    make = synthetic.Synthetic.__getitem__
    monkeypatch.setattr(
        synthetic.Synthetic, "__getitem__", lambda self, i: made.append(i) or make(self, i)
    )
    source = sources.open_source("synthetic", "defocus", "train")
    assert (len(source), source.sizes[0], made) == (480, (192, 192), [])
    first, again = source.read(7), source.read(7)
    crop = source.read_crop(7, lambda size: (50, 60), 64)
    assert made == [7]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(crop, np.stack(first)[:, 50:114, 60:124])


KINDS = ("PNG", "JPEG", "TIFF", "WEBP")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_in_a_header_is_that_of_the_upright_picture(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(kind, noise(), exif=exif)
    path = tmp_path / "picture"
    path.write_bytes(data)
    assert headers.upright_size(data) == cropping.decode(data).shape[:2]
    expected = SIZE[::-1] if orientation > 4 else SIZE
    assert headers.check_file(path) == (expected, kind, False)


@pytest.mark.parametrize("name", PICTURES)
def test_the_size_in_a_header_is_that_of_the_decoded_picture(name):
    expected = cropping.decode(PICTURES[name]).shape[:2]
    assert headers.upright_size(PICTURES[name]) == expected


def test_damaged_exif_turns_nothing():
    data = saved("JPEG", noise(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert headers.upright_size(data) == cropping.decode(data).shape[:2] == SIZE


def test_pictures_of_16_bits_are_rounded():
    deep = np.array([[0, 128, 129, 65535]], np.uint16)
    assert cropping.decode(saved("PNG", deep))[0, :, 0].tolist() == [0, 0, 1, 255]


def test_what_no_viewer_shows_reaches_no_crop(decoder):
    pixels = np.full((20, 20, 4), 250, np.uint8)
    pixels[:, 10:] = (0, 0, 0, 0)
    crop = cropping.cut_file(saved("PNG", pixels), (0, 4), 16)
    assert crop.min() == 250


def test_a_file_with_several_pictures_is_refused_by_its_header(tmp_path):
    path = tmp_path / "pages.tif"
    pages = [Image.fromarray(noise()), Image.fromarray(noise())]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.raises(UserError, match=r"pages\.tif: has 2 pictures in one file; expected one"):
        headers.check_file(path)
