"""TFLite files at work: pictures of any size, quantised and not, and files that are none."""

import hashlib
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import restore_tf
from restore_tf.errors import UserError
from restore_tf.export import prepared
from restore_tf.export.tflite import convert
from restore_tf.inference import blended_tiles
from restore_tf.inference import restore as inference
from restore_tf.inference.tflite_model import LiteModel, dequantize, is_bytes, quantize
from restore_tf.networks.restorer import Restorer
from restore_tf.pictures import files
from srn_tf.model import SRN


def noise(*shape, dtype=np.float32):
    pixels = np.random.default_rng(0).random(shape).astype(np.float32)
    return pixels if dtype == np.float32 else (255 * pixels).astype(dtype)


class Halve(Restorer):
    """Returns the images, then the images halved: tiles cannot change that."""

    def __init__(self, channels=3, size_multiple=1):
        super().__init__()
        self.channels, self.size_multiple = channels, size_multiple

    def call(self, images, training=False):
        self.check_size(images)
        return [images, images * 0.5]


class Enlarge(Halve):
    """Makes each pixel three by three."""

    output_scale = 3

    def call(self, images, training=False):
        return [keras.ops.repeat(keras.ops.repeat(images, 3, axis=1), 3, axis=2)]


def write(path, model, size, kind="float32", metadata=None):
    """Writes a file and returns its path; with NAME.json where there are metadata."""
    model.build()
    folder = path.with_suffix("")
    folder.mkdir()
    eight_bit = kind in ("int8", "uint8")
    name = "saved_model_eight_bit" if eight_bit else "saved_model"
    prepared.write_saved_model(model, size, folder / name, eight_bit)
    crops = noise(4, *(size or (16, 16)), model.channels, dtype=np.uint8)
    np.savez(folder / "crops.npz", degraded=crops, reference=crops / np.float32(255))
    convert.convert(str(folder), kind, str(path))
    if metadata is not None:
        found = {"format": 1, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        found |= {"size_multiple": model.size_multiple, "padding": model.padding, "kind": kind}
        path.with_suffix(".json").write_text(json.dumps(found | metadata))
    return path


@pytest.fixture(scope="module")
def halving(tmp_path_factory):
    """Takes 16 rows of 24 pixels and halves them."""
    return write(tmp_path_factory.mktemp("halving") / "half.tflite", Halve(), (16, 24))


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    model = SRN(width=4, res_blocks=1, scales=2, global_skip=False)
    model.build()
    return model


@pytest.fixture(scope="module")
def any_size(network, tmp_path_factory):
    return write(tmp_path_factory.mktemp("any") / "srn_any.tflite", network, None, metadata={})


def test_quantising_by_hand():
    # 0.26 / 0.5 = 0.52, rounded 1, plus 3; halves go to the even neighbour; 100 is clipped.
    values = np.array([-1.0, 0.0, 0.26, 0.25, 0.75, 100.0, -100.0])
    found = quantize(values, (0.5, 3), np.int8)
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, [1, 3, 4, 3, 5, 127, -128])
    np.testing.assert_array_equal(dequantize(found, (0.5, 3)), [-1, 0, 0.5, 0, 1, 62, -65.5])
    assert dequantize(found, (0.5, 3)).dtype == np.float32
    # 254.9 / 255 is level 255 when rounded, 254 when truncated.
    assert quantize(np.array([254.9 / 255]), (1 / 255, 0), np.uint8) == 255
    levels = np.arange(256, dtype=np.uint8)
    scale = (float(np.float32(1 / 255)), 0)
    np.testing.assert_array_equal(
        quantize(levels.astype(np.float32) / 255, scale, np.uint8), levels
    )
    np.testing.assert_array_equal(quantize(values, (0.0, 0), np.float32), values.astype(np.float32))
    assert is_bytes(scale)
    assert not is_bytes((1 / 254, 0))
    assert not is_bytes((1 / 255, 1))


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (16, 24), (17, 24), (40, 100), (33, 5)])
@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_any_size_through_a_fixed_one_without_seams(halving, size, shape):
    model = LiteModel(halving)
    image = noise(*size, *shape)
    restored = restore_tf.restore(model, image)
    assert restored.shape == image.shape
    np.testing.assert_allclose(restored, image / 2, atol=1e-6)


def test_tiles_are_named_where_there_are_any(halving, caplog):
    model = LiteModel(halving)
    restore_tf.restore(model, noise(16, 24, 3))
    restore_tf.restore(model, noise(3, 4, 3))
    assert caplog.text == ""
    restore_tf.restore(model, noise(17, 24, 3, dtype=np.uint8))
    assert "half restores 24x16 pixels at a time" in caplog.text
    assert "they differ by 0.00 of 255 levels on average" in caplog.text


def test_every_tile_has_the_files_size():
    seen = []

    class Watched(Halve):
        def restore_padded(self, images, seed=0, origins=None):
            seen.append(images.shape[1:3])
            return images

    batch = noise(1, 50, 100, 3)
    restored, _ = blended_tiles.restore_blended(Watched(), batch, (16, 24), (4, 6))
    assert set(seen) == {(16, 24)}
    np.testing.assert_allclose(restored, batch, atol=1e-6)


