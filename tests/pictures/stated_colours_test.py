"""Colours said by other means than a profile: converted, refused or named, never dropped."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from deep_files import png16, tiff16
from icc_profiles import ADOBE_RGB, DISPLAY_P3, SRGB, rgb, to_srgb
from log_checks import no_other_warnings, warns
from PIL import Image

from restore_tf.errors import UserError
from restore_tf.pictures import files

GRID = np.stack(np.meshgrid(*[np.linspace(0, 255, 9).astype(np.uint8)] * 3), -1).reshape(9, 81, 3)
DEEP = GRID.astype(np.uint16) * 257
# ITU-R BT.2407 table 1: light of BT.2020 to light of BT.709, without clipping.
BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
# The PNG specification's units of 1/100,000: white, red, green, blue.
CHRM = {
    "sRGB": (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    "Adobe RGB": (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000),
    "Display P3": (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
    "a line": (31270, 32900, 64000, 33000, 64000, 33000, 15000, 6000),
    "zeros": (0,) * 8,
}


def chrm(name):
    return b"cHRM", struct.pack(">8I", *CHRM[name])


def gama(value):
    return b"gAMA", struct.pack(">I", value)


def cicp(*values):
    return b"cICP", bytes(values)


def png(pixels, *chunks):
    """A PNG file of 8 or 16 bits with chunks before its pixels."""
    if pixels.dtype == np.uint16:
        return png16(pixels, *chunks)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    data, extra = buffer.getvalue(), b""
    for kind, content in chunks:
        extra += struct.pack(">I", len(content)) + kind + content
        extra += struct.pack(">I", zlib.crc32(kind + content))
    return data[:33] + extra + data[33:]


def from_light(light):
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def srgb_light(values):
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


VALUES = GRID / 255
P3 = from_light(srgb_light(VALUES) @ DISPLAY_P3.T @ np.linalg.inv(SRGB).T)
BT709_LIGHT = np.where(VALUES < 0.081, VALUES / 4.5, ((VALUES + 0.099) / 1.099) ** (1 / 0.45))
BT2020 = from_light(BT709_LIGHT @ BT2020_TO_BT709.T)
ADOBE = to_srgb(VALUES, ADOBE_RGB, 2.2)
ICC_P3 = b"iCCP", b"x\0\0" + zlib.compress(rgb("Display P3", DISPLAY_P3))
SRGB_CHUNK = b"sRGB", b"\0"

# name: (chunks, what the warning says, the expected values in [0, 1])
CONVERTED = {
    "cICP Display P3": ([cicp(12, 13, 0, 1)], r"Display P3 \(cICP\)", P3),
    "cICP BT.2020": ([cicp(9, 14, 0, 1)], r"BT.2020 \(cICP\)", BT2020),
    "cICP linear": ([cicp(1, 8, 0, 1)], r"BT.709 \(cICP\)", from_light(VALUES)),
    "cICP before all": (
        [cicp(12, 13, 0, 1), SRGB_CHUNK, gama(100_000), chrm("Adobe RGB")], "Display P3", P3,
    ),
    "cICP before a profile": ([cicp(9, 14, 0, 1), ICC_P3], "BT.2020", BT2020),
    "cHRM alone": ([chrm("Display P3")], r"Display P3 \(cHRM\)", P3),
    "cHRM and gAMA": (
        [gama(45_455), chrm("Adobe RGB")], r"Adobe RGB \(gAMA, cHRM\)", ADOBE,
    ),
    "gAMA alone": ([gama(100_000)], r"BT.709 with gamma 1 \(gAMA\)", from_light(VALUES)),
    "gAMA of a Mac": (
        [gama(55_556), chrm("sRGB")], "BT.709 with gamma 0.5556", from_light(VALUES**1.8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("pixels", [GRID, DEEP], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("kind", CONVERTED)
def test_png_colours_become_srgb_and_that_is_said(tmp_path, kind, pixels):
    chunks, words, expected = CONVERTED[kind]
    (tmp_path / "a.png").write_bytes(png(pixels, *chunks))
    with no_other_warnings(), warns(f"a.png: converted from .*{words}.* to sRGB"):
        picture = files.read_picture(tmp_path / "a.png")
    assert picture.pixels.dtype == pixels.dtype
    levels = picture.pixels / np.iinfo(pixels.dtype).max * 255
    # At sRGB's border, matrices of four digits differ by more than rounding.
    inside = (expected > 0.02) & (expected < 0.98)
    np.testing.assert_allclose(levels[inside], expected[inside] * 255, atol=1.2)
    np.testing.assert_allclose(levels, expected * 255, atol=5)
    files.write_picture(tmp_path / "b.png", picture)
    with no_other_warnings():
        np.testing.assert_array_equal(files.read_picture(tmp_path / "b.png").pixels, picture.pixels)


@pytest.mark.parametrize(
    "chunks",
    [
        [cicp(1, 13, 0, 1)],
        [cicp(1, 13, 0, 1), ICC_P3],
        [cicp(2, 2, 0, 1)],
        [SRGB_CHUNK, gama(45_455), chrm("Adobe RGB")],
        [SRGB_CHUNK, gama(100_000)],
        [gama(45_455), chrm("sRGB")],
        [gama(45_000)],
        [chrm("sRGB")],
        [],
    ],
)
def test_what_says_srgb_is_left_alone(tmp_path, chunks):
    (tmp_path / "a.png").write_bytes(png(GRID, *chunks))
    with no_other_warnings():
        picture = files.read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, GRID)
    assert picture.icc_profile is None


def test_a_profile_goes_before_the_chunks_after_it(tmp_path):
    (tmp_path / "a.png").write_bytes(png(GRID, ICC_P3, gama(100_000), chrm("Adobe RGB")))
    with no_other_warnings(), warns("converted from Display P3 to sRGB"):
        files.read_picture(tmp_path / "a.png")


def icc_with_cicp(transfer):
    """A profile whose tag cicp says HDR (ICC.1:2022)."""
    profile = bytearray(rgb("BT.2100", DISPLAY_P3))
    start = profile.index(b"rTRC")
    offset = len(profile)
    profile[start : start + 12] = struct.pack(">4sII", b"cicp", offset, 12)
    return bytes(profile) + b"cicp\0\0\0\0" + bytes([9, transfer, 0, 1])


@pytest.mark.parametrize("pixels", [GRID, DEEP, GRID[..., 0]])
@pytest.mark.parametrize(("transfer", "word"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(tmp_path, pixels, transfer, word):
    (tmp_path / "a.png").write_bytes(png(pixels, cicp(9, transfer, 0, 1)))
    with pytest.raises(UserError, match=f"a.png: is HDR .{word}.*; convert it to sRGB first"):
        files.read_picture(tmp_path / "a.png")
    with pytest.raises(UserError, match="is HDR"):
        files.read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_hdr_in_a_profile_is_refused(tmp_path, kind):
    Image.fromarray(GRID).save(tmp_path / "a", kind, icc_profile=icc_with_cicp(16))
    with pytest.raises(UserError, match="is HDR .PQ"):
        files.read_picture(tmp_path / "a")


def test_limited_range_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png(GRID, cicp(1, 13, 0, 0)))
    with pytest.raises(UserError, match="a.png: is of limited range"):
        files.read_picture(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([cicp(1, 13)], "cICP chunk is damaged"),
        ([cicp(250, 13, 0, 1)], "cICP 250/13/0, are not supported"),
        ([cicp(1, 9, 0, 1)], "cICP 1/9/0, are not supported"),
        ([cicp(9, 14, 9, 1)], "cICP 9/14/9, are not supported"),
        ([chrm("a line")], "cHRM chunk is damaged"),
        ([chrm("zeros"), gama(45_455)], "cHRM chunk is damaged"),
        ([gama(0)], "gamma, 0, makes no sense"),
    ],
)
def test_what_cannot_be_followed_is_said(tmp_path, chunks, words):
    (tmp_path / "a.png").write_bytes(png(GRID, *chunks))
    with no_other_warnings(), warns(f"a.png: its .*{words}"):
        np.testing.assert_array_equal(files.read_picture(tmp_path / "a.png").pixels, GRID)


def test_gray_follows_its_gamma_and_has_no_primaries(tmp_path):
    for pixels in (GRID[..., 0], DEEP[..., 0]):
        (tmp_path / "a.png").write_bytes(png(pixels, gama(100_000)))
        with warns("converted from BT.709 with gamma 1"):
            picture = files.read_picture(tmp_path / "a.png")
        assert picture.pixels.dtype == pixels.dtype
        levels = picture.pixels / np.iinfo(pixels.dtype).max * 255
        np.testing.assert_allclose(levels, from_light(VALUES[..., 0]) * 255, atol=0.51)
        (tmp_path / "a.png").write_bytes(png(pixels, chrm("Display P3")))
        with no_other_warnings():
            np.testing.assert_array_equal(files.read_picture(tmp_path / "a.png").pixels, pixels)


def exif(space=None, index=None, **tags):
    block = Image.Exif()
    inner = {}
    if space is not None:
        inner[0xA001] = space
    if index is not None:
        inner[0xA005] = {1: index}
    block[0x8769] = inner
    for tag, value in tags.items():
        block[int(tag[1:])] = value
    return block.tobytes()


ADOBE_TAGS = {"t318": (0.3127, 0.329), "t319": (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)}
SRGB_TAGS = {"t318": (0.3127, 0.329), "t319": (0.64, 0.33, 0.3, 0.6, 0.15, 0.06)}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    "block",
    [exif(65535, "R03"), exif(2), exif(None, "R03"), exif(65535, **ADOBE_TAGS)],
    ids=["R03", "2", "R03 alone", "tags"],
)
def test_cameras_adobe_rgb_is_converted_and_no_longer_claimed(tmp_path, kind, block):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    if kind == "TIFF":  # Pillow writes the position of one directory instead of the directory
        data, block = block, Image.Exif()
        block.load(data)
        if 0xA005 in (inner := block.get_ifd(0x8769)):
            inner[0xA005] = block.get_ifd(0xA005)
    Image.fromarray(GRID).save(tmp_path / "a", kind, exif=block, **options)
    with no_other_warnings(), warns("a: converted from Adobe RGB .* to sRGB"):
        picture = files.read_picture(tmp_path / "a")
    if kind != "JPEG":
        inside = (ADOBE > 0.02) & (ADOBE < 0.98)
        np.testing.assert_allclose(picture.pixels[inside], ADOBE[inside] * 255, atol=1.2)
    written = tmp_path / f"b{files.ending(kind)}"
    files.write_picture(written, picture)
    with Image.open(written) as image:
        tags = image.getexif()
        assert tags.get_ifd(0x8769).get(0xA001, 1) == 1
        assert not {301, 318, 319} & set(tags)
        if 0xA005 in tags.get_ifd(0x8769):
            assert tags.get_ifd(0xA005)[1].startswith("R98")
    with no_other_warnings():
        files.read_picture(written)


@pytest.mark.parametrize(
    "block",
    [exif(1), exif(1, "R98"), exif(1, **ADOBE_TAGS), exif(**SRGB_TAGS)],
    ids=["1", "R98", "1 before tags", "tags"],
)
def test_exif_that_says_srgb(tmp_path, block):
    Image.fromarray(GRID).save(tmp_path / "a.tif", exif=block)
    with no_other_warnings():
        picture = files.read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, GRID)


@pytest.mark.parametrize(("space", "word"), [(65535, "uncalibrated"), (0xFFFD, "of a kind of its")])
def test_colours_that_nobody_can_know_are_said(tmp_path, space, word):
    Image.fromarray(GRID).save(tmp_path / "a.jpg", exif=exif(space))
    with no_other_warnings(), warns(f"a.jpg: its EXIF says that its colours are {word}"):
        files.read_picture(tmp_path / "a.jpg")
    profile = rgb("Display P3", DISPLAY_P3)
    Image.fromarray(GRID).save(tmp_path / "a.jpg", exif=exif(space), icc_profile=profile)
    with no_other_warnings(), warns("a.jpg: converted from Display P3 to sRGB"):
        files.read_picture(tmp_path / "a.jpg")


def tiff(pixels, *extratags):
    if pixels.dtype == np.uint16:
        return tiff16(pixels, extratags=extratags)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb", metadata=None, extratags=extratags)
    return buffer.getvalue()


def rationals(*values):
    return tuple(v for value in values for v in (round(value * 10_000), 10_000))


PRIMARIES = [
    (318, "2I", 2, rationals(0.3127, 0.329)),
    (319, "2I", 6, rationals(0.64, 0.33, 0.21, 0.71, 0.15, 0.06)),
]
LINEAR = [(301, "H", 768, tuple(range(0, 65536, 257)) * 3)]


@pytest.mark.parametrize("pixels", [GRID, DEEP], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize(
    ("tags", "words", "expected"),
    [(PRIMARIES, "Adobe RGB", ADOBE), (LINEAR, "another transfer curve", from_light(VALUES))],
)
def test_tiff_tags_of_colour_are_followed(tmp_path, pixels, tags, words, expected):
    (tmp_path / "a.tif").write_bytes(tiff(pixels, *tags))
    with no_other_warnings(), warns(f"a.tif: converted from {words} .* to sRGB"):
        picture = files.read_picture(tmp_path / "a.tif")
    levels = picture.pixels / np.iinfo(pixels.dtype).max * 255
    inside = (expected > 0.02) & (expected < 0.98)
    np.testing.assert_allclose(levels[inside], expected[inside] * 255, atol=1.2)


@pytest.mark.parametrize(
    "tags", [[(301, "H", 3, (1, 2, 3))], [(319, "2I", 6, rationals(*[0.0] * 6))]]
)
def test_damaged_tiff_tags_of_colour_are_said(tmp_path, tags):
    (tmp_path / "a.tif").write_bytes(tiff(GRID, *tags))
    with no_other_warnings(), warns("damaged; taken as sRGB's"):
        np.testing.assert_array_equal(files.read_picture(tmp_path / "a.tif").pixels, GRID)


def bmp(space, ends=(0,) * 9, gamma=0.0, profile=b""):
    """A BMP file of the fifth version."""
    height, width = GRID.shape[:2]
    rows = GRID[::-1, :, ::-1].reshape(height, -1)
    lines = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()
    head = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(lines), 0, 0, 0, 0)
    head += bytes(16) + space + struct.pack("<9i", *(round(v * 2**30) for v in ends))
    head += struct.pack("<3I", *[round(gamma * 2**16)] * 3)
    head += struct.pack("<4I", 4, 124 + len(lines), len(profile), 0)
    assert len(head) == 124
    start = struct.pack("<2sIHHI", b"BM", 138 + len(lines) + len(profile), 0, 0, 138)
    return start + head + lines + profile


def ends(chromaticities):
    """X, Y, Z of three colours that make D65's white, by hand."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in chromaticities]).T
    white = np.array([0.3127 / 0.329, 1, (1 - 0.3127 - 0.329) / 0.329])
    return (columns * np.linalg.solve(columns, white)).T.ravel()


