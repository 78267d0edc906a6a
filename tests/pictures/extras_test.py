"""What a file holds beside its picture: one line names it, and no metadata claims it after."""

import io
import struct

import numpy as np
import pytest
import tifffile
from deep_files import png16
from log_checks import no_other_warnings, warns
from PIL import Image

from restore_tf.errors import UserError
from restore_tf.pictures import files, xmp

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (24, 32, 3), np.uint8)
VIDEO = struct.pack(">I", 24) + b"ftypmp42" + bytes(12) + b"moov" + bytes(99)
RDF = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description dc:title="Blatt" %s'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
NAMESPACES = (
    b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" '
    b'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    b'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" '
    b'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" '
    b'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" '
    b'xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/" '
)
DIRECTORY = (
    b"<Container:Directory><rdf:Seq><rdf:li><Container:Item Item:Mime='image/jpeg' "
    b'Item:Semantic="Primary"/></rdf:li><rdf:li><Container:Item Item:Semantic="GainMap" '
    b'Item:Length="521"/></rdf:li></rdf:Seq></Container:Directory>'
)
GAIN_MAP = RDF % (NAMESPACES + b'hdrgm:Version="1.0">' + DIRECTORY)
GAIN_MAP_IN_ELEMENTS = RDF % (
    NAMESPACES + b"><hdrgm:Version>1.0</hdrgm:Version><hdrgm:GainMapMax><rdf:Seq/>"
    b"</hdrgm:GainMapMax>" + DIRECTORY
)
MOTION = RDF % (
    NAMESPACES + b'GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="4096" GCamera:BurstID="b7">'
)
DEPTH = RDF % (NAMESPACES + b'xmpNote:HasExtendedXMP="0123" GDepth:Format="RangeInverse">')
PLAIN = RDF % b">"


def jpeg(pixels=PIXELS, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def segment(number, content):
    return bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(content) + 2) + content


