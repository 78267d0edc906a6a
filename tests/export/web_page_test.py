"""The JavaScript of the page that restores in the browser, run by node, against Python."""

import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore_tf.export import web
from restore_tf.inference.blended_tiles import spread
from restore_tf.inference.restore import pad, restore
from restore_tf.networks.tiler import BlendedTile

PAGE = Path(web.__file__).with_name("page")
PROGRAM = Path(__file__).with_name("page_program.mjs")

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def asked(tasks):
    """What the page's modules answer."""
    done = subprocess.run(
        ["node", str(PROGRAM), str(PAGE)],
        input=json.dumps(tasks),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


class StandIn:
    """A file of fixed size, as `page_program.mjs` has it: darker to the right of each tile."""

    name, tiler = "stand_in", None

    def __init__(self, size, channels=3, scale=1, colour="rgb", padding="edge", multiple=4, step=4):
        self.size, self.channels, self.output_scale = size, channels, scale
        self.colour, self.padding, self.size_multiple = colour, padding, multiple
        self.overlap = tuple(side // 4 for side in size)
        self.blended_tile = BlendedTile(step=step)

    def restore_padded(self, images, seed=0, origins=None):
        images = images.repeat(self.output_scale, 1).repeat(self.output_scale, 2)
        width = images.shape[2]
        darker = 1 - np.arange(width) / (2 * width)
        levels = 0.1 * np.arange(self.channels)
        return (images * darker[:, None] + levels).astype(np.float32)

    def manifest(self):
        return {
            "size": self.size,
            "overlap": self.overlap,
            "tile_step": self.blended_tile.step,
            "size_multiple": self.size_multiple,
            "padding": self.padding,
            "output_scale": self.output_scale,
            "channels": self.channels,
            "colour": self.colour,
        }


def test_tiles_are_those_of_python():
    random = np.random.default_rng(0)
    cases = [(size, 256, 64, 4) for size in (1, 255, 256, 257, 448, 449, 720, 1280, 6000)]
    cases += [(1280, 528, 132, 16), (97, 32, 8, 1), (100, 32, 31, 8)]
    for _ in range(100):
        tile = int(random.integers(8, 600))
        size, overlap = int(random.integers(1, 5000)), int(random.integers(0, tile // 2))
        cases.append((size, tile, overlap, int(random.integers(1, tile // 4 + 1))))
    names = ("size", "tile", "overlap", "step")
    found = asked([{"task": "spread", **dict(zip(names, case, strict=True))} for case in cases])
    for case, tiles in zip(cases, found, strict=True):
        expected = spread(*case)
        assert [(tile["start"], tile["stop"]) for tile in tiles] == [
            (place.start, place.stop) for place, _ in expected
        ], case
        for tile, (_, weights) in zip(tiles, expected, strict=True):
            np.testing.assert_array_equal(np.float32(tile["weights"]), weights, str(case))


@pytest.mark.parametrize("padding", ["edge", "reflect"])
def test_padding_is_that_of_python(padding):
    cases = [(1, 8), (2, 8), (3, 20), (5, 32), (30, 32), (32, 32)]
    found = asked(
        [{"task": "positions", "length": b, "size": a, "padding": padding} for a, b in cases]
    )
    for (size, length), places in zip(cases, found, strict=True):
        model = StandIn((1, length), padding=padding, multiple=1)
        row = np.arange(size, dtype=np.uint8)[None, None, :, None]
        assert places == pad(row, model)[0, 0, :, 0].tolist(), (size, length)


RESTORED = {
    "smaller than a tile": ((20, 9), StandIn((32, 32))),
    "one tile": ((32, 32), StandIn((32, 32))),
    "tiles": ((75, 130), StandIn((32, 48), padding="reflect")),
    "enlarged": ((41, 70), StandIn((32, 32), scale=2, multiple=1, step=None)),
    "planes": ((50, 45), StandIn((32, 32), channels=1, colour="planes")),
    "luminance": ((50, 45), StandIn((32, 32), channels=1, colour="luminance")),
}


@pytest.mark.parametrize("gray", [False, True], ids=["colours", "gray"])
@pytest.mark.parametrize("case", RESTORED)
def test_pictures_are_restored_as_in_python(case, gray):
    (height, width), model = RESTORED[case]
    model.blended_tile = BlendedTile(step=model.blended_tile.step or model.size_multiple)
    random = np.random.default_rng(1)
    shape = (height, width) if gray else (height, width, 3)
    pixels = random.integers(0, 256, shape, np.uint8)
    rgba = np.full((height, width, 4), 255, np.uint8)
    rgba[..., :3] = pixels[..., None] if gray else pixels
    rgba[0, :, 3] = 7
    picture = {"data": rgba.ravel().tolist(), "width": width, "height": height, "gray": gray}
    (found,) = asked([{"task": "restore", "picture": picture, "model": model.manifest()}])
    expected = restore(model, pixels).astype(int)
    restored = np.reshape(found["data"], (*expected.shape[:2], 4))
    colours = expected[..., None] if gray else expected
    assert np.abs(restored[..., :3] - colours).max() <= 1
    assert np.mean(restored[..., :3] != colours) < 0.001
    assert (restored[: model.output_scale, :, 3] == 7).all()
    assert (restored[model.output_scale :, :, 3] == 255).all()


def test_gray_files_are_told_from_colours(tmp_path):
    gray = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    exif = Image.Exif()
    exif[0x010E] = "x" * 3000  # a segment before the frame's
    expected = {}
    for ending in ("png", "jpg", "webp"):
        for mode in ("L", "RGB"):
            path = tmp_path / f"{mode}.{ending}"
            gray.convert(mode).save(path, exif=exif)
            expected[str(path)] = mode == "L" and ending != "webp"
    gray.convert("LA").save(tmp_path / "LA.png")
    expected[str(tmp_path / "LA.png")] = True
    progressive = io.BytesIO()
    gray.save(progressive, "JPEG", progressive=True)
    odd = {"p.jpg": progressive.getvalue(), "cut.jpg": b"\xff\xd8\xff", "empty.png": b""}
    for name, content in odd.items():
        path = tmp_path / name
        path.write_bytes(content)
        expected[str(path)] = name == "p.jpg"
    assert asked([{"task": "gray", "path": path} for path in expected]) == list(expected.values())
