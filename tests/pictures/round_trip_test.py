"""What this package writes, it and Pillow read back: every format, depth, channels and metadata."""

import io
import itertools

import numpy as np
import pytest
import tifffile
from icc_profiles import SRGB as SRGB_MATRIX
from icc_profiles import gray, rgb
from log_checks import no_other_warnings
from PIL import ExifTags, Image, IptcImagePlugin, PngImagePlugin

from restore_tf.errors import UserError
from restore_tf.pictures import files, kinds
from restore_tf.pictures.metadata import Metadata

RANDOM = np.random.default_rng(0)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a dc:title="Blatt \xe2\x82\xac">%s</a></x:xmpmeta>'
CAPTION = b"\x1c\x02\x78\x00\x05Hello"
MEBI = 2**20


def exif():
    tags = Image.Exif()
    tags[0x010F], tags[0x013B] = "Own", "M\u00e4rta"
    tags[0x8769] = {0x829A: 0.5, 0xA001: 1, 0xA005: {1: "R98"}, 0x9286: b"ASCII\0\0\0 a comment"}
    tags[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    return tags.tobytes().removeprefix(b"Exif\0\0")


def itxt(text):
    return PngImagePlugin.iTXt(text, "de", "Titel")


METADATA = {
    "none": Metadata(),
    "EXIF": Metadata(exif=exif()),
    "XMP": Metadata(xmp=XMP % b""),
    "long XMP": Metadata(xmp=XMP % (b"x" * (2 * MEBI))),
    "IPTC": Metadata(iptc=CAPTION),
    "dpi": Metadata(dpi=(300.0, 300.0)),
    "comment": Metadata(comment=b"a comment"),
    "texts": Metadata(texts=(("Author", "M\u00e4rta"), ("Title", itxt("\u984c")), ("Empty", ""))),
    "long texts": Metadata(
        texts=(
            ("a", "x" * 1024), ("b", "x" * 1025), ("c", "x" * MEBI), ("d", "x" * (MEBI + 1)),
            ("e", "\u984c" * (MEBI // 3)), ("f", itxt("\u984c" * (MEBI // 3 + 1))),
            ("g", itxt("x" * MEBI)), ("h", itxt("x" * (9 * MEBI))), ("i", "\u00e4" * MEBI),
        )
    ),
    "everything": Metadata(
        exif(), XMP % b"", CAPTION, (300.0, 300.0), b"a comment", (("Author", "M\u00e4rta"),)
    ),
}  # fmt: skip
HOLDS = {
    "PNG": {"exif", "xmp", "texts", "dpi"},
    "JPEG": {"exif", "xmp", "iptc", "comment", "dpi"},
    "WEBP": {"exif", "xmp"},
    "TIFF": {"exif", "xmp", "iptc", "dpi"},
    "BMP": {"dpi"},
}
LIMIT = {("JPEG", "long XMP")}  # 64 KiB


def pixels(depth, colour):
    shape = (6, 8, 3) if colour else (6, 8)
    return RANDOM.integers(0, 2**depth, shape).astype(f"uint{depth}")


def same(kind, read, written):
    lossy = kind == "JPEG"
    if read.ndim > written.ndim:  # WebP has no gray, and 16-bit TIFF no gray with alpha
        np.testing.assert_array_equal(read[..., 0], read[..., 2])
        read = read[..., 0]
    if read.dtype != written.dtype:
        written = np.rint(written / 257)
    if not lossy:
        np.testing.assert_array_equal(read, written)


@pytest.mark.parametrize("beside", METADATA)
@pytest.mark.parametrize("kind", sorted(set(kinds.PICTURES.values())))
def test_what_is_written_is_read_back(kind, beside):
    ending, metadata = files.ending(kind), METADATA[beside]
    every = list(itertools.product((8, 16), (False, True), (False, True)))
    for depth, colour, transparent in every[::7] if "long" in beside else every:
        alpha = pixels(depth, False) if transparent else None
        picture = files.Picture(pixels(depth, colour), alpha, metadata=metadata, lossless_webp=True)
        data = files.encode(picture, ending)
        with Image.open(io.BytesIO(data)) as image:  # Pillow
            image.load()
            assert (image.format, image.size) == (kind, (8, 6))
            check_metadata(kind, beside, metadata, image)
        with no_other_warnings():
            read = files.read_picture(data)
        same(kind, read.pixels, picture.pixels)
        if transparent and kind not in ("JPEG", "BMP"):
            same(kind, read.alpha, alpha)
        for field in HOLDS[kind] - {"exif", "dpi"}:
            if (kind, beside) not in LIMIT:
                assert getattr(read.metadata, field) == getattr(metadata, field), field
        assert bool(read.metadata.exif) == (bool(metadata.exif) and "exif" in HOLDS[kind])


def check_metadata(kind, beside, metadata, image):
    holds = HOLDS[kind]
    if metadata.exif and "exif" in holds:
        tags = image.getexif()
        assert tags[0x010F] == "Own"
        inner = tags.get_ifd(ExifTags.IFD.Exif)
        assert (inner[0x829A], inner[0x9286]) == (0.5, b"ASCII\0\0\0 a comment")
        assert tags.get_ifd(ExifTags.IFD.Interop)[1].rstrip("\0") == "R98"
        assert tags.get_ifd(ExifTags.IFD.GPSInfo) == {1: "N", 2: (1.0, 2.0, 3.0)}
    if metadata.texts and "texts" in holds:
        texts = {key: text for key, text in image.text.items() if key != "XML:com.adobe.xmp"}
        assert texts == dict(metadata.texts)
    if metadata.xmp and "xmp" in holds and (kind, beside) not in LIMIT:
        found = image.info.get("xmp") or image.text["XML:com.adobe.xmp"].encode()
        assert found == metadata.xmp
    if metadata.iptc and "iptc" in holds:
        assert IptcImagePlugin.getiptcinfo(image) == {(2, 120): b"Hello"}
    if metadata.dpi and "dpi" in holds:
        np.testing.assert_allclose([float(v) for v in image.info["dpi"]], 300, atol=0.03)
    if metadata.comment and "comment" in holds:
        assert image.info["comment"] == metadata.comment


@pytest.mark.parametrize("kind", sorted(set(kinds.PICTURES.values())))
@pytest.mark.parametrize("size", [0, 3 * MEBI])
def test_profiles_of_any_length_are_read_back(kind, size):
    """PNG compresses them, and Pillow decompresses a mebibyte at most."""
    for depth, colour in itertools.product((8, 16), (False, True)):
        profile = rgb("a name", SRGB_MATRIX, 2.2) if colour else gray("a gray", 1.8)
        picture = files.Picture(pixels(depth, colour), None, profile + bytes(size))
        data = files.encode(picture, files.ending(kind))
        with Image.open(io.BytesIO(data)) as image:
            image.load()
        assert files.read_picture(data).pixels.shape[:2] == (6, 8)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("to", [".tif", ".png", ".jpg", ".webp"])
def test_tags_of_bigtiff_are_kept(depth, to):
    """BigTIFF counts in 64 bits; EXIF, and what is written, in 32."""
    buffer = io.BytesIO()
    tags = [
        (0x010F, "s", 4, "Own", True), (0x8298, "s", 5, "(c) x", True), (65000, "Q", 1, 77, True),
        (700, "B", len(XMP), XMP, True), (33723, "B", len(CAPTION), CAPTION, True),
    ]  # fmt: skip
    tifffile.imwrite(
        buffer, pixels(depth, True), bigtiff=True, photometric="rgb", metadata=None,
        description="a caption", software=False, extratags=tags, resolution=(300, 300),
    )  # fmt: skip
    with no_other_warnings():
        picture = files.read_picture(buffer.getvalue())
    assert picture.metadata.dpi == (300, 300)
    with Image.open(io.BytesIO(files.encode(picture, to))) as image:
        found = image.getexif()
        assert found[0x010F] == "Own"
        assert found[0x8298] == "(c) x"
        assert found[0x010E] == "a caption"
        assert found[65000] == 77
        image.load()
        assert b"Blatt" in (image.info.get("xmp") or image.text["XML:com.adobe.xmp"].encode())


def test_a_tag_that_needs_64_bits_is_said(caplog):
    buffer = io.BytesIO()
    tags = [(65000, "Q", 1, 2**40, True), (0x010F, "s", 4, "Own", True)]
    tifffile.imwrite(buffer, pixels(8, True), bigtiff=True, photometric="rgb", extratags=tags)
    picture = files.read_picture(buffer.getvalue(), name="a.tif")
    assert [r.getMessage() for r in caplog.records] == [
        "a.tif: its tag 65000 is of 64 bits and is not kept."
    ]
    with Image.open(io.BytesIO(files.encode(picture, ".png"))) as image:
        assert image.getexif()[0x010F] == "Own"


def test_big_endian_bigtiff_is_refused_with_what_to_do():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels(8, True), bigtiff=True, photometric="rgb", byteorder=">")
    with pytest.raises(UserError, match="a BigTIFF file in big-endian order; write it as a plain"):
        files.read_picture(buffer.getvalue())
