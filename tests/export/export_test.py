"""Exported SavedModels: equal to the Keras model, without our code, and refusing what is wrong."""

import dataclasses
import io
import json
import struct
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_papers import tiny

from restore_tf.commands import export
from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.export import checked, fresh_process, record, samples, saved_model
from restore_tf.inference import restore
from restore_tf.weights.load import load_model


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return experiment.build(tiny("srn/gopro"))


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "1"
    saved_model.write(model, path)
    return path


@pytest.fixture(scope="module")
def loaded(directory):
    return tf.saved_model.load(str(directory)).signatures


@pytest.fixture(scope="module")
def pictures():
    return samples.load(count=2)


@pytest.fixture
def run(model, tmp_path):
    """A run directory with the network's weights."""
    path = tmp_path / "run"
    experiment.write(path, tiny("srn/gopro"), {"seed": 7})
    model.save_weights(path / "best.weights.h5")
    return path


def file(pixels, kind="PNG", **options):
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, kind, **options)
    return written.getvalue()


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def restored(loaded, *files):
    given = tf.constant(list(files), tf.string)
    found = loaded["serving_bytes"](image_bytes=given)["restored_bytes"].numpy()
    return [np.asarray(Image.open(io.BytesIO(one))) for one in found]


@pytest.mark.parametrize("mode", ["edge", "reflect"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 9])
def test_padding_is_numpys(size, mode):
    class Network:
        size_multiple, padding = 8, mode

    found = saved_model.positions_of(tf.constant(size), Network)
    np.testing.assert_array_equal(found, np.pad(np.arange(size), (0, -size % 8), mode=mode))


def test_names_are_those_that_servers_take(loaded):
    shapes = {
        name: (
            {key: spec.shape.as_list() for key, spec in one.structured_input_signature[1].items()},
            list(one.structured_outputs),
        )
        for name, one in loaded.items()
    }
    assert shapes == {
        "serving_default": ({"images": [None, None, None, 3]}, ["restored"]),
        "serving_bytes": ({"image_bytes": [None]}, ["restored_bytes"]),
    }


def test_files_of_different_sizes_in_one_batch(loaded, model):
    pixels = [noise(31, 45, 3), noise(1, 1, 3), noise(16, 7, 3)]
    found = restored(loaded, *(file(picture) for picture in pixels))
    for picture, got in zip(pixels, found, strict=True):
        np.testing.assert_array_equal(got, restore.restore(model, picture))


def test_jpeg_is_decoded_as_pillow_does(loaded, model):
    given = file(np.asarray(Image.fromarray(noise(6, 8, 3)).resize((40, 32))), "JPEG", quality=90)
    expected = restore.restore(model, np.asarray(Image.open(io.BytesIO(given))))
    assert np.abs(restored(loaded, given)[0].astype(int) - expected).max() <= 1


def test_gray_palette_and_alpha_come_as_colours(loaded, model):
    gray = noise(9, 10)
    expected = restore.restore(model, np.repeat(gray[..., None], 3, -1))
    palette = Image.fromarray(noise(8, 8, 3)).quantize(16)
    kept = io.BytesIO()
    palette.save(kept, "PNG")
    alpha = np.dstack([noise(8, 9, 3), noise(8, 9)])
    found = restored(loaded, file(gray), kept.getvalue(), file(alpha))
    np.testing.assert_array_equal(found[0], expected)
    colours = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(found[1], restore.restore(model, colours))
    np.testing.assert_array_equal(found[2], restore.restore(model, alpha[..., :3]))


