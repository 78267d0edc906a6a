"""`--precision auto` of trainings: what it measures, takes, and remembers."""

import dataclasses
import functools

import numpy as np
import pytest
from tiny_training import folders, simple
from tiny_training import toys as toys

from restore_tf.commands import train
from restore_tf.experiments import experiment
from restore_tf.training import engine_class, fastest_precision
from restore_tf.training.options import Options
from restore_tf.weights.load import load_model


def ticking(*seconds):
    """A clock by which the measured stretches take so many seconds, one after the other."""
    ticks = iter([tick for length in seconds for tick in (0.0, length)])
    return functools.partial(next, ticks)


@pytest.fixture
def able(monkeypatch):
    monkeypatch.setattr(fastest_precision, "has_bfloat16", lambda: True)


@pytest.mark.parametrize(
    ("seconds", "chosen", "ratio"),
    [((4.0, 1.0), "mixed_bfloat16", "0.25"), ((1.0, 1.5), "float32", "1.50")],
)
def test_the_quicker_one_is_taken(able, tmp_path, monkeypatch, seconds, chosen, ratio):
    monkeypatch.chdir(tmp_path)
    found, reason = fastest_precision.faster(engine_class(), simple(), Options(), ticking(*seconds))
    assert found == chosen
    assert reason.startswith(f"{chosen} (")
    assert ratio in reason
    assert not list(tmp_path.iterdir())  # nothing is written


def test_nothing_is_measured_without_the_instructions(monkeypatch):
    monkeypatch.setattr(fastest_precision, "has_bfloat16", lambda: False)
    found, reason = fastest_precision.faster(None, simple(), Options(), ticking())
    assert (found, reason) == (
        "float32",
        "float32 (this processor has no bfloat16 instructions)",
    )


def test_a_resumed_run_keeps_what_was_chosen(able, tmp_path, monkeypatch, capsys):
    """Auto, then auto again after a stop, gives the weights of an uninterrupted mixed_bfloat16."""
    data = folders(tmp_path / "data")
    flags = ["--model=onlyluma", *data, "--recipe=tiny", "--set=crop=32", "--set=batch=2"]
    flags += ["--set=schedule=constant", "--validate_every=4", "--checkpoint_every=2"]
    measured = []

    def choose(make_engine, recipe, options):
        measured.append(options.precision)
        clock = ticking(3.0, 1.0)
        return faster(make_engine, recipe, options, clock)

    faster = fastest_precision.faster
    monkeypatch.setattr(fastest_precision, "faster", choose)
    auto, plain = tmp_path / "auto", tmp_path / "plain"
    for steps in (2, 4):
        command = ["train.py", *flags, f"--steps={steps}", f"--workdir={auto}", "--precision=auto"]
        assert train.main(command) == 0
        said = capsys.readouterr()
        assert "precision: mixed_bfloat16" in said.out + said.err
    assert len(measured) == 1  # the second time it is read
    assert experiment.read(auto)[1].precision == "mixed_bfloat16"
    for steps in (2, 4):
        command = ["train.py", *flags, f"--steps={steps}", f"--workdir={plain}"]
        assert train.main([*command, "--precision=mixed_bfloat16"]) == 0
    runs = [load_model(one, checkpoint="latest") for one in (auto, plain)]
    for one, other in zip(*(model.get_weights() for model in runs), strict=True):
        np.testing.assert_array_equal(one, other)
    assert dataclasses.asdict(experiment.read(plain)[1])["precision"] == "mixed_bfloat16"
