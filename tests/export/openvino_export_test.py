"""Making OpenVINO files: the numbers of Keras, 8 bits, and the gate that refuses."""

import dataclasses
import hashlib
import importlib
import importlib.util
import json

import keras
import numpy as np
import pytest

from restore_tf.commands import export as export_command
from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.export import jobs
from restore_tf.export.openvino import make
from restore_tf.export.samples import Samples
from restore_tf.inference.openvino_model import OpenVinoModel
from srn_tf import recipes

pytest.importorskip("openvino")

SIZE = (32, 32)
NETWORK = {"width": 4, "res_blocks": 1, "scales": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run directory of a tiny network with random weights."""
    keras.utils.set_random_seed(0)
    recipe = recipes.gopro()
    recipe = dataclasses.replace(recipe, network={**recipe.network, **NETWORK})
    folder = tmp_path_factory.mktemp("run")
    experiment.write(folder, recipe, {})
    experiment.build(recipe).save_weights(folder / "best.weights.h5")
    return folder


@pytest.fixture
def here(monkeypatch):
    """Runs in this process what `jobs` runs in others."""

    def run_here(module, function, scratch, **arguments):
        arguments = json.loads(json.dumps(arguments))  # as they go to the process
        module = importlib.import_module(f"restore_tf.export.{module}")
        return json.loads(json.dumps(getattr(module, function)(**arguments)))

    monkeypatch.setattr(jobs, "run_in_process", run_here)


def pictures():
    random = np.random.default_rng(0)
    found = tuple(random.integers(0, 256, (40, 48, 3), np.uint8) for _ in range(4))
    return Samples(found, found, "noise")


def export(run, directory, kinds, **arguments):
    return make.export(
        run, {}, directory, sizes=[SIZE], kinds=kinds, samples=pictures(), **arguments
    )


def test_float32_gives_keras_numbers(run, tmp_path, here):
    (row,) = export(run, tmp_path, ["float32"])
    assert row["written"] and row["psnr_to_float"] > 100 and row["quantised"] == 0
    path = tmp_path / "srn_32x32_float32.xml"
    names = [path.with_suffix(ending).name for ending in (".bin", ".json", ".xml")]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    parts = path.read_bytes() + path.with_suffix(".bin").read_bytes()
    assert row["sha256"] == hashlib.sha256(parts).hexdigest()
    assert row["bytes"] == len(parts)
    model = OpenVinoModel(path)
    assert (model.size, model.kind, model.size_multiple) == (SIZE, "float32", 8)
    assert model.metadata["provenance"]["samples"] == "noise"


def test_eight_bits_and_the_gate(run, tmp_path, here):
    pytest.importorskip("nncf")
    (row,) = export(run, tmp_path, ["int8"], max_psnr_drop=100)
    assert row["written"] and row["quantised"] > 10
    assert 30 < row["psnr_to_float"] < 100
    assert OpenVinoModel(tmp_path / "srn_32x32_int8.xml").kind == "int8"
    (row,) = export(run, tmp_path / "out", ["int8"], max_psnr_drop=-100)
    assert not row["written"] and "more than --max_psnr_drop -100" in row["reason"]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("absent", "kind"), [("openvino", "float32"), ("nncf", "int8")])
def test_a_missing_package_is_named(run, tmp_path, monkeypatch, absent, kind):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != absent or None)
    with pytest.raises(UserError, match=rf"needs {absent}: pip install 'restore_tf\[openvino\]'"):
        export(run, tmp_path / "out", [kind])
    assert find("openvino") and not (tmp_path / "out").exists()


def test_the_command(run, tmp_path, here, capsys):
    """Files, their record, and that nothing is replaced unasked."""
    words = f"export.py --workdir={run} --output={tmp_path / 'out'} --size=32x32".split()
    words += ["--format=openvino", "--kinds=float32"]
    assert export_command.main(words) == 0
    (entry,) = json.loads((tmp_path / "out" / "export.json").read_text())["artefacts"]
    assert entry["path"] == "openvino/srn_32x32_float32.xml"
    assert (entry["format"], entry["kind"], entry["written"]) == ("openvino", "float32", True)
    assert export_command.main(words) == 2
    assert "srn_32x32_float32.xml" in capsys.readouterr().err
    assert export_command.main([*words, "--overwrite"]) == 0


def test_kinds_of_other_formats_are_refused(run, tmp_path, capsys):
    words = f"export.py --workdir={run} --output={tmp_path / 'out'} --format=openvino".split()
    assert export_command.main([*words, "--kinds=float32,uint8"]) == 2
    assert "--kinds uint8: --format openvino makes float32, int8 only" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
