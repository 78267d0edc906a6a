"""What stands beside the pixels: kept in every format that has a place for it."""

import struct
import zlib

import numpy as np
import pytest
from deep_files import png16
from log_checks import warns
from PIL import ExifTags, Image, IptcImagePlugin, PngImagePlugin

from restore_tf.pictures import exif as exif_blocks
from restore_tf.pictures import files, metadata

NOTE = b"maker's note, with pointers of its own"
THUMBNAIL = b"\xff\xd8 the old picture, small \xff\xd9"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6" dc:title="Blatt"/></x:xmpmeta>'
CAPTION = b"\x1c\x02\x78\x00\x05Hello"  # IPTC-IIM record 2, data set 120
PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
DEEP = PIXELS.astype(np.uint16) * 999


def exif_block(order="<", orientation=6):
    """An EXIF block with a maker's note, a thumbnail and a size, by the specification."""

    def directory(entries, following):
        body = struct.pack(order + "H", len(entries))
        for tag, kind, count, value in entries:
            if isinstance(value, bytes):
                value = value.ljust(4, b"\0")
            elif kind == 3:
                value = struct.pack(order + "HH", value, 0)
            else:
                value = struct.pack(order + "I", value)
            body += struct.pack(order + "HHI", tag, kind, count) + value
        return body + struct.pack(order + "I", following)

    first, second, third = 8, 8 + 42, 8 + 42 + 42
    note = third + 30
    block = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", first)
    block += directory(
        [(0x010F, 2, 4, b"Own\0"), (0x0112, 3, 1, orientation), (0x8769, 4, 1, second)], third
    )
    block += directory([(0x927C, 7, len(NOTE), note), (0xA002, 3, 1, 3), (0xA003, 4, 1, 2)], 0)
    block += directory([(0x0201, 4, 1, note + len(NOTE)), (0x0202, 4, 1, len(THUMBNAIL))], 0)
    return block + NOTE + THUMBNAIL


def exif_of(block):
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    return exif


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_made_to_fit_and_otherwise_stays(order):
    block = exif_block(order)
    before = exif_of(block)
    assert before.get_ifd(ExifTags.IFD.IFD1)[0x0202] == len(THUMBNAIL)
    fitted = exif_blocks.upright(block, 2, 3)
    exif = exif_of(fitted)
    assert exif[0x0112] == 1
    assert exif[0x010F] == "Own"
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    assert inner[0x927C] == NOTE
    assert (inner[0xA002], inner[0xA003]) == (2, 3)
    assert exif.get_ifd(ExifTags.IFD.IFD1) == {}
    assert b"old picture" not in fitted
    assert fitted.index(NOTE) == block.index(NOTE)  # what makers' pointers count on


def test_a_thumbnail_in_the_middle_is_blanked():
    block = exif_block()
    fitted = exif_blocks.upright(block + b"more", 2, 3)
    assert b"old picture" not in fitted
    assert len(fitted) == len(block) + 4
    assert fitted.endswith(b"more")


def written(tmp_path, picture, ending):
    path = tmp_path / f"out{ending}"
    files.write_picture(path, picture)
    image = Image.open(path)
    image.load()
    return image


def iptc_segment(records):
    """APP13 of a JPEG file: Adobe's image resource 0x0404, padded to an even length."""
    resource = b"8BIM\x04\x04\0\0" + len(records).to_bytes(4, "big") + records
    data = b"Photoshop 3.0\0" + resource + bytes(len(records) % 2)
    return b"\xff\xed" + (len(data) + 2).to_bytes(2, "big") + data


@pytest.fixture
def photo(tmp_path):
    """A JPEG file with everything a camera and an editor write."""
    Image.fromarray(PIXELS).save(
        tmp_path / "in.jpg",
        exif=b"Exif\0\0" + exif_block(),
        xmp=XMP,
        dpi=(300, 300),
        comment=b"a comment",
        extra=iptc_segment(CAPTION),
    )
    with Image.open(tmp_path / "in.jpg") as image:  # Pillow finds all of it
        assert IptcImagePlugin.getiptcinfo(image) == {(2, 120): b"Hello"}
        assert image.getexif()[0x0112] == 6
    return files.read_picture(tmp_path / "in.jpg")


def test_a_photo_stays_a_photo(tmp_path, photo):
    assert photo.pixels.shape == (3, 2, 3)
    image = written(tmp_path, photo, ".jpg")
    assert image.info["exif"] == b"Exif\0\0" + exif_blocks.upright(exif_block(), 2, 3)
    assert image.info["xmp"] == XMP.replace(b'Orientation="6"', b'Orientation="1"')
    assert image.info["comment"] == b"a comment"
    assert image.info["dpi"] == (300, 300)
    assert IptcImagePlugin.getiptcinfo(image) == {(2, 120): b"Hello"}


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
def test_exif_and_xmp_go_into_other_formats(tmp_path, photo, ending, deep):
    if deep:
        photo = files.Picture(DEEP.swapaxes(0, 1), metadata=photo.metadata)
    image = written(tmp_path, photo, ending)
    again = files.read_picture(tmp_path / f"out{ending}")
    exif = image.getexif()
    assert exif[0x010F] == "Own"
    assert exif.get(0x0112, 1) == 1
    assert exif.get_ifd(ExifTags.IFD.Exif)[0x927C] == NOTE
    xmp = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
    assert b'Orientation="1" dc:title="Blatt"' in xmp
    if ending != ".webp":
        np.testing.assert_allclose([float(v) for v in image.info["dpi"]], 300, atol=0.01)
    if ending == ".tif":
        assert IptcImagePlugin.getiptcinfo(image) == {(2, 120): b"Hello"}
        assert again.metadata.iptc == CAPTION
    assert exif_of(again.metadata.exif).get_ifd(ExifTags.IFD.Exif)[0x927C] == NOTE
    assert again.metadata.xmp == xmp