SMALL = jpeg(PIXELS[:8, :8])
PROGRESSIVE = jpeg(progressive=True, xmp=GAIN_MAP)
# A preview within the picture, which has an end of its own.
EMPTY_EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"
WITH_PREVIEW = jpeg(exif=EMPTY_EXIF + SMALL)
ISO = segment(2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0")

# name: (the file, what the line says of it)
BESIDE = {
    "gain map": (jpeg(xmp=GAIN_MAP) + SMALL, "an HDR gain map"),
    "gain map, in elements": (jpeg(xmp=GAIN_MAP_IN_ELEMENTS) + SMALL, "an HDR gain map"),
    "gain map, said in its own XMP": (jpeg() + jpeg(PIXELS[:8, :8], xmp=GAIN_MAP), "HDR gain map"),
    "gain map by ISO 21496-1": (jpeg(extra=ISO) + SMALL, "an HDR gain map"),
    "gain map, progressive": (PROGRESSIVE + SMALL, "an HDR gain map"),
    "gain map after padding": (jpeg(xmp=GAIN_MAP) + bytes(999) + SMALL, "an HDR gain map"),
    "motion photo": (jpeg(xmp=MOTION) + VIDEO, r"a video \(motion photo\)"),
    "motion photo without XMP": (jpeg() + VIDEO, r"a video \(motion photo\)"),
    "motion photo, Samsung's": (
        jpeg() + b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data" + VIDEO + b"SEFT", "a video",
    ),
    "both": (jpeg(xmp=GAIN_MAP) + SMALL + VIDEO, r"an HDR gain map, a video"),
    "another picture": (jpeg() + SMALL, "another picture behind it"),
    "depth": (jpeg(xmp=DEPTH), r"the rest of its XMP \(depth, previews\)"),
    "something": (jpeg() + b"PK\3\4something", "13 bytes behind its end"),
    "a segment of its maker": (jpeg(extra=segment(1, b"FLIR\0\1\2")), "APP1 FLIR"),
    "credentials": (jpeg(extra=segment(11, b"JP\0\1jumb c2pa")), r"content credentials \(C2PA\)"),
    "nothing": (jpeg(xmp=PLAIN), None),
    "padding": (jpeg() + bytes(4096), None),
    "a preview": (WITH_PREVIEW, None),
}  # fmt: skip

CLAIMS = rb"GainMap|hdrgm|Motion|MicroVideo|HasExtended|Container|Item:"


@pytest.mark.parametrize("kind", BESIDE)
def test_what_a_jpeg_holds_beside_its_picture(tmp_path, kind):
    data, words = BESIDE[kind]
    packet = Image.open(io.BytesIO(data)).info.get("xmp", b"")
    (tmp_path / "a.jpg").write_bytes(data)
    with no_other_warnings():
        if words is None:
            picture = files.read_picture(tmp_path / "a.jpg")
        else:
            with warns(f"a.jpg: restored without what else it holds: .*{words}") as records:
                picture = files.read_picture(tmp_path / "a.jpg")
            assert len(records) == 1
        for ending in (".jpg", ".png", ".tif", ".webp"):
            files.write_picture(tmp_path / f"out{ending}", picture)
            written = (tmp_path / f"out{ending}").read_bytes()
            for claim in (
                b"GainMap",
                b"hdrgm:",
                b"Motion",
                b"MicroVideo",
                b"HasExtended",
                b"Item:",
            ):
                assert claim not in written.replace(b"xmlns:hdrgm", b"").replace(b"xmlns:Item", b"")
            assert (b'dc:title="Blatt"' in written) == (b"Blatt" in packet)
            assert (b"BurstID" in written) == (b"BurstID" in data)
            files.read_picture(tmp_path / f"out{ending}")


def test_claims_are_taken_out_of_well_formed_xmp():
    import xml.etree.ElementTree as tree

    for packet in (GAIN_MAP, GAIN_MAP_IN_ELEMENTS, MOTION, DEPTH):
        packet = packet.replace(b'dc:title="Blatt"', b"")
        root = tree.fromstring(xmp.without_claims(packet))
        names = {name for e in root.iter() for name in (e.tag, *e.attrib)}
        spaces = ("hdr-gain-map", "container", "Motion", "MicroVideo", "note/", "depthmap")
        assert not [name for name in names if any(space in name for space in spaces)]
    assert xmp.without_claims(PLAIN) == PLAIN
    assert xmp.without_claims(b"not XML at all <hdrgm:") == b"not XML at all <hdrgm:"


def png_with(*chunks, behind=b""):
    return png16(PIXELS.astype(np.uint16) * 257, *chunks) + behind


def webp_with(chunk=b"", behind=b""):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(
        buffer, "WEBP", lossless=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"
    )
    data = buffer.getvalue() + chunk
    return b"RIFF" + struct.pack("<I", len(data) - 8) + data[8:] + behind


def tiff_with_pages_below():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(PIXELS, photometric="rgb", subifds=1, metadata=None)
        file.write(PIXELS[::2, ::2], photometric="rgb", metadata=None)
    return buffer.getvalue()


OTHERS = {
    "PNG, behind its end": (png_with(behind=b"PK\3\4"), "4 bytes behind its end"),
    "PNG, layers": (png_with((b"mkBT", b"1")), "chunks mkBT"),
    "PNG, credentials": (png_with((b"caBX", b"1")), "content credentials"),
    "PNG, nothing": (png_with((b"tIME", bytes(7)), (b"sBIT", bytes([16, 16, 16]))), None),
    "WebP, behind its end": (webp_with(behind=b"PK\3\4"), "4 bytes behind its end"),
    "WebP, a chunk": (webp_with(b"GAIN\2\0\0\0ab"), "chunks GAIN"),
    "WebP, nothing": (webp_with(), None),
    "TIFF, pictures below": (tiff_with_pages_below(), r"pictures below its first one \(SubIFDs\)"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_other_files_hold_beside_their_picture(kind):
    data, words = OTHERS[kind]
    with no_other_warnings():
        if words is None:
            picture = files.read_picture(data)
        else:
            with warns(f"restored without what else it holds: {words}"):
                picture = files.read_picture(data)
    levels = picture.pixels if picture.pixels.dtype == np.uint8 else picture.pixels // 257
    np.testing.assert_array_equal(levels, PIXELS)


def test_raw_photos_are_refused():
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, PIXELS, photometric="rgb", metadata=None, extratags=[(50706, "B", 4, (1, 4, 0, 0))]
    )
    with pytest.raises(UserError, match="a.tif: is a raw photo .DNG.; develop it"):
        files.read_picture(buffer.getvalue(), name="a.tif")


def bmp(fourth, masks=False):
    """A BMP file of 32 bits a pixel; with masks (its fourth version) the last byte is alpha."""
    rows = np.dstack([PIXELS[..., ::-1], fourth])[::-1].tobytes()
    size = 108 if masks else 40
    head = struct.pack("<2sIHHI", b"BM", 14 + size + len(rows), 0, 0, 14 + size)
    head += struct.pack(
        "<IiiHHIIiiII", size, 32, 24, 1, 32, 3 if masks else 0, len(rows), 0, 0, 0, 0
    )
    if masks:
        head += struct.pack("<4I4s", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, b"BGRs") + bytes(48)
    return head + rows


def test_alpha_of_bmp(tmp_path):
    alpha = RANDOM.integers(0, 256, (24, 32), np.uint8)
    with no_other_warnings():
        picture = files.read_picture(bmp(alpha, masks=True))
        np.testing.assert_array_equal(picture.alpha, alpha)
        with warns("out.bmp: BMP cannot hold alpha; left out"):
            files.write_picture(tmp_path / "out.bmp", picture)
        with warns("a.bmp: has a fourth channel that it does not call alpha"):
            picture = files.read_picture(bmp(alpha), name="a.bmp")
        assert picture.alpha is None
        for unused in (0, 255):
            picture = files.read_picture(bmp(np.full_like(alpha, unused)))
            np.testing.assert_array_equal(picture.pixels, PIXELS)


def chunk_phys(x, y, unit):
    return b"pHYs", struct.pack(">IIB", x, y, unit)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png_with(chunk_phys(1, 2, 0)), "2 times as wide as high.; .* the output does not say so"),
        (png_with(chunk_phys(5906, 11812, 1)), "2 times as wide as high.; restored as .* stored.$"),
        (jpeg(dpi=(150, 100)), r"0.6667 times as wide as high"),
        (jpeg()[:13] + b"\0\0\2\0\1" + jpeg()[18:], "0.5 times as wide .* does not say so"),
        (png_with(chunk_phys(2, 2, 0)), None),
        (png_with(chunk_phys(5906, 5905, 1)), None),
        (jpeg(dpi=(72, 72)), None),
    ],
)
def test_pixels_that_are_not_square_are_said(data, words):
    with no_other_warnings():
        if words is None:
            files.read_picture(data)
            return
        with warns(f"a: its pixels are not square .{words}"):
            files.read_picture(data, name="a")