ADOBE_ENDS = ends([(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)])
SRGB_ENDS = ends([(0.64, 0.33), (0.3, 0.6), (0.15, 0.06)])


@pytest.mark.parametrize(
    ("data", "words", "expected"),
    [
        (bmp(b"BGRs"), None, VALUES),
        (bmp(b" niW"), None, VALUES),
        (bmp(bytes(4)), None, VALUES),
        (bmp(bytes(4), SRGB_ENDS, 2.2), None, VALUES),
        (bmp(bytes(4), SRGB_ENDS), None, VALUES),
        (bmp(bytes(4), ADOBE_ENDS, 2.2), r"converted from Adobe RGB \(BMP\)", ADOBE),
        (bmp(bytes(4), (1,) * 9, 2.2), "its calibration of colours is damaged", VALUES),
        (bmp(b"KNIL"), "its colour profile is another file", VALUES),
        (bmp(b"DEBM", profile=rgb("A", ADOBE_RGB, 2.2)), "converted from A to sRGB", ADOBE),
        (bmp(b"DEBM", profile=b"nonsense"), "its colour profile is damaged", VALUES),
    ],
)
def test_colours_of_bmp(data, words, expected):
    with no_other_warnings():
        if words is None:
            picture = files.read_picture(data)
        else:
            with warns(words):
                picture = files.read_picture(data)
    inside = (expected > 0.02) & (expected < 0.98)
    np.testing.assert_allclose(picture.pixels[inside], expected[inside] * 255, atol=1.7)
