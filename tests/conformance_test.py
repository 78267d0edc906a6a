"""Every recipe of every paper, in a tiny form, through what all of them must do.

The everyday suite takes each paper's first network, the slow one all that differ. Their exports are
in `conformance_export_test.py`.
"""

import ast
import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_papers import (
    ADVERSARYS_LOSS,
    CASES,
    FIRST,
    NETWORKS,
    ONE_REPLICA,
    STEPS,
    TOYS,
    images,
    paper,
    row,
    tiny,
    wake,
)
from tiny_training import toys as toys

from restore_tf.datasets.augmentation import AUGMENTATIONS
from restore_tf.experiments import experiment, papers
from restore_tf.inference.restore import restore
from restore_tf.networks import losses
from restore_tf.training import checks, step, strategies
from restore_tf.training.state import State


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith(TOYS)])
def test_the_recipe_names_things_that_exist(case):
    recipe = tiny(case)
    losses.get(recipe.loss)
    assert set(recipe.augment) <= set(AUGMENTATIONS)
    assert recipe.crop % size_multiple(row(case), repr(recipe.network)) == 0


@functools.cache
def size_multiple(made_by, text):
    """Of networks that differ in a name alone, one is made."""
    network = ast.literal_eval(text)
    recipe = tiny(next(case for case in CASES if row(case) == made_by))
    return experiment.construct(dataclasses.replace(recipe, network=network)).size_multiple


@pytest.fixture(
    scope="module",
    params=[
        case if case in FIRST else pytest.param(case, marks=pytest.mark.slow) for case in NETWORKS
    ],
)
def network(request, toys):
    """A network, built and compiled once for all that it goes through."""
    keras.utils.set_random_seed(0)
    return experiment.build(tiny(request.param))


def test_stages_end_at_full_size(network):
    stages = network(images(network, 32, 64))
    scale = network.output_scale
    assert stages[-1].shape == (2, 32 * scale, 64 * scale, network.channels)
    assert all(np.all(np.isfinite(stage)) for stage in stages)
    symbolic = network(keras.Input((None, None, network.channels)))
    assert symbolic[-1].shape == (None, None, None, network.channels)


def test_any_size_through_restore(network):
    for height, width in [(1, 1), (5, 33), (31, 16)]:
        picture = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
        restored = restore(network, picture)
        assert restored.shape == (height * network.output_scale, width * network.output_scale, 3)
        assert restored.dtype == np.uint8


def test_tiles_fit_together(network):
    """Where tiles are exact they give the numbers of the whole; blended ones give all of it."""
    tiler = network.tiler()
    tile = 48 if tiler is None else 2 * tiler.margin + tiler.step
    picture = np.random.default_rng(1).random((tile + 9, tile + 30, 3), np.float32)
    whole, tiled = restore(network, picture, whole=True), restore(network, picture, tile=tile)
    assert tiled.shape == whole.shape
    assert np.all(np.isfinite(tiled))
    if tiler is not None:
        np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5)


def test_weights_survive_saving(network, tmp_path):
    twin = type(network).from_config(network.get_config())
    twin.build()
    network.save_weights(tmp_path / "a.weights.h5")
    twin.load_weights(tmp_path / "a.weights.h5")
    batch = images(network)
    np.testing.assert_array_equal(network(batch)[-1], twin(batch)[-1])


@pytest.mark.parametrize("case", CASES)
def test_a_recipe_passes_the_checks_before_a_training(case, toys):
    recipe = experiment.load_recipe(*CASES[case])
    checks.check_schedule(recipe)
    if paper(case) != "maxim" or case in FIRST:  # takes seconds to construct; its crops are alike
        checks.check(recipe, ["a pair"])


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in NETWORKS if not case.startswith(TOYS)])
def test_mixed_precision_keeps_images_in_float32(case):
    recipe = tiny(case)
    picture = np.random.default_rng(3).random((32, 48, 3)).astype(np.float32)
    full = experiment.build(recipe)
    wake(full)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = experiment.build(recipe)
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(full.get_weights())
    stages = mixed(images(mixed))
    assert all(stage.dtype == "float32" for stage in stages)
    expected, restored = (restore(model, picture) for model in (full, mixed))
    error = np.sqrt(np.mean((restored - expected) ** 2)) / np.ptp(expected)
    assert 0 < error < 0.02


def test_every_loss_takes_a_step(toys):
    assert tiny("adversary/tiny").loss == ADVERSARYS_LOSS
    assert {tiny(case).loss for case in CASES} == {tiny(case).loss for case in STEPS}


@pytest.fixture
def as_traced():
    """Graphs run as they were traced: TensorFlow would rewrite a step for longer than it takes."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


# The first step of a paper goes through both strategies at once: two replicas.
@pytest.mark.slow
@pytest.mark.parametrize("case", STEPS)
def test_one_training_step_of_every_kind(case, as_traced):
    recipe = tiny(case)
    recipe = dataclasses.replace(recipe, learning_rate=1e-3, schedule="constant", warmup_steps=0)
    strategy = strategies.make_strategy(
        "mirrored" if case in FIRST and case not in ONE_REPLICA else "one"
    )
    module = papers.find(recipe.model)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = experiment.build(recipe)
        if not recipe.network.get("global_skip"):
            wake(model)
        others = module.make_parts(recipe) if hasattr(module, "make_parts") else {}
        state = State(recipe, model, others=others)
        model.compile(state.main.optimizer, recipe.loss)
    # Every variable is saved, under a name of its own.
    assert len(state.saved()["model"]) == len(model.variables)
    before = [v.numpy() for v in model.trainable_variables]
    side = max(32, 2 * model.size_multiple)  # a norm of a single pixel would pass no gradient
    batch = images(model, side, side)
    sharp = np.repeat(np.repeat(1 - batch, model.output_scale, 1), model.output_scale, 2)
    seeds = np.array([[0, 0], [0, 1]], np.int32)
    dataset = tf.data.Dataset.from_tensors((batch, sharp, seeds))
    take = getattr(module, "make_step", step.make_step)(recipe, strategy, state, 1)
    batches = iter(strategy.experimental_distribute_dataset(dataset))
    assert np.isfinite(take(next(batches))["loss"].numpy())
    pairs = zip(model.trainable_variables, before, strict=True)
    stuck = [v.path for v, old in pairs if np.array_equal(v.numpy(), old)]
    if recipe.network.get("global_skip"):  # starts as the identity: the last layer moves first
        assert len(stuck) < len(before)
    else:  # a channel attention may be born with all its ReLUs dead, nothing else
        assert [path for path in stuck if "attention/" not in path] == []
        assert len(stuck) < 0.1 * len(before)