def _bomb(height, width):
    """A PNG whose header announces a large picture, with a checksum that is right."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    whole = file(noise(4, 4, 3))
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"hello",
        b"GIF89a" + bytes(50),
        file(noise(8, 8, 3))[:20],
        file(noise(32, 32, 3))[:500],
        file(noise(32, 32, 3), "JPEG")[:200],
        b"\xff\xd8\xff",
        _bomb(100_000, 100_000),
        _bomb(2**31 - 1, 2**31 - 1),
        _bomb(0, 5),
    ],
    ids=lambda garbage: repr(garbage[:6]) + str(len(garbage)),
)
def test_garbage_is_an_error_of_its_request(loaded, garbage):
    with pytest.raises(tf.errors.InvalidArgumentError):
        restored(loaded, file(noise(8, 8, 3)), garbage)
    assert len(restored(loaded, file(noise(8, 8, 3)))) == 1


def test_pictures_of_no_pixels_are_refused(loaded):
    with pytest.raises(tf.errors.InvalidArgumentError, match="height and width"):
        loaded["serving_default"](images=tf.zeros((1, 0, 5, 3)))


@pytest.mark.parametrize("value", [1.001, -0.001, 255.0, np.nan, np.inf, -np.inf])
def test_values_outside_the_range_are_refused(loaded, value):
    images = np.full((2, 8, 9, 3), 0.5, np.float32)
    images[1, 7, 8, 2] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"finite values in \[0, 1\]"):
        loaded["serving_default"](images=tf.constant(images))


def test_the_ends_of_the_range_are_taken(loaded):
    images = np.tile(np.float32([0, 1, 1]), (1, 8, 9, 1))
    assert loaded["serving_default"](images=tf.constant(images))["restored"].shape == (1, 8, 9, 3)


def test_no_files_give_no_files(loaded):
    assert restored(loaded) == []


def test_a_fresh_process_gives_the_same_numbers(directory, model):
    batch = np.random.default_rng(2).random((2, 31, 45, 3)).astype(np.float32)
    given = file(noise(9, 8, 3))
    (found,), (encoded,) = fresh_process.run_saved_model(directory, [batch], [given])
    expected = np.stack([restore.restore(model, image) for image in batch])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    picture = np.asarray(Image.open(io.BytesIO(encoded)))
    np.testing.assert_array_equal(picture, restore.restore(model, noise(9, 8, 3)))


def test_a_process_that_fails_is_said_in_a_line(tmp_path):
    with pytest.raises(UserError, match="does not run in a fresh process .*does not exist"):
        fresh_process.run_saved_model(tmp_path, [np.zeros((1, 8, 8, 3), np.float32)])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["srn", "mprnet"])
def test_a_second_runtime_gives_the_same_numbers(name, tmp_path):
    openvino = pytest.importorskip("openvino")
    recipe = tiny(f"{name}/gopro")
    if name == "mprnet":  # the first stage: the other two have no operation that it lacks
        recipe = dataclasses.replace(recipe, network={**recipe.network, "stages": 1})
    model = experiment.build(recipe)
    saved_model.write(model, tmp_path / "1")
    batch = np.random.default_rng(2).random((1, 31, 45, 3)).astype(np.float32)
    core = openvino.Core()
    try:
        # Its own reader takes serving_default.
        network = core.compile_model(
            core.read_model(tmp_path / "1"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
    except RuntimeError as error:
        pytest.fail(str(error))
    (found,) = network({"images": batch}).values()
    np.testing.assert_allclose(found[0], restore.restore(model, batch[0]), atol=1e-5)


@pytest.mark.slow
def test_early_exits_local_attention_and_bfloat16(pictures, tmp_path):
    recipe = tiny("mprnet/gopro")
    workdir = tmp_path / "mprnet"
    experiment.write(workdir, recipe, {})
    experiment.build(recipe).save_weights(workdir / "best.weights.h5")
    output = tmp_path / "out"
    for arguments in [{"local_attention": 32}, {"precision": "bfloat16"}]:
        model = load_model(workdir, stages=1, **arguments)
        entry = checked.export_saved_model(
            model, output, pictures, precision=arguments.get("precision", "float32")
        )
        assert entry["path"].startswith("saved_model/")
    assert sorted(path.name for path in (output / "saved_model").iterdir()) == ["1", "2"]


def test_other_numbers_are_refused_and_leave_nothing(model, pictures, tmp_path, monkeypatch):
    def wrong(directory, images, files=()):
        answers = [np.stack([restore.restore(model, image) for image in batch]) for batch in images]
        answers[1][0, 3, 4, 1] += 1e-4
        return answers, [file(restore.restore(model, checked.decoded(one))) for one in files]

    monkeypatch.setattr(fresh_process, "run_saved_model", wrong)
    with pytest.raises(UserError, match="differs from the Keras model by 0.0001"):
        checked.export_saved_model(model, tmp_path, pictures)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("value", [np.nan, 1e-4])
def test_what_counts_as_different(value):
    with pytest.raises(UserError, match="nothing was written"):
        checked.check_differences({"a": {"1x1": value}, "b": 0.0}, "float32")
    with pytest.raises(UserError, match="nothing was written"):
        checked.check_differences({"a": {"1x1": 0.0}, "b": 2.0}, "float32")
    checked.check_differences({"a": {"1x1": 9e-6}, "b": 1.0}, "float32")


@pytest.mark.slow
def test_the_command_writes_what_its_record_says(run, tmp_path, capsys):
    output = tmp_path / "out"
    words = ["export.py", f"--workdir={run}", f"--output={output}", "--format=saved_model"]
    assert export.main(words) == 0
    assert "differs from the Keras model by at most" in capsys.readouterr().out
    assert export.main(words) == 0  # again: the next version, beside the first
    entries = record.read(output)
    assert [entry["path"] for entry in entries] == ["saved_model/1", "saved_model/2"]
    first = entries[0]
    assert first["export"]["run"]["experiment"]["model"] == "srn"
    assert first["export"]["run"]["run"]["seed"] == 7
    assert first["parameters"] == experiment.build(tiny("srn/gopro")).count_params()
    assert first["operations"]["Conv2D"] > 0
    for name, digest in first["sha256"].items():
        written = output / first["path"] / name
        assert checked.sha256(written) == digest
    assert (output / "saved_model/1/assets.extra/tf_serving_warmup_requests").exists()
    assert (output / "serving/models.config").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["picture.png"], "takes flags only"),
        ([], "--output: missing"),
        (["--output=o", "--weights=nothing"], "neither a run directory nor published weights"),
        (["--output=o", "--workdir=nowhere"], "not a run directory"),
        (["--output=o", "--format=onnx"], "--format onnx: expected some of saved_model, tflite"),
        (["--output=o", "--kinds=int4"], "--kinds int4"),
        (["--output=o", "--size=256"], "--size 256: expected HEIGHTxWIDTH"),
        (["--output=o", "--size=0x9"], "--size 0x9"),
        (["--output=o", "--formats=tflite"], "formats"),
        (["--plan", "--size=8x8,9x9"], "--plan takes one size"),
    ],
)
def test_bad_input_is_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert export.main(["export.py", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_a_file_is_refused(run, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    words = ["export.py", f"--workdir={run}", f"--output={tmp_path / 'out'}"]
    assert export.main(words) == 2
    assert "is a file" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_a_name_that_servers_do_not_take_is_refused_first(run, tmp_path, capsys):
    words = ["export.py", f"--workdir={run}", f"--output={tmp_path / 'out'}", "--name=a b"]
    assert export.main(words) == 2
    assert "model name 'a b'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_existing_tflite_files_are_kept(run, tmp_path, capsys):
    existing = tmp_path / "out" / "tflite" / "srn_any_size_float32.tflite"
    existing.parent.mkdir(parents=True)
    existing.write_text("mine")
    words = ["export.py", f"--workdir={run}", f"--output={tmp_path / 'out'}", "--format=tflite"]
    assert export.main(words) == 2
    assert f"{existing}: exists; pass --overwrite" in capsys.readouterr().err
    assert existing.read_text() == "mine"


def test_a_damaged_record_is_said_before_the_work(run, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / record.FILE_NAME).write_text('{"artefacts": [1]}')
    words = ["export.py", f"--workdir={run}", f"--output={tmp_path / 'out'}"]
    assert export.main(words) == 2
    assert "damaged" in capsys.readouterr().err


def test_the_record_keeps_what_other_calls_entered(run, tmp_path):
    record.write(tmp_path, run, "best checkpoint", [{"path": "a", "bytes": 1}])
    record.write(tmp_path, run, "best checkpoint", [{"path": "b", "bytes": 2}])
    record.write(tmp_path, run, "latest checkpoint", [{"path": "a", "bytes": 3}])
    content = json.loads((tmp_path / record.FILE_NAME).read_text())
    assert [(entry["path"], entry["bytes"]) for entry in content["artefacts"]] == [
        ("a", 3),
        ("b", 2),
    ]
    assert content["artefacts"][0]["export"]["weights"] == "latest checkpoint"