def test_unequal_resolution_is_kept_and_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x011B], exif[0x0128] = 6, 300.0, 150.0, 2
    data = jpeg(dpi=(300, 150), exif=exif.tobytes())
    with no_other_warnings():
        with warns("not square"):
            picture = files.read_picture(data)
        assert picture.metadata.dpi == (150, 300)
        for ending in (".jpg", ".png", ".tif", ".bmp"):
            if ending == ".bmp":
                with warns("BMP cannot hold its EXIF"):
                    files.write_picture(tmp_path / f"o{ending}", picture)
            else:
                files.write_picture(tmp_path / f"o{ending}", picture)
            with Image.open(tmp_path / f"o{ending}") as image:
                np.testing.assert_allclose([float(v) for v in image.info["dpi"]], (150, 300), 0.01)
                if ending in (".jpg", ".png"):
                    tags = image.getexif()
                    assert (float(tags[0x011A]), float(tags[0x011B])) == (150, 300)
        with warns("WEBP cannot hold its resolution"):
            files.encode(picture, ".webp")


def test_pairs_are_read_without_what_stands_beside(tmp_path):
    data = jpeg(xmp=GAIN_MAP, dpi=(300, 150)) + SMALL
    (tmp_path / "a.jpg").write_bytes(data)
    with no_other_warnings():
        files.read_rgb(tmp_path / "a.jpg")
    alpha = np.full((24, 32), 255, np.uint8)
    alpha[:, 20:] = 0
    Image.fromarray(np.dstack([PIXELS, alpha])).save(tmp_path / "a.png")
    read = files.read_rgb(tmp_path / "a.png")
    np.testing.assert_array_equal(read[:, :20], PIXELS[:, :20])
    np.testing.assert_array_equal(read[:, 20:], PIXELS[:, 19:20].repeat(12, 1))
