"""A generator against two discriminators: through the loop, its strategies, and what comes out."""

import dataclasses
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from log_checks import no_other_warnings, warns
from tiny_training import assert_equal_weights, folders, kill_at, rows, run, saved, stop_at, weights

from deblurgan_tf import recipes
from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.export import saved_model
from restore_tf.training.backend_engine import BackendEngine
from restore_tf.training.state import State
from restore_tf.weights.load import load_model

NETWORK = {"width": 2, "blocks": 1, "dropout": 0.5}
AGAINST = {"discriminators": "double", "width": 2, "weight": 0.1}


def recipe(warmup=3, **changes):
    quick = experiment.load_recipe("deblurgan_resnet", "quick")
    against = {**quick.training, **AGAINST, "warmup": warmup}
    fields = {"network": NETWORK, "training": against, "steps": 6, "batch": 2, "crop": 16}
    return dataclasses.replace(quick, best_metric="last", **(fields | changes))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    tf.config.experimental.enable_op_determinism()
    workdir = tmp_path_factory.mktemp("whole")
    assert run(workdir, recipe()).finished
    return workdir


@pytest.mark.slow
def test_all_networks_resume_exactly(tmp_path, whole):
    kill_at(tmp_path, 4, recipe())  # from the checkpoint of step 2, in the warm-up
    assert stop_at(tmp_path, 3, recipe()).step == 5
    assert run(tmp_path, recipe()).finished
    expected, found = saved(whole), saved(tmp_path)
    groups = {name.partition("/")[0] for name in found}
    networks = {"model", "optimizer", "patch", "patch_optimizer", "full", "full_optimizer"}
    assert groups == {*networks, "progress"}
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.slow
def test_discriminators_train_after_the_warm_up_alone(whole):
    counts = {n: int(a) for n, a in saved(whole).items() if "iteration" in n}
    found = {name.partition("/")[0]: count for name, count in counts.items()}
    assert found == {"optimizer": 6, "patch_optimizer": 3, "full_optimizer": 3}


@pytest.mark.slow
def test_the_generator_alone_is_exported(whole, tmp_path):
    model, weights = load_model(whole), []
    with h5py.File(whole / "best.weights.h5") as file:
        file.visititems(lambda _, item: weights.append(getattr(item, "size", 0)))
    assert sum(weights) == model.count_params()  # nothing of any optimizer either
    saved_model.write(model, tmp_path / "1")
    variables = tf.saved_model.load(tmp_path / "1").variables
    assert sum(np.prod(variable.shape) for variable in variables) == model.count_params()


@pytest.mark.slow
def test_losses_and_mean_logits_of_all_are_shown(whole):
    values = {}
    (path,) = (whole / "tensorboard").glob("events*")
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            if value.tag in ("loss", "patch", "patch_real", "patch_fake", "full_real"):
                values.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
    assert sorted(values["loss"]) == [2, 4, 6]
    assert sorted(values["patch"]) == [4, 6]  # none in the warm-up's rows
    assert set(values) == {"loss", "patch", "patch_real", "patch_fake", "full_real"}


# Rounding decides where Adam moves a bias before a norm, whose gradient is 0, but for an epsilon.
STEADY = {"epsilon": 1e-2, "learning_rate": 1e-2, "schedule": "constant"}


@pytest.mark.slow
def test_two_replicas_and_micro_batches_equal_one_device(tmp_path):
    """The means of the relativistic losses are those of the whole batch, dropout each sample's."""
    made = recipe(warmup=1, batch=4, steps=4, **STEADY)
    made = experiment.override(made, ["training.discriminators=patch"])  # enough, and half the time
    for name, options in [("one", {}), ("two", {"strategy": "mirrored", "accumulate": 2})]:
        run(tmp_path / name, made, **options)
    one, two = saved(tmp_path / "one"), saved(tmp_path / "two")
    assert set(one) == set(two)
    moved = max(np.abs(array).max() for name, array in one.items() if "patch_optimizer" in name)
    assert moved > 1e-2
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_every_network_scales_its_own_loss(tmp_path):
    run(tmp_path, recipe(warmup=0, steps=1), precision="mixed_float16")
    scales = [name for name in saved(tmp_path) if "dynamic_scale" in name]
    assert {name.partition("/")[0] for name in scales} == {
        "optimizer",
        "patch_optimizer",
        "full_optimizer",
    }