@pytest.mark.parametrize("pixels", [PIXELS, DEEP, PIXELS[..., 0], DEEP[..., 0]])
def test_texts_of_png_stay(tmp_path, pixels):
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "Märta")
    info.add_itxt("Title", "題", "ja", "題名")
    info.add_text("Long", "word " * 999, zip=True)
    Image.fromarray(PIXELS).save(tmp_path / "in.png", pnginfo=info)
    read = files.read_picture(tmp_path / "in.png").metadata
    image = written(tmp_path, files.Picture(pixels, metadata=read), ".png")
    assert image.text == {"Author": "Märta", "Title": "題", "Long": "word " * 999}
    assert (image.text["Title"].lang, image.text["Title"].tkey) == ("ja", "題名")


def test_what_stands_behind_the_pixels_of_a_png_is_found(tmp_path):
    data = png16(DEEP)
    exif = struct.pack(">I", len(exif_block())) + b"eXIf" + exif_block()
    exif += struct.pack(">I", zlib.crc32(exif[4:]))
    (tmp_path / "in.png").write_bytes(data[:-12] + exif + data[-12:])
    read = files.read_picture(tmp_path / "in.png")
    np.testing.assert_array_equal(read.pixels, np.rot90(DEEP, -1))
    assert exif_of(read.metadata.exif)[0x0112] == 1


@pytest.mark.parametrize("deep", [False, True])
def test_tiff_tags_go_into_exif_without_its_structure(tmp_path, deep):
    tags = Image.Exif()
    tags[0x010F], tags[0x013B] = "Own", "Märta"
    tags[0x8769] = {0x829A: 0.5, 0x927C: NOTE}
    tags[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    read = files.Picture(DEEP if deep else PIXELS, metadata=metadata.Metadata(tags.tobytes()[6:]))
    files.write_picture(tmp_path / "in.tif", read)
    image = written(tmp_path, files.read_picture(tmp_path / "in.tif"), ".png")
    exif = image.getexif()
    assert sorted(exif) == [0x010F, 0x013B, 0x8769, 0x8825]
    assert exif.get_ifd(ExifTags.IFD.Exif) == {0x829A: 0.5, 0x927C: NOTE}
    assert exif.get_ifd(ExifTags.IFD.GPSInfo) == {1: "N", 2: (1.0, 2.0, 3.0)}


def test_phones_describe_their_jpeg_in_exif(tmp_path):
    """Photometric 6 (YCbCr) and 8 bits, written into a TIFF, would misdescribe its pixels."""
    tags = Image.Exif()
    tags[0x0102], tags[0x0106], tags[0x0116], tags[0x010F] = (8, 8, 8), 6, 1, "Own"
    for pixels in (PIXELS, DEEP):
        picture = files.Picture(pixels, metadata=metadata.Metadata(tags.tobytes()[6:]))
        assert written(tmp_path, picture, ".tif").getexif()[0x0106] == 2
        np.testing.assert_array_equal(files.read_picture(tmp_path / "out.tif").pixels, pixels)


def test_photoshop_layers_are_not_kept(tmp_path):
    """They hold the old picture."""
    tags = Image.Exif()
    tags[37724] = b"Adobe Photoshop Document Data Block\0"
    Image.fromarray(PIXELS).save(tmp_path / "in.tif", exif=tags)
    with warns("in.tif: restored without what else it holds: Photoshop layers"):
        read = files.read_picture(tmp_path / "in.tif")
    assert 37724 not in written(tmp_path, read, ".tif").getexif()


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (".bmp", "BMP cannot hold its EXIF, XMP, IPTC, comment; left out"),
        (".png", "PNG cannot hold its IPTC, comment; left out"),
        (".webp", "WEBP cannot hold its IPTC, comment; left out"),
        (".tif", "TIFF cannot hold its comment; left out"),
    ],
)
def test_what_is_lost_is_said(tmp_path, photo, ending, words):
    with warns(f"out{ending}: {words}"):
        written(tmp_path, photo, ending)


def test_what_is_too_long_for_jpeg_is_said(tmp_path):
    long = files.Picture(PIXELS, metadata=metadata.Metadata(xmp=b"x" * 70_000))
    with warns("JPEG cannot hold its XMP"):
        written(tmp_path, long, ".jpg")


@pytest.mark.parametrize("block", [b"nonsense", b"II*\0\xff\xff\xff\xff", exif_block()[:30]])
def test_damaged_exif_costs_no_picture(tmp_path, block):
    Image.fromarray(PIXELS).save(tmp_path / "in.png", exif=block)
    with warns():
        read = files.read_picture(tmp_path / "in.png")
    assert read.pixels.size == PIXELS.size


def test_encoding_twice_gives_the_same_bytes(photo):
    assert files.encode(photo, ".jpg") == files.encode(photo, ".jpg")
    with warns("PNG cannot hold its IPTC, comment"):
        once = files.encode(photo, ".png")
    assert files.encode(files.read_picture(once), ".png") == once
