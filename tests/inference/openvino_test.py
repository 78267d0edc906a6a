"""OpenVINO files at work: pictures of any size in tiles, and files that are none."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

import restore_tf
from restore_tf.commands import restore as restore_command
from restore_tf.errors import UserError
from restore_tf.export import prepared
from restore_tf.export.openvino import convert
from restore_tf.inference.openvino_model import OpenVinoModel
from restore_tf.networks.restorer import Restorer
from restore_tf.pictures import files

openvino = pytest.importorskip("openvino")


def noise(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


class Halve(Restorer):
    """Returns the images halved: tiles cannot change that."""

    channels, size_multiple = 3, 1

    def call(self, images, training=False):
        return [images * 0.5]


@pytest.fixture(scope="module")
def halving(tmp_path_factory):
    """Takes 16 rows of 24 pixels and halves them."""
    folder = tmp_path_factory.mktemp("halving")
    model = Halve()
    model.build()
    prepared.write_saved_model(model, (16, 24), prepared.saved_model(folder))
    convert.convert(str(folder), "float32", str(folder / "half.xml"))
    return folder / "half.xml"


def described(path, **change):
    """Writes NAME.json beside a file."""
    parts = path.read_bytes() + path.with_suffix(".bin").read_bytes()
    found = {"format": 1, "sha256": hashlib.sha256(parts).hexdigest(), "kind": "float32"}
    found |= {"size_multiple": 1, "padding": "reflect"}
    path.with_suffix(".json").write_text(json.dumps(found | change))


def copied(halving, folder):
    path = folder / "a.xml"
    for ending in (".xml", ".bin"):
        path.with_suffix(ending).write_bytes(halving.with_suffix(ending).read_bytes())
    return path


@pytest.mark.parametrize("size", [(1, 1), (16, 24), (17, 24), (40, 100)])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_any_size_through_a_fixed_one_without_seams(halving, size, shape):
    model = OpenVinoModel(halving, threads=1)
    image = noise(*size, *shape)
    restored = restore_tf.restore(model, image)
    assert restored.shape == image.shape
    np.testing.assert_allclose(restored, image / 2, atol=1e-6)


def test_what_a_file_says_of_itself(halving, tmp_path):
    model = OpenVinoModel(halving)
    assert (model.kind, model.size, model.channels) == ("unknown", (16, 24), 3)
    assert (model.output_scale, model.overlap, model.takes_bytes) == (1, (4, 6), False)
    path = copied(halving, tmp_path)
    described(path, tile_step=8)
    model = OpenVinoModel(path)
    assert (model.kind, model.padding, model.blended_tile.step) == ("float32", "reflect", 8)


def test_other_images_are_refused(halving):
    model = OpenVinoModel(halving)
    for shape in [(1, 24, 16, 3), (1, 16, 24, 1)]:
        with pytest.raises(UserError, match="half takes 16x24 pixels .* and 3 channels"):
            model.restore_padded(noise(*shape))
    assert model.restore_padded(noise(0, 16, 24, 3)).shape == (0, 16, 24, 3)


def test_files_that_are_none(halving, tmp_path):
    path = copied(halving, tmp_path)
    for content in (b"", b"<net", path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="a.xml: damaged, or no OpenVINO file") as error:
            OpenVinoModel(path)
        assert "\n" not in str(error.value)
    path = copied(halving, tmp_path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(UserError, match="a.bin: no such file; a.xml needs it beside it"):
        OpenVinoModel(path)
    with pytest.raises(UserError, match="none.xml: no such file"):
        OpenVinoModel(tmp_path / "none.xml")


def test_changed_weights_are_seen(halving, tmp_path):
    path = copied(halving, tmp_path)
    described(path)
    weights = path.with_suffix(".bin")
    weights.write_bytes(bytes(byte ^ 1 for byte in weights.read_bytes()))
    with pytest.raises(UserError, match="a.xml: is not the file that a.json describes"):
        OpenVinoModel(path)


def test_files_that_restore_no_images(tmp_path):
    from openvino import opset13 as operations

    for name, shape in [("vector", [1, 8]), ("five", [1, 8, 8, 5]), ("open", [1, -1, 8, 3])]:
        images = operations.parameter(shape, np.float32)
        network = openvino.Model([operations.relu(images)], [images], name)
        openvino.save_model(network, tmp_path / f"{name}.xml", compress_to_fp16=False)
        with pytest.raises(UserError, match=f"{name}.xml: restores no images"):
            OpenVinoModel(tmp_path / f"{name}.xml")


def test_a_missing_package_is_named(halving, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"pip install 'restore_tf\[openvino\]'"):
        OpenVinoModel(halving)


def test_the_command_needs_no_tensorflow(halving, tmp_path):
    files.write_picture(tmp_path / "a.png", np.full((40, 30, 3), 100, np.uint8))
    program = (
        "import sys; sys.modules.update(tensorflow=None, keras=None)\n"
        "from restore_tf.commands import restore\n"
        "sys.exit(restore.main(['restore.py', *sys.argv[1:]]))"
    )
    words = [tmp_path / "a.png", "--openvino", halving, "--output", tmp_path / "b.png"]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert "half restores 24x16 pixels at a time" in done.stderr
    found = files.read_rgb(tmp_path / "b.png")
    np.testing.assert_array_equal(found, np.full((40, 30, 3), 50, np.uint8))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workdir", "x"], "--workdir: cannot be combined with --openvino"),
        (["--tflite", "x.tflite"], "--tflite and --openvino: choose one"),
        (["--tile", "64"], "--tile: "),
    ],
)
def test_flags_that_cannot_apply(halving, tmp_path, words, message, capsys):
    files.write_picture(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    common = [tmp_path / "a.png", "--openvino", halving, "--output", tmp_path / "b.png"]
    assert restore_command.main(["restore.py", *map(str, common), *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"error: {message}")
    assert not (tmp_path / "b.png").exists()


def test_a_picture_in_place_of_a_file_is_named_as_such(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"a picture")
    with pytest.raises(UserError, match=r"photo.jpg: no OpenVINO file; expected NAME.xml"):
        OpenVinoModel(tmp_path / "photo.jpg")


def test_a_signal_after_several_networks_were_freed(halving):
    """On processors with AMX it ended the process, each network having a runtime of its own."""
    program = (
        "import os, signal, sys, numpy as np, restore_tf\n"
        "from restore_tf.inference.openvino_model import OpenVinoModel\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('heard'))\n"
        "first, second = (OpenVinoModel(sys.argv[1]) for _ in range(2))\n"
        "del first\n"
        "restore_tf.restore(second, np.zeros((16, 24, 3), np.float32))\n"
        "del second\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(halving)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