@pytest.mark.slow
def test_two_workers_equal_one_process(tmp_path):
    against = {**AGAINST, "discriminators": "patch", "warmup": 1}
    fields = [f"network.{name}={value}" for name, value in NETWORK.items()]
    fields += [f"training.{name}={value}" for name, value in against.items()]
    fields += [f"{name}={value}" for name, value in (STEADY | {"best_metric": "last"}).items()]
    command = [
        *(sys.executable, "-m", "restore_tf.commands.train", "--model=deblurgan_resnet"),
        *("--recipe=quick", "--set=batch=4", "--set=crop=16", "--steps=4", "--deterministic"),
        *("--validate_every=4", "--log_every=1", "--validation_pictures=1"),
        *[f"--set={field}" for field in fields],
        *folders(tmp_path / "pairs"),
    ]
    for name, workers in (("one", 1), ("two", 2)):
        places = [f"--workdir={tmp_path / name}", f"--local_workers={workers}"]
        done = subprocess.run([*command, *places], capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr
    losses = [
        [float(row["loss"]) for row in rows(tmp_path / n) if row["loss"]] for n in ("one", "two")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert_equal_weights(*(weights(tmp_path / name) for name in ("one", "two")), atol=2e-5)


def test_a_training_that_ends_before_its_warm_up_says_so():
    made = recipe(warmup=3, steps=3)
    state = State(made, experiment.build(made), others=recipes.make_parts(made))
    strategy = tf.distribute.get_strategy()
    with no_other_warnings():
        with warns("the discriminators never reach the generator in 3 steps"):
            recipes.make_step(made, strategy, state)
        recipes.make_step(dataclasses.replace(made, steps=4), strategy, state)


def test_a_step_needs_tensorflow(tmp_path):
    with pytest.raises(UserError, match="deblurgan_resnet: its training needs Keras' TensorFlow"):
        run(tmp_path, recipe(), engine=BackendEngine)


def high_frequencies(images):
    """Mean square of what a 3x3 mean takes away."""
    blurred = tf.nn.avg_pool2d(images, 3, 1, "SAME")
    return float(tf.reduce_mean((images - blurred) ** 2))


def texture_batches(count):
    """(degraded, sharp, seeds): textures, and their means over 8 x 8 pixels, which say nothing of
    the texture."""
    random = np.random.default_rng(0)
    for _ in range(count):
        sharp = random.choice([0.2, 0.8], (4, 16, 16, 1)).astype(np.float32)
        sharp = np.repeat(np.repeat(np.repeat(sharp, 2, 1), 2, 2), 3, 3)
        degraded = sharp.reshape(4, 4, 8, 4, 8, 3).mean((2, 4), keepdims=True)
        degraded = np.broadcast_to(degraded, (4, 4, 8, 4, 8, 3)).reshape(4, 32, 32, 3)
        yield degraded, sharp, np.zeros((4, 2), np.int32)


@pytest.mark.slow
def test_the_adversary_brings_texture_that_content_alone_averages_away():
    energy = {}
    for weight in (0.0, 1.0):
        keras.utils.set_random_seed(0)
        against = {**recipe().training, "discriminators": "patch", "width": 8, "warmup": 0}
        made = recipe(network={"width": 8, "blocks": 1}, training={**against, "weight": weight},
                      loss="mse", schedule="constant", learning_rate=2e-3, beta_1=0.5)  # fmt: skip
        model = experiment.build(made)
        state = State(made, model, others=recipes.make_parts(made))
        model.compile(state.main.optimizer, made.loss)
        step = recipes.make_step(made, tf.distribute.get_strategy(), state)
        for number, batch in enumerate(texture_batches(100)):
            state.step = number
            step(batch)
        energy[weight] = high_frequencies(model(batch[0])[-1])
    assert high_frequencies(batch[0]) < 0.1 * high_frequencies(batch[1])
    assert energy[1.0] > 10 * energy[0.0]