@pytest.mark.parametrize(("size", "tile", "overlap", "multiple"), [
    (100, 32, 8, 1), (100, 32, 8, 4), (720, 256, 64, 16), (1280, 256, 64, 16), (257, 256, 64, 1),
])  # fmt: skip
def test_tiles_share_enough_and_weigh_one(size, tile, overlap, multiple):
    size = -(-size // multiple) * multiple
    found = blended_tiles.spread(size, tile, overlap, multiple)
    weights = np.zeros(size)
    for (span, share), following in zip(found, [*found[1:], None], strict=True):
        assert span.stop - span.start == tile
        assert span.start % multiple == 0
        assert following is None or span.stop - following[0].start >= overlap
        weights[span] += share
    assert (found[0][0].start, found[-1][0].stop) == (0, size)
    if all(a.stop <= c.start for (a, _), (c, _) in zip(found, found[2:], strict=False)):
        np.testing.assert_allclose(weights, 1, rtol=1e-6)


def test_a_file_for_any_size_gives_keras_numbers(network, any_size):
    model = LiteModel(any_size)
    assert (model.size, model.size_multiple, model.padding) == (None, 8, "edge")
    for size in [(32, 32), (40, 64), (8, 8), (32, 32)]:
        batch = noise(2, *size, 3)
        np.testing.assert_allclose(model.restore_padded(batch), network(batch)[-1], atol=1e-5)
    image = noise(21, 35, 3)
    expected = restore_tf.restore(network, image)
    np.testing.assert_allclose(restore_tf.restore(model, image), expected, atol=1e-5)


def test_a_gray_network_restores_colour(tmp_path):
    keras.utils.set_random_seed(1)
    network = SRN(channels=1, width=4, res_blocks=0, scales=1)
    model = LiteModel(write(tmp_path / "gray.tflite", network, (16, 16)))
    assert model.channels == 1
    image = noise(16, 16, 3)
    expected = restore_tf.restore(network, image)
    np.testing.assert_allclose(restore_tf.restore(model, image), expected, atol=1e-5)


@pytest.mark.slow
def test_blended_tiles_come_close_to_the_whole_picture(network, tmp_path):
    smooth = np.asarray(keras.ops.image.resize(noise(1, 8, 12, 3), (96, 144), "bicubic"))[0]
    whole = restore_tf.restore(network, smooth)
    errors = []
    for side in (32, 64):
        model = LiteModel(write(tmp_path / f"{side}.tflite", network, (side, side)))
        tiled = restore_tf.restore(model, smooth)
        errors.append(np.abs(tiled - whole).mean() / np.ptp(whole))
    assert errors[1] < errors[0] < 0.05


def test_bytes_in_and_out(network, tmp_path):
    model = LiteModel(write(tmp_path / "b.tflite", network, (32, 32), "uint8", metadata={}))
    assert model.takes_bytes
    assert model.kind == "uint8"
    # Exactly a picture's bytes, on both sides.
    assert model.scales == ((np.float32(1 / 255), 0), (np.float32(1 / 255), 0))
    levels = noise(2, 32, 32, 3, dtype=np.uint8)
    raw = model.run_raw(levels)
    assert (raw.shape, raw.dtype) == (levels.shape, np.uint8)
    floats = model.restore_padded(levels.astype(np.float32) / 255)
    np.testing.assert_array_equal(raw, np.rint(255 * floats))
    np.testing.assert_array_equal(restore_tf.restore(model, levels[0]), raw[0])
    expected = np.clip(network(levels.astype(np.float32) / 255)[-1], 0, 1)
    assert np.sqrt(np.mean((floats - expected) ** 2)) < 0.03


def test_bytes_through_other_scales(halving, tmp_path):
    with pytest.raises(UserError, match="half: takes no bytes; export it with --kinds uint8"):
        LiteModel(halving).run_raw(noise(1, 16, 24, 3, dtype=np.uint8))
    # TFLite's own: halves reach from 0 to 0.5, so a step is 1/510.
    images = keras.Input((16, 24, 3), 1)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(images, images * 0.5))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [[np.float32([0, 1] * 576).reshape(1, 16, 24, 3)]]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    (tmp_path / "foreign.tflite").write_bytes(converter.convert())
    model = LiteModel(tmp_path / "foreign.tflite")
    assert model.scales[1] == (pytest.approx(1 / 510), 0)
    found = model.run_raw(np.full((1, 16, 24, 3), 200, np.uint8))
    np.testing.assert_array_equal(found, np.full((1, 16, 24, 3), 100))


def test_other_images_are_refused(halving):
    model = LiteModel(halving)
    for shape in [(1, 24, 16, 3), (1, 16, 24, 1)]:
        with pytest.raises(UserError, match="half takes 16x24 pixels .* and 3 channels"):
            model.restore_padded(noise(*shape))
    for how in ({"tile": 16}, {"memory": 10**9}):
        with pytest.raises(UserError, match="leave --memory, --tile and --whole out"):
            restore_tf.restore(model, noise(9, 9, 3), **how)


