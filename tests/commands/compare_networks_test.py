"""Networks of a comparison: those of one kind share a traced graph, never their weights."""

import dataclasses

import keras
import numpy as np
import pytest
from tiny_papers import TINY, wake

import restore_tf
from mprnet_tf import recipes as mprnet
from restore_tf.commands.comparing import networks
from restore_tf.experiments import experiment
from srn_tf import recipes as srn


def write_run(folder, recipe, seed, **network):
    """A run with weights drawn from a seed."""
    network = {**recipe.network, **TINY[recipe.model], **network}
    recipe = dataclasses.replace(recipe, network=network)
    keras.utils.set_random_seed(seed)
    model = experiment.build(recipe)
    wake(model)
    for variable in model.trainable_variables:
        if variable.path.endswith("alpha"):  # a PReLU's, which graphs hold as a number
            variable.assign(0.1 + 0.2 * seed + variable * 0)
    experiment.write(folder, recipe, {})
    model.save_weights(folder / "best.weights.h5")
    return str(folder)


@pytest.mark.parametrize("recipe", [srn.gopro(), mprnet.gopro()], ids=["srn", "mprnet"])
def test_another_runs_weights_give_that_runs_picture(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "LOADED", 1)
    runs = [write_run(tmp_path / str(seed), recipe, seed) for seed in (1, 2)]
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    ours = networks.Networks({}, seed=0)
    expected = {run: restore_tf.restore(restore_tf.load_model(run), picture) for run in runs}
    for run in [*runs, runs[0]]:
        np.testing.assert_array_equal(ours.restore_picture(run, picture), expected[run])
    first, second = (ours.model(run) for run in runs)
    assert first is second
    assert restore_tf.load_model(runs[0]).get_weights()[0].sum() != first.get_weights()[0].sum()


def test_networks_of_other_kinds_and_options_are_loaded_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "LOADED", 1)
    narrow = write_run(tmp_path / "narrow", srn.gopro(), 1)
    wide = write_run(tmp_path / "wide", srn.gopro(), 1, width=8)
    staged = write_run(tmp_path / "staged", mprnet.gopro(), 1)
    ours = networks.Networks({}, seed=0)
    assert ours.model(narrow) is not ours.model(wide)
    assert ours.model(staged) is not ours.model(staged, stages=1)
