"""Every kind of picture file through the identity: what goes in comes out, upright and in sRGB."""

import io
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from deep_files import png16, tiff16
from icc_profiles import ADOBE_RGB, DISPLAY_P3, cmyk, gray, rgb, to_srgb
from log_checks import no_other_warnings, warns
from PIL import Image, ImageCms

from restore_tf.errors import UserError
from restore_tf.pictures import files, kinds, sixteen_bits

RANDOM = np.random.default_rng(0)
DEEP = RANDOM.integers(0, 65536, (6, 8, 4), np.uint16)
SHALLOW = RANDOM.integers(0, 256, (6, 8, 4), np.uint8)
ORIENTATION, MAKE = 0x0112, 0x010F

# EXIF 2.32, tag Orientation: where the first row and the first column are to be seen.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def through(tmp_path, data, ending, to=None, **options):
    """Reads a file's bytes, writes the picture, and returns the path of what was written."""
    source, output = tmp_path / f"in{ending}", tmp_path / f"out{to or ending}"
    source.write_bytes(data)
    files.write_picture(output, files.read_picture(source), **options)
    return output


def channels(path):
    """The channels of a file as another library reads them: OpenCV, tifffile."""
    if path.suffix == ".tif":
        return tifffile.imread(path)
    planes = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    assert planes is not None
    return planes[..., [2, 1, 0, 3][: planes.shape[2]]] if planes.ndim == 3 else planes


@pytest.fixture(autouse=True)
def _no_unexpected_warnings():
    with no_other_warnings():
        yield