def test_files_that_are_none(halving, tmp_path):
    data = halving.read_bytes()
    path = tmp_path / "a.tflite"
    broken = [b"", b"TFL3", b"\x89PNG" + data, data[:8], data[: len(data) // 2], data[:-1]]
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(UserError, match="a.tflite: damaged, or no TFLite file") as error:
            LiteModel(path)
        assert "\n" not in str(error.value)
    for missing in (tmp_path / "none.tflite", tmp_path):
        with pytest.raises(UserError, match="no such file"):
            LiteModel(missing)


def test_files_that_restore_no_images(tmp_path):
    for name, shapes in [
        ("two", [(1, 8, 8, 3)] * 2),
        ("vector", [(1, 8)]),
        ("five", [(1, 8, 8, 5)]),
    ]:
        specs = [tf.TensorSpec(shape, tf.float32, f"x{i}") for i, shape in enumerate(shapes)]
        function = tf.function(lambda *x: x[0] * 2.0 + x[-1], input_signature=specs)
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [function.get_concrete_function()]
        )
        (tmp_path / f"{name}.tflite").write_bytes(converter.convert())
        with pytest.raises(UserError, match=f"{name}.tflite: restores no images"):
            LiteModel(tmp_path / f"{name}.tflite")


def test_metadata_belong_to_their_file(any_size, tmp_path):
    path, beside = tmp_path / "a.tflite", tmp_path / "a.json"
    path.write_bytes(any_size.read_bytes())
    with pytest.raises(UserError, match="a.json: no such file; a file for any size needs it"):
        LiteModel(path)
    good = json.loads(any_size.with_suffix(".json").read_text())
    beside.write_text("[" * 10**5)
    with pytest.raises(UserError, match="a.json: damaged, or written by another version"):
        LiteModel(path)
    for change in [
        {"format": 2}, {"size_multiple": 0}, {"size_multiple": "8"}, {"padding": "wrap"},
        {"sha256": 5}, {"bytes_per_pixel": "x"}, {"tile_step": 0}, {"tile_step": "8"},
    ]:  # fmt: skip
        beside.write_text(json.dumps(good | change))
        with pytest.raises(UserError, match="a.json: damaged, or written by another version"):
            LiteModel(path)
    for text in ("", "[]", "{}", '{"format": 1}'):
        beside.write_text(text)
        with pytest.raises(UserError, match="a.json: damaged"):
            LiteModel(path)
    # A flipped bit in a weight is no damage that LiteRT could see.
    beside.write_text(json.dumps(good))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="a.tflite: is not the file that a.json describes"):
        LiteModel(path)


def test_a_missing_package_is_named(halving, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(UserError, match=r"pip install 'restore_tf\[edge\]'"):
        LiteModel(halving)


def command(*words):
    """restore.py in a process in which TensorFlow and Keras cannot be imported."""
    program = (
        "import sys; sys.modules.update(tensorflow=None, keras=None)\n"
        "from restore_tf.commands import restore\n"
        "sys.exit(restore.main(['restore.py', *sys.argv[1:]]))"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p), "PATH": ""},
    )


def test_the_command_needs_no_tensorflow(halving, tmp_path):
    pixels = np.full((40, 30, 3), 100, np.uint8)
    files.write_picture(tmp_path / "a.png", pixels)
    done = command(tmp_path / "a.png", "--tflite", halving, "--output", tmp_path / "b.png")
    assert done.returncode == 0, done.stderr
    assert "half restores 24x16 pixels at a time" in done.stderr
    np.testing.assert_array_equal(files.read_rgb(tmp_path / "b.png"), np.full_like(pixels, 50))


@pytest.mark.parametrize(
    "words",
    [
        ("--workdir", "x"), ("--stages", "2"), ("--local_attention",), ("--checkpoint", "best"),
        ("--local_attention_crop", "64"), ("--precision", "bfloat16"), ("--tile", "64"),
        ("--memory", "1GB"), ("--verify_tiles",),
    ],
)  # fmt: skip
def test_flags_that_cannot_apply(halving, tmp_path, words, capsys):
    from restore_tf.commands import restore

    files.write_picture(tmp_path / "a.png", noise(4, 4, 3, dtype=np.uint8))
    common = [tmp_path / "a.png", "--tflite", halving, "--output", tmp_path / "b.png"]
    assert restore.main(["restore.py", *map(str, common), *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"error: {words[0]}: ")
    assert not (tmp_path / "b.png").exists()


def test_pad_fills_a_fixed_size(halving):
    model = LiteModel(halving)
    image = noise(1, 3, 30, 3)
    expected = np.pad(image, ((0, 0), (0, 13), (0, 0), (0, 0)), mode="edge")
    np.testing.assert_array_equal(inference.pad(image, model), expected)


def test_a_file_without_a_record_says_how_much_it_enlarges(tmp_path):
    model = LiteModel(write(tmp_path / "three.tflite", Enlarge(), (16, 24)))
    assert (model.metadata, model.output_scale) == ({}, 3)
    pixels = noise(1, 16, 24, 3)
    expected = pixels.repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_allclose(model.restore_padded(pixels), expected, atol=1e-6)
