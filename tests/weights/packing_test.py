"""A run's weights in 16 bits, to share: the same numbers, none of the machine's paths."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from tiny_papers import TINY, wake

import restore_tf
from restore_tf.commands import chain, cli, weights
from restore_tf.experiments import experiment
from srn_tf import recipes as srn


@pytest.fixture
def run(tmp_path):
    """A run directory as a training leaves it, and its network."""
    recipe = srn.gopro()
    recipe = dataclasses.replace(recipe, network={**recipe.network, **TINY["srn"]})
    keras.utils.set_random_seed(3)
    model = experiment.build(recipe)
    wake(model)
    private = tmp_path / "private"
    places = {name: f"{private}/{name}" for name in ("data_dir", "degraded_dir", "sharp_dir")}
    digests = {"sha256": "0" * 64}
    origin = {"init_from": f"{private}/first", "init_from_weights": digests}
    link, step = f"{private}/denoise", "unsharp:2:1.5:3"
    origin["after"] = {"links": [link, step], "sha256": {link: "1" * 64}}
    workdir = tmp_path / "run"
    experiment.write(workdir, recipe, {"seed": 7, "overrides": ("crop=64",), **places, **origin})
    model.save_weights(workdir / "best.weights.h5")
    (workdir / "checkpoints").mkdir()
    (workdir / "metrics.csv").write_text("step\n")
    return workdir, model


def pack(*words):
    return weights.main(["weights", "pack", *map(str, words)])


def test_what_is_packed_is_a_run_of_the_same_weights(run, tmp_path, capsys):
    workdir, model = run
    packed = tmp_path / "packed"
    assert pack(workdir, f"--output={packed}") == 0
    said = capsys.readouterr().out
    assert f"Packed {model.count_params():,} weights into {packed}, " in said
    names = {path.name for path in packed.iterdir()}
    assert names == {"best.weights.npz", "experiment.json", ".restore_tf.jsonl"}
    again = restore_tf.load_model(packed)
    for ours, theirs in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy().astype(np.float16), theirs.numpy())


def test_the_record_has_the_recipe_and_no_paths(run, tmp_path):
    workdir, _ = run
    packed = tmp_path / "packed"
    assert pack(workdir, "--output", packed) == 0
    text = (packed / "experiment.json").read_text()
    assert "private" in (workdir / "experiment.json").read_text()
    assert "private" not in text
    record, first = json.loads(text), json.loads((workdir / "experiment.json").read_text())
    assert record["experiment"] == first["experiment"]
    kept = {"seed": 7, "overrides": ["crop=64"], "init_from_weights": {"sha256": "0" * 64}}
    kept["after"] = {
        "links": ["1 denoise", "2 unsharp:2:1.5:3"],
        "sha256": {"1 denoise": "1" * 64},
    }
    assert kept.items() <= record["run"].items()


def test_what_is_packed_can_be_packed_and_shared_again(run, tmp_path):
    workdir, _ = run
    assert pack(workdir, "--output", tmp_path / "once") == 0
    assert pack(tmp_path / "once", "--output", tmp_path / "twice") == 0
    once, twice = (tmp_path / name / "best.weights.npz" for name in ("once", "twice"))
    assert once.read_bytes() == twice.read_bytes()


def test_weights_beyond_sixteen_bits_are_refused(run, tmp_path, capsys):
    workdir, model = run
    variable = model.trainable_variables[0]
    variable.assign(variable * 0 + 1e5)
    model.save_weights(workdir / "best.weights.h5")
    assert pack(workdir, "--output", tmp_path / "packed") == cli.USER_ERROR
    error = capsys.readouterr().err
    assert "has values beyond float16; nothing was written." in error
    assert error.count("\n") == 1
    assert not (tmp_path / "packed").exists()


def test_wrong_words_are_one_line(run, tmp_path, capsys):
    workdir, _ = run
    full = tmp_path / "full"
    full.mkdir()
    (full / "kept.txt").write_text("precious")
    for words, expected in [
        ([workdir], "--output: missing; expected the run directory to make."),
        ([], "weights pack: expected one run directory."),
        ([workdir, "--output", full], f"{full}: exists; pass another --output."),
        ([tmp_path, "--output", tmp_path / "x"], f"{tmp_path}: not a run directory"),
        ([workdir, "--output", full / "kept.txt"], "kept.txt"),
        ([workdir, "--output", tmp_path / "x", "--source=npm"], "--source: is for weights fetch"),
    ]:
        assert pack(*words) == cli.USER_ERROR
        error = capsys.readouterr().err
        assert expected in error
        assert error.count("\n") == 1
    assert [path.name for path in full.iterdir()] == ["kept.txt"]
    assert not (tmp_path / "x").exists()


def test_a_chain_names_the_runs_to_pack(run, tmp_path, capsys):
    workdir, _ = run
    assert (
        chain.main(["chain", str(workdir), "unsharp:2:1.5:3", f"--output={tmp_path / 'chain'}"])
        == 0
    )
    assert pack(tmp_path / "chain", "--output", tmp_path / "packed") == cli.USER_ERROR
    assert f"is a chain of other runs; pack {workdir}." in capsys.readouterr().err