def reopened(path):
    """An output's mode, its information and its EXIF, by Pillow."""
    with Image.open(path) as image:
        image.load()
        return image.mode, image.info, image.getexif()


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif", ".webp"])
def test_orientation_is_applied_and_reset(tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = orientation, "maker"
    blocks = np.array([[0, 90, 200], [40, 250, 140]], np.uint8).repeat(16, 0).repeat(16, 1)
    stored = np.dstack([blocks] * 3)
    options = {"lossless": True} if ending == ".webp" else {}
    data = saved(Image.fromarray(stored), kinds.PICTURES[ending], exif=exif, **options)
    output = through(tmp_path, data, ending)
    expected = UPRIGHT[orientation](stored)
    tolerance = 3 if ending == ".jpg" else 0
    np.testing.assert_allclose(channels(output).astype(int), expected, atol=tolerance)
    exif = reopened(output)[2]
    assert exif.get(ORIENTATION, 1) == 1
    assert exif[MAKE] == "maker"


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_orientation_of_16_bits(tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = orientation, "maker"
    tags = [(ORIENTATION, "H", 1, orientation), (MAKE, "s", 6, "maker")]
    if ending == ".png":
        data = png16(DEEP, (b"eXIf", exif.tobytes()[6:]))
    else:
        data = tiff16(DEEP, extratags=tags)
    output = through(tmp_path, data, ending)
    read = channels(output)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, UPRIGHT[orientation](DEEP))
    exif = reopened(output)[2]
    assert exif.get(ORIENTATION, 1) == 1
    assert exif[MAKE] == "maker"


PALETTE = Image.fromarray(SHALLOW[..., 0] % 4, "P")
PALETTE.putpalette([10, 20, 30, 200, 0, 0, 0, 210, 0, 1, 2, 220])
COLOURS = np.array([[10, 20, 30], [200, 0, 0], [0, 210, 0], [1, 2, 220]], np.uint8)
SHOWN = COLOURS[SHALLOW[..., 0] % 4]
CLEAR = np.array([255, 0, 128, 255], np.uint8)[SHALLOW[..., 0] % 4]  # alpha by palette index
BITS = np.where(SHALLOW[..., 0] > 99, 255, 0).astype(np.uint8)
KEYED = np.where((SHALLOW[..., :3] == SHALLOW[0, 0, :3]).all(-1), 0, 255).astype(np.uint8)
DEEP_KEYED = np.where((DEEP[..., :3] == DEEP[0, 0, :3]).all(-1), 0, 65535).astype(np.uint16)
KEY = struct.pack(">3H", *(int(v) for v in DEEP[0, 0, :3]))


def image_of(planes):
    return Image.fromarray(np.ascontiguousarray(planes))


# name: (the file's bytes, ending, what another library is to read from the output)
KINDS = {
    "gray": (saved(image_of(BITS), "PNG"), ".png", BITS),
    "gray JPEG": (saved(Image.new("L", (5, 4), 77), "JPEG"), ".jpg", np.full((4, 5), 77, np.uint8)),
    "gray with alpha": (
        saved(image_of(SHALLOW[..., :2]), "PNG"), ".png", SHALLOW[..., [0, 0, 0, 1]],
    ),
    "gray with alpha, TIFF": (saved(image_of(SHALLOW[..., :2]), "TIFF"), ".tif", SHALLOW[..., :2]),
    "1 bit": (saved(image_of(BITS).convert("1"), "PNG"), ".png", BITS),
    "1 bit, TIFF": (saved(image_of(BITS).convert("1"), "TIFF"), ".tif", BITS),
    "RGB": (saved(image_of(SHALLOW[..., :3]), "BMP"), ".bmp", SHALLOW[..., :3]),
    "RGBA": (saved(image_of(SHALLOW), "PNG"), ".png", SHALLOW),
    "RGBA, TIFF": (saved(image_of(SHALLOW), "TIFF"), ".tif", SHALLOW),
    "RGBA, WebP": (
        saved(image_of(SHALLOW), "WEBP", lossless=True, exact=True), ".webp", SHALLOW,
    ),
    "a transparent colour": (
        saved(
            image_of(SHALLOW[..., :3]), "PNG", transparency=tuple(int(v) for v in SHALLOW[0, 0, :3])
        ),
        ".png",
        np.dstack([SHALLOW[..., :3], KEYED]),
    ),
    "palette": (saved(PALETTE, "PNG"), ".png", SHOWN),
    "palette with alpha": (
        saved(PALETTE, "PNG", transparency=bytes([255, 0, 128, 255])),
        ".png",
        np.dstack([SHOWN, CLEAR]),
    ),
    "palette, BMP": (saved(PALETTE, "BMP"), ".bmp", SHOWN),
    "a GIF's single frame": (saved(PALETTE, "GIF"), ".png", SHOWN),
    "a PNG by another name": (saved(image_of(SHALLOW[..., :3]), "PNG"), ".bmp", SHALLOW[..., :3]),
    "1x1": (saved(image_of(SHALLOW[:1, :1, :3]), "PNG"), ".png", SHALLOW[:1, :1, :3]),
    "1x8": (saved(image_of(SHALLOW[:1, :, :3]), "TIFF"), ".tif", SHALLOW[:1, :, :3]),
    "16-bit gray": (png16(DEEP[..., 0]), ".png", DEEP[..., 0]),
    "16-bit gray with alpha": (png16(DEEP[..., :2]), ".png", DEEP[..., [0, 0, 0, 1]]),
    "16-bit RGB": (png16(DEEP[..., :3]), ".png", DEEP[..., :3]),
    "16-bit RGBA": (png16(DEEP), ".png", DEEP),
    "16-bit, a transparent colour": (
        png16(DEEP[..., :3], (b"tRNS", KEY)), ".png", np.dstack([DEEP[..., :3], DEEP_KEYED]),
    ),
    "16-bit 1x1": (png16(DEEP[:1, :1, :3]), ".png", DEEP[:1, :1, :3]),
    "16-bit gray, TIFF": (tiff16(DEEP[..., 0]), ".tif", DEEP[..., 0]),
    "16-bit gray, white is 0": (
        tiff16(DEEP[..., 0], photometric="miniswhite"), ".tif", 65535 - DEEP[..., 0],
    ),
    "16-bit RGB, TIFF": (tiff16(DEEP[..., :3]), ".tif", DEEP[..., :3]),
    "16-bit RGB, big-endian": (tiff16(DEEP[..., :3], byteorder=">"), ".tif", DEEP[..., :3]),
    "16-bit RGB in planes": (
        tiff16(np.moveaxis(DEEP[..., :3], -1, 0), planarconfig="separate", photometric="rgb"),
        ".tif",
        DEEP[..., :3],
    ),
    "16-bit RGB, compressed": (
        tiff16(DEEP[..., :3], compression="zlib", predictor=True), ".tif", DEEP[..., :3],
    ),
    "16-bit RGBA, TIFF": (tiff16(DEEP), ".tif", DEEP),
    "16-bit 1x1, TIFF": (tiff16(DEEP[:1, :1, :3]), ".tif", DEEP[:1, :1, :3]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_pixels_is_lost(tmp_path, kind):
    data, ending, expected = KINDS[kind]
    read = channels(through(tmp_path, data, ending))
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read.squeeze(), expected.squeeze())


@pytest.mark.parametrize(("ending", "to"), [(".png", ".tif"), (".tif", ".png")])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_16_bits_go_from_one_format_to_the_other(tmp_path, ending, to, bands):
    planes = DEEP[..., :bands].squeeze()
    data = png16(planes) if ending == ".png" else tiff16(planes)
    np.testing.assert_array_equal(channels(through(tmp_path, data, ending, to)), planes)


def test_gray_with_alpha_becomes_colours_in_16_bit_tiff(tmp_path):
    output = through(tmp_path, png16(DEEP[..., :2]), ".png", ".tif")
    np.testing.assert_array_equal(channels(output), DEEP[..., [0, 0, 0, 1]])
    np.testing.assert_array_equal(files.read_picture(output).alpha, DEEP[..., 1])


@pytest.mark.parametrize("to", [".jpg", ".bmp", ".webp"])
def test_16_bits_are_rounded_and_said(tmp_path, to):
    values = np.array([0, 128, 129, 65535 - 128, 65535], np.uint16)  # 257 a level: 128.5 is half
    planes = values[None].repeat(16, 0).repeat(16, 1)
    with warns(f"out{to}: .* holds 8 bits a channel; rounded from 16"):
        output = through(tmp_path, tiff16(planes), ".tif", to, jpeg_quality=100)
    expected = np.repeat([0, 0, 1, 255, 255], 16)
    read = channels(output)
    read = read[..., 0] if read.ndim == 3 else read
    np.testing.assert_allclose(read[8].astype(int), expected, atol=0 if to == ".bmp" else 1)


def test_alpha_that_cannot_be_written_is_said(tmp_path):
    data = saved(image_of(SHALLOW), "PNG")
    for to in (".jpg", ".bmp"):
        with warns(f"out{to}: .* cannot hold alpha"):
            assert channels(through(tmp_path, data, ".png", to)).shape == (6, 8, 3)
    opaque = SHALLOW.copy()
    opaque[..., 3] = 255
    through(tmp_path, saved(image_of(opaque), "PNG"), ".png", ".jpg")  # nothing lost, nothing said


def test_lossless_webp_stays_lossless(tmp_path):
    photo = np.kron(SHALLOW[..., :3], np.ones((4, 4, 1), np.uint8))
    lossless = saved(image_of(photo), "WEBP", lossless=True)
    np.testing.assert_array_equal(channels(through(tmp_path, lossless, ".webp")), photo)
    extended = saved(
        image_of(photo), "WEBP", lossless=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"
    )
    assert extended[12:16] == b"VP8X"
    np.testing.assert_array_equal(channels(through(tmp_path, extended, ".webp")), photo)
    lossy = saved(image_of(photo), "WEBP", quality=50)
    assert b"VP8 " in through(tmp_path, lossy, ".webp").read_bytes()


def test_jpeg_quality_and_chroma(tmp_path):
    photo = np.kron(SHALLOW[..., :3], np.ones((9, 9, 1), np.uint8))
    data, sizes = saved(image_of(photo), "PNG"), []
    for quality, sampling in [(50, (2, 2)), (89, (2, 2)), (90, (1, 1)), (95, (1, 1))]:
        output = through(tmp_path, data, ".png", ".jpg", jpeg_quality=quality)
        with Image.open(output) as image:
            assert image.layer[0][1:3] == sampling
        sizes.append(output.stat().st_size)
    assert sizes == sorted(sizes)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ADOBE = rgb("Adobe RGB (1998)", ADOBE_RGB)
P3 = rgb("Display P3", DISPLAY_P3)


def same_profile(path, expected):
    assert reopened(path)[1]["icc_profile"] == expected


def described(path):
    profile = ImageCms.ImageCmsProfile(io.BytesIO(reopened(path)[1]["icc_profile"]))
    return ImageCms.getProfileDescription(profile).strip()


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_srgb_profiles_stay(tmp_path, ending):
    data = saved(image_of(SHALLOW[..., :3]), kinds.PICTURES[ending], icc_profile=SRGB)
    same_profile(through(tmp_path, data, ending), SRGB)


@pytest.mark.parametrize("make", [png16, tiff16])
def test_srgb_profiles_of_16_bits_stay(tmp_path, make):
    name = b"x\0\0" + zlib.compress(SRGB)
    data = png16(DEEP, (b"iCCP", name)) if make is png16 else tiff16(DEEP, iccprofile=SRGB)
    output = through(tmp_path, data, ".png" if make is png16 else ".tif")
    same_profile(output, SRGB)
    np.testing.assert_array_equal(channels(output), DEEP)


@pytest.mark.parametrize(("profile", "colours"), [(ADOBE, ADOBE_RGB), (P3, DISPLAY_P3)])
def test_other_colours_become_srgb_and_that_is_said(tmp_path, profile, colours):
    data = saved(image_of(SHALLOW), "PNG", icc_profile=profile)
    with warns("in.png: converted from (Adobe RGB|Display P3).* to sRGB"):
        output = through(tmp_path, data, ".png")
    read = channels(output)
    expected = to_srgb(SHALLOW[..., :3] / 255, colours) * 255
    np.testing.assert_allclose(read[..., :3], expected, atol=1.6)
    np.testing.assert_array_equal(read[..., 3], SHALLOW[..., 3])
    assert "sRGB" in described(output)
    files.read_picture(output)  # nothing more to say


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bits_keep_their_precision_through_the_conversion(tmp_path, ending):
    grid = np.linspace(6000, 65535, 12).astype(np.uint16)
    planes = np.stack(np.meshgrid(grid, grid, grid), -1).reshape(12, 144, 3)
    if ending == ".png":
        data = png16(planes, (b"iCCP", b"x\0\0" + zlib.compress(ADOBE)))
    else:
        data = tiff16(planes, iccprofile=ADOBE)
    with warns("converted from Adobe RGB"):
        output = through(tmp_path, data, ending)
    expected = to_srgb(planes / 65535, ADOBE_RGB)
    inside = (expected.min(-1) > 0.05) & (expected.max(-1) < 1)
    error = np.abs(channels(output) / 65535 - expected)[inside]
    assert error.max() < 0.5 / 255  # half an 8-bit level
    assert error.mean() < 0.05 / 255
    assert "sRGB" in described(output)


def test_gray_profiles_stay(tmp_path):
    profile = gray("Dot Gain")
    data = saved(image_of(SHALLOW[..., 0]), "PNG", icc_profile=profile)
    same_profile(through(tmp_path, data, ".png"), profile)
    output = through(
        tmp_path, png16(DEEP[..., 0], (b"iCCP", b"x\0\0" + zlib.compress(profile))), ".png"
    )
    same_profile(output, profile)
    with warns("WEBP cannot hold its colour profile"):
        assert "icc_profile" not in reopened(through(tmp_path, data, ".png", ".webp"))[1]


def test_profiles_that_do_not_fit(tmp_path):
    data = saved(image_of(SHALLOW[..., 0]), "PNG", icc_profile=ADOBE)
    with warns("is for RGB, its pixels are GRAY"):
        output = through(tmp_path, data, ".png")
    assert "icc_profile" not in reopened(output)[1]
    np.testing.assert_array_equal(channels(output), SHALLOW[..., 0])
    data = saved(image_of(SHALLOW[..., :3]), "PNG", icc_profile=b"nonsense")
    with warns("damaged; kept as it is"):
        same_profile(through(tmp_path, data, ".png"), b"nonsense")


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(tmp_path, kind):
    paper, ink = np.zeros((8, 8, 4), np.uint8), np.full((8, 8, 4), 255, np.uint8)
    stored = Image.fromarray(np.hstack([paper, ink]), "CMYK")
    ending = files.ending(kind)
    options = {"quality": 100} if kind == "JPEG" else {}
    data = saved(stored, kind, icc_profile=cmyk("Press", 255), **options)
    with warns(r"converted from CMYK \(Press\) to sRGB"):
        output = through(tmp_path, data, ending)
    read = channels(output)
    np.testing.assert_allclose(read[:, :4], 255, atol=2)
    np.testing.assert_allclose(read[:, -4:], 0, atol=2)
    assert "sRGB" in described(output)
    with warns("it has no CMYK profile, so colours are approximate"):
        output = through(tmp_path, saved(stored, kind, **options), ending)
    np.testing.assert_allclose(channels(output)[:, :4], 255, atol=2)


def test_16_bit_cmyk(tmp_path):
    planes = np.zeros((4, 4, 4), np.uint16)
    with warns("converted from CMYK to sRGB"):
        output = through(tmp_path, tiff16(planes, photometric="separated"), ".tif")
    assert channels(output).min() > 65000  # no ink: white
    assert "sRGB" in described(output)


def test_pairs_are_read_as_stored(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(saved(image_of(SHALLOW[..., :3]), "PNG", icc_profile=ADOBE))
    np.testing.assert_array_equal(files.read_rgb(path), SHALLOW[..., :3])
    path.write_bytes(png16(DEEP))
    with pytest.raises(UserError, match="a.png: has 16 bits a channel"):
        files.read_rgb(path)


def animation(kind):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


def pages():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for _ in range(2):
            file.write(SHALLOW[..., :3], photometric="rgb")
    return buffer.getvalue()


BOMB = png16(DEEP[..., :3])[:16] + struct.pack(">II", 90_000, 80_000) + bytes([8, 2, 0, 0, 0])
BOMB += struct.pack(">I", zlib.crc32(BOMB[12:]))
NOISE = image_of(RANDOM.integers(0, 256, (64, 64, 3), np.uint8))
HALF = {kind: saved(NOISE, kind) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP")}
DEEP_NOISE = RANDOM.integers(0, 65536, (64, 64, 3), np.uint16)

REFUSED = {
    "empty": (b"", "cannot be read as a picture .*is empty"),
    "text": (b"not a picture", "cannot be read as a picture .*neither PNG, JPEG"),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "neither PNG, JPEG"),
    "signature": (b"\x89PNG\r\n\x1a\n", "cannot be read as a picture"),
    "bomb": (BOMB + b"\0\0\0\0IDAT5\xaf\x06\x1e", "has 90000x80000 pixels, more than --max_pixels"),
    "animated GIF": (animation("GIF"), "has 2 frames, an animation"),
    "animated PNG": (animation("PNG"), "has 2 frames, an animation"),
    "animated WebP": (animation("WEBP"), "has 2 frames, an animation"),
    "pages": (pages(), "has 2 pages; expected a single still picture"),
    "floats": (tiff16(DEEP[..., 0].astype(np.float32)), "has floats of 32 bits"),
    "RGB floats": (tiff16(DEEP[..., :3].astype(np.float32)), "unusual layout, such as floats"),
    "32 bits": (tiff16(DEEP[..., 0].astype(np.uint32)), "has integers of 32 bits"),
    "signed": (tiff16(DEEP[..., 0].astype(np.int16)), "has signed integers of 16 bits"),
    "half a deep PNG": (png16(DEEP_NOISE)[:9000], "cannot be read as a picture"),
    "half a deep TIFF": (tiff16(DEEP_NOISE)[:9000], "cannot be read as a picture"),
} | {f"half a {kind}": (data[: len(data) // 2], "cannot be read") for kind, data in HALF.items()}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_files_are_named_in_one_line(tmp_path, kind):
    data, message = REFUSED[kind]
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"a.png: .*{message}") as caught:
        files.read_picture(path)
    assert "\n" not in str(caught.value)
    assert "BytesIO" not in str(caught.value)


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(UserError, match="x.png: cannot be read .*directory"):
        files.read_picture(tmp_path / "x.png")
    with pytest.raises(UserError, match="y.png: no such file"):
        files.read_picture(tmp_path / "y.png")


def test_the_limit_is_ours(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(saved(Image.new("L", (30, 10)), "PNG"))
    before = Image.MAX_IMAGE_PIXELS
    assert files.read_picture(path, max_pixels=300).pixels.shape == (10, 30)
    with pytest.raises(UserError, match="has 30x10 pixels, more than --max_pixels .299"):
        files.read_picture(path, max_pixels=299)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_picture_too_large_for_its_format(tmp_path):
    with pytest.raises(UserError, match="out.webp: cannot be written as WEBP"):
        files.write_picture(tmp_path / "out.webp", np.zeros((1, 16384, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_the_first_picture_of_a_camera_file(tmp_path):
    data = saved(NOISE, "MPO", save_all=True, append_images=[NOISE.resize((8, 8))])
    with warns("restored without what else it holds: 1 more picture"):
        output = through(tmp_path, data, ".jpg")
    with Image.open(output) as image:
        assert (image.format, image.size) == ("JPEG", (64, 64))


def test_a_channel_of_unknown_meaning_is_said(tmp_path):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, SHALLOW, photometric="rgb", extrasamples=["unspecified"])
    with warns("without what else it holds: a channel of unknown meaning"):
        output = through(tmp_path, buffer.getvalue(), ".tif")
    np.testing.assert_array_equal(channels(output), SHALLOW[..., :3])


def test_without_libvips_16_bits_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvips", None)
    sixteen_bits.libvips.cache_clear()
    path = tmp_path / "a.png"
    path.write_bytes(png16(DEEP))
    with pytest.raises(UserError, match=r"a.png: .*need libvips: pip install 'restore_tf\[deep\]'"):
        files.read_picture(path)
