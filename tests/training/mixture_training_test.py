"""Trainings on several data sets: resumed, validated on each, on every engine."""

import json
import re
import types

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from tiny_training import assert_equal_weights, folders, kill_at, rows, run, simple, source, weights
from tiny_training import toys as toys

from restore_tf.commands import evaluate, train, training_plan
from restore_tf.datasets.mixture import Mixture
from restore_tf.datasets.numpy_pairs import Batches
from restore_tf.datasets.pairs import training_batches
from restore_tf.training.backend_engine import BackendEngine

pytestmark = pytest.mark.usefixtures("toys")


def mixture():
    return Mixture({"one:x": source(6), "two:y": source(3, side=32)}, (700, 300))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, toys):
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    run(workdir, simple(), mixture(), validation=mixture(), validation_pictures=4)
    return workdir


def test_a_killed_training_resumes_exactly(whole, tmp_path):
    others = {"validation": mixture(), "validation_pictures": 4}
    kill_at(tmp_path, 4, simple(), mixture(), **others)
    run(tmp_path, simple(), mixture(), **others)
    assert_equal_weights(weights(tmp_path), weights(whole))
    names = [name for name in rows(whole)[0] if name != "steps_per_second"]
    assert [[r[n] for n in names] for r in rows(tmp_path)] == [
        [r[n] for n in names] for r in rows(whole)
    ]


def test_every_set_is_validated_and_the_mean_decides(whole):
    validated = [row for row in rows(whole) if row["psnr"]]
    assert len(validated) == 2
    for row in validated:
        for name in ("psnr", "psnr_degraded"):
            each = [float(row[f"{name}:{label}"]) for label in ("one:x", "two:y")]
            assert float(row[name]) == pytest.approx(np.mean(each), abs=1e-4)
    # Two pictures of each, the first and the last.
    for label, part in mixture().parts.items():
        pairs = [part.read(index) for index in (0, len(part) - 1)]
        expected = np.mean([peak_signal_noise_ratio(s, d, data_range=255) for d, s in pairs])
        assert float(validated[0][f"psnr_degraded:{label}"]) == pytest.approx(expected, abs=1e-4)


def test_a_single_set_has_the_columns_it_had(tmp_path):
    run(tmp_path, simple(steps=2), validate_every=2)
    assert list(rows(tmp_path)[0])[-1] == "psnr_degraded"


def test_both_engines_get_the_same_samples():
    arguments = {"crop": 16, "batch": 4, "seed": 3, "first_sample": 8}
    batches = Batches(mixture(), steps=3, **arguments)
    for number, expected in enumerate(training_batches(mixture(), steps=3, **arguments)):
        for one, other in zip(batches[number], expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_other_backends_engine_trains_on_it(tmp_path):
    run(tmp_path, simple(), mixture(), engine=BackendEngine, validation=mixture())
    assert [row for row in rows(tmp_path) if row["psnr:two:y"]]


@pytest.mark.parametrize(
    ("dataset", "recipe"),
    [
        ("gopro", "gopro"),
        ("gopro:blur_gamma", "gopro"),
        ("gopro:blur,reds", "gopro"),
        (None, "quick"),
    ],
)
def test_the_recipe_is_that_of_the_data_set(dataset, recipe):
    values = types.SimpleNamespace(model="mprnet", recipe=None, dataset=dataset)
    assert training_plan.recipe_name(values) == recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory, toys):
    """A run by the command, on two folders and embedded pictures."""
    place = tmp_path_factory.mktemp("mixture")
    folders(place / "data")
    (place / "data" / "degraded").rename(place / "data" / "input")
    (place / "data" / "sharp").rename(place / "data" / "target")
    words = ["train.py", "--model=onlyluma", "--recipe=tiny", f"--workdir={place / 'run'}"]
    words += ["--dataset=folder@3,synthetic:motion@1", f"--data_dir=folder={place / 'data'}"]
    words += ["--steps=2", "--validate_every=2", "--validation_pictures=2"]
    assert train.main(words) == 0
    return place, words


def test_the_record_holds_what_is_drawn(trained):
    place, _ = trained
    record = json.loads((place / "run" / "experiment.json").read_text())
    assert record["experiment"]["dataset"] == "folder:pairs@0.75,synthetic:motion@0.25"
    assert record["experiment"]["config"] == "mixture"
    assert record["run"]["data_dir"] == f"folder:pairs={place / 'data'}"


def test_the_same_command_resumes_and_another_mixture_does_not(trained, capsys):
    place, words = trained
    assert train.main([*words, "--steps=3"]) == 0
    capsys.readouterr()
    other = [word.replace("folder@3", "folder@2") for word in words]
    assert train.main([*other, "--steps=4"]) == 2
    assert "was started with dataset=folder:pairs@0.75" in capsys.readouterr().err


def test_each_part_is_evaluated(trained, capsys):
    place, _ = trained
    run_words = ["evaluate.py", f"--workdir={place / 'run'}", "--limit=1", "--metrics=psnr"]
    assert evaluate.main([*run_words, f"--output={place / 'scores'}"]) == 0
    assert {path.name for path in (place / "scores").iterdir()} == {
        "folder_pairs",
        "synthetic_motion",
    }
    # One of them, found where the run was trained on it.
    assert evaluate.main([*run_words, "--dataset=folder"]) == 0
    assert (place / "run" / "evaluation" / "folder_pairs_test" / "scores.csv").is_file()
    assert evaluate.main([*run_words, "--dataset=folder,synthetic", "--data_dir=reds=/a"]) == 2
    assert "the mixture has folder:pairs, synthetic:shake" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config=motion"], "--config motion: .* has a configuration for each set"),
        (["--data_dir=/nowhere"], "for a mixture expected folder=FOLDER,synthetic=FOLDER"),
        (["--dataset=folder@x,synthetic"], "folder@x: expected a weight above 0"),
        (["--dataset=folder,gopro"], "gopro:blur of the mixture: .* needs --data_dir"),
    ],
)
def test_errors_come_before_anything_is_written(trained, tmp_path, capsys, words, message):
    _, given = trained
    words = [*given, *words, f"--workdir={tmp_path / 'new'}"]
    assert train.main(words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert re.search(message, lines[0])
    assert not (tmp_path / "new").exists()
